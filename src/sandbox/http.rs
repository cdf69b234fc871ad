//! Reading requests off a connection: HTTP/1.0 and 1.1, with a known length or in chunks.

use std::io::{self, BufRead, Read, Write};

use thiserror::Error;

mod head;

pub use head::{Head, Length};

/// The most bytes that a request's head may have, and separately its chunk lines and trailers.
const MAX_HEAD: usize = 64 * 1024;
/// The most bytes that a request's body may have.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// Why a request could not be read. The connection is of no use after it.
#[derive(Debug, Error)]
pub enum RequestError {
    /// The client went away or stalled: there is nobody to answer.
    #[error("the connection ended within a request: {0}")]
    Io(#[from] io::Error),
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    #[error("the request's head is longer than 64 KiB")]
    HeadTooLarge,
    #[error("the request's body is longer than 16 MiB")]
    BodyTooLarge,
}

impl RequestError {
    /// The status to answer before closing.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Io(_) => None,
            Self::Malformed(_) => Some(400),
            Self::HeadTooLarge => Some(431),
            Self::BodyTooLarge => Some(413),
        }
    }
}

/// Reads the head of a request. `None` is the end of the connection, between requests.
///
/// # Errors
/// The connection ended within the head, or what came is not HTTP or over a limit.
pub fn read_head(reader: &mut impl BufRead) -> Result<Option<Head>, RequestError> {
    read_head_bytes(reader)?.map(|bytes| Head::parse(&bytes)).transpose()
}

/// Reads what follows a head into `body`, which is emptied first. `interim` takes the `100 Continue` that a client may wait
/// for before it sends its body.
///
/// # Errors
/// The connection ended within the body, or it is malformed or over a limit.
pub fn read_body(
    reader: &mut impl BufRead,
    interim: &mut impl Write,
    head: &Head,
    body: &mut Vec<u8>,
) -> Result<(), RequestError> {
    body.clear();
    if matches!(head.length, Length::Known(length) if length > MAX_BODY) {
        return Err(RequestError::BodyTooLarge);
    }
    if head.expects_continue && head.length != Length::Known(0) {
        interim.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    match head.length {
        Length::Known(length) => read_exactly(reader, length, body),
        Length::Chunked => read_chunks(reader, body),
    }
}

fn read_head_bytes(reader: &mut impl BufRead) -> Result<Option<Vec<u8>>, RequestError> {
    // A TLS handshake has no line end to wait for.
    match reader.fill_buf()?.first() {
        None => return Ok(None),
        Some(first) if first.is_ascii_alphabetic() || matches!(first, b'\r' | b'\n') => {}
        Some(_) => {
            return Err(RequestError::Malformed("this is not HTTP (https:// on a plain port?)"));
        }
    }
    let mut head = Vec::new();
    let mut begun = false;
    loop {
        let start = head.len();
        read_line(reader, &mut head)?;
        // Empty lines before a request are allowed; after it one ends its head.
        let blank = is_blank(&head[start..]);
        if blank && begun {
            return Ok(Some(head));
        }
        begun |= !blank;
    }
}

fn is_blank(lines: &[u8]) -> bool {
    lines.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

/// Appends one line with its end.
fn read_line(reader: &mut impl BufRead, lines: &mut Vec<u8>) -> Result<(), RequestError> {
    let room = (MAX_HEAD - lines.len()) as u64;
    let read = reader.by_ref().take(room).read_until(b'\n', lines)?;
    if read > 0 && lines.ends_with(b"\n") {
        return Ok(());
    }
    Err(if lines.len() == MAX_HEAD { RequestError::HeadTooLarge } else { ended() })
}

fn read_exactly(reader: &mut impl Read, length: usize, body: &mut Vec<u8>) -> Result<(), RequestError> {
    let read = reader.by_ref().take(length as u64).read_to_end(body)?;
    if read == length { Ok(()) } else { Err(ended()) }
}

fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> Result<(), RequestError> {
    let mut line = Vec::new();
    loop {
        line.clear();
        read_line(reader, &mut line)?;
        let Ok(httparse::Status::Complete((_, size))) = httparse::parse_chunk_size(&line) else {
            return Err(RequestError::Malformed("chunk size"));
        };
        if size == 0 {
            return read_trailers(reader);
        }
        let room = MAX_BODY - body.len();
        let size = usize::try_from(size).ok().filter(|size| *size <= room).ok_or(RequestError::BodyTooLarge)?;
        read_exactly(reader, size, body)?;
        line.clear();
        read_line(reader, &mut line)?;
        if !is_blank(&line) {
            return Err(RequestError::Malformed("a chunk is longer than its size"));
        }
    }
}

fn read_trailers(reader: &mut impl BufRead) -> Result<(), RequestError> {
    let mut trailers = Vec::new();
    loop {
        let start = trailers.len();
        read_line(reader, &mut trailers)?;
        if is_blank(&trailers[start..]) {
            return Ok(());
        }
    }
}

fn ended() -> RequestError {
    RequestError::Io(io::ErrorKind::UnexpectedEof.into())
}

#[cfg(test)]
mod tests;
