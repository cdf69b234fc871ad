//! The operator: Digdag's protocol, and where settings come from in a workflow.

use rstest::rstest;
use serde_json::{Value, json};

use crate::report::Report;
use crate::support::{Run, assert_untouched, braze, user_ids};

/// The parameters of a task, with what Digdag adds to every one; the settings are in the map of the task.
fn task(settings: &Value) -> Value {
    json!({
        "_command": "braze_cohort", "_type": "py", "session_time": "2026-11-23T00:00:00+00:00", "timezone": "UTC",
        "session_uuid": "1c9f7a1e-0000-4000-8000-000000000000", "project_id": 1, "td": {"last_job": {"num_records": 2}},
        "python": ["td-braze-cohort", "operator"], "braze_cohort": settings,
    })
}

fn last_upload(output: &Value) -> Report {
    Report::of(output["store_params"]["braze_cohort"]["last_upload"].clone())
}

#[test]
fn the_report_is_handed_to_later_tasks() {
    let braze = braze();
    let settings =
        json!({"cohort_id": "vip", "operation": "add", "input": "members.csv", "endpoint": braze.endpoint()});
    let run = Run::workflow(&task(&settings)).rows(user_ids(2)).exits(0);
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
    let settings =
        json!({"cohort_id": "vip", "operation": "add", "input": "members.csv", "endpoint": braze.endpoint()});
    let input = json!({"params": {"braze_cohort": settings}}).to_string();
    let run = Run::command(args).file("in.json", input).rows(user_ids(1)).exits(0);
    last_upload(&run.output()).has(&[("/delivered", 1)]);
}

#[test]
fn the_map_beats_the_file_and_the_log_says_what_it_changed() {
    let braze = braze();
    let settings = json!({
        "config": "cohort.yml", "cohort_id": "from-map", "operation": "add", "job_id": null,
        "endpoint": braze.endpoint(), "input": "members.csv",
    });
    let file = "cohort_id: from-file-${nobody}\ncohort_name: from file\noperation: add\ninput: missing.csv\n";
    let run = Run::workflow(&task(&settings)).file("cohort.yml", file).rows(user_ids(1)).exits(0);
    run.says(&["the workflow's map braze_cohort changes what cohort.yml says: cohort_id, input\n"]);
    let cohort = braze.cohort("from-map").unwrap();
    assert_eq!((cohort.name.as_deref(), cohort.members), (Some("from file"), 1));
}

#[test]
fn a_job_in_the_map_replaces_the_files_input_and_that_is_said() {
    let settings = json!({"config": "cohort.yml", "job_id": 7, "endpoint": "http://127.0.0.1:1"});
    let run = Run::workflow(&task(&settings)).file("cohort.yml", "cohort_id: a\noperation: add\ninput: a.csv\n");
    run.exits(2).says(&["changes what cohort.yml says: input\n", "TD_API_KEY"]);
}

#[test]
fn settings_outside_of_the_map_are_not_read_and_named_once() {
    let braze = braze();
    let settings =
        json!({"cohort_id": "vip", "operation": "add", "input": "members.csv", "endpoint": braze.endpoint()});
    let mut parameters = task(&settings);
    for (name, value) in [("operation", "remove"), ("cohort_id", "other"), ("config", "no.yml"), ("cohort_nmae", "x")] {
        parameters[name] = value.into();
    }
    let run = Run::workflow(&parameters).rows(user_ids(1)).exits(0);
    let ignored = &run.output()["store_params"]["braze_cohort"]["last_upload"]["ignored_parameters"];
    assert_eq!(*ignored, json!(["operation", "cohort_id", "config"]));
    let warning =
        "ignored, because settings are read only from the workflow's map braze_cohort: operation, cohort_id, config";
    assert_eq!(run.stderr.matches(warning).count(), 1, "{run}");
    let listed = ["operation", "cohort_id", "config"].map(|name| format!("ignored_parameters              {name}\n"));
    run.prints(&listed.each_ref().map(String::as_str)).hides(&["cohort_nmae"]);
    assert_eq!(braze.cohort("vip").unwrap().members, 1);
    assert!(braze.cohort("other").is_none());
}

#[test]
fn where_settings_are_missing_those_outside_of_the_map_are_said_to_belong_into_it() {
    let parameters = json!({"py>": "braze_cohort", "cohort_id": "vip", "operation": "add", "config": "cohort.yml"});
    let run = Run::workflow(&parameters).file("cohort.yml", "input: members.csv\n").exits(2);
    let message = run.output()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("missing settings: cohort_id, operation, endpoint, input."), "{message}");
    assert!(message.ends_with("These are outside of it: cohort_id, operation, config. Move them into it"), "{message}");
}

