//! What the sandbox counts. An API request is any request but a GET.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::recent::{Page, Recent, shortened};

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
    /// API requests answered with 503.
    pub failed: u64,
    /// API requests answered with 429.
    pub rate_limited: u64,
    /// API requests answered with 401.
    pub unauthorized: u64,
    /// Requests answered with 400, also those that were not HTTP.
    pub bad_requests: u64,
    /// Identifiers of each applied user cohort request, in order of arrival; the first 100,000 requests.
    pub batch_sizes: Vec<u32>,
    /// Identifiers to add in applied requests, as sent: known, unknown and repeated ones.
    pub identifiers_added: u64,
    /// Identifiers to remove in applied requests, as sent.
    pub identifiers_removed: u64,
    /// API answers by status.
    pub statuses: BTreeMap<u16, u64>,
}

impl Stats {
    /// Counts an API answer.
    pub fn count_answer(&mut self, status: u16) {
        *self.statuses.entry(status).or_default() += 1;
        match status {
            400 => self.bad_requests += 1,
            401 => self.unauthorized += 1,
            429 => self.rate_limited += 1,
            503 => self.failed += 1,
            _ => {}
        }
    }

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
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestRecord {
    /// Requests are numbered from 1 as they arrive.
    pub request: u64,
    /// When it arrived, in seconds since the sandbox started.
    pub seconds: f64,
    /// Empty if it could not be read.
    pub method: String,
    /// Empty if it could not be read.
    pub path: String,
    /// `None` if it was refused before anyone looked.
    pub cohort_id: Option<String>,
    /// The body's length.
    pub bytes: usize,
    /// Identifiers to add, as sent; 0 if it was refused.
    pub add: u32,
    /// Identifiers to remove, as sent; 0 if it was refused.
    pub remove: u32,
    pub status: u16,
    /// What was answered.
    pub message: String,
}

/// The stats and the last requests, which all connections share.
pub struct Recorder {
    started: Instant,
    recording: Mutex<Recording>,
}

struct Recording {
    requests: u64,
    in_flight: u64,
    stats: Stats,
    recent: Recent<RequestRecord>,
}

impl Recorder {
    /// The sandbox starts now.
    pub fn new() -> Self {
        let recent = Recent::new(RECENT_REQUESTS);
        let recording = Recording { requests: 0, in_flight: 0, stats: Stats::default(), recent };
        Self { started: Instant::now(), recording: Mutex::new(recording) }
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The counts so far.
    pub fn stats(&self) -> Stats {
        self.lock().stats.clone()
    }

    /// How many requests there were, and this part of the last 1,000, the newest first.
    pub fn requests(&self, page: Page) -> (u64, Vec<RequestRecord>) {
        let recording = self.lock();
        (recording.requests, page.of(recording.recent.iter()).cloned().collect())
    }

    /// Counts in place; keep it short, everyone waits for it.
    pub fn count(&self, count: impl FnOnce(&mut Stats)) {
        count(&mut self.lock().stats);
    }

    /// An API request is in flight until the guard is dropped. Returns its record, to be filled in.
    pub fn enter(&self, method: &str, path: &str, bytes: usize) -> (InFlight<'_>, RequestRecord) {
        let seconds = self.elapsed().as_secs_f64();
        let mut recording = self.lock();
        recording.requests += 1;
        recording.in_flight += 1;
        recording.stats.max_in_flight = recording.stats.max_in_flight.max(recording.in_flight);
        let record = RequestRecord {
            request: recording.requests,
            seconds,
            method: shortened(method),
            path: shortened(path),
            cohort_id: None,
            bytes,
            add: 0,
            remove: 0,
            status: 0,
            message: String::new(),
        };
        (InFlight { recorder: self }, record)
    }

    /// Counts and keeps what was answered.
    pub fn answered(&self, record: RequestRecord) {
        let mut recording = self.lock();
        recording.stats.count_answer(record.status);
        recording.recent.push(record);
    }

    fn lock(&self) -> MutexGuard<'_, Recording> {
        self.recording.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One API request in flight.
#[must_use]
pub struct InFlight<'a> {
    recorder: &'a Recorder,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.recorder.lock().in_flight -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_status_and_by_kind() {
        let mut stats = Stats::default();
        for status in [201, 201, 400, 401, 404, 429, 503, 503] {
            stats.count_answer(status);
        }
        let counts = [stats.bad_requests, stats.unauthorized, stats.rate_limited, stats.failed];
        assert_eq!(counts, [1, 1, 1, 2]);
        assert_eq!(
            stats.statuses.into_iter().collect::<Vec<_>>(),
            [(201, 2), (400, 1), (401, 1), (404, 1), (429, 1), (503, 2)]
        );
    }

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
        let enter = || recorder.enter("POST", "/", 0).0;
        drop((enter(), enter()));
        drop(enter());
        assert_eq!(recorder.stats().max_in_flight, 2);
    }
}
