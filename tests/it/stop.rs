//! A run that is asked to stop begins no more requests, counts those in flight, and reports what it did.

use std::fs;
use std::io::{self, Read, Write};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rstest::rstest;
use td_braze_cohort::commands::outcome::{Api, Stop};
use td_braze_cohort::delivery::failed_file::Failures;
use td_braze_cohort::delivery::{self, Shared};
use td_braze_cohort::http::{Answer, HttpError, Post};
use td_braze_cohort::input::MaxRejected;
use td_braze_cohort::input::columns::Names;
use td_braze_cohort::input::formats::format::FormatHint;
use td_braze_cohort::input::reader::{Limits, Pass, Reader};
use td_braze_cohort::input::source::Sources;
use td_braze_cohort::members::operation::Operation;
use td_braze_cohort::retry::{self, Monotonic, RateLimiter};
use tempfile::TempDir;

use crate::report::Report;
use crate::rig;
use crate::scripted::{Act, Scripted};
use crate::support::{Run, assert_untouched, braze, braze_with, ends, signal, terminate, user_ids, wait_while_running};

/// Far beyond "at once" on a busy machine, and far below every deadline and pause of a run.
const AT_ONCE: Duration = Duration::from_secs(8);

/// Standard error is written to a file, which can be read during the run.
const WITH_LOG: &str = r#"exec "$0" "$@" 2>log"#;

fn log_of(directory: &TempDir) -> String {
    fs::read_to_string(directory.path().join("log")).unwrap_or_default()
}

fn half_written(directory: &TempDir) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".failed_file.")).collect()
}

/// A run of which this many requests with members are in flight, and never answered.
fn hanging(requests: usize) -> (Scripted, Child, TempDir) {
    let server = Scripted::for_members(|_| Act::Silence);
    let run = Run::upload().set("endpoint", server.endpoint()).set("thread_count", &requests.to_string());
    let run = run.set("failed_file", "failed.csv").rows(user_ids(20_000)).arg("--json");
    let (mut child, directory) = run.in_shell(WITH_LOG).spawn();
    wait_while_running(&mut child, "its requests arrived", || server.seen().len() > requests);
    (server, child, directory)
}

#[test]
fn a_run_that_is_terminated_reports_what_it_did() {
    let braze = braze_with(|options| options.latency = Duration::from_millis(200));
    let run = Run::upload().to(&braze).set("thread_count", "1").rows(user_ids(20_000)).arg("--json");
    let (mut child, _directory) = run.spawn();
    wait_while_running(&mut child, "it was asked to", || braze.stats().users_requests >= 2);
    terminate(&child);
    let (code, ended) = ends(child);
    assert_eq!(code, Some(143), "{}", ended.stderr);

    let report = Report::read(&ended.stdout);
    assert_eq!((report.text("/outcome"), &report.0["input_read_to_end"]), ("incomplete", &false.into()));
    let stats = braze.stats();
    assert!(stats.users_requests <= 3, "it went on: {stats:?}");
    report.has(&[("/delivered", stats.identifiers_added), ("/refused", 0), ("/exit_code", 143)]);
    assert_eq!(braze.cohort("vip").unwrap().members as u64, stats.identifiers_added);
}

#[rstest]
#[case("TERM", 143)]
#[case("INT", 130)]
fn what_is_in_flight_at_a_signal_is_counted_and_the_rest_is_kept(#[case] name: &str, #[case] code: i32) {
    let answering = Arc::<AtomicBool>::default();
    let from_then_on = Arc::clone(&answering);
    let server = Scripted::start(move |seen| match seen.number {
        0..10 => Act::success(),
        _ => Act::When(Arc::clone(&from_then_on), Box::new(Act::success())),
    });
    let run = Run::upload().set("endpoint", server.endpoint()).set("thread_count", "3");
    let run = run.set("failed_file", "failed.csv").rows(user_ids(200_000)).arg("--json");
    let (mut child, directory) = run.in_shell(WITH_LOG).spawn();
    wait_while_running(&mut child, "three requests were in flight", || server.seen().len() >= 13);
    signal(&child, name);
    wait_while_running(&mut child, "it heard the signal", || {
        log_of(&directory).contains("requests in flight have 10 s")
    });
    answering.store(true, Ordering::SeqCst);
    let (ended_with, ended) = ends(child);
    assert_eq!(ended_with, Some(code), "{}", log_of(&directory));

    assert_eq!(server.seen().len(), 13, "those in flight were the last");
    assert_eq!(server.accepted_user_ids().len(), 12_000, "the first call carries none");
    let expected = [("/delivered", 12_000), ("/exit_code", code.unsigned_abs().into()), ("/requests", 13)];
    let report = Report::read(&ended.stdout).has(&expected);
    let failed = fs::read_to_string(directory.path().join("failed.csv")).unwrap();
    assert_eq!(failed.lines().count() as u64, 1 + report.number("/undelivered"));
    assert!(half_written(&directory).is_empty());
}

