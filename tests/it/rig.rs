//! What the tests with virtual time have in common: an upload inside the process, to any stand-in for Braze.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use td_braze_cohort::braze::Addresses;
use td_braze_cohort::braze::body::{BodyWriter, Credentials};
use td_braze_cohort::commands::outcome::{Api, Stop};
use td_braze_cohort::delivery::{FirstCall, Plan};
use td_braze_cohort::input::MaxRejected;
use td_braze_cohort::input::columns::Names;
use td_braze_cohort::input::formats::format::FormatHint;
use td_braze_cohort::input::reader::{Limits, Pass, Reader};
use td_braze_cohort::input::source::{Input, Sources, interrupt};
use td_braze_cohort::members::operation::Operation;
use td_braze_cohort::retry::{self, RateLimiter};
use td_braze_cohort::secret::Secret;

use crate::virtual_clock::VirtualClock;

/// The columns of all uploads here.
pub fn names() -> Names {
    Names { aliases: vec!["email".to_owned()], ..Names::default() }
}

/// Reads this CSV into batches of a size.
pub fn reader(text: &str, operation: Operation, batch_size: usize, folder: &Path) -> Reader {
    let input = folder.join("members.csv");
    fs::write(&input, text).unwrap();
    let limits = Limits { expected_rows: None, max_rejected: MaxRejected::Percent(100), batch_size };
    let sources = Sources::find(&Input::Files(vec![input]), &FormatHint::default(), &interrupt::never()).unwrap();
    let header = text.lines().next().unwrap_or_default();
    let aliases = names().aliases.into_iter().filter(|label| header.contains(label)).collect();
    Reader::new(sources, &Names { aliases, ..Names::default() }, limits, Pass::Every(operation)).unwrap()
}

/// Sends to any address.
pub fn plan(threads: usize) -> Plan {
    let key = || Secret::new("not-a-real-key".to_owned());
    let credentials = Credentials { client_secret: key(), partner_api_key: key() };
    let bodies = BodyWriter::new(&credentials, "c", &names().aliases);
    let (cohorts, users) = ("https://braze/cohorts".to_owned(), "https://braze/cohorts/users".to_owned());
    let first_call = FirstCall { address: users.clone(), body: bodies.no_changes() };
    Plan { addresses: Addresses { cohorts, users }, bodies, thread_count: threads, first_call: Some(first_call) }
}

/// The limiter of a run with the default limits but this one.
pub fn limiter(max_requests_per_hour: u64, clock: &Arc<VirtualClock>) -> Arc<RateLimiter<Stop>> {
    let (max_outage, max_duration) = (Duration::from_mins(15), Duration::from_hours(23));
    let limits = retry::Limits { max_outage, max_requests_per_hour, max_duration };
    let clock: Arc<VirtualClock> = Arc::clone(clock);
    Arc::new(RateLimiter::new(limits, clock, Stop::of_limiter(Api::Braze, "braze".to_owned())))
}
