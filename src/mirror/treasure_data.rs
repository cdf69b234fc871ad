//! A warehouse in Treasure Data: the statements as jobs, the versions as tables.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, BufWriter, Seek, Write};
use std::time::Duration;

use log::{info, warn};
use serde_json::json;
use thiserror::Error;

use crate::input::formats::format::{Format, FormatHint};
use crate::input::source::Input;
use crate::input::source::fetched::Fetched;
use crate::input::{ReadableInput, TableName};
use crate::members::identifier::Kind;
use crate::mirror::sql::Statements;
use crate::mirror::state::{Found, State};
use crate::mirror::warehouse::{Changes, Counts, Listing, Name, OPERATION, Refused, Renamed, Table, Warehouse};
use crate::retry::Stopped;
use crate::treasure_data::fetch::Received;
use crate::treasure_data::show::Status;
use crate::treasure_data::tables::{Api, ListedTable, RenameOutcome};
use crate::treasure_data::{Job, JobError, ResultFormat};

/// So often a job that failed is tried under a new name, and a list is asked for a table that was just made.
const TRIES: u32 = 3;
/// How long lists may be stale.
pub const STALE: Duration = Duration::from_secs(5);

/// How a run tells and spends time.
pub trait RunClock {
    /// The time since the start of the run; a machine that slept has to find out.
    fn now(&self) -> Duration;
    /// Waits; an error where the run is stopped meanwhile.
    fn wait(&self, time: Duration) -> Result<(), Stopped>;
    /// What is done from now on, for whoever watches.
    fn begin(&self, step: &str);
}

/// A job that was issued.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRun {
    /// Its number.
    pub id: String,
    /// What for.
    pub step: &'static str,
    /// From its issue to its end, as far as it was waited for.
    pub time: Duration,
}

/// How far a state is, in identifiers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateStatus {
    /// The highest version: odd while a run is at work, or where it did not get to its end.
    pub version: u64,
    /// When changes were committed last, in seconds since 1970; 0 for never.
    pub committed: u64,
    /// Those that are to be in the cohort.
    pub wanted: u64,
    /// Those that are still to be removed.
    pub to_remove: u64,
    /// Those that are wanted and not known to be there.
    pub to_add: u64,
}

/// Why a mirror cannot work, or go on.
#[derive(Debug, Error)]
pub enum MirrorError {
    /// There is state under another data import key, and none under this one.
    #[error(
        "the state of this cohort was made with another BRAZE_CLIENT_SECRET (table {table}). If you rotated the key, run once with \
         -p braze_cohort.key_rotated=true; if this key is of another Braze workspace, set another state_table"
    )]
    OtherKey {
        /// Such a table.
        table: String,
    },
    /// There is more than one that could be meant.
    #[error("this cohort has states of several other BRAZE_CLIENT_SECRETs: delete the tables of keys that are no longer used ({})", .tables.join(", "))]
    OtherKeys {
        /// A table of each.
        tables: Vec<String>,
    },
    /// The account does not do what the protocol relies on.
    #[error(
        "a mirror does not work with this Treasure Data account, because this does not hold: {fact}. Nothing was changed; \
         td-braze-cohort check shows all that was tried"
    )]
    Fact {
        /// What.
        fact: Fact,
    },
    /// A job failed again and again.
    #[error(
        "job {id} ({step}) ended with the status '{status}' three times; its log in Treasure Data's console has the reason. Check the \
         permissions of TD_API_KEY's user and the table's columns, or run it again later"
    )]
    JobFailed {
        /// The last one.
        id: String,
        /// `error` or `killed`.
        status: &'static str,
        /// What for.
        step: &'static str,
    },
    /// What Treasure Data says cannot be.
    #[error("{said}; run it again, and report it if it happens again")]
    Unexpected {
        /// What is wrong.
        said: String,
    },
}

/// What the protocol relies on, and only the account itself can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Two tables were made, and deleted again.
    Tables,
    /// One onto a table that is there.
    Rename,
    /// A new table is in it soon.
    List,
    /// Issued twice it is one job.
    DomainKey,
    /// The function that takes whole numbers alone.
    ToBase,
}

impl fmt::Display for Fact {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tables => "a table is made, and deleted",
            Self::Rename => "a rename onto a table that is there is refused",
            Self::List => "the list of tables shows a new one within 5 s",
            Self::DomainKey => "a domain_key that is issued twice names the first job",
            Self::ToBase => "the engine has to_base",
        })
    }
}

