//! A Treasure Data job as the input: the program fetches its result itself.

use std::collections::BTreeSet;
use std::io::{Write, stderr};
use std::process::Command;
use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};
use td_braze_cohort::sandbox::Sandbox;

use crate::formats::gzip;
use crate::front::{Ca, Front};
use crate::report::Report;
use crate::scripted::dead_endpoint;
use crate::support::{Run, TD_KEY, assert_untouched, braze, ends, signal, wait_while_running};
use crate::td::{JOB, Reply, Td, job, success, text, user_ids};

/// Far beyond "at once" on a busy machine, and far below every deadline and pause.
const AT_ONCE: Duration = Duration::from_secs(8);

fn held(braze: &Sandbox) -> BTreeSet<String> {
    braze.cohort("vip").unwrap().user_ids.into_iter().collect()
}

fn expected(count: usize) -> BTreeSet<String> {
    (0..count).map(|number| format!("u{number}")).collect()
}

/// Rows whose numbers, nulls and texts are all in columns that are used.
fn typed_rows(count: usize) -> Vec<u8> {
    let row = |number: usize| {
        let time = [&[0xce], 1_700_000_000_u32.to_be_bytes().as_slice()].concat();
        let user_id = match number % 3 {
            0 => vec![0xc0],
            1 => [&[0xcf], (u64::MAX - number as u64).to_be_bytes().as_slice()].concat(),
            _ => text(&format!("00-zqx-{number}")),
        };
        let email = if number % 3 == 1 { vec![0xc0] } else { text(&format!("zoë{number}@例え.jp")) };
        [vec![0x93], time, user_id, email].concat()
    };
    (0..count).flat_map(row).collect()
}

#[test]
fn the_members_of_3000_rows_arrive_exactly_whatever_their_types() {
    let schema = "[[\"time\", \"bigint\"], [\"user_ids\", \"varchar\"], [\"email\", \"varchar\"]]";
    let bytes = gzip(&typed_rows(3000));
    let shown = json!({"status": "success", "num_records": 3000, "hive_result_schema": schema});
    let td = Td::with_result(shown, move |_| Reply::whole(&bytes));
    let braze = braze();
    let run = td.feeds(Run::upload().to(&braze)).set("aliases", "email").arg("--json").exits(0);
    run.report().has(&[("/rows_read", 3000), ("/delivered", 4000), ("/identifiers/user_ids", 2000), ("/retries", 0)]);
    let numbers = (1..3000).step_by(3).map(|number| (u64::MAX - number).to_string());
    let texts = (2..3000).step_by(3).map(|number| format!("00-zqx-{number}"));
    assert_eq!(held(&braze), numbers.chain(texts).collect());
    let emails = (0..3000).filter(|number| number % 3 != 1).map(|number| format!("zoë{number}@例え.jp"));
    let aliases = braze.cohort("vip").unwrap().aliases.into_iter().map(|alias| alias.alias_name);
    assert_eq!(aliases.collect::<BTreeSet<_>>(), emails.collect());
    assert_eq!(td.asked().len(), 2);
    run.hides(&["zoë2@", "-zqx-"]);
}

#[test]
fn a_job_that_still_runs_is_waited_for() {
    let bytes = gzip(&user_ids(10));
    let td = Td::start(move |asked| match (asked.is_show, asked.number) {
        (true, 0) => Reply::json(&job("queued", &Value::Null)),
        (true, 1) => Reply::json(&job("running", &Value::Null)),
        (true, _) => Reply::json(&success(10)),
        (false, _) => Reply::whole(&bytes),
    });
    let braze = braze();
    let run = td.feeds(Run::upload().to(&braze)).exits(0);
    run.says(&[
        "job 4711 is queued",
        "job 4711 is running",
        "job 4711 (database unknown, issued unknown, rows 10): SELECT 1",
    ]);
    assert_eq!(held(&braze), expected(10));
    assert_eq!(td.asked().len(), 4);
}

