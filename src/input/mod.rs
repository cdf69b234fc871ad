//! In: files, standard input, or a fetched result. Out: full batches of identifiers, and the counts of every row and
//! cell.
//!
//! ```text
//! source (bytes, gzip) ─> formats (rows) ─> columns ─> cells (identifier, blank or rejected) ─> reader (batches)
//! ```
//! It never sends anything, and never decides what happens to a batch.

pub mod cells;
pub mod columns;
pub mod counters;
pub mod error;
pub mod formats;
pub mod near_names;
pub mod reader;
pub mod source;

use std::fmt;
use std::path::PathBuf;

use columns::Names;
use formats::format::FormatHint;
use indicatif::HumanCount;
use source::Input;

/// The first of these texts, and how many more there are; for messages.
pub fn first_of(texts: impl ExactSizeIterator<Item = String>, shown: usize) -> String {
    let more = texts.len().saturating_sub(shown);
    let text = texts.take(shown).collect::<Vec<_>>().join(", ");
    if more == 0 { text } else { format!("{text} and {more} more") }
}

/// What is read, and the requirements for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where the rows are.
    pub location: Location,
    /// Format and columns, if they are set.
    pub format_hint: FormatHint,
    /// The names of the columns.
    pub names: Names,
    /// The number of rows it must have.
    pub expected_rows: Option<u64>,
    /// How many rejections are allowed.
    pub max_rejected: MaxRejected,
}

/// Where rows are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// Files, or standard input.
    Here(Input),
    /// The result of the Treasure Data job with this number.
    Job(String),
    /// A table in Treasure Data.
    Table(TableName),
}

/// A table in Treasure Data, and its database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    /// The database.
    pub database: String,
    /// The table's name in it.
    pub table: String,
}

impl TableName {
    /// Parses `database.table`; each has letters, digits and `_`.
    pub fn parse(text: &str) -> Option<Self> {
        let is_name =
            |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let (database, table) = text.split_once('.')?;
        let is_usable = is_name(database) && is_name(table);
        is_usable.then(|| Self { database: database.to_owned(), table: table.to_owned() })
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.database, self.table)
    }
}

impl Location {
    /// The files, as far as they are known. Errors show when they are opened.
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Here(Input::Files(paths)) => source::files::resolve(paths).unwrap_or_default(),
            Self::Here(_) | Self::Job(_) | Self::Table(_) => Vec::new(),
        }
    }
}

/// An input that can be read.
pub struct ReadableInput {
    /// Where its bytes are.
    pub input: Input,
    /// Format and columns, as far as they are known.
    pub format_hint: FormatHint,
    /// The number of rows it must have.
    pub expected_rows: Option<u64>,
}

/// The limit for rejected cells and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxRejected {
    /// 1 % of the rows read, and at least 10.
    Default,
    /// This many.
    Count(u64),
    /// A percentage of the rows read.
    Percent(u64),
}

impl fmt::Display for MaxRejected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("1 %, but at least 10"),
            Self::Count(count) => HumanCount(*count).fmt(formatter),
            Self::Percent(percent) => write!(formatter, "{percent} %"),
        }
    }
}

impl MaxRejected {
    /// Whether there are too many rejections.
    pub fn is_passed(self, rejected: u64, rows_read: u64) -> bool {
        match self {
            Self::Default => rejected > (rows_read / 100).max(10),
            Self::Count(count) => rejected > count,
            // A row may have several rejected cells, and 100 % allows all.
            Self::Percent(percent) => {
                u128::from(rejected.min(rows_read)) * 100 > u128::from(rows_read) * u128::from(percent)
            }
        }
    }
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
    #[case::several_cells_of_a_row(MaxRejected::Percent(100), 2001, 1000, false)]
    #[case::several_cells_of_a_row(MaxRejected::Percent(99), 2001, 1000, true)]
    fn the_limit_of_rejections(
        #[case] limit: MaxRejected,
        #[case] rejected: u64,
        #[case] rows: u64,
        #[case] passed: bool,
    ) {
        assert_eq!(limit.is_passed(rejected, rows), passed);
    }
}
