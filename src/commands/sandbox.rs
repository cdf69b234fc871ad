//! `td-braze-cohort sandbox`

use super::CommandError;
use crate::commands::cli::SandboxArgs;
use crate::commands::exit::Exit;
use crate::commands::signals;
use crate::sandbox::{self, Options};
use crate::settings::credentials::{CLIENT_SECRET, PARTNER_API_KEY, REST_API_KEY};
use crate::terminal;

/// Runs the command until SIGINT or SIGTERM. The first line of standard output is the address.
pub fn run(args: SandboxArgs) -> Result<Exit, CommandError> {
    let key = |variable, default: &str| {
        std::env::var(variable).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned())
    };
    let sandbox = sandbox::start(Options {
        listen: args.listen,
        client_secret: key(CLIENT_SECRET, "sandbox-client-secret"),
        partner_api_key: key(PARTNER_API_KEY, "sandbox-partner-key"),
        rest_api_key: key(REST_API_KEY, "sandbox-rest-key"),
        partner: None,
        users: args.users,
        latency: args.latency,
        fail_every: args.fail_every,
        rate_limit: args.rate_limit,
    })?;
    terminal::print(&sandbox.endpoint());
    log::info!("set BRAZE_ENDPOINT={0} to upload here; look at {0}/cohorts and {0}/stats", sandbox.endpoint());
    signals::wait_for_signal().map_err(CommandError::Signals)?;
    sandbox.stop();
    Ok(Exit::Success)
}
