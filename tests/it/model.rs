//! The uploader against a model of Braze inside the process, in ten thousand schedules of faults: answers that are lost,
//! resets, refusals, limits, locks, outages, kills. Whatever happens, nothing is lost, nothing is invented, and the report
//! adds up. Time is virtual. A failing schedule is repeated by its seed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use fastrand::Rng;
use rstest::rstest;
use serde_json::Value;
use td_braze_cohort::commands::exit::Exit;
use td_braze_cohort::commands::outcome::Stop;
use td_braze_cohort::delivery::counts::DeliveryCounts;
use td_braze_cohort::delivery::failed_file::Failures;
use td_braze_cohort::delivery::{self, Shared};
use td_braze_cohort::http::{Answer, HttpError, Post};
use td_braze_cohort::http::{HeaderMap, HeaderName, HeaderValue};
use td_braze_cohort::input::counters::InputCounts;
use td_braze_cohort::members::operation::Operation;
use td_braze_cohort::retry::{Clock, RateLimiter};

use crate::rig;
use crate::virtual_clock::VirtualClock;

const SCHEDULES: u64 = 10_000;
const PARTS: u64 = 8;
/// Faulty runs before the one without faults, at most.
const FAULTY_RUNS: u64 = 3;

/// An identifier, and which kind it is.
type Identifier = (&'static str, String);

/// What of a schedule stays the same in all its runs.
struct Scene {
    rows: Vec<Identifier>,
    text: String,
    operation: Operation,
    batch_size: usize,
    threads: usize,
    /// Identifiers that Braze refuses whenever it sees them.
    poison: BTreeSet<Identifier>,
}

impl Scene {
    fn new(random: &mut Rng) -> Self {
        let mut rows = Vec::new();
        let mut text = "user_ids,email\r\n".to_owned();
        for _ in 0..random.usize(0..60) {
            let (user, mail) = (random.u8(0..40), random.u8(0..40));
            let line = match random.u8(0..10) {
                0 => String::from(","),
                1 => format!("u\u{1}{user},"),
                2 => format!("{user},{mail},too many"),
                3 | 4 => format!(",m{mail}@example.com"),
                5 => format!("u{user},m{mail}@example.com"),
                _ => format!("u{user},"),
            };
            if !line.contains(['\u{1}']) && !line.contains("too many") {
                let (user, mail) = line.split_once(',').unwrap();
                rows.extend(
                    [("user_ids", user), ("email", mail)].into_iter().filter(|(_, it)| !it.is_empty()).map(owned),
                );
            }
            writeln!(text, "{line}\r").unwrap();
        }
        if rows.is_empty() {
            // Rejections alone would be an input that cannot be used.
            text.truncate("user_ids,email\r\n".len());
        }
        let poison = rows.iter().filter(|_| random.u8(0..100) < 2).cloned().collect();
        Self {
            rows,
            text,
            operation: if random.bool() { Operation::Add } else { Operation::Remove },
            batch_size: random.usize(1..9),
            threads: random.usize(1..5),
            poison,
        }
    }
}

fn owned((kind, text): (&'static str, &str)) -> Identifier {
    (kind, text.to_owned())
}

/// The faults of one run.
#[derive(Clone)]
struct Faults {
    /// How many of a hundred requests fail.
    percent: u8,
    /// From this request on, this many requests of any worker fail.
    outage: Option<(u64, u64)>,
    /// The process is killed at this request.
    kill: Option<u64>,
    /// The process is asked to stop at this request.
    terminate: Option<u64>,
    /// The credentials are revoked at this request.
    withdrawn: Option<u64>,
}

impl Faults {
    const NONE: Self = Self { percent: 0, outage: None, kill: None, terminate: None, withdrawn: None };

    fn new(random: &mut Rng) -> Self {
        let mut one_in = |count: u8, below: u64| (random.u8(0..count) == 0).then(|| random.u64(0..below));
        let (kill, terminate, withdrawn) = (one_in(2, 20), one_in(6, 20), one_in(20, 20));
        let outage = one_in(6, 20).map(|from| (from, 5));
        Self { percent: [0, 5, 20, 60][random.usize(0..4)], outage, kill, terminate, withdrawn }
    }
}

/// What Braze holds and knows of the rules. Outlives all runs of a schedule.
#[derive(Default)]
struct Braze {
    applied: BTreeSet<Identifier>,
    requests: u64,
    in_flight: u64,
    broken_rules: Vec<String>,
    /// No request may begin after the first time and before the second.
    pauses: Vec<(Duration, Duration)>,
    /// One call at a time since this time, until a call that began later succeeds.
    locked: Option<Duration>,
}

impl Braze {
    /// A request that began at this time succeeded.
    fn unlock(&mut self, began: Duration) {
        self.locked = self.locked.filter(|since| began <= *since);
    }
}

/// One run's connection to it.
struct Line<'a> {
    scene: &'a Scene,
    faults: Faults,
    random: Mutex<Rng>,
    braze: &'a Mutex<Braze>,
    clock: Arc<VirtualClock>,
    limiter: OnceLock<Arc<RateLimiter<Stop>>>,
    killed: Mutex<bool>,
}

/// How a request fails.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Reset,
    LostAnswer,
    Stale,
    Timeout,
    Garbage,
    Unavailable,
    UnavailableAndApplied,
    UnavailableUntil,
    Limited,
    LimitedUntil,
    Locked,
    NotAcknowledged,
}

