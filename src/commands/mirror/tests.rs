//! A mirror's run from a warehouse in memory to a real sandbox.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::*;
use crate::braze::body::Credentials;
use crate::http::endpoint::Endpoint;
use crate::http::{Http, Network};
use crate::input::formats::format::FormatHint;
use crate::input::source::Input;
use crate::input::{MaxRejected, ReadableInput};
use crate::mirror::limits::Limits as ChangeLimits;
use crate::mirror::warehouse::{Changes, Counts, Listing, Name, Refused, Renamed, Table, Times};
use crate::sandbox::{self, CohortView, Sandbox};
use crate::secret::Secret;
use crate::settings::Config;
use crate::settings::raw::{Located, Origin, SettingsLayer};
use crate::settings::setting::Key;

/// The identifiers of a row; one with `@` is an alias.
type Row = BTreeSet<&'static str>;

#[derive(Clone, Debug, Default)]
struct State {
    rows: Vec<Row>,
    wanted: Row,
    confirmed: Row,
}

fn all(rows: &[Row]) -> Row {
    rows.iter().flatten().copied().collect()
}

/// Versions and members in memory; the changes in a file.
struct Memory {
    folder: tempfile::TempDir,
    members: Vec<Row>,
    tables: Vec<(Table, State)>,
    next_id: u64,
    /// A newer run appears at this look.
    overtaken_at: Option<u32>,
    looks: u32,
    clock: std::time::Instant,
}

impl Memory {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            members: Vec::new(),
            tables: Vec::new(),
            next_id: 1,
            overtaken_at: None,
            looks: 0,
            clock: std::time::Instant::now(),
        }
    }

    fn make(&mut self, state: State) -> Table {
        self.next_id += 1;
        let table = Table { name: Name::Work(format!("work_{}", self.next_id)), id: self.next_id };
        self.tables.push((table.clone(), state));
        table
    }

    fn state(&self, table: &Table) -> State {
        self.tables.iter().find(|(other, _)| other == table).unwrap().1.clone()
    }
}

impl Warehouse for Memory {
    type Rows = ChangedRows;
    type Error = Stopped;

    fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    fn wait(&mut self, _: Duration) -> Result<(), Stopped> {
        Ok(())
    }

    fn tables(&mut self) -> Result<Listing, Stopped> {
        self.looks += 1;
        let is_version = |table: &Table| matches!(table.name, Name::Version(_));
        let mut versions: Vec<_> = self.tables.iter().map(|(table, _)| table.clone()).filter(is_version).collect();
        if self.overtaken_at.is_some_and(|at| self.looks >= at) {
            versions.push(Table { name: Name::Version(99), id: 0 });
        }
        Ok(Listing { asked: self.now(), versions, leftovers: Vec::new() })
    }

    fn try_facts(&mut self) -> Result<(), Stopped> {
        Ok(())
    }

    fn build(&mut self, top: Option<&Table>) -> Result<Option<Table>, Stopped> {
        let top = top.map(|top| self.state(top)).unwrap_or_default();
        let wanted = all(&self.members);
        let removed: Row = all(&top.rows).difference(&wanted).copied().collect();
        let kept = top.rows.iter().filter(|row| !row.is_disjoint(&removed)).cloned();
        let mates: Row = kept.clone().flatten().collect();
        let confirmed = top.confirmed.difference(&mates).filter(|id| wanted.contains(*id)).copied().collect();
        let rows = self.members.iter().cloned().chain(kept).collect();
        Ok(Some(self.make(State { rows, wanted, confirmed })))
    }

