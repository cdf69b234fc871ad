//! Servers that repeat what they were sent.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rstest::rstest;
use serde_json::{Value, json};

use super::{CLIENT_SECRET, IDENTIFIER_WORD, PARTNER_KEY, assert_clean, hex, rows, upload, with_keys};
use crate::scripted::{Act, Scripted, Seen};
use crate::support::{Run, ends, terminate, user_ids, wait_while_running};

fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// A text in the forms that a server could repeat it in.
fn echoes(text: &str) -> Vec<String> {
    let quoted = Value::from(text).to_string();
    let ascii: String = text
        .encode_utf16()
        .map(|unit| match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            _ => format!("\\u{unit:04x}"),
        })
        .collect();
    vec![
        text.to_owned(),
        quoted.clone(),
        quoted.replace('/', "\\/"),
        ascii,
        percent(text),
        percent(text).replace("%20", "+"),
        BASE64_STANDARD.encode(text),
        BASE64_STANDARD.encode(format!("u:{text}")),
        BASE64_STANDARD.encode(format!("us:{text};")),
        hex(text),
        hex(text).to_uppercase(),
    ]
}

fn keys(seen: &Seen) -> String {
    let keys = ["client_secret", "partner_api_key"].map(|name| seen.body[name].as_str().unwrap_or_default().to_owned());
    keys.iter().flat_map(|key| echoes(key)).collect::<Vec<_>>().join(" ")
}

fn both(seen: &Seen) -> String {
    format!("{} {} {}", keys(seen), seen.user_ids().join(", "), seen.body)
}

fn message(status: &str, text: &str) -> Act {
    Act::message(status, text)
}

fn html(status: &str, text: &str) -> Act {
    Act::answer(status, "text/html", "Connection: close\r\n", &format!("<html><body>{text}</body></html>"))
}

fn raw(text: &str) -> Act {
    Act::Write(text.as_bytes().to_vec())
}

fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

type Fault = fn(&Seen) -> Act;

/// Runs an upload, and one as an operator, against a server that gives this answer to every call with members.
#[track_caller]
fn survives(
    fault: impl Fn(&Seen) -> Act + Copy + Send + Sync + 'static,
    also_the_first_call: bool,
    times: usize,
    code: i32,
) {
    for operator in [false, true] {
        let left = AtomicUsize::new(times);
        let server = Scripted::start(move |seen| {
            let is_meant = also_the_first_call || seen.has_members();
            let is_left = || left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
            if is_meant && is_left() { fault(seen) } else { Act::success() }
        });
        let run = if operator {
            let mut parameters = json!({"cohort_id": "vip", "operation": "add", "input": "members.csv"});
            parameters["endpoint"] = server.endpoint().into();
            parameters["failed_file"] = "failed.csv".into();
            Run::operator(&parameters)
        } else {
            Run::upload().set("endpoint", server.endpoint()).set("failed_file", "failed.csv").arg("--json")
        };
        let run = with_keys(run).rows(rows()).exits(code);
        assert!(!server.seen().is_empty(), "nothing was asked");
        assert_clean(&run.stdout, &run.stderr, run.path());
    }
}

const ALWAYS: usize = usize::MAX;

#[rstest]
#[case::wrong_key(|seen: &Seen| message("401 Unauthorized", &keys(seen)), 4)]
#[case::wrong_key_in_braces(|seen: &Seen| message("401 Unauthorized", &seen.body.to_string()), 4)]
#[case::wrong_key_behind_much(|seen: &Seen| message("401 Unauthorized", &format!("{}{}", "x".repeat(190), keys(seen))), 4)]
#[case::forbidden(|seen: &Seen| message("403 Forbidden", &keys(seen)), 4)]
#[case::firewall(|seen: &Seen| html("403 Forbidden", &both(seen)), 5)]
#[case::bad_request(|seen: &Seen| message("400 Bad Request", &format!("cohort_id of {} is not valid", keys(seen))), 5)]
#[case::no_such_path(|seen: &Seen| message("404 Not Found", &both(seen)), 5)]
#[case::portal(|seen: &Seen| html("200 OK", &both(seen)), 5)]
#[case::redirect(|seen: &Seen| Act::answer("302 Found", "text/html", &format!("Location: /?{}\r\n", percent(&both(seen))), ""), 5)]
#[case::proxy(|seen: &Seen| message("407 Proxy Authentication Required", &both(seen)), 2)]
#[case::not_acknowledged(|seen: &Seen| Act::json("201 Created", &json!({"message": keys(seen), "errors": [both(seen)]})), 5)]
#[case::unknown_status(|seen: &Seen| message("501 Not Implemented", &keys(seen)), 5)]
#[case::unknown_status_and_reason(|seen: &Seen| message(&format!("418 {}", percent(&both(seen))), &keys(seen)), 5)]
fn no_key_leaves_whatever_the_first_call_is_answered(#[case] fault: Fault, #[case] code: i32) {
    survives(fault, true, ALWAYS, code);
}

#[rstest]
fn no_key_leaves_in_whatever_form_it_is_repeated(
    #[values(CLIENT_SECRET, PARTNER_KEY)] key: &'static str,
    #[values(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)] form: usize,
) {
    let fault = move |_: &Seen| {
        let form = echoes(key).swap_remove(form);
        // Braze's own sentence, and the rest of it after a cut in the middle.
        message(
            "401 Unauthorized",
            &format!("Partner not enabled for client with client secret: {form} {:150}{form}", ""),
        )
    };
    survives(fault, true, ALWAYS, 4);
}

