//! Commands and flags; no logic.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::init::workflows;
use crate::sandbox::RateLimit;
use crate::settings::parse_duration;
use crate::terminal::log_format::LogFormat;

/// Brings a Treasure Data query result into a Braze cohort.
#[derive(Debug, Parser)]
#[command(version, about, arg_required_else_help = true, after_help = "Example: td-braze-cohort upload cohort.yml --dry-run", after_long_help = MORE)]
pub struct Cli {
    /// How log lines and errors are written on standard error; text where it is not said.
    // Decided by `LogFormat::wanted` before the command line is parsed, so that its errors are written so as well.
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        help = "How log lines and errors are written on standard error [default: TD_BRAZE_COHORT_LOG_FORMAT, or text]"
    )]
    pub log_format: Option<LogFormat>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a workflow project that is ready to push
    #[command(
        after_help = "Example: td-braze-cohort init braze_gold --cohort-id gold_members --endpoint US-03 --site us\n\
        What is not given stays as a marked placeholder. DIR must not exist."
    )]
    Init(InitArgs),
    /// Read a query result and add its members to a cohort, or remove them from it
    #[command(after_help = "Example: td-braze-cohort upload cohort.yml --input members.csv\n\
        Credentials: BRAZE_CLIENT_SECRET and BRAZE_PARTNER_API_KEY in the environment; endpoint: in CONFIG or BRAZE_ENDPOINT.\n\
        With table or job_id: TD_API_KEY, and TD_API_SERVER where it is not https://api.treasuredata.com.\n\
        For a trial without Braze: td-braze-cohort upload cohort.yml --sandbox")]
    Upload(UploadArgs),
    /// Check settings, the input's header and the credentials, without sending any member
    #[command(after_help = "Example: td-braze-cohort check cohort.yml --input members.csv")]
    Check(CheckArgs),
    /// Ask Braze how many of a sample of the input it knows, without sending any member
    #[command(after_help = "Example: td-braze-cohort match cohort.yml --input members.csv\n\
        Credentials: BRAZE_REST_API_KEY in the environment, a REST API key with the permission users.export.ids.\n\
        For a trial without Braze: td-braze-cohort match cohort.yml --sandbox --users users.csv")]
    Match(MatchArgs),
    /// Run an upload as a Digdag operator: `py>` with `python: [td-braze-cohort, operator]`
    #[command(after_help = "Example, in a workflow:\n  \
        +upload:\n    py>: braze_cohort\n    python: [td-braze-cohort, operator]\n    braze_cohort: {config: cohort.yml}")]
    Operator(OperatorArgs),
    /// Run a stand-in for Braze's cohort API on this machine
    #[command(after_help = "Example: td-braze-cohort sandbox --listen 127.0.0.1:4000 --users users.csv\n\
        It accepts the credentials of its environment (BRAZE_CLIENT_SECRET, BRAZE_PARTNER_API_KEY, BRAZE_REST_API_KEY),\n\
        or else sandbox-client-secret, sandbox-partner-key and sandbox-rest-key. Its address shows in a browser what arrived;\n\
        the same as JSON is at /cohorts, /cohorts/ID, /requests, /search?identifier=TEXT and /stats.")]
    Sandbox(SandboxArgs),
    /// Print the JSON Schema of the config file, with which editors check and complete it
    #[command(after_help = "Example: td-braze-cohort schema > config.schema.json\n\
        and in the first line of the config file: # yaml-language-server: $schema=config.schema.json")]
    Schema,
}

const MORE: &str = "\
Example: td-braze-cohort upload cohort.yml --dry-run

Environment:
  BRAZE_CLIENT_SECRET      the data import key
  BRAZE_PARTNER_API_KEY    the partner key
  BRAZE_ENDPOINT           Braze's REST endpoint, where the config file does not say it
  BRAZE_REST_API_KEY       a REST API key with the permission users.export.ids; for match and min_match
  TD_API_KEY, TD_API_SERVER
                           Treasure Data's key, and its site, where job_id is set
  HTTPS_PROXY, ALL_PROXY, NO_PROXY
                           the proxy
  TD_BRAZE_COHORT_ALLOW_ENDPOINT, TD_BRAZE_COHORT_CA_FILE
                           allow_endpoint and ca_file, where the config file does not say them
  RUST_LOG                 how much is logged on standard error: error, warn, info, debug or trace
  TD_BRAZE_COHORT_LOG_FORMAT
                           text or json, where --log-format does not say it

Exit codes:
  0         everything was delivered
  1         a defect of this program
  2         settings, usage, a certificate or a proxy; what was sent, if anything, is in the account
  3         the input cannot be used
  4         Braze, or Treasure Data, refused the credentials
  5         Braze or Treasure Data, or something in front of them, refused for good; the account says what arrived
  6         a mirror would change too much, or Braze knows too few (min_match); nothing was sent
  73        a file that must be written cannot be written
  75        not everything was delivered; try again later
  130, 143  stopped by SIGINT, SIGTERM";

