//! What is answered, and the one place where an answer becomes bytes on the socket.

use std::fmt::Write as _;
use std::io::{self, Write};

use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};
use serde::Serialize;
use serde_json::json;

use super::refusal::Refusal;

/// An HTTP answer with a JSON body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Beside Date, Content-Type, Content-Length and Connection, which every answer has.
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// An answer with this value as its body.
    pub fn json(status: u16, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self { status, headers: Vec::new(), body },
            Err(error) => Self::message(500, &error.to_string()),
        }
    }

    /// Braze's form: `{"message": "..."}`.
    pub fn message(status: u16, message: &str) -> Self {
        Self { status, headers: Vec::new(), body: json!({ "message": message }).to_string().into_bytes() }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let mut answer = Self::message(refusal.status(), &refusal.to_string());
        if let Refusal::MethodNotAllowed { allow } = refusal {
            answer.headers.push(("Allow", allow.to_owned()));
        }
        answer
    }
}

/// How an answer fits into its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    /// Whether the connection takes another request after it.
    pub keep_alive: bool,
    /// Whether the body is left out, as HEAD asks for.
    pub head_only: bool,
}

/// Sends an answer: head and body in one write, with the time of now.
///
/// # Errors
/// The client is gone or has not read for too long.
#[expect(clippy::disallowed_methods, reason = "a Date header is of the wall clock")]
pub fn deliver(socket: &mut impl Write, answer: &Answer, framing: Framing) -> io::Result<()> {
    socket.write_all(&encode(answer, framing, Timestamp::now()))
}

fn encode(answer: &Answer, framing: Framing, now: Timestamp) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status));
    let mut header = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = write!(head, "{name}: {value}\r\n");
    };
    if let Ok(date) = DateTimePrinter::new().timestamp_to_rfc9110_string(&now) {
        header("Date", &date);
    }
    header("Content-Type", "application/json");
    header("Content-Length", &answer.body.len().to_string());
    header("Connection", if framing.keep_alive { "keep-alive" } else { "close" });
    for (name, value) in &answer.headers {
        header(name, value);
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    if !framing.head_only {
        bytes.extend_from_slice(&answer.body);
    }
    bytes
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(answer: &Answer, keep_alive: bool, head_only: bool) -> String {
        let framing = Framing { keep_alive, head_only };
        String::from_utf8(encode(answer, framing, Timestamp::from_second(1_000_000_000).unwrap())).unwrap()
    }

    #[test]
    fn an_answer_has_its_date_type_and_length() {
        assert_eq!(
            encoded(&Answer::message(201, "success"), true, false),
            "HTTP/1.1 201 Created\r\nDate: Sun, 09 Sep 2001 01:46:40 GMT\r\nContent-Type: application/json\r\n\
             Content-Length: 21\r\nConnection: keep-alive\r\n\r\n{\"message\":\"success\"}"
        );
    }

    #[test]
    fn an_answer_to_head_has_no_body() {
        assert_eq!(
            encoded(&Refusal::MethodNotAllowed { allow: "POST" }.into(), false, true),
            "HTTP/1.1 405 Method Not Allowed\r\nDate: Sun, 09 Sep 2001 01:46:40 GMT\r\n\
             Content-Type: application/json\r\nContent-Length: 32\r\nConnection: close\r\nAllow: POST\r\n\r\n"
        );
    }
}
