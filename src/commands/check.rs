//! `td-braze-cohort check CONFIG.yml`: everything that can be found out without sending a member.

use log::info;
use serde_json::json;

use crate::braze::Addresses;
use crate::braze::body::BodyWriter;
use crate::commands::cli::CheckArgs;
use crate::commands::exit::Exit;
use crate::commands::outcome::{Api, Stop};
use crate::delivery::{self, FirstCall, Plan, Shared};
use crate::http::Http;
use crate::input::columns::Columns;
use crate::input::counters::InputCounts;
use crate::input::near_names::listed;
use crate::input::source::Input;
use crate::input::{Location, ReadableInput, TableName};
use crate::matching::sample::SampleSize;
use crate::members::identifier::Kind;
use crate::report::matching::to_text;
use crate::settings::credentials::{REST_API_KEY, from_environment, rest_api_key};
use crate::settings::template::Environment;
use crate::settings::{self, Config, ConfigError};
use crate::terminal;

use super::CommandError;
use super::job::{self, Access};
use super::matching::Matching;
use super::mirror::look;
use super::network::network;
use super::pipeline::{MAX_STEP, Outcome, RunContext, Target, open_once, stop_or};
use super::table;
use super::upload::flags;
use super::watch::watched;

/// So many rows of the input are looked at.
const PREVIEW: u64 = 1_000;

/// Runs the command: a line for each finding. The exit code is that of the first failure.
pub fn run(args: CheckArgs) -> Result<Exit, CommandError> {
    let variable = |name: &str| std::env::var(name).ok();
    // The credentials are tried even if an upload would not use them.
    let flags = flags(args.input, Some(false));
    let merged = settings::merge(Some(&args.config), &Environment(variable), flags, variable)?;
    let config = Config::check(&merged.layer, true)?;
    let mut context = RunContext::new(config, Target::Braze, None);
    if args.status {
        return status(&mut context, args.json);
    }
    let mut findings = Vec::new();
    let failures = take_steps(&mut context, |what, found| {
        if !args.json {
            terminal::print(&lines(what, found).join("\n"));
        }
        let said = found.as_ref().map_or_else(ToString::to_string, Clone::clone);
        findings.push(json!({"step": what, "ok": found.is_ok(), "said": said}));
    });
    if args.json {
        terminal::print(&json!({"version": env!("CARGO_PKG_VERSION"), "findings": findings}).to_string());
    }
    for (what, error) in &failures {
        terminal::say_error(&format!("{what}: {error}"));
    }
    Ok(failures.first().map_or(Exit::Success, |(_, error)| error.exit()))
}

/// What a run with `check_only` is: a check, whose report counts nothing.
pub fn instead_of_upload(config: Config, tell: fn(&str)) -> Result<Outcome, CommandError> {
    let mut context = RunContext::new(config, Target::Braze, None);
    let told = take_steps(&mut context, |what, found| tell(&lines(what, found).join("\n")));
    let mut failures = told.into_iter();
    if let Some((_, first)) = failures.next() {
        for (what, error) in failures {
            terminal::say_error(&format!("{what}: {error}"));
        }
        return Err(first);
    }
    let mut outcome = context.outcome(context.nothing(None), None);
    outcome.report.is_check = true;
    Ok(outcome)
}

/// Takes all steps and tells what each has found; returns those that failed.
fn take_steps(context: &mut RunContext, mut tell: impl FnMut(&str, &Finding)) -> Vec<(&'static str, CommandError)> {
    let is_asked = std::env::var(REST_API_KEY).is_ok() || context.config.matching.min_match.is_some();
    let of_mirror = context.config.mirror.is_some().then_some(("relied on", check_facts as Step));
    let of_match = is_asked.then_some(("match", check_match as Step));
    let steps = [("input", check_input as Step), ("credentials", check_credentials)];
    tell("settings", &Ok(described_settings(&context.config)));
    let mut failures = Vec::new();
    for (what, step) in steps.into_iter().chain(of_mirror).chain(of_match) {
        let found = step(context);
        tell(what, &found);
        failures.extend(found.err().map(|error| (what, error)));
    }
    failures
}

/// What a step has found, line by line.
fn lines(what: &str, found: &Finding) -> Vec<String> {
    match found {
        Ok(found) => found.lines().map(|line| format!("{what:<12} ok: {line}")).collect(),
        Err(_) => vec![format!("{what:<12} FAILED")],
    }
}

fn status(context: &mut RunContext, is_json: bool) -> Result<Exit, CommandError> {
    let Some(options) = context.config.mirror.clone() else { return Err(ConfigError::NoMirror.into()) };
    let (said, json) = look::status(context, &options)?;
    terminal::print(&if is_json { json.to_string() } else { said });
    Ok(Exit::Success)
}

fn described_settings(config: &Config) -> String {
    let operation = match config.operations.column() {
        Some(column) => format!("by column {column}, remove from and then add to"),
        None => config.operations.as_str().to_owned(),
    };
    let (id, name) = (&config.braze.cohort_id, config.braze.shown_name());
    format!("{operation} the cohort {id} (shown as {name}), {} requests at once", config.delivery.thread_count)
}

/// Tries what a mirror relies on.
fn check_facts(context: &mut RunContext) -> Finding {
    let Some(options) = context.config.mirror.clone() else { return Ok("no mirror".to_owned()) };
    info!("creating and deleting two tables and running a job; this may take 2 minutes");
    Ok(look::facts(context, &options)?.join("\n"))
}

