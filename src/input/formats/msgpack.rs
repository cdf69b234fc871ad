//! `MessagePack`: an array a row, one behind the other, without a header, as Treasure Data hands out a job's result.
//!
//! The format has a dozen shapes of values, so the reader is our own: it holds nothing of a value that nobody wants, whatever
//! length the value claims to have, and it passes over nested values by counting them, so that depth costs nothing.
//! A row whose lengths are wrong cannot be told from the ones behind it: there the input ends with an error.

use std::io::{self, Read};

use super::bytes::{Bytes, MAX_LINE_BYTES, WINDOW};
use super::delimited::{KEPT_OF_A_CELL, MAX_COLUMNS};
use super::typed::{Record, Typed, What};
use super::{Fault, Position, Row, RowsError};
use crate::input::cells::Reason;

/// Reads rows, in constant memory.
pub struct Msgpack<R> {
    bytes: Bytes<R>,
    row: u64,
    kept: Vec<bool>,
    record: Record,
    /// Why the latest row is none.
    fault: Option<Fault>,
}

/// What a first byte says of the value that it begins. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ValueType {
    Nil,
    Boolean,
    /// The byte itself.
    Small(i8),
    Unsigned(usize),
    Signed(usize),
    Float(usize),
    /// Text, or bytes that may be text: their number, or the size of their number.
    Text(Length),
    /// A type of the application's own; there is one byte more than the length says.
    Extension(Length),
    Array(Length),
    Map(Length),
    /// The one byte that begins nothing.
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Known(u64),
    Of(usize),
}

impl ValueType {
    fn of(byte: u8) -> Self {
        match byte {
            0x00..=0x7f | 0xe0..=0xff => Self::Small(i8::from_be_bytes([byte])),
            0x80..=0x8f => Self::Map(Length::Known(u64::from(byte & 0xf))),
            0x90..=0x9f => Self::Array(Length::Known(u64::from(byte & 0xf))),
            0xa0..=0xbf => Self::Text(Length::Known(u64::from(byte & 0x1f))),
            0xc0 => Self::Nil,
            0xc1 => Self::Never,
            0xc2 | 0xc3 => Self::Boolean,
            0xc4 | 0xd9 => Self::Text(Length::Of(1)),
            0xc5 | 0xda => Self::Text(Length::Of(2)),
            0xc6 | 0xdb => Self::Text(Length::Of(4)),
            0xc7..=0xc9 => Self::Extension(Length::Of(1 << (byte - 0xc7))),
            0xca => Self::Float(4),
            0xcb => Self::Float(8),
            0xcc..=0xcf => Self::Unsigned(1 << (byte - 0xcc)),
            0xd0..=0xd3 => Self::Signed(1 << (byte - 0xd0)),
            0xd4..=0xd8 => Self::Extension(Length::Known(1 << (byte - 0xd4))),
            0xdc => Self::Array(Length::Of(2)),
            0xdd => Self::Array(Length::Of(4)),
            0xde => Self::Map(Length::Of(2)),
            0xdf => Self::Map(Length::Of(4)),
        }
    }
}

/// Why a value cannot be read to its end.
#[derive(Debug)]
enum Problem {
    Io(io::Error),
    /// The bytes end before the value does.
    End,
    /// A byte that begins nothing.
    Never,
    /// A claim that no real row makes, while it is guessed whether there are rows.
    Unlikely,
}

/// Where values come from.
trait Feed {
    /// A number of so many bytes, 8 at most, the highest first.
    fn number(&mut self, size: usize) -> Result<u64, Problem>;
    /// Goes over so many bytes; the first ones, as far as an identifier may have them, go to `kept`.
    fn pass(&mut self, count: u64, kept: Option<&mut Vec<u8>>) -> Result<(), Problem>;

    fn shape(&mut self) -> Result<ValueType, Problem> {
        // One byte fits.
        Ok(ValueType::of(u8::try_from(self.number(1)?).unwrap_or_default()))
    }

    fn length(&mut self, length: Length) -> Result<u64, Problem> {
        match length {
            Length::Known(length) => Ok(length),
            Length::Of(size) => self.number(size),
        }
    }

