//! What is asked of an input, and what can be wrong with one, as one error that names it.

use std::path::PathBuf;

use thiserror::Error;

use crate::columns::{HeaderError, Names};
use crate::operation::Operation;
use crate::removals::RemovalLimits;
use crate::rows::RowsError;
use crate::rows::format::Form;
use crate::source::{Input, SourceError};

/// What is read, and what it has to be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where the rows are.
    pub location: Location,
    /// Format and columns, as far as they are set.
    pub form: Form,
    /// What the columns are called.
    pub names: Names,
    /// The rows that the input must have.
    pub expected_rows: Option<u64>,
    /// How much may be rejected.
    pub max_rejected: MaxRejected,
    /// When a delta removes too many; none if it is no delta.
    pub removal_limits: Option<RemovalLimits>,
}

/// Where rows are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// Files, or standard input.
    Here(Input),
    /// With Treasure Data, as the result of the job of this number.
    Job(String),
}

impl Location {
    /// The files, as far as they are known. What is wrong with them is said when they are opened.
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Here(input) => input.files().unwrap_or_default(),
            Self::Job(_) => Vec::new(),
        }
    }
}

/// Rows that are at hand.
pub struct Rows {
    /// Where they are.
    pub input: Input,
    /// Format and columns, as far as they are known.
    pub form: Form,
    /// How many there must be.
    pub expected: Option<u64>,
}

/// The limit past which rejected cells and rows stop the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxRejected {
    /// 1 % of the rows read, and at least 10.
    Default,
    /// So many.
    Count(u64),
    /// So many of a hundred rows read.
    Percent(u64),
}

impl MaxRejected {
    /// Whether so many rejections of so many rows are too many.
    pub fn is_passed(self, rejected: u64, rows_read: u64) -> bool {
        match self {
            Self::Default => rejected > (rows_read / 100).max(10),
            Self::Count(count) => rejected > count,
            Self::Percent(percent) => u128::from(rejected) * 100 > u128::from(rows_read) * u128::from(percent),
        }
    }
}

/// Why the run cannot use its input, or cannot go on with it.
#[derive(Debug, Error)]
pub enum InputError {
    /// The file.
    #[error("the input {0}")]
    Source(#[from] SourceError),
    /// A list without a file in it.
    #[error("the input {name} names no file: name at least one")]
    Nothing {
        /// As it was written.
        name: String,
    },
    /// The bytes of it.
    #[error("the input {name} cannot be used: {error}")]
    Rows {
        /// Which input.
        name: String,
        /// Why.
        error: RowsError,
    },
    /// The names of its columns.
    #[error("the input {name}: {error}")]
    Header {
        /// Which input.
        name: String,
        /// Why.
        error: HeaderError,
    },
    /// More cells and rows were rejected than may be.
    #[error(
        "the input {name}: {rejected} cells and rows rejected ({reasons}) of {rows_read} rows read, which is past the limit; nothing \
         more was sent. Look at the query first; where so many are to be expected, set max_rejected"
    )]
    TooManyRejected {
        /// Which input.
        name: String,
        /// So many.
        rejected: u64,
        /// Of so many rows.
        rows_read: u64,
        /// How many for which reason.
        reasons: String,
    },
    /// Cells and rows were rejected, and there is no identifier.
    #[error(
        "the input {name}: of {rows_read} rows read not one has an identifier that can be sent; rejected: {reasons}. Correct the query"
    )]
    AllRejected {
        /// Which input.
        name: String,
        /// So many rows.
        rows_read: u64,
        /// How many for which reason.
        reasons: String,
    },
    /// One of two operations lost its rows.
    #[error(
        "the input {name}: each row that says {} is rejected ({reasons}); nothing more was sent. Correct the query", .operation.as_str()
    )]
    OperationRejected {
        /// Which input.
        name: String,
        /// Whose rows.
        operation: Operation,
        /// How many of all rows for which reason.
        reasons: String,
    },
    /// Something else than an operation.
    #[error(
        "the input {name}: {rows} rows have in the column of operation_column what is no operation{}; nothing more was sent. Write add, \
         remove or delete in the query", if .words.is_empty() { String::new() } else { format!(" ({})", .words.join(", ")) }
    )]
    UnknownOperations {
        /// Which input.
        name: String,
        /// So many rows.
        rows: u64,
        /// Some of the words, quoted and escaped.
        words: Vec<String>,
    },
    /// Not as many rows as there should be.
    #[error(
        "the input {name} has {found} rows where expected_rows says {expected} (or, of a job, its num_records): it is cut \
         off, or belongs to another query; nothing more was sent"
    )]
    ExpectedRows {
        /// Which input.
        name: String,
        /// So many are there.
        found: u64,
        /// So many should be.
        expected: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(MaxRejected::Default, 10, 10, false)]
    #[case(MaxRejected::Default, 11, 10, true)]
    #[case(MaxRejected::Default, 11, 1100, false)]
    #[case(MaxRejected::Default, 2000, 200_000, false)]
    #[case(MaxRejected::Count(0), 1, 1000, true)]
    #[case(MaxRejected::Percent(5), 50, 1000, false)]
    #[case(MaxRejected::Percent(5), 51, 1000, true)]
    fn the_limit_of_rejections(
        #[case] limit: MaxRejected,
        #[case] rejected: u64,
        #[case] rows: u64,
        #[case] passed: bool,
    ) {
        assert_eq!(limit.is_passed(rejected, rows), passed);
    }
}
