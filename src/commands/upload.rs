//! `td-braze-cohort upload CONFIG.yml`

use std::sync::Arc;

use serde_json::{Value, json};

use super::CommandError;
use super::check;
use super::pipeline::{self, Outcome, RunContext, Target};
use super::sandbox::Embedded;
use super::signals;
use crate::commands::cli::UploadArgs;
use crate::commands::exit::Exit;
use crate::sandbox::CohortView;
use crate::settings::raw::{Located, Origin, RawValue, SettingsLayer};
use crate::settings::setting::Key;
use crate::settings::template::Environment;
use crate::settings::{self, Config};
use crate::terminal;

/// Runs the command.
pub fn run(args: UploadArgs) -> Result<Exit, CommandError> {
    let variable = |name: &str| std::env::var(name).ok();
    let merged = settings::merge(
        Some(&args.config),
        &Environment(variable),
        flags(args.input, args.dry_run.then_some(true)),
        variable,
    )?;
    // A job of a CI or of a workflow must not wait for a person.
    let is_watched = args.open && terminal::is_interactive() && variable("CI").is_none_or(|value| value.is_empty());
    if args.open && !is_watched {
        log::info!("--open is ignored in CI and without a terminal");
    }
    let config = Config::check(&merged.layer, !args.sandbox)?;
    if config.check_only {
        let outcome = check::instead_of_upload(config, if args.json { |_| () } else { terminal::print })?;
        terminal::print(&if args.json { as_json(&outcome).to_string() } else { as_text(&outcome) });
        return Ok(outcome.exit);
    }
    let target = match (config.dry_run, args.sandbox) {
        (true, _) => Target::DryRun,
        (_, true) => Target::Sandbox(Arc::new(Embedded::start(args.users, is_watched)?)),
        _ => Target::Braze,
    };
    let page = match &target {
        Target::Sandbox(embedded) if is_watched => Some(Arc::clone(embedded)),
        _ => None,
    };
    if let Some(page) = &page {
        page.open();
    }
    let outcome = pipeline::run(RunContext::new(config, target, variable("session_time")))?;
    terminal::print(&if args.json { as_json(&outcome).to_string() } else { as_text(&outcome) });
    if let Some(problem) = outcome.problem() {
        terminal::say_error(&problem);
    }
    if let Some(page) = page.filter(|_| !signals::is_heard()) {
        page.keep()?;
    }
    Ok(outcome.exit)
}

/// What flags say, over what the file says.
pub fn flags(input: Option<String>, dry_run: Option<bool>) -> SettingsLayer {
    let input = input.map(|path| (Key::Input, Located { raw: RawValue::Text(path), origin: Origin::Flag("--input") }));
    let dry_run =
        dry_run.map(|on| (Key::DryRun, Located { raw: RawValue::Bool(on), origin: Origin::Flag("--dry-run") }));
    input.into_iter().chain(dry_run).collect()
}

fn as_json(outcome: &Outcome) -> Value {
    let mut report = outcome.report.to_json();
    if let (Some(object), Some(view)) = (report.as_object_mut(), &outcome.sandbox) {
        object.insert("sandbox".to_owned(), sandbox_counts(view));
    }
    report
}

fn sandbox_counts(view: &CohortView) -> Value {
    json!({
        "cohort_id": view.cohort_id,
        "name": view.name,
        "members": view.members,
        "user_ids": view.user_ids.len(),
        "device_ids": view.device_ids.len(),
        "aliases": view.aliases.len(),
        "unknown": view.unknown,
    })
}

/// The report, and below it what the sandbox holds.
pub fn as_text(outcome: &Outcome) -> String {
    let report = outcome.report.to_text();
    match &outcome.sandbox {
        None => report,
        Some(view) => format!(
            "{report}\nthe sandbox holds cohort {} ({}): {} members (by external ID {}, by device {}, by alias {}); \
             identifiers that it knows nobody by: {}",
            view.cohort_id,
            view.name.as_deref().unwrap_or("unnamed"),
            view.members,
            view.user_ids.len(),
            view.device_ids.len(),
            view.aliases.len(),
            view.unknown
        ),
    }
}
