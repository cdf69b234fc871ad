//! A checked order, carried out: the way from settings to the finished account that `upload` and the operator share.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use log::{error, info, warn};

use super::CommandError;
use super::dry_run::dry_run;
use super::job::{self, Beginning};
use super::network::network;
use super::phases::Upload;
use crate::braze::Addresses;
use crate::braze::body::{BodyWriter, Credentials};
use crate::commands::exit::Exit;
use crate::commands::outcome::{Server, Stop};
use crate::delivery::counts::Sent;
use crate::delivery::failed_file::Failures;
use crate::delivery::{FirstCall, Plan, Shared};
use crate::http::Http;
use crate::http::endpoint::Endpoint;
use crate::input::Rows;
use crate::input::counters::InputAccount;
use crate::input::error::InputError;
use crate::input::reader::passes::{self, Rest};
use crate::input::reader::{Limits, Reader};
use crate::input::source::Sources;
use crate::members::batch::CAPACITY;
use crate::members::operation::{Operation, Operations};
use crate::report::progress::Progress;
use crate::report::{Account, DryRun, Part};
use crate::retry::{self, Clock, Ending, Monotonic, RateLimiter};
use crate::sandbox::{self, CohortView, Sandbox};
use crate::secret::Secret;
use crate::settings::Config;
use crate::settings::credentials::from_environment;

/// Where the data goes.
pub enum Target {
    /// To Braze.
    Braze,
    /// To a sandbox inside this process, which may know these users.
    Sandbox(Option<PathBuf>),
    /// Nowhere.
    DryRun,
}

/// What is to be done.
pub struct Order {
    /// The settings.
    pub config: Config,
    /// Where the data goes.
    pub target: Target,
    /// The session's time, where a workflow says it.
    pub session_time: Option<String>,
}

/// How it ended.
pub struct Finished {
    /// The account.
    pub account: Account,
    /// Why the run ended early, if it did.
    pub stop: Option<Stop>,
    /// How the process ends.
    pub exit: Exit,
    /// What the sandbox holds of the cohort, where there was one.
    pub sandbox: Option<CohortView>,
}

impl Finished {
    /// What to tell a person beside the account, where something is to be told.
    pub fn problem(&self) -> Option<String> {
        let (sent, undelivered) = (self.account.sent, self.account.undelivered());
        match (&self.stop, self.exit) {
            (Some(stop @ Stop::Input(_)), _) if self.account.dry_run.is_none() => {
                Some(format!("{stop} (delivered before that: {} identifiers)", sent.delivered))
            }
            (Some(stop), _) => Some(stop.to_string()),
            (None, Exit::TryAgain) => Some(format!(
                "{undelivered} identifiers are undelivered and {} refused; run it again: what was delivered may be sent \
                 twice without harm",
                sent.refused
            )),
            (None, Exit::Refused) => Some(format!(
                "Braze refused {} identifiers; the log says with which message, and with failed_file they are kept in a file. All others were delivered",
                sent.refused
            )),
            _ => None,
        }
    }
}

/// Carries the order out.
pub fn carry_out(order: Order) -> Result<Finished, CommandError> {
    let session_time = order.session_time.as_deref();
    match order.target {
        Target::DryRun => dry_run(&order.config),
        Target::Braze => {
            let credentials = from_environment(|name| std::env::var(name).ok())?;
            let endpoint = order.config.required_endpoint()?.clone();
            upload_to(&order.config, &endpoint, &credentials, session_time)
        }
        Target::Sandbox(users) => {
            let credentials = sandbox_credentials();
            let sandbox = start_sandbox(&credentials, users)?;
            let endpoint = Endpoint::of_sandbox(sandbox.endpoint());
            let finished = upload_to(&order.config, &endpoint, &credentials, session_time)?;
            let held = sandbox.cohort(&order.config.braze.cohort_id);
            Ok(Finished { sandbox: held, ..finished })
        }
    }
}