    fn changes(&mut self, work: &Table, _: Option<u64>) -> Result<Changes<ChangedRows>, Stopped> {
        let state = self.state(work);
        let removals: Row = all(&state.rows).difference(&state.wanted).copied().collect();
        let additions: Row = state.wanted.difference(&state.confirmed).copied().collect();
        let path = self.folder.path().join(format!("{}.csv", work.id));
        let mut text = format!("user_ids,email,{OPERATION}\n");
        for (ids, operation) in [(&removals, "remove"), (&additions, "add")] {
            for id in ids {
                let cells = if id.contains('@') { format!(",{id}") } else { format!("{id},") };
                writeln!(text, "{cells},{operation}").unwrap();
            }
        }
        fs::write(&path, text).unwrap();
        let input = Input::from_text(path.to_str().unwrap());
        let input = ReadableInput { input, format_hint: FormatHint::default(), expected_rows: None };
        let rows = ChangedRows { input, labels: vec!["email".to_owned()] };
        let (left, entered) = (removals.len() as u64, additions.len() as u64);
        let counts = Counts {
            before: state.confirmed.len() as u64 + left,
            wanted: state.wanted.len() as u64,
            left,
            entered,
            removals: left,
            additions: entered,
            ..Counts::default()
        };
        Ok(Changes { counts, rows })
    }

    fn preview(&mut self, _: Option<&Table>) -> Result<Counts, Stopped> {
        Ok(Counts::default())
    }

    fn rename(&mut self, table: &Table, number: u64) -> Result<Renamed, Stopped> {
        self.tables.iter_mut().find(|(other, _)| other == table).unwrap().0.name = Name::Version(number);
        Ok(Renamed::Done)
    }

    fn commit(&mut self, ours: &Table, refused: &[Refused], _: u64) -> Result<Option<Table>, Stopped> {
        let state = self.state(ours);
        let is_refused = |id: &&'static str| refused.iter().any(|refused| refused.value == *id);
        let confirmed = state.wanted.iter().copied().filter(|id| !is_refused(id)).collect();
        let rows = state.rows.iter().filter(|row| row.is_subset(&state.wanted)).cloned().collect();
        Ok(Some(self.make(State { rows, confirmed, ..state })))
    }

    fn delete(&mut self, table: &Table) -> Result<(), Stopped> {
        self.tables.retain(|(other, _)| other != table);
        Ok(())
    }
}

struct Braze {
    sandbox: Sandbox,
    credentials: Credentials,
}

impl Braze {
    /// It knows u1 (also by old@x) and u2.
    fn start(folder: &std::path::Path) -> Self {
        let users = folder.join("users.csv");
        fs::write(&users, "external_id,email\nu1,old@x\nu2,\n").unwrap();
        let key = |text: &str| Secret::new(text.to_owned());
        let credentials = Credentials { client_secret: key("secret-zqx-1"), partner_api_key: key("partner-zqx-1") };
        let sandbox = sandbox::start(sandbox::Options {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            client_secret: "secret-zqx-1".to_owned(),
            partner_api_key: "partner-zqx-1".to_owned(),
            rest_api_key: "rest-zqx-1".to_owned(),
            partner: None,
            users: Some(users),
            latency: Duration::ZERO,
            fail_every: None,
            rate_limit: None,
            page: false,
        });
        Self { sandbox: sandbox.unwrap(), credentials }
    }

    fn run(&self, memory: &mut Memory, limits: ChangeLimits) -> (Outcome, Record) {
        let texts = [(Key::CohortId, "gold"), (Key::Operation, "add"), (Key::Aliases, "email"), (Key::Input, "-")];
        let located = |text: &str| Located { raw: text.into(), origin: Origin::Parameter };
        let layer: SettingsLayer = texts.into_iter().map(|(key, text)| (key, located(text))).collect();
        let config = Config::check(&layer, false).unwrap();
        let endpoint = Endpoint::of_sandbox(self.sandbox.endpoint());
        let post = Http::new(2, Network::default());
        let seconds = Duration::from_secs;
        let times =
            Times { request_timeout: seconds(60), longest_try: seconds(130), grace: seconds(120), stale: seconds(5) };
        let mut context = RunContext::new(config, None);
        let recipient = Recipient { post: &post, endpoint: &endpoint, credentials: &self.credentials, matching: None };
        let rules = Rules { limits, max_rejected: MaxRejected::Default, times };
        let (mut outcome, record) = mirror(&mut context, memory, &recipient, &rules).unwrap();
        outcome.report.mirror = Some(MirrorReport { counts: record.counts, ..MirrorReport::default() });
        (outcome, record)
    }

