//! Removals and additions in one input: `operation_column`. And columns of other names: `mapping`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::json;

use crate::formats::gzip;
use crate::scripted::{Act, Scripted, Seen};
use crate::support::{Run, assert_untouched, braze, ends, terminate, wait_while_running};

/// Rows that remove and add by turns. Users whose number ends in 5 are in both, added first.
fn changes(count: usize) -> String {
    let rows = (0..count).map(|number| match number % 10 {
        5 => format!("u{number},add\r\nu{number},remove\r\n"),
        odd if odd % 2 == 1 => format!("u{number},Delete\r\n"),
        _ => format!("u{number},ADD\r\n"),
    });
    std::iter::once("user_ids,change\r\n".to_owned()).chain(rows).collect()
}

fn wanted(count: usize) -> Vec<String> {
    let mut ids: Vec<_> = (0..count).filter(|it| it % 2 == 0 || it % 10 == 5).map(|it| format!("u{it}")).collect();
    ids.sort();
    ids
}

fn mixed(run: Run) -> Run {
    run.unset("operation").set("operation_column", "change")
}

const COUNT: usize = 5_000;

#[rstest]
#[case::file(|run: Run| run.rows(changes(COUNT)))]
#[case::standard_input(|run: Run| run.set("input", "'-'").stdin(changes(COUNT)))]
#[case::compressed_standard_input(|run: Run| run.set("input", "'-'").stdin(gzip(changes(COUNT).as_bytes())))]
fn all_removals_are_settled_before_the_first_addition(#[case] input: fn(Run) -> Run) {
    let server = Scripted::start(|_| Act::success());
    let run = input(mixed(Run::upload()).set("endpoint", server.endpoint()).set("thread_count", "3"));
    let report = run.arg("--json").exits(0).report();
    let rows = (COUNT + COUNT / 10) as u64;
    let (removals, additions) = (COUNT as u64 / 2, COUNT as u64 * 6 / 10);
    let report = report.has(&[("/rows_read", rows), ("/rows_used", rows), ("/rows_rejected", 0)]);
    let report =
        report.has(&[("/by_operation/remove/delivered", removals), ("/by_operation/add/delivered", additions)]);
    report.has(&[("/delivered", removals + additions), ("/requests", 1 + 3 + 3), ("/retries", 0)]);
    let should_remove = |seen: &Seen| seen.body["cohort_changes"][0]["should_remove"].as_bool().unwrap();
    let order: Vec<_> = server.seen().iter().filter(|seen| seen.has_members()).map(should_remove).collect();
    assert_eq!(order, [true, true, true, false, false, false]);
}

#[test]
fn an_identifier_in_both_ends_up_in_the_cohort() {
    let braze = braze();
    mixed(Run::upload()).to(&braze).rows(changes(COUNT)).exits(0).prints(&["mixed", "remove", "add"]);
    assert_eq!(braze.cohort("vip").unwrap().user_ids, wanted(COUNT));
}

#[test]
fn a_file_over_several_formats_is_read_twice_as_well() {
    let braze = braze();
    let run = mixed(Run::upload())
        .to(&braze)
        .set("input", "[a.csv, b.jsonl]")
        .file("a.csv", "change,user_ids\nadd,u1\nremove,u2\n");
    let run =
        run.file("b.jsonl", "{\"user_ids\":\"u2\",\"change\":\"add\"}\n{\"change\":\"delete\",\"user_ids\":\"u3\"}\n");
    run.arg("--json").exits(0).report().has(&[("/delivered", 4), ("/by_operation/add/identifiers", 2)]);
    assert_eq!(braze.cohort("vip").unwrap().user_ids, ["u1", "u2"]);
}

#[test]
fn a_row_without_operation_is_a_rejected_row() {
    let braze = braze();
    let rows = "user_ids,change\nu1,add\nu2, \nu3,\nu4,remove\nu5,add,too many\n";
    let report = mixed(Run::upload()).to(&braze).rows(rows).arg("--json").exits(0).report();
    let report = report.has(&[("/rows_read", 5), ("/rows_used", 2), ("/rows_rejected", 3)]);
    report.has(&[("/rows_malformed/operation", 2), ("/rows_malformed/cell_count", 1), ("/delivered", 2)]);
}

