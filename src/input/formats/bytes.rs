//! A buffered reader. Callers can look at the next bytes before they consume them.

use std::io::{self, Read};

use memchr::memchr;

use super::Fault;

/// How many bytes are looked at to recognise a format, and read at once.
pub const WINDOW: usize = 128 * 1024;
/// The longest line that is kept whole. A longer one is read to its end and rejected as too long.
pub const MAX_LINE_BYTES: usize = 1024 * 1024;

/// Bytes from a reader, with a window over the next ones. The reader's reads must never end with
/// [`io::ErrorKind::Interrupted`].
pub struct Bytes<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl<R: Read> Bytes<R> {
    /// A reader that has read nothing yet.
    pub fn new(reader: R) -> Self {
        Self { reader, buffer: vec![0; WINDOW], start: 0, end: 0 }
    }

    /// The next byte, or none at the end.
    #[inline]
    pub fn first(&mut self) -> io::Result<Option<u8>> {
        Ok(self.fill()?.first().copied())
    }

    /// The bytes at hand. Reads if there are none; empty only at the end.
    #[inline]
    pub fn fill(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            self.more()?;
        }
        Ok(self.at_hand())
    }

    /// The next `count` bytes, but at most [`WINDOW`]. Fewer if the input ends before.
    pub fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        while self.end - self.start < count.min(WINDOW) {
            if self.more()? == 0 {
                break;
            }
        }
        Ok(&self.buffer[self.start..self.end.min(self.start + count)])
    }

    /// The bytes that were read but not consumed.
    pub fn at_hand(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// The same, mutable.
    #[inline]
    pub fn at_hand_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.end]
    }

    /// The size of the window.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.buffer.len()
    }

    /// Whether the window is full.
    pub fn is_full(&self) -> bool {
        self.end - self.start == self.buffer.len()
    }

    /// Keeps only the first `len` bytes at hand.
    pub fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start + len);
    }

    /// Reads more after the bytes at hand, and returns how many; 0 at the end. A full window is doubled.
    pub fn more(&mut self) -> io::Result<usize> {
        if self.is_full() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        } else if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let count = self.reader.read(&mut self.buffer[self.end..])?;
        self.end += count;
        Ok(count)
    }

    /// Skips this many of the bytes at hand.
    pub fn consume(&mut self, count: usize) {
        self.start += count;
    }

    /// The last `count` consumed bytes, until more is read.
    #[inline]
    pub fn consumed(&self, count: usize) -> &[u8] {
        &self.buffer[self.start - count..self.start]
    }

    /// The next line without its line feed, or none at the end. A line longer than [`MAX_LINE_BYTES`] is a fault. The
    /// last line needs no line feed.
    pub fn line(&mut self) -> io::Result<Option<Result<&[u8], Fault>>> {
        let (mut searched, mut is_too_long) = (0, false);
        let end = loop {
            if let Some(index) = memchr(b'\n', &self.at_hand()[searched..]) {
                break Some(self.start + searched + index);
            }
            searched = self.end - self.start;
            if searched > MAX_LINE_BYTES {
                is_too_long = true;
                self.consume(searched);
                searched = 0;
            }
            if self.more()? == 0 {
                break None;
            }
        };
        let line = self.start..end.unwrap_or(self.end);
        self.start = end.map_or(self.end, |end| end + 1);
        is_too_long |= line.len() > MAX_LINE_BYTES;
        Ok(match end {
            None if line.is_empty() && !is_too_long => None,
            _ if is_too_long => Some(Err(Fault::TooLong)),
            _ => Some(Ok(&self.buffer[line])),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rstest::rstest;

    /// Returns only a few bytes for each read, as a pipe may.
    pub struct Dribble<'a>(pub &'a [u8], pub usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn lines(text: &[u8], step: usize) -> Vec<Option<usize>> {
        let mut bytes = Bytes::new(Dribble(text, step));
        let mut lines = Vec::new();
        while let Some(line) = bytes.line().unwrap() {
            lines.push(line.ok().map(<[u8]>::len));
        }
        assert!(bytes.capacity() <= 2 * MAX_LINE_BYTES, "{} bytes are kept", bytes.capacity());
        lines
    }

    #[rstest]
    #[case(b"", &[])]
    #[case(b"\n", &[0])]
    #[case(b"a\nbc\n", &[1, 2])]
    #[case(b"a\n\nbcd", &[1, 0, 3])]
    fn lines_end_with_a_line_feed_or_the_input(#[case] text: &[u8], #[case] expected: &[usize]) {
        let expected: Vec<_> = expected.iter().copied().map(Some).collect();
        for step in [1, 2, 1000] {
            assert_eq!(lines(text, step), expected, "step {step}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_in_constant_memory() {
        let text = format!("a\n{}\n{}\nb", "x".repeat(MAX_LINE_BYTES), "y".repeat(5 * MAX_LINE_BYTES));
        assert_eq!(lines(text.as_bytes(), usize::MAX), [Some(1), Some(MAX_LINE_BYTES), None, Some(1)]);
        let endless = "z".repeat(3 * MAX_LINE_BYTES);
        assert_eq!(lines(endless.as_bytes(), 10_000), [None]);
    }
}
