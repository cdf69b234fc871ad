//! An answer whose body is read piece by piece.

use std::io::{self, Read};

use ureq::http::HeaderMap;

#[cfg(doc)]
use super::Deadlines;
use super::HttpError;

/// An answer of which the body is still to come.
pub struct Stream {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
}

/// A body, read piece by piece.
pub struct Body(Box<dyn Read + Send>);

impl Body {
    /// From wherever it comes. Errors of ureq may be within.
    pub fn new(bytes: impl Read + Send + 'static) -> Self {
        Self(Box::new(bytes))
    }

    /// Reads some of it; nothing at its end. A body that ends before it should is an error.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, HttpError> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map_err(|error| HttpError::from(ureq::Error::from(error))),
            }
        }
    }

    /// Reads all of it, and where it is longer than `most` bytes, one byte more than that: it tells a body that is just as
    /// long from an endless one.
    pub fn read_up_to(self, most: usize) -> Result<Vec<u8>, HttpError> {
        let mut bytes = Vec::new();
        self.0
            .take(most as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| HttpError::from(ureq::Error::from(error)))?;
        Ok(bytes)
    }
}

/// How long a body may take to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// [`Deadlines::answer`] for all of it.
    Whole,
    /// [`Deadlines::answer`] for each next piece of it, however long all of it takes.
    EachPiece,
}
