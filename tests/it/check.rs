//! `check`: what is found out without sending a member.

use crate::scripted::dead_endpoint;
use crate::support::{Run, assert_untouched, braze, user_ids};

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
fn a_check_finds_wrong_credentials() {
    let braze = braze();
    let run = Run::check().to(&braze).env("BRAZE_PARTNER_API_KEY", "hush-wrong-one").rows(user_ids(1)).exits(4);
    run.prints(&["credentials  FAILED", "input        ok"]).hides(&["hush-wrong-one"]);
    assert_eq!(braze.stats().unauthorized, 1);
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
fn a_check_finds_an_endpoint_that_nobody_answers_at() {
    let run = Run::check().set("endpoint", &dead_endpoint()).set("max_outage", "1s").rows(user_ids(1));
    run.exits(75).says(&["127.0.0.1"]);
}

#[test]
fn a_check_goes_on_to_the_credentials_where_the_input_is_wrong_and_exits_with_the_first_failure() {
    let braze = braze();
    let run = Run::check().to(&braze).env("BRAZE_CLIENT_SECRET", "hush-wrong-one").exits(3);
    run.prints(&["input        FAILED", "credentials  FAILED"]).says(&["members.csv", "BRAZE_CLIENT_SECRET"]);
}
