//! What can be wrong with an input, as one error that names it.

use thiserror::Error;

use crate::input::columns::HeaderError;
use crate::input::formats::RowsError;
use crate::input::source::SourceError;

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
        "the input {name}: {rejected} cells and rows rejected of {rows_read} rows read, which is past the limit; nothing \
         more was sent. Look at the query first; where so many are to be expected, set max_rejected"
    )]
    TooManyRejected {
        /// Which input.
        name: String,
        /// So many.
        rejected: u64,
        /// Of so many rows.
        rows_read: u64,
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
