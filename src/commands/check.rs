//! `td-braze-cohort check CONFIG.yml`: everything that can be found out without sending a member.

use crate::braze::Addresses;
use crate::braze::body::BodyWriter;
use crate::commands::cli::CheckArgs;
use crate::commands::exit::Exit;
use crate::commands::outcome::Stop;
use crate::delivery::{self, FirstCall, Plan, Shared};
use crate::http::Http;
use crate::input::Location;
use crate::input::columns::Columns;
use crate::input::reader::{Limits, Pass, Reader};
use crate::input::source::Input;
use crate::members::batch::CAPACITY;
use crate::members::identifier::Kind;
use crate::settings::credentials::from_environment;
use crate::settings::template::Environment;
use crate::settings::{self, Config};
use crate::terminal;

use super::CommandError;
use super::job;
use super::network::network;
use super::pipeline::limiter;
use super::upload::flags;

/// Runs the command: a line for each finding. The exit code is that of the first failure.
pub fn run(args: CheckArgs) -> Result<Exit, CommandError> {
    let variable = |name: &str| std::env::var(name).ok();
    // The credentials are tried even if an upload would not use them.
    let flags = flags(args.input, Some(false));
    let merged = settings::merge(Some(&args.config), &Environment(variable), flags, variable)?;
    let config = Config::check(&merged.layer, true)?;
    terminal::print(&format!(
        "settings     ok: {} the cohort {} (shown as {}), {} requests at once",
        match config.operations.column() {
            Some(column) => format!("as column {column} says: remove from, then add to"),
            None => config.operations.as_str().to_owned(),
        },
        config.braze.cohort_id,
        config.braze.shown_name(),
        config.delivery.thread_count
    ));
    let findings = [("input", check_input(&config)), ("credentials", check_credentials(&config))];
    let (mut exit, mut failures) = (Exit::Success, Vec::new());
    for (what, finding) in findings {
        match finding {
            Ok(found) => terminal::print(&format!("{what:<12} ok: {found}")),
            Err((failure, code)) => {
                terminal::print(&format!("{what:<12} FAILED"));
                failures.push(format!("{what}: {failure}"));
                if exit == Exit::Success {
                    exit = code;
                }
            }
        }
    }
    for failure in failures {
        terminal::say_error(&failure);
    }
    Ok(exit)
}

type Finding = Result<String, (String, Exit)>;

fn failed(error: impl Into<CommandError>) -> (String, Exit) {
    let error = error.into();
    (error.to_string(), error.exit())
}

fn check_input(config: &Config) -> Finding {
    let input = match &config.input.location {
        Location::Job(id) => return check_job(config, id),
        Location::Here(input) => input,
    };
    if *input == Input::Stdin {
        return Ok("standard input, which is not read here".to_owned());
    }
    let limits = Limits { expected_rows: None, max_rejected: config.input.max_rejected, batch_size: CAPACITY };
    let reader = Reader::open(input, &config.input.form, &config.input.names, limits, Pass::first(&config.operations))
        .map_err(failed)?;
    let (name, format) = (reader.name(), reader.format());
    Ok(format!("{name} ({format}) {}", described(config, reader.columns())))
}

/// Asks for the job, once. One that has not ended is waited for by the upload.
fn check_job(config: &Config, id: &str) -> Finding {
    let shown = job::look(config, id).map_err(failed)?.map_err(|stop| (stop.to_string(), stop.exit()))?;
    let Some((names, rows)) = shown.finished else {
        return Ok(format!("job {id} is {}; an upload waits for it to end", shown.status));
    };
    let columns = config.input.names.find(&names).map_err(|error| {
        let error = Stop::JobHeader { id: id.to_owned(), error: Box::new(error) };
        (error.to_string(), error.exit())
    })?;
    let rows = rows.map_or_else(|| "unknown".to_owned(), |rows| rows.to_string());
    Ok(format!("job {id} ({}, rows: {rows}) {}", shown.status, described(config, &columns)))
}

fn described(config: &Config, columns: &Columns) -> String {
    let kinds: Vec<String> = columns
        .used
        .iter()
        .map(|(_, kind)| match kind {
            Kind::UserId => "user_ids".to_owned(),
            Kind::DeviceId => "device_ids".to_owned(),
            Kind::Alias(place) => format!("alias {}", config.input.names.aliases[usize::from(*place)]),
        })
        .collect();
    let missing = match columns.missing.as_slice() {
        [] => String::new(),
        names => format!("; no column {}", names.join(", ")),
    };
    let operation = config.operations.column().map_or_else(String::new, |name| format!("; operation: {name}"));
    format!("has {} columns, of which identifiers: {}{operation}{missing}", columns.width, kinds.join(", "))
}

/// A call with no changes: Braze checks both keys and the cohort ID, and does nothing.
fn check_credentials(config: &Config) -> Finding {
    let credentials = from_environment(|name| std::env::var(name).ok()).map_err(failed)?;
    let endpoint = config.required_endpoint().map_err(failed)?;
    let addresses = Addresses::new(endpoint, &config.braze.partner);
    let bodies = BodyWriter::new(&credentials, &config.braze.cohort_id, &config.input.names.aliases);
    let first_call = FirstCall { address: addresses.users.clone(), body: bodies.no_changes() };
    let plan = Plan { addresses, bodies, thread_count: 1, first_call: Some(first_call) };
    let limiter = limiter(config, endpoint);
    let post = Http::new(1, network(config, endpoint).map_err(failed)?);
    delivery::first_call(&plan, &post, &limiter, &Shared::new(0));
    match limiter.take_stop() {
        None => Ok(format!("{endpoint} accepts both keys for the partner {}", config.braze.partner)),
        Some(stop) => Err((stop.to_string(), stop.exit())),
    }
}
