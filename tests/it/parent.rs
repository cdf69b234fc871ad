//! An operator whose parent process is gone.

use std::fs;
use std::io::{Write, stderr};
use std::process::Command;
use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::{Value, json};
use td_braze_cohort::sandbox::Sandbox;
use tempfile::TempDir;

use crate::scripted::{Act, Scripted, Seen};
use crate::support::{Ended, Run, braze_with, ends, signal, user_ids, wait_while_running};

/// Far beyond "a few seconds" on a busy machine, and far below what the uploads here take.
const SOON: Duration = Duration::from_secs(10);

/// A Braze that accepts one batch at a time, and takes this long for each.
fn slow(latency: u64) -> Sandbox {
    braze_with(|options| options.latency = Duration::from_millis(latency))
}

/// The operator with this many batches to send, one at a time, started by a shell.
fn operator(endpoint: &str, batches: usize, shell: &str) -> Run {
    let settings = json!({"cohort_id": "vip", "operation": "add", "input": "members.csv", "thread_count": 1, "endpoint": endpoint});
    Run::operator(&settings).rows(user_ids(batches * 1000)).in_shell(shell)
}

/// Asserts that the report has this many delivered identifiers, and OUTPUT.json the reason for the end.
#[track_caller]
fn assert_stopped(ended: &Ended, directory: &TempDir, delivered: u64) {
    let line = ended.stdout.lines().find_map(|line| line.strip_prefix("delivered ")).expect(&ended.stderr);
    assert_eq!(line.trim(), delivered.to_string(), "{}", ended.stdout);
    let output: Value = serde_json::from_slice(&fs::read(directory.path().join("out.json")).unwrap()).unwrap();
    assert_eq!(output["error"]["class"], "StoppedError", "{output}");
}

#[rstest]
#[case::killed("KILL")]
#[case::terminated("TERM")]
fn an_upload_whose_parent_is_gone_ends_as_on_sigterm(#[case] end: &str) {
    let braze = slow(100);
    let (mut parent, directory) = operator(&braze.endpoint(), 600, r#""$0" "$@"; exit $?"#).spawn();
    wait_while_running(&mut parent, "it had sent something", || braze.stats().users_requests >= 2);
    let gone = Instant::now();
    signal(&parent, end);
    // The standard output of the upload ends with it.
    let (_, ended) = ends(parent);
    assert!(gone.elapsed() < SOON, "it lived on for {:?}\n{}", gone.elapsed(), ended.stderr);
    assert!(ended.stderr.contains("the process that started this one has ended"), "{}", ended.stderr);
    assert_stopped(&ended, &directory, braze.stats().identifiers_added);
}

#[test]
fn a_parent_that_is_gone_is_no_second_signal() {
    // Each answer takes longer than noticing that the parent is gone.
    let server = Scripted::for_members(|_| Act::Later(Duration::from_secs(4), Box::new(Act::success())));
    let run = operator(server.endpoint(), 20, r#""$0" "$@" & echo $! >pid; wait"#);
    let (mut parent, directory) = run.spawn();
    wait_while_running(&mut parent, "a batch was in flight", || server.seen().iter().any(Seen::has_members));
    let upload = fs::read_to_string(directory.path().join("pid")).unwrap();
    assert!(Command::new("sh").args(["-c", &format!("kill -TERM {upload}")]).status().unwrap().success());
    signal(&parent, "KILL");
    let (_, ended) = ends(parent);
    assert!(ended.stderr.contains("the process that started this one has ended"), "{}", ended.stderr);
    assert_stopped(&ended, &directory, 1000);
}

/// Whether this machine can start a process namespace, as in a container.
fn has_namespaces() -> bool {
    let can = Command::new("unshare").args(["--pid", "--fork", "true"]).output().is_ok_and(|it| it.status.success());
    if !can {
        // Not through the test harness, which would capture it.
        let _ = writeln!(stderr(), "!!! LEFT OUT: the operator as process 1 (unshare --pid needs root)");
    }
    can
}

#[rstest]
#[case::as_process_1(r#"exec unshare --pid --fork "$0" "$@""#)]
#[case::below_a_shell_that_is_process_1(r#"exec unshare --pid --fork /bin/sh -c '"$0" "$@"; exit $?' "$0" "$@""#)]
#[case::below_a_shell(r#""$0" "$@"; exit $?"#)]
#[case::below_shells_in_a_pipe(r#"("$0" "$@") 2>&1 | cat >&2; exit 0"#)]
fn an_upload_whose_parent_waits_is_never_stopped(#[case] shell: &str) {
    if shell.contains("unshare") && !has_namespaces() {
        return;
    }
    // Longer than three looks at the parent.
    let braze = slow(400);
    operator(&braze.endpoint(), 10, shell).exits(0);
    assert_eq!(braze.cohort("vip").unwrap().members, 10_000);
}