#[rstest]
#[case::another_cohort("silver", true)]
#[case::the_same_cohort("vip", false)]
fn the_job_is_named_and_one_that_went_into_another_cohort_is_warned_of(#[case] cohort: &str, #[case] is_warned: bool) {
    let mut shown = success(10);
    shown["database"] = json!("marketing");
    shown["created_at"] = json!("2026-11-25 23:00:01 UTC");
    shown["query"] = json!(format!("\n  SELECT id AS user_ids -- {}\nFROM members", "x".repeat(100)));
    let bytes = gzip(&user_ids(10));
    let td = Td::start(move |asked| if asked.is_show { Reply::json(&shown) } else { Reply::whole(&bytes) });
    let braze = braze();
    let settings = json!({
        "cohort_id": "vip", "operation": "add", "job_id": JOB, "endpoint": braze.endpoint(),
        "last_upload": {"cohort_id": cohort, "job": {"id": JOB}},
    });
    let run = Run::operator(&settings).env("TD_API_KEY", TD_KEY).env("TD_API_SERVER", td.endpoint()).exits(0);
    let run =
        run.says(&["job 4711 (database marketing, issued 2026-11-25 23:00:01 UTC, rows 10): SELECT id AS user_ids"]);
    assert_eq!(run.stderr.contains("to the cohort silver: is the job_id right?"), is_warned, "{run}");
    let report = &run.output()["store_params"]["braze_cohort"]["last_upload"]["job"];
    assert_eq!((&report["database"], &report["rows"]), (&json!("marketing"), &json!(10)));
    assert_eq!(report["query"].as_str().unwrap().chars().count(), 80);
    assert_eq!(report.get("uploaded_before_to"), is_warned.then(|| json!("silver")).as_ref());
}

#[rstest]
#[case::failed("200 OK", "error", 3, "status 'error'")]
#[case::killed("200 OK", "killed", 3, "status 'killed'")]
#[case::unknown("404 Not Found", "", 3, "has no job 4711")]
#[case::forbidden("403 Forbidden", "", 4, "TD_API_KEY")]
#[case::refused("400 Bad Request", "", 5, "said by TD")]
fn a_job_without_a_result_ends_the_run_with_a_report_before_braze_is_asked(
    #[case] answer: &'static str,
    #[case] status: &'static str,
    #[case] code: i32,
    #[case] words: &str,
) {
    let td = Td::start(move |_| match answer {
        "200 OK" => Reply::json(&job(status, &Value::Null)),
        other => Reply::error(other),
    });
    let braze = braze();
    let run = td.feeds(Run::upload().to(&braze)).arg("--json").exits(code).says(&[words]);
    let report = run.report().has(&[("/rows_read", 0), ("/delivered", 0), ("/exit_code", code.unsigned_abs().into())]);
    assert_eq!(report.text("/outcome"), "incomplete");
    assert_eq!(td.asked().len(), 1);
    assert_untouched(&braze);
}

#[rstest]
#[case::redirect(Reply::answer("302 Found", "Location: http://127.0.0.1:1/\r\n", b""), "redirect")]
#[case::firewall(Reply::answer("403 Forbidden", "Content-Type: text/html\r\n", b"<html>"), "allow-list")]
#[case::portal(Reply::answer("200 OK", "Content-Type: text/html\r\n", b"<html>"), "web page")]
#[case::not_found(Reply::answer("404 Not Found", "Content-Type: text/html\r\n", b"<html>"), "web page")]
fn what_is_not_treasure_data_ends_the_run(#[case] reply: Reply, #[case] words: &str) {
    let Reply::Bytes(bytes) = reply else { unreachable!() };
    let td = Td::start(move |_| Reply::Bytes(bytes.clone()));
    let braze = braze();
    td.feeds(Run::upload().to(&braze)).exits(5).says(&["is not Treasure Data's", words]);
    assert_eq!(td.asked().len(), 1);
    assert_untouched(&braze);
}

