//! What can be wrong with one row, or with all rows that follow.

use std::io;

use thiserror::Error;

use super::format::Format;

/// Why an input cannot be read further.
#[derive(Debug, Error)]
pub enum RowsError {
    /// The bytes cannot be read.
    #[error("reading failed after {unit} {number}: {error}{}", after_io(.error))]
    Io {
        /// `line` or `row`.
        unit: &'static str,
        /// The last one that was read, from 1.
        number: u64,
        /// The system's error, or what is wrong with compressed data.
        error: io::Error,
    },
    /// There are no bytes, or only line breaks.
    #[error(
        "it is empty and has no header line: was the query's result written? (td> with download_file writes a header even \
         without rows)"
    )]
    Empty,
    /// A header longer than any row may be.
    #[error("its first line has more than 10,000 columns or 1 MiB: is this the result of a query?")]
    HeaderTooLong,
    /// Compressed in another way, an archive, or UTF-16.
    #[error("it is {0}")]
    Unsupported(&'static str),
    /// A quoted cell that never ends.
    #[error(
        "a quoted cell in the record that begins in line {line} is not closed: the file is cut off, or a quote in the cell is not \
         doubled. Nothing of that record was sent"
    )]
    UnterminatedQuote {
        /// The record's first line.
        line: u64,
    },
    /// A TSV cell that may continue in the next line.
    #[error(
        "line {line} has too few cells, and its last cell begins with a quote that is not closed: if cells may span several \
         lines, set quotes: standard; if quotes are plain text, set quotes: none. Nothing of that line was sent"
    )]
    OpenQuoteOnALine {
        /// The line.
        line: u64,
    },
    /// The last row is incomplete, and no line break follows.
    #[error(
        "the last row, in line {line}, is not whole and has no line break: the file is cut off, fetch or write it again. Nothing of \
         that row was sent. If the file is whole, end it with a line break"
    )]
    CutOff {
        /// The line.
        line: u64,
    },
    /// `quotes` applies only to TSV.
    #[error("it is {format}, but the setting quotes applies only to tsv: leave quotes out")]
    QuotesOfOther {
        /// The format.
        format: Format,
    },
    /// `columns` does not apply to objects.
    #[error("it is jsonl, whose keys are its column names: leave columns out")]
    ColumnsOfObjects,
    /// Text after a closing quote.
    #[error(
        "the record that begins in line {line} is invalid in line {broken}: text follows a closing quote. A cell that begins \
         with a quote must end with one, and quotes in it must be doubled. Nothing of that record was sent"
    )]
    TextBehindQuote {
        /// The record's first line.
        line: u64,
        /// The line of the text.
        broken: u64,
    },
    /// The format has no header, and `columns` is not set.
    #[error(
        "it is msgpack, which has no column names: set columns to the names in the order of the query's SELECT, such as \
         columns: [user_ids, email]"
    )]
    NoColumns,
    /// The first row contains names of columns.
    #[error(
        "its first row is a header, and would be sent as a member: leave columns out, or leave the header out and name the columns in \
         the order of the file. If the format is msgpack, leave the header out"
    )]
    HeaderBesideColumns,
    /// Its number of cells does not fit `columns`.
    #[error(
        "its first row has {found} cells, but columns has {named} names: name every column, in the order of the query's SELECT"
    )]
    ColumnCount {
        /// The row's number of cells.
        found: usize,
        /// The number of names.
        named: usize,
    },
    /// JSON over several lines, arrays, or objects with commas between them.
    #[error(
        "it is JSON, but not one object per line: convert it with jq -c '.[]' FILE (an array of objects) or jq -c . FILE (objects \
         over several lines). For arrays without column names let Treasure Data write the result as csv or msgpack"
    )]
    NotLines,
    /// None of the lines is an object.
    #[error("none of the first {lines} lines is a JSON object: check the file, or set format")]
    NoObject {
        /// The lines that were read.
        lines: usize,
    },
    /// The `MessagePack` data ends within a row, has another value than an array, or is invalid.
    #[error(
        "row {row} is not a whole MessagePack array: the file is cut off or damaged, fetch or write it again. Nothing of that row \
         was sent"
    )]
    NoMsgpack {
        /// The row, from 1.
        row: u64,
    },
}

/// How to go on after a system error. Errors about compressed data include that.
fn after_io(error: &io::Error) -> &'static str {
    if error.raw_os_error().is_some() {
        ". Check the disk or the network drive that it is on, then run it again"
    } else {
        ""
    }
}

impl RowsError {
    /// Reading failed before the first row.
    pub fn at_start(error: io::Error) -> Self {
        Self::Io { unit: "line", number: 0, error }
    }
}

/// Why a whole row is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its number of cells is not the number of columns.
    CellCount,
    /// It has more cells or bytes than any row may have.
    TooLong,
    /// The line is not JSON.
    NotJson,
    /// The line is JSON, but not an object.
    NotARow,
    /// It has an identifier's key twice.
    DuplicateKey,
    /// The cell of `operation_column` is not an operation.
    Operation,
}

impl Fault {
    /// The keys in the report, in the order of the variants.
    pub const KEYS: [&'static str; 6] =
        ["cell_count", "too_long", "not_json", "not_a_row", "duplicate_key", "operation"];

    /// The fault's key in the report.
    pub fn key(self) -> &'static str {
        Self::KEYS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(Fault::CellCount, "cell_count")]
    #[case(Fault::TooLong, "too_long")]
    #[case(Fault::NotJson, "not_json")]
    #[case(Fault::NotARow, "not_a_row")]
    #[case(Fault::DuplicateKey, "duplicate_key")]
    #[case(Fault::Operation, "operation")]
    fn a_fault_has_its_key(#[case] fault: Fault, #[case] key: &str) {
        assert_eq!(fault.key(), key);
    }
}
