//! An answer whose body is read in pieces.

use std::io::{self, Read};

use ureq::http::HeaderMap;

use super::{Answer, HttpError};

/// An answer whose body was not read yet.
pub struct Stream {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body. Its errors contain those of ureq.
    pub body: Box<dyn Read + Send>,
}

impl Stream {
    /// Reads some bytes of the body; 0 at its end. An early end is an error.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, HttpError> {
        self.body.read(buffer).map_err(meaning)
    }

    /// Reads the whole body. A success with a body longer than `max_bytes` is an error. With another status the body is
    /// cut there, and is empty if it breaks off: an error page may be long, and the status is enough.
    pub fn into_answer(self, max_bytes: usize) -> Result<Answer, HttpError> {
        let is_success = (200..300).contains(&self.status);
        let mut body = Vec::new();
        // One more byte distinguishes a body of exactly this length from a longer one.
        match self.body.take(max_bytes as u64 + 1).read_to_end(&mut body) {
            Err(error) if is_success => return Err(meaning(error)),
            Err(_) => body.clear(),
            Ok(_) if is_success && body.len() > max_bytes => {
                return Err(HttpError::Unintelligible(format!("more than {max_bytes} bytes")));
            }
            Ok(_) => {}
        }
        Ok(Answer { status: self.status, headers: self.headers, body })
    }
}

fn meaning(error: io::Error) -> HttpError {
    HttpError::from(ureq::Error::from(error))
}
