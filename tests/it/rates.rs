//! How many requests there are, and when: with failures, in an outage, under limits. Time is virtual, so hours take moments and
//! the figures are the same on every machine.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use rstest::rstest;
use td_braze_cohort::delivery::counts::DeliveryCounts;
use td_braze_cohort::delivery::failed_file::Failures;
use td_braze_cohort::delivery::{self, Shared};
use td_braze_cohort::http::{Answer, HttpError, Post};
use td_braze_cohort::http::{HeaderMap, HeaderValue};
use td_braze_cohort::members::operation::Operation;
use td_braze_cohort::retry::{Clock, Ending};

use crate::rig;
use crate::virtual_clock::VirtualClock;

/// How long an answer takes.
const LATENCY: Duration = Duration::from_millis(50);
const BRAZES_LIMIT: u64 = 250_000;

/// Braze's answer to a request that arrives at this time.
type Script = dyn Fn(Duration) -> Result<Answer, HttpError> + Send + Sync;

struct Line {
    clock: Arc<VirtualClock>,
    script: Box<Script>,
    began: Mutex<Vec<Duration>>,
}

impl Post for Line {
    fn post(&self, _: &str, _: &[u8]) -> Result<Answer, HttpError> {
        self.began.lock().unwrap().push(self.clock.now());
        self.clock.sleep(LATENCY);
        (self.script)(self.clock.now())
    }

    fn cut(&self) {}
}

fn success() -> Answer {
    Answer { status: 201, headers: HeaderMap::new(), body: b"{}".to_vec() }
}

fn refused() -> HttpError {
    HttpError::Unreachable("connection refused".to_owned())
}

/// What was sent, and when each request began.
struct Ran {
    sent: DeliveryCounts,
    began: Vec<Duration>,
}

impl Ran {
    /// Requests that began from one time on and before another, in seconds.
    fn between(&self, from: u64, to: u64) -> u64 {
        let (from, to) = (Duration::from_secs(from), Duration::from_secs(to));
        self.began.iter().filter(|began| (from..to).contains(*began)).count() as u64
    }
}

/// Sends this many batches of one identifier each, and asserts that each was delivered.
fn send(
    batches: u64,
    threads: usize,
    max_requests_per_hour: u64,
    script: impl Fn(Duration) -> Result<Answer, HttpError> + Send + Sync + 'static,
) -> Ran {
    let rows = (0..batches).map(|number| format!("u{number}\n"));
    let text: String = std::iter::once("user_ids\n".to_owned()).chain(rows).collect();
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(VirtualClock::default());
    let limiter = rig::limiter(max_requests_per_hour, &clock);
    let line = Line { clock, script: Box::new(script), began: Mutex::default() };
    let (shared, plan) = (Arc::new(Shared::new(1)), rig::plan(threads));
    let failures = Arc::new(Failures::none());
    delivery::run(
        &plan,
        rig::reader(&text, Operation::Add, 1, folder.path()),
        &line,
        &limiter,
        &shared,
        &failures,
        &mut || {},
    );
    assert!(limiter.take_stop().is_none());
    let (sent, began) = (shared.sent(), line.began.into_inner().unwrap());
    assert_eq!((sent.delivered, sent.requests), (batches, began.len() as u64));
    Ran { sent, began }
}

#[rstest]
#[case(1, 2)]
#[case(5, 10)]
fn failures_cost_hardly_more_requests_than_there_are_failures(#[case] percent: u8, #[case] at_most_percent: u64) {
    const BATCHES: u64 = 10_000;
    let random = Mutex::new(Rng::with_seed(4711));
    let ran = send(BATCHES, 8, BRAZES_LIMIT, move |_| {
        if random.lock().unwrap().u8(0..100) < percent { Err(refused()) } else { Ok(success()) }
    });
    assert_eq!(ran.sent.requests, 1 + BATCHES + ran.sent.retries);
    assert!(ran.sent.retries > 0);
    assert!(ran.sent.requests * 100 <= BATCHES * (100 + at_most_percent), "{} requests", ran.sent.requests);
}

#[rstest]
#[case(4)]
#[case(64)]
fn an_outage_is_probed_once_a_second_at_most_and_the_former_rate_is_back_in_ten_seconds(#[case] threads: usize) {
    const DOWN: std::ops::Range<u64> = 10..310;
    let down = Duration::from_secs(DOWN.start)..Duration::from_secs(DOWN.end);
    let batches = threads as u64 * 20 * 25;
    let ran = send(
        batches,
        threads,
        BRAZES_LIMIT,
        move |now| if down.contains(&now) { Err(refused()) } else { Ok(success()) },
    );
    let in_outage = ran.between(DOWN.start + 1, DOWN.end);
    assert!(in_outage <= DOWN.end - DOWN.start, "{in_outage} requests in the outage");
    let (before, after) = (ran.between(0, 10), ran.between(DOWN.end + 10, DOWN.end + 11) * 10);
    assert!(after * 100 >= before * 90, "{before} requests in ten seconds before, {after} after");
}

