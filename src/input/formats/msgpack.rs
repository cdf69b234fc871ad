//! `MessagePack`: one array per row, without a header, as Treasure Data writes a job's result.
//!
//! We read it ourselves, so that an unneeded value takes no memory, whatever length it claims. Nested values are
//! counted without recursion, so depth costs nothing. After a row with a wrong length the next rows cannot be found, so
//! the input ends there with an error.

use std::io::{self, Read, Write};

use super::bytes::Bytes;
use super::delimited::{KEPT_OF_A_CELL, MAX_COLUMNS};
use super::typed::{Record, What};
use super::{Fault, Row, RowsError};
use crate::input::cells::Reason;

/// Reads rows, in constant memory.
pub struct Msgpack<R> {
    bytes: Bytes<R>,
    row: u64,
    kept: Vec<bool>,
    record: Record,
    fault: Option<Fault>,
}

/// The beginning of a value: all of a number; for others, the length that follows, in bytes or values.
#[derive(Clone, Copy)]
enum Head {
    Nil,
    Boolean,
    Unsigned(u64),
    Signed(i64),
    Float,
    /// Text, or bytes that may be text.
    Text(u64),
    Extension(u64),
    Array(u64),
    Map(u64),
}

/// Why a value cannot be read to its end.
enum Problem {
    Io(io::Error),
    /// The bytes end before the value, or it is not a row.
    Invalid,
}

impl<R: Read> Msgpack<R> {
    /// Reads nothing yet. Columns that are not `kept` count as absent.
    pub fn new(bytes: Bytes<R>, kept: Vec<bool>) -> Self {
        Self { bytes, row: 0, kept, record: Record::default(), fault: None }
    }

    /// Goes to the next row; false at the end of the input.
    pub fn advance(&mut self) -> Result<bool, RowsError> {
        let number = self.row;
        let read = match self.bytes.first() {
            Ok(None) => return Ok(false),
            Ok(Some(_)) => self.read_row(),
            Err(error) => Err(Problem::Io(error)),
        };
        self.row += 1;
        self.fault = read.map_err(|problem| match problem {
            Problem::Io(error) => RowsError::Io { unit: "row", number, error },
            Problem::Invalid => RowsError::NoMsgpack { row: self.row },
        })?;
        Ok(true)
    }

    /// The current row.
    pub fn row(&self) -> Row<'_> {
        self.record.row(self.row, self.fault)
    }

    fn read_row(&mut self) -> Result<Option<Fault>, Problem> {
        let Head::Array(count) = self.head()? else { return Err(Problem::Invalid) };
        let known = usize::try_from(count).unwrap_or(usize::MAX).min(MAX_COLUMNS);
        self.record.reset(known);
        for column in 0..known {
            if self.kept.get(column).copied().unwrap_or_default() {
                let start = self.record.bytes().len();
                let what = self.read_cell()?;
                self.record.set(column, start, what);
            } else {
                self.pass_values(1)?;
            }
        }
        self.pass_values(count - known as u64)?;
        Ok((count > MAX_COLUMNS as u64).then_some(Fault::TooLong))
    }

    /// Reads a cell. Text and the digits of a number go to the record.
    fn read_cell(&mut self) -> Result<What, Problem> {
        match self.head()? {
            Head::Nil => {}
            Head::Unsigned(number) => write!(self.record.bytes(), "{number}").map_err(Problem::Io)?,
            Head::Signed(number) => write!(self.record.bytes(), "{number}").map_err(Problem::Io)?,
            Head::Text(length) => self.pass_bytes(length, KEPT_OF_A_CELL)?,
            other => {
                let inside = self.pass_rest(other)?;
                self.pass_values(inside)?;
                return Ok(What::Unfit(match other {
                    Head::Boolean => Reason::Boolean,
                    Head::Float => Reason::Float,
                    Head::Extension(_) => Reason::Extension,
                    _ => Reason::Nested,
                }));
            }
        }
        Ok(What::Text)
    }

    fn head(&mut self) -> Result<Head, Problem> {
        let byte = self.number(1)?;
        Ok(match byte {
            0x00..=0x7f => Head::Unsigned(byte),
            0x80..=0x8f => Head::Map(byte & 0xf),
            0x90..=0x9f => Head::Array(byte & 0xf),
            0xa0..=0xbf => Head::Text(byte & 0x1f),
            0xc0 => Head::Nil,
            0xc2 | 0xc3 => Head::Boolean,
            0xc4 | 0xd9 => Head::Text(self.number(1)?),
            0xc5 | 0xda => Head::Text(self.number(2)?),
            0xc6 | 0xdb => Head::Text(self.number(4)?),
            0xc7..=0xc9 => Head::Extension(self.number(1 << (byte - 0xc7))?),
            0xca | 0xcb => {
                self.number(4 << (byte - 0xca))?;
                Head::Float
            }
            0xcc..=0xcf => Head::Unsigned(self.number(1 << (byte - 0xcc))?),
            0xd0..=0xd3 => self.signed(1 << (byte - 0xd0))?,
            0xd4..=0xd8 => Head::Extension(1 << (byte - 0xd4)),
            0xdc => Head::Array(self.number(2)?),
            0xdd => Head::Array(self.number(4)?),
            0xde => Head::Map(self.number(2)?),
            0xdf => Head::Map(self.number(4)?),
            0xe0..=0xff => Head::Signed(byte.cast_signed() - 0x100),
            _ => return Err(Problem::Invalid),
        })
    }

    /// A big-endian number of `size` bytes, at most 8.
    fn number(&mut self, size: usize) -> Result<u64, Problem> {
        let bytes = self.bytes.peek(size).map_err(Problem::Io)?;
        if bytes.len() < size {
            return Err(Problem::Invalid);
        }
        let number = bytes.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte));
        self.bytes.consume(size);
        Ok(number)
    }

    /// Reads a signed number of `size` bytes. The sign is their highest bit.
    fn signed(&mut self, size: usize) -> Result<Head, Problem> {
        let unused = 64 - 8 * size;
        Ok(Head::Signed((self.number(size)? << unused).cast_signed() >> unused))
    }

    fn pass_values(&mut self, count: u64) -> Result<(), Problem> {
        let mut left = count;
        while left > 0 {
            let head = self.head()?;
            left = (left - 1).saturating_add(self.pass_rest(head)?);
        }
        Ok(())
    }

    /// Skips the rest of a value, but not the values in it. Returns their number.
    fn pass_rest(&mut self, head: Head) -> Result<u64, Problem> {
        match head {
            Head::Text(length) => self.pass_bytes(length, 0)?,
            // The additional byte is the type.
            Head::Extension(length) => self.pass_bytes(length + 1, 0)?,
            Head::Array(count) => return Ok(count),
            Head::Map(count) => return Ok(2 * count),
            Head::Nil | Head::Boolean | Head::Unsigned(_) | Head::Signed(_) | Head::Float => {}
        }
        Ok(0)
    }

    /// Skips bytes; the first `kept` go to the record.
    fn pass_bytes(&mut self, mut count: u64, mut kept: usize) -> Result<(), Problem> {
        while count > 0 {
            let bytes = self.bytes.fill().map_err(Problem::Io)?;
            if bytes.is_empty() {
                return Err(Problem::Invalid);
            }
            let here = bytes.len().min(usize::try_from(count).unwrap_or(usize::MAX));
            let taken = here.min(kept);
            self.record.bytes().extend_from_slice(&bytes[..taken]);
            kept -= taken;
            self.bytes.consume(here);
            count -= here as u64;
        }
        Ok(())
    }
}