/// The members' table, and the state's tables.
pub struct TreasureData<'a, S> {
    api: Api<'a, S>,
    statements: Statements,
    state: State,
    /// Labels of the aliases, in the order of the settings.
    aliases: Vec<String>,
    times: &'a dyn RunClock,
    /// When the run began, in seconds since 1970.
    began: u64,
    /// Different for each run.
    unique: String,
    /// State of another data import key is to become this one's.
    key_rotated: bool,
    issued: Vec<JobRun>,
    /// Issued, and not known to have ended.
    running: Option<Job>,
}

impl<'a, S: From<JobError> + From<MirrorError>> TreasureData<'a, S> {
    /// For one run, which began at `began`, in seconds since 1970.
    pub fn new(
        api: Api<'a, S>,
        (statements, state, aliases): (Statements, State, Vec<String>),
        times: &'a dyn RunClock,
        began: u64,
    ) -> Self {
        let unique = format!("{:016x}", fastrand::u64(..));
        let (key_rotated, issued, running) = (false, Vec::new(), None);
        Self { api, statements, state, aliases, times, began, unique, key_rotated, issued, running }
    }

    /// State of another data import key becomes this one's.
    #[must_use]
    pub fn adopting(self, key_rotated: bool) -> Self {
        Self { key_rotated, ..self }
    }

    /// The jobs that were issued so far.
    pub fn issued(&self) -> &[JobRun] {
        &self.issued
    }

    /// The job that may still run when the run was stopped.
    pub fn running(&self) -> Option<&Job> {
        self.running.as_ref()
    }

    fn place(&self, name: &Name) -> TableName {
        TableName { database: self.state.database.clone(), table: self.state.table(name) }
    }

    fn fresh(&self) -> Name {
        let count = self.issued.len();
        Name::Work(self.state.work(self.began, &format!("{}_{count}", self.unique)))
    }

    /// Runs a statement to its end, and says whether it succeeded.
    fn run(&mut self, step: &'static str, statement: &str) -> Result<(Job, Status), Stopped> {
        self.times.begin(step);
        let (began, key) = (self.times.now(), self.domain_key(self.issued.len()));
        let job = self.api.issue(&self.state.database, statement, &key)?;
        self.running = Some(job.clone());
        let ended = self.api.wait(&job);
        self.issued.push(JobRun { id: job.id.clone(), step, time: self.times.now().saturating_sub(began) });
        let info = ended?;
        self.running = None;
        Ok((job, info.status))
    }

    fn domain_key(&self, number: usize) -> String {
        format!("td-braze-cohort-{}-{}-{number}", self.began, self.unique)
    }

    /// Makes a table. A job that failed may have made it, so each try has a name of its own. None if it failed and `source` is not
    /// there any more.
    fn make(
        &mut self,
        step: &'static str,
        source: Option<&Table>,
        statement: impl Fn(&Self, &TableName) -> String,
    ) -> Result<Option<Table>, Stopped> {
        let mut tries = 0;
        loop {
            let name = self.fresh();
            let statement = statement(self, &self.place(&name));
            let (job, status) = self.run(step, &statement)?;
            if status == Status::Success {
                return self.made(name).map(Some);
            }
            let tables = self.api.list(&self.state.database)?;
            if source.is_some_and(|source| tables.iter().all(|table| number_of(table) != source.id)) {
                return Ok(None);
            }
            tries += 1;
            self.failed(step, &job, status, tries)?;
        }
    }

    /// The table that a job has made, which lists may not show at once.
    fn made(&self, name: Name) -> Result<Table, Stopped> {
        let table = self.state.table(&name);
        for _ in 0..=TRIES {
            if let Some(found) = self.api.list(&self.state.database)?.iter().find(|found| found.name == table) {
                return Ok(Table { name, id: number_of(found) });
            }
            self.times.wait(STALE)?;
        }
        Err(self.cannot(&format!("the list of tables does not show '{table}', which a job has made")))
    }

    /// Runs a statement that makes nothing until it succeeds.
    fn succeed(&mut self, step: &'static str, statement: &str) -> Result<Job, Stopped> {
        for attempt in 1..=TRIES {
            let (job, status) = self.run(step, statement)?;
            if status == Status::Success {
                return Ok(job);
            }
            self.failed(step, &job, status, attempt)?;
        }
        Err(self.cannot("a job never succeeded"))
    }