#[test]
fn what_did_not_arrive_is_kept_with_its_operation_and_taken_as_it_is() {
    let server = Scripted::start(|seen| {
        let is_bad = seen.user_ids().iter().any(|id| id == "u1" || id == "u2");
        if is_bad { Act::message("400 Bad Request", "user_ids are not valid") } else { Act::success() }
    });
    let rows = "user_ids,change\nu1,remove\nu2,add\nu3,add\nu4,remove\n";
    let run = mixed(Run::upload()).set("endpoint", server.endpoint()).set("failed_file", "failed.csv").rows(rows);
    let run = run.arg("--json").exits(5);
    run.report().has(&[("/refused", 2), ("/delivered", 2)]);
    let failed = std::fs::read_to_string(run.path().join("failed.csv")).unwrap();
    let lines: Vec<_> = failed.lines().collect();
    assert_eq!(lines[0], "user_ids,device_ids,change,reason");
    assert!(lines[1].starts_with("u1,,remove,") && lines[2].starts_with("u2,,add,"), "{failed}");
    let braze = braze();
    let again = mixed(Run::upload()).to(&braze).rows(failed).arg("--json").exits(0);
    again.report().has(&[("/by_operation/remove/delivered", 1), ("/by_operation/add/delivered", 1)]);
    assert_eq!(braze.cohort("vip").unwrap().user_ids, ["u2"]);
}

#[test]
fn a_run_that_is_stopped_in_its_removals_adds_no_member() {
    let server = Scripted::for_members(|_| Act::message("401 Unauthorized", "Invalid client secret"));
    let rows = "user_ids,change\nu1,remove\nu2,add\n";
    let run = mixed(Run::upload()).set("endpoint", server.endpoint()).rows(rows).arg("--json").exits(4);
    run.report().has(&[("/undelivered", 1), ("/by_operation/add/identifiers", 0)]);
    assert!(!server.seen().iter().any(|seen| seen.user_ids().contains(&"u2".to_owned())));
}

#[test]
fn the_expected_rows_are_those_of_both_operations() {
    let (enough, rows) = (braze(), "user_ids,change\nu1,remove\nu2,add\n");
    mixed(Run::upload()).to(&enough).set("expected_rows", "2").rows(rows).exits(0);
    let short = braze();
    mixed(Run::upload())
        .to(&short)
        .set("expected_rows", "3")
        .rows(rows)
        .exits(3)
        .says(&["2 rows instead of 3 (expected_rows"]);
    assert!(short.cohort("vip").is_none_or(|cohort| cohort.members == 0), "no member is added");
}

/// Usable removals, and then these rows.
fn removals_and(rows: impl Iterator<Item = String>) -> String {
    let removals = (0..2000).map(|number| format!("{{\"user_ids\":\"r{number}\",\"change\":\"remove\"}}\n"));
    removals.chain(rows).collect()
}

#[rstest]
#[case::cells_that_are_rejected(removals_and((0..2000).map(|_| "{\"user_ids\":1.5,\"change\":\"add\"}\n".to_owned())), None)]
#[case::words_that_are_no_operation(removals_and((0..2000).map(|_| "{\"user_ids\":\"a\",\"change\":\"put\"}\n".to_owned())), None)]
#[case::too_few_rows(removals_and((0..9).map(|_| "{\"user_ids\":\"a\",\"change\":\"add\"}\n".to_owned())), Some("4000"))]
fn nothing_is_sent_of_an_input_whose_additions_make_it_unusable(#[case] rows: String, #[case] expected: Option<&str>) {
    let braze = braze();
    let run = |run: Run| {
        let run = mixed(run).set("input", "members.jsonl").file("members.jsonl", &rows);
        if let Some(expected) = expected { run.set("expected_rows", expected) } else { run }
    };
    run(Run::upload()).to(&braze).arg("--json").exits(3).report().has(&[("/requests", 0), ("/delivered", 0)]);
    assert_untouched(&braze);
    run(Run::upload()).arg("--dry-run").exits(3);
}

#[test]
fn the_report_counts_what_was_read_of_an_input_that_cannot_be_used() {
    let floats = "1.0,add\n".repeat(20);
    let rows = format!("user_ids,change\nu1,add\nu2,remove\n{floats}");
    let report = mixed(Run::upload()).to(&braze()).rows(rows).arg("--json").exits(3).report();
    let report =
        report.has(&[("/rows_read", 22), ("/rows_rejected", 20), ("/cells_rejected/float", 20), ("/delivered", 0)]);
    report.has(&[("/undelivered", 2), ("/by_operation/remove/identifiers", 1), ("/by_operation/add/identifiers", 1)]);
}

#[test]
fn nothing_is_sent_of_standard_input_that_is_damaged_at_its_end() {
    let braze = braze();
    let packed = gzip(changes(COUNT).as_bytes());
    let run = mixed(Run::upload()).to(&braze).set("input", "'-'").stdin(&packed[..packed.len() - 9]);
    run.arg("--json").exits(3).report().has(&[("/requests", 0), ("/delivered", 0)]);
    assert_untouched(&braze);
}