#[test]
fn a_wrong_key_ends_the_run_and_is_never_shown() {
    let (td, braze) = (Td::with_rows(3), braze());
    let run = td.feeds(Run::upload().to(&braze)).env("TD_API_KEY", "9/hush-wrong-one").exits(4);
    run.says(&["TD_API_KEY", "said by TD"]).hides(&["hush-wrong-one"]);
    assert_eq!(td.asked().len(), 1);
    assert_untouched(&braze);
}

#[test]
fn a_key_that_treasure_data_repeats_is_redacted() {
    let body = json!({ "error": format!("no such key: {TD_KEY} ({})", TD_KEY.replace('/', "%2F")) }).to_string();
    let td = Td::start(move |_| Reply::answer("403 Forbidden", "Content-Type: application/json\r\n", body.as_bytes()));
    td.feeds(Run::upload().to(&braze())).exits(4).says(&["no such key: [redacted] ([redacted])"]);
}

#[test]
fn a_key_on_the_command_line_is_refused_and_not_repeated() {
    let (td, braze) = (Td::with_rows(3), braze());
    for argument in ["--td-api-key=1/hush-hush-hush", "TD_API_KEY=1/hush-hush-hush", TD_KEY] {
        let run = td.feeds(Run::upload().to(&braze)).arg(argument).exits(2);
        run.says(&["command line"]).hides(&["hush-hush-hush"]);
    }
    assert!(td.asked().is_empty());
}

#[rstest]
#[case(None, "missing or empty")]
#[case(Some(""), "missing or empty")]
#[case(Some("${secret:td.apikey}"), "still contains")]
#[case(Some("1/hush-\nhush"), "line break")]
fn a_key_that_cannot_be_one_is_named_before_any_request(#[case] value: Option<&str>, #[case] words: &str) {
    let (td, braze) = (Td::with_rows(3), braze());
    let run = td.feeds(Run::upload().to(&braze));
    let run = value
        .map_or_else(|| td.feeds(Run::upload().to(&braze)).without_env("TD_API_KEY"), |it| run.env("TD_API_KEY", it));
    run.exits(2).says(&["TD_API_KEY", words, "under _env"]).hides(&["hush-"]);
    assert!(td.asked().is_empty());
    assert_untouched(&braze);
}

#[rstest]
#[case::a_key_of_its_own("td_api_key", "1/hush-hush-hush", &["environment"])]
#[case::as_the_job("job_id", TD_KEY, &["contains a credential"])]
fn a_key_in_yaml_is_refused_and_not_repeated(#[case] key: &str, #[case] value: &str, #[case] words: &[&str]) {
    let (td, braze) = (Td::with_rows(3), braze());
    td.feeds(Run::upload().to(&braze)).set(key, value).exits(2).says(words).hides(&["hush-hush-hush"]);
    assert!(td.asked().is_empty());
}

#[rstest]
#[case::path("https://api.treasuredata.com/v3", &["path or a query"])]
#[case::plain_http("http://api.treasuredata.com", &["https"])]
#[case::foreign("https://api.treasuredata.com.evil.example", &["allow_endpoint: api.treasuredata.com.evil.example"])]
#[case::user("https://me:hush-hush@api.treasuredata.com", &["a user name"])]
#[case::no_address("eu01", &["https://api.treasuredata.com"])]
fn a_server_that_is_not_treasure_datas_is_refused(#[case] server: &str, #[case] words: &[&str]) {
    let (td, braze) = (Td::with_rows(3), braze());
    let run = td.feeds(Run::upload().to(&braze)).env("TD_API_SERVER", server).exits(2);
    run.says(&["TD_API_SERVER"]).says(words).hides(&["hush-hush"]);
    assert_untouched(&braze);
}

