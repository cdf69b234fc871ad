//! What can be wrong with an input, as one error that names it.

use indicatif::HumanCount;
use thiserror::Error;

use crate::input::MaxRejected;
use crate::input::columns::HeaderError;
use crate::input::formats::RowsError;
use crate::input::source::SourceError;
use crate::members::operation::Operation;

/// Why the run cannot use its input, or cannot go on with it.
#[derive(Debug, Error)]
pub enum InputError {
    /// The file.
    #[error("the input {0}")]
    Source(#[from] SourceError),
    /// A list without a file in it.
    #[error("the input {name} names no file: set at least one")]
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
        error: Box<HeaderError>,
    },
    /// More cells and rows were rejected than may be.
    #[error(
        "the input {name}: {} cells and rows were rejected in {} rows read (limit {limit}): {reasons}. Nothing more was sent. Fix the \
         query, or raise max_rejected", HumanCount(*.rejected), HumanCount(*.rows_read)
    )]
    TooManyRejected {
        /// Which input.
        name: String,
        /// So many.
        rejected: u64,
        /// Of so many rows.
        rows_read: u64,
        /// What was allowed.
        limit: MaxRejected,
        /// How many for which reason.
        reasons: String,
    },
    /// Cells and rows were rejected, and there is no identifier.
    #[error(
        "the input {name}: none of {} rows read has a valid identifier; rejected: {reasons}. Fix the query", HumanCount(*.rows_read)
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
        "the input {name}: every row with the operation {} was rejected ({reasons}). Nothing more was sent. Fix the query", .operation.as_str()
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
        "the input {name}: {} rows have an invalid value in operation_column{}. Nothing more was sent. It must be add, remove or delete: \
         fix the query", HumanCount(*.rows), if .words.is_empty() { String::new() } else { format!(" ({})", .words.join(", ")) }
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
        "the input {name} has {} rows instead of {} (expected_rows, or the job's num_records): it is cut off, or of another query. Nothing \
         more was sent", HumanCount(*.found), HumanCount(*.expected)
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
