//! Names, messages and files from outside. They must not act on a terminal, add a line to the log, or show data as a column name.

use std::fs;
use std::io::Write;
use std::process::Command;
use std::thread;

use rstest::rstest;
use serde_json::json;

use crate::scripted::{Act, Scripted, Seen};
use crate::support::{Outcome, Run, assert_untouched, braze, user_ids};
use crate::td::{Reply, Td};

/// ESC, OSC, a line of its own, text turned round, other ends of lines.
const ACTS: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\nerror: forged\r\u{9b}2J\u{202e}\u{2066}\u{2028}\u{2029}";

#[track_caller]
fn is_clean(run: &Outcome) {
    let acts = |letter: &char| {
        (letter.is_control() && *letter != '\n') || "\u{202e}\u{2066}\u{2028}\u{2029}".contains(*letter)
    };
    for text in [&run.stdout, &run.stderr] {
        assert_eq!(text.chars().find(acts), None, "{run}");
        assert!(!text.lines().any(|line| line.starts_with("error: forged")), "{run}");
    }
    assert!([&run.stdout, &run.stderr].iter().any(|text| text.contains("\\u001b")), "what is escaped is shown{run}");
}

/// A near miss of `user_ids`, as far as letters count.
fn near_miss() -> String {
    ["user", "\u{1b}\n\r\u{9b}\u{202e}\u{2066}\u{2028}\u{2029}", "id"].concat()
}

#[rstest]
#[case::name_of_a_file(3, Run::upload().set("input", "'part-*'").file(&format!("part-{ACTS}"), "country\nx\n"))]
#[case::column(3, Run::upload().rows(format!("\"{}\",country\n1,2\n", near_miss())))]
#[case::key(3, Run::upload().rows(json!({near_miss(): 1}).to_string()))]
#[case::settings(2, Run::command(&["upload", &format!("{ACTS}.yml")]))]
#[case::check(0, Run::check().set("input", "'part-*'").file(&format!("part-{ACTS}"), user_ids(1)))]
#[case::log(0, Run::upload().set("input", "'part-*'").file(&format!("part-{ACTS}"), user_ids(1)))]
fn what_others_chose_is_escaped_where_it_is_shown(#[case] code: i32, #[case] run: Run) {
    let braze = braze();
    let run = run.env("BRAZE_ENDPOINT", &braze.endpoint()).exits(code);
    is_clean(&run);
}

#[test]
fn what_a_server_says_is_escaped_in_the_log_and_in_the_tasks_error() {
    let said = json!({ "message": ACTS }).to_string();
    let server = Scripted::start(move |_| Act::answer("400 Bad Request", "application/json", "", &said));
    let settings =
        json!({"cohort_id": "vip", "operation": "add", "input": "members.csv", "endpoint": server.endpoint()});
    let run = Run::operator(&settings).rows(user_ids(1)).exits(5);
    is_clean(&run);
    let message = run.output()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("\\u001b") && !message.contains(char::is_control), "{message}");
}

#[rstest]
#[case::without_header("zqx-one,zqx@example.com\nzqx-two,b@example.com\n".to_owned())]
#[case::keys("{\"zqx@example.com\": 1}\n".to_owned())]
#[case::long(format!("zqx-{}\n", "a".repeat(600_000)))]
#[case::file_of_passwords("zqx-root:x:0:0:root:/root:/bin/bash\n".to_owned())]
#[case::number("zqx-4915112345678,x\n".to_owned())]
fn what_looks_like_data_is_not_shown_as_columns(#[case] rows: String) {
    let braze = braze();
    let run = Run::upload().to(&braze).rows(&rows).exits(3).says(&["like data, so", "'user_ids'"]);
    let run = run.hides(&["zqx-", "zqx@"]);
    assert!(run.stderr.len() < 8192, "{} bytes", run.stderr.len());
    assert_untouched(&braze);
}

#[test]
fn a_schema_of_600_kb_is_told_in_a_few_words() {
    let names: Vec<_> =
        (0..10_000).map(|number| json!([format!("zqx@{number}{}", "x".repeat(50)), "varchar"])).collect();
    let td = Td::start(move |_| {
        Reply::json(&json!({"status": "success", "num_records": 1, "hive_result_schema": json!(names).to_string()}))
    });
    let braze = braze();
    let run = td.feeds(Run::upload().to(&braze)).exits(3).says(&["10000 columns", "not shown"]);
    assert!(!run.stderr.contains("zqx@") && run.stderr.len() < 8192, "{} bytes", run.stderr.len());
    assert_untouched(&braze);
}