#[test]
fn one_list_allows_hosts_of_both_kinds() {
    // Neither is reached: a dry run of a job asks Treasure Data, and its name does not exist here.
    let run = |allowed: &str| {
        let run = Run::upload().unset("input").set("job_id", JOB).set("endpoint", "https://braze.invalid");
        let run = run.set("allow_endpoint", allowed).set("max_outage", "1s").env("TD_API_KEY", TD_KEY);
        run.env("TD_API_SERVER", "https://td.invalid").arg("--dry-run")
    };
    run("[braze.invalid, td.invalid]").exits(75).says(&["https://td.invalid"]);
    run("braze.invalid, td.invalid").exits(75);
    run("braze.invalid").exits(2).says(&["TD_API_SERVER", "allow_endpoint: td.invalid"]);
    run("td.invalid").exits(2).says(&["allow_endpoint: braze.invalid"]);
}

#[test]
fn a_download_that_breaks_three_times_is_brought_to_its_end() {
    let bytes = gzip(&user_ids(3000));
    let size = bytes.len();
    let td = Td::with_result(success(3000), move |asked| {
        // Each time a quarter more of it arrives.
        Reply::whole(&bytes).cut_by(size / 4 * 3_usize.saturating_sub(asked.number))
    });
    let braze = braze();
    let run = td.feeds(Run::upload().to(&braze)).exits(0);
    let quarter = size / 4;
    run.says(
        &[3, 2, 1]
            .map(|left| format!("the download broke off at byte {}", size - left * quarter))
            .each_ref()
            .map(String::as_str),
    );
    assert_eq!(held(&braze), expected(3000));
    assert_eq!(td.downloads().iter().filter(|asked| !asked.has_range).count(), 4);
}

#[test]
fn chunks_without_an_end_are_no_whole_answer() {
    let bytes = gzip(&user_ids(100));
    let td = Td::with_result(success(100), move |asked| {
        if asked.number > 0 {
            return Reply::whole(&bytes);
        }
        let half = bytes.len() / 2;
        let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{half:x}\r\n");
        Reply::Bytes([head.as_bytes(), &bytes[..half], b"\r\n"].concat())
    });
    let braze = braze();
    td.feeds(Run::upload().to(&braze)).exits(0);
    assert_eq!((held(&braze), td.downloads().len()), (expected(100), 2));
}

#[test]
fn a_result_that_was_cut_before_it_was_sent_cannot_be_used() {
    let whole = gzip(&user_ids(30_000));
    let half = whole[..whole.len() / 2].to_vec();
    let td = Td::with_result(success(30_000), move |_| Reply::whole(&half));
    let braze = braze();
    let run = td.feeds(Run::upload().to(&braze)).arg("--json").exits(3);
    assert_eq!(run.report().0["input_read_to_end"], false);
    run.says(&["job 4711", "the gzip data is cut off"]);
}

#[test]
fn more_rows_announced_than_there_are_end_the_run() {
    let bytes = gzip(&user_ids(10));
    let td = Td::with_result(success(11), move |_| Reply::whole(&bytes));
    let braze = braze();
    td.feeds(Run::upload().to(&braze)).exits(3).says(&["job 4711: it has 10 rows instead of 11"]);
}

#[rstest]
#[case::unknown(&json!(null))]
#[case::equal(&json!(10))]
fn the_number_of_rows_may_be_unknown_or_agree(#[case] rows: &Value) {
    let (bytes, shown) = (gzip(&user_ids(10)), job("success", rows));
    let td = Td::with_result(shown, move |_| Reply::whole(&bytes));
    let braze = braze();
    td.feeds(Run::upload().to(&braze)).set("expected_rows", "10").exits(0);
    assert_eq!(held(&braze), expected(10));
}

