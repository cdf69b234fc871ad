//! The operator: every failure is a task's readable error.

use rstest::rstest;
use serde_json::{Value, json};

use crate::scripted::{Act, Scripted};
use crate::support::{Outcome, Run, SECRET, assert_untouched, braze, user_ids};

/// The error in OUTPUT.json, as Digdag wants it.
#[track_caller]
fn error(run: &Outcome) -> String {
    let error = &run.output()["error"];
    assert!(error["class"].as_str().is_some_and(|class| !class.is_empty()), "no class: {error}");
    assert!(error["backtrace"].is_array(), "no backtrace: {error}");
    error["message"].as_str().expect("no message").to_owned()
}

fn parameters(endpoint: &str, change: (&str, Value)) -> Value {
    let mut all = json!({"cohort_id": "vip", "operation": "add", "input": "members.csv", "endpoint": endpoint});
    all[change.0] = change.1;
    all
}

#[rstest]
#[case::operation(("operation", json!("merge")), &["operation", "merge", "add", "remove"])]
#[case::thread_count(("thread_count", json!(0)), &["thread_count", "256"])]
#[case::unknown(("colour", json!("red")), &["colour", "braze_cohort"])]
#[case::typo(("thread_cuont", json!(3)), &["thread_cuont", "thread_count", "braze_cohort"])]
#[case::config_not_there(("config", json!("cohrot.yml")), &["cohrot.yml"])]
fn a_wrong_setting_is_the_tasks_error(#[case] change: (&str, Value), #[case] words: &[&str]) {
    let braze = braze();
    let run = Run::operator(&parameters(&braze.endpoint(), change)).rows(user_ids(1)).exits(2);
    let message = error(&run);
    assert!(words.iter().all(|word| message.contains(word)), "{message}");
    assert_untouched(&braze);
}

#[test]
fn a_map_that_is_none_is_the_tasks_error() {
    let run = Run::workflow(&json!({"braze_cohort": "vip"})).exits(2);
    assert!(error(&run).contains("braze_cohort must be a map"));
}

#[rstest]
#[case("client_secret")]
#[case("partner_api_key")]
fn a_credential_in_the_map_is_refused_and_not_repeated(#[case] key: &str) {
    let braze = braze();
    let change = (key, json!("hush-hush-hush"));
    let run = Run::operator(&parameters(&braze.endpoint(), change)).rows(user_ids(1)).exits(2);
    let message = error(&run);
    assert!(message.contains(key) && !message.contains("hush-hush-hush"), "{message}");
    run.hides(&["hush-hush-hush"]);
    assert_untouched(&braze);
}

#[test]
fn a_missing_credential_is_the_tasks_error() {
    let braze = braze();
    let run = Run::operator(&parameters(&braze.endpoint(), ("cohort_name", Value::Null))).without_credentials();
    let run = run.rows(user_ids(1)).exits(2);
    assert!(error(&run).contains("BRAZE_CLIENT_SECRET"));
    assert_untouched(&braze);
}

#[test]
fn an_input_without_identifier_column_is_the_tasks_error() {
    let braze = braze();
    let run = Run::operator(&parameters(&braze.endpoint(), ("cohort_name", Value::Null))).rows("id\n1\n").exits(3);
    assert!(error(&run).contains("user_ids"));
    assert_untouched(&braze);
}

#[test]
fn refused_credentials_are_the_tasks_error_and_an_echo_is_redacted() {
    let echo = format!("Partner not enabled for client with client secret: {SECRET}");
    let server = Scripted::start(move |_| Act::message("401 Unauthorized", &echo));
    let run = Run::operator(&parameters(server.endpoint(), ("cohort_name", Value::Null))).rows(user_ids(1)).exits(4);
    assert!(error(&run).contains("artner"));
}

#[test]
fn what_was_not_delivered_fails_the_task() {
    let server = Scripted::start(|seen| {
        if seen.has_members() {
            Act::message("400 Bad Request", "user_ids must be an array of strings")
        } else {
            Act::success()
        }
    });
    let run = Run::operator(&parameters(server.endpoint(), ("cohort_name", Value::Null))).rows(user_ids(1)).exits(5);
    assert!(!error(&run).is_empty());
}

#[test]
fn parameters_that_are_no_json_are_an_error() {
    let run = Run::command(&["operator", "runner.py", "in.json", "out.json"]).file("in.json", "{\"params\": ").exits(2);
    assert!(error(&run).contains("in.json"));
}

#[rstest]
#[case(&["operator"])]
#[case(&["operator", "runner.py", "in.json"])]
#[case(&["operator", "runner.py", "name", "in.json", "out.json", "more"])]
fn another_number_of_arguments_is_usage(#[case] args: &[&str]) {
    Run::command(args).file("in.json", "{\"params\": {}}").exits(2);
}
