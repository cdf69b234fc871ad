//! `operation: mirror`: the cohort becomes equal to the table, and stays equal.

use std::fs;

use rstest::rstest;
use serde_json::json;
use td_braze_cohort::sandbox::Sandbox;

use crate::support::{REST_KEY, Run, assert_untouched, braze_with, ends, terminate, wait_while_running};
use crate::warehouse::{Fault, Warehouse};

/// Knows member-zqx-1 to member-zqx-3; the first also by one@zqx.example.
fn knowing() -> Sandbox {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.csv");
    fs::write(&path, "external_id,email\nmember-zqx-1,one@zqx.example\nmember-zqx-2,\nmember-zqx-3,\n").unwrap();
    braze_with(|options| options.users = Some(path))
}

const TWO: [(&str, &str); 2] = [("member-zqx-1", "one@zqx.example"), ("member-zqx-2", "")];
const HIDDEN: [&str; 2] = ["member-zqx-", "zqx.example"];

fn mirror(warehouse: &Warehouse, braze: &Sandbox) -> Run {
    warehouse.mirrors(Run::upload()).to(braze).arg("--json")
}

/// What has run once.
fn started() -> (Warehouse, Sandbox) {
    let (warehouse, braze) = (Warehouse::start(), knowing());
    warehouse.holds(&TWO);
    let report = mirror(&warehouse, &braze).exits(0).hides(&HIDDEN).report();
    let report =
        report.has(&[("/mirror/entered", 3), ("/mirror/left", 0), ("/delivered", 3), ("/mirror/rows_of_the_table", 2)]);
    assert_eq!(report.at("/mirror/first_run"), &json!(true));
    (warehouse, braze)
}

fn members(braze: &Sandbox) -> Vec<String> {
    let mut members = braze.cohort("vip").unwrap().user_ids;
    members.sort();
    members
}

#[test]
fn who_enters_leaves_or_changes_is_sent_and_no_one_else() {
    let (warehouse, braze) = started();
    assert_eq!(members(&braze), ["member-zqx-1", "member-zqx-2"]);
    warehouse.holds(&[("member-zqx-1", "new@zqx.example"), ("member-zqx-3", "")]);
    let report = mirror(&warehouse, &braze).exits(0).hides(&HIDDEN).report();
    // The removal of the old address takes out the user, who is sent again.
    let report = report.has(&[
        ("/mirror/left", 2),
        ("/mirror/entered", 2),
        ("/mirror/sent_beside_a_removal", 1),
        ("/requests", 3),
    ]);
    assert_eq!(members(&braze), ["member-zqx-1", "member-zqx-3"]);
    assert_eq!(report.at("/mirror/jobs").as_array().unwrap().len(), 3);
    let documented = include_str!("../../docs/report.md");
    for key in report.at("/mirror").as_object().unwrap().keys() {
        assert!(documented.contains(&format!("`mirror.{key}`")), "docs/report.md lacks mirror.{key}");
    }
    let states = warehouse.states();
    assert!(states.len() == 1 && states[0].ends_with("_4"), "{states:?}");
}

#[test]
fn a_quiet_run_takes_two_jobs_and_no_request_to_braze() {
    let (warehouse, braze) = started();
    let before = braze.stats().connections;
    let report = mirror(&warehouse, &braze).exits(0).report();
    let report = report.has(&[("/requests", 0), ("/mirror/unchanged", 3)]);
    assert_eq!(report.at("/mirror/jobs").as_array().unwrap().len(), 2);
    assert_eq!(braze.stats().connections, before);
}