#[test]
fn expected_rows_that_the_job_does_not_have_end_the_run_before_the_download() {
    let (td, braze) = (Td::with_rows(10), braze());
    td.feeds(Run::upload().to(&braze))
        .set("expected_rows", "11")
        .exits(3)
        .says(&["has 10 rows instead of 11 (expected_rows"]);
    assert!(td.downloads().is_empty());
    assert_untouched(&braze);
}

#[rstest]
#[case::nothing(Vec::new())]
#[case::gzip_of_nothing(gzip(b""))]
fn an_empty_result_succeeds_and_sends_no_member(#[case] bytes: Vec<u8>) {
    let td = Td::with_result(success(0), move |_| Reply::whole(&bytes));
    let braze = braze();
    let run = td.feeds(Run::upload().to(&braze)).arg("--json").exits(0);
    run.report().has(&[("/rows_read", 0), ("/delivered", 0)]);
    assert_eq!((braze.stats().naming_requests, braze.stats().users_requests), (1, 0));
}

#[test]
fn failures_and_pauses_in_between_are_waited_out() {
    let bytes = gzip(&user_ids(10));
    let td = Td::start(move |asked| match (asked.is_show, asked.number) {
        (_, 0) => Reply::error("503 Service Unavailable"),
        (_, 1) => Reply::answer("429 Too Many Requests", "Retry-After: 1\r\n", b"{}"),
        (_, 2) => Reply::answer("200 OK", "", b"").cut_by(2),
        (true, _) => Reply::json(&success(10)),
        (false, _) => Reply::whole(&bytes),
    });
    let braze = braze();
    td.feeds(Run::upload().to(&braze)).exits(0).says(&["rate limit (429)"]);
    assert_eq!(held(&braze), expected(10));
    assert_eq!(td.asked().len(), 8);
}

#[test]
fn a_treasure_data_that_does_not_answer_is_given_up_with_advice() {
    let (td, braze) = (Td::with_rows(1), braze());
    let run = td.feeds(Run::upload().to(&braze)).env("TD_API_SERVER", &dead_endpoint()).set("max_outage", "1s");
    let run = run.arg("--json").exits(75).says(&["127.0.0.1:1", "TD_API_SERVER"]);
    run.report().has(&[("/exit_code", 75), ("/rows_read", 0)]);
    assert_untouched(&braze);
}

#[test]
fn the_certificate_of_treasure_data_is_checked_and_ca_file_holds_for_it() {
    let ca = Ca::new();
    let td = Td::with_rows(3000);
    let front = Front::before(td.endpoint().trim_start_matches("http://"), ca.identity("127.0.0.1"));
    let server = format!("https://{}", front.address);
    let braze = braze();
    let run = || td.feeds(Run::upload().to(&braze)).env("TD_API_SERVER", &server);
    run().exits(2).says(&["certificate", "ca_file"]);
    assert!(td.asked().is_empty());
    assert_untouched(&braze);
    run().file("ca.pem", ca.pem()).set("ca_file", "ca.pem").exits(0);
    assert_eq!(held(&braze), expected(3000));
}

#[test]
fn a_job_that_runs_longer_than_the_run_may_is_given_up() {
    let td = Td::start(|_| Reply::json(&job("running", &Value::Null)));
    let braze = braze();
    td.feeds(Run::upload().to(&braze)).set("max_duration", "1s").exits(75).says(&["max_duration"]);
    assert_untouched(&braze);
}

#[rstest]
#[case::none(Value::Null, "has no result")]
#[case::no_columns(json!("[]"), "INSERT")]
#[case::no_identifier(json!("[[\"userid\", \"varchar\"], [\"plan\", \"varchar\"]]"), "'userid', 'plan'")]
fn a_result_without_identifiers_is_said_with_its_columns(#[case] schema: Value, #[case] words: &str) {
    let mut shown = success(1);
    shown["hive_result_schema"] = schema;
    let td = Td::with_result(shown, |_| Reply::whole(&gzip(b"\x92\xa1x\xa1y")));
    let braze = braze();
    td.feeds(Run::upload().to(&braze)).exits(3).says(&["job 4711", words]);
    assert!(td.downloads().is_empty());
    assert_untouched(&braze);
    td.feeds(Run::check().to(&braze)).exits(3).says(&["job 4711", words]);
}

