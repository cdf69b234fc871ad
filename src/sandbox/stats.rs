//! What the sandbox counts. Every request except a GET is an API request.

use std::collections::BTreeMap;

use serde::Serialize;

/// Counts since the start. GETs are only in `connections`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// POSTs to the cohort name endpoint, whatever the answer.
    pub naming_requests: u64,
    /// POSTs to the user cohort endpoint, whatever the answer.
    pub users_requests: u64,
    /// Accepted connections, including those that only sent GETs.
    pub connections: u64,
    /// The most API requests handled at once, from the last byte read to the first byte answered.
    pub max_in_flight: u64,
    /// Identifiers of each applied user cohort request, in order of arrival.
    pub batch_sizes: Vec<usize>,
    /// Identifiers to add in applied requests, as sent: known, unknown and repeated ones.
    pub identifiers_added: u64,
    /// Identifiers to remove in applied requests, as sent.
    pub identifiers_removed: u64,
    /// API answers by status.
    pub statuses: BTreeMap<u16, u64>,
}

/// An API request and its answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RequestRecord {
    /// Requests are numbered from 1 as they arrive.
    pub request: u64,
    /// When it arrived, in seconds since the sandbox started.
    pub seconds: f64,
    pub method: String,
    pub path: String,
    /// `None` if it was refused.
    pub cohort_id: Option<String>,
    /// The body's length.
    pub bytes: usize,
    /// Identifiers to add, as sent; 0 if it was refused.
    pub add: usize,
    /// Identifiers to remove, as sent; 0 if it was refused.
    pub remove: usize,
    pub status: u16,
    /// The answer's `message`.
    pub message: &'static str,
}
