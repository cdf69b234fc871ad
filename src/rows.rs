//! Bytes into rows, one file a format. A bad row is not a dead input: it comes out as a row that says so.

use std::fmt;
use std::io::{self, Read};

use thiserror::Error;

pub mod bytes;
pub mod delimited;
pub mod format;
pub mod json;
pub mod msgpack;
pub mod typed;

#[cfg(test)]
mod tests;

use crate::identifier::Reason;
use bytes::Bytes;
use delimited::Delimited;
use format::{Form, Format};
use json::Json;
use msgpack::Msgpack;
use typed::{Typed, What};

const UTF8_BOM: &[u8] = b"\xef\xbb\xbf";

/// A line or a row of the input, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// `line` or `row`.
    pub unit: &'static str,
    /// From 1.
    pub number: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.unit, self.number)
    }
}

/// Why an input cannot be read on.
#[derive(Debug, Error)]
pub enum RowsError {
    /// The bytes cannot be had.
    #[error("reading failed after {after}: {error}")]
    Io {
        /// The last line or row that was read.
        after: Place,
        /// What the system said, or what is wrong with compressed data.
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
    /// A compressed file of a kind that is not read here.
    #[error("it is compressed with {kind}: unpack it first, or use gzip or zstd")]
    Compressed {
        /// What it is compressed with.
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
    /// A format without header, and nobody said what the columns are.
    #[error(
        "it is {format}, which does not say what its columns are called: set columns to their names, in the order of the \
         query's SELECT, such as columns: [user_ids, email]"
    )]
    NoColumns {
        /// As it was recognised.
        format: Format,
    },
    /// The first line is what `columns` says.
    #[error(
        "its first line is a header with the names that columns says, and would be sent as a row: leave columns out"
    )]
    HeaderBesideColumns,
    /// JSON that is spread over lines, or a list of objects.
    #[error(
        "it is one JSON document, not a row a line: write an object a line (jq -c '.[]' FILE for an array of objects, \
         jq -c . FILE for objects over several lines)"
    )]
    JsonDocument,
    /// Not one line is an object.
    #[error("none of the first {lines} lines is a JSON object: look at the file, or set format")]
    NoObject {
        /// So many were read.
        lines: usize,
    },
    /// `MessagePack` that ends within a row.
    #[error(
        "it ends in the middle of row {row}: the file is cut off, or a length in it is wrong. Nothing of that row was sent"
    )]
    CutOff {
        /// From 1.
        row: u64,
    },
    /// What stands where a row should begin is none.
    #[error(
        "row {row} is no MessagePack array, or holds a byte that MessagePack does not know; where the next row begins cannot be \
         told. Nothing of that row was sent"
    )]
    NoMsgpack {
        /// From 1.
        row: u64,
    },
}

/// Why a row is rejected as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It has another number of cells than there are columns.
    CellCount,
    /// It has more cells or bytes than any row may have.
    TooLong,
    /// The line is not JSON.
    NotJson,
    /// The line is JSON, but neither the object nor the array that it should be.
    NotARow,
    /// The key of an identifier is there twice.
    DuplicateKey,
}

impl Fault {
    /// Every fault, in the order of the account.
    pub const ALL: [Self; 5] = [Self::CellCount, Self::TooLong, Self::NotJson, Self::NotARow, Self::DuplicateKey];

    /// The fault's key in the account.
    pub fn key(self) -> &'static str {
        match self {
            Self::CellCount => "cell_count",
            Self::TooLong => "too_long",
            Self::NotJson => "not_json",
            Self::NotARow => "not_a_row",
            Self::DuplicateKey => "duplicate_key",
        }
    }
}

/// One row: its cells as bytes, unquoted and unescaped.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    bytes: &'a [u8],
    cells: Cells<'a>,
    /// The line in which it begins, or its number, from 1.
    pub place: u64,
    /// It is no row; its cells are not all here.
    pub fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug)]
enum Cells<'a> {
    /// Where each ends; it begins where the one before it ends.
    Ends(&'a [usize]),
    Typed(&'a [Typed]),
}

/// What stands in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Text, a whole number's digits, or nothing, which is NULL.
    Text(&'a [u8]),
    /// The row does not mention it.
    Absent,
    /// A value of a type that no identifier has.
    Unfit(Reason),
}

impl<'a> Row<'a> {
    /// How many cells it has.
    pub fn len(&self) -> usize {
        match self.cells {
            Cells::Ends(ends) => ends.len(),
            Cells::Typed(cells) => cells.len(),
        }
    }

    /// Whether it has no cell at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The cell of a column; empty where the row has no such column.
    #[inline]
    pub fn value(&self, column: usize) -> Value<'a> {
        match self.cells {
            Cells::Ends(ends) => {
                let start = match column {
                    0 => 0,
                    _ => ends.get(column - 1).copied().unwrap_or(0),
                };
                Value::Text(ends.get(column).and_then(|end| self.bytes.get(start..*end)).unwrap_or_default())
            }
            Cells::Typed(cells) => match cells.get(column) {
                None => Value::Absent,
                Some(cell) => match cell.what {
                    What::Text => Value::Text(cell.of(self.bytes)),
                    What::Absent => Value::Absent,
                    What::Unfit(reason) => Value::Unfit(reason),
                },
            },
        }
    }

    /// The bytes of a cell, where it has any.
    pub fn cell(&self, column: usize) -> &'a [u8] {
        match self.value(column) {
            Value::Text(text) => text,
            Value::Absent | Value::Unfit(_) => b"",
        }
    }

    /// All cells as text; what is not UTF-8 is replaced. For headers.
    pub fn to_strings(&self) -> Vec<String> {
        (0..self.len()).map(|column| String::from_utf8_lossy(self.cell(column)).into_owned()).collect()
    }
}

