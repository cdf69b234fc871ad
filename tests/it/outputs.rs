//! Standard output and error that cannot be written: the upload goes on, with the same exit code. If they block, a signal ends it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Child;
use std::time::{Duration, Instant};

use rstest::rstest;
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use tempfile::TempDir;

use crate::scripted::{Act, Scripted};
use crate::support::{Run, braze, ends, ends_unread, signal, user_ids, wait_while_running};

#[rstest]
#[case::output_closed(r#"exec "$0" "$@" >&-"#)]
#[case::error_closed(r#"exec "$0" "$@" 2>&-"#)]
#[case::all_closed(r#"exec "$0" "$@" <&- >&- 2>&-"#)]
#[case::output_full(r#"exec "$0" "$@" >/dev/full"#)]
#[case::error_full(r#"exec "$0" "$@" 2>/dev/full"#)]
#[case::both_full(r#"exec "$0" "$@" >/dev/full 2>/dev/full"#)]
#[case::output_on_a_full_disk(r#"trap "" XFSZ; ulimit -f 0; exec "$0" "$@" >out 2>err"#)]
fn an_upload_whose_outputs_take_nothing_delivers_everything(
    #[case] script: &str,
    #[values("--json", "--input=members.csv")] flag: &str,
) {
    let braze = braze();
    let run = Run::upload().to(&braze).rows(user_ids(2500)).arg(flag).in_shell(script).exits(0);
    assert_eq!(braze.cohort("vip").unwrap().members, 2500);
    assert!(!run.stderr.contains("panic"), "{run}");
}

#[test]
fn an_upload_whose_reader_has_gone_delivers_everything() {
    let server = Scripted::start(|_| Act::success());
    let (mut child, _directory) = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(2500)).spawn();
    drop((child.stdout.take(), child.stderr.take()));
    let (code, _) = ends(child);
    assert_eq!(code, Some(0));
    assert_eq!(server.accepted_user_ids().len(), 2500);
}

/// The pipe of standard error, or that of standard output, is full from the start and never read.
const ERROR_FULL: &str = r#"head -c 65536 /dev/zero >&2; exec "$0" "$@""#;
const OUTPUT_FULL: &str = r#"head -c 65536 /dev/zero; exec "$0" "$@""#;
const ERROR_ON_TERMINAL: &str = r#"exec "$0" "$@" 2>"$TERMINAL""#;

/// A run that waits for the end of a pause, after its first request with members. Its first log line after the start is about the
/// pause, so it does not block earlier.
fn pausing(run: Run) -> (Scripted, Child, TempDir) {
    let server =
        Scripted::for_members(|_| Act::answer("429 Too Many Requests", "text/plain", "Retry-After: 60\r\n", ""));
    let run = run.set("endpoint", server.endpoint()).set("thread_count", "1").env("RUST_LOG", "warn");
    let (mut child, directory) = run.rows(user_ids(2500)).arg("--json").spawn();
    wait_while_running(&mut child, "a request with members", || server.seen().len() > 1);
    (server, child, directory)
}

/// A terminal: its other end, and its path.
pub fn terminal() -> (File, String) {
    let other_end = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    fcntl_setfl(&other_end, OFlags::NONBLOCK).unwrap();
    unlockpt(&other_end).unwrap();
    let path = ptsname(&other_end, Vec::new()).unwrap().into_string().unwrap();
    (other_end.into(), path)
}

/// Ctrl-S, and until it has taken effect.
fn stop_terminal(other_end: &mut File, path: &str) {
    other_end.write_all(b"\x13").unwrap();
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let mut terminal = OpenOptions::new().write(true).custom_flags(flags).open(path).unwrap();
    while terminal.write(b".").is_ok() {}
}

#[test]
fn a_signal_ends_a_run_within_twelve_seconds_whatever_blocks() {
    let (mut other_end, path) = terminal();
    let with_bar = Run::upload().in_shell(ERROR_ON_TERMINAL).env("TERMINAL", &path).env("TERM", "xterm");
    let mut runs = [Run::upload().in_shell(ERROR_FULL), Run::upload().in_shell(OUTPUT_FULL), with_bar].map(pausing);
    wait_while_running(&mut runs[2].1, "it showed progress", || other_end.read(&mut [0; 64]).is_ok());
    stop_terminal(&mut other_end, &path);
    for ((_, child, _), name) in runs.iter().zip(["TERM", "INT", "TERM"]) {
        signal(child, name);
    }
    let signalled = Instant::now();
    let codes = runs.each_mut().map(|(_, child, _)| ends_unread(child).0);
    let took = signalled.elapsed();
    assert_eq!(codes, [Some(143), Some(130), Some(143)]);
    assert!(took > Duration::from_secs(10), "nothing blocked");
    assert!(took < Duration::from_secs(12), "{took:?}");
    assert_eq!(runs.map(|(server, ..)| server.seen().len()), [2; 3], "a request began after the pause");
}

#[test]
fn a_second_signal_ends_a_blocked_run_at_once() {
    let (_server, mut child, _directory) = pausing(Run::upload().in_shell(ERROR_FULL));
    signal(&child, "TERM");
    signal(&child, "INT");
    let (code, took) = ends_unread(&mut child);
    assert!(matches!(code, Some(130 | 143)), "the one that was heard last counts: {code:?}");
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[test]
fn a_run_whose_reader_sleeps_goes_on_when_it_wakes_up() {
    let server = Scripted::start(|_| Act::success());
    let run = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(2500)).in_shell(ERROR_FULL);
    let (child, _directory) = run.spawn();
    let (code, _) = ends(child);
    assert_eq!(code, Some(0));
    assert_eq!(server.accepted_user_ids().len(), 2500);
}

#[test]
fn an_operator_whose_outputs_take_nothing_still_hands_over_its_report() {
    let braze = braze();
    let parameters = serde_json::json!({"cohort_id": "vip", "operation": "add", "input": "members.csv"});
    let run = Run::operator(&parameters).env("BRAZE_ENDPOINT", &braze.endpoint()).rows(user_ids(3));
    let run = run.in_shell(r#"exec "$0" "$@" >/dev/full 2>/dev/full"#).exits(0);
    assert_eq!(run.output()["store_params"]["braze_cohort"]["last_upload"]["delivered"], 3);
}

#[rstest]
#[case::usage(&["upload", "no-such.yml"], 2)]
#[case::unknown_flag(&["upload", "--jsno"], 2)]
#[case::help(&["--help"], 0)]
#[case::version(&["--version"], 0)]
fn the_exit_code_is_the_same_if_no_output_can_be_written(#[case] args: &[&str], #[case] code: i32) {
    for script in [r#"exec "$0" "$@" >&- 2>&-"#, r#"exec "$0" "$@" >/dev/full 2>/dev/full"#] {
        let (child, _directory) = Run::command(args).in_shell(script).spawn();
        assert_eq!(ends(child).0, Some(code), "{script}");
    }
}

#[test]
fn a_failure_is_the_same_if_no_output_can_be_written() {
    let server = Scripted::start(|_| Act::message("401 Unauthorized", "Invalid client secret"));
    let run = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(1));
    let (mut child, _directory) = run.in_shell(r#"exec "$0" "$@" 2>/dev/full"#).spawn();
    let mut report = String::new();
    child.stdout.take().unwrap().read_to_string(&mut report).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(4));
    assert!(report.contains("undelivered"), "{report}");
}
