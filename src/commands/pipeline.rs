//! A run of an upload, a dry run or an operator, from checked settings to the report.

use std::sync::Arc;

use indicatif::HumanCount;
use log::{error, info, warn};
use serde_json::{Value, json};

use super::context::RunContext;
use super::dry_run::Nowhere;
use super::job;
use super::matching::Matching;
use super::mirror::{self, Recipient};
use super::network::network;
use super::phases::Upload;
use super::sandbox::Embedded;
use super::variable;
use crate::braze::Addresses;
use crate::braze::body::{BodyWriter, Credentials};
use crate::commands::exit::Exit;
use crate::commands::outcome::{Api, Stop};
use crate::delivery::counts::DeliveryCounts;
use crate::delivery::failed_file::Failures;
use crate::delivery::{FirstCall, Plan, Shared};
use crate::http::endpoint::Endpoint;
use crate::http::{Http, Post};
use crate::input::ReadableInput;
use crate::input::counters::InputCounts;
use crate::input::error::InputError;
use crate::input::reader::passes::{self, LaterPasses};
use crate::input::reader::{Limits, Pass, Reader};
use crate::input::source::Sources;
use crate::input::source::interrupt::IsStopped;
use crate::matching::sample::SampleSize;
use crate::members::batch::CAPACITY;
use crate::members::operation::{Operation, Operations};
use crate::report::progress::{self, Progress};
use crate::report::{PhaseReport, Report};
use crate::retry::{Ending, RateLimiter};
use crate::sandbox::CohortView;
use crate::secret::Secret;
use crate::settings::credentials::{from_environment, rest_api_key};
use crate::settings::{Config, ConfigError};

/// How a run ended.
pub struct Outcome {
    /// What happened.
    pub report: Report,
    /// Why it ended early, if it did.
    pub stop: Option<Stop>,
    /// The exit code.
    pub exit: Exit,
}

impl Outcome {
    /// The error to show after the report.
    pub fn problem(&self) -> Option<String> {
        let (sent, undelivered) = (self.report.sent, self.report.undelivered());
        match (&self.stop, self.exit) {
            (Some(stop @ Stop::Input(_)), _) if self.report.dry_run.is_none() => {
                Some(format!("{stop} (delivered before that: {} identifiers)", HumanCount(sent.delivered)))
            }
            (Some(stop), _) => Some(stop.to_string()),
            (None, Exit::TryAgain) => {
                let advice = "were refused by Braze (fix the data; failed_file, if set, lists them)";
                let refused = Some(sent.refused).filter(|refused| *refused > 0);
                let refused = refused.map_or_else(String::new, |count| format!(" and {} {advice}", HumanCount(count)));
                Some(format!("{} identifiers were not delivered (run it again){refused}", HumanCount(undelivered)))
            }
            (None, Exit::Refused) => Some(format!(
                "Braze refused {} identifiers (fix the data; the log has Braze's message, and failed_file, if set, lists them). All others were delivered",
                HumanCount(sent.refused)
            )),
            _ => None,
        }
    }
}

/// Does the run. A failure after it has begun is part of the outcome.
pub fn run(mut context: RunContext) -> Result<Outcome, Stop> {
    keeps_input(&context.config)?;
    let (mirror, is_dry) = (context.config.mirror.clone(), context.config.dry_run);
    if mirror.is_some() && context.sandbox.is_some() {
        return Err(ConfigError::MirrorInSandbox.into());
    }
    if is_dry && mirror.is_none() {
        let nothing = || Secret::new(String::new());
        let no_keys = Credentials { client_secret: nothing(), partner_api_key: nothing() };
        let plan = plan(&context.config, &Endpoint::of_sandbox(String::new()), &no_keys, None);
        let plan = Plan { first_call: None, ..plan };
        let ended = read_and_send(&mut context, &Nowhere, plan, "no server (dry run)", None);
        return context.or_report(ended);
    }
    let (endpoint, credentials, key) = match context.sandbox.as_deref() {
        Some(Embedded { sandbox, credentials, rest_api_key }) => {
            (Endpoint::of_sandbox(sandbox.endpoint()), credentials.clone(), Ok(rest_api_key.clone()))
        }
        None => (context.config.required_endpoint()?.clone(), from_environment(variable)?, rest_api_key(variable)),
    };
    let key = context.config.matching.min_match.and(Some(key)).transpose()?.filter(|_| !is_dry);
    let matching = key.map(|key| Matching::new(&context, &endpoint, key, SampleSize::default())).transpose()?;
    let post = Http::new(context.config.delivery.thread_count, network(&context.config, &endpoint)?);
    if let Some(options) = mirror {
        let recipient =
            Recipient { post: &post, endpoint: &endpoint, credentials: &credentials, matching: matching.as_ref() };
        return mirror::run(context, &options, &recipient);
    }
    let plan = plan(&context.config, &endpoint, &credentials, context.session_time.as_deref());
    let ended = read_and_send(&mut context, &post, plan, endpoint.as_str(), matching.as_ref());
    let mut outcome = context.or_report(ended)?;
    let view = context.sandbox.as_ref().and_then(|it| it.sandbox.cohort(&context.config.braze.cohort_id));
    outcome.report.sandbox = view.as_ref().map(in_report);
    Ok(outcome)
}

