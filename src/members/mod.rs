//! In and out: nothing. The types that other modules share: kinds of identifiers, operations, batches.
//!
//! It never reads, sends, waits or logs.

pub mod batch;
pub mod identifier;
pub mod operation;
