//! A request's head -> what the rest of the sandbox has to know of it.

use super::RequestError;

const MAX_HEADERS: usize = 100;

/// A request without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)]
pub struct Head {
    pub method: String,
    /// The target's path as it was sent, without its query.
    pub path: String,
    /// Whether the body is said to be JSON.
    pub is_json: bool,
    /// What stands behind `Bearer` in the one `Authorization` header.
    pub bearer: Option<String>,
    /// Whether the client takes another answer on this connection.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue`.
    pub expects_continue: bool,
    /// How the body ends.
    pub length: Length,
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// After this many bytes.
    Known(usize),
    /// With an empty chunk.
    Chunked,
}

impl Head {
    /// Parses a whole head, from the request line to the empty line.
    ///
    /// # Errors
    /// It is not HTTP/1.0 or 1.1, or says nothing definite about the body's length.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(bytes) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => {
                return Err(RequestError::Malformed("incomplete head"));
            }
            Err(httparse::Error::TooManyHeaders) => return Err(RequestError::HeadTooLarge),
            Err(_) => return Err(RequestError::Malformed("request line or headers")),
        }
        let is_1_1 = request.version == Some(1);
        let headers = Headers(request.headers);
        Ok(Self {
            method: request.method.unwrap_or_default().to_owned(),
            path: path(request.path.unwrap_or_default()).to_owned(),
            is_json: headers.all("content-type").any(is_json),
            bearer: headers.all("authorization").find_map(bearer),
            keep_alive: !headers.lists("connection", "close") && (is_1_1 || headers.lists("connection", "keep-alive")),
            expects_continue: is_1_1 && headers.lists("expect", "100-continue"),
            length: headers.length(is_1_1)?,
        })
    }
}

fn bearer(value: &[u8]) -> Option<String> {
    std::str::from_utf8(value).ok()?.strip_prefix("Bearer ").map(str::to_owned)
}

/// The path of a target, which a proxy's client sends as a whole URL.
fn path(target: &str) -> &str {
    let target = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |start| &rest[start..]),
        None => target,
    };
    target.split(['?', '#']).next().unwrap_or_default()
}

fn is_json(content_type: &[u8]) -> bool {
    let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

struct Headers<'a>(&'a [httparse::Header<'a>]);

impl<'a> Headers<'a> {
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    }

    /// Whether one of the header's comma-separated values is this one.
    fn lists(&self, name: &'static str, value: &str) -> bool {
        let mut values = self.all(name).flat_map(|line| line.split(|byte| *byte == b','));
        values.any(|candidate| candidate.trim_ascii().eq_ignore_ascii_case(value.as_bytes()))
    }

    fn length(&self, is_1_1: bool) -> Result<Length, RequestError> {
        let mut codings = self.all("transfer-encoding");
        let mut lengths = self.all("content-length");
        match (codings.next(), lengths.next()) {
            (None, None) => Ok(Length::Known(0)),
            (None, Some(length)) if lengths.next().is_none() => content_length(length),
            (Some(coding), None) if is_1_1 && codings.next().is_none() && coding.eq_ignore_ascii_case(b"chunked") => {
                Ok(Length::Chunked)
            }
            _ => Err(RequestError::Malformed("Content-Length or Transfer-Encoding")),
        }
    }
}

/// Digits only: `parse` alone would take a sign.
fn content_length(value: &[u8]) -> Result<Length, RequestError> {
    let malformed = RequestError::Malformed("Content-Length");
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(malformed);
    }
    let digits = str::from_utf8(value).map_err(|_| malformed)?;
    // Only digits are left, so the one way to fail is to be too big.
    digits.parse().map(Length::Known).map_err(|_| RequestError::BodyTooLarge)
}
