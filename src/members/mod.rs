//! In and out: nothing. The nouns of all other modules: kinds of identifiers, operations, batches.
//!
//! It never reads, sends, waits or logs.

pub mod batch;
pub mod identifier;
pub mod operation;
