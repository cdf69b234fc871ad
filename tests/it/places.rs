//! The files that a run has to write: nothing of another's is damaged, and a place that cannot take them is said in time.

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rstest::rstest;
use serde_json::json;

use crate::scripted::{Act, Scripted};
use crate::support::{Run, assert_untouched, braze, braze_with, user_ids};

const FAILED_BEFORE: &str = "user_ids,device_ids,reason\r\nu1,,refused: earlier\r\n";
/// Writes fail from here on instead of killing the process; sizes are in blocks of 512 bytes.
const FULL_AFTER_ONE_BLOCK: &str = r#"trap "" XFSZ; ulimit -f 1; exec "$0" "$@""#;
const FULL: &str = r#"trap "" XFSZ; ulimit -f 0; exec "$0" "$@""#;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.collect();
    names.sort();
    names
}

#[rstest]
fn what_is_no_regular_file_is_refused_and_stays(
    #[values("failed_file", "checkpoint")] key: &str,
    #[values("pipe", "link")] path: &str,
) {
    let braze = braze();
    let folder = tempfile::tempdir().unwrap();
    // A pipe stands for all devices: where this fails, the machine keeps its /dev/null.
    assert!(Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap().success());
    symlink("pipe", folder.path().join("link")).unwrap();
    let run = Run::upload().inside(folder).to(&braze).set(key, path).rows(user_ids(1)).exits(73);
    let run = run.says(&[key.split('_').next().unwrap(), path, "no regular file"]);
    assert!(fs::symlink_metadata(run.path().join("pipe")).unwrap().file_type().is_fifo());
    assert!(run.path().join("link").is_symlink());
    assert_eq!(names(run.path()), ["cohort.yml", "link", "members.csv", "pipe"]);
    assert_untouched(&braze);
}

#[rstest]
fn a_place_that_cannot_be_written_is_found_out_before_the_first_request(
    #[values("failed_file", "checkpoint")] key: &str,
    #[values("members.csv/x", "/proc/nothing", "no/such/folder/x", ".")] path: &str,
) {
    let braze = braze();
    let run = Run::upload().to(&braze).set(key, path).rows(user_ids(1)).exits(73);
    let run = run.says(&[key.split('_').next().unwrap(), path, "cannot be written"]);
    assert_eq!(names(run.path()), ["cohort.yml", "members.csv"]);
    assert_untouched(&braze);
}

#[rstest]
#[case("failed_file")]
#[case("checkpoint")]
fn a_full_disk_is_found_out_before_the_first_request(#[case] key: &str) {
    let braze = braze();
    let run = Run::upload().to(&braze).set(key, "file").rows(user_ids(1)).in_shell(FULL).exits(73);
    run.says(&["cannot be written", "File too large"]);
    assert_untouched(&braze);
}

#[test]
fn a_disk_that_is_full_for_the_checkpoint_ends_the_run_and_what_flies_is_counted() {
    let braze = braze_with(|options| options.latency = Duration::from_millis(5));
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    let checkpoint = kept.to_str().unwrap();
    let run = || Run::upload().to(&braze).set("thread_count", "2").set("checkpoint", checkpoint);
    let ended = run().rows(user_ids(30_000)).arg("--json").in_shell(FULL_AFTER_ONE_BLOCK).exits(73);
    let account = ended.says(&["checkpoint", "File too large", "no further request was begun"]).account();
    // The first line and fourteen digests.
    assert_eq!(fs::metadata(&kept).unwrap().len(), 29 + 14 * 33, "no half line is left at the end");
    let delivered = braze.cohort("vip").unwrap().members as u64;
    account.has(&[("/delivered", delivered), ("/exit_code", 73), ("/refused", 0)]);
    assert!((15_000..=17_000).contains(&delivered), "{delivered}");

    let again = run().rows(user_ids(30_000)).arg("--json").exits(0);
    again.account().has(&[("/delivered", 30_000), ("/delivered_before", 14_000)]);
    assert!(!kept.exists());
}

