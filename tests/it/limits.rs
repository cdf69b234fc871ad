//! Braze's limits, locks and refusals of single identifiers, from the server's side.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use regex_lite::Regex;
use rstest::rstest;

use crate::scripted::{Act, Scripted, Seen};
use crate::support::{Run, braze_with, user_ids};

/// How long the pauses here are.
const PAUSE: Duration = Duration::from_secs(1);
/// The time on a server whose clock is far off: a day in 2001.
const WRONG_NOW: u64 = 1_000_000_000;

fn date(epoch_seconds: u64) -> String {
    let time = Timestamp::from_second(epoch_seconds.cast_signed()).unwrap();
    DateTimePrinter::new().timestamp_to_rfc9110_string(&time).unwrap()
}

fn limited(headers: &str) -> Act {
    Act::answer("429 Too Many Requests", "application/json", &format!("{headers}Connection: close\r\n"), "{}")
}

/// The time between a request and the one before it.
fn gap_before(seen: &[Seen], number: usize) -> Duration {
    seen[number].arrived.duration_since(seen[number - 1].arrived)
}

/// A 429 for the first request with members. While it is under way, three others are: only they may arrive in the pause.
#[rstest]
#[case::seconds("Retry-After: 1\r\n".to_owned())]
#[case::date(format!("Date: {}\r\nRetry-After: {}\r\n", date(WRONG_NOW), date(WRONG_NOW + 1)))]
#[case::its_own("X-RateLimit-Retry-After: 1\r\n".to_owned())]
#[case::reset(format!(
    "Date: {}\r\nX-RateLimit-Limit: 9\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: {}\r\n",
    date(WRONG_NOW),
    WRONG_NOW + 1
))]
#[case::the_longest_counts("Retry-After: 0\r\nX-RateLimit-Retry-After: 1\r\nX-RateLimit-Reset: soon\r\n".to_owned())]
fn in_an_announced_pause_no_request_begins(#[case] headers: String) {
    const THREADS: usize = 4;
    let server = Scripted::for_members(move |seen| match seen.number {
        1 => limited(&headers),
        // The others of the first four are still under way when the pause begins.
        2..=4 => Act::Later(Duration::from_millis(300), Box::new(Act::success())),
        _ => Act::success(),
    });
    let run = Run::upload().set("endpoint", server.endpoint()).set("thread_count", &THREADS.to_string());
    run.rows(user_ids(20_000)).arg("--json").exits(0).report().has(&[("/delivered", 20_000), ("/retries", 1)]);
    let seen = server.seen();
    let before = seen.iter().take_while(|request| request.arrived < seen[1].arrived + PAUSE / 2).count();
    assert!(before <= 1 + THREADS, "{before} requests arrived before or at the beginning of the pause");
    let gap = seen[before].arrived.duration_since(seen[1].arrived);
    assert!(gap >= PAUSE, "the next request arrived {gap:?} after the one that was limited");
}

#[rstest]
#[case::negative("Retry-After: -5\r\n")]
#[case::past("Retry-After: Sun, 09 Sep 2001 01:46:40 GMT\r\nX-RateLimit-Reset: 1000000000\r\n")]
#[case::absurd("Retry-After: 99999999999\r\n")]
#[case::milliseconds("X-RateLimit-Reset: 1795435260000\r\n")]
#[case::garbage("Retry-After: soon\r\nX-RateLimit-Reset: \r\nX-RateLimit-Remaining: none\r\n")]
fn a_hint_that_makes_no_sense_is_a_backoff(#[case] headers: &'static str) {
    let server = Scripted::for_members(move |seen| if seen.number == 1 { limited(headers) } else { Act::success() });
    let run = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(10)).arg("--json").exits(0);
    run.report().has(&[("/delivered", 10), ("/requests", 3), ("/retries", 1)]);
}