    /// A job that failed; an error the last time.
    fn failed(&self, step: &'static str, job: &Job, status: Status, attempt: u32) -> Result<(), Stopped> {
        if attempt == TRIES {
            return Err(self.stop(MirrorError::JobFailed { id: job.id.clone(), status: status.name(), step }));
        }
        warn!("{} ended with the status '{}'; trying again", job.name(), status.name());
        Ok(())
    }

    /// Runs a statement and fetches its rows, of three texts each.
    fn rows(
        &mut self,
        step: &'static str,
        statement: &str,
        mut take: impl FnMut(&mut Self, [String; 3]) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        let job = self.succeed(step, statement)?;
        let (mut file, _) = self.api.download(&job, ResultFormat::Json, &Received::default())?;
        file.rewind().map_err(|error| self.cannot_keep(&job, error))?;
        for line in BufReader::new(file).lines() {
            let line = line.map_err(|error| self.cannot_keep(&job, error))?;
            let row = serde_json::from_str(&line);
            let row = row.map_err(|_| self.schema(&job, "has rows that are not three texts"))?;
            take(self, row)?;
        }
        Ok(())
    }

    fn counts(&self, counts: &mut Counts, [_, name, number]: &[String; 3]) -> Result<(), Stopped> {
        let number: u64 = number.parse().map_err(|_| self.cannot("a count is not a number"))?;
        match name.as_str() {
            "before" => counts.before = number,
            "wanted" => counts.wanted = number,
            "entered" => counts.entered = number,
            "left" => counts.left = number,
            "removals" => counts.removals = number,
            "additions" => counts.additions = number,
            "refreshed" => counts.refreshed = number,
            "beside" => counts.beside = number,
            "with_identifier" => counts.rows += number,
            "without_identifier" => {
                counts.rows += number;
                counts.without_identifier = number;
            }
            "rejected" => counts.rejected = number,
            other => return Err(self.cannot(&format!("unknown count '{other}'"))),
        }
        Ok(())
    }

    fn stop(&self, error: impl Into<S>) -> Stopped {
        self.api.limiter().stop(error.into());
        Stopped
    }

    fn cannot(&self, said: &str) -> Stopped {
        self.stop(MirrorError::Unexpected { said: said.to_owned() })
    }

    fn schema(&self, job: &Job, problem: &'static str) -> Stopped {
        self.stop(JobError::Schema { id: job.id.clone(), problem })
    }

    fn cannot_keep(&self, job: &Job, error: std::io::Error) -> Stopped {
        let folder = std::env::temp_dir().display().to_string();
        self.stop(JobError::CannotKeep { id: job.id.clone(), folder, error })
    }

    /// How far the state is; nothing before a first run.
    pub fn status(&mut self) -> Result<Option<StateStatus>, Box<S>> {
        let result = self.try_status();
        self.told(result)
    }

    fn try_status(&mut self) -> Result<Option<StateStatus>, Stopped> {
        let listing = self.listed()?;
        let Some((version, name)) = listing.highest().and_then(|table| Some((table.number()?, &table.name))) else {
            return Ok(None);
        };
        let statement = self.statements.status(&self.place(name));
        let mut status = StateStatus { version, ..StateStatus::default() };
        self.rows("how far the state is", &statement, |this, [_, name, number]| {
            let number = number.parse().map_err(|_| this.cannot("a count is not a number"))?;
            match name.as_str() {
                "committed" => status.committed = number,
                "wanted" => status.wanted = number,
                "to_remove" => status.to_remove = number,
                "to_add" => status.to_add = number,
                other => return Err(this.cannot(&format!("unknown count '{other}'"))),
            }
            Ok(())
        })?;
        Ok(Some(status))
    }

    /// Tries what the protocol relies on, with two tables that are deleted again, and a job.
    pub fn facts(&mut self) -> Result<[(Fact, bool); 5], Box<S>> {
        let result = self.try_all();
        self.told(result)
    }

