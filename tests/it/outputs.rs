//! Standard output and error that take nothing: the upload goes on, and its exit code is the same.

use std::io::Read;

use rstest::rstest;

use crate::account::Account;
use crate::scripted::{Act, Scripted};
use crate::support::{Run, braze, ends, signal, user_ids, wait_while_running};

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

/// The pipe is full from the start, and nobody reads it until the process has ended.
#[rstest]
#[case::error(r#"head -c 65536 /dev/zero >&2; exec "$0" "$@""#)]
#[case::output(r#"head -c 65536 /dev/zero; exec "$0" "$@""#)]
fn an_upload_whose_reader_sleeps_delivers_everything(#[case] script: &str) {
    let braze = braze();
    let (child, _directory) = Run::upload().to(&braze).rows(user_ids(2500)).in_shell(script).spawn();
    let (code, _) = ends(child);
    assert_eq!(code, Some(0));
    assert_eq!(braze.cohort("vip").unwrap().members, 2500);
}

#[test]
fn a_run_whose_reader_sleeps_ends_when_it_is_terminated() {
    let server =
        Scripted::for_members(|_| Act::answer("429 Too Many Requests", "text/plain", "Retry-After: 60\r\n", ""));
    let script = r#"head -c 65536 /dev/zero >&2; exec "$0" "$@""#;
    let run = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(2500)).arg("--json");
    let (mut child, _directory) = run.in_shell(script).spawn();
    wait_while_running(&mut child, "a request with members", || server.seen().len() > 1);
    signal(&child, "TERM");
    let (code, ended) = ends(child);
    assert_eq!(code, Some(143));
    Account::read(&ended.stdout).has(&[("/delivered", 0)]);
}

#[test]
fn an_operator_whose_outputs_take_nothing_still_hands_over_its_account() {
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
fn the_exit_code_is_the_same_where_nobody_can_be_told(#[case] args: &[&str], #[case] code: i32) {
    for script in [r#"exec "$0" "$@" >&- 2>&-"#, r#"exec "$0" "$@" >/dev/full 2>/dev/full"#] {
        let (child, _directory) = Run::command(args).in_shell(script).spawn();
        assert_eq!(ends(child).0, Some(code), "{script}");
    }
}

#[test]
fn a_failure_is_the_same_where_nobody_can_be_told() {
    let server = Scripted::start(|_| Act::message("401 Unauthorized", "Invalid client secret"));
    let run = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(1));
    let (mut child, _directory) = run.in_shell(r#"exec "$0" "$@" 2>/dev/full"#).spawn();
    let mut account = String::new();
    child.stdout.take().unwrap().read_to_string(&mut account).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(4));
    assert!(account.contains("undelivered"), "{account}");
}
