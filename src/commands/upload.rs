//! `td-braze-cohort upload CONFIG.yml`

use std::path::Path;
use std::sync::Arc;

use super::check;
use super::context::RunContext;
use super::pipeline::{self, Outcome};
use super::sandbox::Embedded;
use super::signals;
use super::variable;
use crate::commands::cli::UploadArgs;
use crate::commands::exit::Exit;
use crate::commands::outcome::Stop;
use crate::settings::raw::{Located, Origin};
use crate::settings::setting::Key;
use crate::settings::template::Lookup;
use crate::settings::{self, Config, ConfigError};
use crate::terminal;

/// Runs the command.
pub fn run(UploadArgs { run: args, dry_run, open }: UploadArgs) -> Result<Exit, Stop> {
    let switches = [
        dry_run.then_some((Key::DryRun, true, "--dry-run")),
        dry_run.then_some((Key::CheckOnly, false, "--dry-run")),
        args.sandbox.then_some((Key::CheckOnly, false, "--sandbox")),
    ];
    let config = load(&args.config, args.input, switches.into_iter().flatten(), !args.sandbox)?;
    // A job in CI or in a workflow must not wait for a person.
    let is_watched = open && terminal::is_interactive() && variable("CI").is_none_or(|value| value.is_empty());
    if open && !is_watched {
        log::info!("--open is ignored in CI and without a terminal");
    }
    let print = |outcome: &Outcome| {
        let report = &outcome.report;
        terminal::print(&if args.json { report.to_json().to_string() } else { report.to_text() });
    };
    if config.check_only {
        let outcome = check::instead_of_upload(config, if args.json { |_| () } else { terminal::print })?;
        print(&outcome);
        return Ok(outcome.exit);
    }
    let sandbox = (args.sandbox && !config.dry_run).then(|| Embedded::start(args.users, is_watched));
    let sandbox = sandbox.transpose()?.map(Arc::new);
    let page = sandbox.clone().filter(|_| is_watched);
    if let Some(page) = &page {
        page.open();
    }
    let outcome = pipeline::run(RunContext { sandbox, ..RunContext::new(config, variable("session_time")) })?;
    print(&outcome);
    if let Some(problem) = outcome.problem() {
        terminal::say_error(&problem);
    }
    if let Some(page) = page.filter(|_| !signals::is_heard()) {
        page.keep()?;
    }
    Ok(outcome.exit)
}

/// For commands that are no uploads.
pub const NOT_DRY: [(Key, bool, &str); 1] = [(Key::DryRun, false, "--dry-run")];

/// The settings of environment, file and flags.
pub fn load(
    config: &Path,
    input: Option<String>,
    switches: impl IntoIterator<Item = (Key, bool, &'static str)>,
    needs_endpoint: bool,
) -> Result<Config, ConfigError> {
    let input = input.map(|path| (Key::Input, path.into(), "--input"));
    let flags = input.into_iter().chain(switches.into_iter().map(|(key, on, flag)| (key, on.into(), flag)));
    let flags = flags.map(|(key, raw, flag)| (key, Located { raw, origin: Origin::Flag(flag) })).collect();
    let merged = settings::merge(Some(config), &Lookup::Environment(&variable), flags, variable)?;
    Config::check(&merged, needs_endpoint)
}