/// Flags of `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The folder to write; its name is the project's
    pub dir: PathBuf,
    /// Which project: mirror keeps a cohort equal to a table, upload adds a query's result
    #[arg(long, value_name = "NAME", default_value = workflows()[0], value_parser = PossibleValuesParser::new(workflows()))]
    pub workflow: String,
    /// The cohort's identifier at Braze
    #[arg(long, value_name = "ID")]
    pub cohort_id: Option<String>,
    /// The name of your Braze instance, or its REST endpoint
    #[arg(long, value_name = "ENDPOINT")]
    pub endpoint: Option<String>,
    /// Your Treasure Data site
    #[arg(long)]
    pub site: Option<Site>,
    /// The program for the container, Linux x86-64 [default: this one]
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
}

/// Treasure Data's sites.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Site {
    /// United States.
    Us,
    /// Frankfurt.
    Eu01,
    /// Seoul.
    Ap02,
    /// Tokyo, the newer one.
    Ap03,
    /// Tokyo.
    Jp,
}

impl Site {
    /// The address of its API.
    pub fn address(self) -> &'static str {
        match self {
            Self::Us => "https://api.treasuredata.com",
            Self::Eu01 => "https://api.eu01.treasuredata.com",
            Self::Ap02 => "https://api.ap02.treasuredata.com",
            Self::Ap03 => "https://api.ap03.treasuredata.com",
            Self::Jp => "https://api.treasuredata.co.jp",
        }
    }
}

/// Flags of `upload`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct UploadArgs {
    /// The settings, YAML
    pub config: PathBuf,
    /// The file to read, a pattern of files, or - for standard input; overrides input and `job_id`
    #[arg(long, value_name = "PATH|PATTERN|-")]
    pub input: Option<String>,
    /// Print the account as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Do everything but requests to Braze; needs no credentials of Braze's
    #[arg(long, conflicts_with = "sandbox")]
    pub dry_run: bool,
    /// Upload to a stand-in for Braze inside this process; needs no credentials of Braze's
    #[arg(long)]
    pub sandbox: bool,
    /// The users that the sandbox knows: CSV with `external_id`, `device_id`, other columns are aliases
    #[arg(long, value_name = "PATH", requires = "sandbox")]
    pub users: Option<PathBuf>,
    /// Show in a browser what arrives at the sandbox, and stay after the run until Ctrl-C; nothing in CI or without a terminal
    #[arg(long, requires = "sandbox")]
    pub open: bool,
}

/// Flags of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The settings, YAML
    pub config: PathBuf,
    /// The file or pattern whose columns are checked; overrides input and `job_id`
    #[arg(long, value_name = "PATH|PATTERN")]
    pub input: Option<String>,
    /// Say how far a mirror is, and nothing else: its last commit, whether a run is at work, members, pending changes
    #[arg(long)]
    pub status: bool,
    /// Print what was found as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Flags of `match`.
#[derive(Debug, Args)]
pub struct MatchArgs {
    /// The settings, YAML
    pub config: PathBuf,
    /// The file to read, a pattern of files, or - for standard input; overrides input and `job_id`
    #[arg(long, value_name = "PATH|PATTERN|-")]
    pub input: Option<String>,
    /// How many identifiers of each kind are asked about [default: 400, of devices 100]
    #[arg(long, value_name = "N", value_parser = sample)]
    pub sample: Option<usize>,
    /// Print the figures as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Where the sampled identifiers go that are unknown; CSV, readable by its owner alone
    #[arg(long, value_name = "PATH")]
    pub unknown: Option<PathBuf>,
    /// Ask a stand-in for Braze inside this process; needs no credentials
    #[arg(long)]
    pub sandbox: bool,
    /// The users that the sandbox knows: CSV with `external_id`, `device_id`, other columns are aliases
    #[arg(long, value_name = "PATH", requires = "sandbox")]
    pub users: Option<PathBuf>,
}

fn sample(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=10_000).contains(count));
    count.ok_or_else(|| "a whole number from 1 to 10000 is wanted".to_owned())
}

/// What Digdag calls an operator with.
#[derive(Debug, Args)]
pub struct OperatorArgs {
    /// Runner, perhaps name, input and output, as Digdag gives them.
    #[arg(help = "RUNNER [NAME] INPUT.json OUTPUT.json, as Digdag gives them", num_args = 3..=4, required = true, value_name = "PATH")]
    pub arguments: Vec<PathBuf>,
}

/// Flags of `sandbox`.
#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// A loopback address; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:4000", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// The known users: CSV with `external_id`, `device_id`, other columns are aliases; without it everybody is known
    #[arg(long, value_name = "PATH")]
    pub users: Option<PathBuf>,
    /// How much later each answer is sent, such as 50ms
    #[arg(long, default_value = "0ms", value_name = "DURATION", value_parser = latency)]
    pub latency: Duration,
    /// Answer every n-th request with 503
    #[arg(long, value_name = "N")]
    pub fail_every: Option<NonZeroU64>,
    /// Answer requests beyond N in SECONDS (an hour) with 429
    #[arg(long, value_name = "N[/SECONDS]")]
    pub rate_limit: Option<RateLimit>,
}

fn latency(text: &str) -> Result<Duration, String> {
    match text {
        "0" | "0ms" | "0s" => Ok(Duration::ZERO),
        text => parse_duration(text).ok_or_else(|| "a duration such as 50ms or 2s is wanted".to_owned()),
    }
}