#[test]
fn a_dry_run_counts_by_one_job_and_changes_nothing() {
    let (warehouse, braze) = started();
    let (before, states) = (braze.stats().connections, warehouse.states());
    warehouse.holds(&[("member-zqx-3", "")]);
    let asked = warehouse.asked().len();
    let report = mirror(&warehouse, &braze).arg("--dry-run").exits(0).hides(&HIDDEN).report();
    let report = report.has(&[("/mirror/left", 3), ("/mirror/entered", 1), ("/dry_run/batches", 2), ("/requests", 0)]);
    assert!(report.text("/summary").ends_with("dry run, nothing was sent; 3 to remove, 1 to add"));
    assert_eq!((braze.stats().connections, warehouse.states()), (before, states));
    let changing: Vec<_> =
        warehouse.asked()[asked..].iter().filter(|asked| asked.starts_with("POST")).cloned().collect();
    assert_eq!(changing, ["POST /v3/job/issue/trino/marketing"]);
}

#[test]
fn an_empty_table_changes_nothing_without_the_exact_number_of_removals() {
    let (warehouse, braze) = started();
    warehouse.holds(&[]);
    let states = warehouse.states();
    let said = ["the table has no identifiers", "-p braze_cohort.max_removals=3"];
    mirror(&warehouse, &braze).exits(6).says(&said);
    mirror(&warehouse, &braze).set("max_removals", "100%").exits(6).says(&said);
    assert_eq!((members(&braze).len(), warehouse.states()), (2, states));
    mirror(&warehouse, &braze).set("max_removals", "3").exits(0);
    assert_eq!(members(&braze), <[&str; 0]>::default());
}

#[test]
fn an_alias_that_is_no_longer_listed_is_removed() {
    let (warehouse, braze) = started();
    warehouse.has_columns(&[("user_ids", "string")]);
    warehouse.holds(&[("member-zqx-1", ""), ("member-zqx-2", "")]);
    let report = mirror(&warehouse, &braze).unset("aliases").exits(0).report();
    report.has(&[("/mirror/left", 1), ("/identifiers/aliases/email", 1), ("/undelivered", 0)]);
    assert_eq!(members(&braze), ["member-zqx-1", "member-zqx-2"]);
}

#[test]
fn another_data_import_key_is_another_workspace_unless_it_was_rotated() {
    let (warehouse, braze) = started();
    let rotated = || mirror(&warehouse, &braze).env("BRAZE_CLIENT_SECRET", "hush-rotated-key-4715");
    rotated().exits(2).says(&["another BRAZE_CLIENT_SECRET", "state_table", "key_rotated=true"]);
    rotated().arg("--dry-run").set("key_rotated", "true").exits(2).says(&["key_rotated=true"]);
    let report = rotated().set("key_rotated", "true").exits(0).report();
    let report = report.has(&[("/mirror/unchanged", 3), ("/requests", 0)]);
    assert_eq!(report.at("/mirror/first_run"), &json!(false));
    assert_eq!(warehouse.states().len(), 1);
    mirror(&warehouse, &braze).exits(2).says(&["another BRAZE_CLIENT_SECRET"]);
}

#[test]
fn a_run_with_the_key_before_a_rotation_sends_no_member() {
    let (warehouse, braze) = started();
    let before = || mirror(&warehouse, &braze).env("BRAZE_CLIENT_SECRET", "hush-rotated-key-4715");
    before().set("key_rotated", "true").exits(0);
    let [old] = warehouse.states().try_into().unwrap();
    mirror(&warehouse, &braze).set("key_rotated", "true").exits(0);
    let [new] = warehouse.states().try_into().unwrap();
    // Left over by an adoption that ended early, and taken by a run that did not know of it.
    for number in ["2", "3"] {
        warehouse.has_state(&format!("{}_{number}", old.rsplit_once('_').unwrap().0), &new);
    }
    warehouse.holds(&[("member-zqx-3", "")]);
    before().exits(2).says(&["another BRAZE_CLIENT_SECRET"]);
    mirror(&warehouse, &braze).exits(0).report().has(&[("/mirror/left", 3), ("/mirror/entered", 1)]);
    assert_eq!(members(&braze), ["member-zqx-3"]);
}

