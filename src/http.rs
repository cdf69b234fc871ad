//! One POST at a time over ureq: its deadlines, its pool of connections, bounded answers. The only file that names ureq.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, Uri};
use thiserror::Error;
use ureq::Agent;
use ureq::config::Config;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, RustlsConnector, TcpConnector, time,
};

mod watched;

use watched::{StaleConnection, WatchConnector};

/// The longest head or body of an answer that is read, in bytes.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
const SEND_DEADLINE: Duration = Duration::from_mins(1);
const ANSWER_DEADLINE: Duration = Duration::from_mins(1);
/// How long a name's addresses are used again. ureq by itself looks the name up before every request.
const ADDRESSES_KEPT: Duration = Duration::from_secs(30);

/// An answer, complete.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Vec<u8>,
}

/// Why there is no answer. No variant carries anything of the request.
#[derive(Debug, Error)]
pub enum HttpError {
    /// A kept connection had been closed by the server; nothing of the request was heard.
    #[error("the server had closed the idle connection")]
    Stale,
    /// Refused, unreachable, not found.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// A phase took too long.
    #[error("took too long ({0})")]
    Timeout(String),
    /// The connection broke before the answer was complete.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The answer is not HTTP, or longer than [`MAX_ANSWER_BYTES`].
    #[error("the answer is not usable: {0}")]
    Garbage(String),
    /// The server's certificate is not trusted.
    #[error("the certificate is not trusted: {0}")]
    Certificate(String),
    /// The proxy does not let us through.
    #[error("the proxy refused: {0}")]
    Proxy(String),
}

/// Sends a request's body and brings the answer.
pub trait Post: Send + Sync {
    /// Sends `body`, JSON, to the address.
    fn post(&self, address: &str, body: &[u8]) -> Result<Answer, HttpError>;
    /// Breaks off what is in flight and refuses what comes after.
    fn cut(&self);
}

/// Posts over the network.
pub struct Http {
    agent: Agent,
}

impl Http {
    /// Keeps up to `connections` connections. A proxy of the environment is used, but never for this machine itself.
    pub fn new(connections: usize, is_local: bool) -> Self {
        let mut config = Config::builder();
        if is_local {
            config = config.proxy(None);
        }
        let config = config
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(connections)
            .max_idle_connections_per_host(connections)
            .max_response_header_size(MAX_ANSWER_BYTES)
            // 64 encrypted connections with the default of 128 KiB each would take 15 MiB more.
            .input_buffer_size(16 * 1024)
            .user_agent(concat!("td-braze-cohort/", env!("CARGO_PKG_VERSION")))
            .accept("application/json")
            .accept_encoding("identity")
            .timeout_connect(Some(CONNECT_DEADLINE))
            .timeout_send_request(Some(SEND_DEADLINE))
            .timeout_send_body(Some(SEND_DEADLINE))
            .timeout_recv_response(Some(ANSWER_DEADLINE))
            .timeout_recv_body(Some(ANSWER_DEADLINE))
            .build();
        let connector =
            ().chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(RustlsConnector::default())
                .chain(WatchConnector);
        Self { agent: Agent::with_parts(config, connector, CachingResolver::default()) }
    }
}

impl Post for Http {
    fn post(&self, address: &str, body: &[u8]) -> Result<Answer, HttpError> {
        let response = self.agent.post(address).content_type("application/json").send(body).map_err(HttpError::from)?;
        let (parts, body) = response.into_parts();
        let mut bytes = Vec::new();
        // One byte more than may be: it tells an answer that is just as long from an endless one.
        body.into_reader()
            .take(MAX_ANSWER_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| HttpError::from(ureq::Error::from(error)))?;
        // An error page may be long; its status says enough.
        let is_success = parts.status.is_success();
        if bytes.len() > MAX_ANSWER_BYTES && is_success {
            return Err(HttpError::Garbage(format!("more than {MAX_ANSWER_BYTES} bytes")));
        }
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body: bytes })
    }

    fn cut(&self) {
        self.agent.clone().shutdown();
    }
}

impl From<ureq::Error> for HttpError {
    fn from(error: ureq::Error) -> Self {
        use std::io::ErrorKind;
        use ureq::Error;
        let text = error.to_string();
        match error {
            Error::Other(other) if other.is::<StaleConnection>() => Self::Stale,
            Error::Timeout(phase) => Self::Timeout(phase.to_string()),
            Error::Io(error) => match error.kind() {
                ErrorKind::InvalidData if text.contains("certificate") => Self::Certificate(error.to_string()),
                ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof
                | ErrorKind::InvalidData => Self::Broken(error.to_string()),
                _ => Self::Unreachable(error.to_string()),
            },
            Error::Rustls(_) | Error::Tls(_) | Error::TlsRequired if text.contains("certificate") => {
                Self::Certificate(text)
            }
            Error::Protocol(_) | Error::LargeResponseHeader(..) | Error::Http(_) => Self::Garbage(text),
            Error::ConnectProxyFailed(_) | Error::InvalidProxyUrl => Self::Proxy(text),
            Error::HostNotFound | Error::ConnectionFailed => Self::Unreachable(text),
            _ => Self::Broken(text),
        }
    }
}

/// Looks a name up once in [`ADDRESSES_KEPT`], on the thread that asks.
#[derive(Debug, Default)]
struct CachingResolver {
    inner: DefaultResolver,
    known: Mutex<Option<(Uri, Instant, Vec<SocketAddr>)>>,
}

impl Resolver for CachingResolver {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, since, addresses)) = known.as_ref()
            && of.authority() == uri.authority()
            && since.elapsed() < ADDRESSES_KEPT
        {
            let mut resolved = self.empty();
            for address in addresses {
                resolved.push(*address);
            }
            return Ok(resolved);
        }
        // Without a deadline ureq looks the name up here; with one it would start a thread each time.
        let no_deadline = NextTimeout { after: time::Duration::NotHappening, ..timeout };
        let resolved = self.inner.resolve(uri, config, no_deadline).map_err(|error| match error {
            ureq::Error::Io(_) => ureq::Error::HostNotFound,
            other => other,
        })?;
        *known = Some((uri.clone(), Instant::now(), resolved.iter().copied().collect()));
        Ok(resolved)
    }
}

/// What a connector needs to name its neighbours.
type Details<'a> = ConnectionDetails<'a>;
