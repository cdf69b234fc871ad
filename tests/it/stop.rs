//! A run that is asked to stop says what it did.

use std::io::Write;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::account::Account;
use crate::support::{Run, braze, braze_with, terminate, user_ids};

#[test]
fn a_run_that_is_terminated_accounts_for_what_it_did() {
    let braze = braze_with(|options| options.latency = Duration::from_millis(200));
    let run = Run::upload().to(&braze).set("thread_count", "1").rows(user_ids(20_000)).arg("--json");
    let (mut child, _directory) = run.spawn();
    while braze.stats().users_requests < 2 {
        assert_eq!(child.try_wait().unwrap(), None, "it ended before it was asked to");
        thread::yield_now();
    }
    terminate(&child);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(143), "{stderr}");

    let account = Account::read(&String::from_utf8(output.stdout).unwrap());
    assert_eq!((account.text("/outcome"), &account.0["input_read_to_end"]), ("incomplete", &false.into()));
    let stats = braze.stats();
    assert!(stats.users_requests <= 3, "it went on: {stats:?}");
    account.has(&[("/delivered", stats.identifiers_added), ("/refused", 0), ("/exit_code", 143)]);
    assert_eq!(braze.cohort("vip").unwrap().members as u64, stats.identifiers_added);
}

#[test]
fn a_run_that_waits_for_standard_input_ends_when_it_is_terminated() {
    let braze = braze();
    let run = Run::upload().to(&braze).set("input", "\"-\"").arg("--json");
    let (mut child, _directory) = run.spawn_with(Stdio::piped());
    let mut open = child.stdin.take().unwrap();
    open.write_all(b"user_ids\nu1\n").unwrap();
    while braze.stats().naming_requests < 1 {
        assert_eq!(child.try_wait().unwrap(), None, "it ended before it was asked to");
        thread::yield_now();
    }
    terminate(&child);
    // Those in flight get 10 s; nothing else is worth waiting for.
    let deadline = Instant::now() + Duration::from_secs(15);
    while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
        thread::yield_now();
    }
    let ended = child.try_wait().unwrap();
    child.kill().ok();
    let output = child.wait_with_output().unwrap();
    assert_eq!(ended.and_then(|status| status.code()), Some(143), "None: it still waited for standard input");
    Account::read(&String::from_utf8(output.stdout).unwrap()).has(&[("/exit_code", 143)]);
    drop(open);
}