/// When each change takes effect, and whether it is a removal.
type Applied = Arc<Mutex<Vec<(Instant, bool)>>>;

/// A server that reads the first removal, breaks its connection, and applies it after this time.
fn with_a_late_removal(delay: Duration) -> (Scripted, Applied) {
    let applied = Applied::default();
    let (seen_removal, changes) = (AtomicBool::new(false), Arc::clone(&applied));
    let server = Scripted::for_members(move |seen| {
        let is_removal = seen.body["cohort_changes"][0]["should_remove"] == true;
        let is_late = is_removal && !seen_removal.swap(true, Ordering::SeqCst);
        let at = if is_late { seen.arrived + delay } else { seen.arrived };
        changes.lock().unwrap().push((at, is_removal));
        if is_late { Act::Close } else { Act::success() }
    });
    (server, applied)
}

#[test]
fn a_removal_that_takes_effect_late_is_not_overtaken_by_the_addition() {
    let (server, applied) = with_a_late_removal(Duration::from_millis(900));
    let run = mixed(Run::upload()).set("endpoint", server.endpoint()).set("grace", "1s");
    let run = run.rows("user_ids,change\nu1,remove\nu1,add\n").arg("--json").exits(0).says(&["grace"]);
    run.report().has(&[("/delivered", 2), ("/retries", 1)]);
    let last = applied.lock().unwrap().iter().max().copied().unwrap();
    assert!(!last.1, "the removal took effect after the addition");
}

#[test]
fn a_signal_ends_the_wait() {
    let (server, _) = with_a_late_removal(Duration::ZERO);
    let run = mixed(Run::upload()).set("endpoint", server.endpoint()).set("grace", "1h");
    let (mut child, _folder) = run.rows("user_ids,change\nu1,remove\nu1,add\n").spawn();
    wait_while_running(&mut child, "the removal is acknowledged", || {
        server.seen().iter().filter(|seen| seen.has_members()).count() == 2
    });
    terminate(&child);
    let (code, ended) = ends(child);
    assert_eq!((code, ended.took < Duration::from_secs(12)), (Some(143), true));
    assert!(server.seen().iter().filter(|seen| seen.has_members()).count() == 2, "no member is added");
}

#[test]
fn a_wait_beyond_the_end_of_the_run_ends_it() {
    let (server, _) = with_a_late_removal(Duration::ZERO);
    let run = mixed(Run::upload()).set("endpoint", server.endpoint()).set("grace", "1h").set("max_duration", "30m");
    let run = run.rows("user_ids,change\nu1,remove\nu1,add\n").arg("--json").exits(75).says(&["max_duration"]);
    run.report().has(&[("/by_operation/remove/delivered", 1), ("/by_operation/add/identifiers", 0)]);
}

#[test]
fn removals_that_no_addition_follows_are_not_waited_for() {
    let (server, _) = with_a_late_removal(Duration::ZERO);
    // A wait would exceed the run's end, and end the run.
    let run = mixed(Run::upload()).set("endpoint", server.endpoint()).set("grace", "1h").set("max_duration", "30m");
    let run = run.rows("user_ids,change\nu1,remove\n").arg("--json").exits(0);
    run.report().has(&[("/rows_read", 1), ("/by_operation/remove/delivered", 1), ("/retries", 1)]);
}

#[test]
fn no_member_is_added_if_removals_are_given_up() {
    // Enough are refused that the run gives up the rest of their batch.
    let server = Scripted::for_members(|_| Act::message("400 Bad Request", "user_ids are not valid"));
    let run = mixed(Run::upload()).set("endpoint", server.endpoint()).rows(changes(COUNT)).set("thread_count", "1");
    let run = run.arg("--json").exits(75).says(&["so none are added"]);
    run.report().has(&[("/by_operation/add/identifiers", 0), ("/delivered", 0)]);
    assert!(
        server
            .seen()
            .iter()
            .filter(|seen| seen.has_members())
            .all(|seen| seen.body["cohort_changes"][0]["should_remove"] == true)
    );
}

#[test]
fn what_is_wrong_with_a_row_is_told_once() {
    let braze = braze();
    let rows = "user_ids,change\n r1,remove\n a1,add\nr2\n";
    let run = mixed(Run::upload()).to(&braze).rows(rows).exits(0);
    assert_eq!(run.stderr.matches("begins or ends with a space").count(), 1);
    assert_eq!(run.stderr.matches(" cells for ").count(), 1);
}

#[test]
fn an_input_with_additions_only_is_read_to_its_end() {
    let braze = braze();
    let run = mixed(Run::upload()).to(&braze).rows("user_ids,change\nu1,add\n").arg("--json").exits(0);
    run.report().has(&[("/delivered", 1), ("/requests", 2)]);
    mixed(Run::upload())
        .rows("user_ids,change\nu1,add\n")
        .arg("--dry-run")
        .arg("--json")
        .exits(0)
        .report()
        .has(&[("/dry_run/batches", 1), ("/by_operation/add/identifiers", 1)]);
}

