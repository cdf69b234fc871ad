//! Bytes that can be had only once, kept in a file without a name so that they can be read a second time.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Where the bytes are kept; gone with the process.
pub fn new() -> io::Result<Arc<File>> {
    tempfile::tempfile().map(Arc::new)
}

/// Reads, and keeps what it read.
pub struct TeeReader {
    /// What is read.
    pub bytes: Box<dyn Read + Send>,
    /// Where it is kept.
    pub spool: Arc<File>,
}

impl Read for TeeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        self.spool.as_ref().write_all(&buffer[..count])?;
        Ok(count)
    }
}

/// Reads what was kept, from the beginning.
pub struct SpoolReader {
    spool: Arc<File>,
    offset: u64,
}

impl SpoolReader {
    /// At the beginning.
    pub fn new(spool: Arc<File>) -> Self {
        Self { spool, offset: 0 }
    }
}

impl Read for SpoolReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.spool.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_can_be_read_again() {
        let spool = new().unwrap();
        let text = b"user_ids\nu1\nu2\n";
        let mut keeping = TeeReader { bytes: Box::new(text.as_slice()), spool: Arc::clone(&spool) };
        let mut read = Vec::new();
        keeping.read_to_end(&mut read).unwrap();
        for _ in 0..2 {
            let mut again = Vec::new();
            SpoolReader::new(Arc::clone(&spool)).read_to_end(&mut again).unwrap();
            assert_eq!((read.as_slice(), again.as_slice()), (text.as_slice(), text.as_slice()));
        }
    }
}