#[rstest]
fn no_identifier_leaves_in_whatever_form_it_is_repeated(#[values(0, 1, 2, 3, 4, 5)] form: usize) {
    let fault = move |seen: &Seen| {
        let repeated: Vec<_> = seen.user_ids().iter().map(|id| echoes(id).swap_remove(form)).collect();
        message("400 Bad Request", &format!("not valid: {}", repeated.join(" ")))
    };
    survives(fault, false, ALWAYS, 5);
}

#[rstest]
fn no_half_of_an_identifier_leaves_where_a_message_is_cut(#[values(180, 185, 190, 195)] before: usize) {
    let fault = move |seen: &Seen| {
        message("400 Bad Request", &format!("{} {}", "x".repeat(before), seen.user_ids().last().unwrap()))
    };
    survives(fault, false, ALWAYS, 5);
}

#[rstest]
#[case::in_the_changes(|seen: &Seen| message("400 Bad Request", &seen.body["cohort_changes"].to_string()), 5)]
#[case::within_words(|seen: &Seen| message("400 Bad Request", &format!("id{}x", seen.user_ids().join("x"))), 5)]
#[case::identifiers(|seen: &Seen| message("400 Bad Request", &format!("{} are not valid", seen.user_ids().join(", "))), 5)]
#[case::with_words_around(|seen: &Seen| message("400 Bad Request", &format!("no such user: {}.", seen.user_ids()[0])), 5)]
#[case::errors(|seen: &Seen| Act::json("201 Created", &json!({"message": "success", "errors": seen.user_ids()})), 5)]
#[case::nested_errors(|seen: &Seen| Act::json("201 Created", &json!({"errors": [{"id": seen.user_ids(), "body": seen.body}]})), 5)]
#[case::keys(|seen: &Seen| message("400 Bad Request", &keys(seen)), 5)]
#[case::too_large(|seen: &Seen| message("413 Payload Too Large", &both(seen)), 5)]
#[case::page(|seen: &Seen| html("400 Bad Request", &both(seen)), 5)]
#[case::wrong_key(|seen: &Seen| message("401 Unauthorized", &format!("{} {}", seen.user_ids().join(", "), keys(seen))), 4)]
#[case::no_such_path(|seen: &Seen| message("404 Not Found", &both(seen)), 5)]
#[case::unknown_status(|seen: &Seen| message("501 Not Implemented", &seen.user_ids().join(" ")), 5)]
#[case::redirect(|seen: &Seen| Act::answer("307 Elsewhere", "text/html", &format!("Location: /?{}\r\n", percent(&both(seen))), ""), 5)]
#[case::not_json(|seen: &Seen| Act::answer("201 Created", "application/json", "Connection: close\r\n", &both(seen)), 5)]
#[case::status_line(|seen: &Seen| raw(&format!("HTTP/1.1 {}\r\n\r\n", one_line(&both(seen)))), 5)]
#[case::no_http(|seen: &Seen| raw(&both(seen)), 5)]
#[case::header(|seen: &Seen| raw(&format!("HTTP/1.1 201 Created\r\n{}\r\n\r\n", one_line(&both(seen)))), 5)]
#[case::length(|seen: &Seen| raw(&format!("HTTP/1.1 201 Created\r\nContent-Length: {}\r\n\r\n", one_line(&both(seen)))), 5)]
#[case::chunk(|seen: &Seen| raw(&format!("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n{}\r\n", one_line(&both(seen)))), 5)]
fn no_identifier_leaves_whatever_the_members_are_answered(#[case] fault: Fault, #[case] code: i32) {
    survives(fault, false, ALWAYS, code);
}

#[rstest]
#[case::server_error(|seen: &Seen| message("500 Internal Server Error", &both(seen)))]
#[case::unavailable(|seen: &Seen| html("503 Service Unavailable", &both(seen)))]
#[case::locked(|seen: &Seen| message("423 Locked", &both(seen)))]
#[case::limited(|seen: &Seen| Act::answer("429 Too Many Requests", "application/json", &format!("Retry-After: 1\r\nX-RateLimit-Reset: {}\r\n", percent(&both(seen))), "{}"))]
#[case::reset(|_: &Seen| Act::Reset)]
#[case::closed(|_: &Seen| Act::Close)]
#[case::half_an_answer(|_: &Seen| Act::half_a_success())]
fn nothing_leaves_in_a_failure_that_passes(#[case] fault: Fault) {
    survives(fault, false, 1, 0);
}

#[test]
fn nothing_leaves_when_a_run_is_terminated() {
    let server = Scripted::for_members(|_| Act::Later(Duration::from_millis(300), Box::new(Act::Close)));
    let more = rows() + user_ids(5000).split_once("\r\n").unwrap().1;
    let run = upload().set("endpoint", server.endpoint()).set("failed_file", "failed.csv");
    let (mut child, directory) = run.rows(more).arg("--json").spawn();
    wait_while_running(&mut child, "its requests arrived", || server.seen().len() > 2);
    terminate(&child);
    let (code, ended) = ends(child);
    assert_eq!(code, Some(143), "{}", ended.stderr);
    assert_clean(&ended.stdout, &ended.stderr, directory.path());
    let failed = fs::read_to_string(directory.path().join("failed.csv")).unwrap();
    assert!(failed.contains(IDENTIFIER_WORD), "identifiers belong there");
}