#[test]
fn templates_of_the_file_are_filled_in_from_the_parameters() {
    let braze = braze();
    let settings = "cohort_id: c-${region}\noperation: add\ninput: members.csv\nendpoint: ${url}\n\
                    expected_rows: ${td.last_job.num_records}\n";
    let mut parameters = task(&json!({"config": "cohort.yml"}));
    parameters["region"] = "eu".into();
    parameters["url"] = braze.endpoint().into();
    let run = Run::workflow(&parameters).env("region", "wrong").file("cohort.yml", settings).rows(user_ids(2));
    run.exits(0);
    assert_eq!(braze.cohort("c-eu").unwrap().members, 2);
}

#[rstest]
#[case::in_the_map(json!({"braze_cohort": {"cohort_name": "gold_${day}"}}), &["braze_cohort: cohort_name contains ${...}", "the config file"])]
#[case::in_a_list(json!({"braze_cohort": {"aliases": ["a", "${b}"]}}), &["braze_cohort: aliases contains ${...}"])]
#[case::in_the_config_path(json!({"braze_cohort": {"config": "${name}.yml"}}), &["braze_cohort: config", "${...}"])]
#[case::in_a_flat_name(json!({"braze_cohort.cohort_name": "${day}"}), &["parameters: cohort_name contains ${...}"])]
#[case::in_what_fills_the_file(json!({"braze_cohort": {"config": "cohort.yml"}, "name": "${day}"}), &["cohort.yml, line 1: cohort_name contains ${...}"])]
fn what_is_not_filled_in_is_refused(#[case] parameters: Value, #[case] words: &[&str]) {
    let braze = braze();
    let mut parameters = parameters;
    let map = parameters["braze_cohort"].as_object().cloned().unwrap_or_default();
    let mut settings =
        json!({"cohort_id": "vip", "operation": "add", "input": "members.csv", "endpoint": braze.endpoint()});
    settings.as_object_mut().unwrap().extend(map);
    parameters["braze_cohort"] = settings;
    let run = Run::workflow(&parameters).file("cohort.yml", "cohort_name: ${name}\n").rows(user_ids(1)).exits(2);
    let message = run.output()["error"]["message"].as_str().unwrap().to_owned();
    // In the log it is as it is; Digdag would evaluate it.
    assert!(
        !message.contains("${") && words.iter().all(|word| message.contains(&word.replace("${", "$ {"))),
        "{message}"
    );
    run.says(words);
    assert_untouched(&braze);
}

#[test]
fn numbers_may_be_text_and_ids_numbers_and_a_list_its_json() {
    let braze = braze();
    let settings = json!({
        "cohort_id": 4711, "operation": "add", "input": "[\"members.csv\"]", "endpoint": braze.endpoint(),
        "thread_count": "2", "expected_rows": "1", "aliases": "[\"phone\",\"email\"]",
        "mapping": "{\"mail\": \"email\"}",
    });
    Run::workflow(&task(&settings)).rows("mail,phone\na@example.com,1\n").exits(0);
    assert_eq!(braze.cohort("4711").unwrap().aliases.len(), 2);
}

#[rstest]
#[case::truth(json!({"dry_run": true}), json!({}))]
#[case::text(json!({"dry_run": "true"}), json!({}))]
#[case::on_the_command_line(json!({}), json!("true"))]
fn a_dry_run_may_be_a_setting(#[case] in_map: Value, #[case] flat: Value) {
    let mut settings = json!({"cohort_id": "vip", "operation": "add", "input": "members.csv"});
    settings.as_object_mut().unwrap().extend(in_map.as_object().cloned().unwrap());
    let mut parameters = task(&settings);
    if flat.is_string() {
        parameters["braze_cohort.dry_run"] = flat;
    }
    let run = Run::workflow(&parameters).without_credentials().rows(user_ids(2)).exits(0);
    let report = &run.output()["store_params"]["braze_cohort"]["last_upload"];
    assert_eq!((&report["outcome"], &report["dry_run"]["batches"]), (&json!("dry_run"), &json!(1)));
}

