//! A warehouse in Treasure Data. Statements run as jobs, versions are tables.

mod changes;
mod look;
mod versions;

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Seek};
use std::time::Duration;

use log::{info, warn};

use crate::input::TableName;
use crate::mirror::error::MirrorError;
use crate::mirror::sql::Statements;
use crate::mirror::state::State;
use crate::mirror::warehouse::{Changes, Counts, Listing, Name, Refused, Renamed, Table, Warehouse};
use crate::retry::Stopped;
use crate::treasure_data::show::{JobInfo, Status};
use crate::treasure_data::tables::{Api, RenameOutcome};
use crate::treasure_data::{JSON, Job, JobError};

pub use changes::ChangedRows;
use changes::Tally;
pub use look::StateStatus;
use versions::number_of;

/// How often a failed job is tried under a new name, and how often a new table is looked for in the list.
const TRIES: u32 = 3;
/// How old a list may be.
pub const STALE: Duration = Duration::from_secs(5);

/// A job that was issued.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRun {
    /// Its number.
    pub id: String,
    /// Its purpose.
    pub step: &'static str,
    /// From the issue to the end, as long as the run waited for it.
    pub time: Duration,
}

/// The members' table, and the state's tables.
pub struct TreasureData<'a, S> {
    api: Api<'a, S>,
    statements: Statements,
    state: State,
    /// Labels of the aliases, in the order of the settings.
    aliases: Vec<String>,
    /// Shows the step that begins.
    show_step: fn(&str),
    /// When the run began, in seconds since 1970.
    began: u64,
    unique: String,
    /// Whether state of another data import key becomes this one's.
    key_rotated: bool,
    /// Whether it makes, renames and deletes nothing.
    is_dry: bool,
    issued: Vec<JobRun>,
    /// A job that may not have ended yet.
    running: Option<Job>,
}

impl<'a, S: From<JobError> + From<MirrorError>> TreasureData<'a, S> {
    /// For one run, which began at `began`, in seconds since 1970.
    pub fn new(
        api: Api<'a, S>,
        (statements, state, aliases): (Statements, State, Vec<String>),
        show_step: fn(&str),
        began: u64,
    ) -> Self {
        let unique = format!("{:016x}", fastrand::u64(..));
        let (issued, running) = (Vec::new(), None);
        Self {
            api,
            statements,
            state,
            aliases,
            show_step,
            began,
            unique,
            key_rotated: false,
            is_dry: false,
            issued,
            running,
        }
    }

    /// With `key_rotated`, state of another data import key becomes this one's, but not in a dry run.
    #[must_use]
    pub fn adopting(self, key_rotated: bool, is_dry: bool) -> Self {
        Self { key_rotated, is_dry, ..self }
    }

    /// The jobs that were issued so far.
    pub fn issued(&self) -> &[JobRun] {
        &self.issued
    }

    /// The job that may have been running at the stop.
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

    fn run(&mut self, step: &'static str, statement: &str) -> Result<(Job, JobInfo), Stopped> {
        (self.show_step)(step);
        let (began, key) = (self.elapsed(), self.domain_key(self.issued.len()));
        let job = self.api.issue(&self.state.database, statement, &key)?;
        self.running = Some(job.clone());
        let ended = self.api.wait(&job);
        self.issued.push(JobRun { id: job.id.clone(), step, time: self.elapsed().saturating_sub(began) });
        let info = ended?;
        self.running = None;
        Ok((job, info))
    }

    fn domain_key(&self, number: usize) -> String {
        format!("td-braze-cohort-{}-{}-{number}", self.began, self.unique)
    }