#[test]
fn a_result_of_unknown_length_ends_the_run_before_anything_is_changed() {
    let (warehouse, braze) = started();
    warehouse.suffers(Fault::RowsAreUnknown);
    warehouse.holds(&[("member-zqx-3", "")]);
    mirror(&warehouse, &braze).exits(75).says(&["no num_records"]);
    assert_eq!(members(&braze), ["member-zqx-1", "member-zqx-2"]);
}

#[test]
fn a_table_that_cannot_be_deleted_is_left() {
    let (warehouse, braze) = started();
    warehouse.suffers(Fault::DeletesAreRefused);
    warehouse.holds(&[("member-zqx-3", "")]);
    let run = mirror(&warehouse, &braze).exits(0).says(&["refuses to delete it"]);
    run.report().has(&[("/mirror/entered", 1), ("/delivered", 4)]);
    warehouse.holds(&[]);
    mirror(&warehouse, &braze).exits(6).says(&["max_removals=1"]);
}

#[test]
fn a_name_that_its_tables_cannot_have_is_refused() {
    let (warehouse, braze) = (Warehouse::start(), knowing());
    for name in ["marketing.State_Gold".to_owned(), format!("marketing.{}", "s".repeat(71))] {
        mirror(&warehouse, &braze).set("state_table", &name).exits(2).says(&["state_table must have a name"]);
    }
    mirror(&warehouse, &braze).set("aliases", "[cohort_operation]").exits(2).says(&["names 'cohort_operation'"]);
}

#[rstest]
#[case::job_1(Fault::JobFails("with the last version"))]
#[case::job_2(Fault::JobFails("find what to remove and add"))]
#[case::job_3(Fault::JobFails("except what was refused"))]
#[case::a_lost_answer_to_a_rename(Fault::RenameIsLost)]
fn what_goes_wrong_once_is_tried_again(#[case] fault: Fault) {
    let (warehouse, braze) = started();
    warehouse.holds(&[("member-zqx-2", ""), ("member-zqx-3", "")]);
    warehouse.suffers(fault);
    mirror(&warehouse, &braze).exits(0);
    assert_eq!(members(&braze), ["member-zqx-2", "member-zqx-3"]);
}

#[test]
fn a_job_that_always_fails_ends_the_run_before_anything_is_changed() {
    let (warehouse, braze) = started();
    warehouse.holds(&[("member-zqx-3", "")]);
    (0..3).for_each(|_| warehouse.suffers(Fault::JobFails("with the last version")));
    mirror(&warehouse, &braze).exits(75).says(&["failed three times", "status 'error'"]);
    assert_eq!(members(&braze), ["member-zqx-1", "member-zqx-2"]);
}

#[test]
fn a_result_that_lacks_a_row_ends_the_run_before_anything_is_changed() {
    let (warehouse, braze) = started();
    let states = warehouse.states();
    warehouse.holds(&[("member-zqx-3", "")]);
    warehouse.suffers(Fault::RowIsMissing("find what to remove and add"));
    mirror(&warehouse, &braze).exits(75).says(&["rows, and", "were downloaded"]);
    assert_eq!(members(&braze), ["member-zqx-1", "member-zqx-2"]);
    // The table that job 1 made is left for a later run to delete.
    let versions: Vec<_> = warehouse.states().into_iter().filter(|name| !name.contains("_w1")).collect();
    assert_eq!(versions, states);
}

#[test]
fn a_run_that_a_newer_one_has_taken_over_sends_no_member() {
    let (warehouse, braze) = started();
    warehouse.holds(&[("member-zqx-3", "")]);
    let lists = warehouse.asked().iter().filter(|asked| asked.contains("/table/list/")).count();
    // The lists before its own number: the first, and that of job 1's table.
    warehouse.suffers(Fault::NewerVersion(lists + 2));
    mirror(&warehouse, &braze).exits(75).says(&["a newer run of the same cohort has taken over"]);
    assert_eq!(members(&braze), ["member-zqx-1", "member-zqx-2"]);
}