#[rstest]
#[case::seconds("Retry-After: 7200\r\n")]
#[case::two_days("X-RateLimit-Retry-After: 172800\r\n")]
fn a_pause_beyond_the_end_of_the_run_ends_it_now_and_names_the_time(#[case] headers: &'static str) {
    let server = Scripted::for_members(move |_| limited(headers));
    let run = Run::upload().set("endpoint", server.endpoint()).set("max_duration", "1h").rows(user_ids(10));
    let run = run.arg("--json").exits(75).says(&["max_duration"]);
    assert!(
        Regex::new("asks for a pause of [0-9,]+ s, until [0-9-]+T[0-9:]+Z[.] ").unwrap().is_match(&run.stderr),
        "{run}"
    );
    run.report().has(&[("/undelivered", 10), ("/requests", 2)]);
}

#[test]
fn a_failure_that_names_a_time_is_tried_again_then() {
    let server = Scripted::for_members(|seen| match seen.number {
        1 => Act::answer("503 Service Unavailable", "text/plain", "Retry-After: 1\r\nConnection: close\r\n", ""),
        _ => Act::success(),
    });
    let run = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(10)).arg("--json").exits(0);
    run.report().has(&[("/delivered", 10), ("/retries", 1)]);
    assert!(gap_before(&server.seen(), 2) >= PAUSE, "{:?}", gap_before(&server.seen(), 2));
}

/// The rest of a limit near 2^64, in an hour that has just begun.
#[rstest]
#[case::ten(10)]
#[case::a_thousand(1_000)]
fn a_limit_that_makes_no_sense_is_no_hint(#[case] then: u64) {
    let server = Scripted::start(move |seen| {
        let remaining = if seen.number == 0 { u64::MAX } else { then };
        let headers = format!(
            "Date: {}\r\nX-RateLimit-Limit: {}\r\nX-RateLimit-Remaining: {remaining}\r\nX-RateLimit-Reset: {}\r\nConnection: close\r\n",
            date(WRONG_NOW),
            u64::MAX,
            WRONG_NOW + 3600,
        );
        Act::answer("201 Created", "application/json", &headers, r#"{"message": "success"}"#)
    });
    let run = Run::upload().set("endpoint", server.endpoint()).set("max_duration", "1m").rows(user_ids(30_000));
    run.arg("--json").exits(0).report().has(&[("/delivered", 30_000), ("/requests", 31), ("/retries", 0)]);
}

/// The sandbox sends the rest of its limit in headers, like Braze.
#[test]
fn what_is_left_of_the_limit_is_not_exceeded() {
    let braze = braze_with(|options| options.rate_limit = Some("8/2".parse().unwrap()));
    let run = Run::upload().to(&braze).rows(user_ids(15_000)).arg("--json").exits(0);
    run.report().has(&[("/delivered", 15_000), ("/requests", 16), ("/retries", 0)]);
    assert_eq!(braze.cohort("vip").unwrap().members, 15_000);
}

#[test]
fn a_locked_cohort_is_asked_by_one_call_at_a_time_until_one_succeeds() {
    let server = Scripted::for_members(|seen| match seen.number {
        1..=2 => Act::message("423 Locked", "Resource locked"),
        _ => Act::Later(Duration::from_millis(100), Box::new(Act::success())),
    });
    let run = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(8_000)).arg("--json").exits(0);
    run.report().has(&[("/delivered", 8_000), ("/undelivered", 0)]);
    let seen = server.seen();
    // Those that were under way when the first was refused are let be; the next one comes a second later, and alone.
    let alone =
        seen.iter().position(|request| request.arrived >= seen[1].arrived + PAUSE).expect("no request waited a second");
    assert!(alone <= 5, "{alone} requests before the lock was heeded");
    assert!(gap_before(&seen, alone + 1) >= Duration::from_millis(100), "another one came while it was under way");
}

/// Refuses every batch that holds one of these.
fn refusing(poison: impl Fn(usize) -> bool + Send + Sync + 'static) -> Scripted {
    Scripted::for_members(move |seen| {
        let numbers = seen.user_ids().into_iter().map(|id| id[1..].parse().unwrap());
        if numbers.into_iter().any(&poison) {
            Act::message("400 Bad Request", "user_ids must be an array of strings")
        } else {
            Act::success()
        }
    })
}

