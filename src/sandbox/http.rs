//! HTTP/1.1 on a connection: requests with a known length, and answers.

use std::io::{self, BufRead, Read, Write};
use std::net::IpAddr;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use serde::Serialize;
use serde_json::json;
use ureq::http::{StatusCode, Uri};

/// The most bytes that a request's head and its body may have.
const MAX_HEAD: u64 = 64 * 1024;
const MAX_BODY: usize = 16 * 1024 * 1024;

/// Why a request is refused: the status, and Braze's message. It contains nothing from the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal(pub u16, pub &'static str);

pub const NOT_FOUND: Refusal = Refusal(404, "Not Found");
const NOT_HTTP: Refusal =
    Refusal(400, "this is not an HTTP/1.1 request with a Content-Length (https:// on a plain port?)");
const TOO_LARGE: Refusal = Refusal(413, "the request is longer than 16 MiB");

/// What the rest of the sandbox needs from a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// The target's path as sent, and the text after its `?`.
    pub path: String,
    pub query: String,
    /// Whether `Host` names this machine. A page of another site can make a browser send requests here, but with that
    /// site's name.
    pub is_loopback_host: bool,
    /// The text after `Bearer` in `Authorization`.
    pub bearer: Option<String>,
    /// Whether `Content-Type` is JSON.
    pub is_json: bool,
    /// Whether the connection stays open after the answer.
    pub keep_alive: bool,
    pub body: Vec<u8>,
}

impl Request {
    /// Reads a request from a connection; `None` at its end. After a refusal the connection cannot be used.
    ///
    /// # Errors
    /// The connection ended within the request.
    pub fn read(reader: &mut impl BufRead) -> io::Result<Option<Result<Self, Refusal>>> {
        // A TLS handshake has no line end to wait for.
        if reader.fill_buf()?.first().is_some_and(|first| !first.is_ascii_alphabetic()) {
            return Ok(Some(Err(NOT_HTTP)));
        }
        let (mut head, mut limited) = (Vec::new(), reader.by_ref().take(MAX_HEAD));
        while !head.ends_with(b"\r\n\r\n") {
            if limited.read_until(b'\n', &mut head)? == 0 {
                return Ok((!head.is_empty()).then_some(Err(NOT_HTTP)));
            }
        }
        let (mut request, length) = match Self::parse(&head) {
            Ok(parsed) => parsed,
            Err(refusal) => return Ok(Some(Err(refusal))),
        };
        request.body.resize(length, 0);
        reader.read_exact(&mut request.body)?;
        Ok(Some(Ok(request)))
    }

    /// Parses the head. Returns the body's length, too.
    fn parse(head: &[u8]) -> Result<(Self, usize), Refusal> {
        let mut headers = [httparse::EMPTY_HEADER; 100];
        let mut parsed = httparse::Request::new(&mut headers);
        parsed.parse(head).map_err(|_| NOT_HTTP)?;
        let target: Uri = parsed.path.unwrap_or_default().parse().map_err(|_| NOT_HTTP)?;
        let header = |name: &str| {
            let found = parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            found.map(|header| String::from_utf8_lossy(header.value))
        };
        let length = header("content-length").map_or(Ok(0), |length| length.parse::<usize>().map_err(|_| NOT_HTTP))?;
        if header("transfer-encoding").is_some() {
            return Err(NOT_HTTP);
        }
        if length > MAX_BODY {
            return Err(TOO_LARGE);
        }
        let media_type = header("content-type").unwrap_or_default();
        let request = Self {
            method: parsed.method.unwrap_or_default().to_owned(),
            path: target.path().to_owned(),
            query: target.query().unwrap_or_default().to_owned(),
            is_loopback_host: header("host").is_some_and(|host| is_loopback(&host)),
            bearer: header("authorization").and_then(|value| Some(value.strip_prefix("Bearer ")?.to_owned())),
            is_json: media_type
                .split(';')
                .next()
                .is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json")),
            keep_alive: parsed.version == Some(1)
                && !header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
            body: Vec::new(),
        };
        Ok((request, length))
    }
}

/// Whether it is a loopback name, with or without a port.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name).parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// An HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Next to Date, Content-Length and Connection, which every answer has.
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// An answer with this value as its body.
    pub fn json(status: u16, value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).unwrap_or_default();
        Self { status, headers: vec![("Content-Type", "application/json".to_owned())], body }
    }

    /// Sends head and body in one write, with the current time.
    ///
    /// # Errors
    /// The client is gone.
    #[expect(clippy::disallowed_methods, reason = "a Date header is of the wall clock")]
    pub fn deliver(&self, socket: &mut impl Write, keep_alive: bool) -> io::Result<()> {
        socket.write_all(&self.encode(keep_alive, Timestamp::now())?)
    }

    fn encode(&self, keep_alive: bool, now: Timestamp) -> io::Result<Vec<u8>> {
        let reason = StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&now).map_err(io::Error::other)?;
        let mut bytes = Vec::with_capacity(512 + self.body.len());
        write!(bytes, "HTTP/1.1 {} {}\r\n", self.status, reason.unwrap_or_default())?;
        write!(bytes, "Date: {date}\r\nContent-Length: {}\r\n", self.body.len())?;
        write!(bytes, "Connection: {}\r\n", if keep_alive { "keep-alive" } else { "close" })?;
        for (name, value) in &self.headers {
            write!(bytes, "{name}: {value}\r\n")?;
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        Ok(bytes)
    }
}

impl From<Refusal> for Answer {
    /// Braze's form: `{"message": "..."}`.
    fn from(Refusal(status, message): Refusal) -> Self {
        Self::json(status, &json!({ "message": message }))
    }
}

#[cfg(test)]
mod tests;
