//! Broken connections, invalid answers, unknown host names: nothing is lost, and only acknowledged identifiers count.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rstest::rstest;
use td_braze_cohort::sandbox::Sandbox;

use crate::faulty::{Faulty, read_body, read_head, serve_each};
use crate::front::{Ca, Front};
use crate::scripted::{Act, Scripted};
use crate::support::{Run, braze, user_ids};

const ROWS: usize = 6500;

/// Asserts that it has `u0` to `u6499` and nothing else.
#[track_caller]
fn assert_holds_everything(braze: &Sandbox) {
    let mut expected: Vec<String> = (0..ROWS).map(|number| format!("u{number}")).collect();
    expected.sort();
    assert_eq!(braze.cohort("vip").unwrap().user_ids, expected);
}

#[rstest]
#[case::unavailable("unavailable")]
#[case::reset_before_the_body("reset_before")]
#[case::reset_in_the_body("reset_in_body")]
#[case::reset_without_an_answer("reset_after_body")]
#[case::reset_within_the_answer("reset_in_answer")]
#[case::closed_within_the_answer("half_answer")]
#[case::closed_within_the_chunks("half_chunk")]
#[case::no_http("garbage_status")]
#[case::no_length("garbage_length")]
#[case::endless_body("endless_body")]
#[case::endless_headers("endless_headers")]
#[case::answered_early("early_answer")]
#[case::closed_when_idle("close_after")]
fn what_goes_wrong_every_third_time_loses_nothing(#[case] kind: &str) {
    let server = Faulty::start(&[&format!("{kind}:3")]);
    let report = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(ROWS)).arg("--json").exits(0).report();
    report.has(&[("/rows_read", 6500), ("/delivered", 6500), ("/refused", 0), ("/undelivered", 0)]);
    assert!(server.faults(kind) >= 2, "{:?}", server.requests());
    assert_holds_everything(&server.braze);
}

#[rstest]
#[case::http_1_0("http_1_0")]
#[case::chunked("chunked")]
#[case::interim("interim")]
#[case::slow("drip")]
fn an_unusual_but_good_answer_is_one(#[case] kind: &str) {
    let server = Faulty::start(&[kind]);
    let report = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(ROWS)).arg("--json").exits(0).report();
    report.has(&[("/delivered", 6500), ("/requests", 8), ("/retries", 0)]);
    assert_eq!(server.faults(kind), 8);
    assert_holds_everything(&server.braze);
}

#[rstest]
#[case::nothing("HTTP/1.1 201 Created\r\n\r\n")]
#[case::nothing_and_it_says_so("HTTP/1.1 201 Created\r\nConnection: close\r\n\r\n")]
#[case::nothing_in_http_1_0("HTTP/1.0 201 Created\r\n\r\n")]
#[case::half_an_object("HTTP/1.1 201 Created\r\n\r\n{\"message\":\"succ")]
#[case::no_object("HTTP/1.0 200 OK\r\n\r\nok")]
#[case::another_coding("HTTP/1.1 201 Created\r\nTransfer-Encoding: gzip\r\n\r\n")]
#[case::another_coding_with_a_length("HTTP/1.1 201 Created\r\nTransfer-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}")]
#[case::two_codings("HTTP/1.1 201 Created\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")]
#[case::chunked_in_http_1_0("HTTP/1.0 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n")]
fn an_answer_that_may_have_lost_its_end_is_no_acknowledgement(#[case] answer: &'static str) {
    let server = Scripted::for_members(move |seen| match seen.number {
        1 => Act::Write(answer.into()),
        _ => Act::success(),
    });
    let run = Run::upload().set("endpoint", server.endpoint()).set("thread_count", "1").rows(user_ids(3000));
    run.arg("--json").exits(0).report().has(&[("/delivered", 3000), ("/requests", 5), ("/retries", 1)]);
    assert_eq!(server.accepted_user_ids().len(), 3000);
}

#[rstest]
#[case::no_length("HTTP/1.1 201 Created\r\nConnection: close\r\n\r\n{\"message\":\"success\"}")]
#[case::empty("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")]
#[case::empty_in_chunks("HTTP/1.1 202 Accepted\r\ntransfer-encoding: Chunked\r\nConnection: close\r\n\r\n0\r\n\r\n")]
fn an_answer_that_is_surely_whole_is_one(#[case] answer: &'static str) {
    let server = Scripted::start(move |_| Act::Write(answer.into()));
    let run = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(3000));
    run.arg("--json").exits(0).report().has(&[("/delivered", 3000), ("/requests", 4), ("/retries", 0)]);
}

#[test]
fn connections_that_are_never_kept_although_announced_cost_no_batch() {
    let server = Faulty::start(&["close_after"]);
    let report = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(ROWS)).arg("--json").exits(0).report();
    report.has(&[("/delivered", 6500), ("/undelivered", 0)]);
    assert_holds_everything(&server.braze);
}

#[rstest]
#[case::redirect("redirect", "redirect (")]
#[case::web_page("html", "not Braze")]
fn what_is_not_braze_ends_the_run_wherever_it_appears(#[case] kind: &str, #[case] word: &str) {
    let server = Faulty::start(&[&format!("{kind}:3")]);
    let run = Run::upload()
        .set("endpoint", server.endpoint())
        .set("thread_count", "1")
        .rows(user_ids(ROWS))
        .arg("--json")
        .exits(5);
    run.says(&[word, server.endpoint()]).report().has(&[("/delivered", 1000), ("/requests", 3)]);
    assert_eq!(server.requests(), (1, 2, 0));
    assert_eq!(server.braze.cohort("vip").unwrap().members, 1000);
}

