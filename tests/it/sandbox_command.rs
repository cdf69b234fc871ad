//! The sandbox, as a command and inside an upload.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use rstest::rstest;
use serde_json::Value;
use tempfile::TempDir;

use crate::outputs::terminal;
use crate::support::{Run, assert_untouched, braze, ends, signal, terminate, user_ids, wait_while_running};

/// A sandbox in a process of its own.
struct Started {
    child: Child,
    endpoint: String,
    _directory: TempDir,
}

impl Started {
    fn new(run: Run) -> Self {
        let (mut child, directory) = run.spawn();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, endpoint: line.trim_end().to_owned(), _directory: directory }
    }

    fn get(&self, path: &str) -> Value {
        serde_json::from_str(get(&self.endpoint, path, "localhost").split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    fn ends(mut self) {
        terminate(&self.child);
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // If a test failed, it is still running.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A whole answer; empty if nothing listens there.
fn get(endpoint: &str, path: &str, host: &str) -> String {
    let mut answer = String::new();
    if let Ok(mut connection) = TcpStream::connect(endpoint.strip_prefix("http://").unwrap()) {
        write!(connection, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        connection.read_to_string(&mut answer).unwrap();
    }
    answer
}

fn sandbox(args: &[&str]) -> Run {
    args.iter().fold(Run::command(&["sandbox", "--listen", "127.0.0.1:0"]), |run, arg| run.arg(arg))
}

#[test]
fn the_sandbox_says_where_it_listens_keeps_members_and_ends_when_asked() {
    let started = Started::new(sandbox(&[]).without_credentials());
    let run = Run::upload().set("endpoint", &started.endpoint).rows(user_ids(2));
    run.env("BRAZE_CLIENT_SECRET", "sandbox-client-secret")
        .env("BRAZE_PARTNER_API_KEY", "sandbox-partner-key")
        .exits(0);
    let cohort = started.get("/cohorts/vip");
    assert_eq!(cohort["user_ids"], serde_json::json!(["u0", "u1"]));
    assert_eq!(started.get("/stats")["users_requests"], 1);
    assert!(started.get("/cohorts").to_string().contains("vip"));
    started.ends();
}

#[test]
fn the_sandbox_takes_the_credentials_of_its_environment() {
    let started = Started::new(sandbox(&[]));
    Run::upload().set("endpoint", &started.endpoint).rows(user_ids(1)).exits(0);
    let wrong = Run::upload().set("endpoint", &started.endpoint).rows(user_ids(1));
    wrong.env("BRAZE_CLIENT_SECRET", "sandbox-client-secret").exits(4);
    started.ends();
}

#[test]
fn the_sandbox_fails_is_slow_and_limits_the_rate_when_told_to() {
    let started = Started::new(sandbox(&["--fail-every", "3", "--latency", "1ms", "--rate-limit", "100/1"]));
    let report = Run::upload().set("endpoint", &started.endpoint).rows(user_ids(3000)).arg("--json").exits(0).report();
    let failed = started.get("/stats")["statuses"]["503"].as_u64().unwrap();
    assert!(failed > 0);
    report.has(&[("/delivered", 3000), ("/retries", failed)]);
    started.ends();
}

#[rstest]
#[case("0")]
#[case("0ms")]
fn the_sandbox_can_be_told_to_answer_at_once(#[case] latency: &str) {
    let started = Started::new(sandbox(&["--latency", latency]));
    Run::upload().set("endpoint", &started.endpoint).rows(user_ids(1)).exits(0);
    started.ends();
}

#[test]
fn the_sandbox_matches_known_users_only() {
    let users = "external_id,device_id,email\nann,phone-1,ann@example.com\n,phone-2,\n";
    let started = Started::new(sandbox(&["--users", "users.csv"]).file("users.csv", users));
    let run = Run::upload().set("endpoint", &started.endpoint).set("aliases", "email");
    let rows = "user_ids,device_ids,email\nann,phone-1,\nbob,phone-2,ann@example.com\n";
    run.rows(rows).arg("--json").exits(0).report().has(&[("/delivered", 5)]);
    let cohort = started.get("/cohorts/vip");
    assert_eq!((&cohort["members"], &cohort["unknown"]), (&Value::from(2), &Value::from(2)));
    started.ends();
}

#[rstest]
#[case(&["sandbox", "--listen", "0.0.0.0:0"], "loopback")]
#[case(&["sandbox", "--listen", "127.0.0.1:0", "--users", "nowhere.csv"], "nowhere.csv")]
#[case(&["sandbox", "--listen", "127.0.0.1:0", "--rate-limit", "0"], "rate")]
#[case(&["sandbox", "--listen", "127.0.0.1:0", "--fail-every", "0"], "fail-every")]
#[case(&["sandbox", "--listen", "127.0.0.1:0", "--latency", "long"], "latency")]
fn a_sandbox_that_cannot_be_as_told_does_not_start(#[case] args: &[&str], #[case] word: &str) {
    Run::command(args).exits(2).says(&[word]);
}

#[test]
fn an_upload_to_its_own_sandbox_needs_nothing_from_outside() {
    let run = Run::upload().without_credentials().set("aliases", "email").arg("--sandbox").arg("--json");
    let run = run.rows("user_ids,device_ids,email\nu1,d1,a@example.com\nu2,,\nu1,,\n").exits(0);
    let report = run.report().has(&[
        ("/delivered", 5),
        ("/sandbox/members", 4),
        ("/sandbox/user_ids", 2),
        ("/sandbox/device_ids", 1),
        ("/sandbox/aliases", 1),
        ("/sandbox/unmatched_identifiers", 0),
    ]);
    assert_eq!((report.text("/sandbox/cohort_id"), report.text("/sandbox/name")), ("vip", "vip"));
}

#[test]
fn an_upload_to_its_own_sandbox_goes_nowhere_else() {
    let braze = braze();
    let run = Run::upload().to(&braze).arg("--sandbox").rows(user_ids(5)).arg("--json").exits(0);
    assert_untouched(&braze);
    run.report().has(&[("/delivered", 5), ("/sandbox/members", 5)]);
}

#[test]
fn an_upload_to_its_own_sandbox_can_be_given_the_known_users() {
    let run = Run::upload().without_credentials().file("users.csv", "external_id\nu0\n").rows(user_ids(3));
    let run = run.arg("--sandbox").arg("--users").arg("users.csv").arg("--json").exits(0);
    run.report().has(&[("/delivered", 3), ("/sandbox/members", 1), ("/sandbox/unmatched_identifiers", 2)]);
    Run::upload()
        .rows(user_ids(3))
        .set("endpoint", "US-01")
        .arg("--users")
        .arg("users.csv")
        .exits(2)
        .says(&["--sandbox"]);
}

#[test]
fn the_sandbox_shows_its_page_to_a_browser_on_this_machine_only() {
    let started = Started::new(sandbox(&[]));
    let page = get(&started.endpoint, "/", "127.0.0.1:4000");
    let (head, body) = page.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("Content-Security-Policy: "), "{head}");
    assert!(body.contains("<title>Braze sandbox</title>") && body.ends_with("</html>\n"), "{body}");
    for (path, host) in [("/", "rebound.example"), ("/cohorts", "rebound.example"), ("/stats", "")] {
        let answer = get(&started.endpoint, path, host);
        assert!(answer.starts_with("HTTP/1.1 403 "), "{path} {host}: {answer}");
    }
    started.ends();
}

#[test]
fn what_the_sandbox_holds_can_be_asked_for_in_parts_and_searched() {
    let users = "external_id,email\nann,ann@example.com\nbob,\n";
    let started = Started::new(sandbox(&["--users", "users.csv"]).file("users.csv", users));
    let run = Run::upload().set("endpoint", &started.endpoint).set("aliases", "email").set("cohort_name", "Gold");
    run.rows("user_ids,email\nbob,\nmember-zqx,\n,ann@example.com\n").exits(0);
    let summary = &started.get("/cohorts")["cohorts"][0];
    assert_eq!((&summary["name"], &summary["partner"]), (&Value::from("Gold"), &Value::from("treasure_data")));
    let part = started.get("/cohorts/vip?offset=1&limit=1");
    assert_eq!((&part["user_ids"], &part["totals"]["user_ids"]), (&serde_json::json!(["bob"]), &Value::from(2)));
    let unmatched = &started.get("/cohorts/vip")["unmatched"][0];
    assert_eq!((&unmatched["identifier"], &unmatched["effect"]), (&"member-zqx".into(), &"no_such_user".into()));
    let found = &started.get("/search?identifier=ann%40example.com")["cohorts"][0];
    assert_eq!((&found["cohort_id"], &found["member"]["identifier"]), (&"vip".into(), &"ann".into()));
    assert_eq!(found["since_request"], 2);
    let request = &started.get("/requests")["requests"][0];
    assert_eq!((&request["add"], &request["status"]), (&Value::from(3), &Value::from(201)));
    started.ends();
}

/// A browser that records the address that it opens, and the keys in its environment.
const BROWSER: &str = r#"printf '#!/bin/sh\necho "$1 [$BRAZE_CLIENT_SECRET]" >opened.part && mv opened.part opened\n' >xdg-open
chmod +x xdg-open
PATH="$PWD:$PATH" exec "$0" "$@""#;

#[test]
fn an_upload_to_its_own_sandbox_can_keep_its_page_open() {
    let (mut other_end, terminal) = terminal();
    let script = format!("{BROWSER} >\"$TERMINAL\" 2>\"$TERMINAL\"");
    let run =
        Run::upload().in_shell(&script).env("TERMINAL", &terminal).env("DISPLAY", ":0").env("PATH", "/usr/bin:/bin");
    let (mut child, directory) = run.rows(user_ids(3)).arg("--sandbox").arg("--open").spawn();
    let opened = directory.path().join("opened");
    wait_while_running(&mut child, "it opened a browser", || opened.exists());
    let opened = std::fs::read_to_string(opened).unwrap();
    let (link, keys) = opened.trim_end().split_once(' ').unwrap();
    assert_eq!(keys, "[]");
    let endpoint = link.strip_suffix('/').unwrap();
    let mut shown = Vec::new();
    wait_while_running(&mut child, "the run has ended", || {
        // There may be nothing to read yet.
        _ = other_end.read_to_end(&mut shown);
        String::from_utf8_lossy(&shown).contains("stays open until Ctrl-C")
    });
    assert!(get(endpoint, "/cohorts/vip", "localhost").contains("\"u2\""));
    assert!(get(endpoint, "/cohorts/vip", "rebound.example").starts_with("HTTP/1.1 403 "));
    signal(&child, "INT");
    let (code, ended) = ends(child);
    assert_eq!(code, Some(0), "the run had ended well before");
    assert!(ended.took < std::time::Duration::from_secs(10), "{:?}", ended.took);
    assert_eq!(get(endpoint, "/", "localhost"), "");
}

#[rstest]
#[case::no_terminal("exec \"$0\" \"$@\"", "")]
#[case::output_is_piped("exec \"$0\" \"$@\" 2>\"$TERMINAL\"", "")]
#[case::in_ci("exec \"$0\" \"$@\" >\"$TERMINAL\" 2>\"$TERMINAL\"", "true")]
fn without_a_person_to_look_an_upload_opens_nothing_and_ends(#[case] script: &str, #[case] ci: &str) {
    let (_other_end, terminal) = terminal();
    let script = BROWSER.replace(r#"exec "$0" "$@""#, script);
    let run =
        Run::upload().in_shell(&script).env("TERMINAL", &terminal).env("DISPLAY", ":0").env("PATH", "/usr/bin:/bin");
    let (child, directory) = run.env("CI", ci).rows(user_ids(3)).arg("--sandbox").arg("--open").spawn();
    assert_eq!(ends(child).0, Some(0));
    assert!(!directory.path().join("opened").exists());
}

#[test]
fn an_uploads_own_sandbox_does_not_show_its_members() {
    let run = Run::upload().arg("--sandbox").arg("--input").arg("-");
    let (mut child, _directory) = run.spawn_with(Stdio::piped());
    // The log has the address.
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("the sandbox listens on ") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "the log has ended");
    }
    let (_, address) = line.trim_end().rsplit_once(' ').unwrap();
    for path in ["/", "/cohorts", "/cohorts/vip", "/requests", "/search?identifier=u1", "/stats"] {
        let answer = get(&format!("http://{address}"), path, "localhost");
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
    child.stdin.take().unwrap().write_all(b"user_ids\nu1\n").unwrap();
    std::io::copy(&mut log, &mut std::io::sink()).unwrap();
    assert_eq!(ends(child).0, Some(0));
}
