//! Commands and flags; no logic.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, RangedU64ValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::init::workflows;
use crate::sandbox::RateLimit;
use crate::settings::parse_duration;

/// Uploads a Treasure Data query result or table to a Braze cohort.
#[derive(Debug, Parser)]
#[command(version, about, arg_required_else_help = true, after_help = "Example: td-braze-cohort upload cohort.yml --dry-run", after_long_help = MORE)]
pub struct Cli {
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
        Values that are not given become placeholders to fill in. DIR must not exist."
    )]
    Init(InitArgs),
    /// Add or remove the members in a query result, or keep a cohort equal to a table
    #[command(after_help = "Example: td-braze-cohort upload cohort.yml --input members.csv\n\
        Credentials: BRAZE_CLIENT_SECRET and BRAZE_PARTNER_API_KEY in the environment; endpoint: in CONFIG or BRAZE_ENDPOINT.\n\
        With table or job_id: TD_API_KEY. Also TD_API_SERVER, if your site is not https://api.treasuredata.com.\n\
        To try it without Braze: td-braze-cohort upload cohort.yml --sandbox")]
    Upload(UploadArgs),
    /// Check settings, the input's header and the credentials, without sending any member
    #[command(after_help = "Example: td-braze-cohort check cohort.yml --input members.csv")]
    Check(CheckArgs),
    /// Ask Braze how many identifiers of a sample it knows, without sending any member
    #[command(after_help = "Example: td-braze-cohort match cohort.yml --input members.csv\n\
        Credentials: BRAZE_REST_API_KEY in the environment, a REST API key with the permission users.export.ids.\n\
        To try it without Braze: td-braze-cohort match cohort.yml --sandbox --users users.csv")]
    Match(MatchArgs),
    /// Run an upload as a Digdag operator: `py>` with `python: [td-braze-cohort, operator]`
    #[command(after_help = "Example, in a workflow:\n  \
        +upload:\n    py>: braze_cohort\n    python: [td-braze-cohort, operator]\n    braze_cohort: {config: cohort.yml}")]
    Operator(OperatorArgs),
    /// Run a stand-in for Braze's cohort API on this machine
    #[command(after_help = "Example: td-braze-cohort sandbox --listen 127.0.0.1:4000 --users users.csv\n\
        It accepts the credentials of its environment (BRAZE_CLIENT_SECRET, BRAZE_PARTNER_API_KEY, BRAZE_REST_API_KEY),\n\
        or else sandbox-client-secret, sandbox-partner-key and sandbox-rest-key. Open its address in a browser to see what arrived;\n\
        the same as JSON is at /cohorts, /cohorts/ID, /requests, /search?identifier=TEXT and /stats.")]
    Sandbox(SandboxArgs),
    /// Print the JSON Schema of the config file, for checks and completion in editors
    #[command(after_help = "Example: td-braze-cohort schema > config.schema.json\n\
        and in the first line of the config file: # yaml-language-server: $schema=config.schema.json")]
    Schema,
}

const MORE: &str = "\
Example: td-braze-cohort upload cohort.yml --dry-run

Environment:
  BRAZE_CLIENT_SECRET      the data import key
  BRAZE_PARTNER_API_KEY    the partner key
  BRAZE_ENDPOINT           Braze's REST endpoint, if the config file has none
  BRAZE_REST_API_KEY       a REST API key with the permission users.export.ids; for match and min_match
  TD_API_KEY, TD_API_SERVER
                           Treasure Data's key and site, for job_id and table
  HTTPS_PROXY, ALL_PROXY, NO_PROXY
                           the proxy
  TD_BRAZE_COHORT_ALLOW_ENDPOINT, TD_BRAZE_COHORT_CA_FILE
                           allow_endpoint and ca_file, if the config file has none
  RUST_LOG                 the log level: error, warn, info, debug or trace

Exit codes:
  0         everything was delivered
  1         a bug in this program
  2         invalid settings or command line, or a certificate or proxy failure
  3         the input cannot be used
  4         Braze or Treasure Data refused the credentials
  5         Braze, Treasure Data or a firewall refused data or a request; the report counts what was delivered
  6         a mirror would change too much, or Braze knows too few identifiers (min_match); nothing was sent
  73        a file cannot be written
  75        not everything was delivered; try again later
  130, 143  stopped by SIGINT or SIGTERM";

