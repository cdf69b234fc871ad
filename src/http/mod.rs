//! In: an address and a body. Out: one bounded answer, or why there is none. It never tries twice, and never follows a redirect.
//!
//! Deadlines, proxy, TLS and the pool of connections; only this folder calls with ureq (the sandbox takes names of statuses and parts of addresses from it).

use std::sync::OnceLock;
use std::time::Duration;

use thiserror::Error;
use ureq::config::Config;
use ureq::http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
pub use ureq::http::{HeaderMap, HeaderName, HeaderValue, header};
use ureq::http::{Response, Uri, Version};
use ureq::unversioned::transport::{ConnectProxyConnector, Connector};
use ureq::{Agent, RequestBuilder};

use crate::retry::Unanswered;

pub mod connect_proxy;
pub mod endpoint;
pub mod hint;
pub mod proxy;
pub mod resolver;
mod stream;
mod tcp;
pub mod tls;
mod tls_connector;

use connect_proxy::ProxyConnector;
use proxy::Proxy;
use resolver::CachingResolver;
pub use stream::{Body, Patience, Stream};
use tcp::{Exchange, TcpConnector};
use tls::Trust;
use tls_connector::TlsConnector;

/// The longest body of an answer that is read, in bytes.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// The longest head of an answer that is read, in bytes: about as long as the buffer of a connection. 64 encrypted
/// connections with ureq's 128 KiB each would take 15 MiB more.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;

/// How much is handed to the system at once: a full batch of common external IDs with its head (40 KB), or of longer aliases in
/// two parts. ureq's 128 KiB would be touched as a whole, once a connection.
pub const OUTPUT_BYTES: usize = 64 * 1024;

/// How long each phase of a request may take, from its beginning to its end, however much or little happens within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Looking the name up, connecting, the proxy's answer and the handshake of TLS, in all.
    pub connect: Duration,
    /// Sending the head; and again for the body.
    pub send: Duration,
    /// The head of the answer; and again for its body. Of a body that is streamed: each wait for its next bytes.
    pub answer: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), send: Duration::from_mins(1), answer: Duration::from_mins(1) }
    }
}

/// How the endpoint is reached.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Through which proxy.
    pub proxy: Option<Proxy>,
    /// Whose certificates are trusted.
    pub trust: Trust,
    /// How long it may take.
    pub deadlines: Deadlines,
}

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

/// What says where the body of an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// `Content-Length`, and as much came.
    Length,
    /// `Transfer-Encoding: chunked`, and the last chunk came.
    Chunked,
    /// Nothing but the end of the connection. Whether the body is whole cannot be told.
    UntilClose,
    /// Another `Transfer-Encoding`, or several.
    Unknown,
}

impl Answer {
    /// How its body was framed.
    pub fn framing(&self) -> BodyFraming {
        let mut codings = self.headers.get_all(TRANSFER_ENCODING).iter().map(ureq::http::HeaderValue::as_bytes);
        match (codings.next(), codings.next()) {
            (None, _) if self.headers.contains_key(CONTENT_LENGTH) => BodyFraming::Length,
            (None, _) => BodyFraming::UntilClose,
            (Some(coding), None) if coding.trim_ascii().eq_ignore_ascii_case(b"chunked") => BodyFraming::Chunked,
            _ => BodyFraming::Unknown,
        }
    }

    /// Whether it is a web page, which no API sends.
    pub fn is_html(&self) -> bool {
        declares_html(&self.headers) || begins_html(&self.body)
    }

    /// Whether it is a JSON object, as APIs send them.
    pub fn is_json_object(&self) -> bool {
        serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&self.body).is_ok()
    }
}

/// Whether the headers announce a web page.
pub fn declares_html(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(|kind| kind.contains("html"))
}

/// Whether a body begins as a web page does.
pub fn begins_html(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
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
    /// A phase took too long when there was a connection, so the server may have heard something.
    #[error("took too long ({0})")]
    Timeout(String),
    /// The connection broke before the answer was complete.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The answer is not HTTP, or longer than [`MAX_HEAD_BYTES`] and [`MAX_ANSWER_BYTES`].
    #[error("the answer is invalid: {0}")]
    Unintelligible(String),
    /// The server's certificate is not trusted.
    #[error("{0}")]
    Certificate(String),
    /// The proxy does not let us through.
    #[error("the proxy refused: {0}")]
    Proxy(String),
}

