//! `--dry-run`: everything except requests.

use crate::scripted::dead_endpoint;
use crate::support::{Run, assert_untouched, braze, user_ids};

#[test]
fn a_dry_run_needs_neither_credentials_nor_braze() {
    let run = Run::upload().set("endpoint", &dead_endpoint()).without_credentials().rows(user_ids(2500));
    let report = run.arg("--dry-run").arg("--json").exits(0).report();
    assert_eq!(report.text("/outcome"), "dry_run");
    let numbers = [("/rows_read", 2500), ("/identifiers/total", 2500), ("/delivered", 0), ("/requests", 0)];
    report.has(&numbers).has(&[("/dry_run/batches", 3)]);
}

#[test]
fn a_dry_run_sends_nothing_even_if_it_could() {
    let braze = braze();
    Run::upload().to(&braze).rows(user_ids(10)).arg("--dry-run").exits(0);
    assert_untouched(&braze);
}

#[test]
fn a_dry_run_may_be_a_setting() {
    let run = || Run::upload().set("dry_run", "true").without_credentials().rows(user_ids(10));
    assert_eq!(run().arg("--json").exits(0).report().text("/outcome"), "dry_run");
    run().set("dry_run", "sometimes").exits(2).says(&["dry_run must be true or false", "cohort.yml, line 4"]);
    let braze = braze();
    run().set("dry_run", "false").to(&braze).exits(2).says(&["BRAZE_CLIENT_SECRET"]);
    Run::check().set("dry_run", "true").to(&braze).rows(user_ids(1)).exits(0).prints(&["credentials  ok"]);
    assert_eq!(braze.stats().identifiers_added, 0);
}

#[test]
fn a_check_may_be_a_setting_of_an_upload_too() {
    let braze = braze();
    let run = || Run::upload().set("check_only", "true").to(&braze).rows(user_ids(10));
    run().exits(0).prints(&["credentials  ok", "check only, no member was sent"]);
    assert_eq!(run().arg("--json").exits(0).report().text("/outcome"), "check_only");
    run().without_credentials().exits(2).says(&["BRAZE_CLIENT_SECRET"]);
    assert_eq!((braze.stats().naming_requests, braze.stats().identifiers_added), (0, 0));
    let before = braze.stats().users_requests;
    for flag in ["--dry-run", "--sandbox"] {
        run().without_credentials().arg(flag).exits(0).prints(&["10"]);
    }
    assert_eq!(braze.stats().users_requests, before, "a flag that keeps Braze out of it beats the file");
}

#[test]
fn a_dry_run_finds_what_is_wrong_with_the_input() {
    let run = |rows: &str| Run::upload().set("endpoint", "US-01").without_credentials().rows(rows).arg("--dry-run");
    run("user\nu1\n").exits(3).says(&["user_ids"]);
    run("user_ids\n\"u1\n").exits(3);
}

#[test]
fn a_dry_run_finds_what_is_wrong_with_the_settings() {
    Run::upload().set("endpoint", "US-01").set("operation", "merge").rows(user_ids(1)).arg("--dry-run").exits(2);
}