#[rstest]
#[case::no_such_column("user_ids,Change\nu1,add\n", "no column 'change'")]
#[case::twice("user_ids,change,change\nu1,add,add\n", "two columns for 'change'")]
fn an_input_without_the_column_sends_nothing(#[case] rows: &str, #[case] message: &str) {
    let braze = braze();
    mixed(Run::upload()).to(&braze).rows(rows).exits(3).says(&[message]);
    assert_untouched(&braze);
}

#[rstest]
#[case::both(|run: Run| run.set("operation_column", "change"), "cannot be set together with operation")]
#[case::an_identifier_column(|run: Run| run.unset("operation").set("operation_column", "user_ids"), "an identifier column")]
#[case::mapped_to_nothing(|run: Run| run.set("mapping", "{mail: email}"), "aliases: [email]")]
#[case::mapped_twice(|run: Run| run.set("mapping", "{a: user_ids, b: user_ids}"), "two columns to 'user_ids'")]
#[case::mapped_from_an_output(|run: Run| run.set("mapping", "{device_ids: user_ids}"), "a column of that name is always read as itself")]
#[case::no_map(|run: Run| run.set("mapping", "external_id"), "a map such as {external_id: user_ids")]
fn settings_that_contradict_each_other_are_refused(#[case] change: fn(Run) -> Run, #[case] message: &str) {
    change(Run::upload()).set("endpoint", "http://127.0.0.1:1").rows("user_ids\nu1\n").exits(2).says(&[message]);
}

#[rstest]
#[case::csv("external_id,idfv,mail,user_id\nu1,d1,a@example.com,x\nu2,,,y\n")]
#[case::jsonl("{\"external_id\":\"u1\",\"idfv\":\"d1\",\"mail\":\"a@example.com\"}\n{\"external_id\":\"u2\"}\n")]
fn mapped_columns_are_what_the_mapping_says(#[case] rows: &str) {
    let braze = braze();
    let mapping = "{external_id: user_ids, idfv: device_ids, mail: email}";
    let run = Run::upload().to(&braze).set("aliases", "[email]").set("mapping", mapping).rows(rows);
    run.arg("--json").exits(0).report().has(&[("/delivered", 4), ("/identifiers/aliases/email", 1)]);
    let cohort = braze.cohort("vip").unwrap();
    assert_eq!(
        (cohort.user_ids.as_slice(), cohort.device_ids.as_slice()),
        (&["u1".to_owned(), "u2".to_owned()][..], &["d1".to_owned()][..])
    );
}

#[test]
fn each_object_may_use_the_mapped_name_or_its_output_but_not_both() {
    let braze = braze();
    let rows = r#"{"external_id": "first-zqx"}
{"user_ids": "second-zqx"}
{"external_id": "third-zqx", "user_ids": "other-zqx"}
{"mail": "a@zqx"}
{"email": "b@zqx", "external_id": "fourth-zqx"}
"#;
    let run = Run::upload().to(&braze).set("aliases", "[email]").set("mapping", "{external_id: user_ids, mail: email}");
    let report = run.set("max_rejected", "1").rows(rows).arg("--json").exits(0).report();
    report.has(&[("/rows_malformed/duplicate_key", 1), ("/identifiers/user_ids", 3), ("/delivered", 5)]);
    let held = braze.cohort("vip").unwrap();
    assert_eq!(held.user_ids.iter().collect::<Vec<_>>(), ["first-zqx", "fourth-zqx", "second-zqx"]);
    assert_eq!(held.aliases.len(), 2);
}

#[test]
fn a_mapping_is_a_parameter_too_and_what_fails_can_be_sent_again_with_it() {
    let refusing = Scripted::for_members(|_| Act::message("400 Bad Request", "not valid"));
    let parameters = |endpoint: &str, input: &str| {
        json!({
            "cohort_id": "vip", "operation": "add", "input": input, "endpoint": endpoint, "failed_file": "failed.csv",
            "mapping": {"external_id": "user_ids"},
        })
    };
    let run = Run::operator(&parameters(refusing.endpoint(), "members.csv")).rows("external_id\nu1\n").exits(5);
    let failed = std::fs::read_to_string(run.path().join("failed.csv")).unwrap();
    let braze = braze();
    let again = Run::operator(&parameters(&braze.endpoint(), "again.csv")).file("again.csv", failed);
    again.exits(0);
    assert_eq!(braze.cohort("vip").unwrap().user_ids, ["u1"]);
}
