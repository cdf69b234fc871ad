//! In: an address and a body. Out: one bounded answer, or why there is none. It never retries, and never follows a
//! redirect.
//!
//! It handles deadlines, proxy, TLS and the pool of connections. Only this folder uses ureq.

use std::sync::OnceLock;
use std::time::Duration;

use thiserror::Error;
use ureq::config::Config;
use ureq::http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
pub use ureq::http::{HeaderMap, HeaderName, HeaderValue, header};
use ureq::http::{Response, Uri, Version};
use ureq::unversioned::transport::{ConnectProxyConnector, Connector};
use ureq::{Agent, RequestBuilder};

pub mod connect_proxy;
pub mod endpoint;
pub mod proxy;
pub mod resolver;
mod stream;
mod tcp;
pub mod tls;
mod tls_connector;

use connect_proxy::ProxyConnector;
use proxy::Proxy;
use resolver::CachingResolver;
pub use stream::Stream;
use tcp::{Exchange, TcpConnector};
use tls::Trust;
use tls_connector::TlsConnector;

/// The longest body of an answer that is read, in bytes.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// The longest head of an answer that is read, in bytes. With ureq's 128 KiB, 64 encrypted connections would take
/// 15 MiB more.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;

/// The most bytes of one write: a full batch of common external IDs with its head (40 KB), or half a batch of longer
/// aliases. Each connection would touch all of ureq's 128 KiB.
const OUTPUT_BYTES: usize = 64 * 1024;

/// The time limits of the phases of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// For name look-up, connection, the proxy's answer and the TLS handshake together.
    pub connect: Duration,
    /// For sending the head, and again for the body.
    pub send: Duration,
    /// For the head of the answer, and again for its body. In a [`Call::Download`]: for each piece of the body.
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
    /// The proxy, if there is one.
    pub proxy: Option<Proxy>,
    /// The trusted certificates.
    pub trust: Trust,
    /// The deadlines of each request.
    pub deadlines: Deadlines,
}

/// A complete answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Vec<u8>,
}

/// How the end of a body is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// `Content-Length`, and that many bytes came.
    Length,
    /// `Transfer-Encoding: chunked`, and the last chunk came.
    Chunked,
    /// Only by the end of the connection. The body may be incomplete.
    UntilClose,
    /// Another `Transfer-Encoding`, or several.
    Unknown,
}

impl Answer {
    /// The value of a header, if it is present and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// How the end of its body was marked.
    pub fn framing(&self) -> BodyFraming {
        let mut codings = self.headers.get_all(TRANSFER_ENCODING).iter().map(HeaderValue::as_bytes);
        match (codings.next(), codings.next()) {
            (None, _) if self.headers.contains_key(CONTENT_LENGTH) => BodyFraming::Length,
            (None, _) => BodyFraming::UntilClose,
            (Some(coding), None) if coding.trim_ascii().eq_ignore_ascii_case(b"chunked") => BodyFraming::Chunked,
            _ => BodyFraming::Unknown,
        }
    }

    /// Whether it is a web page. No API sends one.
    pub fn is_html(&self) -> bool {
        declares_html(&self.headers) || begins_html(&self.body)
    }

    /// Whether it is a JSON object, as APIs send them.
    pub fn is_json_object(&self) -> bool {
        serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&self.body).is_ok()
    }
}

/// Whether `Content-Type` is that of a web page.
pub fn declares_html(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(|kind| kind.contains("html"))
}

/// Whether a body begins like a web page.
pub fn begins_html(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

/// Why there is no answer. No variant contains any part of the request.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The server had closed a kept connection before it got the request.
    #[error("the server had closed the idle connection")]
    Stale,
    /// The host is unreachable or unknown, or refuses.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// A phase after connecting took too long, so the server may have read the request.
    #[error("timed out ({0})")]
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
    /// The proxy refused the connection.
    #[error("the proxy refused: {0}")]
    Proxy(String),
}

/// Sends a request's body and returns the answer.
pub trait Post: Send + Sync {
    /// Sends a JSON body to the address.
    fn post(&self, address: &str, body: &[u8]) -> Result<Answer, HttpError>;
    /// Cuts the requests in flight, and refuses later ones.
    fn cut(&self);
}

/// The method of a call, and what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call<'a> {
    /// GET.
    Get,
    /// GET of a body that may take any time, if each piece of it comes within [`Deadlines::answer`].
    Download,
    /// POST of JSON.
    Json(&'a [u8]),
    /// POST of an encoded form.
    Form(&'a str),
}

/// Makes calls of any kind.
pub trait Ask: Send + Sync {
    /// Calls the address with these headers. A redirect is returned as an answer.
    fn ask(&self, address: &str, headers: &HeaderMap, call: Call<'_>) -> Result<Stream, HttpError>;
}

/// Makes calls over the network.
pub struct Http {
    agent: Agent,
    connect: Duration,
}

impl Http {
    /// Keeps up to `connections` connections.
    pub fn new(connections: usize, network: Network) -> Self {
        let Network { proxy, trust, deadlines } = network;
        let config = Config::builder()
            // ureq's own reading of the environment ignores malformed variables.
            .proxy(proxy.as_ref().map(|proxy| proxy.inner.clone()))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(connections)
            .max_idle_connections_per_host(connections)
            .max_response_header_size(MAX_HEAD_BYTES)
            // With one byte more, a head that is too long shows.
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

    fn post_as(
        &self,
        address: &str,
        headers: &HeaderMap,
        (content_type, body): (&str, &[u8]),
    ) -> Result<Response<ureq::Body>, HttpError> {
        let request = with_headers(self.agent.post(address).content_type(content_type), headers);
        self.request(address, || request.send(body))
    }

    /// Makes a request, until the head of its answer has come.
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

/// Checks a success, which must come after the whole request. A refusal counts at any time.
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
        self.ask(address, &HeaderMap::new(), Call::Json(body))?.into_answer(MAX_ANSWER_BYTES)
    }

    fn cut(&self) {
        self.agent.clone().shutdown();
    }
}

impl Ask for Http {
    fn ask(&self, address: &str, headers: &HeaderMap, call: Call<'_>) -> Result<Stream, HttpError> {
        let get = || with_headers(self.agent.get(address), headers);
        let response = match call {
            Call::Get => self.request(address, || get().call()),
            Call::Download => {
                let each = self.agent.config().timeouts().recv_body;
                let request = get().config().timeout_recv_body(None).timeout_per_read(each).build();
                self.request(address, || request.call())
            }
            Call::Json(body) => self.post_as(address, headers, ("application/json", body)),
            Call::Form(form) => self.post_as(address, headers, ("application/x-www-form-urlencoded", form.as_bytes())),
        };
        let (parts, body) = response?.into_parts();
        Ok(Stream { status: parts.status.as_u16(), headers: parts.headers, body: Box::new(body.into_reader()) })
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
                Self::Unreachable(format!("timed out ({phase})"))
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
            Error::Protocol(_) | Error::LargeResponseHeader(..) | Error::Http(_) => Self::Unintelligible(text),
            Error::HostNotFound | Error::ConnectionFailed => Self::Unreachable(text),
            _ => Self::Broken(text),
        }
    }
}

/// The first 200 characters of a message. Redact keys before: half a key is not recognised.
pub fn shortened(said: &str) -> String {
    const SHOWN: usize = 200;
    let mut letters = said.chars();
    let shown: String = letters.by_ref().take(SHOWN).collect();
    if letters.next().is_none() { shown } else { format!("{shown} …") }
}
