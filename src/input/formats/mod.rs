//! Turns bytes into rows, one file per format. A bad row does not end the input: it becomes a row with a fault.

use std::collections::BTreeSet;
use std::io::Read;
use std::ops::Range;

pub mod bytes;
pub mod delimited;
pub mod format;
pub mod json;
pub mod msgpack;
pub mod problem;
pub mod splitter;
pub mod typed;

#[cfg(test)]
mod tests;

use crate::input::cells::Reason;
use bytes::Bytes;
use delimited::Delimited;
use format::{Format, FormatHint};
use json::Json;
use msgpack::Msgpack;
pub use problem::{Fault, RowsError};
use splitter::Quotes;
use typed::What;

/// What other programs begin a UTF-8 file with.
pub const UTF8_BOM: &[u8] = b"\xef\xbb\xbf";
const TAR_MAGIC: Range<usize> = 257..262;

/// One row: its cells as bytes, unquoted and unescaped.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    bytes: &'a [u8],
    cells: &'a [Range<usize>],
    /// The type of each cell, unless all are text.
    types: &'a [What],
    /// The line in which it begins, or its number, from 1.
    pub position: u64,
    /// How many lines it spans.
    pub lines: u64,
    /// Why it is rejected. Its cells are then incomplete.
    pub fault: Option<Fault>,
}

/// What is in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Text, a whole number's digits, or nothing, which is NULL.
    Text(&'a [u8]),
    /// The row lacks this cell.
    Absent,
    /// A value of a type that no identifier has.
    Unfit(Reason),
}

impl<'a> Row<'a> {
    /// How many cells it has.
    pub fn width(&self) -> usize {
        self.cells.len()
    }

    /// The cell of a column.
    #[inline]
    pub fn value(&self, column: usize) -> Value<'a> {
        let Some(text) = self.cells.get(column).and_then(|cell| self.bytes.get(cell.clone())) else {
            return Value::Absent;
        };
        match self.types.get(column) {
            None | Some(What::Text) => Value::Text(text),
            Some(What::Absent) => Value::Absent,
            Some(What::Unfit(reason)) => Value::Unfit(*reason),
        }
    }

    /// The bytes of a cell; none if it is not text.
    pub fn cell(&self, column: usize) -> &'a [u8] {
        match self.value(column) {
            Value::Text(text) => text,
            Value::Absent | Value::Unfit(_) => b"",
        }
    }

    /// All cells as text, for headers. Bytes that are not UTF-8 are replaced.
    pub fn to_strings(&self) -> Vec<String> {
        (0..self.width()).map(|column| String::from_utf8_lossy(self.cell(column)).into_owned()).collect()
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
    /// The column names. In JSON lines, the keys of the first object, or none if there is no object.
    pub names: Option<Vec<String>>,
}

/// Recognises the format if it is not set, and finds the column names. `wanted` are the names that are read, each with
/// its column in JSON lines.
pub fn open<R: Read>(
    reader: R,
    name: &str,
    format_hint: &FormatHint,
    wanted: Vec<(String, usize)>,
) -> Result<Opened<R>, RowsError> {
    let mut bytes = Bytes::new(reader);
    let failed = RowsError::at_start;
    let columns = format_hint.columns.clone();
    if bytes.peek(1).map_err(failed)?.is_empty() && !format_hint.may_be_empty {
        return Err(RowsError::Empty);
    }
    refuse_compressed(bytes.peek(6).map_err(failed)?)?;
    let is_text = format_hint.format != Some(Format::Msgpack);
    if is_text && bytes.peek(UTF8_BOM.len()).map_err(failed)?.starts_with(UTF8_BOM) {
        bytes.consume(UTF8_BOM.len());
    }
    let format = match format_hint.format {
        Some(format) => format,
        None => format::recognise(&mut bytes, name, columns.as_deref()).map_err(failed)?,
    };
    if format != Format::Msgpack {
        // No further byte is read, because reading may fail. In a tar archive the first line is long enough.
        let line = format::first_line(&mut bytes).map_err(failed)?;
        if format == Format::Jsonl {
            format::json(line).unwrap_or(Ok(()))?;
        }
        refuse_other_content(bytes.at_hand(), columns.is_some())?;
    }
    if format != Format::Tsv && !matches!(format_hint.quotes, None | Some(Quotes::Standard)) {
        return Err(RowsError::QuotesOfOther { format });
    }
    match format {
        Format::Csv => {
            let is_named = columns.is_some();
            let opened = delimited(Delimited::new(bytes, b',', Quotes::Standard), format, columns)?;
            if !is_named && matches!(opened.names.as_deref(), Some([name]) if name.contains(';')) {
                return Err(RowsError::Unsupported("separated by semicolons: write it with commas"));
            }
            Ok(opened)
        }
        Format::Tsv => {
            let quotes = format_hint.quotes.unwrap_or(Quotes::OnOneLine);
            delimited(Delimited::new(bytes, b'\t', quotes), format, columns)
        }
        Format::Jsonl if columns.is_some() => Err(RowsError::ColumnsOfObjects),
        Format::Jsonl => {
            let (rows, names) = Json::new(bytes, wanted)?;
            if names.is_none() && !format_hint.may_be_empty {
                return Err(RowsError::Empty);
            }
            Ok(Opened { rows: Rows::Json(rows), format, names })
        }
        Format::Msgpack => {
            let names = columns.ok_or(RowsError::NoColumns)?;
            let kept = names.iter().map(|name| wanted.iter().any(|(key, _)| key == name)).collect();
            Ok(Opened { rows: Rows::Msgpack(Msgpack::new(bytes, kept)), format, names: Some(names) })
        }
    }
}

