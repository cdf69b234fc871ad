//! What the sandbox counts. An API request is any request but a GET.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::recent::{keep, shortened};

const MAX_BATCH_SIZES: usize = 100_000;
/// How many requests are kept.
const RECENT_REQUESTS: usize = 1_000;

/// Counts since the start; no GET is in any of them but `connections`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// POSTs that reached the cohort name endpoint, whatever the answer.
    pub naming_requests: u64,
    /// POSTs that reached the user cohort endpoint, whatever the answer.
    pub users_requests: u64,
    /// Connections accepted, also those that only sent GETs.
    pub connections: u64,
    /// The most API requests that were handled at once, from the last byte read to the first byte answered.
    pub max_in_flight: u64,
    /// Identifiers of each applied user cohort request, in order of arrival; the first 100,000 requests.
    pub batch_sizes: Vec<u32>,
    /// Identifiers to add in applied requests, as sent: known, unknown and repeated ones.
    pub identifiers_added: u64,
    /// Identifiers to remove in applied requests, as sent.
    pub identifiers_removed: u64,
    /// API answers by status, also those to what was not HTTP.
    pub statuses: BTreeMap<u16, u64>,
}

impl Stats {
    /// Counts an applied user cohort request by its identifiers.
    pub fn count_batch(&mut self, added: u32, removed: u32) {
        if self.batch_sizes.len() < MAX_BATCH_SIZES {
            self.batch_sizes.push(added.saturating_add(removed));
        }
        self.identifiers_added += u64::from(added);
        self.identifiers_removed += u64::from(removed);
    }
}

/// An API request and its answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RequestRecord {
    /// Requests are numbered from 1 as they arrive.
    pub request: u64,
    /// When it arrived, in seconds since the sandbox started.
    pub seconds: f64,
    /// Empty if it could not be read.
    pub method: String,
    /// Empty if it could not be read.
    pub path: String,
    /// `None` if it was refused before its body was read.
    pub cohort_id: Option<String>,
    /// The body's length.
    pub bytes: usize,
    /// Identifiers to add, as sent; 0 if it was refused.
    pub add: u32,
    /// Identifiers to remove, as sent; 0 if it was refused.
    pub remove: u32,
    pub status: u16,
    /// The answer's `message`.
    pub message: String,
}

/// The stats and the last requests, which all connections share.
pub struct Recorder {
    started: Instant,
    recording: Mutex<Recording>,
}

#[derive(Default)]
pub struct Recording {
    pub stats: Stats,
    /// API requests so far.
    pub requests: u64,
    in_flight: u64,
    /// The last 1,000 of them, the newest first.
    pub recent: VecDeque<RequestRecord>,
}

impl Recorder {
    /// The sandbox starts now.
    pub fn new() -> Self {
        Self { started: Instant::now(), recording: Mutex::default() }
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// What was counted so far. All requests wait for this lock.
    pub fn lock(&self) -> MutexGuard<'_, Recording> {
        self.recording.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An API request is in flight until [`Self::leave`]. Returns its record, to be filled in.
    pub fn enter(&self, method: &str, path: &str, bytes: usize) -> RequestRecord {
        let seconds = self.elapsed().as_secs_f64();
        let mut recording = self.lock();
        recording.requests += 1;
        recording.in_flight += 1;
        recording.stats.max_in_flight = recording.stats.max_in_flight.max(recording.in_flight);
        let (request, method, path) = (recording.requests, shortened(method), shortened(path));
        RequestRecord { request, seconds, method, path, bytes, ..RequestRecord::default() }
    }

    /// Counts and keeps an answer.
    pub fn answered(&self, record: RequestRecord) {
        let mut recording = self.lock();
        *recording.stats.statuses.entry(record.status).or_default() += 1;
        keep(&mut recording.recent, record, RECENT_REQUESTS);
    }

    /// A request is no longer in flight.
    pub fn leave(&self) {
        self.lock().in_flight -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_sizes_stop_growing_and_totals_do_not() {
        let mut stats = Stats::default();
        for _ in 0..=MAX_BATCH_SIZES {
            stats.count_batch(2, 1);
        }
        assert_eq!(stats.batch_sizes.len(), MAX_BATCH_SIZES);
        assert_eq!((stats.identifiers_added, stats.identifiers_removed), (200_002, 100_001));
    }

    #[test]
    fn the_most_in_flight_is_kept() {
        let recorder = Recorder::new();
        let enter = || drop(recorder.enter("POST", "/", 0));
        enter();
        enter();
        recorder.leave();
        recorder.leave();
        enter();
        assert_eq!(recorder.lock().stats.max_in_flight, 2);
    }
}