    /// Makes a table. A failed job may have made it, so each try uses another name. None if it failed because `source`
    /// no longer exists under its name.
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
            let (job, JobInfo { status, .. }) = self.run(step, &statement)?;
            if status == Status::Success {
                return self.made(name).map(Some);
            }
            let tables = self.api.list(&self.state.database)?;
            let is_gone = |source: &Table| {
                let name = self.state.table(&source.name);
                tables.iter().all(|table| number_of(table) != source.id || table.name != name)
            };
            if source.is_some_and(is_gone) {
                return Ok(None);
            }
            tries += 1;
            self.failed(step, &job, status, tries)?;
        }
    }

    /// The table that a job has made. Lists may not show it at once.
    fn made(&self, name: Name) -> Result<Table, Stopped> {
        let table = self.state.table(&name);
        for _ in 0..=TRIES {
            if let Some(found) = self.api.list(&self.state.database)?.iter().find(|found| found.name == table) {
                return Ok(Table { name, id: number_of(found) });
            }
            self.pause(STALE)?;
        }
        Err(self.cannot(&format!("the list of tables does not show '{table}', which a job has made")))
    }

    /// Runs a statement that makes no table until it succeeds. Also returns its number of rows, if Treasure Data gives
    /// it.
    fn succeed(&mut self, step: &'static str, statement: &str) -> Result<(Job, Option<u64>), Stopped> {
        for attempt in 1..=TRIES {
            let (job, info) = self.run(step, statement)?;
            if info.status == Status::Success {
                return Ok((job, info.summary.rows));
            }
            self.failed(step, &job, info.status, attempt)?;
        }
        Err(self.cannot("a job never succeeded"))
    }

    /// A failed job. After the last try it is an error.
    fn failed(&self, step: &'static str, job: &Job, status: Status, attempt: u32) -> Result<(), Stopped> {
        if attempt == TRIES {
            return Err(self.stop(MirrorError::JobFailed { id: job.id.clone(), status, step }));
        }
        warn!("{} ended with the status '{}'; trying again", job.name(), status);
        Ok(())
    }

    fn rows<const N: usize>(
        &mut self,
        step: &'static str,
        statement: &str,
        mut take: impl FnMut(&mut Self, [&str; N]) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        let (job, expected) = self.succeed(step, statement)?;
        let (mut file, _) = self.api.download(&job, JSON)?;
        file.rewind().map_err(|error| self.cannot_keep(&job, error))?;
        let mut found = 0;
        for line in BufReader::new(file).lines() {
            let line = line.map_err(|error| self.cannot_keep(&job, error))?;
            let row: Vec<Cow<'_, str>> =
                serde_json::from_str(&line).map_err(|_| self.schema(&job, "has rows that are not text"))?;
            let row: Vec<&str> = row.iter().map(AsRef::as_ref).collect();
            let row = row.try_into().map_err(|_| self.schema(&job, "has rows of another length"))?;
            take(self, row)?;
            found += 1;
        }
        match expected {
            Some(expected) if expected == found => Ok(()),
            Some(expected) => {
                Err(self.cannot(&format!("{} has {expected} rows, and {found} were downloaded", job.name())))
            }
            None => Err(self.cannot(&format!("{} has no num_records, so its result may be cut off", job.name()))),
        }
    }

    /// The time since the start of the run, including the time that the machine slept.
    fn elapsed(&self) -> Duration {
        self.api.limiter().with_sleep()
    }

    fn pause(&self, time: Duration) -> Result<(), Stopped> {
        self.api.limiter().wait(time, |_| {})
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

    /// The error that stopped the limiter.
    fn told<T>(&self, result: Result<T, Stopped>) -> Result<T, Box<S>> {
        result.map_err(|Stopped| {
            let unknown = || MirrorError::Unexpected { said: "the run was stopped for an unknown reason".to_owned() };
            Box::new(self.api.limiter().take_stop().unwrap_or_else(|| unknown().into()))
        })
    }
}

impl<S: From<JobError> + From<MirrorError>> Warehouse for TreasureData<'_, S> {
    type Rows = ChangedRows;
    type Error = Box<S>;

    fn now(&self) -> Duration {
        self.elapsed()
    }

    fn wait(&mut self, time: Duration) -> Result<(), Self::Error> {
        if time > STALE {
            info!("waiting {} s, because requests of an earlier run may still take effect", time.as_secs());
        }
        self.told(self.pause(time))
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
        let result = self.make("compare with the last version", top, |this, work| {
            let top = top.map(|top| this.place(&top.name));
            this.statements.build(top.as_ref(), work)
        });
        self.told(result)
    }

    fn changes(&mut self, work: &Table, top: Option<u64>) -> Result<Changes<ChangedRows>, Self::Error> {
        let result = self.fetch_changes(work, top);
        self.told(result)
    }

    fn preview(&mut self, top: Option<&Table>) -> Result<Counts, Self::Error> {
        let top = top.and_then(|top| Some((top.number()?, self.place(&top.name))));
        let statement = self.statements.preview(top.as_ref().map(|(number, table)| (*number, table)));
        let mut tally = Tally::default();
        let result =
            self.rows("count what would be removed and added", &statement, |this, row| this.count(&mut tally, row));
        self.told(result.and_then(|()| self.complete(tally)))
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

    fn commit(&mut self, ours: &Table, refused: &[Refused], wanted: u64) -> Result<Option<Table>, Self::Error> {
        let result = self.make("commit the new version", Some(ours), |this, next| {
            let refused: Vec<_> =
                refused.iter().map(|one| (one.operation, one.kind.column(&this.aliases), one.value.as_str())).collect();
            this.statements.commit(&this.place(&ours.name), &refused, wanted, next)
        });
        self.told(result)
    }

    fn delete(&mut self, table: &Table) -> Result<(), Self::Error> {
        self.told(self.api.delete(&self.state.database, &self.state.table(&table.name)).map(drop))
    }
}