/// Flags of `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The folder to create; its name is the project's
    pub dir: PathBuf,
    /// The kind of project: mirror keeps a cohort equal to a table, upload adds a query's result
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
    /// The Linux x86-64 binary for the container [default: this program]
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

/// Flags of `upload` and `match`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The YAML file with the settings
    pub config: PathBuf,
    /// The file to read, a pattern, or - for standard input; overrides input and `job_id`
    #[arg(long, value_name = "PATH|PATTERN|-")]
    pub input: Option<String>,
    /// Print the result as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Call a stand-in for Braze in this process; needs no Braze credentials
    #[arg(long)]
    pub sandbox: bool,
    /// A CSV file with the sandbox's users: `external_id`, `device_id`; every other column is an alias
    #[arg(long, value_name = "PATH", requires = "sandbox")]
    pub users: Option<PathBuf>,
}

/// Flags of `upload`.
#[derive(Debug, Args)]
pub struct UploadArgs {
    /// Those that `match` has too.
    #[command(flatten)]
    pub run: RunArgs,
    /// Do everything except sending requests to Braze; needs no Braze credentials
    #[arg(long, conflicts_with = "sandbox")]
    pub dry_run: bool,
    /// Show the sandbox in a browser until you press Ctrl-C; has no effect in CI or without a terminal
    #[arg(long, requires = "sandbox")]
    pub open: bool,
}

/// Flags of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The YAML file with the settings
    pub config: PathBuf,
    /// The file or pattern whose columns are checked; overrides input and `job_id`
    #[arg(long, value_name = "PATH|PATTERN")]
    pub input: Option<String>,
    /// Print only the state of a mirror: its last commit, members, pending changes, and whether a run is in progress
    #[arg(long)]
    pub status: bool,
    /// Print the findings as one JSON object, such as for a question about an account
    #[arg(long, conflicts_with = "status")]
    pub json: bool,
}

/// Flags of `match`.
#[derive(Debug, Args)]
pub struct MatchArgs {
    /// Those that `upload` has too.
    #[command(flatten)]
    pub run: RunArgs,
    /// How many identifiers of each kind to ask about [default: 400; 100 device IDs]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    pub sample: Option<usize>,
    /// Write the unknown identifiers of the sample to this CSV file, readable only by its owner
    #[arg(long, value_name = "PATH")]
    pub unknown: Option<PathBuf>,
}

/// The arguments that Digdag passes to an operator.
#[derive(Debug, Args)]
pub struct OperatorArgs {
    /// Runner, perhaps name, input and output, as Digdag gives them.
    #[arg(help = "RUNNER [NAME] INPUT.json OUTPUT.json, as Digdag gives them", num_args = 3..=4, required = true, value_name = "PATH")]
    pub arguments: Vec<PathBuf>,
}

/// A delay. Only this duration may be zero.
fn latency(text: &str) -> Result<Duration, &'static str> {
    let zero = matches!(text, "0" | "0ms" | "0s").then_some(Duration::ZERO);
    zero.or_else(|| parse_duration(text)).ok_or("it must be a duration such as 50ms or 2s")
}

/// Flags of `sandbox`.
#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// A loopback address; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:4000", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// A CSV file with the users: `external_id`, `device_id`; every other column is an alias; without it, every identifier is a user
    #[arg(long, value_name = "PATH")]
    pub users: Option<PathBuf>,
    /// Delay each answer by this long, such as 50ms
    #[arg(long, value_name = "DURATION", value_parser = latency)]
    pub latency: Option<Duration>,
    /// Answer every n-th request with 503
    #[arg(long, value_name = "N")]
    pub fail_every: Option<NonZeroU64>,
    /// Answer 429 to requests beyond N in SECONDS (an hour by default)
    #[arg(long, value_name = "N[/SECONDS]")]
    pub rate_limit: Option<RateLimit>,
}
