//! Answers, and how they become bytes on the socket.

use std::io::{self, Write};

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use serde::Serialize;
use serde_json::json;
use ureq::http::StatusCode;

use super::refusal::Refusal;

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
        match serde_json::to_vec(value) {
            Ok(body) => Self { status, headers: vec![("Content-Type", "application/json".to_owned())], body },
            Err(error) => Self::message(500, &error.to_string()),
        }
    }

    /// Braze's form: `{"message": "..."}`.
    pub fn message(status: u16, message: &str) -> Self {
        Self::json(status, &json!({ "message": message }))
    }

    /// Sends it: head and body in one write, with the time of now.
    ///
    /// # Errors
    /// The client is gone or has not read for too long.
    #[expect(clippy::disallowed_methods, reason = "a Date header is of the wall clock")]
    pub fn deliver(&self, socket: &mut impl Write, keep_alive: bool) -> io::Result<()> {
        socket.write_all(&self.encode(keep_alive, Timestamp::now())?)
    }

    fn encode(&self, keep_alive: bool, now: Timestamp) -> io::Result<Vec<u8>> {
        let reason = StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        let mut bytes = Vec::with_capacity(512 + self.body.len());
        write!(bytes, "HTTP/1.1 {} {}\r\n", self.status, reason.unwrap_or_default())?;
        let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&now).map_err(io::Error::other)?;
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
    fn from(refusal: Refusal) -> Self {
        let mut answer = Self::message(refusal.status(), &refusal.to_string());
        if refusal == Refusal::OnlyPost {
            answer.headers.push(("Allow", "POST".to_owned()));
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_its_date_type_and_length() {
        let now = Timestamp::from_second(1_000_000_000).unwrap();
        for (answer, keep_alive, expected) in [
            (
                Answer::message(201, "success"),
                true,
                "HTTP/1.1 201 Created\r\nDate: Sun, 09 Sep 2001 01:46:40 GMT\r\nContent-Length: 21\r\n\
                 Connection: keep-alive\r\nContent-Type: application/json\r\n\r\n{\"message\":\"success\"}",
            ),
            (
                Refusal::OnlyPost.into(),
                false,
                "HTTP/1.1 405 Method Not Allowed\r\nDate: Sun, 09 Sep 2001 01:46:40 GMT\r\nContent-Length: 32\r\n\
                 Connection: close\r\nContent-Type: application/json\r\nAllow: POST\r\n\r\n\
                 {\"message\":\"Method Not Allowed\"}",
            ),
        ] {
            assert_eq!(String::from_utf8(answer.encode(keep_alive, now).unwrap()).unwrap(), expected);
        }
    }
}
