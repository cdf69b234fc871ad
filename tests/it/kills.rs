//! An upload that is killed at any moment: running it again delivers everything that is not refused.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::Duration;

use rayon::prelude::*;
use tempfile::TempDir;

use crate::report::Report;
use crate::scripted::{Act, Scripted, Seen};
use crate::support::{PARTNER_KEY, Run, ends};

const MOMENTS: u64 = 200;
/// Nearly all of it is waiting, so this many at once are no load.
const AT_ONCE: usize = 8;
const IDENTIFIERS: usize = 4_500;
const REFUSED: [&str; 3] = ["u2500", "u2501", "u7"];
/// A little more than a run sends if it is not killed.
const REQUESTS: u64 = 70;
/// The server uses it to tell the killed run from the next one.
const KILLED: &str = "hush-key-of-the-killed-4714";

/// Refuses every request with one of three identifiers, and sometimes fails, also after it has applied the request.
fn server() -> Scripted {
    Scripted::for_members(|seen| match seen.number % 13 {
        4 => Act::message("503 Service Unavailable", "later"),
        8 => Act::Reset,
        11 => Act::half_a_success(),
        _ if seen.user_ids().iter().any(|id| REFUSED.contains(&id.as_str())) => {
            Act::message("400 Bad Request", "user_ids must be an array of strings")
        }
        _ => Act::success(),
    })
}

/// Of rows of every kind: used, without an identifier, malformed.
fn upload(server: &Scripted) -> Run {
    let others = ["user_ids,plan\n", ",gold\n", "u1,gold,more\n", ",\n"].map(str::to_owned);
    let rows: String = others.into_iter().chain((0..IDENTIFIERS).map(|number| format!("u{number},gold\n"))).collect();
    let run = Run::upload().set("endpoint", server.endpoint()).set("failed_file", "failed.csv").rows(rows);
    run.arg("--json").env("RUST_LOG", "warn")
}

/// Kills an upload once it has sent this many requests, and a little later. Returns whether it was still running.
fn killed(server: &Scripted, requests: u64, later: Duration) -> (bool, TempDir) {
    let (mut child, directory) = upload(server).env("BRAZE_PARTNER_API_KEY", KILLED).spawn();
    while (server.seen().len() as u64) < requests && child.try_wait().unwrap().is_none() {
        thread::sleep(Duration::from_micros(200));
    }
    thread::sleep(later);
    child.kill().unwrap();
    let (code, ended) = ends(child);
    assert!(matches!(code, None | Some(5)), "{code:?}: {}", ended.stderr);
    // If it is killed between its last output and its exit, it has printed everything.
    if code.is_some() || !ended.stdout.is_empty() {
        Report::read(&ended.stdout);
    }
    (code.is_none(), directory)
}

fn runs_again(server: &Scripted, directory: TempDir) {
    let again = upload(server).inside(directory).exits(5);
    let delivered = IDENTIFIERS - REFUSED.len();
    again.report().has(&[
        ("/rows_read", IDENTIFIERS as u64 + 3),
        ("/rows_used", IDENTIFIERS as u64),
        ("/rows_without_identifier", 2),
        ("/rows_rejected", 1),
        ("/delivered", delivered as u64),
        ("/refused", REFUSED.len() as u64),
        ("/undelivered", 0),
    ]);
    let accepted = |seen: &Seen| seen.accepted && seen.body["partner_api_key"] == PARTNER_KEY;
    let mut taken: Vec<_> = server.seen().iter().filter(|seen| accepted(seen)).flat_map(Seen::user_ids).collect();
    taken.sort();
    let mut expected: Vec<_> = (0..IDENTIFIERS).map(|number| format!("u{number}")).collect();
    expected.retain(|id| !REFUSED.contains(&id.as_str()));
    expected.sort();
    assert!(taken == expected, "{} were taken, {} were to be", taken.len(), expected.len());
    let failed = fs::read_to_string(again.path().join("failed.csv")).unwrap();
    let kept: BTreeSet<_> = failed.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(kept, REFUSED.into());
}

#[test]
#[ignore = "takes a minute; scripts/check runs it"]
fn an_upload_that_was_killed_at_any_of_200_moments_delivers_everything_when_it_is_run_again() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(AT_ONCE).build().unwrap();
    let at_work = pool.install(|| {
        (0..MOMENTS)
            .into_par_iter()
            .filter(|&moment| {
                let mut random = fastrand::Rng::with_seed(moment);
                let (requests, later) = (random.u64(..REQUESTS), Duration::from_micros(random.u64(..20_000)));
                let server = server();
                let (was_at_work, directory) = killed(&server, requests, later);
                runs_again(&server, directory);
                was_at_work
            })
            .count()
    });
    assert!(at_work > 150, "only {at_work} were still at work");
}