#[rstest]
#[case::the_first(&[0])]
#[case::the_last(&[999])]
#[case::three(&[1, 500, 501])]
#[case::ten(&[7, 107, 207, 307, 407, 507, 607, 707, 807, 907])]
fn each_poison_identifier_costs_at_most_twenty_requests_and_no_other_is_lost(#[case] poison: &'static [usize]) {
    let server = refusing(move |number| poison.contains(&number));
    let run = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(1_000)).arg("--json").exits(5);
    let (refused, delivered) = (poison.len() as u64, 1_000 - poison.len() as u64);
    run.report().has(&[("/delivered", delivered), ("/refused", refused), ("/undelivered", 0)]);
    let accepted: BTreeSet<_> = server.accepted_user_ids().into_iter().collect();
    assert_eq!(accepted.len() as u64, delivered);
    let extra = server.seen().len() - 2;
    assert!(extra <= 20 * poison.len(), "{extra} extra requests");
}

#[rstest]
#[case::fewer("1", 5)]
#[case::as_many("2", 0)]
fn at_most_max_refused_identifiers_may_be_refused(#[case] limit: &str, #[case] status: i32) {
    let server = refusing(|number| number == 7 || number == 707);
    let run = Run::upload().set("endpoint", server.endpoint()).set("max_refused", limit);
    let run = run.rows(user_ids(1_000)).arg("--json").exits(status);
    run.report().has(&[("/delivered", 998), ("/refused", 2), ("/undelivered", 0)]);
    assert_eq!(run.stderr.contains("which max_refused (2) allows"), status == 0, "{}", run.stderr);
}

#[test]
fn a_batch_of_poison_costs_at_most_two_hundred_requests_and_the_rest_of_it_is_undelivered() {
    let server = refusing(|number| number < 1_000 && number % 3 == 0);
    let run = Run::upload().set("endpoint", server.endpoint()).set("failed_file", "failed.csv");
    let run = run.rows(user_ids(2_000)).arg("--json").exits(75);
    let report = run.report();
    let (refused, undelivered) = (report.number("/refused"), report.number("/undelivered"));
    assert!(refused > 0 && undelivered > 0, "{refused} refused, {undelivered} undelivered");
    assert_eq!(report.number("/delivered"), server.accepted_user_ids().len() as u64);
    let requests = server.seen().len();
    assert!(requests <= 3 + 200, "{requests} requests");
    let kept = std::fs::read_to_string(run.path().join("failed.csv")).unwrap().lines().count() as u64 - 1;
    assert_eq!(kept, refused + undelivered);
}

#[rstest]
#[case("cohort_id must be a valid string")]
#[case("name must be a non-empty string")]
#[case("created_at must be ISO-8601")]
fn a_cohort_that_braze_refuses_ends_the_run_before_any_identifier(#[case] message: &'static str) {
    let server = Scripted::start(move |_| Act::message("400 Bad Request", message));
    let run = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(10)).arg("--json").exits(5);
    run.says(&[message]).report().has(&[("/requests", 1)]);
    assert!(!server.seen().iter().any(Seen::has_members));
}

#[rstest]
#[case::about_an_alias("alias_name must be a string")]
#[case::with_words_of_the_cohort("invalid identifier partner-7 in cohort_id")]
fn a_message_that_sounds_like_the_cohort_is_about_the_changes(#[case] message: &'static str) {
    let server = Scripted::for_members(move |seen| {
        let is_bad = seen.user_ids().contains(&"u617".to_owned());
        if is_bad { Act::message("400 Bad Request", message) } else { Act::success() }
    });
    let run = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(3_000)).arg("--json").exits(5);
    run.report().has(&[("/delivered", 2_999), ("/refused", 1), ("/undelivered", 0)]);
}

#[test]
fn pauses_without_end_are_an_outage() {
    let server = Scripted::for_members(|_| limited("Retry-After: 1\r\n"));
    let run = Run::upload().set("endpoint", server.endpoint()).set("max_outage", "2s").rows(user_ids(10));
    run.arg("--json").exits(75).says(&["no request to"]).report().has(&[("/undelivered", 10)]);
}
