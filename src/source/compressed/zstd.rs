//! zstd, frame by frame.

use std::io::{self, BufRead, BufReader, Read};

use ruzstd::decoding::errors::FrameDecoderError;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::{CompressionError, end_of_padding};

const MAGIC: u32 = 0xfd2f_b528;
/// What every decoder of zstd has to be able to keep, and what its levels up to 19 need.
pub const MAX_WINDOW_BYTES: u64 = 8 * 1024 * 1024;

/// Whether these are the first bytes of a frame.
pub fn begins(start: &[u8]) -> bool {
    start.first_chunk().is_some_and(|magic| {
        let magic = u32::from_le_bytes(*magic);
        magic == MAGIC || is_skippable(magic)
    })
}

/// Frames, one after the other, without those that are to be skipped.
pub struct Zstd<R> {
    packed: BufReader<R>,
    decoder: FrameDecoder,
    is_within: bool,
}

impl<R: Read> Zstd<R> {
    /// Before the first frame.
    pub fn new(packed: BufReader<R>) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_WINDOW_BYTES);
        Self { packed, decoder, is_within: false }
    }

    /// Goes to the content of the next frame; false at the end.
    fn begin_frame(&mut self) -> io::Result<bool> {
        loop {
            let mut magic = Vec::new();
            self.packed.by_ref().take(4).read_to_end(&mut magic)?;
            match (magic.first_chunk().map(|magic| u32::from_le_bytes(*magic)), magic.as_slice()) {
                (_, []) => return Ok(false),
                (_, bytes) if bytes.iter().all(|byte| *byte == 0) => {
                    return end_of_padding(&mut self.packed, "zstd").map(|_| false);
                }
                (Some(MAGIC), bytes) => {
                    let result = self.decoder.init(bytes.chain(&mut self.packed));
                    result.map_err(|error| self.explain(&error))?;
                    return Ok(true);
                }
                (Some(magic), _) if is_skippable(magic) => self.skip_frame()?,
                _ => return Err(CompressionError::Garbage { kind: "zstd" }.into()),
            }
        }
    }

    fn skip_frame(&mut self) -> io::Result<()> {
        let mut length = [0; 4];
        let cut_off = || io::Error::from(CompressionError::CutOff { kind: "zstd" });
        self.packed.read_exact(&mut length).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => cut_off(),
            _ => error,
        })?;
        let length = u64::from(u32::from_le_bytes(length));
        let skipped = io::copy(&mut self.packed.by_ref().take(length), &mut io::sink())?;
        if skipped == length { Ok(()) } else { Err(cut_off()) }
    }

    fn end_frame(&mut self) -> io::Result<()> {
        self.is_within = false;
        match self.decoder.get_checksum_from_data() {
            Some(written) if self.decoder.get_calculated_checksum() != Some(written) => {
                Err(CompressionError::Damaged { kind: "zstd", problem: "its checksum is another".to_owned() }.into())
            }
            _ => Ok(()),
        }
    }

    /// The decoder does not tell an end that comes too early from damage, nor from a failed read.
    fn explain(&mut self, error: &FrameDecoderError) -> io::Error {
        if let FrameDecoderError::WindowSizeTooBig { .. } = error {
            return CompressionError::WindowTooLarge.into();
        }
        match self.packed.fill_buf() {
            Err(error) => error,
            Ok([]) => CompressionError::CutOff { kind: "zstd" }.into(),
            Ok(_) => CompressionError::Damaged { kind: "zstd", problem: error.to_string() }.into(),
        }
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.is_within {
                self.is_within = self.begin_frame()?;
                if !self.is_within {
                    return Ok(0);
                }
            }
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if self.decoder.is_finished() {
                self.end_frame()?;
            } else if let Err(error) =
                self.decoder.decode_blocks(&mut self.packed, BlockDecodingStrategy::UptoBlocks(1))
            {
                return Err(self.explain(&error));
            }
        }
    }
}

fn is_skippable(magic: u32) -> bool {
    magic & 0xffff_fff0 == 0x184d_2a50
}
