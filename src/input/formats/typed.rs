//! The cells of a row in a format whose values have types. One record is filled again and again.

use std::io::Write;

use super::{Fault, Row};
use crate::input::cells::Reason;

/// A cell of a typed row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Typed {
    start: usize,
    end: usize,
    pub(super) what: What,
}

/// What a typed cell holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Bytes, none for NULL.
    Text,
    /// The row does not mention it.
    Absent,
    /// A value of a type that no identifier has.
    Unfit(Reason),
}

impl Typed {
    /// Not mentioned, or not looked at.
    pub const ABSENT: Self = Self { start: 0, end: 0, what: What::Absent };

    pub(super) fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.start..self.end).unwrap_or_default()
    }
}

/// The cells of one row, while it is read.
#[derive(Default)]
pub struct Record {
    bytes: Vec<u8>,
    cells: Vec<Typed>,
}

impl Record {
    /// No cell.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.cells.clear();
    }

    /// So many cells that are not mentioned yet.
    pub fn reset(&mut self, cells: usize) {
        self.clear();
        self.cells.resize(cells, Typed::ABSENT);
    }

    /// Where the bytes of a cell go, before it is added or set.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// A whole number, in decimal digits.
    pub fn digits(&mut self, number: impl std::fmt::Display) -> What {
        // Writing to a vector cannot fail.
        let _ = write!(self.bytes, "{number}");
        What::Text
    }

    /// The cell whose bytes were added from `start` on.
    pub fn cell(&self, start: usize, what: What) -> Typed {
        Typed { start, end: self.bytes.len(), what }
    }

    /// One more cell.
    pub fn push(&mut self, cell: Typed) {
        self.cells.push(cell);
    }

    /// Puts a cell in its place; false where there is one already.
    pub fn set(&mut self, column: usize, cell: Typed) -> bool {
        let is_free = self.cells.get(column).is_some_and(|cell| cell.what == What::Absent);
        if is_free {
            self.cells[column] = cell;
        }
        is_free
    }

    /// The row.
    pub fn row(&self, position: u64, fault: Option<Fault>) -> Row<'_> {
        Row { bytes: &self.bytes, cells: super::Cells::Typed(&self.cells), position, fault }
    }
}
