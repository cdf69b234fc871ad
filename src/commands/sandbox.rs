//! `td-braze-cohort sandbox`, and the sandbox inside an upload.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::variable;
use crate::braze::body::Credentials;
use crate::commands::cli::SandboxArgs;
use crate::commands::exit::Exit;
use crate::commands::outcome::Stop;
use crate::commands::signals;
use crate::sandbox::{self, Options, Sandbox};
use crate::secret::Secret;
use crate::settings::credentials::{self, CLIENT_SECRET, PARTNER_API_KEY, REST_API_KEY};
use crate::terminal;

/// Runs the command until SIGINT or SIGTERM. The first line on standard output is the address.
pub fn run(args: SandboxArgs) -> Result<Exit, Stop> {
    let key = |name, default: &str| variable(name).filter(|value| !value.is_empty()).unwrap_or(default.to_owned());
    let keys = [
        key(CLIENT_SECRET, "sandbox-client-secret"),
        key(PARTNER_API_KEY, "sandbox-partner-key"),
        key(REST_API_KEY, "sandbox-rest-key"),
    ];
    let sandbox = start(args, keys, true)?;
    terminal::print(&sandbox.endpoint());
    log::info!("set BRAZE_ENDPOINT={0} to upload here; open {0}/ in a browser to see what arrives", sandbox.endpoint());
    signals::wait_for_signal().map_err(Stop::Signals)?;
    Ok(Exit::Success)
}

fn start(args: SandboxArgs, keys: [String; 3], page: bool) -> Result<Sandbox, Stop> {
    let SandboxArgs { listen, users, latency, fail_every, rate_limit } = args;
    let [client_secret, partner_api_key, rest_api_key] = keys;
    Ok(sandbox::start(Options {
        listen,
        client_secret,
        partner_api_key,
        rest_api_key,
        partner: None,
        users,
        latency: latency.unwrap_or_default(),
        fail_every,
        rate_limit,
        page,
    })?)
}

/// A sandbox inside this process, and its credentials.
pub struct Embedded {
    /// It stops when it is dropped.
    pub sandbox: Sandbox,
    /// The keys that it accepts.
    pub credentials: Credentials,
    /// The REST API key.
    pub rest_api_key: Secret,
}

impl Embedded {
    /// Starts a sandbox that knows these users, or all if there is no file. `page` adds its web page.
    pub fn start(users: Option<PathBuf>, page: bool) -> Result<Self, Stop> {
        let keys = [(); 3].map(|()| format!("sandbox-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)));
        let [client_secret, partner_api_key, rest_api_key] = keys.clone().map(Secret::new);
        let credentials = Credentials { client_secret, partner_api_key };
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let args = SandboxArgs { listen, users, latency: None, fail_every: None, rate_limit: None };
        Ok(Self { sandbox: start(args, keys, page)?, credentials, rest_api_key })
    }

    /// Opens the page in the desktop's browser, if there is one, and logs the address.
    pub fn open(&self) {
        let link = format!("{}/", self.sandbox.endpoint());
        log::info!("open {link} in a browser to see what arrives");
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
        if program == "open" || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY") {
            let mut browser = Command::new(program);
            // It outlives this process, so it must not get Ctrl-C or the keys.
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
    pub fn keep(&self) -> Result<(), Stop> {
        log::info!("{}/ stays open until Ctrl-C", self.sandbox.endpoint());
        signals::wait_for_signal().map_err(Stop::Signals)
    }
}
