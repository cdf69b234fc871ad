//! `td-braze-cohort sandbox`, and the sandbox inside an upload.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::CommandError;
use crate::braze::body::Credentials;
use crate::commands::cli::SandboxArgs;
use crate::commands::exit::Exit;
use crate::commands::signals;
use crate::sandbox::{self, Options, Sandbox};
use crate::secret::Secret;
use crate::settings::credentials::{self, CLIENT_SECRET, PARTNER_API_KEY, REST_API_KEY};
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
        latency: args.latency.unwrap_or_default(),
        fail_every: args.fail_every,
        rate_limit: args.rate_limit,
        page: true,
    })?;
    terminal::print_line(&sandbox.endpoint());
    log::info!("set BRAZE_ENDPOINT={0} to upload here; open {0}/ in a browser to see what arrives", sandbox.endpoint());
    signals::wait_for_signal().map_err(CommandError::Signals)?;
    sandbox.stop();
    Ok(Exit::Success)
}

/// A sandbox inside this process, and the credentials that it takes.
pub struct Embedded {
    /// It stops when it is dropped.
    pub sandbox: Sandbox,
    /// Made for it.
    pub credentials: Credentials,
    /// The REST API key.
    pub rest_api_key: Secret,
}

impl Embedded {
    /// Starts one that may know these users, and serves its page if someone is there to look at it.
    pub fn start(users: Option<PathBuf>, page: bool) -> Result<Self, CommandError> {
        let random = || Secret::new(format!("sandbox-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)));
        let credentials = Credentials { client_secret: random(), partner_api_key: random() };
        let rest_api_key = random();
        let sandbox = sandbox::start(Options {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            client_secret: credentials.client_secret.expose().to_owned(),
            partner_api_key: credentials.partner_api_key.expose().to_owned(),
            rest_api_key: rest_api_key.expose().to_owned(),
            partner: None,
            users,
            latency: Duration::ZERO,
            fail_every: None,
            rate_limit: None,
            page,
        })?;
        Ok(Self { sandbox, credentials, rest_api_key })
    }

    /// Opens the page in the browser of the desktop, if there is one, and says where it is.
    pub fn open(&self) {
        let link = format!("{}/", self.sandbox.endpoint());
        log::info!("open {link} in a browser to see what arrives");
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
        if program == "open" || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY") {
            let mut browser = Command::new(program);
            // It outlives this process: it is not meant by Ctrl-C, and has no business with the keys.
            for name in credentials::ALL {
                browser.env_remove(name);
            }
            browser.arg(&link).process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if let Err(error) = browser.spawn() {
                log::debug!("{program} cannot be started: {error}");
            }
        }
    }

    /// Blocks until SIGINT or SIGTERM.
    pub fn keep(&self) -> Result<(), CommandError> {
        log::info!("{}/ stays open until Ctrl-C", self.sandbox.endpoint());
        signals::wait_for_signal().map_err(CommandError::Signals)
    }
}
