//! The operator: Digdag's protocol, and where settings come from in a workflow.

use rstest::rstest;
use serde_json::{Value, json};

use crate::account::Account;
use crate::support::{Run, braze, user_ids};

/// The parameters of a task, with what Digdag adds to every one.
fn task(parameters: &Value) -> Value {
    let mut all = json!({
        "_command": "braze_cohort", "_type": "py", "session_time": "2026-11-23T00:00:00+00:00", "timezone": "UTC",
        "session_uuid": "1c9f7a1e-0000-4000-8000-000000000000", "project_id": 1, "td": {"last_job": {"num_records": 2}},
        "python": ["td-braze-cohort", "operator"],
    });
    for (name, value) in parameters.as_object().unwrap() {
        all[name] = value.clone();
    }
    all
}

fn last_upload(output: &Value) -> Account {
    Account::of(output["store_params"]["braze_cohort"]["last_upload"].clone())
}

#[test]
fn the_account_is_handed_to_later_tasks() {
    let braze = braze();
    let parameters =
        json!({"cohort_id": "vip", "operation": "add", "input": "members.csv", "endpoint": braze.endpoint()});
    let run = Run::operator(&task(&parameters)).rows(user_ids(2)).exits(0);
    let output = run.output();
    assert_eq!((&output["subtask_config"], &output["export_params"]), (&json!({}), &json!({})));
    last_upload(&output).has(&[("/delivered", 2), ("/rows_read", 2)]);
    let cohort = braze.cohort("vip").unwrap();
    assert_eq!(cohort.members, 2);
    let created_at: jiff::Timestamp = cohort.created_at.unwrap().parse().unwrap();
    assert_eq!(created_at, "2026-11-23T00:00:00Z".parse().unwrap());
}

#[rstest]
#[case::with_a_name(&["operator", "runner.py", "any_name", "in.json", "out.json"])]
#[case::without_a_name(&["operator", "runner.py", "in.json", "out.json"])]
fn the_operator_takes_its_arguments_with_and_without_a_name(#[case] args: &[&str]) {
    let braze = braze();
    let parameters =
        json!({"cohort_id": "vip", "operation": "add", "input": "members.csv", "endpoint": braze.endpoint()});
    let run = Run::command(args).file("in.json", json!({"params": parameters}).to_string()).rows(user_ids(1)).exits(0);
    last_upload(&run.output()).has(&[("/delivered", 1)]);
}

#[test]
fn the_map_is_the_default_the_file_comes_next_and_parameters_win() {
    let braze = braze();
    let parameters = json!({
        "braze_cohort": {
            "cohort_id": "from-map", "cohort_name": "from map", "operation": "remove",
            "endpoint": braze.endpoint(), "input": "missing.csv",
        },
        "config": "cohort.yml",
        "cohort_id": "from-task",
    });
    let run = Run::operator(&task(&parameters))
        .file("cohort.yml", "cohort_id: from-file\noperation: add\ninput: members.csv\n");
    run.rows(user_ids(1)).exits(0);
    let cohort = braze.cohort("from-task").unwrap();
    assert_eq!((cohort.name.as_deref(), cohort.members), (Some("from map"), 1));
    assert!(braze.cohort("from-map").is_none() && braze.cohort("from-file").is_none());
}

#[test]
fn templates_of_the_file_are_filled_in_from_the_parameters() {
    let braze = braze();
    let parameters = json!({"config": "cohort.yml", "region": "eu", "url": braze.endpoint()});
    let settings = "cohort_id: c-${region}\noperation: add\ninput: members.csv\nendpoint: ${url}\n\
                    expected_rows: ${td.last_job.num_records}\n";
    let run = Run::operator(&task(&parameters)).env("region", "wrong").file("cohort.yml", settings).rows(user_ids(2));
    run.exits(0);
    assert_eq!(braze.cohort("c-eu").unwrap().members, 2);
}

#[test]
fn numbers_may_be_text_and_ids_numbers() {
    let braze = braze();
    let parameters = json!({
        "cohort_id": 4711, "operation": "add", "input": "members.csv", "endpoint": braze.endpoint(),
        "thread_count": "2", "expected_rows": "1", "aliases": ["email"],
    });
    Run::operator(&task(&parameters)).rows("email\na@example.com\n").exits(0);
    assert_eq!(braze.cohort("4711").unwrap().aliases.len(), 1);
}

#[test]
fn what_an_earlier_upload_left_in_the_map_is_ours_and_ignored() {
    let braze = braze();
    let parameters = json!({
        "braze_cohort": {
            "last_upload": {"delivered": 5, "anything": {"else": []}},
            "cohort_id": "vip", "operation": "add", "input": "members.csv", "endpoint": braze.endpoint(),
        },
    });
    Run::operator(&task(&parameters)).rows(user_ids(1)).exits(0);
    assert_eq!(braze.cohort("vip").unwrap().members, 1);
}

#[test]
fn a_parameter_that_nearly_has_our_name_is_warned_about() {
    let braze = braze();
    let parameters = json!({
        "cohort_id": "vip", "operation": "add", "input": "members.csv", "endpoint": braze.endpoint(),
        "thread_cuont": 9, "something_else": 1,
    });
    let run = Run::operator(&task(&parameters)).rows(user_ids(1)).exits(0).says(&["thread_cuont", "thread_count"]);
    run.hides(&["something_else"]);
}

#[test]
fn the_endpoint_may_come_from_the_environment() {
    let braze = braze();
    let parameters = json!({"cohort_id": "vip", "operation": "add", "input": "members.csv"});
    Run::operator(&task(&parameters)).env("BRAZE_ENDPOINT", &braze.endpoint()).rows(user_ids(1)).exits(0);
    assert_eq!(braze.cohort("vip").unwrap().members, 1);
}
