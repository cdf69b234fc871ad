//! A mirror's run: the table and the state in Treasure Data, the changes to Braze.

use std::ops::ControlFlow;
use std::sync::Arc;

use log::warn;

use super::context::RunContext;
use super::job::Access;
use super::matching::Matching;
use super::phases::Upload;
use super::pipeline::{Outcome, finish_failures, plan};
use super::table;
use super::watch::cutting;
use crate::braze::body::Credentials;
use crate::commands::outcome::{Api, Stop};
use crate::delivery::Shared;
use crate::delivery::failed_file::Failures;
use crate::http::endpoint::Endpoint;
use crate::http::{Deadlines, Post};
use crate::input::cells::NullWords;
use crate::input::columns::Names;
use crate::input::near_names::{NearMiss, listed};
use crate::members::batch::CAPACITY;
use crate::mirror;
use crate::mirror::run::{self, Record, Rules};
use crate::mirror::sql::Statements;
use crate::mirror::state::State;
use crate::mirror::treasure_data::{ChangedRows, STALE, TreasureData};
use crate::mirror::warehouse::{self, OPERATION, Warehouse};
use crate::report::progress::{self, Progress, show_step};
use crate::report::{MirrorReport, Report};
use crate::retry::{RateLimiter, Stopped as LimiterStopped};
use crate::settings::Config;

pub mod look;
mod sender;

use sender::{BrazeSender, Stopped};

/// The most deadlines that a request can take: those for connecting, with one to spare; then those for head, body, the
/// answer's head, and its body.
const PHASES: [u32; 2] = [2, 4];

/// Carries out a mirror's run, or counts what it would do.
pub fn run(mut context: RunContext, options: &mirror::Options, recipient: &Recipient<'_>) -> Result<Outcome, Stop> {
    let is_dry = context.config.dry_run;
    let access = Access::new(&context.config)?;
    let limiter = context.limiter(Api::TreasureData, access.server.as_str())?;
    let rules = rules(&context.config, options);
    let work = || {
        let (warehouse, near) = warehouse(&access, &limiter, &context.config, options, recipient.credentials)?;
        let mut warehouse = warehouse.adopting(options.key_rotated, is_dry);
        let ended = if is_dry {
            preview(&mut context, &mut warehouse, &rules)
        } else {
            mirror(&mut context, &mut warehouse, recipient, &rules)
        };
        if let Some(job) = warehouse.running() {
            // The run's own connections are cut.
            Access::new(&context.config)?.api(&limiter).kill(job);
        }
        let (mut outcome, record) = ended?;
        outcome.report.input.add_ignored_columns(&near);
        let (counts, is_first, jobs) = (record.counts, record.top.is_none(), warehouse.issued().to_vec());
        outcome.report.mirror = Some(MirrorReport { counts, is_first, jobs });
        Ok(outcome)
    };
    let outcome: Result<Outcome, Stop> = cutting(&access.http, &limiter, work);
    progress::finish();
    context.or_report(outcome)
}

fn rules(config: &Config, options: &mirror::Options) -> Rules {
    let (request_timeout, grace) = (config.delivery.request_timeout, config.delivery.grace);
    let connecting = Deadlines::default().connect.min(request_timeout);
    let longest_try = PHASES[0] * connecting + PHASES[1] * request_timeout;
    let times = warehouse::Times { request_timeout, longest_try, grace, stale: STALE };
    Rules { limits: options.limits, max_rejected: config.input.max_rejected, times }
}

/// A mirror's table and its state. The query depends on which columns the table has. Also returns the columns that are
/// ignored although their name is close to one that is read.
fn warehouse<'a>(
    access: &'a Access,
    limiter: &'a RateLimiter<Stop>,
    config: &Config,
    options: &mirror::Options,
    credentials: &Credentials,
) -> Result<(TreasureData<'a, Stop>, Vec<NearMiss>), Stop> {
    let endpoint = config.required_endpoint()?;
    let stop =
        |LimiterStopped| limiter.take_stop().unwrap_or_else(|| Stop::Defect("a stop without a reason".to_owned()));
    let (columns, used) = table::columns(&access.api(limiter), &options.table, &config.input.names).map_err(stop)?;
    if !columns.near.is_empty() {
        warn!("ignored columns: {}; to use one, write SELECT ... AS with that name", listed(&columns.near));
    }
    let statements = Statements {
        cohort_id: config.braze.cohort_id.clone(),
        members: options.table.clone(),
        columns: used,
        null_words: config.input.names.null_words.words().to_vec(),
        refresh: options.refresh,
    };
    let cohort = [endpoint.as_str(), &config.braze.partner, &config.braze.cohort_id];
    let place = options.state_table.as_ref().unwrap_or(&options.table);
    let name = options.state_table.as_ref().map(|place| place.table.as_str());
    let state = State::new(&place.database, name, cohort, &credentials.client_secret);
    let aliases = config.input.names.aliases.clone();
    let warehouse =
        TreasureData::new(access.api(limiter), (statements, state, aliases), show_step, seconds_since_1970());
    Ok((warehouse, columns.near))
}