fn in_report(view: &CohortView) -> Value {
    json!({
        "cohort_id": view.cohort_id,
        "name": view.name,
        "members": view.members,
        "user_ids": view.user_ids.len(),
        "device_ids": view.device_ids.len(),
        "aliases": view.aliases.len(),
        "unmatched_identifiers": view.unknown,
    })
}

/// Finds the input, reads it and sends it to `name`.
fn read_and_send(
    context: &mut RunContext,
    post: &dyn Post,
    plan: Plan,
    name: &str,
    matching: Option<&Matching>,
) -> Result<Outcome, Stop> {
    let readable = job::locate(context)?;
    let is_dry = context.config.dry_run;
    let limiter = context.limiter(Api::Braze, name)?;
    let config = &context.config;
    info!("reading the columns of {}", readable.input);
    let opened = sources(&readable, &limiter).and_then(|sources| {
        let limits = limits(config, &readable);
        passes::open(sources, &config.input.names, limits, &config.operations, matching.is_some())
    });
    let (reader, later) = opened.map_err(|error| stop_or(&limiter, error))?;
    let failed_file = config.delivery.failed_file.as_deref().filter(|_| !is_dry);
    let failures = Arc::new(Failures::begin(failed_file, &config.input.names)?);
    let shared = Arc::new(Shared::new(config.input.names.aliases.len()));
    let what = match &config.operations {
        Operations::One(Operation::Add) => "adding the members".to_owned(),
        Operations::One(Operation::Remove) => "removing the members".to_owned(),
        Operations::Column(name) => format!("removing, then adding as column {name} says, the members"),
        Operations::Mirror => "mirroring the members".to_owned(),
    };
    info!("cohort {} at {name}: {what} in {}", config.braze.cohort_id, reader.name());
    let progress = Progress::new(reader.size(), reader.bytes_read());
    let (limiter, shared, failures) = (&limiter, &shared, &failures);
    let mut upload = Upload { config, plan, post, limiter, shared, failures, progress, matching, matched: None };
    let removals = match later {
        LaterPasses::None => {
            upload.send(reader);
            None
        }
        LaterPasses::Same(later) => {
            upload.send_judged(reader, later);
            None
        }
        LaterPasses::Both { removals, additions } => Some(upload.send_both(reader, removals, additions)),
    };
    upload.settle(Ending::Run);
    progress::finish();
    finish_failures(failures, limiter, &config.operations, !limiter.is_stopped());
    let mut report = Report { input: shared.input().clone(), matched: upload.matched, ..context.report() };
    if is_dry {
        // A dry run delivers nothing.
        report.dry_run = Some(shared.sent().requests);
        report.removals = removals.map(|phase| PhaseReport { sent: DeliveryCounts::default(), ..phase });
    } else {
        (report.sent, report.removals) = (shared.sent(), removals);
    }
    Ok(context.outcome(report, limiter.take_stop()))
}

/// Finds the bytes of the input. A stop ends their reading.
pub(super) fn sources(readable: &ReadableInput, limiter: &Arc<RateLimiter<Stop>>) -> Result<Sources, InputError> {
    let limiter = Arc::clone(limiter);
    let is_stopped: IsStopped = Arc::new(move || {
        limiter.check_limit();
        limiter.is_stopped()
    });
    Ok(Sources::find(&readable.input, &readable.format_hint, &is_stopped)?)
}

/// An error if `failed_file` would replace a file of the input.
pub(super) fn keeps_input(config: &Config) -> Result<(), ConfigError> {
    let replaces = config.delivery.failed_file.as_deref().is_some_and(|path| config.reads(path));
    if replaces { Err(ConfigError::SameFile) } else { Ok(()) }
}

/// Opens the input to read it once, without sending it.
pub(super) fn open_once(
    config: &Config,
    readable: &ReadableInput,
    limiter: &Arc<RateLimiter<Stop>>,
) -> Result<Reader, Stop> {
    let pass = Pass::first(&config.operations);
    let open = |sources| Reader::new(sources, &config.input.names, limits(config, readable), pass);
    sources(readable, limiter).and_then(open).map_err(|error| stop_or(limiter, error))
}

