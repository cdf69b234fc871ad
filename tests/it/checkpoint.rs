//! A run that was killed is not sent again from the start.

use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use td_braze_cohort::sandbox::Sandbox;
use tempfile::TempDir;

use crate::account::Account;
use crate::support::{PARTNER_KEY, Run, SECRET, assert_untouched, braze, braze_with, user_ids};

const IDENTIFIERS: usize = 20_500;

/// A run on its way: two requests at once, killed once this many requests with members were heard.
fn killed_after(braze: &Sandbox, requests: u64, session: &str) -> TempDir {
    let run = Run::upload().to(braze).set("thread_count", "2").set("checkpoint", "checkpoint");
    let (mut child, directory) = run.rows(user_ids(IDENTIFIERS)).env("session_uuid", session).spawn();
    while braze.stats().users_requests < requests {
        assert_eq!(child.try_wait().unwrap(), None, "it ended before it was killed");
        thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    directory
}

/// The same run again, in the same place.
fn again(directory: &TempDir, session: &str) -> Account {
    let output = Command::new(env!("CARGO_BIN_EXE_td-braze-cohort"))
        .args(["upload", "cohort.yml", "--json"])
        .current_dir(directory.path())
        .env_clear()
        .envs([("BRAZE_CLIENT_SECRET", SECRET)])
        .envs([("BRAZE_PARTNER_API_KEY", PARTNER_KEY), ("session_uuid", session)])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    Account::of(serde_json::from_slice::<Value>(&output.stdout).unwrap())
}

#[test]
fn a_killed_run_is_taken_up_and_only_what_was_in_flight_is_sent_again() {
    let braze = braze_with(|options| options.latency = Duration::from_millis(30));
    let directory = killed_after(&braze, 6, "s1");
    let account = again(&directory, "s1");
    let before = account.number("/delivered_before");
    assert!(before >= 2000, "{before}");
    account.has(&[("/delivered", IDENTIFIERS as u64), ("/undelivered", 0)]);
    assert_eq!(braze.cohort("vip").unwrap().members, IDENTIFIERS);
    let sent = braze.stats().identifiers_added;
    assert!(sent <= IDENTIFIERS as u64 + 2 * 1000, "{sent} were sent: more than was in flight");
    assert!(!directory.path().join("checkpoint").exists(), "everything is delivered");
}

#[test]
fn another_session_starts_from_zero() {
    let braze = braze_with(|options| options.latency = Duration::from_millis(30));
    let directory = killed_after(&braze, 6, "s1");
    assert_eq!(again(&directory, "s2").number("/delivered_before"), 0);
    assert_eq!(braze.cohort("vip").unwrap().members, IDENTIFIERS);
}

#[test]
fn a_place_that_cannot_be_written_is_found_out_before_the_first_request() {
    let braze = braze();
    let run = Run::upload().to(&braze).set("checkpoint", "no/such/folder/checkpoint").rows(user_ids(1)).exits(73);
    run.says(&["checkpoint", "no/such/folder"]);
    assert_untouched(&braze);
}

#[test]
fn a_file_that_is_no_checkpoint_is_started_anew_with_a_warning() {
    let braze = braze();
    let run = Run::upload().to(&braze).set("checkpoint", "checkpoint").file("checkpoint", "foreign\n");
    let run = run.rows(user_ids(1500)).arg("--json").exits(0).says(&["no checkpoint of this version"]);
    run.account().has(&[("/delivered", 1500), ("/delivered_before", 0)]);
}

#[test]
fn a_second_run_with_the_same_checkpoint_ends_at_once() {
    let braze = braze();
    let run = Run::upload().to(&braze).set("checkpoint", "checkpoint").file("checkpoint", "").rows(user_ids(1));
    let held = tempfile::NamedTempFile::new().unwrap();
    held.as_file().lock().unwrap();
    let run = run.unset("checkpoint").set("checkpoint", held.path().to_str().unwrap());
    run.exits(75).says(&["in use by another run"]);
    assert_untouched(&braze);
}