#[expect(clippy::disallowed_methods, reason = "tables are named after the wall clock's time")]
fn seconds_since_1970() -> u64 {
    jiff::Timestamp::now().as_second().try_into().unwrap_or_default()
}

/// The receiver of the changes.
pub struct Recipient<'a> {
    /// Sends requests.
    pub post: &'a dyn Post,
    /// Where they go.
    pub endpoint: &'a Endpoint,
    /// With these keys.
    pub credentials: &'a Credentials,
    /// Asks Braze first which identifiers it knows.
    pub matching: Option<&'a Matching>,
}

/// Counts the changes that `warehouse` lists, without making any.
fn preview<W>(context: &mut RunContext, warehouse: &mut W, rules: &Rules) -> Result<(Outcome, Record), Stop>
where
    W: Warehouse<Rows = ChangedRows, Error = Stopped>,
{
    let mut record = Record::default();
    let conclusion = run::preview(warehouse, rules, &mut record)?;
    let counts = record.counts.unwrap_or_default();
    let batches = counts.removals.div_ceil(CAPACITY as u64) + counts.additions.div_ceil(CAPACITY as u64);
    let report = Report { dry_run: Some(batches), ..context.report() };
    Ok((context.outcome(report, conclusion.map(Stop::Mirror)), record))
}

fn mirror<W>(
    context: &mut RunContext,
    warehouse: &mut W,
    recipient: &Recipient<'_>,
    rules: &Rules,
) -> Result<(Outcome, Record), Stop>
where
    W: Warehouse<Rows = ChangedRows, Error = Stopped>,
{
    let mut record = Record::default();
    let planned = match run::plan(warehouse, rules, &mut record) {
        Ok(ControlFlow::Continue(planned)) => planned,
        Ok(ControlFlow::Break(conclusion)) => {
            return Ok((context.outcome(context.report(), Some(Stop::Mirror(conclusion))), record));
        }
        Err(stop) => return Ok((context.outcome(context.report(), Some(*stop)), record)),
    };
    // Includes labels of the state that the settings no longer list.
    context.config.input.names.aliases.clone_from(&planned.changes.rows.labels);
    let limiter = context.limiter(Api::Braze, recipient.endpoint.as_str())?;
    let config = &context.config;
    let failures = Failures::begin(config.delivery.failed_file.as_deref(), &config.input.names);
    let failures = Arc::new(failures.or_else(|error| planned.give_up(warehouse).and(Err(Box::new(error.into()))))?);
    let shared = Arc::new(Shared::new(config.input.names.aliases.len()));
    let names = Names {
        mapping: Vec::new(),
        operation: Some(OPERATION.to_owned()),
        null_words: NullWords::new(Vec::new()),
        ..config.input.names.clone()
    };
    let upload = Upload {
        config,
        plan: plan(config, recipient.endpoint, recipient.credentials, context.session_time.as_deref()),
        post: recipient.post,
        limiter: &limiter,
        shared: &shared,
        failures: &failures,
        progress: Progress::new(None, Arc::default()),
        matching: recipient.matching,
        matched: None,
    };
    let mut sender = BrazeSender { upload, names: &names, request_timeout: rules.times.request_timeout };
    let ended = match sender.prepare(&planned.changes, record.top.is_none()) {
        Ok(()) => run::carry_out(warehouse, &mut sender, rules, planned, &mut record),
        Err(stop) => planned.give_up(warehouse).and(Err(stop)),
    };
    let stop = match ended {
        Ok(run::Conclusion::Committed) => None,
        Ok(conclusion) => Some(Stop::Mirror(conclusion)),
        Err(stop) => Some(*stop),
    };
    let is_done = stop.is_none() && !limiter.is_stopped();
    finish_failures(&failures, &limiter, &config.operations, is_done);
    let (input, sent, matched) = (shared.input().clone(), shared.sent(), sender.upload.matched);
    let report = Report { input, sent, matched, ..context.report() };
    Ok((context.outcome(report, stop.or(limiter.take_stop())), record))
}

#[cfg(test)]
mod tests;
