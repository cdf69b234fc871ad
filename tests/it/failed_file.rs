//! Identifiers that were not delivered are written to a file that the next upload can read.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use rstest::rstest;

use crate::report::Report;
use crate::scripted::{Act, Scripted, Seen};
use crate::support::{Run, assert_untouched, braze, braze_with, terminate, user_ids};

/// The identifiers in the first column that has one, line by line.
fn identifiers(text: &str) -> Vec<String> {
    csv::Reader::from_reader(text.as_bytes())
        .records()
        .map(|record| record.unwrap().iter().find(|cell| !cell.is_empty()).unwrap().to_owned())
        .collect()
}

#[test]
fn refused_identifiers_are_kept_with_their_reason_and_uploaded_as_they_are() {
    let poisoned = |seen: &Seen| seen.user_ids().iter().any(|id| id == "u617" || id == "u1300");
    let server = Scripted::start(move |seen| {
        if poisoned(seen) {
            Act::message("400 Bad Request", "user_ids must be an array of strings")
        } else {
            Act::success()
        }
    });
    let run = Run::upload().set("endpoint", server.endpoint()).set("failed_file", "failed.csv");
    let run = run.rows(user_ids(2000)).arg("--json").exits(5);
    run.report().has(&[("/delivered", 1998), ("/refused", 2), ("/undelivered", 0)]);
    let path = run.path().join("failed.csv");
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(identifiers(&text).into_iter().collect::<BTreeSet<_>>(), ["u617", "u1300"].map(str::to_owned).into());
    assert!(text.contains("refused: status 400: user_ids must be an array of strings"), "{text}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let braze = braze();
    Run::upload().to(&braze).rows(text).arg("--json").exits(0).report().has(&[("/delivered", 2)]);
    assert_eq!(braze.cohort("vip").unwrap().user_ids, ["u1300", "u617"]);
}

#[test]
fn a_terminated_run_keeps_every_identifier_that_it_read_and_did_not_deliver() {
    let braze = braze_with(|options| options.latency = Duration::from_millis(100));
    let run = Run::upload().to(&braze).set("thread_count", "2").set("failed_file", "failed.csv");
    let (mut child, directory) = run.rows(user_ids(20_500)).arg("--json").spawn();
    while braze.stats().users_requests < 4 {
        assert_eq!(child.try_wait().unwrap(), None, "it ended before it was asked to");
        thread::yield_now();
    }
    terminate(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143));
    let report = Report::read(&String::from_utf8(output.stdout).unwrap());
    let failed = identifiers(&fs::read_to_string(directory.path().join("failed.csv")).unwrap());
    assert_eq!(failed.len() as u64, report.number("/undelivered"));
    let delivered = braze.cohort("vip").unwrap().user_ids;
    let all: BTreeSet<_> = failed.iter().chain(&delivered).cloned().collect();
    assert_eq!(all.len() as u64, report.number("/identifiers/total"), "nothing twice, nothing missing");
}

#[rstest]
#[case::one_operation("user_ids\ngone-zqx\n", "another run has changed this cohort since")]
#[case::both_operations("user_ids,change\ngone-zqx,remove\nnew-zqx,add\n", "could undo later runs")]
fn it_is_said_whether_the_file_may_be_uploaded_as_it_is(#[case] rows: &str, #[case] words: &str) {
    let refusing = Scripted::for_members(|_| Act::message("400 Bad Request", "not valid"));
    let run = Run::upload().set("endpoint", refusing.endpoint()).set("failed_file", "failed.csv").rows(rows);
    let run = if rows.contains("change") { run.unset("operation").set("operation_column", "change") } else { run };
    run.exits(5).says(&["identifiers that were not delivered are in failed.csv", words]);
}

#[test]
fn a_bad_end_of_the_input_keeps_what_was_read_before_it() {
    let braze = braze();
    let run = Run::upload().to(&braze).set("failed_file", "failed.csv");
    let run = run.rows("user_ids\r\nu1\r\nu2\r\n\"u3\r\n").arg("--json").exits(3);
    run.report().has(&[("/undelivered", 2)]);
    assert_eq!(identifiers(&fs::read_to_string(run.path().join("failed.csv")).unwrap()), ["u1", "u2"]);
}

#[test]
fn a_run_that_delivers_everything_leaves_no_file() {
    let braze = braze();
    let run = Run::upload().to(&braze).set("failed_file", "failed.csv").rows(user_ids(10));
    let run = run.file("failed.csv", "user_ids,device_ids,reason\r\nu1,,refused: earlier\r\n").exits(0);
    assert!(!run.path().join("failed.csv").exists());
}

#[rstest]
#[case::nothing_valid("user_ids\n1.0\n")]
#[case::a_cut_off_quote("user_ids\n\"u1\n")]
fn a_run_that_fails_before_it_sends_anything_leaves_the_file_of_an_earlier_one(#[case] rows: &str) {
    const EARLIER: &str = "user_ids,device_ids,reason\r\nu1,,refused: earlier\r\n";
    let run = Run::upload().to(&braze()).set("failed_file", "failed.csv").rows(rows).file("failed.csv", EARLIER);
    assert_eq!(fs::read_to_string(run.exits(3).path().join("failed.csv")).unwrap(), EARLIER);
}

#[test]
fn a_name_with_the_ending_of_another_format_is_refused() {
    let braze = braze();
    Run::upload().to(&braze).set("failed_file", "failed.tsv").rows(user_ids(1)).exits(73).says(&["it is CSV"]);
    assert_untouched(&braze);
}

#[test]
fn a_place_that_cannot_be_written_is_found_out_before_the_first_request() {
    let braze = braze();
    let run = Run::upload().to(&braze).set("failed_file", "no/such/folder/failed.csv").rows(user_ids(10));
    run.exits(73).says(&["failed_file", "no/such/folder/failed.csv"]);
    assert_untouched(&braze);
}

#[test]
fn the_input_is_never_written_over() {
    let braze = braze();
    for file in ["members.csv", "./members.csv"] {
        let run = Run::upload().to(&braze).set("failed_file", file).rows(user_ids(10)).exits(2).says(&["same file"]);
        assert_eq!(fs::read_to_string(run.path().join("members.csv")).unwrap(), user_ids(10));
    }
    let run =
        Run::upload().to(&braze).set("failed_file", "queries.sql").file("queries.sql", "SELECT 1").rows("user_ids\n");
    let run = run.exits(73).says(&["not overwritten"]);
    assert_eq!(fs::read_to_string(run.path().join("queries.sql")).unwrap(), "SELECT 1");
    assert_untouched(&braze);
}
