//! Bytes that were fetched into a file without a name: nothing of them stays behind, however the process ends.

use std::fs::File;
use std::sync::Arc;

use super::spool::SpoolReader;

/// A whole file that only this process can read. Clones are the same file.
#[derive(Clone, Debug)]
pub struct Fetched {
    name: Arc<str>,
    file: Arc<File>,
    size: u64,
}

impl Fetched {
    /// The file, which has `size` bytes; `name` is for messages.
    pub fn new(name: &str, file: File, size: u64) -> Self {
        Self { name: Arc::from(name), file: Arc::new(file), size }
    }

    /// What it is, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads it from its beginning. Every reader has a place of its own, so several do not disturb each other.
    pub fn open(&self) -> SpoolReader {
        SpoolReader::new(Arc::clone(&self.file))
    }
}

impl PartialEq for Fetched {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
    }
}

impl Eq for Fetched {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Read, Write};

    #[test]
    fn readers_at_the_same_time_do_not_disturb_each_other() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abcdefgh").unwrap();
        let fetched = Fetched::new("it", file, 8);
        let (mut one, mut other) = (fetched.open(), fetched.clone().open());
        let mut piece = [0; 3];
        one.read_exact(&mut piece).unwrap();
        assert_eq!(io::read_to_string(&mut other).unwrap(), "abcdefgh");
        assert_eq!((&piece, io::read_to_string(&mut one).unwrap().as_str()), (b"abc", "defgh"));
        assert_eq!(io::read_to_string(fetched.open()).unwrap(), "abcdefgh");
    }
}
