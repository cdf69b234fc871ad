//! In: a table of members, and the state of earlier runs. Out: a cohort equal to the table. It decides the order of
//! steps; it knows neither Braze's requests nor exit codes.
//!
//! ```text
//! run: the order of steps ──> warehouse: the table, numbered versions of the state
//!                         └─> sender: the changes, to Braze
//! ```

pub mod error;
mod guard;
pub mod limits;
pub mod run;
pub mod sql;
pub mod state;
pub mod treasure_data;
pub mod warehouse;

#[cfg(test)]
mod model;

use crate::input::TableName;

/// The table and state of a mirror, and its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The members' table.
    pub table: TableName,
    /// The state's place, if not next to the members' table: the database, and the beginning of its table names.
    pub state_table: Option<TableName>,
    /// How many may change.
    pub limits: limits::Limits,
    /// When confirmed identifiers are sent again.
    pub refresh: sql::Refresh,
    /// Whether the state of another data import key belongs to the same workspace.
    pub key_rotated: bool,
}
