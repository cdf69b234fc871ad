//! `td-braze-cohort check CONFIG.yml`: everything that can be checked without sending a member.

use log::info;
use serde_json::json;

use crate::commands::cli::CheckArgs;
use crate::commands::exit::Exit;
use crate::commands::outcome::{Api, Stop};
use crate::delivery::{self, Shared};
use crate::http::Http;
use crate::input::columns::Columns;
use crate::input::counters::InputCounts;
use crate::input::near_names::listed;
use crate::input::source::Input;
use crate::input::{Location, ReadableInput, TableName};
use crate::matching::sample::SampleSize;
use crate::members::identifier::Kind;
use crate::report::Report;
use crate::report::matching::to_text;
use crate::settings::Config;
use crate::settings::credentials::{REST_API_KEY, from_environment, rest_api_key};
use crate::terminal;

use super::context::{MAX_STEP, RunContext};
use super::job::Access;
use super::matching::Matching;
use super::mirror::look;
use super::network::network;
use super::pipeline::{Outcome, keeps_input, open_once, plan, stop_or};
use super::table;
use super::upload::{NOT_DRY, load};
use super::variable;
use super::watch::watched;

/// How many rows are read.
const PREVIEW: u64 = 1_000;

type Step = fn(&mut RunContext) -> Finding;
type Finding = Result<String, Stop>;

/// Runs the command and prints the findings. The exit code is that of the first failure.
pub fn run(args: CheckArgs) -> Result<Exit, Stop> {
    // The credentials are tried even if an upload would not use them.
    let mut context = RunContext::new(load(&args.config, args.input, NOT_DRY, true)?, None);
    if args.status {
        terminal::print(&look::status(&context)?);
        return Ok(Exit::Success);
    }
    let found = take_steps(&mut context, if args.json { |_| () } else { terminal::print });
    if args.json {
        let finding = |(what, found): &(&str, Finding)| {
            let said = found.as_ref().map_or_else(ToString::to_string, Clone::clone);
            json!({"step": what, "ok": found.is_ok(), "said": said})
        };
        let findings: Vec<_> = found.iter().map(finding).collect();
        terminal::print(&json!({"version": env!("CARGO_PKG_VERSION"), "findings": findings}).to_string());
    }
    let failures: Vec<_> = failures(found).collect();
    failures.iter().for_each(say);
    Ok(failures.first().map_or(Exit::Success, |(_, error)| error.exit()))
}

/// A run with `check_only`. Its report has no counts.
pub fn instead_of_upload(config: Config, tell: fn(&str)) -> Result<Outcome, Stop> {
    let mut context = RunContext::new(config, None);
    let mut failures = failures(take_steps(&mut context, tell));
    if let Some((_, first)) = failures.next() {
        failures.for_each(|other| say(&other));
        return Err(first);
    }
    let report = Report { is_check: true, dry_run: None, ..context.report() };
    Ok(context.outcome(report, None))
}

fn say((what, error): &(&str, Stop)) {
    terminal::say_error(&format!("{what}: {error}"));
}