#[rstest]
#[case::a_running_job("TERM", 143, false)]
#[case::a_running_job_interrupted("INT", 130, false)]
#[case::an_answer_that_never_comes("TERM", 143, true)]
fn a_run_that_waits_for_the_job_ends_at_once(#[case] name: &str, #[case] code: i32, #[case] is_silent: bool) {
    let td = Td::start(move |_| if is_silent { Reply::Silence } else { Reply::json(&job("running", &Value::Null)) });
    let braze = braze();
    let (mut child, _directory) = td.feeds(Run::upload().to(&braze)).arg("--json").spawn();
    wait_while_running(&mut child, "it asked for the job", || !td.asked().is_empty());
    signal(&child, name);
    let (ended_with, ended) = ends(child);
    assert_eq!(ended_with, Some(code), "{}", ended.stderr);
    assert!(ended.took < AT_ONCE, "{:?}", ended.took);
    Report::read(&ended.stdout).has(&[("/delivered", 0), ("/exit_code", code.unsigned_abs().into())]);
    assert_untouched(&braze);
}

#[test]
fn a_download_that_hangs_ends_at_once_and_leaves_nothing_behind() {
    let td = Td::with_result(success(1000), |_| Reply::Hang(gzip(&user_ids(500))));
    let braze = braze();
    let run = td.feeds(Run::upload().to(&braze));
    let temporary = tempfile::tempdir().unwrap();
    let run = run.env("TMPDIR", temporary.path().to_str().unwrap()).arg("--json");
    let (mut child, _directory) = run.spawn();
    wait_while_running(&mut child, "it asked for the result", || !td.downloads().is_empty());
    assert_eq!(temporary.path().read_dir().unwrap().count(), 0, "the file has a name");
    signal(&child, "TERM");
    let (code, ended) = ends(child);
    assert_eq!(code, Some(143), "{}", ended.stderr);
    assert!(ended.took < AT_ONCE, "{:?}", ended.took);
}

/// A disk of 100 MB, which only this run sees.
const SMALL_DISK: &str =
    r#"exec unshare --mount /bin/sh -c 'mount -t tmpfs -o size=100m small "$TMPDIR" && exec "$0" "$@"' "$0" "$@""#;

#[test]
fn a_result_that_grows_is_given_up_before_the_disk_is_full() {
    let can = Command::new("unshare").args(["--mount", "true"]).output().is_ok_and(|it| it.status.success());
    if !can {
        // Past the test harness, which would keep it for itself.
        let _ = writeln!(stderr(), "!!! LEFT OUT: a result that fills the disk (unshare --mount needs root)");
        return;
    }
    let td = Td::with_result(success(1000), |_| {
        let rows = vec![0; 150_000_000];
        let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", rows.len());
        Reply::Bytes([head.as_bytes(), &rows, b"\r\n0\r\n\r\n"].concat())
    });
    let (braze, temporary) = (braze(), tempfile::tempdir().unwrap());
    let run = td.feeds(Run::upload().to(&braze)).env("TMPDIR", temporary.path().to_str().unwrap());
    // On a full disk the system itself would say so, with a number.
    run.in_shell(SMALL_DISK).exits(73).says(&["no storage space", "set TMPDIR"]).hides(&["os error"]);
    assert_untouched(&braze);
}

#[test]
fn a_temporary_folder_that_is_not_there_is_named() {
    let (td, braze) = (Td::with_rows(3), braze());
    td.feeds(Run::upload().to(&braze)).env("TMPDIR", "/nowhere/at/all").exits(73).says(&["/nowhere/at/all", "TMPDIR"]);
    assert_untouched(&braze);
}