type Step = fn(&mut RunContext) -> Finding;
type Finding = Result<String, CommandError>;

fn check_input(context: &mut RunContext) -> Finding {
    let input = match context.config.input.location.clone() {
        Location::Job(id) => return check_job(context, &id),
        Location::Table(table) => return check_table(context, &table),
        Location::Here(Input::Stdin) => return Ok("standard input is not read by check".to_owned()),
        Location::Here(input) => input,
    };
    let limiter = context.limiter_of_step((Api::Braze, "the input".to_owned()), MAX_STEP)?;
    let config = &context.config;
    let readable = ReadableInput { input, format_hint: config.input.format_hint.clone(), expected_rows: None };
    let reader = open_once(config, &readable, &limiter)?;
    let found = format!("{} ({}) {}", reader.name(), reader.format(), described(config, reader.columns()));
    let counts = reader.preview(PREVIEW).map_err(|error| stop_or(&limiter, error))?;
    Ok(format!("{found}; {}", previewed(&counts)))
}

/// What the first rows give.
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
        said.extend([", cells and rows rejected: ".to_owned(), counts.reasons()]);
    }
    if counts.null_words > 0 {
        said.extend([", words for NULL: ".to_owned(), counts.null_words.to_string()]);
    }
    said
}

/// Asks for the job, once. One that has not ended is waited for by the upload.
fn check_job(context: &mut RunContext, id: &str) -> Finding {
    let job = job::look(context, id)?;
    let Some((names, rows)) = job.ended else {
        return Ok(format!("job {id} is {}; an upload waits until it has ended", job.status));
    };
    let found = context.config.input.names.find_all(&names);
    let columns = found.map_err(|error| Stop::JobHeader { id: id.to_owned(), error: Box::new(error) })?;
    let rows = rows.map_or_else(|| "unknown".to_owned(), |rows| rows.to_string());
    Ok(format!("job {id} ({}, rows: {rows}) {}", job.status, described(&context.config, &columns)))
}

/// Asks for the table's columns; no row is read.
fn check_table(context: &mut RunContext, table: &TableName) -> Finding {
    let access = Access::new(&context.config)?;
    let limiter = context.limiter_of_step((Api::TreasureData, access.server.to_string()), MAX_STEP)?;
    let names = &context.config.input.names;
    let found = watched(&access.http, &limiter, || {}, || table::columns(&access.api(&limiter), table, names))?;
    let kinds: Vec<_> = found.used.iter().map(|column| column.kind.as_str()).collect();
    let near = if found.near.is_empty() { String::new() } else { format!("; ignored: {}", listed(&found.near)) };
    Ok(format!("the table {table} has {} columns, of which these are read: {}{near}", found.width, kinds.join(", ")))
}

fn described(config: &Config, columns: &Columns) -> String {
    let kinds: Vec<String> = columns
        .used
        .iter()
        .map(|(_, kind)| match kind {
            Kind::UserId => "user_ids".to_owned(),
            Kind::DeviceId => "device_ids".to_owned(),
            Kind::Alias(index) => format!("alias {}", config.input.names.aliases[usize::from(*index)]),
        })
        .collect();
    let missing = match columns.missing.as_slice() {
        [] => String::new(),
        names => format!("; no column {}", names.join(", ")),
    };
    let operation = config.operations.column().map_or_else(String::new, |name| format!("; operation: {name}"));
    let near = match columns.near.as_slice() {
        [] => String::new(),
        misses => format!("; ignored: {}", listed(misses)),
    };
    format!("has {} columns, identifiers: {}{operation}{missing}{near}", columns.width, kinds.join(", "))
}

/// A call with no changes: Braze checks both keys and the cohort ID, and does nothing.
fn check_credentials(context: &mut RunContext) -> Finding {
    let credentials = from_environment(|name| std::env::var(name).ok())?;
    let endpoint = context.config.required_endpoint()?.clone();
    let limiter = context.limiter_of_step((Api::Braze, endpoint.to_string()), MAX_STEP)?;
    let config = &context.config;
    let addresses = Addresses::new(&endpoint, &config.braze.partner);
    let bodies = BodyWriter::new(&credentials, &config.braze.cohort_id, &config.input.names.aliases);
    let first_call = FirstCall { address: addresses.users.clone(), body: bodies.no_changes() };
    let plan = Plan { addresses, bodies, thread_count: 1, first_call: Some(first_call) };
    let post = Http::new(1, network(config, &endpoint)?);
    let call = || {
        delivery::first_call(&plan, &post, &limiter, &Shared::new(0));
        Ok(())
    };
    watched(&post, &limiter, || {}, call)?;
    Ok(format!("{endpoint} accepts both keys for the partner {}", config.braze.partner))
}

/// Reads all of the input, and asks Braze about a sample.
fn check_match(context: &mut RunContext) -> Finding {
    let key = rest_api_key(|name| std::env::var(name).ok())?;
    let has_files = matches!(&context.config.input.location, Location::Here(input) if *input != Input::Stdin);
    if !has_files {
        return Ok("the input is not read by check; run td-braze-cohort match".to_owned());
    }
    let endpoint = context.config.required_endpoint()?.clone();
    let matching = Matching::new(context, &endpoint, key, SampleSize::default())?;
    let figures = matching.look_and_ask(context)?.figures;
    match context.config.matching.min_match.and_then(|min_match| figures.too_few(min_match)) {
        None => Ok(format!("{endpoint} was asked about a sample\n{}", to_text(&figures))),
        Some(too_few) => Err(Stop::from(too_few).into()),
    }
}
