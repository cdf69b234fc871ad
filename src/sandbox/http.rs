//! Reading requests off a connection: HTTP/1.0 and 1.1 with a known length.

use std::io::{self, BufRead, Read};
use std::net::IpAddr;

use httparse::Status;
use thiserror::Error;
use ureq::http::Uri;
use ureq::http::uri::Authority;

const MAX_HEADERS: usize = 100;
/// The most bytes that a request's head may have.
const MAX_HEAD: usize = 64 * 1024;
/// The most bytes that a request's body may have.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// Why a request could not be read. The connection cannot be used after it.
#[derive(Debug, Error)]
pub enum RequestError {
    /// The client went away or stalled, so there is no answer.
    #[error("the connection ended within a request: {0}")]
    Io(#[from] io::Error),
    /// What to answer before closing.
    #[error("{message}")]
    Refused { status: u16, message: &'static str },
}

const fn refused(status: u16, message: &'static str) -> RequestError {
    RequestError::Refused { status, message }
}

const LENGTH_REQUIRED: RequestError = refused(411, "send the body's length: Transfer-Encoding is not supported");
const BODY_TOO_LARGE: RequestError = refused(413, "the request's body is longer than 16 MiB");
const HEAD_TOO_LARGE: RequestError =
    refused(431, "the request's head is longer than 64 KiB, or has more than 100 headers");

/// What the rest of the sandbox needs of a request's head.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    pub method: String,
    /// The target's path as it was sent, and what follows its `?`.
    pub path: String,
    pub query: String,
    /// Whether `Host` names this machine. A page of another site can make a browser send requests here with that site's
    /// name.
    pub is_loopback_host: bool,
    /// What follows `Bearer` in `Authorization`.
    pub bearer: Option<String>,
    /// Whether `Content-Type` is JSON.
    pub is_json: bool,
    /// Whether the client takes another answer on this connection.
    pub keep_alive: bool,
    /// How many bytes the body has.
    pub length: usize,
}

impl Head {
    /// Reads one from a connection. `None` is the connection's end, between requests.
    ///
    /// # Errors
    /// The connection ended within the head, or the data is not HTTP/1, or exceeds a limit.
    pub fn read(reader: &mut impl BufRead) -> Result<Option<Self>, RequestError> {
        let mut head = Vec::new();
        loop {
            let before = head.len();
            head.extend_from_slice(reader.fill_buf()?);
            let read = head.len() - before;
            if read == 0 {
                return if head.is_empty() { Ok(None) } else { Err(ended()) };
            }
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut request = httparse::Request::new(&mut headers);
            match request.parse(&head) {
                Ok(Status::Complete(length)) if length <= MAX_HEAD => {
                    reader.consume(length - before);
                    return Self::of(&request).map(Some);
                }
                Ok(Status::Partial) if head.len() < MAX_HEAD => reader.consume(read),
                Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(HEAD_TOO_LARGE),
                Err(_) => return Err(refused(400, "this is not HTTP/1 (https:// on a plain port?)")),
            }
        }
    }

    fn of(request: &httparse::Request<'_, '_>) -> Result<Self, RequestError> {
        let target: Uri = request.path.unwrap_or_default().parse().map_err(|_| refused(400, "malformed target"))?;
        let method = request.method.unwrap_or_default().to_owned();
        let headers = Headers(request.headers);
        Ok(Self {
            path: target.path().to_owned(),
            query: target.query().unwrap_or_default().to_owned(),
            is_loopback_host: headers.only("host").is_some_and(is_loopback),
            bearer: headers.only("authorization").and_then(bearer),
            is_json: headers.all("content-type").any(is_json),
            // The answer to HEAD must have no body. If one is sent, the connection must be closed after it.
            keep_alive: request.version == Some(1) && !headers.lists("connection", "close") && method != "HEAD",
            length: headers.length()?,
            method,
        })
    }

    /// Reads the body that follows into `body`, which is emptied first.
    ///
    /// # Errors
    /// The connection ended within the body, or the body exceeds the limit.
    pub fn read_body(&self, reader: &mut impl Read, body: &mut Vec<u8>) -> Result<(), RequestError> {
        body.clear();
        if self.length > MAX_BODY {
            return Err(BODY_TOO_LARGE);
        }
        let read = reader.by_ref().take(self.length as u64).read_to_end(body)?;
        if read == self.length { Ok(()) } else { Err(ended()) }
    }
}

fn ended() -> RequestError {
    RequestError::Io(io::ErrorKind::UnexpectedEof.into())
}

fn bearer(value: &[u8]) -> Option<String> {
    std::str::from_utf8(value).ok()?.strip_prefix("Bearer ").map(str::to_owned)
}

fn is_json(content_type: &[u8]) -> bool {
    let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

/// Whether it is a loopback name, with a port or without, and nothing else.
fn is_loopback(host: &[u8]) -> bool {
    let Ok(authority) = Authority::try_from(host) else { return false };
    let name = authority.host();
    let is_whole =
        authority.as_str() == name || authority.as_str() == format!("{name}:{}", authority.port_u16().unwrap_or(0));
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    is_whole && (name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback()))
}

struct Headers<'a>(&'a [httparse::Header<'a>]);

impl<'a> Headers<'a> {
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    }

    /// The header's value, if it is there once.
    fn only(&self, name: &'static str) -> Option<&'a [u8]> {
        let mut values = self.all(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// Whether one of the header's comma-separated values is this one.
    fn lists(&self, name: &'static str, value: &str) -> bool {
        let mut values = self.all(name).flat_map(|line| line.split(|byte| *byte == b','));
        values.any(|candidate| candidate.trim_ascii().eq_ignore_ascii_case(value.as_bytes()))
    }

    /// The body's length. Digits only: `parse` alone would take a sign.
    fn length(&self) -> Result<usize, RequestError> {
        if self.all("transfer-encoding").next().is_some() {
            return Err(LENGTH_REQUIRED);
        }
        if self.all("content-length").next().is_none() {
            return Ok(0);
        }
        let digits = self.only("content-length").and_then(|value| str::from_utf8(value).ok()).unwrap_or_default();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refused(400, "malformed Content-Length"));
        }
        // Only digits are left, so `parse` fails only if the number is too large.
        digits.parse().map_err(|_| BODY_TOO_LARGE)
    }
}

#[cfg(test)]
mod tests;
