//! ureq's connection through a proxy (CONNECT), with errors that tell the proxy from the endpoint.

use ureq::Error;
use ureq::unversioned::transport::{ConnectProxyConnector, ConnectionDetails, Connector};

use super::proxy::Proxy;
use super::{HttpError, tls};

/// The first connector of the chain: connects to the proxy, if there is one.
#[derive(Debug)]
pub struct ProxyConnector {
    /// The proxy.
    pub proxy: Option<Proxy>,
    /// Connects through it.
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
    let label = proxy.label();
    if let Error::ConnectProxyFailed(said) = &error
        && let Some(status) = status(said)
    {
        return answered(&label, status);
    }
    match tls::refused(proxy.inner.host(), &error).unwrap_or_else(|| error.into()) {
        error @ HttpError::Certificate(_) => error,
        HttpError::Unreachable(problem) => unreachable(&label, &problem),
        error @ HttpError::Timeout(_) => unreachable(&label, &error.to_string()),
        error => unreachable(&label, &format!("its answer to CONNECT is invalid ({error})")),
    }
}

fn unreachable(label: &str, problem: &str) -> HttpError {
    HttpError::Unreachable(format!("the proxy {label}: {problem}"))
}

/// What a failed CONNECT means: the endpoint does not answer, or the proxy refuses the connection.
pub fn answered(label: &str, status: u16) -> HttpError {
    let way_out = match status {
        408 | 429 | 500.. => return unreachable(label, &format!("it answered {status} to CONNECT")),
        407 => "it requires credentials: set them in the variable, as http://user:password@host:port",
        401 | 403 => "allow the endpoint's host in the proxy, or bypass the proxy with NO_PROXY",
        _ => "check that it is an HTTP proxy that supports CONNECT",
    };
    HttpError::Proxy(format!("{label} answered {status}: {way_out}"))
}

/// The status in ureq's message `proxy server responded 407/407`.
fn status(said: &str) -> Option<u16> {
    said.rsplit_once('/')?.1.parse().ok()
}
