//! In: a table of members, and the state of earlier runs. Out: a cohort that is equal to it. It decides the order of steps; it never
//! knows what Braze's requests look like, nor exit codes.
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

/// What a run keeps equal, and its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The members' table.
    pub table: TableName,
    /// Where the state is, if not next to the members' table: the database, and how the names of its tables begin.
    pub state_table: Option<TableName>,
    /// How many may change.
    pub limits: limits::Limits,
    /// When confirmed identifiers are sent again.
    pub refresh: sql::Refresh,
    /// The state of another data import key is of the same workspace.
    pub key_rotated: bool,
}