#[test]
fn a_check_may_be_a_setting_and_sends_no_member() {
    let braze = braze();
    let check = |name: &str, setting: Value| {
        let mut parameters =
            task(&json!({"cohort_id": "vip", "operation": "add", "input": "members.csv", "dry_run": true}));
        parameters[name] = setting;
        Run::workflow(&parameters).env("BRAZE_ENDPOINT", &braze.endpoint()).rows(user_ids(2))
    };
    let run = check("braze_cohort.check_only", "true".into()).exits(0).prints(&[
        "input        ok",
        "credentials  ok",
        "cohort vip (add): check only, no member was sent\n",
    ]);
    let report = last_upload(&run.output()).has(&[("/rows_read", 0), ("/delivered", 0), ("/exit_code", 0)]);
    assert_eq!(report.text("/outcome"), "check_only");
    assert_eq!(report.text("/summary"), "cohort vip (add): check only, no member was sent");
    let stats = braze.stats();
    assert_eq!((stats.naming_requests, stats.users_requests, stats.batch_sizes), (0, 1, vec![0]));

    let failing = check("braze_cohort.check_only", "true".into())
        .env("BRAZE_PARTNER_API_KEY", "hush-wrong-one")
        .exits(4)
        .prints(&["input        ok", "credentials  FAILED"]);
    let output = failing.output();
    assert_eq!(output["error"]["class"], "CredentialsError");
    assert!(output["error"]["message"].as_str().unwrap().starts_with("Braze refused the credentials"), "{output}");
    assert_eq!(braze.stats().identifiers_added, 0);
}

#[test]
fn the_report_names_the_partner_and_has_a_summary_of_one_line() {
    let braze = braze();
    let settings =
        json!({"cohort_id": "vip", "operation": "add", "input": "members.csv", "endpoint": braze.endpoint()});
    let run = Run::workflow(&task(&settings))
        .rows(user_ids(2500))
        .exits(0)
        .prints(&["partner                         treasure_data\n"]);
    let report = last_upload(&run.output());
    assert_eq!(report.text("/partner"), "treasure_data");
    let summary = "cohort vip (add): everything was delivered; delivered 2,500 of 2,500 identifiers, refused 0";
    assert_eq!(report.text("/summary"), summary);
}

#[test]
fn a_flat_name_is_taken_like_the_map_and_is_weaker() {
    let braze = braze();
    let mut parameters = task(&json!({"cohort_id": "vip", "operation": "add", "input": "members.csv"}));
    parameters["braze_cohort.endpoint"] = braze.endpoint().into();
    parameters["braze_cohort.cohort_id"] = "weaker".into();
    parameters["braze_cohort.expected_rows"] = "1".into();
    Run::workflow(&parameters).rows(user_ids(1)).exits(0);
    assert_eq!(braze.cohort("vip").unwrap().members, 1);
}

#[test]
fn what_an_earlier_upload_left_in_the_map_is_ours_and_ignored() {
    let braze = braze();
    let settings = json!({
        "last_upload": {"delivered": 5, "anything": {"else": []}},
        "cohort_id": "vip", "operation": "add", "input": "members.csv", "endpoint": braze.endpoint(),
    });
    Run::workflow(&task(&settings)).rows(user_ids(1)).exits(0);
    assert_eq!(braze.cohort("vip").unwrap().members, 1);
}

#[test]
fn the_endpoint_may_come_from_the_environment() {
    let braze = braze();
    let settings = json!({"cohort_id": "vip", "operation": "add", "input": "members.csv"});
    Run::workflow(&task(&settings)).env("BRAZE_ENDPOINT", &braze.endpoint()).rows(user_ids(1)).exits(0);
    assert_eq!(braze.cohort("vip").unwrap().members, 1);
}

#[rstest]
#[case(json!({"braze_cohort": {"allow_endpoint": "evil.example", "endpoint": "https://evil.example"}}))]
#[case(json!({"braze_cohort": {"ca_file": "evil.pem"}}))]
#[case(json!({"braze_cohort.allow_endpoint": "evil.example"}))]
#[case(json!({"allow_endpoint": "evil.example"}))]
#[case(json!({"ca_file": "evil.pem"}))]
fn what_decides_where_the_keys_go_does_not_come_from_a_workflow(#[case] parameters: Value) {
    let braze = braze();
    let run = Run::workflow(&parameters).env("BRAZE_ENDPOINT", &braze.endpoint()).rows(user_ids(1)).exits(2);
    let message = run.output()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("the config file") && message.contains("TD_BRAZE_COHORT_"), "{message}");
    assert_untouched(&braze);
}
