//! In: a table of members, and the state of earlier runs. Out: a cohort that is equal to it. It decides the order of steps; it never
//! knows what Braze's requests look like, nor exit codes.
//!
//! ```text
//! run: the order of steps ──> warehouse: the table, numbered versions of the state
//!                         └─> sender: the changes, to Braze
//! ```

mod guard;
pub mod limits;
pub mod run;
pub mod sql;
pub mod state;
pub mod treasure_data;
pub mod warehouse;

#[cfg(test)]
mod model;