/// Rows of any format.
pub enum Rows<R> {
    /// Separated by commas or tabs.
    Delimited(Box<Delimited<R>>),
    /// Lines of JSON.
    Json(Json<R>),
    /// `MessagePack`.
    Msgpack(Msgpack<R>),
}

/// An input whose columns are known.
pub struct Opened<R> {
    /// Its rows.
    pub rows: Rows<R>,
    /// The format.
    pub format: Format,
    /// The names of the columns; in JSON lines, the keys of the first object, or none where there is no object.
    pub names: Option<Vec<String>>,
}

/// Recognises the format, where it is not set, and finds out what the columns are called. `wanted` are the keys that a
/// format without columns is looked through for.
pub fn open<R: Read>(reader: R, name: &str, form: &Form, wanted: Vec<String>) -> Result<Opened<R>, RowsError> {
    let mut bytes = Bytes::new(reader);
    let failed = |error| RowsError::Io { after: Place { unit: "line", number: 0 }, error };
    let columns = form.columns.clone();
    if bytes.peek(1).map_err(failed)?.is_empty() && !form.may_be_empty {
        return Err(RowsError::Empty);
    }
    let is_text = form.format != Some(Format::Msgpack);
    if is_text && bytes.peek(UTF8_BOM.len()).map_err(failed)?.starts_with(UTF8_BOM) {
        bytes.consume(UTF8_BOM.len());
    }
    let format = match form.format {
        Some(format) => format,
        None => format::recognise(&mut bytes, name, columns.as_deref()).map_err(failed)?,
    };
    if format != Format::Msgpack {
        refuse_other_content(bytes.peek(6).map_err(failed)?)?;
    }
    let is_json = matches!(format, Format::Json | Format::Jsonl);
    if is_json && format::is_document(&mut bytes, columns.is_some()).map_err(failed)? {
        return Err(RowsError::JsonDocument);
    }
    match format {
        Format::Csv | Format::Tsv => {
            let delimiter = if format == Format::Csv { b',' } else { b'\t' };
            let mut rows = Delimited::new(bytes, delimiter);
            let names = match columns {
                Some(columns) => {
                    rows.without_header(columns.len());
                    columns
                }
                None => rows.header()?,
            };
            Ok(Opened { rows: Rows::Delimited(Box::new(rows)), format, names: Some(names) })
        }
        Format::Jsonl => {
            let (rows, names) = Json::objects(bytes, wanted)?;
            if names.is_none() && !form.may_be_empty {
                return Err(RowsError::Empty);
            }
            Ok(Opened { rows: Rows::Json(rows), format, names })
        }
        Format::Json => {
            let names = Some(columns.ok_or(RowsError::NoColumns { format })?);
            Ok(Opened { rows: Rows::Json(Json::arrays(bytes)), format, names })
        }
        Format::Msgpack => {
            let names = Some(columns.ok_or(RowsError::NoColumns { format })?);
            Ok(Opened { rows: Rows::Msgpack(Msgpack::new(bytes)), format, names })
        }
    }
}

/// What is no UTF-8 text, as its first bytes tell.
fn refuse_other_content(start: &[u8]) -> Result<(), RowsError> {
    match *start {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, _, 0, _, ..] | [_, 0, _, 0, ..] => Err(RowsError::Utf16),
        [0x1f, 0x8b, ..] => Err(RowsError::Compressed { kind: "gzip, twice" }),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Err(RowsError::Compressed { kind: "zstd, twice" }),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Err(RowsError::Compressed { kind: "xz" }),
        [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A'] => Err(RowsError::Compressed { kind: "bzip2" }),
        [b'P', b'K', 3, 4, ..] => Err(RowsError::Compressed { kind: "zip" }),
        _ => Ok(()),
    }
}

impl<R: Read> Rows<R> {
    /// Looks at these columns alone, where that spares work.
    pub fn keep(&mut self, columns: &[usize]) {
        match self {
            Self::Delimited(_) => {}
            Self::Json(rows) => rows.keep(columns),
            Self::Msgpack(rows) => rows.keep(columns),
        }
    }

    /// The next row, or none at the end of the input.
    #[inline]
    pub fn next_row(&mut self) -> Result<Option<Row<'_>>, RowsError> {
        match self {
            Self::Delimited(rows) => rows.next_row(),
            Self::Json(rows) => rows.next_row(),
            Self::Msgpack(rows) => rows.next_row(),
        }
    }
}

fn kept(columns: &[usize]) -> Vec<bool> {
    (0..columns.iter().max().map_or(0, |last| last + 1)).map(|column| columns.contains(&column)).collect()
}
