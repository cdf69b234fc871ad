//! What can be wrong with an input, as one error that names it.

use thiserror::Error;

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
