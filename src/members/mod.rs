//! In and out: nothing. The nouns that all other modules speak of: kinds of identifiers, operations, batches.
//!
//! It never reads, sends, waits or logs.

pub mod batch;
pub mod identifier;
pub mod operation;