fn failures(found: Vec<(&'static str, Finding)>) -> impl Iterator<Item = (&'static str, Stop)> {
    found.into_iter().filter_map(|(what, found)| Some((what, found.err()?)))
}

/// Takes all steps. `tell` gets each step's lines as soon as the step has ended.
fn take_steps(context: &mut RunContext, tell: fn(&str)) -> Vec<(&'static str, Finding)> {
    let has_key = variable(REST_API_KEY).is_some_and(|key| !key.is_empty());
    let is_asked = has_key || context.config.matching.min_match.is_some();
    let of_mirror = context.config.mirror.is_some().then_some(("relied on", check_facts as Step));
    let of_match = is_asked.then_some(("match", check_match as Step));
    let settings: Step = |context| {
        keeps_input(&context.config)?;
        Ok(described_settings(&context.config))
    };
    let steps = [("settings", settings), ("input", check_input), ("credentials", check_credentials)];
    let take = |(what, step): (&'static str, Step)| {
        let found = step(context);
        match &found {
            Ok(found) => found.lines().for_each(|line| tell(&format!("{what:<12} ok: {line}"))),
            Err(_) => tell(&format!("{what:<12} FAILED")),
        }
        (what, found)
    };
    steps.into_iter().chain(of_mirror).chain(of_match).map(take).collect()
}

fn described_settings(config: &Config) -> String {
    let operation = match config.operations.column() {
        Some(column) => format!("by column {column}, remove from and then add to"),
        None => config.operations.as_str().to_owned(),
    };
    let (id, name) = (&config.braze.cohort_id, config.braze.shown_name());
    format!("{operation} the cohort {id} (shown as {name}), {} requests at once", config.delivery.thread_count)
}

fn check_facts(context: &mut RunContext) -> Finding {
    info!("creating and deleting two tables and running a job; this may take 2 minutes");
    Ok(look::facts(context)?.join("\n"))
}

fn check_input(context: &mut RunContext) -> Finding {
    let input = match context.config.input.location.clone() {
        Location::Job(id) => return check_job(context, &id),
        Location::Table(table) => return check_table(context, &table),
        Location::Here(Input::Stdin) => return Ok("standard input is not read by check".to_owned()),
        Location::Here(input) => input,
    };
    let limiter = context.limiter_of_step(Api::Braze, "the input", MAX_STEP)?;
    let config = &context.config;
    let readable = ReadableInput { input, format_hint: config.input.format_hint.clone(), expected_rows: None };
    let reader = open_once(config, &readable, &limiter)?;
    let found = format!("{} ({}) {}", reader.name(), reader.format(), described(config, reader.columns()));
    let counts = reader.preview(PREVIEW).map_err(|error| stop_or(&limiter, error))?;
    Ok(format!("{found}; {}", previewed(&counts)))
}

fn previewed(counts: &InputCounts) -> String {
    let rows = if counts.read_to_end { "all" } else { "the first" };
    let mut said = format!(
        "{rows} {} rows: {} used, {} without identifier, {} rejected, identifiers: {}",
        counts.rows_seen,
        counts.rows_used,
        counts.rows_without_identifier,
        counts.rows_rejected,
        counts.identifiers()
    );
    if counts.rejections() > 0 {
        said.extend([", cells and rows rejected: ", &counts.reasons()]);
    }
    if counts.null_words > 0 {
        said.extend([", words for NULL: ", &counts.null_words.to_string()]);
    }
    said
}

/// Asks for the job once, and does not wait for its end as an upload does.
fn check_job(context: &mut RunContext, id: &str) -> Finding {
    let access = Access::new(&context.config)?;
    let limiter = context.limiter_of_step(Api::TreasureData, access.server.as_str(), MAX_STEP)?;
    let job = access.job(id);
    let info = watched(&access.http, &limiter, || access.api(&limiter).show(&job))?;
    let status = info.status;
    if !info.is_done()? {
        return Ok(format!("job {id} is {status}; an upload waits until it has ended"));
    }
    let found = context.config.input.names.find_all(&info.columns()?);
    let columns = found.map_err(|error| Stop::Header { name: job.name(), error: Box::new(error) })?;
    let rows = info.summary.rows.map_or_else(|| "unknown".to_owned(), |rows| rows.to_string());
    Ok(format!("job {id} ({status}, rows: {rows}) {}", described(&context.config, &columns)))
}

/// Asks for the table's columns; no row is read.
fn check_table(context: &mut RunContext, table: &TableName) -> Finding {
    let access = Access::new(&context.config)?;
    let limiter = context.limiter_of_step(Api::TreasureData, access.server.as_str(), MAX_STEP)?;
    let names = &context.config.input.names;
    let (columns, _) = watched(&access.http, &limiter, || table::columns(&access.api(&limiter), table, names))?;
    Ok(format!("the table {table} {}", described(&context.config, &columns)))
}

fn described(config: &Config, columns: &Columns) -> String {
    let aliases = &config.input.names.aliases;
    let kind = |(_, kind): &(_, Kind)| match kind {
        Kind::Alias(_) => format!("alias {}", kind.column(aliases)),
        kind => kind.column(aliases).to_owned(),
    };
    let kinds: Vec<_> = columns.used.iter().map(kind).collect();
    let missing = columns.missing.join(", ");
    let missing = if missing.is_empty() { missing } else { format!("; no column {missing}") };
    let operation = config.operations.column().map_or_else(String::new, |name| format!("; operation: {name}"));
    let (width, kinds, near) = (columns.width, kinds.join(", "), &columns.near);
    let ignored = if near.is_empty() { String::new() } else { format!("; ignored: {}", listed(near)) };
    format!("has {width} columns, identifiers: {kinds}{operation}{missing}{ignored}")
}

/// Sends a call without changes: Braze checks both keys and the cohort ID, and does nothing.
fn check_credentials(context: &mut RunContext) -> Finding {
    let credentials = from_environment(variable)?;
    let endpoint = context.config.required_endpoint()?.clone();
    let limiter = context.limiter_of_step(Api::Braze, endpoint.as_str(), MAX_STEP)?;
    let config = &context.config;
    let plan = plan(config, &endpoint, &credentials, None);
    let post = Http::new(1, network(config, &endpoint)?);
    let call = || {
        delivery::call_without_changes(&plan, &post, &limiter, &Shared::new(0));
        Ok(())
    };
    watched(&post, &limiter, call)?;
    Ok(format!("{endpoint} accepts both keys for the partner {}", config.braze.partner))
}

/// Reads all of the input, and asks Braze about a sample.
fn check_match(context: &mut RunContext) -> Finding {
    let key = rest_api_key(variable)?;
    let has_files = matches!(&context.config.input.location, Location::Here(input) if *input != Input::Stdin);
    if !has_files {
        return Ok("the input is not read by check; run td-braze-cohort match".to_owned());
    }
    let endpoint = context.config.required_endpoint()?.clone();
    let matching = Matching::new(context, &endpoint, key, SampleSize::default())?;
    let figures = matching.look_and_ask(context)?.figures;
    match context.config.matching.min_match.and_then(|min_match| figures.too_few(min_match)) {
        None => Ok(format!("{endpoint} was asked about a sample\n{}", to_text(&figures))),
        Some(too_few) => Err(too_few.into()),
    }
}