#[test]
fn a_check_shows_the_job_and_downloads_nothing() {
    let (td, braze) = (Td::with_rows(3), braze());
    let run = td.feeds(Run::check().to(&braze)).exits(0);
    run.prints(&[
        "input        ok: job 4711 (success, rows: 3) has 1 columns, identifiers: user_ids",
        "credentials  ok",
    ]);
    assert!(td.downloads().is_empty());
}

#[rstest]
#[case("running", 0, "job 4711 is running; an upload waits until it has ended")]
#[case("error", 3, "input        FAILED")]
fn a_check_says_how_far_a_job_is(#[case] status: &'static str, #[case] code: i32, #[case] words: &str) {
    let td = Td::start(move |_| Reply::json(&job(status, &Value::Null)));
    let braze = braze();
    td.feeds(Run::check().to(&braze)).exits(code).prints(&[words]);
}

#[test]
fn a_dry_run_downloads_and_counts_without_brazes_keys() {
    let (td, braze) = (Td::with_rows(2500), braze());
    let run = td.feeds(Run::upload().to(&braze)).without_credentials().arg("--dry-run").arg("--json").exits(0);
    run.report().has(&[("/rows_read", 2500), ("/identifiers/total", 2500), ("/dry_run/batches", 3)]);
    assert_untouched(&braze);
    let run = td.feeds(Run::upload().to(&braze)).without_credentials().without_env("TD_API_KEY");
    run.arg("--dry-run").exits(2).says(&["TD_API_KEY"]);
}

#[test]
fn a_sandbox_takes_the_job_as_braze_would() {
    let td = Td::with_rows(2500);
    let run = td.feeds(Run::upload()).without_credentials().arg("--sandbox").arg("--json").exits(0);
    let report = run.report().has(&[("/delivered", 2500), ("/sandbox/members", 2500)]);
    assert_eq!(report.text("/outcome"), "delivered");
}

#[test]
fn the_flag_replaces_the_job() {
    let (td, braze) = (Td::with_rows(3), braze());
    let run = td.feeds(Run::upload().to(&braze)).without_env("TD_API_KEY").rows("user_ids\nfrom-file\n");
    run.arg("--input").arg("members.csv").exits(0);
    assert_eq!(braze.cohort("vip").unwrap().user_ids, ["from-file"]);
    td.feeds(Run::check().to(&braze)).rows("user_ids\nx\n").arg("--input").arg("members.csv").exits(0);
    assert!(td.asked().is_empty());
}

#[test]
fn what_the_flag_replaces_need_not_be_filled_in() {
    for key in ["job_id", "input"] {
        let braze = braze();
        let run = Run::upload().to(&braze).unset("input").set(key, "${td.last_job_id}").rows("user_ids\nx\n");
        run.arg("--input").arg("members.csv").exits(0);
        assert_eq!(braze.cohort("vip").unwrap().user_ids, ["x"]);
    }
}

#[test]
fn a_result_that_removes_and_adds_is_fetched_once_and_read_twice() {
    let rows = |number: usize| {
        let change = if number.is_multiple_of(2) { "add" } else { "remove" };
        [vec![0x92], text(&format!("u{number}")), text(change)].concat()
    };
    let bytes = gzip(&(0..3000).flat_map(rows).collect::<Vec<_>>());
    let mut shown = success(3000);
    shown["hive_result_schema"] = json!("[[\"external_id\", \"varchar\"], [\"change\", \"varchar\"]]");
    let td = Td::with_result(shown, move |_| Reply::whole(&bytes));
    let braze = braze();
    let run = td.feeds(Run::upload().to(&braze)).unset("operation").set("operation_column", "change");
    let run = run.set("mapping", "{external_id: user_ids}").arg("--json").exits(0);
    run.report().has(&[("/rows_read", 3000), ("/by_operation/remove/delivered", 1500), ("/delivered", 3000)]);
    assert_eq!(held(&braze), (0..3000).step_by(2).map(|number| format!("u{number}")).collect());
    assert_eq!(td.downloads().len(), 1);
}

