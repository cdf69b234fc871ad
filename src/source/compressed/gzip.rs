//! gzip, member by member.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;

use super::{CompressionError, end_of_padding};

/// The first bytes of every member.
pub const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Members, one after the other.
pub struct Gzip<R>(State<R>);

enum State<R> {
    Between(BufReader<R>),
    Within(Box<GzDecoder<BufReader<R>>>),
    /// The end was reached, or an error.
    Done,
}

impl<R: Read> Gzip<R> {
    /// Before the first member.
    pub fn new(packed: BufReader<R>) -> Self {
        Self(State::Between(packed))
    }
}

impl<R: Read> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const KIND: &str = "gzip";
        loop {
            match std::mem::replace(&mut self.0, State::Done) {
                State::Done => return Ok(0),
                State::Between(mut packed) => match packed.fill_buf()?.first() {
                    None => return Ok(0),
                    Some(0) => return end_of_padding(&mut packed, KIND),
                    Some(byte) if *byte != MAGIC[0] => return Err(CompressionError::Garbage { kind: KIND }.into()),
                    Some(_) => self.0 = State::Within(Box::new(GzDecoder::new(packed))),
                },
                State::Within(mut member) => match member.read(buffer) {
                    Ok(0) if !buffer.is_empty() => self.0 = State::Between(member.into_inner()),
                    Err(error) => return Err(gzip_error(error)),
                    result => {
                        self.0 = State::Within(member);
                        return result;
                    }
                },
            }
        }
    }
}

fn gzip_error(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => CompressionError::CutOff { kind: "gzip" }.into(),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            CompressionError::Damaged { kind: "gzip", problem: error.to_string() }.into()
        }
        _ => error,
    }
}
