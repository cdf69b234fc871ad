//! Compares every row reader with a simple second implementation, which is slow and keeps everything in memory.

mod delimited;
mod json;
mod msgpack;

use super::bytes::tests::Dribble;
use super::format::{Format, FormatHint};
use super::{Fault, Row, RowsError, Value, open};
use crate::input::cells::Reason;

/// A cell for comparison: text, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cell {
    Text(Vec<u8>),
    Absent,
    Unfit(Reason),
}

fn text(text: &str) -> Cell {
    Cell::Text(text.as_bytes().to_vec())
}

type Read = Result<Vec<Cell>, Fault>;

fn cells(row: Row<'_>) -> Read {
    let cell = |column| match row.value(column) {
        Value::Text(text) => Cell::Text(text.to_vec()),
        Value::Absent => Cell::Absent,
        Value::Unfit(reason) => Cell::Unfit(reason),
    };
    row.fault.map_or_else(|| Ok((0..row.width()).map(cell).collect()), Err)
}

fn read(content: &[u8], step: usize, format: Format, columns: Option<&[&str]>) -> Result<Vec<Read>, RowsError> {
    let columns = columns.map(|names| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let wanted = [("id", 0), ("é", 1)].map(|(name, column)| (name.to_owned(), column)).into_iter();
    let wanted = wanted.chain(columns.iter().flatten().map(|name| (name.clone(), 0))).collect();
    let format_hint = FormatHint {
        format: Some(format),
        columns,
        may_be_empty: true,
        quotes: Some(super::splitter::Quotes::Standard),
    };
    let mut opened = open(Dribble(content, step), "-", &format_hint, wanted)?;
    let mut rows = Vec::new();
    if let (Some(names), None, true) = (opened.names, format_hint.columns, format != Format::Jsonl) {
        rows.push(Ok(names.iter().map(|name| text(name)).collect()));
    }
    while opened.rows.advance()? {
        rows.push(cells(opened.rows.row()));
    }
    Ok(rows)
}
