//! Bytes into rows, one file a format. A bad row is not a dead input: it comes out as a row that says so.

use std::io;

use thiserror::Error;

pub mod delimited;

/// Why an input cannot be read on.
#[derive(Debug, Error)]
pub enum RowsError {
    /// The bytes cannot be had.
    #[error("reading failed after line {line}: {error}")]
    Io {
        /// The last line that was read.
        line: u64,
        /// What the system said.
        error: io::Error,
    },
    /// No byte at all, or line breaks only.
    #[error(
        "it is empty, without even a header line: was the query's result written at all? \
         (td> with download_file writes a header even for no rows)"
    )]
    Empty,
    /// Text in UTF-16.
    #[error("it is UTF-16 text: save it as UTF-8 (iconv -f UTF-16 -t UTF-8)")]
    Utf16,
    /// A compressed file.
    #[error(
        "it is compressed with {kind}: unpack it first ({kind} -dc FILE | td-braze-cohort upload CONFIG --input -)"
    )]
    Compressed {
        /// The program that unpacks it.
        kind: &'static str,
    },
    /// A quote that never ends; everything behind it is one cell.
    #[error(
        "the quoted cell in the record that begins in line {line} never ends: \
         the file is cut off, or a quote in it is not doubled. Nothing of that record was sent"
    )]
    UnterminatedQuote {
        /// Line in which the record begins.
        line: u64,
    },
}

/// One row: its cells as the bytes between the delimiters, unquoted.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    bytes: &'a [u8],
    ends: &'a [usize],
    /// Line in which it begins, from 1.
    pub line: u64,
    /// It has more cells or bytes than any row may have; its cells are not all here.
    pub oversized: bool,
}

impl<'a> Row<'a> {
    /// How many cells it has.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether it has no cell at all.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The cell of a column; empty where the row has no such column.
    pub fn cell(&self, column: usize) -> &'a [u8] {
        let start = match column {
            0 => 0,
            _ => self.ends.get(column - 1).copied().unwrap_or(0),
        };
        self.ends.get(column).and_then(|end| self.bytes.get(start..*end)).unwrap_or_default()
    }

    /// All cells as text; what is not UTF-8 is replaced. For headers.
    pub fn to_strings(&self) -> Vec<String> {
        (0..self.len()).map(|column| String::from_utf8_lossy(self.cell(column)).into_owned()).collect()
    }
}