impl HttpError {
    /// How a request ended that the server may have heard, in part or in full, without having answered it.
    pub fn unanswered(&self) -> Option<Unanswered> {
        match self {
            Self::Timeout(_) => Some(Unanswered::TimedOut),
            // What stands on a kept connection may have been heard before it was closed.
            Self::Stale | Self::Broken(_) | Self::Unintelligible(_) => Some(Unanswered::Broke),
            Self::Unreachable(_) | Self::Certificate(_) | Self::Proxy(_) => None,
        }
    }
}

/// Sends a request's body and brings the answer.
pub trait Post: Send + Sync {
    /// Sends `body`, JSON, to the address.
    fn post(&self, address: &str, body: &[u8]) -> Result<Answer, HttpError>;
    /// Breaks off what is in flight and refuses what comes after.
    fn cut(&self);
}

/// Sends a question and brings the answer.
pub trait Query: Send + Sync {
    /// Sends `body`, JSON, to the address with these headers. An answer longer than `max_bytes` is none.
    fn query(&self, address: &str, headers: &HeaderMap, body: &[u8], max_bytes: usize) -> Result<Answer, HttpError>;
}

/// Asks for something.
pub trait Get: Send + Sync {
    /// Asks for the address with these headers. Redirects are answers, and are not followed.
    fn get(&self, address: &str, headers: &HeaderMap, patience: Patience) -> Result<Stream, HttpError>;
}

/// Asks for something that changes something.
pub trait PostForm: Send + Sync {
    /// Sends a form, encoded, with these headers; an answer longer than [`MAX_ANSWER_BYTES`] is cut off.
    fn post_form(&self, address: &str, headers: &HeaderMap, form: &str) -> Result<Answer, HttpError>;
}

/// Posts and gets over the network.
pub struct Http {
    agent: Agent,
    connect: Duration,
}

impl Http {
    /// Keeps up to `connections` connections.
    pub fn new(connections: usize, network: Network) -> Self {
        let Network { proxy, trust, deadlines } = network;
        let config = Config::builder()
            // Never ureq's own reading of the environment, which lets a malformed variable pass in silence.
            .proxy(proxy.as_ref().map(|proxy| proxy.inner.clone()))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(connections)
            .max_idle_connections_per_host(connections)
            .max_response_header_size(MAX_HEAD_BYTES)
            // A head that fills it is too long, and seen to be.
            .input_buffer_size(MAX_HEAD_BYTES + 1)
            .output_buffer_size(OUTPUT_BYTES)
            .user_agent(concat!("td-braze-cohort/", env!("CARGO_PKG_VERSION")))
            .accept("application/json")
            .accept_encoding("identity")
            .timeout_resolve(Some(deadlines.connect))
            .timeout_connect(Some(deadlines.connect))
            .timeout_send_request(Some(deadlines.send))
            .timeout_send_body(Some(deadlines.send))
            .timeout_recv_response(Some(deadlines.answer))
            .timeout_recv_body(Some(deadlines.answer))
            .build();
        let tcp = TcpConnector { is_proxied: proxy.is_some() };
        let connector = ProxyConnector { proxy, inner: ConnectProxyConnector::default() };
        let connector = connector.chain(tcp).chain(TlsConnector { trust, config: OnceLock::new() });
        let agent = Agent::with_parts(config, connector, CachingResolver::default());
        Self { agent, connect: deadlines.connect }
    }

    /// Makes a request, up to the head of its answer.
    fn request(
        &self,
        address: &str,
        request: impl FnOnce() -> Result<Response<ureq::Body>, ureq::Error>,
    ) -> Result<Response<ureq::Body>, HttpError> {
        let (result, exchange) = Exchange::run(self.connect, request);
        let result = result.map_err(|error| {
            let uri = address.parse::<Uri>().unwrap_or_default();
            tls::refused(uri.host().unwrap_or_default(), &error).unwrap_or_else(|| error.into())
        });
        match result {
            Err(HttpError::Broken(_)) if !exchange.is_new_connection => Err(HttpError::Stale),
            Ok(response) if response.status().is_success() => success(response, exchange),
            result => result,
        }
    }
}

fn with_headers<B>(request: RequestBuilder<B>, headers: &HeaderMap) -> RequestBuilder<B> {
    headers.iter().fold(request, |request, (name, value)| request.header(name, value))
}