    fn try_all(&mut self) -> Result<[(Fact, bool); 5], Stopped> {
        let database = self.state.database.clone();
        let [one, other] = ["a", "b"].map(|end| self.state.work(self.began, &format!("{}_{end}", self.unique)));
        for table in [&one, &other] {
            self.api.create(&database, table)?;
        }
        let renamed = self.api.rename(&database, &one, &other)?;
        if renamed == RenameOutcome::Unknown {
            return Err(self.cannot("Treasure Data did not answer whether a table was renamed"));
        }
        let shows =
            |tables: &[ListedTable]| [&one, &other].iter().all(|name| tables.iter().any(|table| table.name == **name));
        let mut is_shown = shows(&self.api.list(&database)?);
        if !is_shown && renamed == RenameOutcome::Refused {
            self.times.wait(STALE)?;
            is_shown = shows(&self.api.list(&database)?);
        }
        for table in [&one, &other] {
            self.api.delete(&database, table)?;
        }
        let (statement, mut tries) = ("SELECT to_base(1, 10)", 1);
        let (first, key, status) = loop {
            let key = self.domain_key(self.issued.len());
            let (job, status) = self.run("trial of what is relied on", statement)?;
            if status == Status::Success || tries == TRIES {
                break (job, key, status);
            }
            tries += 1;
        };
        let second = self.api.issue(&database, statement, &key)?;
        Ok([
            (Fact::Tables, true),
            (Fact::Rename, renamed == RenameOutcome::Refused),
            (Fact::List, is_shown),
            (Fact::DomainKey, second.id == first.id),
            (Fact::ToBase, status == Status::Success),
        ])
    }

    /// The error that stopped the limiter.
    fn told<T>(&self, result: Result<T, Stopped>) -> Result<T, Box<S>> {
        result.map_err(|Stopped| {
            let unknown = || MirrorError::Unexpected { said: "the run was stopped for an unknown reason".to_owned() };
            Box::new(self.api.limiter().take_stop().unwrap_or_else(|| unknown().into()))
        })
    }

    /// Makes the state of another data import key this one's: its highest version becomes ours, and the others go.
    fn adopt(&self, mut others: Vec<OtherVersion>) -> Result<Vec<Table>, Stopped> {
        others.sort_by_key(|other| other.number);
        let Some(highest) = others.pop() else { return Ok(Vec::new()) };
        let name = Name::Version(highest.number);
        let ours = self.state.table(&name);
        info!("the state of another data import key becomes this one's: {} is renamed to {ours}", highest.table);
        if self.api.rename(&self.state.database, &highest.table, &ours)? != RenameOutcome::Done {
            return Err(self.cannot("Treasure Data did not say that the state's table was renamed"));
        }
        for other in &others {
            self.api.delete(&self.state.database, &other.table)?;
        }
        // Not listed anew, as a list may be stale.
        Ok(vec![Table { name, id: highest.id }])
    }

    fn listed(&self) -> Result<Listing, Stopped> {
        let asked = self.times.now();
        let mut listing = Listing { asked, ..Listing::default() };
        let mut others = Vec::new();
        let now = self.began + asked.as_secs();
        for table in self.api.list(&self.state.database)? {
            let id = number_of(&table);
            match self.state.find(&table.name, now) {
                Found::Ours(name @ Name::Version(_)) => listing.versions.push(Table { name, id }),
                Found::Ours(name @ Name::Work(_)) => listing.leftovers.push(Table { name, id }),
                Found::OtherKey { fingerprint, number } => {
                    others.push(OtherVersion { fingerprint, number, table: table.name, id });
                }
                Found::Nothing => {}
            }
        }
        if others.is_empty() || !listing.versions.is_empty() {
            return Ok(listing);
        }
        let is_one = others.iter().all(|other| other.fingerprint == others[0].fingerprint);
        match (is_one, self.key_rotated) {
            (true, true) => Ok(Listing { versions: self.adopt(others)?, ..listing }),
            (true, false) => Err(self.stop(MirrorError::OtherKey { table: others[0].table.clone() })),
            (false, _) => {
                let tables = others.into_iter().map(|other| other.table).collect();
                Err(self.stop(MirrorError::OtherKeys { tables }))
            }
        }
    }

