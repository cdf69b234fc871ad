//! A panic in a worker ends the run as a defect, and the report still adds up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rstest::rstest;
use serde_json::Value;
use td_braze_cohort::commands::exit::Exit;
use td_braze_cohort::commands::outcome::{Api, Stop};
use td_braze_cohort::commands::pipeline;
use td_braze_cohort::delivery::failed_file::Failures;
use td_braze_cohort::delivery::{self, Shared};
use td_braze_cohort::http::HeaderMap;
use td_braze_cohort::http::{Answer, HttpError, Post};
use td_braze_cohort::input::reader::{Limits, Pass, Reader};
use td_braze_cohort::input::source::{Sources, interrupt};
use td_braze_cohort::input::{Location, MaxRejected};
use td_braze_cohort::members::batch::CAPACITY;
use td_braze_cohort::retry::{self, Monotonic, RateLimiter};
use td_braze_cohort::settings::credentials::from_environment;
use td_braze_cohort::settings::{Config, yaml};

use crate::support::user_ids;

const BATCHES: usize = 100;

/// Accepts everything, but panics in one call. Calls after that one are answered when the run has been stopped.
struct Panicking {
    limiter: Arc<RateLimiter<Stop>>,
    in_call: usize,
    calls: AtomicUsize,
    taken: AtomicUsize,
}

impl Post for Panicking {
    fn post(&self, _: &str, body: &[u8]) -> Result<Answer, HttpError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        assert_ne!(call, self.in_call, "as the test wants it");
        while call > self.in_call && !self.limiter.is_stopped() {
            thread::sleep(Duration::from_millis(1));
        }
        let body: Value = serde_json::from_slice(body).unwrap();
        let users = body.pointer("/cohort_changes/0/user_ids").and_then(Value::as_array).map_or(0, Vec::len);
        self.taken.fetch_add(users, Ordering::SeqCst);
        Ok(Answer { status: 201, headers: HeaderMap::new(), body: b"{}".to_vec() })
    }

    fn cut(&self) {}
}

#[rstest]
#[case::in_the_first_call(0)]
#[case::in_the_first_batch(1)]
#[case::amid_the_run(7)]
fn a_panic_stops_the_others_and_the_report_adds_up(#[case] in_call: usize) {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("members.csv");
    std::fs::write(&input, user_ids(BATCHES * 1000)).unwrap();
    let text = format!(
        "cohort_id: vip\noperation: add\nthread_count: 3\nendpoint: http://localhost:1\ninput: {}\n",
        input.display()
    );
    let config = Config::check(&yaml::read("cohort.yml".as_ref(), &text).unwrap(), true).unwrap();
    let credentials = from_environment(|_| Some("a-key-that-nobody-checks".to_owned())).unwrap();
    let endpoint = config.required_endpoint().unwrap();
    let plan = pipeline::plan(&config, endpoint, &credentials, None);
    let limits = Limits { expected_rows: None, max_rejected: MaxRejected::Default, batch_size: CAPACITY };
    let options = &config.input;
    let Location::Here(input) = &options.location else { panic!("{options:?}") };
    let reader = {
        let sources = Sources::find(input, &options.format_hint, &interrupt::never()).unwrap();
        Reader::new(sources, &options.names, limits, Pass::first(&config.operations)).unwrap()
    };
    let limiter = {
        let delivery::Options { max_outage, max_requests_per_hour, max_duration, .. } = config.delivery;
        let limits = retry::Limits { max_outage, max_requests_per_hour, max_duration };
        let stop_for = Stop::of_limiter(Api::Braze, "braze".to_owned());
        Arc::new(RateLimiter::new(limits, Arc::new(Monotonic::default()), stop_for))
    };
    let shared = Arc::new(Shared::new(0));
    let failed_file = folder.path().join("failed.csv");
    let failures = Failures::begin(Some(&failed_file), &config.input.names).unwrap();
    let failures = Arc::new(failures);
    let post =
        Panicking { limiter: Arc::clone(&limiter), in_call, calls: AtomicUsize::new(0), taken: AtomicUsize::new(0) };

    delivery::run(&plan, reader, &post, &limiter, &shared, &failures, &mut || {});

    let stop = limiter.take_stop().expect("a panic is a reason to stop");
    assert!(matches!(stop, Stop::Defect(_)) && stop.exit() == Exit::Defect, "{stop}");
    let (sent, taken) = (shared.sent(), post.taken.load(Ordering::SeqCst) as u64);
    assert_eq!((sent.delivered, sent.refused), (taken, 0), "what the others had in flight is counted");
    let read = shared.input().identifiers();
    assert!(read >= taken && read < BATCHES as u64 * 1000, "{read} were read, {taken} delivered");
    let calls = post.calls.load(Ordering::SeqCst);
    assert!(calls > in_call && calls <= in_call + 3, "{calls} calls: the others went on");
    assert_eq!(sent.requests, calls as u64);
    let kept = failures.finish().unwrap().map_or(0, |(_, kept)| kept);
    assert_eq!(kept, read - taken, "what was in the hands of the one that panicked is kept too");
}
