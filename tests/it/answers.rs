//! Answers after which a request is not sent again.

use rstest::rstest;

use crate::scripted::{Act, Scripted};
use crate::support::{PARTNER_KEY, Run, SECRET, user_ids};

#[rstest]
#[case::not_enabled(&format!("Partner not enabled for client with client secret: {SECRET}"), "401 Unauthorized")]
#[case::partner_key("Invalid Partner API key", "401 Unauthorized")]
#[case::client_secret("Invalid client secret", "401 Unauthorized")]
#[case::unauthorized("Unauthorized access", "401 Unauthorized")]
#[case::forbidden(&format!("Forbidden for {PARTNER_KEY}"), "403 Forbidden")]
fn refused_credentials_end_the_run_and_an_echo_is_redacted(#[case] message: &str, #[case] status: &'static str) {
    let message = message.to_owned();
    let server = Scripted::start(move |_| Act::message(status, &message));
    let run = Run::upload().set("endpoint", server.endpoint()).env("RUST_LOG", "trace").rows(user_ids(3000));
    run.exits(4).says(&["Braze"]);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn credentials_that_are_withdrawn_in_the_middle_end_the_run() {
    let server = Scripted::start(|seen| match seen.number {
        0 | 1 => Act::success(),
        _ => Act::message("401 Unauthorized", "Invalid client secret"),
    });
    let run = Run::upload().set("endpoint", server.endpoint()).set("thread_count", "1").rows(user_ids(9000));
    let report = run.arg("--json").exits(4).report();
    report.has(&[("/delivered", 1000), ("/requests", 3)]);
    assert_eq!(server.seen().len(), 3);
}

#[rstest]
#[case::found("302 Found")]
#[case::temporary("307 Temporary Redirect")]
#[case::permanent("308 Permanent Redirect")]
fn a_redirect_is_not_followed(#[case] status: &'static str) {
    let elsewhere = Scripted::start(|_| Act::success());
    let location = format!("Location: {}/login\r\nConnection: close\r\n", elsewhere.endpoint());
    let server = Scripted::start(move |_| Act::answer(status, "text/html", &location, ""));
    Run::upload().set("endpoint", server.endpoint()).rows(user_ids(3000)).exits(5).says(&["redirect"]);
    assert_eq!((server.seen().len(), elsewhere.seen().len()), (1, 0));
}

#[rstest]
#[case::captive_portal("200 OK", "text/html", "<html><body>Please log in</body></html>", "not Braze")]
#[case::firewall("403 Forbidden", "text/html", "<html>Access denied</html>", "firewall")]
#[case::not_found("404 Not Found", "application/json", r#"{"message":"Not Found"}"#, "treasure_data")]
#[case::not_implemented("501 Not Implemented", "application/json", "{}", "status 501")]
#[case::version("505 HTTP Version Not Supported", "text/plain", "", "status 505")]
#[case::gone("410 Gone", "application/json", "{}", "status 410")]
#[case::teapot("418 I'm a teapot", "application/json", "{}", "status 418")]
#[case::bad_name(
    "400 Bad Request",
    "application/json",
    r#"{"message":"cohort_id must be a valid string"}"#,
    "cohort_id"
)]
fn what_cannot_get_better_ends_the_run_before_any_member(
    #[case] status: &'static str,
    #[case] content_type: &'static str,
    #[case] body: &'static str,
    #[case] word: &str,
) {
    let server = Scripted::start(move |_| Act::answer(status, content_type, "Connection: close\r\n", body));
    Run::upload().set("endpoint", server.endpoint()).rows(user_ids(3000)).exits(5).says(&[word]);
    assert_eq!(server.seen().len(), 1);
    assert!(!server.seen()[0].has_members());
}

#[test]
fn a_partner_that_braze_does_not_have_is_named_with_the_endpoint() {
    let server = Scripted::start(|_| Act::message("404 Not Found", "Not Found"));
    let run = Run::upload().set("endpoint", server.endpoint()).set("partner", "acme").rows(user_ids(3000)).exits(5);
    run.says(&[&format!("Braze has no partner 'acme' at {} (404): set `partner`", server.endpoint())]);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_request_that_is_too_large_is_halved_until_it_is_not() {
    let server = Scripted::start(|seen| {
        if seen.user_ids().len() > 300 {
            Act::answer("413 Content Too Large", "text/html", "Connection: close\r\n", "<html>")
        } else {
            Act::success()
        }
    });
    let run = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(2000)).arg("--json").exits(0);
    // One request of 1,000, two of 500 and four of 250, for each of two batches; and the call before them.
    run.report().has(&[("/delivered", 2000), ("/refused", 0), ("/undelivered", 0), ("/requests", 15)]);
    assert_eq!(server.accepted_user_ids().len(), 2000);
}

#[test]
fn html_in_the_middle_is_not_delivered() {
    let server = Scripted::start(|seen| {
        if seen.has_members() {
            Act::answer("200 OK", "text/html", "Connection: close\r\n", "<html></html>")
        } else {
            Act::success()
        }
    });
    let run = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(5)).arg("--json").exits(5);
    run.report().has(&[("/delivered", 0)]);
}

#[rstest]
#[case::empty("200 OK", "")]
#[case::empty_object("202 Accepted", "{}")]
#[case::no_errors("201 Created", r#"{"message":"success","errors":[]}"#)]
fn every_form_of_success_is_delivered(#[case] status: &'static str, #[case] body: &'static str) {
    let server = Scripted::start(move |_| Act::answer(status, "application/json", "Connection: close\r\n", body));
    let run = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(5)).arg("--json").exits(0);
    run.report().has(&[("/delivered", 5), ("/requests", 2)]);
}

#[test]
fn an_http_1_0_server_is_fine() {
    let answer = b"HTTP/1.0 201 Created\r\nContent-Type: application/json\r\n\r\n{\"message\":\"success\"}";
    let server = Scripted::start(move |_| Act::Write(answer.to_vec()));
    Run::upload().set("endpoint", server.endpoint()).rows(user_ids(5)).exits(0);
}

#[test]
fn interim_answers_without_end_are_no_answer() {
    let interim = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n".repeat(100_000);
    let server = Scripted::start(move |_| Act::Write(interim.clone()));
    let run = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(10)).arg("--json").exits(5);
    run.says(&["not Braze's"]).report().has(&[("/requests", 3)]);
}

#[test]
fn an_error_whose_page_breaks_off_counts_all_the_same() {
    let head = b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{\"mess";
    let server = Scripted::start(move |_| Act::Write(head.to_vec()));
    let run = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(10)).arg("--json").exits(4);
    run.report().has(&[("/requests", 1)]);
}