    /// Goes over one value, however deep it is.
    fn pass_value(&mut self) -> Result<(), Problem> {
        self.pass_values(1)
    }

    /// Goes over so many values. Those within them are counted with them, so no depth is too deep.
    fn pass_values(&mut self, count: u64) -> Result<(), Problem> {
        let mut left = count;
        while left > 0 {
            left = (left - 1).saturating_add(self.pass_one()?);
        }
        Ok(())
    }

    /// Goes over one value but for those within it, and says how many these are.
    fn pass_one(&mut self) -> Result<u64, Problem> {
        let shape = self.shape()?;
        self.pass_head(shape)
    }

    /// Goes over a value but for those within it, and says how many these are.
    fn pass_head(&mut self, shape: ValueType) -> Result<u64, Problem> {
        match shape {
            ValueType::Nil | ValueType::Boolean | ValueType::Small(_) => {}
            ValueType::Unsigned(size) | ValueType::Signed(size) | ValueType::Float(size) => drop(self.number(size)?),
            ValueType::Text(length) => {
                let length = self.length(length)?;
                self.pass(length, None)?;
            }
            ValueType::Extension(length) => {
                let length = self.length(length)?;
                self.pass(length + 1, None)?;
            }
            ValueType::Array(length) => return self.length(length),
            ValueType::Map(length) => return Ok(2 * self.length(length)?),
            ValueType::Never => return Err(Problem::Never),
        }
        Ok(0)
    }
}

impl<R: Read> Feed for Bytes<R> {
    fn number(&mut self, size: usize) -> Result<u64, Problem> {
        let bytes = self.peek(size).map_err(Problem::Io)?;
        if bytes.len() < size {
            return Err(Problem::End);
        }
        let number = big_endian(bytes);
        self.consume(size);
        Ok(number)
    }

    fn pass(&mut self, mut count: u64, mut kept: Option<&mut Vec<u8>>) -> Result<(), Problem> {
        let mut room = KEPT_OF_A_CELL;
        while count > 0 {
            let bytes = self.fill().map_err(Problem::Io)?;
            if bytes.is_empty() {
                return Err(Problem::End);
            }
            let here = bytes.len().min(usize::try_from(count).unwrap_or(usize::MAX));
            if let Some(kept) = &mut kept {
                let taken = here.min(room);
                kept.extend_from_slice(&bytes[..taken]);
                room -= taken;
            }
            self.consume(here);
            count -= here as u64;
        }
        Ok(())
    }
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

impl<R: Read> Msgpack<R> {
    /// Reads nothing yet.
    pub fn new(bytes: Bytes<R>) -> Self {
        Self { bytes, row: 0, kept: Vec::new(), record: Record::default(), fault: None }
    }

    /// Looks at these columns alone.
    pub fn keep(&mut self, columns: &[usize]) {
        let indices = 0..columns.iter().max().map_or(0, |last| last + 1);
        self.kept = indices.map(|column| columns.contains(&column)).collect();
    }

    /// Goes to the next row; false at the end of the input.
    pub fn advance(&mut self) -> Result<bool, RowsError> {
        let at = Position { unit: "row", number: self.row };
        if self.bytes.fill().map_err(|error| RowsError::Io { after: at, error })?.is_empty() {
            return Ok(false);
        }
        self.row += 1;
        match self.read_row() {
            Ok(fault) => {
                self.fault = fault;
                Ok(true)
            }
            Err(Problem::Io(error)) => Err(RowsError::Io { after: at, error }),
            Err(Problem::End) => Err(RowsError::CutOff { row: self.row }),
            Err(Problem::Never | Problem::Unlikely) => Err(RowsError::NoMsgpack { row: self.row }),
        }
    }

    /// The row that it went to.
    pub fn row(&self) -> Row<'_> {
        self.record.row(self.row, self.fault)
    }

    fn read_row(&mut self) -> Result<Option<Fault>, Problem> {
        self.record.clear();
        let ValueType::Array(length) = self.bytes.shape()? else { return Err(Problem::Unlikely) };
        let count = self.bytes.length(length)?;
        let known = usize::try_from(count).unwrap_or(usize::MAX).min(MAX_COLUMNS);
        for column in 0..known {
            let cell = if self.kept.get(column).copied().unwrap_or_default() {
                self.read_cell()?
            } else {
                self.bytes.pass_value()?;
                Typed::ABSENT
            };
            self.record.push(cell);
        }
        self.bytes.pass_values(count - known as u64)?;
        Ok((count > MAX_COLUMNS as u64).then_some(Fault::TooLong))
    }