#[test]
fn a_disk_that_is_full_for_the_failed_file_ends_the_run_and_leaves_the_earlier_one_whole() {
    let refusal = json!({"message": "success", "errors": ["no"]});
    let server = Scripted::for_members(move |_| Act::json("201 Created", &refusal));
    let run =
        Run::upload().set("endpoint", server.endpoint()).set("thread_count", "2").set("failed_file", "failed.csv");
    let run = run.file("failed.csv", FAILED_BEFORE).rows(user_ids(30_000)).arg("--json");
    let run = run.in_shell(FULL_AFTER_ONE_BLOCK).exits(73);
    let run = run.says(&["failed_file failed.csv", "File too large", "no further request was begun"]);
    let with_members = server.seen().iter().filter(|seen| seen.has_members()).count() as u64;
    // Of 60; what flies when the file is full may end in any order.
    assert!(with_members <= 8, "{with_members} requests: it went on");
    let account = run.account().has(&[("/delivered", 0), ("/exit_code", 73)]);
    assert!(account.number("/refused") <= 4000 && account.number("/refused") >= 1000);
    assert_eq!(names(run.path()), ["cohort.yml", "failed.csv", "members.csv"]);
    assert_eq!(fs::read_to_string(run.path().join("failed.csv")).unwrap(), FAILED_BEFORE);
}

#[test]
fn a_failed_file_that_cannot_be_put_in_its_place_is_told_though_something_else_ended_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let failed = folder.path().join("failed.csv");
    let taken = failed.clone();
    let server = Scripted::start(move |seen| {
        // Somebody else's file appears while the run goes on.
        fs::write(&taken, "somebody's").unwrap();
        if seen.has_members() { Act::message("401 Unauthorized", "Invalid client secret") } else { Act::success() }
    });
    let run = Run::upload().set("endpoint", server.endpoint()).set("failed_file", failed.to_str().unwrap());
    let run = run.rows(user_ids(10)).arg("--json").exits(4).says(&["not overwritten", "kept nowhere"]);
    run.account().has(&[("/delivered", 0), ("/undelivered", 10)]);
    assert_eq!(fs::read_to_string(&failed).unwrap(), "somebody's");
    assert_eq!(names(folder.path()), ["failed.csv"]);
}

#[test]
fn a_checkpoint_that_cannot_be_removed_does_not_hide_the_account() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("in/checkpoint");
    fs::create_dir(folder.path().join("in")).unwrap();
    let (inside, moved) = (folder.path().join("in"), folder.path().join("moved"));
    // Its folder becomes a file while the run goes on.
    let server = Scripted::start(move |_| {
        if fs::rename(&inside, &moved).is_ok() {
            fs::write(&inside, "").unwrap();
        }
        Act::success()
    });
    let run = Run::upload().set("endpoint", server.endpoint()).set("checkpoint", checkpoint.to_str().unwrap());
    let run = run.rows(user_ids(10)).arg("--json").exits(73).says(&["everything was delivered", "cannot be removed"]);
    run.account().has(&[("/delivered", 10), ("/exit_code", 73)]);
}

#[test]
fn a_link_stays_and_what_it_leads_to_is_written() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("kept")).unwrap();
    symlink("kept/failed.csv", folder.path().join("failed.csv")).unwrap();
    let server = Scripted::for_members(|_| Act::message("400 Bad Request", "no"));
    let run = Run::upload().inside(folder).set("endpoint", server.endpoint()).set("failed_file", "failed.csv");
    let run = run.rows(user_ids(1)).exits(5);
    assert!(run.path().join("failed.csv").is_symlink());
    assert!(fs::read_to_string(run.path().join("kept/failed.csv")).unwrap().contains("u0,,refused"));
}

#[test]
fn a_checkpoint_that_is_somebody_elses_file_is_put_aside_whole() {
    let braze = braze();
    let run = Run::upload().to(&braze).set("checkpoint", "queries.sql").file("queries.sql", "SELECT 1");
    let run = run.rows(user_ids(1)).exits(0).says(&["queries.sql is no checkpoint", "queries.sql.foreign"]);
    assert_eq!(fs::read_to_string(run.path().join("queries.sql.foreign")).unwrap(), "SELECT 1");
    assert_eq!(names(run.path()), ["cohort.yml", "members.csv", "queries.sql.foreign"]);
}

#[rstest]
#[case::input("checkpoint", "by-link/members.csv", "input")]
#[case::not_there_yet("failed_file", "by-link/kept", "checkpoint")]
fn one_file_in_two_places_is_refused_also_through_links(#[case] key: &str, #[case] path: &str, #[case] other: &str) {
    let braze = braze();
    let folder = tempfile::tempdir().unwrap();
    symlink(".", folder.path().join("by-link")).unwrap();
    let run = Run::upload().inside(folder).to(&braze).set("checkpoint", "kept").set(key, path).rows(user_ids(1));
    let run = run.exits(2).says(&["same file", key, other]);
    assert_eq!(fs::read_to_string(run.path().join("members.csv")).unwrap(), user_ids(1));
    assert_untouched(&braze);
}
