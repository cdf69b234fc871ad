//! The way through a proxy: a connection to it, and its word (CONNECT) that it leads on to the endpoint's host. Whatever
//! goes wrong on the way is told apart from what the endpoint does.

use std::fmt::Write as _;
use std::io::Write as _;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use thiserror::Error;
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, Connector, Either, NextTimeout, TcpConnector, Transport, TransportAdapter,
};

use super::proxy::Proxy;
use super::tls::{CertificateRefused, TlsConnector};
use super::{Details, time_left};

const MAX_HEADERS: usize = 64;

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

/// Stands first in the chain: where there is a proxy, it is what gets connected.
#[derive(Debug)]
pub struct TunnelConnector {
    proxy: Option<Proxy>,
    tls: TlsConnector,
}

impl TunnelConnector {
    /// Through this proxy, if there is one. `tls` is for a proxy that wants encryption for itself.
    pub fn new(proxy: Option<Proxy>, tls: TlsConnector) -> Self {
        Self { proxy, tls }
    }

    fn reach(&self, proxy: &Proxy, details: &Details) -> Result<Box<dyn Transport>, Error> {
        let uri = proxy.inner.uri();
        let addrs = details.resolver.resolve(uri, details.config, details.timeout)?;
        let details = Details {
            uri,
            addrs,
            config: details.config,
            request_level: details.request_level,
            resolver: details.resolver,
            now: (details.current_time)(),
            timeout: time_left(details),
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: details.register_shutdown.clone(),
        };
        let connected = TcpConnector::default().connect(&details, None::<()>)?;
        let encrypted = self.tls.connect(&details, connected)?.ok_or(Error::ConnectionFailed)?;
        Ok(Box::new(encrypted))
    }
}

impl Connector<()> for TunnelConnector {
    type Out = Either<(), Tunnel>;

    fn connect(&self, details: &Details, _: Option<()>) -> Result<Option<Self::Out>, Error> {
        let Some(proxy) = &self.proxy else { return Ok(None) };
        let unreachable = |problem| {
            let proxy = proxy.label();
            Error::Other(Box::new(TunnelError::Unreachable { proxy, problem }))
        };
        let transport = self.reach(proxy, details).map_err(|error| match error {
            Error::Other(other) if other.is::<CertificateRefused>() => Error::Other(other),
            Error::Other(other) => unreachable(other.to_string()),
            Error::Io(error) => unreachable(error.to_string()),
            error => unreachable(error.to_string()),
        })?;
        let mut adapter = TransportAdapter::new(transport, details.current_time.clone());
        adapter.set_timeout(time_left(details));
        adapter
            .write_all(request(proxy, details).as_bytes())
            .map_err(|error| unreachable(format!("it does not listen ({error})")))?;
        let mut transport = adapter.into_inner();
        match answer(transport.as_mut(), details)
            .map_err(|error| unreachable(format!("it does not answer ({error})")))?
        {
            Some(200..=299) => Ok(Some(Either::B(Tunnel(transport)))),
            Some(status @ (408 | 429 | 500..)) => Err(unreachable(format!("it answered {status} to CONNECT"))),
            Some(status) => {
                let way_out = way_out(status);
                Err(Error::Other(Box::new(TunnelError::Refused { proxy: proxy.label(), status, way_out })))
            }
            None => Err(unreachable("it gave no usable answer to CONNECT".to_owned())),
        }
    }
}

/// What to do about a proxy that does not let us through.
pub fn way_out(status: u16) -> &'static str {
    match status {
        407 => "it asks for credentials; give them in the variable, as http://user:password@host:port",
        401 | 403 => "have it allow the endpoint's host, or leave it out with NO_PROXY",
        _ => "is it a proxy that knows CONNECT?",
    }
}

fn request(proxy: &Proxy, details: &Details) -> String {
    let host = details.uri.host().unwrap_or_default();
    let port = details.uri.port_u16().unwrap_or(443);
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    let (user, password) = (proxy.inner.username(), proxy.inner.password());
    if user.is_some() || password.is_some() {
        let credentials = format!("{}:{}", user.unwrap_or_default(), password.unwrap_or_default());
        // Writing to a String cannot fail.
        let _ = write!(request, "Proxy-Authorization: Basic {}\r\n", BASE64_STANDARD.encode(credentials));
    }
    request + "\r\n"
}

/// The status of the proxy's answer, of which nothing more is read; none where it is not HTTP, or longer than the buffer.
fn answer(transport: &mut dyn Transport, details: &Details) -> Result<Option<u16>, Error> {
    loop {
        let goes_on = transport.await_input(time_left(details))?;
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(transport.buffers().input()) {
            Ok(httparse::Status::Complete(length)) => {
                let status = response.code;
                transport.buffers().input_consume(length);
                return Ok(status);
            }
            Ok(httparse::Status::Partial) if goes_on => {}
            _ => return Ok(None),
        }
    }
}

/// The connection through the proxy. It is not encrypted to its end, even if it is to the proxy.
#[derive(Debug)]
pub struct Tunnel(Box<dyn Transport>);

impl Transport for Tunnel {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.0.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.0.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }
}
