//! What is sent again, without losing anything.

use std::num::NonZeroU64;

use rstest::rstest;
use serde_json::json;

use crate::scripted::{Act, Scripted, Seen, dead_endpoint};
use crate::support::{Run, braze_with, user_ids};

fn sorted_ids(count: usize) -> Vec<String> {
    let mut ids: Vec<String> = (0..count).map(|number| format!("u{number}")).collect();
    ids.sort();
    ids
}

#[test]
fn a_server_that_fails_every_third_time_gets_everything_nevertheless() {
    let braze = braze_with(|options| options.fail_every = NonZeroU64::new(3));
    let report = Run::upload().to(&braze).rows(user_ids(6500)).arg("--json").exits(0).report();
    let stats = braze.stats();
    let failed = stats.statuses[&503];
    let report = report.has(&[("/delivered", 6500), ("/undelivered", 0), ("/retries", failed)]);
    report.has(&[("/requests", stats.naming_requests + stats.users_requests)]);
    assert_eq!(braze.cohort("vip").unwrap().user_ids, sorted_ids(6500));
    assert_eq!(stats.identifiers_added, 6500);
}

#[test]
fn within_a_rate_limit_everything_arrives() {
    let braze = braze_with(|options| options.rate_limit = Some("5/1".parse().unwrap()));
    let run = Run::upload().to(&braze).rows(user_ids(8500)).arg("--json").exits(0);
    run.report().has(&[("/delivered", 8500)]);
    assert_eq!(braze.cohort("vip").unwrap().user_ids, sorted_ids(8500));
}

/// The first request with members fails in this way, once.
#[rstest]
#[case::reset(|| Act::Reset)]
#[case::closed(|| Act::Close)]
#[case::half_an_answer(Act::half_a_success)]
#[case::locked(|| Act::message("423 Locked", "Resource locked"))]
#[case::internal_error(|| Act::message("500 Internal Server Error", "oops"))]
#[case::long_error_page(|| Act::answer("500 Internal Server Error", "text/html", "", &"<p>oops</p>".repeat(20_000)))]
#[case::bad_gateway(|| Act::answer("502 Bad Gateway", "text/html", "Connection: close\r\n", "<html>"))]
#[case::unavailable(|| Act::message("503 Service Unavailable", "later"))]
#[case::gateway_timeout(|| Act::answer("504 Gateway Timeout", "text/plain", "Connection: close\r\n", ""))]
#[case::request_timeout(|| Act::message("408 Request Timeout", "slow"))]
#[case::too_early(|| Act::message("425 Too Early", "early"))]
#[case::rate_limited(|| Act::answer("429 Too Many Requests", "application/json", "Retry-After: 1\r\n", "{}"))]
fn what_goes_wrong_once_is_sent_again(#[case] trouble: fn() -> Act) {
    let server = Scripted::start(move |seen| match seen.number {
        1 => trouble(),
        _ => Act::success(),
    });
    let run = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(1500)).arg("--json").exits(0);
    run.report().has(&[("/delivered", 1500), ("/refused", 0), ("/requests", 4), ("/retries", 1)]);
    let seen = server.seen();
    assert_eq!(seen.iter().filter(|other| other.body == seen[1].body).count(), 2, "the same is sent again");
    assert_eq!(server.accepted_user_ids(), sorted_ids(1500));
}

#[test]
fn the_first_call_is_sent_again_too() {
    let server = Scripted::start(|seen| if seen.number == 0 { Act::Reset } else { Act::success() });
    let run = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(1)).arg("--json").exits(0);
    run.report().has(&[("/delivered", 1), ("/retries", 1)]);
}

#[test]
fn a_connection_that_the_server_closed_in_between_is_no_trouble() {
    let kept_alive = || Act::answer("201 Created", "application/json", "", r#"{"message":"success"}"#);
    let server = Scripted::start(move |_| kept_alive());
    let run = Run::upload().set("endpoint", server.endpoint()).set("thread_count", "1").rows(user_ids(3000));
    run.arg("--json").exits(0).report().has(&[("/delivered", 3000)]);
}

#[test]
fn a_poison_identifier_is_found_and_all_others_are_delivered() {
    let poisoned = |seen: &Seen| seen.user_ids().iter().any(|id| id == "member-zqx");
    let server = Scripted::start(move |seen| {
        if poisoned(seen) {
            Act::message("400 Bad Request", "user_ids must be an array of strings")
        } else {
            Act::success()
        }
    });
    let rows = user_ids(2000).replace("u617\r\n", "member-zqx\r\n");
    let run = Run::upload().set("endpoint", server.endpoint()).rows(rows).arg("--json").exits(5);
    run.report().has(&[("/delivered", 1999), ("/refused", 1), ("/undelivered", 0)]);
    let expected: Vec<_> = sorted_ids(2000).into_iter().filter(|id| id != "u617").collect();
    assert_eq!(server.accepted_user_ids(), expected);
    assert!(server.seen().len() <= 3 + 20, "{} requests", server.seen().len());
    run.hides(&["member-zqx"]);
}

#[test]
fn a_success_with_errors_is_sent_once_more_and_then_refused() {
    let server = Scripted::start(|seen| {
        if seen.has_members() {
            Act::json("201 Created", &json!({"message": "success", "errors": ["invalid"]}))
        } else {
            Act::success()
        }
    });
    let run = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(7)).arg("--json").exits(5);
    run.report().has(&[("/delivered", 0), ("/refused", 7), ("/requests", 3)]);
}

#[test]
fn a_success_with_errors_that_goes_away_is_delivered() {
    let server = Scripted::start(|seen| match seen.number {
        1 => Act::json("200 OK", &json!({"errors": ["try again"]})),
        _ => Act::json("200 OK", &json!({})),
    });
    let run = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(7)).arg("--json").exits(0);
    run.report().has(&[("/delivered", 7), ("/refused", 0)]);
}

#[test]
fn an_endpoint_that_does_not_answer_is_given_up_with_advice() {
    let endpoint = dead_endpoint();
    let run =
        Run::upload().set("endpoint", &endpoint).set("max_outage", "1s").rows(user_ids(3)).arg("--json").exits(75);
    let run = run.says(&[endpoint.trim_start_matches("http://")]).says(&["again"]);
    run.report().has(&[("/delivered", 0), ("/refused", 0)]);
}

#[test]
fn an_outage_in_the_middle_leaves_a_report_of_what_arrived() {
    let server = Scripted::start(|seen| if seen.number < 3 { Act::success() } else { Act::Close });
    let run = Run::upload().set("endpoint", server.endpoint()).set("max_outage", "1s").set("thread_count", "1");
    let report = run.rows(user_ids(5000)).arg("--json").exits(75).report();
    assert_eq!(report.text("/outcome"), "incomplete");
    let report = report.has(&[("/delivered", 2000), ("/refused", 0), ("/exit_code", 75)]);
    assert!(report.number("/undelivered") > 0);
}
