//! Counts of what was sent.

/// What was sent so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryCounts {
    /// Identifiers that Braze acknowledged.
    pub delivered: u64,
    /// Identifiers that Braze refused.
    pub refused: u64,
    /// HTTP requests, including retries.
    pub requests: u64,
    /// Requests beyond the first call and the first request of each batch.
    pub retries: u64,
}
