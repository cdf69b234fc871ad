//! The sandbox, as a command and inside an upload.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Child;

use rstest::rstest;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Run, assert_untouched, braze, terminate, user_ids};

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
        let mut connection = TcpStream::connect(self.endpoint.strip_prefix("http://").unwrap()).unwrap();
        write!(connection, "GET {path} HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    fn ends(mut self) {
        terminate(&self.child);
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Where a test failed it still runs.
        self.child.kill().ok();
        self.child.wait().ok();
    }
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
    let account =
        Run::upload().set("endpoint", &started.endpoint).rows(user_ids(3000)).arg("--json").exits(0).account();
    let failed = started.get("/stats")["failed"].as_u64().unwrap();
    assert!(failed > 0);
    account.has(&[("/delivered", 3000), ("/retries", failed)]);
    started.ends();
}

#[test]
fn the_sandbox_matches_known_users_only() {
    let users = "external_id,device_id,email\nann,phone-1,ann@example.com\n,phone-2,\n";
    let started = Started::new(sandbox(&["--users", "users.csv"]).file("users.csv", users));
    let run = Run::upload().set("endpoint", &started.endpoint).set("aliases", "email");
    let rows = "user_ids,device_ids,email\nann,phone-1,\nbob,phone-2,ann@example.com\n";
    run.rows(rows).arg("--json").exits(0).account().has(&[("/delivered", 5)]);
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
    let account = run.account().has(&[
        ("/delivered", 5),
        ("/sandbox/members", 4),
        ("/sandbox/user_ids", 2),
        ("/sandbox/device_ids", 1),
        ("/sandbox/aliases", 1),
        ("/sandbox/unknown", 0),
    ]);
    assert_eq!((account.text("/sandbox/cohort_id"), account.text("/sandbox/name")), ("vip", "vip"));
}

#[test]
fn an_upload_to_its_own_sandbox_goes_nowhere_else() {
    let braze = braze();
    let run = Run::upload().to(&braze).arg("--sandbox").rows(user_ids(5)).arg("--json").exits(0);
    assert_untouched(&braze);
    run.account().has(&[("/delivered", 5), ("/sandbox/members", 5)]);
}

#[test]
fn an_upload_to_its_own_sandbox_can_be_given_the_known_users() {
    let run = Run::upload().without_credentials().file("users.csv", "external_id\nu0\n").rows(user_ids(3));
    let run = run.arg("--sandbox").arg("--users").arg("users.csv").arg("--json").exits(0);
    run.account().has(&[("/delivered", 3), ("/sandbox/members", 1), ("/sandbox/unknown", 2)]);
    Run::upload()
        .rows(user_ids(3))
        .set("endpoint", "US-01")
        .arg("--users")
        .arg("users.csv")
        .exits(2)
        .says(&["--sandbox"]);
}
