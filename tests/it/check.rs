//! `check`: finds problems without sending a member.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use rstest::rstest;
use serde_json::Value;

use crate::scripted::{Act, Scripted, dead_endpoint};
use crate::support::{Run, assert_untouched, braze, ends, user_ids};

#[test]
fn a_check_sends_no_member_and_creates_no_name() {
    let braze = braze();
    let run = Run::check().to(&braze).rows("user_ids,name\nmember-zqx,hidden-zqx\n").exits(0);
    run.prints(&["settings ", "input ", "user_ids", "credentials "]).hides(&["FAILED", "member-zqx", "hidden-zqx"]);
    let stats = braze.stats();
    assert_eq!((stats.naming_requests, stats.users_requests, stats.batch_sizes), (0, 1, vec![0]));
    assert!(braze.cohort("vip").is_none_or(|cohort| cohort.members == 0 && cohort.name.is_none()));
}

#[test]
fn a_check_prints_its_findings_as_one_json_object() {
    let braze = braze();
    let run = Run::check().to(&braze).env("BRAZE_PARTNER_API_KEY", "hush-wrong-one").arg("--json").rows(user_ids(1));
    let printed: Value = serde_json::from_str(&run.exits(4).stdout).unwrap();
    let findings = printed["findings"].as_array().unwrap();
    let steps: Vec<_> = findings.iter().map(|finding| (finding["step"].as_str(), finding["ok"].as_bool())).collect();
    let expected = [("settings", true), ("input", true), ("credentials", false)];
    assert_eq!(steps, expected.map(|(step, is_ok)| (Some(step), Some(is_ok))));
    assert!(findings[2]["said"].as_str().unwrap().contains("BRAZE_PARTNER_API_KEY"), "{printed}");
}

#[test]
fn a_check_finds_wrong_credentials() {
    let braze = braze();
    let run = Run::check().to(&braze).env("BRAZE_PARTNER_API_KEY", "hush-wrong-one").rows(user_ids(1)).exits(4);
    run.prints(&["credentials  FAILED", "input        ok"]).hides(&["hush-wrong-one"]);
    assert_eq!(braze.stats().statuses[&401], 1);
}

#[test]
fn a_check_finds_missing_credentials() {
    let braze = braze();
    Run::check().to(&braze).without_credentials().rows(user_ids(1)).exits(2).says(&["BRAZE_CLIENT_SECRET"]);
    assert_untouched(&braze);
}

#[test]
fn a_check_finds_a_header_without_identifier_column() {
    let braze = braze();
    Run::check().to(&braze).rows("userid,name\n1,a\n").exits(3).says(&["userid", "name", "user_ids"]);
    assert_eq!(braze.stats().identifiers_added, 0);
}

#[test]
fn a_check_finds_a_wrong_setting() {
    let braze = braze();
    Run::check().to(&braze).set("thread_count", "0").rows(user_ids(1)).exits(2).says(&["thread_count", "line"]);
    assert_untouched(&braze);
}

#[test]
fn a_check_finds_a_failed_file_that_would_replace_the_input() {
    let braze = braze();
    let run = Run::check().to(&braze).set("failed_file", "./members.csv").rows(user_ids(1)).exits(2);
    run.says(&["settings", "same file"]).prints(&["settings     FAILED"]);
}

#[test]
fn a_check_without_a_rest_api_key_asks_about_no_match() {
    let braze = braze();
    let run = Run::check().to(&braze).env("BRAZE_REST_API_KEY", "").rows(user_ids(1)).exits(0);
    run.hides(&["match "]);
}

#[test]
fn a_check_finds_an_endpoint_that_does_not_answer() {
    let run = Run::check().set("endpoint", &dead_endpoint()).set("max_outage", "1s").rows(user_ids(1));
    run.exits(75).says(&["127.0.0.1"]);
}

/// For a person who waits for the line of a step.
const A_STEP: Duration = Duration::from_secs(10);

#[test]
fn a_step_of_a_check_is_given_up_in_time_and_the_lines_before_it_are_there() {
    let silent = Scripted::start(|_| Act::Silence);
    let run = Run::check().set("endpoint", silent.endpoint()).rows(user_ids(1));
    let (mut child, _directory) = run.spawn();
    let mut printed = BufReader::new(child.stdout.take().unwrap());
    let mut lines = String::new();
    while !lines.contains("input        ok") {
        assert!(printed.read_line(&mut lines).unwrap() > 0, "{lines}");
    }
    assert_eq!(child.try_wait().unwrap(), None, "the endpoint is still waited for");
    let (code, ended) = ends(child);
    assert_eq!(code, Some(75), "{}", ended.stderr);
    assert!(ended.stderr.contains("no request to"), "{}", ended.stderr);
    assert!(ended.took < A_STEP + Duration::from_secs(2), "{:?}", ended.took);
}

#[test]
fn the_first_failure_is_said_at_once_with_what_follows() {
    let run = Run::upload().set("endpoint", &dead_endpoint()).set("max_outage", "3s").rows(user_ids(1)).exits(75);
    run.says(&["a request failed", "it is repeated until a request succeeds, for 3 s at most"]);
}

#[test]
fn a_check_goes_on_to_the_credentials_if_the_input_is_wrong_and_exits_with_the_first_failure() {
    let braze = braze();
    let run = Run::check().to(&braze).env("BRAZE_CLIENT_SECRET", "hush-wrong-one").exits(3);
    run.prints(&["input        FAILED", "credentials  FAILED"]).says(&["members.csv", "BRAZE_CLIENT_SECRET"]);
}

#[test]
fn a_check_says_what_the_first_1000_rows_would_give_and_reads_no_more() {
    let braze = braze();
    let good = (0..997).map(|number| format!("u{number},x")).collect::<Vec<_>>().join("\n") + "\n";
    // After the first 1,000 rows comes something that an upload could not read.
    let rows = format!("user_ids,name\n{good}null,x\n,x\n12345.0,x\n\"u\"tail,x\n");
    let run = Run::check().to(&braze).rows(rows).exits(0);
    run.prints(&["the first 1000 rows: 997 used, 2 without identifier, 1 rejected, identifiers: 997", "float 1"])
        .prints(&["words for NULL: 1"]);
    assert_eq!(braze.stats().identifiers_added, 0);
}

#[test]
fn a_check_says_so_if_the_rows_have_no_identifier() {
    let braze = braze();
    Run::check()
        .to(&braze)
        .rows("user_ids,name\n,a\n,b\n")
        .exits(0)
        .prints(&["all 2 rows: 0 used, 2 without identifier"]);
}

#[rstest]
#[case::every_row_broken("user_ids,change\nu1\n", "has a valid identifier")]
#[case::a_word("user_ids,change\nu1,add\nu2,insert\n", "\"insert\"")]
#[case::one_operation("user_ids,change\nu1,add\n2.0,remove\n", "every row with the operation remove was rejected")]
fn a_check_fails_if_an_upload_of_these_rows_would(#[case] rows: &str, #[case] words: &str) {
    let braze = braze();
    let run = Run::check().to(&braze).unset("operation").set("operation_column", "change").rows(rows).exits(3);
    run.prints(&["input        FAILED"]).says(&[words]);
    assert_eq!(braze.stats().identifiers_added, 0);
}

#[test]
fn a_check_keeps_to_the_limit_of_rejections() {
    let braze = braze();
    let rows = format!("user_ids\n{}u1\n", "1.0\n".repeat(11));
    Run::check()
        .to(&braze)
        .rows(rows)
        .exits(3)
        .says(&["11 cells and rows were rejected in 12 rows read (limit 1 %, but at least 10): float 11"]);
}