#[test]
fn no_request_begins_after_a_signal() {
    // 200 requests, three at once: that goes on for two seconds if it is not stopped.
    let server = Scripted::start(|_| Act::Later(Duration::from_millis(30), Box::new(Act::success())));
    let run = Run::upload().set("endpoint", server.endpoint()).set("thread_count", "3");
    let (mut child, _directory) = run.rows(user_ids(200_000)).arg("--json").spawn();
    wait_while_running(&mut child, "it was asked to", || server.seen().len() >= 10);
    terminate(&child);
    let signalled = Instant::now();
    let (code, ended) = ends(child);
    assert_eq!(code, Some(143), "{}", ended.stderr);
    let latest = server.seen().iter().map(|seen| seen.arrived.saturating_duration_since(signalled)).max().unwrap();
    assert!(latest < Duration::from_millis(500), "a request arrived {latest:?} after the signal");
    let delivered = server.accepted_user_ids().len() as u64;
    Report::read(&ended.stdout).has(&[("/delivered", delivered)]);
}

#[rstest]
#[case(&["TERM", "TERM"], 143)]
#[case(&["INT", "INT"], 130)]
#[case(&["TERM", "INT"], 130)]
fn a_second_signal_ends_it_at_once_though_a_request_hangs(#[case] names: &[&str], #[case] code: i32) {
    let (server, mut child, directory) = hanging(2);
    signal(&child, names[0]);
    wait_while_running(&mut child, "it heard the signal", || {
        log_of(&directory).contains("requests in flight have 10 s")
    });
    assert_eq!(half_written(&directory).len(), 1);
    signal(&child, names[1]);
    let (ended_with, ended) = ends(child);
    assert_eq!(ended_with, Some(code));
    assert!(ended.took < AT_ONCE, "{:?}", ended.took);
    assert_eq!(server.seen().len(), 3);
}

#[rstest]
#[case::at_the_first_call(&[1, 1])]
#[case::at_the_first_batches(&[2, 3, 2])]
#[case::at_many_moments(&[4, 1, 5, 2, 7])]
#[case::near_the_end(&[21])]
fn a_run_that_is_killed_again_and_again_delivers_everything_at_last(#[case] kills: &[u64]) {
    const IDENTIFIERS: usize = 20_500;
    let braze = braze_with(|options| options.latency = Duration::from_millis(20));
    let run = |directory| {
        let run = Run::upload().inside(directory).to(&braze).set("thread_count", "2").rows(user_ids(IDENTIFIERS));
        run.set("failed_file", "failed.csv").arg("--json")
    };
    let heard = || braze.stats().naming_requests + braze.stats().users_requests;
    let mut directory = tempfile::tempdir().unwrap();
    for requests in kills {
        let before = heard();
        let (mut child, kept) = run(directory).spawn();
        wait_while_running(&mut child, "it was killed", || heard() >= before + requests);
        child.kill().unwrap();
        child.wait().unwrap();
        directory = kept;
    }
    let ended = run(directory).exits(0);
    ended.report().has(&[("/delivered", IDENTIFIERS as u64), ("/undelivered", 0)]);
    let mut expected: Vec<_> = (0..IDENTIFIERS).map(|number| format!("u{number}")).collect();
    expected.sort();
    let mut held = braze.cohort("vip").unwrap().user_ids;
    held.sort();
    assert!(held == expected, "{} members of {}", held.len(), expected.len());
    assert!(!ended.path().join("failed.csv").exists());
}

