//! Parses the command line, starts the logger, runs the command, and turns its result into an exit code.

use std::process::ExitCode;

use clap::Parser;
use td_braze_cohort::commands;
use td_braze_cohort::commands::cli::{Cli, Command};
use td_braze_cohort::commands::exit::Exit;
use td_braze_cohort::commands::outcome::Stop;
use td_braze_cohort::http::proxy::PROXY_VARIABLES;
use td_braze_cohort::secret;
use td_braze_cohort::settings::ConfigError;
use td_braze_cohort::settings::credentials::{self, names_a_credential};
use td_braze_cohort::terminal;

fn main() -> ExitCode {
    terminal::tell_panics();
    let exit = std::panic::catch_unwind(run).unwrap_or(Exit::Defect);
    ExitCode::from(exit.code())
}

fn run() -> Exit {
    // Comes first, so that no message can show a key.
    secret::remember_variables(&credentials::ALL);
    secret::remember_passwords_in_addresses(&PROXY_VARIABLES);
    let arguments: Vec<_> = std::env::args_os().filter_map(|argument| argument.into_string().ok()).collect();
    // Comes before clap, whose messages repeat the argument.
    let names_one = |argument: &String| {
        let is_flag = argument.starts_with("--") && names_a_credential(argument.split('=').next().unwrap_or_default());
        let is_assignment = credentials::ALL.iter().any(|name| argument.starts_with(name));
        is_flag || is_assignment || secret::holds_a_secret(argument)
    };
    if arguments.iter().any(names_one) {
        return finish(Err(ConfigError::CredentialOnCommandLine.into()));
    }
    match Cli::try_parse() {
        Ok(cli) => finish(run_command(cli.command)),
        Err(usage) => {
            if usage.use_stderr() {
                terminal::say(&usage.render().to_string());
                return Exit::Usage;
            }
            let _ = usage.print();
            Exit::Success
        }
    }
}

fn run_command(command: Command) -> Result<Exit, Stop> {
    // The sandbox logs each request, which is not useful during an upload.
    let is_sandbox = matches!(command, Command::Sandbox(_));
    terminal::start_logger(if is_sandbox { "info" } else { "info,td_braze_cohort::sandbox=warn" });
    match command {
        Command::Upload(args) => commands::upload::run(args),
        Command::Check(args) => commands::check::run(args),
        Command::Match(args) => commands::matching::run(args),
        Command::Operator(args) => commands::operator::run(&args),
        Command::Init(args) => commands::init::run(&args),
        Command::Sandbox(args) => commands::sandbox::run(args),
        Command::Schema => Ok(commands::schema::run()),
    }
}

fn finish(result: Result<Exit, Stop>) -> Exit {
    result.unwrap_or_else(|error| {
        terminal::say_error(&error.to_string());
        error.exit()
    })
}