fn delimited<R: Read>(
    mut rows: Delimited<R>,
    format: Format,
    columns: Option<Vec<String>>,
) -> Result<Opened<R>, RowsError> {
    let names = columns.map_or_else(|| rows.header(), Ok)?;
    rows.width = names.len();
    Ok(Opened { rows: Rows::Delimited(Box::new(rows)), format, names: Some(names) })
}

/// An error if the first bytes show another compression. Gzip was already unpacked once.
fn refuse_compressed(start: &[u8]) -> Result<(), RowsError> {
    Err(RowsError::Unsupported(match *start {
        [0x1f, 0x8b, ..] => "compressed with gzip, twice: unpack it once",
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            "compressed with zstd: unpack it, or use gzip"
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0] => "compressed with xz: unpack it, or use gzip",
        [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A'] => "compressed with bzip2: unpack it, or use gzip",
        [b'P', b'K', 3, 4, ..] => "compressed with zip: unpack it, or use gzip",
        _ => return Ok(()),
    }))
}

/// An error if the first line shows that it is not UTF-8 text.
fn refuse_other_content(start: &[u8], has_columns: bool) -> Result<(), RowsError> {
    Err(RowsError::Unsupported(match *start {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, _, 0, _, ..] | [_, 0, _, 0, ..] => {
            "UTF-16 text: save it as UTF-8 (iconv -f UTF-16 -t UTF-8)"
        }
        // The first file name ends with zeros, which text does not contain.
        _ if start.get(TAR_MAGIC) == Some(b"ustar") && start[..TAR_MAGIC.start].contains(&0) => {
            "a tar archive: unpack it, and set input to its files or a pattern"
        }
        // No UTF-8 text begins with these bytes, but short MessagePack arrays do.
        [0x90..=0x9f, ..] if has_columns => "not UTF-8 text: if it is MessagePack, set format: msgpack",
        _ => return Ok(()),
    }))
}

impl<R: Read> Rows<R> {
    /// The keys so far that are not read, up to a limit, sorted.
    pub fn other_keys(&self) -> BTreeSet<&str> {
        let keys = if let Self::Json(rows) = self { Some(&rows.other_keys) } else { None };
        keys.into_iter().flatten().map(String::as_str).collect()
    }

    /// Goes to the next row; false at the end of the input. Reading the row is a second step, because a row within two
    /// results is copied twice: for 1 M rows with one column, an upload takes 0.083 CPU seconds instead of 0.091.
    #[inline]
    pub fn advance(&mut self) -> Result<bool, RowsError> {
        match self {
            Self::Delimited(rows) => rows.advance(),
            Self::Json(rows) => rows.advance(),
            Self::Msgpack(rows) => rows.advance(),
        }
    }

    /// The current row.
    #[inline]
    pub fn row(&self) -> Row<'_> {
        match self {
            Self::Delimited(rows) => rows.row(),
            Self::Json(rows) => rows.row(),
            Self::Msgpack(rows) => rows.row(),
        }
    }
}
