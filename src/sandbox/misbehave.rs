//! What a fault does on the socket, in the place of a well-behaved answer.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::answer::{Answer, Framing, encoded, status_line};
use super::faults::Fault;
use super::http::Length;
use super::refusal::Refusal;
use super::stop::StopSignal;

const DRIP: Duration = Duration::from_millis(1);
const PAGE: &[u8] = b"<!doctype html><title>Sign in</title><p>Please sign in to use this network.</p>";
const INTERIM: &[u8] =
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";

/// Faults that happen before the body of a request is read. The connection is of no use after it.
///
/// # Errors
/// The client is gone.
pub fn before_the_body(fault: Fault, socket: &TcpStream, reader: &mut impl Read, length: Length) -> io::Result<()> {
    let mut writer = socket;
    match (fault, length) {
        (Fault::EarlyAnswer, _) => {
            let framing = Framing { keep_alive: false, head_only: false };
            writer.write_all(&encoded(&Refusal::Unavailable.into(), framing))
        }
        (Fault::ResetInBody, Length::Known(length)) => {
            io::copy(&mut reader.take(length as u64 / 2), &mut io::sink())?;
            reset(socket)
        }
        _ => reset(socket),
    }
}

/// Answers as the fault wants it. Returns whether the connection takes another request.
///
/// # Errors
/// The client is gone, which is what some faults wait for.
pub fn deliver(
    fault: Fault,
    socket: &TcpStream,
    reader: &mut impl Read,
    answer: &Answer,
    framing: Framing,
    stop: &StopSignal,
) -> io::Result<bool> {
    let mut writer = socket;
    let whole = encoded(answer, framing);
    let half = &whole[..whole.len() - answer.body.len().div_ceil(2).min(whole.len())];
    match fault {
        Fault::ResetAfterBody => reset(socket)?,
        Fault::ResetInAnswer => {
            writer.write_all(half)?;
            reset(socket)?;
        }
        Fault::HalfAnswer => writer.write_all(half)?,
        Fault::HalfChunk => writer.write_all(&chunked(answer, ""))?,
        Fault::NoAnswer => drop(io::copy(reader, &mut io::sink())?),
        Fault::Drip => {
            for byte in &whole {
                writer.write_all(&[*byte])?;
                stop.pause(DRIP);
            }
            return Ok(framing.keep_alive);
        }
        Fault::GarbageStatus => writer.write_all(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")?,
        Fault::GarbageLength => writer.write_all(&head(answer, "HTTP/1.1", "Content-Length: many\r\n"))?,
        Fault::Redirect => writer.write_all(
            b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        )?,
        Fault::Html => {
            let length = PAGE.len();
            let length = format!("Content-Length: {length}\r\nConnection: close\r\n\r\n");
            writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n")?;
            writer.write_all(length.as_bytes())?;
            writer.write_all(PAGE)?;
        }
        Fault::EndlessBody => {
            writer.write_all(&head(answer, "HTTP/1.1", ""))?;
            forever(writer, stop, &[b' '; 4096])?;
        }
        Fault::EndlessHeaders => {
            writer.write_all(status_line("HTTP/1.1", answer.status).as_bytes())?;
            forever(writer, stop, b"X-More: and more, and more, and more, and more, and more, and more\r\n")?;
        }
        Fault::Http10 => {
            writer.write_all(&head(answer, "HTTP/1.0", ""))?;
            writer.write_all(&answer.body)?;
        }
        Fault::Chunked => {
            writer.write_all(&chunked(answer, "0\r\n\r\n"))?;
            return Ok(framing.keep_alive);
        }
        Fault::Interim => {
            writer.write_all(INTERIM)?;
            writer.write_all(&whole)?;
            return Ok(framing.keep_alive);
        }
        Fault::CloseAfter => writer.write_all(&whole)?,
        Fault::Unavailable | Fault::ResetBefore | Fault::ResetInBody | Fault::EarlyAnswer => {
            writer.write_all(&whole)?;
            return Ok(framing.keep_alive);
        }
    }
    Ok(false)
}

/// Has the connection reset when it is closed, which happens next.
fn reset(socket: &TcpStream) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO))?)
}

fn forever(mut writer: impl Write, stop: &StopSignal, bytes: &[u8]) -> io::Result<()> {
    while !stop.is_stopped() {
        writer.write_all(bytes)?;
    }
    Ok(())
}

fn head(answer: &Answer, version: &str, framing: &str) -> Vec<u8> {
    let mut head = status_line(version, answer.status) + "Content-Type: application/json\r\n" + framing;
    for (name, value) in &answer.headers {
        // Writing to a String cannot fail.
        let _ = write!(head, "{name}: {value}\r\n");
    }
    (head + "\r\n").into_bytes()
}

/// The body in two chunks, and this end.
fn chunked(answer: &Answer, end: &str) -> Vec<u8> {
    let mut bytes = head(answer, "HTTP/1.1", "Transfer-Encoding: chunked\r\n");
    let (first, second) = answer.body.split_at(answer.body.len() / 2);
    for chunk in [first, second].into_iter().filter(|chunk| !chunk.is_empty()) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(end.as_bytes());
    bytes
}
