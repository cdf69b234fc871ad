//! In: requests of the cohort API. Out: what Braze would answer. It listens on loopback only.
//!
//! It lets people try the program without a Braze account, and serves smoke tests and this project's own tests.
//!
//! ```text
//! server ──> http ──> service ──> rules ──> store
//!  sockets    a request    │        a body -> changes, or a refusal
//!                          │ rate limit, every n-th request fails
//!                          └ a GET ──> inspect: the page, and the JSON that it shows
//! ```
//! Only `server` has effects.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

mod export;
mod http;
mod inspect;
mod limit;
mod rules;
mod server;
mod service;
mod stats;
mod store;
mod users;

pub use limit::{RateLimit, RateLimitError};
pub use server::Sandbox;
pub use stats::Stats;
pub use store::{Alias, Applied, CohortView, Effect, Identifier, Kind, Operation};

use service::Service;
use store::Page;
use users::KnownUsers;

/// The sandbox's address, what it accepts, and its simulated failures. It has no `Debug`, because it holds the keys.
#[derive(Clone)]
pub struct Options {
    /// A loopback address; port 0 picks a free port.
    pub listen: SocketAddr,
    /// The data import key that requests must carry.
    pub client_secret: String,
    /// The partner key that requests must carry.
    pub partner_api_key: String,
    /// The REST API key that questions about users must carry.
    pub rest_api_key: String,
    /// The partner's path segment. Other partners get 404. `None` accepts every partner.
    pub partner: Option<String>,
    /// A CSV file with a row for each known user: `external_id`, `device_id`, and a column for each alias label.
    /// `None` makes every identifier a user.
    pub users: Option<PathBuf>,
    /// The delay of every API answer.
    pub latency: Duration,
    /// Every n-th API request is answered with 503 and not applied. Requests over the rate limit do not count.
    pub fail_every: Option<NonZeroU64>,
    /// How many API requests a window allows. Others are answered with 429 and not applied.
    pub rate_limit: Option<RateLimit>,
    /// Whether it serves the page and its JSON, which show everything to every process on this machine.
    pub page: bool,
}

/// Why the sandbox could not start.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the fields are what the messages name")]
pub enum Error {
    /// Anyone on the network could reach it.
    #[error(
        "the sandbox listens on a loopback address only, not on {listen}: set --listen to 127.0.0.1:4000 or [::1]:4000"
    )]
    NotLoopback { listen: SocketAddr },
    /// The address is in use or not of this machine, or no thread can be started.
    #[error(
        "the sandbox cannot listen on {listen}: {source} (set --listen to another address; port 0 picks a free one)"
    )]
    Listen { listen: SocketAddr, source: io::Error },
    /// The file is missing or not UTF-8, or the cells of a row do not match the header.
    #[error("the sandbox's users in {} cannot be read: {source} (it must be CSV with a header line)", path.display())]
    Users { path: PathBuf, source: csv::Error },
}

/// Starts to listen, and answers requests on other threads.
///
/// # Errors
/// The address is not loopback or not free, or the known users cannot be read.
pub fn start(options: Options) -> Result<Sandbox, Error> {
    let listen = options.listen;
    if !listen.ip().is_loopback() {
        return Err(Error::NotLoopback { listen });
    }
    let known = options.users.as_deref().map(read_users).transpose()?;
    let sandbox = TcpListener::bind(listen).and_then(|listener| Sandbox::start(listener, Service::new(options, known)));
    let sandbox = sandbox.map_err(|source| Error::Listen { listen, source })?;
    log::info!("the sandbox listens on {}", sandbox.address);
    Ok(sandbox)
}

fn read_users(path: &Path) -> Result<KnownUsers, Error> {
    let known = File::open(path).map_err(csv::Error::from).and_then(KnownUsers::read);
    known.map_err(|source| Error::Users { path: path.to_owned(), source })
}

impl Sandbox {
    /// Its address, such as `http://127.0.0.1:40123`. Clients use it as Braze's REST endpoint.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The current cohort with this ID; `None` before the first request that names it.
    pub fn cohort(&self, id: &str) -> Option<CohortView> {
        self.service.lock().store.cohort(id, Page::ALL)
    }

    /// The counts so far.
    pub fn stats(&self) -> Stats {
        self.service.lock().stats.clone()
    }
}

#[cfg(test)]
mod tests;