fn sandbox_credentials() -> Credentials {
    let random = || Secret::new(format!("sandbox-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)));
    Credentials { client_secret: random(), partner_api_key: random() }
}

fn start_sandbox(credentials: &Credentials, users: Option<PathBuf>) -> Result<Sandbox, CommandError> {
    Ok(sandbox::start(sandbox::Options {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        client_secret: credentials.client_secret.expose().to_owned(),
        partner_api_key: credentials.partner_api_key.expose().to_owned(),
        partner: None,
        users,
        latency: Duration::ZERO,
        fail_every: None,
        rate_limit: None,
    })?)
}

fn upload_to(
    config: &Config,
    endpoint: &Endpoint,
    credentials: &Credentials,
    session_time: Option<&str>,
) -> Result<Finished, CommandError> {
    config.check_files()?;
    let post = Http::new(config.delivery.thread_count, network(config, endpoint)?);
    let mut beginning = Beginning::default();
    let rows = match job::rows(config, &mut beginning)? {
        Ok(rows) => rows,
        Err(stop) => return Ok(ended_before_reading(config, &beginning, stop, None)),
    };
    let (reader, rest) = open(config, &rows)?;
    let failures = Failures::begin(config.delivery.failed_file.as_deref(), &config.input.names)?;
    let failures = Arc::new(failures);
    let plan = plan(config, endpoint, credentials, session_time);
    let limiter = Arc::new(limiter_of(config, endpoint, Arc::clone(&beginning.clock)));
    beginning.shutdown.stop(&limiter).map_err(CommandError::Signals)?;
    let shared = Arc::new(Shared::new(config.input.names.aliases.len()));
    let what = match &config.operations {
        Operations::One(Operation::Add) => "adding the members".to_owned(),
        Operations::One(Operation::Remove) => "removing the members".to_owned(),
        Operations::Column(name) => format!("removing, then adding as column {name} says, the members"),
    };
    info!("cohort {} at {endpoint}: {what} in {}", config.braze.cohort_id, reader.name());
    let progress = Progress::new(reader.size(), reader.bytes_read());
    let mut upload =
        Upload { config, plan, post: &post, limiter: &limiter, shared: &shared, failures: &failures, progress };
    let removals = match rest {
        None => {
            upload.send(reader);
            None
        }
        Some(rest) => Some(upload.send_both(reader, rest)),
    };
    upload.settle(Ending::Run);
    upload.progress.finish();
    finish_failures(&failures, &limiter);
    let (input, stop) = (shared.input().clone(), limiter.take_stop());
    let account = account(config, input, shared.sent(), limiter.now(), None, removals);
    Ok(finished(account, stop))
}

/// What all requests of a run have to pass.
pub fn limiter(config: &Config, endpoint: &Endpoint) -> RateLimiter<Stop> {
    limiter_of(config, endpoint, Arc::new(Monotonic::default()))
}

/// The same for a run that may have begun before.
fn limiter_of(config: &Config, endpoint: &Endpoint, clock: Arc<dyn Clock>) -> RateLimiter<Stop> {
    let limits = retry::Limits {
        max_outage: config.delivery.max_outage,
        max_requests_per_hour: config.delivery.max_requests_per_hour,
        max_duration: config.delivery.max_duration,
    };
    RateLimiter::new(limits, clock, Stop::of_limiter(Server::Braze, endpoint.to_string()))
}

/// The end of a run whose input could not be had.
pub(super) fn ended_before_reading(
    config: &Config,
    beginning: &Beginning,
    stop: Stop,
    dry_run: Option<DryRun>,
) -> Finished {
    let (input, elapsed) = (InputAccount::new(config.input.names.aliases.len()), beginning.clock.now());
    let account = account(config, input, Sent::default(), elapsed, dry_run, None);
    finished(account, Some(stop))
}

/// Puts the file of failures in its place.
fn finish_failures(failures: &Failures, limiter: &RateLimiter<Stop>) {
    match failures.finish() {
        Ok(Some((path, count))) => {
            warn!("{count} identifiers that did not arrive are in {}; upload takes it as input", path.display());
        }
        Ok(None) => {}
        Err(error) => {
            // Told here as well, since another reason may have stopped the run before.
            error!("{error}; the identifiers that did not arrive are kept nowhere");
            limiter.stop(Stop::CannotWrite(error));
        }
    }
}

pub(super) fn open(config: &Config, rows: &Rows) -> Result<(Reader, Option<Rest>), CommandError> {
    let limits = Limits { expected_rows: rows.expected, max_rejected: config.input.max_rejected, batch_size: CAPACITY };
    let sources = Sources::find(&rows.input, &rows.form).map_err(InputError::from)?;
    Ok(passes::open(sources, &config.input.names, limits, &config.operations)?)
}

/// What all requests have in common, and the call that comes before all others.
pub fn plan(config: &Config, endpoint: &Endpoint, credentials: &Credentials, session_time: Option<&str>) -> Plan {
    let addresses = Addresses::new(endpoint, &config.braze.partner);
    let bodies = BodyWriter::new(credentials, &config.braze.cohort_id, &config.input.names.aliases);
    let names_nothing = config.operations == Operations::One(Operation::Remove) && config.braze.cohort_name.is_none();
    let first_call = if names_nothing {
        // Naming it after its ID would rename a cohort that has another name.
        FirstCall { address: addresses.users.clone(), body: bodies.no_changes() }
    } else {
        let created_at = created_at(session_time);
        let body = BodyWriter::naming(credentials, &config.braze.cohort_id, config.braze.shown_name(), &created_at);
        FirstCall { address: addresses.cohorts.clone(), body }
    };
    Plan { addresses, bodies, thread_count: config.delivery.thread_count, first_call: Some(first_call) }
}

/// The session's time, where it is one, else now; in ISO 8601, UTC.
#[expect(clippy::disallowed_methods, reason = "Braze wants the wall clock's time")]
fn created_at(session_time: Option<&str>) -> String {
    session_time
        .and_then(|text| text.parse::<jiff::Timestamp>().ok())
        .unwrap_or_else(|| jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap_or_default())
        .to_string()
}

pub(super) fn account(
    config: &Config,
    input: InputAccount,
    sent: Sent,
    elapsed: Duration,
    dry_run: Option<DryRun>,
    removals: Option<Part>,
) -> Account {
    Account {
        cohort_id: config.braze.cohort_id.clone(),
        operations: config.operations.clone(),
        labels: config.input.names.aliases.clone(),
        input,
        sent,
        removals,
        seconds: elapsed.as_secs_f64(),
        exit_code: 0,
        dry_run,
        ignored_parameters: Vec::new(),
    }
}

pub(super) fn finished(mut account: Account, stop: Option<Stop>) -> Finished {
    let exit = match &stop {
        Some(stop) => stop.exit(),
        None if account.dry_run.is_some() => Exit::Success,
        None if account.undelivered() > 0 => Exit::TryAgain,
        None if account.sent.refused > 0 => Exit::Refused,
        None => Exit::Success,
    };
    account.exit_code = exit.code();
    Finished { account, stop, exit, sandbox: None }
}
