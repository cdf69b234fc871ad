//! A run that was killed is not sent again from the start.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rstest::rstest;
use td_braze_cohort::sandbox::Sandbox;
use tempfile::TempDir;

use crate::scripted::{Act, Scripted};
use crate::support::{Outcome, Run, braze, braze_with, user_ids, wait_while_running};

const IDENTIFIERS: usize = 20_500;

/// Kept beside the input, with a file of failures, which a killed run leaves half written.
fn run(braze: &Sandbox, session: &str, directory: TempDir) -> Run {
    let run = Run::upload().inside(directory).to(braze).set("thread_count", "2").set("checkpoint", "checkpoint");
    run.set("failed_file", "failed.csv").rows(user_ids(IDENTIFIERS)).env("session_uuid", session).arg("--json")
}

/// A run that is killed once so many more requests were heard, the first call among them.
fn killed_after(braze: &Sandbox, requests: u64, run: Run) -> TempDir {
    let heard = || braze.stats().naming_requests + braze.stats().users_requests;
    let before = heard();
    let (mut child, directory) = run.spawn();
    wait_while_running(&mut child, "it was killed", || heard() >= before + requests);
    child.kill().unwrap();
    child.wait().unwrap();
    directory
}

/// The same run again, in the same place, to its end.
#[track_caller]
fn again(braze: &Sandbox, directory: TempDir, session: &str) -> Outcome {
    run(braze, session, directory).exits(0)
}

fn new_directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn files(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

#[test]
fn a_killed_run_is_taken_up_and_only_what_was_in_flight_is_sent_again() {
    let braze = braze_with(|options| options.latency = Duration::from_millis(30));
    let directory = killed_after(&braze, 7, run(&braze, "s1", new_directory()));
    let account = again(&braze, directory, "s1").account();
    let before = account.number("/delivered_before");
    assert!(before >= 2000, "{before}");
    account.has(&[("/delivered", IDENTIFIERS as u64), ("/undelivered", 0)]);
    assert_eq!(braze.cohort("vip").unwrap().members, IDENTIFIERS);
    let sent = braze.stats().identifiers_added;
    assert!(sent <= IDENTIFIERS as u64 + 2 * 1000, "{sent} were sent: more than was in flight");
}

#[rstest]
#[case::at_the_first_call(&[1, 1])]
#[case::at_the_first_batches(&[2, 3, 2])]
#[case::at_many_moments(&[4, 1, 5, 2, 7])]
#[case::near_the_end(&[21])]
fn a_run_that_is_killed_again_and_again_delivers_everything(#[case] kills: &[u64]) {
    let braze = braze_with(|options| options.latency = Duration::from_millis(20));
    let mut directory = new_directory();
    for requests in kills {
        directory = killed_after(&braze, *requests, run(&braze, "s1", directory));
    }
    let ended = again(&braze, directory, "s1");
    ended.account().has(&[("/delivered", IDENTIFIERS as u64), ("/undelivered", 0)]);
    let mut expected: Vec<_> = (0..IDENTIFIERS).map(|number| format!("u{number}")).collect();
    expected.sort();
    let mut held = braze.cohort("vip").unwrap().user_ids;
    held.sort();
    assert!(held == expected, "{} members of {}", held.len(), expected.len());
    let (sent, at_most) = (braze.stats().identifiers_added, IDENTIFIERS + kills.len() * 2 * 1000);
    assert!(sent <= at_most as u64, "{sent} were sent: more than was in flight at each kill");
    assert_eq!(files(ended.path()), 2, "neither a checkpoint nor a half-written file is left");
}

#[test]
fn a_line_torn_by_a_kill_is_sent_again_and_no_other() {
    let braze = braze_with(|options| options.latency = Duration::from_millis(20));
    let directory = killed_after(&braze, 8, run(&braze, "s1", new_directory()));
    let path = directory.path().join("checkpoint");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, &text[..text.len() - 7]).unwrap();
    let whole = text.lines().count() as u64 - 2;
    let ended = again(&braze, directory, "s1").says(&["torn"]);
    ended.account().has(&[("/delivered", IDENTIFIERS as u64), ("/delivered_before", whole * 1000)]);
    assert_eq!(braze.cohort("vip").unwrap().members, IDENTIFIERS);
}

#[test]
fn another_session_starts_from_zero() {
    let braze = braze_with(|options| options.latency = Duration::from_millis(30));
    let directory = killed_after(&braze, 7, run(&braze, "s1", new_directory()));
    again(&braze, directory, "s2").account().has(&[("/delivered_before", 0)]);
    assert_eq!(braze.cohort("vip").unwrap().members, IDENTIFIERS);
}

#[rstest]
#[case::foreign("foreign\n")]
#[case::another_version("td-braze-cohort checkpoint 1\n0123456789abcdef\n")]
#[case::binary("\u{1f}\u{8b}\u{8}\0")]
fn what_is_no_checkpoint_of_this_version_is_ignored_with_a_warning(#[case] text: &str) {
    let braze = braze();
    let run = Run::upload().to(&braze).set("checkpoint", "checkpoint").file("checkpoint", text);
    let run = run.rows(user_ids(1500)).arg("--json").exits(0).says(&["no checkpoint of this version"]);
    run.account().has(&[("/delivered", 1500), ("/delivered_before", 0)]);
    assert!(!run.path().join("checkpoint").exists());
}

#[test]
fn a_second_run_with_the_same_checkpoint_ends_at_once() {
    let server = Scripted::for_members(|_| Act::Silence);
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("checkpoint");
    let run = || {
        let run = Run::upload().set("endpoint", server.endpoint()).set("thread_count", "1");
        run.set("checkpoint", checkpoint.to_str().unwrap()).set("failed_file", "failed.csv").rows(user_ids(1))
    };
    let (mut first, _directory) = run().spawn();
    wait_while_running(&mut first, "its request arrived", || server.seen().len() >= 2);
    let words = ["the checkpoint", checkpoint.to_str().unwrap(), "in use by another run", "let that one end"];
    let second = run().exits(75).says(&words);
    assert_eq!(files(second.path()), 2, "it left a file");
    assert_eq!(server.seen().len(), 2, "it sent something");
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(checkpoint.exists());
}