    fn fetch_changes(&mut self, work: &Table) -> Result<Changes<ChangedRows>, Stopped> {
        let statement = self.statements.changes(&self.place(&work.name));
        let nothing = self.api.job("");
        let file = tempfile::tempfile().map_err(|error| self.cannot_keep(&nothing, error))?;
        let (mut counts, mut writer, mut written) = (Counts::default(), BufWriter::new(file), 0);
        self.rows("what is to be removed and added", &statement, |this, row| {
            let [change, kind, value] = &row;
            if change == "count" {
                return this.counts(&mut counts, &row);
            }
            if !Kind::is_fixed_column(kind) && !this.aliases.contains(kind) {
                this.aliases.push(kind.clone());
            }
            let operation = if change == "remove" { "remove" } else { "add" };
            written += 1;
            writeln!(writer, "{}", json!({OPERATION: operation, kind.as_str(): value}))
                .map_err(|error| this.cannot_keep(&nothing, error))
        })?;
        if written != counts.removals + counts.additions {
            return Err(self.cannot("the number of changes differs from the count before"));
        }
        let mut file = writer.into_inner().map_err(|error| self.cannot_keep(&nothing, error.into_error()))?;
        let size = file.stream_position().map_err(|error| self.cannot_keep(&nothing, error))?;
        info!("{} removals and {} additions are here: {size} bytes", counts.removals, counts.additions);
        let format_hint = FormatHint { format: Some(Format::Jsonl), may_be_empty: true, ..FormatHint::default() };
        let input = Input::Fetched(Fetched::new("the changes", file, size));
        let input = ReadableInput { input, format_hint, expected_rows: Some(written) };
        Ok(Changes { counts, rows: ChangedRows { input, labels: self.aliases.clone() } })
    }
}

fn number_of(table: &ListedTable) -> u64 {
    table.id.parse().unwrap_or_else(|_| {
        let mut hasher = DefaultHasher::new();
        table.id.hash(&mut hasher);
        hasher.finish()
    })
}

/// A version of the state of another data import key.
struct OtherVersion {
    fingerprint: String,
    number: u64,
    table: String,
    id: u64,
}

/// What job 2 brings for the delivery.
pub struct ChangedRows {
    /// One row an identifier.
    pub input: ReadableInput,
    /// Labels of the aliases: those of the settings, and behind them those that only the state has, whose identifiers are to leave.
    pub labels: Vec<String>,
}

impl<S: From<JobError> + From<MirrorError>> Warehouse for TreasureData<'_, S> {
    type Rows = ChangedRows;
    type Error = Box<S>;

    fn now(&self) -> Duration {
        self.times.now()
    }

    fn wait(&mut self, time: Duration) -> Result<(), Self::Error> {
        self.told(self.times.wait(time))
    }

    fn tables(&mut self) -> Result<Listing, Self::Error> {
        let listing = self.listed();
        self.told(listing)
    }

    fn try_facts(&mut self) -> Result<(), Self::Error> {
        match self.facts()?.into_iter().find(|(_, holds)| !holds) {
            Some((fact, _)) => Err(Box::new(MirrorError::Fact { fact }.into())),
            None => Ok(()),
        }
    }

    fn build(&mut self, top: Option<&Table>) -> Result<Option<Table>, Self::Error> {
        let result = self.make("the members beside the state", top, |this, work| {
            let top = top.map(|top| this.place(&top.name));
            this.statements.build(top.as_ref(), work)
        });
        self.told(result)
    }

    fn changes(&mut self, work: &Table) -> Result<Changes<ChangedRows>, Self::Error> {
        let result = self.fetch_changes(work);
        self.told(result)
    }

    fn preview(&mut self, top: Option<&Table>) -> Result<Counts, Self::Error> {
        let top = top.map(|top| self.place(&top.name));
        let statement = self.statements.preview(top.as_ref());
        let mut counts = Counts::default();
        let result =
            self.rows("what would be removed and added", &statement, |this, row| this.counts(&mut counts, &row));
        self.told(result).map(|()| counts)
    }

    fn rename(&mut self, table: &Table, number: u64) -> Result<Renamed, Self::Error> {
        let [from, to] = [&table.name, &Name::Version(number)].map(|name| self.state.table(name));
        let outcome = self.told(self.api.rename(&self.state.database, &from, &to))?;
        Ok(match outcome {
            RenameOutcome::Done => Renamed::Done,
            RenameOutcome::Refused => Renamed::Refused,
            RenameOutcome::Unknown => Renamed::Unknown,
        })
    }

    fn commit(&mut self, ours: &Table, refused: &[Refused]) -> Result<Option<Table>, Self::Error> {
        let result = self.make("the new state", Some(ours), |this, next| {
            let refused: Vec<_> =
                refused.iter().map(|one| (one.operation, one.kind.column(&this.aliases), one.value.as_str())).collect();
            this.statements.commit(&this.place(&ours.name), &refused, next)
        });
        self.told(result)
    }

    fn delete(&mut self, table: &Table) -> Result<(), Self::Error> {
        self.told(self.api.delete(&self.state.database, &self.state.table(&table.name)))
    }
}
