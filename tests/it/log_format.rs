//! `--log-format json`: everything on standard error is one JSON object a line, and nothing else changes.

use rstest::rstest;
use serde_json::{Value, json};

use crate::scripted::{Act, Scripted};
use crate::support::{Outcome, PARTNER_KEY, Run, SECRET, braze, user_ids};

/// All lines of standard error. Asserts that each is an object with time, level and message.
#[track_caller]
fn lines(outcome: &Outcome) -> Vec<(String, String)> {
    let objects = outcome.stderr.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    let line = |object: Value| {
        let keys: Vec<_> = object.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["time", "level", "message"]);
        let text = |key: &str| object[key].as_str().unwrap().to_owned();
        text("time").parse::<jiff::Timestamp>().unwrap();
        (text("level"), text("message"))
    };
    objects.map(line).collect()
}

#[rstest]
#[case::flag(&["--log-format", "json"], None)]
#[case::variable(&[], Some("json"))]
fn an_upload_logs_lines_of_json_and_prints_the_same_report(#[case] flags: &[&str], #[case] variable: Option<&str>) {
    let braze = braze();
    let mut run = Run::upload().to(&braze).rows(user_ids(3)).env("RUST_LOG", "info");
    run = flags.iter().fold(run, |run, flag| run.arg(flag));
    run = variable.iter().fold(run, |run, value| run.env("TD_BRAZE_COHORT_LOG_FORMAT", value));
    let outcome = run.exits(0).prints(&["delivered                            3\n"]);
    let lines = lines(&outcome);
    assert!(lines.iter().any(|(level, message)| level == "info" && message.contains("cohort vip")), "{outcome}");
}

#[rstest]
#[case::usage(Run::command(&["upload", "--jsno", "--log-format=json"]), 2, "unexpected argument '--jsno'")]
#[case::credential(Run::command(&["--log-format=json", "upload", "--client-secret=x"]), 2, "credentials must not appear")]
#[case::config(Run::command(&["--log-format=json", "upload", "no.yml"]), 2, "the config file no.yml cannot be read")]
#[case::input(Run::upload().set("endpoint", "US-01").arg("--log-format=json"), 3, "the input members.csv")]
fn an_error_is_a_line_of_json_too(#[case] run: Run, #[case] code: i32, #[case] beginning: &str) {
    let outcome = run.exits(code);
    let (level, message) = lines(&outcome).pop().unwrap();
    assert!(level == "error" && message.starts_with(beginning), "{outcome}");
}

#[test]
fn the_operator_takes_it_from_the_environment() {
    let parameters = json!({"cohort_id": "vip", "operation": "add", "input": "no.csv"});
    let run = Run::operator(&parameters).env("BRAZE_ENDPOINT", "US-01").env("TD_BRAZE_COHORT_LOG_FORMAT", "json");
    let outcome = run.exits(3);
    let (level, message) = lines(&outcome).pop().unwrap();
    assert_eq!((level.as_str(), &outcome.output()["error"]["message"]), ("error", &json!(message)));
}

#[test]
fn what_braze_echoes_of_a_key_is_redacted_in_json() {
    let echo = json!(format!("{SECRET}\n\"{PARTNER_KEY}\"")).to_string();
    let server = Scripted::start(move |_| Act::message("401 Unauthorized", &echo));
    let run = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(1)).arg("--log-format=json");
    let (level, message) = lines(&run.exits(4)).pop().unwrap();
    assert!(level == "error" && message.contains("[redacted]"), "{message}");
}

#[test]
fn a_format_that_does_not_exist_is_an_error() {
    Run::command(&["upload", "c.yml", "--log-format=xml"]).exits(2).says(&["xml", "text, json"]);
    let run = Run::command(&["upload", "c.yml"]).env("TD_BRAZE_COHORT_LOG_FORMAT", "xml");
    run.exits(2).says(&["TD_BRAZE_COHORT_LOG_FORMAT must be text or json, not 'xml'"]);
}