fn limits(config: &Config, readable: &ReadableInput) -> Limits {
    let max_rejected = config.input.max_rejected;
    Limits { expected_rows: readable.expected_rows, max_rejected, batch_size: CAPACITY }
}

/// The reason why reading ended. A stop comes first, because it also makes reading fail.
pub(super) fn stop_or(limiter: &RateLimiter<Stop>, error: InputError) -> Stop {
    limiter.take_stop().unwrap_or_else(|| error.into())
}

/// A run that `is_done` has delivered what an earlier run had not. After another, the file of the earlier run stays.
pub(super) fn finish_failures(
    failures: &Failures,
    limiter: &RateLimiter<Stop>,
    operations: &Operations,
    is_done: bool,
) {
    if !is_done && failures.is_empty() {
        return;
    }
    match failures.finish() {
        Ok(Some((path, count))) => {
            let advice = match operations {
                Operations::One(_) => "upload it as input, unless another run has changed this cohort since",
                // Members removed since then would come back, or the reverse.
                Operations::Column(_) | Operations::Mirror => {
                    "do not upload that file: it could undo later runs. Run the whole input again"
                }
            };
            warn!("{count} identifiers that were not delivered are in {}; {advice}", path.display());
        }
        Ok(None) => {}
        Err(error) => {
            // Also logged, because the run may already have another reason to stop.
            error!("{error}; the identifiers that were not delivered are not saved");
            limiter.stop(Stop::CannotWrite(error));
        }
    }
}

/// What all requests have in common, and the first call.
pub fn plan(config: &Config, endpoint: &Endpoint, credentials: &Credentials, session_time: Option<&str>) -> Plan {
    let addresses = Addresses::new(endpoint, &config.braze.partner);
    let bodies = BodyWriter::new(credentials, &config.braze.cohort_id, &config.input.names.aliases);
    let names_nothing = config.operations == Operations::One(Operation::Remove) && config.braze.cohort_name.is_none();
    let plan = Plan { addresses, bodies, thread_count: config.delivery.thread_count, first_call: None };
    let first_call = if names_nothing {
        // The first call would rename the cohort to its ID.
        plan.call_without_changes()
    } else {
        let created_at = created_at(session_time);
        let body = BodyWriter::naming(credentials, &config.braze.cohort_id, config.braze.shown_name(), &created_at);
        FirstCall { address: plan.addresses.cohorts.clone(), body }
    };
    Plan { first_call: Some(first_call), ..plan }
}

/// The session's time, or now if there is none, in ISO 8601, UTC.
#[expect(clippy::disallowed_methods, reason = "Braze wants the wall clock's time")]
fn created_at(session_time: Option<&str>) -> String {
    session_time
        .and_then(|text| text.parse::<jiff::Timestamp>().ok())
        .unwrap_or_else(|| jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap_or_default())
        .to_string()
}

impl RunContext {
    /// The report of a run in which nothing was read or sent.
    pub(super) fn report(&self) -> Report {
        let Config { braze, input, operations, dry_run, .. } = &self.config;
        Report {
            cohort_id: braze.cohort_id.clone(),
            partner: braze.partner.clone(),
            operations: operations.clone(),
            labels: input.names.aliases.clone(),
            input: InputCounts::new(input.names.aliases.len()),
            sent: DeliveryCounts::default(),
            removals: None,
            matched: None,
            seconds: self.clock.now().as_secs_f64(),
            exit_code: 0,
            mirror: None,
            dry_run: dry_run.then_some(0),
            is_check: false,
            ignored_parameters: Vec::new(),
            job: self.job.clone(),
            sandbox: None,
        }
    }

    /// Turns a stop before anything was counted into a report.
    pub(super) fn or_report(&self, ended: Result<Outcome, Stop>) -> Result<Outcome, Stop> {
        match ended {
            Err(stop) if stop.has_report() => Ok(self.outcome(self.report(), Some(stop))),
            ended => ended,
        }
    }

    pub(super) fn outcome(&self, mut report: Report, stop: Option<Stop>) -> Outcome {
        let exit = match &stop {
            Some(stop) => stop.exit(),
            None if report.dry_run.is_some() => Exit::Success,
            None if report.undelivered() > 0 => Exit::TryAgain,
            None if report.sent.refused > self.config.delivery.max_refused => Exit::Refused,
            None => Exit::Success,
        };
        if exit == Exit::Success && report.sent.refused > 0 {
            let (refused, limit) = (report.sent.refused, self.config.delivery.max_refused);
            warn!("Braze refused {refused} identifiers, which max_refused ({limit}) allows");
        }
        report.exit_code = exit.code();
        Outcome { report, stop, exit }
    }
}