#[rstest]
fn no_rolling_hour_has_more_than_max_requests_per_hour_and_nearly_all_of_it_is_used() {
    const LIMIT: u64 = 1_000;
    const HOUR: Duration = Duration::from_hours(1);
    let ran = send(5 * LIMIT, 4, LIMIT, |_| Ok(success()));
    for (first, start) in ran.began.iter().enumerate() {
        let within = ran.began[first..].iter().take_while(|began| **began < *start + HOUR).count() as u64;
        assert!(within <= LIMIT, "{within} requests in the hour from {start:?}");
    }
    let used = ran.between(0, 4 * 3600);
    assert!(used * 100 >= 4 * LIMIT * 97, "{used} requests in four hours");
    assert_eq!(ran.between(0, 60), LIMIT, "a burst is allowed");
}

/// Braze's limit, in periods of ten minutes, with its headers, by a wall clock which is not this machine's.
#[test]
fn what_braze_says_is_left_of_its_limit_lasts_and_no_answer_is_a_429() {
    const LIMIT: u64 = 600;
    const PERIOD: u64 = 600;
    const EPOCH: u64 = 1_000_000_000;
    let periods = Mutex::new((0, 0));
    let refusals = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&refusals);
    let ran = send(2_000, 4, BRAZES_LIMIT, move |now| {
        let mut periods = periods.lock().unwrap();
        let period = now.as_secs() / PERIOD;
        if period != periods.0 {
            *periods = (period, 0);
        }
        let status = if periods.1 < LIMIT { 201 } else { 429 };
        periods.1 = (periods.1 + 1).min(LIMIT);
        *counted.lock().unwrap() += u64::from(status == 429);
        let date = Timestamp::from_second((EPOCH + now.as_secs()).cast_signed()).unwrap();
        let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&date).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("date", HeaderValue::from_str(&date).unwrap());
        headers.insert("x-ratelimit-limit", HeaderValue::from(LIMIT));
        headers.insert("x-ratelimit-remaining", HeaderValue::from(LIMIT - periods.1));
        headers.insert("x-ratelimit-reset", HeaderValue::from(EPOCH + (period + 1) * PERIOD));
        Ok(Answer { status, headers, body: b"{}".to_vec() })
    });
    assert_eq!(*refusals.lock().unwrap(), 0);
    assert_eq!(ran.sent.retries, 0);
    assert!(ran.between(0, 3 * PERIOD) >= 3 * LIMIT * 97 / 100, "the limit is used");
    let (first_tenths, rest) = (ran.between(0, 60), ran.between(60, PERIOD));
    assert!(first_tenths >= LIMIT * 8 / 10, "{first_tenths} as fast as can be");
    assert!(rest >= LIMIT / 20, "{rest} spread over what is left of the period");
}

/// A Braze that holds the first removal for 66 s and then applies it; everything else takes effect at once.
struct Holding {
    clock: Arc<VirtualClock>,
    /// When each change takes effect, and whether it is a removal.
    changes: Mutex<Vec<(Duration, bool)>>,
}

impl Post for Holding {
    fn post(&self, _: &str, body: &[u8]) -> Result<Answer, HttpError> {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        let Some(change) = body["cohort_changes"].get(0) else { return Ok(success()) };
        let (is_removal, now) = (change["should_remove"] == true, self.clock.now());
        let is_held = self.changes.lock().unwrap().is_empty();
        let delay = Duration::from_secs(if is_held { 66 } else { 0 });
        self.changes.lock().unwrap().push((now + delay, is_removal));
        if is_held {
            self.clock.sleep(Duration::from_mins(1));
            return Err(HttpError::Timeout("receive response".into()));
        }
        Ok(success())
    }

    fn cut(&self) {}
}

#[test]
fn a_removal_that_braze_holds_for_longer_than_a_timeout_comes_before_the_addition() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(VirtualClock::default()));
    let limiter = rig::limiter(BRAZES_LIMIT, &clock);
    let braze = Holding { clock, changes: Mutex::default() };
    let failures = Arc::new(Failures::none());
    let shared = Arc::new(Shared::new(1));
    let grace = Duration::from_mins(2);
    for (operation, ending) in [(Operation::Remove, Ending::Phase), (Operation::Add, Ending::Run)] {
        let reader = rig::reader("user_ids\nu1\n", operation, 1, folder.path());
        delivery::run(&rig::plan(1), reader, &braze, &limiter, &shared, &failures, &mut || {});
        let _present = limiter.attend();
        limiter.settle(ending, grace, |_| {}).unwrap();
    }
    let changes = braze.changes.into_inner().unwrap();
    assert_eq!(changes.iter().map(|(_, is_removal)| *is_removal).collect::<Vec<_>>(), [true, true, false]);
    let last = changes.iter().max().unwrap();
    assert!(!last.1 && last.0 >= Duration::from_mins(3), "{changes:?}");
}
