//! ureq's way through a proxy (CONNECT), with errors that tell the proxy's from the endpoint's.

use thiserror::Error;
use ureq::Error;
use ureq::unversioned::transport::{ConnectProxyConnector, ConnectionDetails, Connector};

use super::proxy::Proxy;
use super::{HttpError, tls};

/// Why the proxy leads nowhere.
#[derive(Debug, Error)]
pub enum TunnelError {
    /// It does not answer, or says that the endpoint does not.
    #[error("the proxy {proxy}: {problem}")]
    Unreachable {
        /// Where it is.
        proxy: String,
        /// What went wrong.
        problem: String,
    },
    /// It does not let us through.
    #[error("{proxy} answered {status}: {way_out}")]
    Refused {
        /// Where it is.
        proxy: String,
        /// The answer to CONNECT.
        status: u16,
        /// What to do.
        way_out: &'static str,
    },
}

/// Stands first in the chain: if there is a proxy, it is what gets connected.
#[derive(Debug)]
pub struct ProxyConnector {
    /// Through this one.
    pub proxy: Option<Proxy>,
    /// Asks it.
    pub inner: ConnectProxyConnector,
}

impl Connector<()> for ProxyConnector {
    type Out = <ConnectProxyConnector as Connector<()>>::Out;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<Self::Out>, Error> {
        let Some(proxy) = &self.proxy else { return Ok(None) };
        self.inner.connect(details, None).map_err(|error| Error::Other(Box::new(meaning(error, proxy))))
    }
}

fn meaning(error: Error, proxy: &Proxy) -> HttpError {
    let unreachable = |problem| {
        let proxy = proxy.label();
        HttpError::Unreachable(TunnelError::Unreachable { proxy, problem }.to_string())
    };
    if let Error::ConnectProxyFailed(said) = &error
        && let Some(status) = status(said)
    {
        return match status {
            408 | 429 | 500.. => unreachable(format!("it answered {status} to CONNECT")),
            status => {
                let way_out = way_out(status);
                HttpError::Proxy(TunnelError::Refused { proxy: proxy.label(), status, way_out }.to_string())
            }
        };
    }
    match tls::refused(proxy.inner.host(), &error).unwrap_or_else(|| error.into()) {
        error @ HttpError::Certificate(_) => error,
        HttpError::Unreachable(problem) => unreachable(problem),
        error @ HttpError::Timeout(_) => unreachable(error.to_string()),
        error => unreachable(format!("it gave no usable answer to CONNECT ({error})")),
    }
}

/// The status in ureq's words: `proxy server responded 407/407`.
fn status(said: &str) -> Option<u16> {
    said.rsplit_once('/')?.1.parse().ok()
}

/// What to do about a proxy that does not let us through.
pub fn way_out(status: u16) -> &'static str {
    match status {
        407 => "it asks for credentials; give them in the variable, as http://user:password@host:port",
        401 | 403 => "have it allow the endpoint's host, or leave it out with NO_PROXY",
        _ => "is it a proxy that knows CONNECT?",
    }
}
