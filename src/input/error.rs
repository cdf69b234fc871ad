//! What can be wrong with an input. The error names the input.

use indicatif::HumanCount;
use thiserror::Error;

use crate::input::MaxRejected;
use crate::input::columns::HeaderError;
use crate::input::formats::RowsError;
use crate::input::source::SourceError;
use crate::members::operation::Operation;

/// Why the run cannot use its input, or cannot continue with it.
#[derive(Debug, Error)]
pub enum InputError {
    /// It cannot be opened.
    #[error("the input {0}")]
    Source(#[from] SourceError),
    /// Its content cannot be used.
    #[error("the input {name}: {problem}")]
    Unusable {
        /// Which input.
        name: String,
        /// Why.
        problem: InputProblem,
    },
}

/// What is wrong with an input's content.
#[derive(Debug, Error)]
pub enum InputProblem {
    /// Its bytes are no valid rows.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// Its column names are unsuitable.
    #[error(transparent)]
    Header(#[from] Box<HeaderError>),
    /// Too many cells and rows were rejected.
    #[error(
        "{} cells and rows were rejected in {} rows read (limit {limit}): {reasons}. Nothing more was sent. Fix the query, or raise \
         max_rejected", HumanCount(*.rejected), HumanCount(*.rows_read)
    )]
    TooManyRejected {
        /// How many.
        rejected: u64,
        /// In how many rows.
        rows_read: u64,
        /// The limit.
        limit: MaxRejected,
        /// How many for each reason.
        reasons: String,
    },
    /// Cells and rows were rejected, and there is no identifier.
    #[error("none of {} rows read has a valid identifier; rejected: {reasons}. Fix the query", HumanCount(*.rows_read))]
    AllRejected {
        /// How many rows.
        rows_read: u64,
        /// How many for each reason.
        reasons: String,
    },
    /// All rows of one operation were rejected.
    #[error(
        "every row with the operation {} was rejected ({reasons}). Nothing more was sent. Fix the query", .operation.as_str()
    )]
    OperationRejected {
        /// Whose rows.
        operation: Operation,
        /// How many of all rows for each reason.
        reasons: String,
    },
    /// An invalid word in the operation column.
    #[error(
        "{} rows have an invalid value in operation_column{}. The value must be add, remove or delete. Nothing more was sent. Fix the query",
        HumanCount(*.rows), if .words.is_empty() { String::new() } else { format!(" ({})", .words.join(", ")) }
    )]
    UnknownOperations {
        /// How many rows.
        rows: u64,
        /// Some of the words, quoted and escaped.
        words: Vec<String>,
    },
    /// An unexpected number of rows.
    #[error(
        "it has {} rows instead of {} (expected_rows, or the job's num_records): it is cut off, or it is another query's result. \
         Nothing more was sent. Run the query again, or correct expected_rows", HumanCount(*.found), HumanCount(*.expected)
    )]
    ExpectedRows {
        /// The rows in the input.
        found: u64,
        /// The expected number of rows.
        expected: u64,
    },
}

impl InputProblem {
    /// The error that names the input.
    pub fn of(self, name: &str) -> InputError {
        InputError::Unusable { name: name.to_owned(), problem: self }
    }
}