    fn cohort(&self) -> Option<CohortView> {
        self.sandbox.cohort("gold")
    }
}

fn row(ids: &[&'static str]) -> Row {
    ids.iter().copied().collect()
}

#[test]
fn a_cohort_follows_its_table_and_keeps_a_user_whose_address_changes() {
    let mut memory = Memory::new();
    let braze = Braze::start(memory.folder.path());
    memory.members = vec![row(&["u1", "old@x"]), row(&["u2"])];
    let (outcome, record) = braze.run(&mut memory, ChangeLimits::default());
    assert_eq!((outcome.exit.code(), record.top), (0, None), "{:?}", outcome.problem());
    assert_eq!(braze.cohort().unwrap().members, 2);

    memory.members = vec![row(&["u1", "new@x"])];
    let (outcome, record) = braze.run(&mut memory, ChangeLimits::default());
    assert_eq!((outcome.exit.code(), record.top), (0, Some(2)), "{:?}", outcome.problem());
    assert_eq!(record.counts.unwrap().removals, 2);
    let report = outcome.report.to_json();
    assert_eq!((&report["mirror"]["left"], &report["mirror"]["wanted_now"]), (&2.into(), &2.into()), "{report}");
    assert!(outcome.report.to_text().lines().any(|line| line.starts_with("mirror.left ") && line.ends_with(" 2")));
    let cohort = braze.cohort().unwrap();
    assert_eq!((cohort.members, cohort.user_ids), (1, vec!["u1".to_owned()]));
    assert_eq!(memory.tables.iter().map(|(table, _)| table.name.clone()).collect::<Vec<_>>(), [Name::Version(4)]);
}

#[test]
fn a_first_run_with_a_wrong_key_leaves_no_state() {
    let mut memory = Memory::new();
    let mut braze = Braze::start(memory.folder.path());
    braze.credentials.client_secret = Secret::new("of-another".to_owned());
    memory.members = vec![row(&["u1"])];
    let (outcome, _) = braze.run(&mut memory, ChangeLimits::default());
    assert_eq!((outcome.exit.code(), outcome.report.sent.requests), (4, 1), "{:?}", outcome.problem());
    assert!(memory.tables.is_empty() && braze.cohort().is_none());
}

#[test]
fn a_run_with_nothing_to_send_sends_nothing() {
    let mut memory = Memory::new();
    let braze = Braze::start(memory.folder.path());
    memory.members = vec![row(&["u1"])];
    braze.run(&mut memory, ChangeLimits::default());
    let (outcome, _) = braze.run(&mut memory, ChangeLimits::default());
    assert_eq!((outcome.exit.code(), outcome.report.sent.requests), (0, 0));
}

#[test]
fn an_empty_table_changes_nothing_and_says_how_to_mean_it() {
    let mut memory = Memory::new();
    let braze = Braze::start(memory.folder.path());
    memory.members = vec![row(&["u1"]), row(&["u2"])];
    braze.run(&mut memory, ChangeLimits::default());
    memory.members.clear();
    let (outcome, _) = braze.run(&mut memory, ChangeLimits::default());
    assert_eq!((outcome.exit.code(), outcome.report.sent.requests), (6, 0));
    assert!(outcome.problem().unwrap().contains("-p braze_cohort.max_removals=2"), "{:?}", outcome.problem());
    assert_eq!(braze.cohort().unwrap().members, 2);
    assert_eq!(memory.tables.len(), 1);
}

#[test]
fn a_run_that_is_taken_over_sends_no_member_and_ends_with_75() {
    let mut memory = Memory::new();
    let braze = Braze::start(memory.folder.path());
    memory.members = vec![row(&["u1"])];
    memory.overtaken_at = Some(2);
    let (outcome, _) = braze.run(&mut memory, ChangeLimits::default());
    assert_eq!(outcome.exit.code(), 75);
    assert!(outcome.problem().unwrap().contains("has taken over"));
    assert!(braze.cohort().is_none_or(|cohort| cohort.members == 0));
}