#[rstest]
#[case::pause_of_a_rate_limit("429 Too Many Requests", "Retry-After: 60\r\n")]
#[case::lock("423 Locked", "")]
#[case::backoff("503 Service Unavailable", "")]
fn a_run_that_waits_ends_at_once(#[case] status: &'static str, #[case] headers: &'static str) {
    let server =
        Scripted::for_members(move |_| Act::answer(status, "application/json", headers, r#"{"message":"later"}"#));
    let run = Run::upload().set("endpoint", server.endpoint()).set("thread_count", "2");
    let (mut child, _directory) = run.rows(user_ids(5000)).arg("--json").spawn();
    wait_while_running(&mut child, "it had to wait", || server.seen().len() >= 2);
    terminate(&child);
    let (code, ended) = ends(child);
    assert_eq!(code, Some(143), "{}", ended.stderr);
    assert!(ended.took < AT_ONCE, "{:?}", ended.took);
    Report::read(&ended.stdout).has(&[("/delivered", 0), ("/exit_code", 143)]);
}

#[test]
fn a_run_that_waits_for_standard_input_ends_when_it_is_terminated() {
    let braze = braze();
    let run = Run::upload().to(&braze).set("input", "\"-\"").arg("--json");
    let (mut child, _directory) = run.spawn_with(Stdio::piped());
    let mut open = child.stdin.take().unwrap();
    open.write_all(b"user_ids\nu1\n").unwrap();
    wait_while_running(&mut child, "it was asked to", || braze.stats().naming_requests >= 1);
    terminate(&child);
    let (code, ended) = ends(child);
    assert_eq!(code, Some(143), "it still waited for standard input: {}", ended.stderr);
    assert!(ended.took < AT_ONCE, "{:?}", ended.took);
    Report::read(&ended.stdout).has(&[("/exit_code", 143)]);
    drop(open);
}

#[test]
fn what_standard_input_brought_before_a_signal_is_counted_and_kept() {
    let braze = braze();
    let run = Run::upload().to(&braze).set("input", "\"-\"").set("failed_file", "failed.csv").arg("--json");
    let (mut child, directory) = run.spawn_with(Stdio::piped());
    let mut open = child.stdin.take().unwrap();
    open.write_all(format!("{}cut-zqx", user_ids(1500)).as_bytes()).unwrap();
    wait_while_running(&mut child, "its first batch arrived", || braze.stats().users_requests >= 1);
    terminate(&child);
    let (code, ended) = ends(child);
    assert_eq!(code, Some(143), "{}", ended.stderr);
    assert!(ended.took < AT_ONCE, "{:?}", ended.took);
    Report::read(&ended.stdout).has(&[("/identifiers/total", 1500), ("/delivered", 1000), ("/undelivered", 500)]);
    let kept = fs::read_to_string(directory.path().join("failed.csv")).unwrap();
    assert_eq!(kept.lines().count(), 501);
    assert!(kept.contains("u1499") && !kept.contains("cut-zqx"), "{kept}");
    drop(open);
}

#[rstest]
#[case::signal("23h", 143)]
#[case::end_of_its_time("1s", 75)]
fn a_run_that_waits_for_the_header_can_be_stopped(#[case] max_duration: &str, #[case] code: i32) {
    let braze = braze();
    let run = Run::upload().to(&braze).set("input", "\"-\"").set("max_duration", max_duration).arg("--json");
    let (mut child, directory) = run.in_shell(WITH_LOG).arg("--dry-run").spawn_with(Stdio::piped());
    let mut open = child.stdin.take().unwrap();
    open.write_all(b"user_i").unwrap();
    if code == 143 {
        wait_while_running(&mut child, "it listened", || log_of(&directory).contains("reading the columns of"));
        terminate(&child);
    }
    let (ended_with, ended) = ends(child);
    assert_eq!(ended_with, Some(code), "{}", ended.stderr);
    assert!(ended.took < AT_ONCE, "{:?}", ended.took);
    Report::read(&ended.stdout).has(&[("/identifiers/total", 0), ("/exit_code", u64::try_from(code).unwrap())]);
    drop(open);
}

#[rstest]
#[case::header("", "x", &[])]
#[case::header_in_a_dry_run("", "x", &["--dry-run"])]
#[case::rows_in_a_dry_run("user_ids\n", "u1\n", &["--dry-run"])]
#[case::rows_that_are_judged("user_ids,change\n", "u1,remove\n", &[])]
fn an_input_that_never_ends_can_be_stopped(
    #[case] header: &str,
    #[case] again: &str,
    #[case] flags: &[&str],
    #[values(("23h", 143), ("1s", 75))] (max_duration, code): (&str, i32),
) {
    let braze = braze();
    let run = Run::upload().to(&braze).set("input", "\"-\"").set("format", "csv").set("max_duration", max_duration);
    let run = if header.contains("change") { run.unset("operation").set("operation_column", "change") } else { run };
    let run = flags.iter().fold(run.arg("--json"), |run, flag| run.arg(flag));
    let (mut child, directory) = run.in_shell(WITH_LOG).spawn_with(Stdio::piped());
    let mut open = child.stdin.take().unwrap();
    let (header, again) = (header.to_owned(), again.repeat(1000));
    let writer = thread::spawn(move || {
        let begun = open.write_all(header.as_bytes());
        // Slow, as what is judged is kept on the disk; it ends with the reader.
        while begun.is_ok() && open.write_all(again.as_bytes()).is_ok() {
            thread::sleep(Duration::from_millis(10));
        }
    });
    if code == 143 {
        wait_while_running(&mut child, "it listened", || log_of(&directory).contains("reading the columns of"));
        terminate(&child);
    }
    let (ended_with, ended) = ends(child);
    assert_eq!(ended_with, Some(code), "{}", log_of(&directory));
    assert!(ended.took < AT_ONCE, "{:?}", ended.took);
    Report::read(&ended.stdout).has(&[("/delivered", 0), ("/exit_code", u64::try_from(code).unwrap())]);
    assert_untouched(&braze);
    writer.join().unwrap();
}

/// Bytes that arrive when they are sent. The test notices when the reader is dropped.
struct Late {
    from: mpsc::Receiver<Vec<u8>>,
    rest: Vec<u8>,
    _ended: mpsc::Sender<()>,
}

impl Read for Late {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            self.rest = self.from.recv().unwrap_or_default();
        }
        let count = self.rest.as_slice().read(buffer)?;
        self.rest.drain(..count);
        Ok(count)
    }
}

