//! The first call, which names the cohort and has no identifiers.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::scripted::{Act, Scripted};
use crate::support::{Run, braze, user_ids};

const SESSION: &str = "2026-11-23T04:05:06+09:00";

#[test]
fn an_add_names_the_cohort_with_the_time_of_the_session() {
    let braze = braze();
    let run = Run::upload().to(&braze).set("cohort_name", "Gold – \"members\"").env("session_time", SESSION);
    run.rows(user_ids(1)).exits(0);
    let cohort = braze.cohort("vip").unwrap();
    assert_eq!(cohort.name.as_deref(), Some("Gold – \"members\""));
    let created_at: Timestamp = cohort.created_at.unwrap().parse().unwrap();
    assert_eq!(created_at, SESSION.parse().unwrap());
}

#[expect(clippy::disallowed_methods, reason = "created_at is of the wall clock")]
#[test]
fn outside_a_workflow_the_time_is_now() {
    let braze = braze();
    let before = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    Run::upload().to(&braze).rows(user_ids(1)).exits(0);
    let created_at: Timestamp = braze.cohort("vip").unwrap().created_at.unwrap().parse().unwrap();
    assert!((before..=Timestamp::now()).contains(&created_at), "{created_at}");
}

#[test]
fn without_a_name_the_cohort_is_called_by_its_id() {
    let braze = braze();
    Run::upload().to(&braze).set("cohort_id", "4711").rows(user_ids(1)).exits(0);
    assert_eq!(braze.cohort("4711").unwrap().name.as_deref(), Some("4711"));
}

#[test]
fn naming_comes_before_any_member() {
    let server = Scripted::start(|_| Act::success());
    Run::upload().set("endpoint", server.endpoint()).rows(user_ids(2001)).exits(0);
    let seen = server.seen();
    assert_eq!(seen[0].path, "/partners/treasure_data/cohorts");
    let mut paths = BTreeMap::new();
    for request in &seen {
        *paths.entry(request.path.as_str()).or_insert(0) += 1;
    }
    let expected = [("/partners/treasure_data/cohorts", 1), ("/partners/treasure_data/cohorts/users", 3)];
    assert_eq!(paths, BTreeMap::from(expected));
}

#[test]
fn a_remove_without_a_name_renames_nothing() {
    let braze = braze();
    Run::upload().to(&braze).set("cohort_name", "Gold").rows(user_ids(2)).exits(0);
    Run::upload().to(&braze).set("operation", "remove").rows(user_ids(1)).exits(0);
    let cohort = braze.cohort("vip").unwrap();
    assert_eq!((cohort.name.as_deref(), cohort.user_ids), (Some("Gold"), vec!["u1".to_owned()]));
    let stats = braze.stats();
    assert_eq!((stats.naming_requests, stats.users_requests, stats.batch_sizes), (1, 3, vec![2, 0, 1]));
}

#[test]
fn a_remove_with_a_name_names_the_cohort() {
    let braze = braze();
    Run::upload().to(&braze).set("operation", "remove").set("cohort_name", "Silver").rows(user_ids(1)).exits(0);
    assert_eq!(braze.cohort("vip").unwrap().name.as_deref(), Some("Silver"));
}

#[test]
fn the_partner_is_a_setting() {
    let server = Scripted::start(|_| Act::success());
    Run::upload().set("endpoint", server.endpoint()).set("partner", "my_company").rows(user_ids(1)).exits(0);
    assert!(server.seen().iter().all(|seen| seen.path.starts_with("/partners/my_company/cohorts")));
}
