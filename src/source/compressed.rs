//! Compressed bytes, recognised by their magic number: gzip and zstd, of any number of members or frames.
//!
//! `flate2` works with zlib-rs and `ruzstd` is Rust as well, so that a build needs no C compiler. A member or frame is
//! checked against its checksum. Zeros behind the last one are padding; anything else there is an error.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use thiserror::Error;

mod gzip;
mod zstd;

use gzip::Gzip;
use zstd::Zstd;

const BUFFER_BYTES: usize = 64 * 1024;
/// What is wrong with compressed bytes. It comes as the inner error of an [`io::Error`].
#[derive(Debug, Error)]
pub enum CompressionError {
    /// They end before they should.
    #[error("the {kind} data ends in the middle: the file is cut off, fetch or write it again")]
    CutOff {
        /// gzip or zstd.
        kind: &'static str,
    },
    /// They are not what they should be.
    #[error("the {kind} data is damaged ({problem}): fetch or write the file again")]
    Damaged {
        /// gzip or zstd.
        kind: &'static str,
        /// What the decoder says.
        problem: String,
    },
    /// They need more memory than there is for it.
    #[error(
        "the zstd data needs a window of more than {} MiB: compress it with a level up to 19, without --ultra and --long",
        zstd::MAX_WINDOW_BYTES / 1024 / 1024
    )]
    WindowTooLarge,
    /// Something else stands behind them.
    #[error("behind the {kind} data stands something that is none: fetch or write the file again")]
    Garbage {
        /// gzip or zstd.
        kind: &'static str,
    },
}

impl From<CompressionError> for io::Error {
    fn from(error: CompressionError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// A reader whose first bytes were looked at.
type Started<R> = Chain<Cursor<Vec<u8>>, R>;

/// Bytes as they are once unpacked.
pub enum Unpacked<R> {
    /// They were not compressed.
    Plain(Started<R>),
    /// gzip.
    Gzip(Gzip<Started<R>>),
    /// zstd.
    Zstd(Box<Zstd<Started<R>>>),
}

impl<R: Read> Unpacked<R> {
    /// Looks at the first four bytes.
    pub fn new(mut reader: R) -> io::Result<Self> {
        let mut start = Vec::new();
        reader.by_ref().take(4).read_to_end(&mut start)?;
        let (is_gzip, is_zstd) = (start.starts_with(&gzip::MAGIC), zstd::begins(&start));
        let reader = Cursor::new(start).chain(reader);
        Ok(match (is_gzip, is_zstd) {
            (true, _) => Self::Gzip(Gzip::new(buffered(reader))),
            (_, true) => Self::Zstd(Box::new(Zstd::new(buffered(reader)))),
            _ => Self::Plain(reader),
        })
    }

    /// Whether they were compressed, so that an end that was cut off would show.
    pub fn was_compressed(&self) -> bool {
        !matches!(self, Self::Plain(_))
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read(buffer),
            Self::Gzip(reader) => reader.read(buffer),
            Self::Zstd(reader) => reader.read(buffer),
        }
    }
}

fn buffered<R: Read>(reader: R) -> BufReader<R> {
    BufReader::with_capacity(BUFFER_BYTES, reader)
}

/// Behind the last member or frame there may be zeros, and nothing else.
fn end_of_padding(packed: &mut impl BufRead, kind: &'static str) -> io::Result<usize> {
    loop {
        let bytes = packed.fill_buf()?;
        let count = bytes.len();
        if count == 0 {
            return Ok(0);
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Err(CompressionError::Garbage { kind }.into());
        }
        packed.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::bytes::tests::Dribble;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use rstest::rstest;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::Write;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(content: &[u8]) -> Vec<u8> {
        compress_to_vec(content, CompressionLevel::Fastest)
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
    #[case::zstd(&zstd(b"abc"), b"abc")]
    #[case::zstd_of_nothing(&zstd(b""), b"")]
    #[case::frames(&[zstd(b"ab"), zstd(b"c")].concat(), b"abc")]
    #[case::skippable_frames(&[skippable(), zstd(b"ab"), skippable(), zstd(b"c"), skippable()].concat(), b"abc")]
    #[case::padding_behind_frames(&[zstd(b"abc"), vec![0; 7]].concat(), b"abc")]
    fn reads_every_member_and_frame(#[case] bytes: &[u8], #[case] content: &[u8]) {
        for step in [1, 3, 100_000] {
            assert_eq!(unpacked(bytes, step).as_deref(), Ok(content), "step {step}");
        }
    }

    fn skippable() -> Vec<u8> {
        [b"\x53\x2a\x4d\x18\x05\0\0\0".as_slice(), b"aside"].concat()
    }

    #[rstest]
    #[case::gzip_garbage(&[gzip(b"abc"), b"x".to_vec()].concat(), "behind the gzip data")]
    #[case::gzip_garbage_behind_padding(&[gzip(b"abc"), b"\0\0x".to_vec()].concat(), "behind the gzip data")]
    #[case::gzip_checksum(&changed(gzip(b"abc"), -5), "the gzip data is damaged")]
    #[case::gzip_length(&changed(gzip(b"abc"), -1), "the gzip data is damaged")]
    #[case::zstd_garbage(&[zstd(b"abc"), b"xyzw".to_vec()].concat(), "behind the zstd data")]
    #[case::a_little_zstd_garbage(&[zstd(b"abc"), b"x".to_vec()].concat(), "behind the zstd data")]
    #[case::zstd_checksum(&changed(zstd(b"abc"), -1), "the zstd data is damaged")]
    #[case::zstd_window(b"\x28\xb5\x2f\xfd\x00\xa0\x01\0\0", "more than 8 MiB")]
    #[case::skippable_frame_cut_off(&skippable()[..10], "the zstd data ends in the middle")]
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
            content in prop::collection::vec(any::<u8>(), 0..300), part in 0.0..1.0, is_gzip in any::<bool>(),
        ) {
            let whole = if is_gzip { gzip(&content) } else { zstd(&content) };
            #[allow(clippy::cast_precision_loss, clippy::cast_sign_loss, clippy::cast_possible_truncation)]
            let length = 4 + ((whole.len() - 4) as f64 * part) as usize;
            prop_assert_eq!(unpacked(&whole, 1000), Ok(content));
            let error = unpacked(&whole[..length], 1000).unwrap_err();
            prop_assert!(error.contains("ends in the middle"), "{}", error);
        }
    }
}
