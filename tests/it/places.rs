//! The files that a run writes. Other files are not damaged, and a path that cannot be written is reported in time.

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;
use std::process::Command;

use rstest::rstest;
use serde_json::json;

use crate::scripted::{Act, Scripted};
use crate::support::{Run, assert_untouched, braze, user_ids};

const FAILED_BEFORE: &str = "user_ids,device_ids,reason\r\nu1,,refused: earlier\r\n";
/// From here on a write fails instead of killing the process. Sizes are in blocks of 512 bytes.
const FULL_AFTER_ONE_BLOCK: &str = r#"trap "" XFSZ; ulimit -f 1; exec "$0" "$@""#;
const FULL: &str = r#"trap "" XFSZ; ulimit -f 0; exec "$0" "$@""#;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.collect();
    names.sort();
    names
}

#[rstest]
fn what_is_no_regular_file_is_refused_and_stays(#[values("pipe", "link")] path: &str) {
    let braze = braze();
    let folder = tempfile::tempdir().unwrap();
    // A pipe instead of a device: if the test fails, the machine keeps its /dev/null.
    assert!(Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap().success());
    symlink("pipe", folder.path().join("link")).unwrap();
    let run = Run::upload().inside(folder).to(&braze).set("failed_file", path).rows(user_ids(1)).exits(73);
    let run = run.says(&["failed_file", path, "not a regular file"]);
    assert!(fs::symlink_metadata(run.path().join("pipe")).unwrap().file_type().is_fifo());
    assert!(run.path().join("link").is_symlink());
    assert_eq!(names(run.path()), ["cohort.yml", "link", "members.csv", "pipe"]);
    assert_untouched(&braze);
}

#[rstest]
fn a_place_that_cannot_be_written_is_found_out_before_the_first_request(
    #[values("members.csv/x", "/proc/nothing", "no/such/folder/x", ".")] path: &str,
) {
    let braze = braze();
    let run = Run::upload().to(&braze).set("failed_file", path).rows(user_ids(1)).exits(73);
    let run = run.says(&["failed_file", path, "cannot be written"]);
    assert_eq!(names(run.path()), ["cohort.yml", "members.csv"]);
    assert_untouched(&braze);
}

#[test]
fn a_full_disk_is_found_out_before_the_first_request() {
    let braze = braze();
    let run = Run::upload().to(&braze).set("failed_file", "file").rows(user_ids(1)).in_shell(FULL).exits(73);
    run.says(&["cannot be written", "File too large"]);
    assert_untouched(&braze);
}

#[test]
fn a_disk_that_is_full_for_the_failed_file_ends_the_run_and_leaves_the_earlier_one_whole() {
    let refusal = json!({"message": "success", "errors": ["no"]});
    let server = Scripted::for_members(move |_| Act::json("201 Created", &refusal));
    let run =
        Run::upload().set("endpoint", server.endpoint()).set("thread_count", "2").set("failed_file", "failed.csv");
    let run = run.file("failed.csv", FAILED_BEFORE).rows(user_ids(30_000)).arg("--json");
    let run = run.in_shell(FULL_AFTER_ONE_BLOCK).exits(73);
    let run = run.says(&["failed_file failed.csv", "File too large", "No further request was sent"]);
    let with_members = server.seen().iter().filter(|seen| seen.has_members()).count() as u64;
    // Of 60. Requests in flight when the file is full may end in any order.
    assert!(with_members <= 8, "{with_members} requests: it went on");
    let report = run.report().has(&[("/delivered", 0), ("/exit_code", 73)]);
    assert!(report.number("/refused") <= 4000 && report.number("/refused") >= 1000);
    assert_eq!(names(run.path()), ["cohort.yml", "failed.csv", "members.csv"]);
    assert_eq!(fs::read_to_string(run.path().join("failed.csv")).unwrap(), FAILED_BEFORE);
}

#[test]
fn a_failed_file_that_cannot_be_put_in_its_place_is_told_though_something_else_ended_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let failed = folder.path().join("failed.csv");
    let taken = failed.clone();
    let server = Scripted::start(move |seen| {
        // Another program's file appears during the run.
        fs::write(&taken, "somebody's").unwrap();
        if seen.has_members() { Act::message("401 Unauthorized", "Invalid client secret") } else { Act::success() }
    });
    let run = Run::upload().set("endpoint", server.endpoint()).set("failed_file", failed.to_str().unwrap());
    let run = run.rows(user_ids(10)).arg("--json").exits(4).says(&["not overwritten", "are not saved"]);
    run.report().has(&[("/delivered", 0), ("/undelivered", 10)]);
    assert_eq!(fs::read_to_string(&failed).unwrap(), "somebody's");
    assert_eq!(names(folder.path()), ["failed.csv"]);
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
fn the_input_is_not_written_over_also_through_links() {
    let braze = braze();
    let folder = tempfile::tempdir().unwrap();
    symlink(".", folder.path().join("by-link")).unwrap();
    let run = Run::upload().inside(folder).to(&braze).set("failed_file", "by-link/members.csv").rows(user_ids(1));
    let run = run.exits(2).says(&["same file", "failed_file", "input"]);
    assert_eq!(fs::read_to_string(run.path().join("members.csv")).unwrap(), user_ids(1));
    assert_untouched(&braze);
}
