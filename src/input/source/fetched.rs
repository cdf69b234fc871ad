//! Files without a name. They disappear with the process, however it ends.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// A fetched result. Clones share the file.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// For messages.
    pub name: Arc<str>,
    /// All of its bytes.
    pub file: Arc<File>,
    /// In bytes.
    pub size: u64,
}

impl Fetched {
    /// The file, which has `size` bytes; `name` is for messages.
    pub fn new(name: &str, file: File, size: u64) -> Self {
        Self { name: Arc::from(name), file: Arc::new(file), size }
    }
}

impl PartialEq for Fetched {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
    }
}

impl Eq for Fetched {}

/// Reads a file. Each reader has its own offset, so several readers do not interfere.
pub struct KeptReader {
    /// The file.
    pub file: Arc<File>,
    /// The next byte to read.
    pub offset: u64,
}

impl Read for KeptReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn readers_at_the_same_time_do_not_disturb_each_other() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abcdefgh").unwrap();
        let fetched = Fetched::new("it", file, 8);
        let open = || KeptReader { file: Arc::clone(&fetched.file), offset: 0 };
        let (mut one, mut other) = (open(), open());
        let mut piece = [0; 3];
        one.read_exact(&mut piece).unwrap();
        assert_eq!(io::read_to_string(&mut other).unwrap(), "abcdefgh");
        assert_eq!((&piece, io::read_to_string(&mut one).unwrap().as_str()), (b"abc", "defgh"));
        assert_eq!(io::read_to_string(open()).unwrap(), "abcdefgh");
    }
}