#[test]
fn a_job_that_runs_when_the_run_is_stopped_is_killed() {
    let (warehouse, braze) = started();
    warehouse.suffers(Fault::JobHangs("with the last version"));
    let jobs = warehouse.jobs().len();
    let (mut child, _directory) = mirror(&warehouse, &braze).spawn();
    wait_while_running(&mut child, "its job was issued", || warehouse.jobs().len() > jobs);
    terminate(&child);
    assert_eq!(ends(child).0, Some(143));
    assert!(warehouse.asked().contains(&format!("POST /v3/job/kill/{jobs}")), "{:?}", warehouse.asked());
}

#[test]
fn an_account_that_does_not_do_what_is_relied_on_is_refused_before_anything_is_sent() {
    let (warehouse, braze) = (Warehouse::start(), knowing());
    warehouse.holds(&TWO);
    warehouse.suffers(Fault::RenamesOverwrite);
    let said = "a rename onto an existing table is refused";
    mirror(&warehouse, &braze).exits(2).says(&[said]);
    assert_untouched(&braze);
    assert_eq!(warehouse.states(), <[&str; 0]>::default());
    warehouse.mirrors(Run::check()).to(&braze).exits(2).says(&[said]).prints(&["relied on    FAILED"]);
}

#[test]
fn check_tries_the_account_and_says_how_far_the_state_is() {
    let (warehouse, braze) = started();
    let states = warehouse.states();
    warehouse.mirrors(Run::check()).to(&braze).exits(0).prints(&[
        "the table marketing.gold has 2 columns, identifiers: user_ids, alias email",
        "relied on    ok: a domain_key used twice returns the first job",
    ]);
    let asking = warehouse.mirrors(Run::check()).to(&braze).arg("--status");
    asking.exits(0).prints(&["version 2 of its state: no run is in progress", "identifiers: 3 wanted, 0 to remove"]);
    assert_eq!(warehouse.states(), states);
    Run::check().to(&braze).arg("--status").rows("user_ids\n").exits(2).says(&["--status needs operation: mirror"]);
}

#[rstest]
#[case::double(&[("user_ids", "double"), ("email", "string")], "CAST(CAST(\"user_ids\" AS BIGINT) AS VARCHAR)")]
#[case::an_alias_that_is_not_there(&[("user_ids", "string"), ("mail", "string")], "no column 'email'")]
fn a_table_that_cannot_be_read_ends_the_run_before_any_job(#[case] columns: &[(&str, &str)], #[case] said: &str) {
    let (warehouse, braze) = (Warehouse::start(), knowing());
    warehouse.has_columns(columns);
    mirror(&warehouse, &braze).exits(3).says(&[said]);
    assert_untouched(&braze);
    assert_eq!(warehouse.jobs(), <[&str; 0]>::default());
}

#[test]
fn few_known_members_stop_it_before_anything_is_changed() {
    let (warehouse, braze) = (Warehouse::start(), knowing());
    warehouse.holds(&[("member-zqx-1", ""), ("stranger-zqx-1", ""), ("stranger-zqx-2", "")]);
    let run = || mirror(&warehouse, &braze).env("BRAZE_REST_API_KEY", REST_KEY);
    run().set("min_match", "80%").exits(6).says(&["user_ids"]).hides(&["stranger-zqx"]);
    assert_eq!(warehouse.states(), <[&str; 0]>::default());
    let report = run().set("min_match", "10%").exits(0).report();
    report.has(&[("/delivered", 3)]);
    warehouse.holds(&[("member-zqx-1", ""), ("stranger-zqx-1", ""), ("stranger-zqx-3", "")]);
    let report = run().set("min_match", "80%").exits(0).report();
    report.has(&[("/delivered", 2), ("/mirror/left", 1)]);
}

#[test]
fn a_sandbox_that_ends_with_the_run_is_nothing_to_mirror_to() {
    let warehouse = Warehouse::start();
    warehouse.mirrors(Run::upload()).arg("--sandbox").exits(2).says(&["does not work with --sandbox"]);
    assert_eq!(warehouse.jobs(), <[&str; 0]>::default());
}