/// The second removal is answered when a file has appeared that the pattern matches.
#[test]
fn a_file_that_appears_between_the_passes_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("part-1.csv"), "user_ids,change\nzqx-1,remove\nzqx-2,add\n").unwrap();
    let late = folder.path().join("part-2.csv");
    let server = Scripted::start(move |_| {
        fs::write(&late, "user_ids,change\nzqx-3,remove\nzqx-4,add\n").unwrap();
        Act::success()
    });
    let run = Run::upload().inside(folder).set("input", "'part-*.csv'").set("endpoint", server.endpoint());
    let run = run.unset("operation").set("operation_column", "change").arg("--json").exits(0);
    run.report().has(&[("/rows_read", 2), ("/delivered", 2)]);
    assert_eq!(server.seen().iter().filter(|seen: &&Seen| seen.has_members()).count(), 2);
}

/// The pattern matches a pipe, so the test knows when the input is being judged.
#[test]
fn a_file_that_appears_while_the_input_is_judged_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let (pipe, late) = (folder.path().join("part-1.csv"), folder.path().join("part-2.csv"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let writer = thread::spawn(move || {
        let mut pipe = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
        pipe.write_all(b"user_ids,change\nzqx-1,remove\n").unwrap();
        fs::write(&late, "user_ids,change\nzqx-3,remove\nzqx-4,add\n").unwrap();
        pipe.write_all(b"zqx-2,add\n").unwrap();
    });
    let braze = braze();
    let run = Run::upload().inside(folder).to(&braze).set("input", "'part-*.csv'");
    let run = run.unset("operation").set("operation_column", "change").arg("--json").exits(0);
    run.report().has(&[("/rows_read", 2), ("/delivered", 2)]);
    assert_eq!(braze.cohort("vip").unwrap().user_ids, ["zqx-2"]);
    writer.join().unwrap();
}

#[test]
fn what_a_pipe_held_when_it_was_judged_is_what_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // No reader is left for a second writer: a process that opened the pipe again would wait for one, or read this.
    let writer = thread::spawn(move || {
        fs::write(&pipe, "user_ids,change\nzqx-1,remove\nzqx-2,add\n").unwrap();
    });
    let braze = braze();
    let run = Run::upload().inside(folder).to(&braze).set("input", "pipe").set("format", "csv");
    let run = run.unset("operation").set("operation_column", "change").arg("--json").exits(0);
    run.report().has(&[("/rows_read", 2), ("/delivered", 2)]);
    assert_eq!(braze.cohort("vip").unwrap().user_ids, ["zqx-2"]);
    writer.join().unwrap();
}

/// About 1 GB of address space: a file without an end is not read into memory.
const LITTLE_MEMORY: &str = r#"ulimit -v 1000000; exec "$0" "$@""#;

#[test]
fn files_that_are_read_whole_have_a_limit() {
    let run = Run::upload().set("endpoint", "https://rest.iad-01.braze.com").set("ca_file", "/dev/zero");
    run.rows(user_ids(1)).in_shell(LITTLE_MEMORY).exits(2).says(&["/dev/zero", "8 MiB"]);
    let run = Run::command(&["operator", "runner.py", "/dev/zero", "out.json"]).in_shell(LITTLE_MEMORY).exits(2);
    assert!(run.output()["error"]["message"].as_str().unwrap().contains("16 MiB"), "{run}");
}

#[test]
fn input_and_output_of_the_operator_may_be_one_file() {
    let braze = braze();
    let input = json!({"params": {"braze_cohort": {
        "cohort_id": "vip", "operation": "add", "input": "members.csv", "endpoint": braze.endpoint(),
    }}});
    let run = Run::command(&["operator", "runner.py", "out.json", "out.json"]).file("out.json", input.to_string());
    let run = run.rows(user_ids(3)).exits(0);
    assert_eq!(run.output()["store_params"]["braze_cohort"]["last_upload"]["delivered"], 3);
}
