//! Counts of what was read, by row and by cell.

use serde::Serialize;

use crate::input::cells::Reason;
use crate::input::formats::{Fault, Row};
use crate::input::near_names::NearMiss;
use crate::members::identifier::Kind;

/// The place of a rejected cell or row, as in the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejection {
    /// Why, as in the report.
    pub reason: &'static str,
    /// The file, if there are several.
    pub source: Option<String>,
    /// The line or row number.
    pub line: u64,
    /// The column, if a cell was rejected.
    pub column: Option<String>,
}

/// What was read so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputCounts {
    /// Data rows, including those that a later pass reads.
    pub rows_seen: u64,
    /// Data rows that were read.
    pub rows_read: u64,
    /// Rows with at least one identifier.
    pub rows_used: u64,
    /// Rows whose identifier cells are all blank.
    pub rows_without_identifier: u64,
    /// Malformed rows, and rows with rejected cells and no identifier.
    pub rows_rejected: u64,
    /// The malformed ones among them, in the order of [`Fault::KEYS`].
    pub rows_malformed: [u64; Fault::KEYS.len()],
    /// Identifier cells that are NULL, empty or white space.
    pub cells_blank: u64,
    /// Identifier cells that are a word for NULL.
    pub null_words: u64,
    /// Rejected identifier cells, in the order of [`Reason::KEYS`].
    pub cells_rejected: [u64; Reason::KEYS.len()],
    /// Identifiers that begin or end with white space; sent as they are.
    pub cells_with_outer_space: u64,
    /// Identifiers with invisible characters; sent as they are.
    pub cells_with_invisible_characters: u64,
    /// Rows that repeat the header, and are not data rows.
    pub rows_repeating_header: u64,
    /// Rows and headers that span more than one line. An unintended quote can cause them.
    pub rows_over_lines: u64,
    /// How many lines the longest of them has.
    pub longest_row: u64,
    /// The line in which that one begins.
    pub longest_row_at: u64,
    /// Ignored columns whose name is close to one that is read.
    pub ignored_columns: Vec<NearMiss>,
    /// The first places of each reason for rejection.
    pub first_rejections: Vec<Rejection>,
    /// Identifiers of each kind, in the order of [`Kind::all`].
    pub of_kinds: Vec<u64>,
    /// The input was read to its end without an error.
    pub read_to_end: bool,
}

impl InputCounts {
    /// Counts of zero; `aliases` is the number of labels.
    pub fn new(aliases: usize) -> Self {
        Self { of_kinds: Kind::all(aliases).map(|_| 0).collect(), ..Self::default() }
    }

    /// All identifiers.
    pub fn identifiers(&self) -> u64 {
        self.of_kinds.iter().sum()
    }

    /// The number of rejected cells and malformed rows.
    pub fn rejections(&self) -> u64 {
        self.cells_rejected.iter().sum::<u64>() + self.rows_malformed.iter().sum::<u64>()
    }

    /// Counts a row or a header that spans more than one line.
    pub fn count_lines(&mut self, row: Row<'_>) {
        if row.lines > 1 {
            self.rows_over_lines += 1;
            if row.lines > self.longest_row {
                (self.longest_row, self.longest_row_at) = (row.lines, row.position);
            }
        }
    }

    /// Adds new near misses. Returns whether there were any.
    pub fn add_ignored_columns(&mut self, misses: &[NearMiss]) -> bool {
        let before = self.ignored_columns.len();
        for miss in misses {
            if !self.ignored_columns.contains(miss) {
                self.ignored_columns.push(miss.clone());
            }
        }
        self.ignored_columns.len() > before
    }

    /// How many cells and rows were rejected for each reason, for a message.
    pub fn reasons(&self) -> String {
        let malformed = Fault::KEYS.into_iter().zip(self.rows_malformed);
        let rejected = Reason::KEYS.into_iter().zip(self.cells_rejected);
        let counts = malformed.chain(rejected).filter(|(_, count)| *count > 0);
        counts.map(|(key, count)| format!("{key} {count}")).collect::<Vec<_>>().join(", ")
    }
}