const TROUBLES: [Trouble; 12] = [
    Trouble::Reset,
    Trouble::LostAnswer,
    Trouble::Stale,
    Trouble::Timeout,
    Trouble::Garbage,
    Trouble::Unavailable,
    Trouble::UnavailableAndApplied,
    Trouble::UnavailableUntil,
    Trouble::Limited,
    Trouble::LimitedUntil,
    Trouble::Locked,
    Trouble::NotAcknowledged,
];

fn answer(status: u16, header: Option<(&'static str, u64)>, body: &str) -> Answer {
    let headers: HeaderMap =
        header.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from(value))).into_iter().collect();
    Answer { status, headers, body: body.as_bytes().to_vec() }
}

impl Line<'_> {
    /// Begins a request. Returns the rules that it breaks, and its number.
    fn begin(&self) -> (u64, Duration) {
        let mut braze = self.braze.lock().unwrap();
        let now = self.clock.now();
        if let Some((from, to)) = braze.pauses.iter().find(|(from, to)| now > *from && now < *to).copied() {
            braze.broken_rules.push(format!("a request at {now:?} in the pause from {from:?} to {to:?}"));
        }
        if braze.locked.is_some_and(|since| now > since) && braze.in_flight > 0 {
            let in_flight = braze.in_flight;
            braze.broken_rules.push(format!("a request next to {in_flight} others while the cohort is locked"));
        }
        braze.requests += 1;
        braze.in_flight += 1;
        (braze.requests - 1, now)
    }

    fn trouble(&self, number: u64) -> Option<Trouble> {
        if self.faults.outage.is_some_and(|(from, count)| (from..from + count).contains(&number)) {
            return Some(Trouble::Reset);
        }
        let mut random = self.random.lock().unwrap();
        if random.u8(0..100) >= self.faults.percent {
            return None;
        }
        Some(TROUBLES[random.usize(0..TROUBLES.len())])
    }

    fn answer(&self, trouble: Option<Trouble>, body: &[u8], began: Duration) -> Result<Answer, HttpError> {
        let now = self.clock.now();
        let mut braze = self.braze.lock().unwrap();
        let broken = |text: &str| Err(HttpError::Broken(text.to_owned()));
        let seconds = self.random.lock().unwrap().u64(1..100);
        match trouble {
            Some(Trouble::Reset) => broken("reset"),
            Some(Trouble::LostAnswer) => {
                self.apply(&mut braze, body);
                broken("lost")
            }
            Some(Trouble::Stale) => Err(HttpError::Stale),
            Some(Trouble::Timeout) => Err(HttpError::Timeout("answer".into())),
            Some(Trouble::Garbage) => Err(HttpError::Unintelligible("status line".to_owned())),
            Some(Trouble::Unavailable) => Ok(answer(503, None, "")),
            Some(Trouble::UnavailableAndApplied) => {
                self.apply(&mut braze, body);
                Ok(answer(504, None, ""))
            }
            Some(Trouble::UnavailableUntil) => Ok(answer(503, Some(("retry-after", seconds)), "")),
            Some(Trouble::Limited) => Ok(answer(429, None, "{}")),
            Some(Trouble::LimitedUntil) => {
                braze.pauses.push((now, now + Duration::from_secs(seconds)));
                Ok(answer(429, Some(("retry-after", seconds)), "{}"))
            }
            Some(Trouble::Locked) => {
                braze.locked = Some(now);
                Ok(answer(423, None, r#"{"message":"Resource locked"}"#))
            }
            Some(Trouble::NotAcknowledged) => {
                braze.unlock(began);
                Ok(answer(201, None, r#"{"message":"success","errors":["no"]}"#))
            }
            None => {
                let takes = self.apply(&mut braze, body);
                braze.unlock(began);
                Ok(if takes {
                    answer(201, None, r#"{"message":"success"}"#)
                } else {
                    answer(400, None, r#"{"message":"no"}"#)
                })
            }
        }
    }

    /// Whether Braze takes it; all of it or nothing.
    fn apply(&self, braze: &mut Braze, body: &[u8]) -> bool {
        let identifiers = identifiers(body, self.scene.operation);
        let takes = !identifiers.iter().any(|identifier| self.scene.poison.contains(identifier));
        if takes {
            braze.applied.extend(identifiers);
        }
        takes
    }
}

/// All identifiers of a body. Asserts that it has this operation.
fn identifiers(body: &[u8], operation: Operation) -> Vec<Identifier> {
    let body: Value = serde_json::from_slice(body).unwrap();
    let mut identifiers = Vec::new();
    for change in body["cohort_changes"].as_array().into_iter().flatten() {
        assert_eq!(change["should_remove"], operation == Operation::Remove);
        let users = change["user_ids"].as_array().into_iter().flatten();
        identifiers.extend(users.map(|id| ("user_ids", id.as_str().unwrap().to_owned())));
        for alias in change["aliases"].as_array().into_iter().flatten() {
            assert_eq!(alias["alias_label"], "email");
            identifiers.push(("email", alias["alias_name"].as_str().unwrap().to_owned()));
        }
    }
    identifiers
}

impl Post for Line<'_> {
    fn post(&self, _: &str, body: &[u8]) -> Result<Answer, HttpError> {
        let (number, began) = self.begin();
        let latency = self.random.lock().unwrap().u64(1..200);
        self.clock.sleep(Duration::from_millis(latency));
        let limiter = self.limiter.get().unwrap();
        if self.faults.terminate == Some(number) {
            limiter.stop(Stop::Terminated);
        }
        if self.faults.kill == Some(number) {
            *self.killed.lock().unwrap() = true;
            limiter.stop(Stop::Terminated);
        }
        let answer = if *self.killed.lock().unwrap() {
            Err(HttpError::Broken("the process is gone".to_owned()))
        } else if self.faults.withdrawn == Some(number) {
            Ok(answer(401, None, r#"{"message":"Invalid client secret"}"#))
        } else {
            self.answer(self.trouble(number), body, began)
        };
        self.braze.lock().unwrap().in_flight -= 1;
        answer
    }

    fn cut(&self) {}
}

/// How one run ended.
struct Ran {
    killed: bool,
    exit: Exit,
    input: InputCounts,
    sent: DeliveryCounts,
    failed: Vec<Identifier>,
}

fn run(scene: &Scene, faults: &Faults, seed: u64, braze: &Mutex<Braze>, folder: &Path) -> Ran {
    let names = rig::names();
    let reader = rig::reader(&scene.text, scene.operation, scene.batch_size, folder);
    let failed_file = folder.join("failed.csv");
    let failures = Arc::new(Failures::begin(Some(&failed_file), &names).unwrap());
    let plan = rig::plan(scene.threads);
    let clock = Arc::new(VirtualClock::default());
    let limiter = rig::limiter(250_000, &clock);
    let line = Line {
        scene,
        faults: faults.clone(),
        random: Mutex::new(Rng::with_seed(seed)),
        braze,
        clock,
        limiter: OnceLock::from(Arc::clone(&limiter)),
        killed: Mutex::new(false),
    };
    {
        let mut braze = braze.lock().unwrap();
        let broken_rules = std::mem::take(&mut braze.broken_rules);
        let applied = std::mem::take(&mut braze.applied);
        *braze = Braze { applied, broken_rules, ..Braze::default() };
    }
    let shared = Arc::new(Shared::new(1));
    delivery::run(&plan, reader, &line, &limiter, &shared, &failures, &mut || {});

    let (input, sent, stop) = (shared.input().clone(), shared.sent(), limiter.take_stop());
    let killed = *line.killed.lock().unwrap();
    let mut failed = Vec::new();
    if !killed {
        failures.finish().unwrap();
        failed = read_failed(&failed_file);
    }
    let undelivered = input.identifiers() - sent.delivered - sent.refused;
    let exit = match &stop {
        Some(stop) => stop.exit(),
        None if undelivered > 0 => Exit::TryAgain,
        None if sent.refused > 0 => Exit::Refused,
        None => Exit::Success,
    };
    Ran { killed, exit, input, sent, failed }
}

fn read_failed(path: &Path) -> Vec<Identifier> {
    let Ok(mut reader) = csv::Reader::from_path(path) else { return Vec::new() };
    let rows = reader.records().map(|row| {
        let row = row.unwrap();
        if row[0].is_empty() { ("email", row[2].to_owned()) } else { ("user_ids", row[0].to_owned()) }
    });
    rows.collect()
}

fn counted(identifiers: impl IntoIterator<Item = Identifier>) -> BTreeMap<Identifier, u64> {
    let mut counts = BTreeMap::new();
    for identifier in identifiers {
        *counts.entry(identifier).or_default() += 1;
    }
    counts
}

/// What must hold after any run.
fn check(scene: &Scene, ran: &Ran, braze: &Braze, what: &str) {
    assert!(braze.broken_rules.is_empty(), "{what}: {:?}", braze.broken_rules);
    let wanted: BTreeSet<_> = scene.rows.iter().cloned().collect();
    assert!(braze.applied.is_subset(&wanted), "{what}: something was invented");
    if ran.killed {
        return;
    }
    let (input, sent) = (&ran.input, &ran.sent);
    let rows = input.rows_used + input.rows_without_identifier + input.rows_rejected;
    assert_eq!(input.rows_read, rows, "{what}: rows");
    let failed = counted(ran.failed.iter().cloned());
    let in_file: u64 = failed.values().sum();
    assert_eq!(input.identifiers() - sent.delivered, in_file, "{what}: the failed_file and the report");
    if input.read_to_end {
        assert_eq!(input.identifiers(), scene.rows.len() as u64, "{what}: identifiers");
        for (identifier, count) in counted(scene.rows.iter().cloned()) {
            let not_delivered = failed.get(&identifier).copied().unwrap_or_default();
            let lost = not_delivered < count && !braze.applied.contains(&identifier);
            assert!(!lost, "{what}: {identifier:?} was acknowledged and not applied");
        }
    }
    if ran.exit == Exit::Success {
        assert!(input.read_to_end && sent.delivered == input.identifiers(), "{what}: a success that is none");
        assert_eq!(braze.applied, wanted, "{what}: exit 0");
    }
}

fn play(seed: u64, folder: &Path) {
    let mut random = Rng::with_seed(seed);
    let scene = Scene::new(&mut random);
    let braze = Mutex::<Braze>::default();
    for number in 0..random.u64(1..=FAULTY_RUNS) {
        let faults = Faults::new(&mut random);
        let ran = run(&scene, &faults, seed + number, &braze, folder);
        check(&scene, &ran, &braze.lock().unwrap(), &format!("schedule {seed}, run {number}"));
    }
    let last = run(&scene, &Faults::NONE, seed, &braze, folder);
    let braze = braze.lock().unwrap();
    check(&scene, &last, &braze, &format!("schedule {seed}, the run without faults"));
    let wanted: BTreeSet<_> = scene.rows.iter().filter(|it| !scene.poison.contains(it)).cloned().collect();
    assert_eq!(braze.applied, wanted, "schedule {seed}: in the end everything has arrived");
    let refused = scene.rows.iter().filter(|it| scene.poison.contains(it)).count() as u64;
    assert_eq!((last.sent.refused, last.failed.len() as u64), (refused, refused), "schedule {seed}");
    let exit = if refused > 0 { Exit::Refused } else { Exit::Success };
    assert_eq!(last.exit, exit, "schedule {seed}");
}

#[rstest]
fn in_ten_thousand_schedules_nothing_is_lost_or_invented(#[values(0, 1, 2, 3, 4, 5, 6, 7)] part: u64) {
    let each = SCHEDULES / PARTS;
    for seed in part * each..(part + 1) * each {
        let folder = tempfile::tempdir().unwrap();
        play(seed, folder.path());
    }
}
