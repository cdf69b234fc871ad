//! Several files, read as one.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use rstest::rstest;

use super::gzip;
use crate::report::Report;
use crate::support::{Run, assert_untouched, braze, braze_with, user_ids};

/// The files of one result. Each has the columns in its own order.
fn parts(run: Run) -> Run {
    run.file("part-1.csv", "user_ids,device_ids\nu1,d1\n")
        .file("part-10.csv.gz", gzip(b"x,device_ids,user_ids\n,d3,u3\n"))
        .file("part-2.csv", "device_ids\tuser_ids\nd2\tu2\n")
        .file("other.csv", "user_ids\nother\n")
}

#[rstest]
#[case::pattern("part-*")]
#[case::list("[part-1.csv, \"part-1[0].csv.gz\", part-2.csv]")]
fn files_are_read_as_one_with_their_columns_in_any_order(#[case] input: &str) {
    let braze = braze();
    let run = parts(Run::upload()).to(&braze).set("input", input).set("expected_rows", "3").arg("--json").exits(0);
    run.report().has(&[("/rows_read", 3), ("/rows_used", 3), ("/delivered", 6)]);
    let cohort = braze.cohort("vip").unwrap();
    assert_eq!((cohort.user_ids.join(" "), cohort.device_ids.join(" ")), ("u1 u2 u3".into(), "d1 d2 d3".into()));
}

#[test]
fn the_flag_takes_a_pattern() {
    let run = parts(Run::upload()).set("endpoint", "US-01").arg("--input").arg("part-*.csv").arg("--dry-run");
    run.arg("--json").exits(0).report().has(&[("/rows_read", 2)]);
}

#[test]
fn a_file_whose_name_looks_like_a_pattern_is_taken() {
    let braze = braze();
    let run = Run::upload().to(&braze).file("p*.csv", "user_ids\nu1\n").file("p1.csv", "user_ids\nother\n");
    run.set("input", "\"p*.csv\"").exits(0);
    assert_eq!(braze.cohort("vip").unwrap().user_ids, ["u1"]);
}

#[rstest]
#[case::no_match("gone-*.csv", 3, &["gone-*.csv matches no file"])]
#[case::not_there("[part-1.csv, gone.csv]", 3, &["gone.csv does not exist"])]
#[case::a_column_less("[part-1.csv, other.csv]", 3, &["other.csv", "'device_ids'", "part-1.csv"])]
#[case::a_column_more("[other.csv, part-1.csv]", 3, &["part-1.csv", "'device_ids'", "other.csv"])]
#[case::empty("[part-1.csv, empty.csv]", 3, &["empty.csv", "empty"])]
#[case::twice("[part-1.csv, part-*.csv]", 3, &["part-1.csv is named twice"])]
#[case::stdin_among_files("[part-1.csv, \"-\"]", 2, &["standard input"])]
#[case::no_file_at_all("[]", 2, &["empty list"])]
fn what_is_wrong_with_one_of_several_files_is_found_before_any_request(
    #[case] input: &str,
    #[case] code: i32,
    #[case] words: &[&str],
) {
    let braze = braze();
    parts(Run::upload()).file("empty.csv", "").to(&braze).set("input", input).exits(code).says(words);
    assert_untouched(&braze);
}

#[test]
fn no_file_that_is_read_may_be_written() {
    let braze = braze();
    for input in ["part-*", "[other.csv, ./part-2.csv]"] {
        let run = parts(Run::upload()).to(&braze).set("input", input).set("failed_file", "part-2.csv").exits(2);
        run.says(&["input", "failed_file", "the same file"]);
    }
    assert_untouched(&braze);
}

#[test]
fn rejections_of_all_files_count_together_and_name_their_file() {
    let run = || {
        let run = Run::upload().set("endpoint", "US-01").arg("--dry-run");
        run.file("a.csv", "user_ids,x\nu1\n")
            .file("b.csv", "user_ids,x\nu1,\n\"a\u{7}\",\nu1\n")
            .set("input", "[a.csv, b.csv]")
    };
    let ended = run().arg("--json").exits(0).says(&["a.csv, line 2: rejected", "b.csv, line 3: a cell is rejected"]);
    ended.report().has(&[("/rows_read", 4), ("/rows_rejected", 3), ("/rows_malformed/cell_count", 2)]);
    run().set("max_rejected", "2").exits(3).says(&["max_rejected"]);
}

#[test]
fn a_file_that_breaks_in_the_middle_is_named() {
    let rows = "user_ids\nu1\nu2\n";
    let whole = gzip(rows.as_bytes());
    let run = Run::upload().set("endpoint", "US-01").arg("--dry-run").set("input", "[a.csv, b.gz]");
    let run = run.file("a.csv", rows).file("b.gz", &whole[..whole.len() - 3]).arg("--json").exits(3);
    run.says(&["b.gz", "the gzip data is cut off"]).report().has(&[("/rows_read", 4)]);
}

#[rstest]
#[case::the_one_that_is_read("a.csv")]
#[case::one_that_is_still_to_be_read("b.csv")]
fn a_file_that_is_modified_while_the_run_goes_on_ends_it(#[case] name: &str) {
    let braze = braze_with(|options| options.latency = Duration::from_millis(50));
    let run = Run::upload().to(&braze).set("thread_count", "1").set("input", "[a.csv, b.csv]").arg("--json");
    let (mut child, directory) = run.file("a.csv", user_ids(20_000)).file("b.csv", user_ids(10)).spawn();
    while braze.stats().users_requests == 0 {
        assert_eq!(child.try_wait().unwrap(), None, "it ended before a file was modified");
        thread::yield_now();
    }
    let path = directory.path().join(name);
    fs::OpenOptions::new().append(true).open(path).unwrap().write_all(b"more\r\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains(&format!("{name} changed while it was read")), "{stderr}");
    assert!(Report::read(&String::from_utf8(output.stdout).unwrap()).number("/delivered") < 20_010);
}

#[test]
fn a_pipe_among_the_files_is_read_when_it_is_its_turn() {
    let run = Run::upload().set("endpoint", "US-01").arg("--dry-run").arg("--json").file("a.csv", "user_ids\nu1\n");
    let (mut child, _directory) = run.set("input", "[a.csv, /dev/stdin]").spawn_with(Stdio::piped());
    child.stdin.take().unwrap().write_all(b"user_ids\nu2\nu3\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    Report::read(&String::from_utf8(output.stdout).unwrap()).has(&[("/rows_read", 3)]);
}