struct Taking;

impl Post for Taking {
    fn post(&self, _: &str, _: &[u8]) -> Result<Answer, HttpError> {
        let headers =
            [(td_braze_cohort::http::header::CONTENT_LENGTH, td_braze_cohort::http::HeaderValue::from_static("2"))];
        Ok(Answer { status: 201, headers: headers.into_iter().collect(), body: b"{}".to_vec() })
    }

    fn cut(&self) {}
}

#[test]
fn rows_that_come_when_a_stopped_run_is_over_are_not_counted() {
    let ((send, from), (told, ended)) = (mpsc::channel(), mpsc::channel());
    let bytes = Late { from, rest: Vec::new(), _ended: told };
    let sources = Sources::of_bytes("late", FormatHint::default(), Box::new(bytes));
    send.send(user_ids(1000).into_bytes()).unwrap();
    let limits = Limits { expected_rows: None, max_rejected: MaxRejected::Default, batch_size: 1000 };
    let reader = Reader::new(sources, &Names::default(), limits, Pass::Every(Operation::Add)).unwrap();
    let limits = retry::Limits {
        max_outage: Duration::from_mins(15),
        max_requests_per_hour: 250_000,
        max_duration: Duration::from_hours(23),
    };
    let stop_for = Stop::of_limiter(Api::Braze, "braze".to_owned());
    let limiter = Arc::new(RateLimiter::new(limits, Arc::new(Monotonic::default()), stop_for));
    let (shared, failures) = (Arc::new(Shared::new(1)), Arc::new(Failures::none()));
    delivery::run(&rig::plan(1), reader, &Taking, &limiter, &shared, &failures, &mut || {
        if shared.sent().delivered == 1000 {
            limiter.stop(Stop::Terminated);
        }
    });
    send.send("late\n".repeat(2500).into_bytes()).unwrap();
    drop(send);
    ended.recv_timeout(Duration::from_secs(20)).expect_err("it only ends");
    assert_eq!((shared.sent().delivered, shared.input().identifiers()), (1000, 1000));
}