#[rstest]
#[case::no_http("garbage_status")]
#[case::no_length("garbage_length")]
#[case::endless_body("endless_body")]
#[case::endless_headers("endless_headers")]
fn an_answer_that_is_never_usable_ends_the_run_after_three(#[case] kind: &str) {
    let server = Faulty::start(&[kind]);
    let run = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(ROWS)).arg("--json").exits(5);
    run.says(&["not Braze's", "is invalid"]).report().has(&[("/delivered", 0), ("/requests", 3)]);
    assert_eq!(server.requests(), (3, 0, 0));
}

#[rstest]
#[case::reset_before_the_body("reset_before")]
#[case::reset_without_an_answer("reset_after_body")]
#[case::closed_within_the_answer("half_answer")]
#[case::answered_early("early_answer")]
fn an_outage_without_end_is_given_up_before_any_member_is_sent(#[case] kind: &str) {
    let server = Faulty::start(&[kind]);
    let run = Run::upload()
        .set("endpoint", server.endpoint())
        .set("max_outage", "500ms")
        .rows(user_ids(ROWS))
        .arg("--json")
        .exits(75);
    run.says(&["no request to", server.endpoint()]).report().has(&[("/delivered", 0), ("/refused", 0)]);
    let (naming, users, others) = server.requests();
    assert!(naming > 1 && users + others == 0, "{:?}", server.requests());
}

/// Hands one request on for each connection and answers that it is kept, but closes it as soon as the next one begins.
fn forgetful(braze: &Sandbox) -> String {
    let upstream = braze.endpoint().trim_start_matches("http://").to_owned();
    serve_each(move |client| {
        let mut client = BufReader::new(client);
        let mut upstream = BufReader::new(TcpStream::connect(&upstream)?);
        hand_on(&mut client, upstream.get_mut())?;
        hand_on(&mut upstream, client.get_mut())?;
        client.get_ref().peek(&mut [0]).map(drop)
    })
}

/// Hands one message on.
fn hand_on(from: &mut impl BufRead, to: &mut impl Write) -> io::Result<()> {
    let head = read_head(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let body = read_body(from, &head)?;
    to.write_all(&[head.as_bytes(), &body].concat())
}

#[rstest]
fn a_kept_connection_that_is_gone_is_replaced_at_once(#[values(false, true)] is_encrypted: bool) {
    let (braze, ca) = (braze(), Ca::new());
    let mut endpoint = forgetful(&braze);
    if is_encrypted {
        endpoint = Front::before(endpoint.trim_start_matches("http://"), ca.identity("127.0.0.1")).endpoint();
    }
    let run = Run::upload().set("endpoint", &endpoint).set("thread_count", "1").env("RUST_LOG", "debug");
    let run = run.file("ca.pem", ca.pem()).set("ca_file", "ca.pem");
    let run = run.rows(user_ids(ROWS)).arg("--json").exits(0);
    // Every request except the first finds its connection closed once. That causes no pause.
    run.report().has(&[("/delivered", 6500), ("/requests", 15), ("/retries", 7)]);
    run.hides(&["again in"]);
    assert_holds_everything(&braze);
}

#[test]
fn in_an_outage_one_request_at_a_time_is_tried_and_then_everything_goes_on() {
    let (down, began) = (Duration::from_millis(1200), OnceLock::new());
    let server = Scripted::start(move |seen| match seen.number {
        0 => Act::success(),
        _ if began.get_or_init(Instant::now).elapsed() < down => Act::Reset,
        _ => Act::success(),
    });
    let run = Run::upload().set("endpoint", server.endpoint()).set("thread_count", "8").rows(user_ids(20_000));
    run.arg("--json").exits(0).report().has(&[("/delivered", 20_000), ("/undelivered", 0)]);
    let failed = server.seen().iter().filter(|seen| !seen.accepted).count();
    // The requests in flight when it began, and a probe or two. 8 independent workers would have tried 24 times.
    assert!((1..=14).contains(&failed), "{failed} requests failed");
}

#[test]
fn an_outage_is_over_when_braze_is_back() {
    // The seventh to the ninth request fail, from any worker: three failures in a row are an outage.
    let server = Faulty::start(&["unavailable:7", "reset_before:8", "half_answer:9"]);
    let report = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(ROWS)).arg("--json").exits(0).report();
    report.has(&[("/delivered", 6500), ("/undelivered", 0)]);
    assert_holds_everything(&server.braze);
}

#[test]
fn an_unknown_name_is_looked_up_again_and_then_given_up() {
    // A name of a kind that never exists; one of Braze's might, some day.
    let run = Run::upload().set("endpoint", "https://rest.braze.invalid").set("allow_endpoint", "rest.braze.invalid");
    let run = run.set("max_outage", "2s").rows(user_ids(3000)).arg("--json").exits(75);
    let run = run.says(&["rest.braze.invalid", "looked up", "check the endpoint, DNS"]);
    let report = run.report();
    assert!(report.number("/requests") > 1, "{report:?}");
    report.has(&[("/delivered", 0), ("/undelivered", 3000)]);
}
