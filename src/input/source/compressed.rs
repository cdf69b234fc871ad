//! Bytes that may be compressed with gzip, recognised by its magic number: any number of members.
//!
//! Each member is checked against its checksum. Zeros after the last member are padding (`MultiGzDecoder` fails on
//! them). Anything else there is an error.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};
use std::mem;

use flate2::bufread::GzDecoder;
use thiserror::Error;

const BUFFER_BYTES: usize = 64 * 1024;
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// What is wrong with compressed bytes; the inner error of an [`io::Error`].
#[derive(Debug, Error)]
pub enum CompressionError {
    /// They end too early.
    #[error("the gzip data is cut off: fetch or write the file again")]
    CutOff,
    /// They cannot be unpacked, or the checksum is wrong.
    #[error("the gzip data is damaged ({problem}): fetch or write the file again")]
    Damaged {
        /// The decoder's message.
        problem: String,
    },
    /// Other bytes follow them.
    #[error("trailing garbage after the gzip data: fetch or write the file again")]
    Garbage,
}

impl From<CompressionError> for io::Error {
    fn from(error: CompressionError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

type Started<R> = Chain<Cursor<Vec<u8>>, R>;

/// Bytes, unpacked if they were compressed.
pub enum Unpacked<R> {
    /// They are not compressed.
    Plain(Started<R>),
    /// In a member.
    Packed(Box<GzDecoder<BufReader<Started<R>>>>),
    /// After the last member, or an error.
    Done,
}

impl<R: Read> Unpacked<R> {
    /// Looks at the first bytes.
    pub fn new(mut reader: R) -> io::Result<Self> {
        let mut start = Vec::new();
        reader.by_ref().take(MAGIC.len() as u64).read_to_end(&mut start)?;
        let is_gzip = start == MAGIC;
        let reader = Cursor::new(start).chain(reader);
        Ok(if is_gzip { Self::member(BufReader::with_capacity(BUFFER_BYTES, reader)) } else { Self::Plain(reader) })
    }

    fn member(packed: BufReader<Started<R>>) -> Self {
        Self::Packed(Box::new(GzDecoder::new(packed)))
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Self::Plain(reader) = self {
            return reader.read(buffer);
        }
        loop {
            let Self::Packed(mut member) = mem::replace(self, Self::Done) else { return Ok(0) };
            let count = member.read(buffer).map_err(explained)?;
            if count > 0 || buffer.is_empty() {
                *self = Self::Packed(member);
                return Ok(count);
            }
            let mut packed = member.into_inner();
            if packed.fill_buf()?.first() != Some(&MAGIC[0]) {
                return end_of_padding(&mut packed);
            }
            *self = Self::member(packed);
        }
    }
}

fn explained(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => CompressionError::CutOff.into(),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            CompressionError::Damaged { problem: error.to_string() }.into()
        }
        _ => error,
    }
}

/// Fails unless only zeros follow.
fn end_of_padding(packed: &mut impl BufRead) -> io::Result<usize> {
    loop {
        let bytes = packed.fill_buf()?;
        let count = bytes.len();
        if count == 0 {
            return Ok(0);
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Err(CompressionError::Garbage.into());
        }
        packed.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::formats::bytes::tests::Dribble;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use rstest::rstest;
    use std::io::Write;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacked(bytes: &[u8], step: usize) -> Result<Vec<u8>, String> {
        let mut content = Vec::new();
        match Unpacked::new(Dribble(bytes, step)).and_then(|mut reader| reader.read_to_end(&mut content)) {
            Ok(_) => Ok(content),
            Err(error) => Err(error.to_string()),
        }
    }

    #[rstest]
    #[case::plain(b"abc", b"abc")]
    #[case::nothing(b"", b"")]
    #[case::one_byte_of_the_magic_number(b"\x1f", b"\x1f")]
    #[case::gzip(&gzip(b"abc"), b"abc")]
    #[case::gzip_of_nothing(&gzip(b""), b"")]
    #[case::members(&[gzip(b"ab"), gzip(b""), gzip(b"c")].concat(), b"abc")]
    #[case::padding(&[gzip(b"abc"), vec![0; 1000]].concat(), b"abc")]
    fn reads_every_member(#[case] bytes: &[u8], #[case] content: &[u8]) {
        for step in [1, 3, 100_000] {
            assert_eq!(unpacked(bytes, step).as_deref(), Ok(content), "step {step}");
        }
    }

    #[rstest]
    #[case::gzip_garbage(&[gzip(b"abc"), b"x".to_vec()].concat(), "after the gzip data")]
    #[case::gzip_garbage_behind_padding(&[gzip(b"abc"), b"\0\0x".to_vec()].concat(), "after the gzip data")]
    #[case::gzip_checksum(&changed(gzip(b"abc"), -5), "the gzip data is damaged")]
    #[case::gzip_length(&changed(gzip(b"abc"), -1), "the gzip data is damaged")]
    fn tells_what_is_wrong(#[case] bytes: &[u8], #[case] message: &str) {
        for step in [1, 100_000] {
            let error = unpacked(bytes, step).unwrap_err();
            assert!(error.contains(message), "step {step}: {error}");
        }
    }

    fn changed(mut bytes: Vec<u8>, place: isize) -> Vec<u8> {
        let place = bytes.len().checked_add_signed(place).unwrap();
        bytes[place] ^= 1;
        bytes
    }

    proptest! {
        #[test]
        fn an_end_that_comes_too_early_is_always_found(
            content in prop::collection::vec(any::<u8>(), 0..300), part in 0.0..1.0,
        ) {
            let whole = gzip(&content);
            #[allow(clippy::cast_precision_loss, clippy::cast_sign_loss, clippy::cast_possible_truncation)]
            let length = 4 + ((whole.len() - 4) as f64 * part) as usize;
            prop_assert_eq!(unpacked(&whole, 1000), Ok(content));
            let error = unpacked(&whole[..length], 1000).unwrap_err();
            prop_assert!(error.contains("is cut off"), "{}", error);
        }
    }
}
