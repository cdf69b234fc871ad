//! The cells of a row in a format whose values have types. One record is reused for all rows.

use std::ops::Range;

use super::{Fault, Row};
use crate::input::cells::Reason;

/// What a typed cell holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Bytes; none for NULL.
    Text,
    /// The row lacks this cell.
    Absent,
    /// A value of a type that no identifier has.
    Unfit(Reason),
}

/// The cells of a row while it is read.
#[derive(Default)]
pub struct Record {
    bytes: Vec<u8>,
    cells: Vec<Range<usize>>,
    types: Vec<What>,
}

impl Record {
    /// Begins a row. Its cells are absent until they are set.
    pub fn reset(&mut self, cells: usize) {
        self.bytes.clear();
        self.cells.clear();
        self.cells.resize(cells, 0..0);
        self.types.clear();
        self.types.resize(cells, What::Absent);
    }

    /// The buffer for a cell's bytes, to be filled before `set`.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Sets the cell whose bytes were added from `start` on. False if it was set already.
    pub fn set(&mut self, column: usize, start: usize, what: What) -> bool {
        self.cells[column] = start..self.bytes.len();
        std::mem::replace(&mut self.types[column], what) == What::Absent
    }

    /// The row.
    pub fn row(&self, position: u64, fault: Option<Fault>) -> Row<'_> {
        Row { bytes: &self.bytes, cells: &self.cells, types: &self.types, position, lines: 1, fault }
    }
}