    fn read_cell(&mut self) -> Result<Typed, Problem> {
        let start = self.record.bytes().len();
        let what = match self.bytes.shape()? {
            ValueType::Nil => What::Text,
            ValueType::Small(number) => {
                self.record.digits(number);
                What::Text
            }
            ValueType::Unsigned(size) => {
                let number = self.bytes.number(size)?;
                self.record.digits(number);
                What::Text
            }
            ValueType::Signed(size) => {
                let unused = 64 - 8 * size;
                let number = self.bytes.number(size)?;
                // The sign is the highest bit of the bytes that are there.
                self.record.digits((number << unused).cast_signed() >> unused);
                What::Text
            }
            ValueType::Text(length) => {
                let length = self.bytes.length(length)?;
                self.bytes.pass(length, Some(self.record.bytes()))?;
                What::Text
            }
            other => {
                let inside = self.bytes.pass_head(other)?;
                self.bytes.pass_values(inside)?;
                What::Unfit(match other {
                    ValueType::Boolean => Reason::Boolean,
                    ValueType::Float(_) => Reason::Float,
                    ValueType::Extension(_) => Reason::Extension,
                    _ => Reason::Nested,
                })
            }
        };
        Ok(self.record.cell(start, what))
    }
}

/// Whether bytes are rows of `MessagePack`, as far as can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guess {
    /// They are not.
    No,
    /// One row, and nothing behind it yet.
    OneRow,
    /// One row, and the beginning of another of as many cells.
    TwoRows,
    /// A row that goes on behind these bytes.
    Cut,
}

/// Whether a row can begin with this byte.
pub fn may_begin_a_row(byte: u8) -> bool {
    matches!(ValueType::of(byte), ValueType::Array(_))
}

/// Whether these first bytes of an input are rows.
pub fn guess(bytes: &[u8]) -> Guess {
    let mut rest = Slice(bytes);
    match rest.pass_row() {
        Ok(()) if rest.0.is_empty() => Guess::OneRow,
        Ok(()) if rest.0.first() == bytes.first() => Guess::TwoRows,
        Err(Problem::End) => Guess::Cut,
        _ => Guess::No,
    }
}

/// Bytes at hand.
struct Slice<'a>(&'a [u8]);

impl Slice<'_> {
    fn pass_row(&mut self) -> Result<(), Problem> {
        let ValueType::Array(length) = self.shape()? else { return Err(Problem::Unlikely) };
        let count = self.length(length)?;
        if count > MAX_COLUMNS as u64 { Err(Problem::Unlikely) } else { self.pass_values(count) }
    }
}

impl Feed for Slice<'_> {
    fn number(&mut self, size: usize) -> Result<u64, Problem> {
        let (number, rest) = self.0.split_at_checked(size).ok_or(Problem::End)?;
        self.0 = rest;
        Ok(big_endian(number))
    }

    fn pass(&mut self, count: u64, _: Option<&mut Vec<u8>>) -> Result<(), Problem> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        // Four letters of text, read as a length, are far more than that.
        if count > MAX_LINE_BYTES.max(WINDOW) {
            return Err(Problem::Unlikely);
        }
        self.0 = self.0.get(count..).ok_or(Problem::End)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_known_when_it_is_whole() {
        let row = [[0xdc, 0, 9].as_slice(), &[1, 0xa2, b'a', b'b', 0x92, 2, 3, 0xc0, 5, 6, 7, 0x81, 1, 2, 9]].concat();
        assert!((1..row.len()).all(|end| guess(&row[..end]) == Guess::Cut));
        assert_eq!(guess(&row), Guess::OneRow);
        assert_eq!(guess(&[row.as_slice(), &row[..1]].concat()), Guess::TwoRows);
        assert_eq!(guess(&[row.as_slice(), b"a"].concat()), Guess::No);
    }
}