#[rstest]
#[case::both("input", "members.csv", "input is set together with job_id")]
#[case::columns("columns", "user_ids", "columns is set together with job_id")]
#[case::format("format", "msgpack", "format is set together with job_id")]
#[case::no_number("job_id", "12x", "must be the number of a job")]
#[case::negative("job_id", "-12", "must be the number of a job")]
#[case::a_list("job_id", "[1]", "not a list")]
fn what_does_not_go_with_a_job_is_a_wrong_setting(#[case] key: &str, #[case] value: &str, #[case] words: &str) {
    let (td, braze) = (Td::with_rows(3), braze());
    td.feeds(Run::upload().to(&braze)).set(key, value).exits(2).says(&[words, "cohort.yml, line"]);
    assert!(td.asked().is_empty());
}

#[test]
fn without_a_file_and_without_a_job_both_ways_are_said() {
    Run::upload().to(&braze()).unset("input").exits(2).says(&["input: members.csv", "job_id: ${td.last_job_id}"]);
}

#[rstest]
#[case::text(json!("4711"))]
#[case::number(json!(4711))]
fn the_operator_takes_the_job_as_text_or_number(#[case] id: Value) {
    let (td, braze) = (Td::with_rows(12), braze());
    let parameters = json!({
        "cohort_id": "vip", "operation": "add", "endpoint": braze.endpoint(), "job_id": id, "config": "cohort.yml",
    });
    let run = Run::operator(&parameters)
        .file("cohort.yml", "input: of-another-task.csv\n")
        .env("TD_API_KEY", TD_KEY)
        .env("TD_API_SERVER", td.endpoint())
        .exits(0);
    Report::of(run.output()["store_params"]["braze_cohort"]["last_upload"].clone()).has(&[("/delivered", 12)]);
    assert_eq!(held(&braze), expected(12));
}

#[test]
fn another_tools_variable_for_the_site_is_not_passed_over() {
    let run = || Run::upload().unset("input").set("job_id", JOB).set("endpoint", "US-01").env("TD_API_KEY", TD_KEY);
    let run = || run().env("TD_ENDPOINT", "https://api.treasuredata.co.jp").set("max_outage", "1s");
    run().exits(2).says(&["TD_ENDPOINT", "set TD_API_SERVER"]);
    Run::upload().rows("user_ids\nu1\n").arg("--dry-run").env("TD_ENDPOINT", "anything").exits(0);
}

#[test]
fn the_operator_fills_the_job_in_from_the_workflow() {
    let (td, braze) = (Td::with_rows(12), braze());
    let map = json!({"config": "cohort.yml", "endpoint": braze.endpoint()});
    let run = Run::workflow(&json!({"td": {"last_job_id": JOB}, "braze_cohort": map}))
        .env("TD_API_KEY", TD_KEY)
        .env("TD_API_SERVER", td.endpoint());
    run.file("cohort.yml", "cohort_id: vip\noperation: add\njob_id: ${td.last_job_id}\n").exits(0);
    assert_eq!(held(&braze), expected(12));
}

#[test]
fn the_operator_tells_a_failed_job_as_the_tasks_error() {
    let td = Td::start(|_| Reply::json(&job("killed", &Value::Null)));
    let parameters = json!({"cohort_id": "vip", "operation": "add", "endpoint": braze().endpoint(), "job_id": JOB});
    let run = Run::operator(&parameters).env("TD_API_KEY", TD_KEY).env("TD_API_SERVER", td.endpoint()).exits(3);
    let output = run.output();
    assert_eq!(output["error"]["class"], "InputError");
    assert!(
        output["error"]["message"].as_str().unwrap().contains("job 4711 ended with the status 'killed'"),
        "{output}"
    );
}