/// A success that cannot be one is none; a refusal is one however it comes.
fn success(response: Response<ureq::Body>, exchange: Exchange) -> Result<Response<ureq::Body>, HttpError> {
    if !exchange.is_sent {
        return Err(HttpError::Broken("the answer came before the request was sent in full".to_owned()));
    }
    if response.version() == Version::HTTP_10 && response.headers().contains_key(TRANSFER_ENCODING) {
        return Err(HttpError::Broken("the answer has a Transfer-Encoding, which HTTP/1.0 does not allow".to_owned()));
    }
    Ok(response)
}

impl Post for Http {
    fn post(&self, address: &str, body: &[u8]) -> Result<Answer, HttpError> {
        self.query(address, &HeaderMap::new(), body, MAX_ANSWER_BYTES)
    }

    fn cut(&self) {
        self.agent.clone().shutdown();
    }
}

impl Query for Http {
    fn query(&self, address: &str, headers: &HeaderMap, body: &[u8], max_bytes: usize) -> Result<Answer, HttpError> {
        let request = with_headers(self.agent.post(address).content_type("application/json"), headers);
        let response = self.request(address, || request.send(body))?;
        let (parts, body) = response.into_parts();
        // An error page may be long, or break off; its status says enough.
        let is_success = parts.status.is_success();
        let bytes = match Body::new(body.into_reader()).read_up_to(max_bytes) {
            Err(_) if !is_success => Vec::new(),
            result => result?,
        };
        if bytes.len() > max_bytes && is_success {
            return Err(HttpError::Unintelligible(format!("more than {max_bytes} bytes")));
        }
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body: bytes })
    }
}

impl PostForm for Http {
    fn post_form(&self, address: &str, headers: &HeaderMap, form: &str) -> Result<Answer, HttpError> {
        let request = with_headers(self.agent.post(address).content_type("application/x-www-form-urlencoded"), headers);
        let (parts, body) = self.request(address, || request.send(form))?.into_parts();
        let body = Body::new(body.into_reader()).read_up_to(MAX_ANSWER_BYTES)?;
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

impl Get for Http {
    fn get(&self, address: &str, headers: &HeaderMap, patience: Patience) -> Result<Stream, HttpError> {
        let request = with_headers(self.agent.get(address), headers);
        let request = match patience {
            Patience::Whole => request,
            Patience::EachPiece => {
                let each = self.agent.config().timeouts().recv_body;
                request.config().timeout_recv_body(None).timeout_per_read(each).build()
            }
        };
        let (parts, body) = self.request(address, || request.call())?.into_parts();
        let body = Body::new(body.into_reader());
        Ok(Stream { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

impl From<ureq::Error> for HttpError {
    fn from(error: ureq::Error) -> Self {
        use std::io::ErrorKind;
        use ureq::Error;
        let text = error.to_string();
        match error {
            Error::Other(other) => other.downcast().map_or_else(|other| Self::Broken(other.to_string()), |ours| *ours),
            Error::Timeout(phase @ (ureq::Timeout::Resolve | ureq::Timeout::Connect)) => {
                Self::Unreachable(format!("took too long ({phase})"))
            }
            Error::Timeout(phase) => Self::Timeout(phase.to_string()),
            Error::Io(error) => match error.kind() {
                ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof
                | ErrorKind::InvalidData => Self::Broken(error.to_string()),
                _ => Self::Unreachable(error.to_string()),
            },
            Error::Protocol(_) | Error::LargeResponseHeader(..) | Error::Http(_) | Error::BodyStalled => {
                Self::Unintelligible(text)
            }
            Error::HostNotFound | Error::ConnectionFailed => Self::Unreachable(text),
            _ => Self::Broken(text),
        }
    }
}

/// Enough of what was said to know it by; keys have to be redacted before, as half of one is not recognised.
pub fn shortened(said: &str) -> String {
    const SHOWN: usize = 200;
    let mut letters = said.chars();
    let shown: String = letters.by_ref().take(SHOWN).collect();
    if letters.next().is_none() { shown } else { format!("{shown} …") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::connecting(ureq::Timeout::Connect, None)]
    #[case::looking_up(ureq::Timeout::Resolve, None)]
    #[case::sending(ureq::Timeout::SendBody, Some(Unanswered::TimedOut))]
    #[case::answering(ureq::Timeout::RecvResponse, Some(Unanswered::TimedOut))]
    fn what_never_was_connected_is_not_waited_for(#[case] late: ureq::Timeout, #[case] unanswered: Option<Unanswered>) {
        assert_eq!(HttpError::from(ureq::Error::Timeout(late)).unanswered(), unanswered);
    }
}
