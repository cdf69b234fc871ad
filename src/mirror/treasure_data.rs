//! A warehouse in Treasure Data: the statements as jobs, the versions as tables.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, BufWriter, Seek, Write};
use std::time::Duration;

use log::{info, warn};
use serde_json::json;

use crate::http::{Get, PostForm};
use crate::input::ReadableInput;
use crate::input::formats::format::{Format, FormatHint};
use crate::input::source::Input;
use crate::input::source::fetched::Fetched;
use crate::members::identifier::{DEVICE_IDS, Kind, USER_IDS};
use crate::mirror::sql::{Place, Statements};
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
const STALE: Duration = Duration::from_secs(5);

/// How a run tells and spends time.
pub trait Times {
    /// The time since the start of the run; a machine that slept has to find out.
    fn now(&self) -> Duration;
    /// Waits; an error where the run is stopped meanwhile.
    fn wait(&self, time: Duration) -> Result<(), Stopped>;
}

/// The members' table, and the state's tables.
pub struct TreasureData<'a, S, H> {
    api: Api<'a, S, H>,
    statements: Statements,
    state: State,
    /// Labels of the aliases, in the order of the settings.
    aliases: Vec<String>,
    times: &'a dyn Times,
    /// When the run began, in seconds since 1970.
    began: u64,
    /// Different for each run.
    unique: String,
    issued: Vec<Job>,
}

impl<'a, S: From<JobError>, H: Get + PostForm> TreasureData<'a, S, H> {
    /// For one run, which began at `began`, in seconds since 1970.
    pub fn new(
        api: Api<'a, S, H>,
        (statements, state, aliases): (Statements, State, Vec<String>),
        times: &'a dyn Times,
        began: u64,
    ) -> Self {
        let unique = format!("{:016x}", fastrand::u64(..));
        Self { api, statements, state, aliases, times, began, unique, issued: Vec::new() }
    }

    /// The jobs that were issued so far.
    pub fn issued(&self) -> &[Job] {
        &self.issued
    }

    /// Ends the job that was issued last, which may be running; for a run that is stopped.
    pub fn kill(&self) {
        if let Some(job) = self.issued.last() {
            self.api.kill(job);
        }
    }

    fn place(&self, name: &Name) -> Place {
        Place { database: self.state.database.clone(), table: self.state.table(name) }
    }

    fn fresh(&self) -> Name {
        let count = self.issued.len();
        Name::Work(self.state.work(self.began, &format!("{}_{count}", self.unique)))
    }

    /// Runs a statement to its end, and says whether it succeeded.
    fn run(&mut self, statement: &str) -> Result<(Job, Status), Stopped> {
        let key = format!("td-braze-cohort-{}-{}-{}", self.began, self.unique, self.issued.len());
        let job = self.api.issue(&self.state.database, statement, &key)?;
        self.issued.push(job.clone());
        let info = self.api.client(&job).wait()?;
        Ok((job, info.status))
    }

    /// Makes a table. A job that failed may have made it, so each try has a name of its own. None if it failed and `source` is not
    /// there any more.
    fn make(
        &mut self,
        source: Option<&Table>,
        statement: impl Fn(&Self, &Place) -> String,
    ) -> Result<Option<Table>, Stopped> {
        let mut tries = 0;
        loop {
            let name = self.fresh();
            let statement = statement(self, &self.place(&name));
            let (job, status) = self.run(&statement)?;
            if status == Status::Success {
                return self.made(name).map(Some);
            }
            let tables = self.api.list(&self.state.database)?;
            if source.is_some_and(|source| tables.iter().all(|table| number_of(table) != source.id)) {
                return Ok(None);
            }
            tries += 1;
            if tries == TRIES {
                return Err(self.stop(JobError::Failed { id: job.id, status: status.name() }));
            }
            warn!("{} ended with the status '{}'; once more", job.name(), status.name());
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

    /// Runs a statement and fetches its rows, of three texts each.
    fn rows(
        &mut self,
        statement: &str,
        mut take: impl FnMut(&mut Self, [String; 3]) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        let (job, status) = self.run(statement)?;
        if status != Status::Success {
            return Err(self.stop(JobError::Failed { id: job.id, status: status.name() }));
        }
        let (mut file, _) = self.api.client(&job).download(ResultFormat::Json, &Received::default())?;
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
        let number: u64 = number.parse().map_err(|_| self.cannot("a count is no number"))?;
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
            other => return Err(self.cannot(&format!("nobody asked for the count '{other}'"))),
        }
        Ok(())
    }

    fn stop(&self, error: JobError) -> Stopped {
        self.api.limiter().stop(error.into());
        Stopped
    }

    fn cannot(&self, said: &str) -> Stopped {
        self.stop(JobError::Configuration { server: "Treasure Data".to_owned(), said: said.to_owned() })
    }

    fn schema(&self, job: &Job, problem: &'static str) -> Stopped {
        self.stop(JobError::Schema { id: job.id.clone(), problem })
    }

    fn cannot_keep(&self, job: &Job, error: std::io::Error) -> Stopped {
        let folder = std::env::temp_dir().display().to_string();
        self.stop(JobError::CannotKeep { id: job.id.clone(), folder, error })
    }

    /// What the protocol relies on, with two tables that are deleted again.
    fn facts(&mut self) -> Result<(), Stopped> {
        let database = self.state.database.clone();
        let [one, other] = ["a", "b"].map(|end| self.state.work(self.began, &format!("{}_{end}", self.unique)));
        for table in [&one, &other] {
            self.api.create(&database, table)?;
        }
        let refused = self.api.rename(&database, &one, &other)?;
        let listed = self.api.list(&database)?;
        let again = self.api.create(&database, &other)?;
        for table in [&one, &other] {
            self.api.delete(&database, table)?;
        }
        if refused == RenameOutcome::Done || again || !listed.iter().any(|table| table.name == one) {
            return Err(self.cannot("a rename onto a table that is there is not refused: the mirror relies on it"));
        }
        let (first, status) = self.run("SELECT to_base(1, 10)")?;
        let key = format!("td-braze-cohort-{}-{}-{}", self.began, self.unique, self.issued.len() - 1);
        let second = self.api.issue(&database, "SELECT to_base(1, 10)", &key)?;
        if status != Status::Success || second.id != first.id {
            return Err(self.cannot(
                "a domain_key that is issued twice is two jobs, or to_base is not there: the mirror relies on both",
            ));
        }
        Ok(())
    }

    /// The error that stopped the limiter.
    fn told<T>(&self, result: Result<T, Stopped>) -> Result<T, Option<S>> {
        result.map_err(|Stopped| self.api.limiter().take_stop())
    }

    fn kind_of(&self, kind: Kind) -> &str {
        match kind {
            Kind::UserId => USER_IDS,
            Kind::DeviceId => DEVICE_IDS,
            Kind::Alias(index) => &self.aliases[usize::from(index)],
        }
    }

    fn fetch_changes(&mut self, work: &Table) -> Result<Changes<ReadableInput>, Stopped> {
        let statement = self.statements.changes(&self.place(&work.name));
        let nothing = self.api.job("");
        let file = tempfile::tempfile().map_err(|error| self.cannot_keep(&nothing, error))?;
        let (mut counts, mut writer, mut written) = (Counts::default(), BufWriter::new(file), 0);
        self.rows(&statement, |this, row| {
            let [change, kind, value] = &row;
            if change == "count" {
                return this.counts(&mut counts, &row);
            }
            if ![USER_IDS, DEVICE_IDS].contains(&kind.as_str()) && !this.aliases.contains(kind) {
                return Err(this.cannot(&format!(
                    "the state holds identifiers of the alias '{kind}', which the settings no longer list: list it in aliases"
                )));
            }
            let operation = if change == "remove" { "remove" } else { "add" };
            written += 1;
            writeln!(writer, "{}", json!({OPERATION: operation, kind.as_str(): value}))
                .map_err(|error| this.cannot_keep(&nothing, error))
        })?;
        if written != counts.removals + counts.additions {
            return Err(self.cannot("the changes are not as many as were counted: run it again"));
        }
        let mut file = writer.into_inner().map_err(|error| self.cannot_keep(&nothing, error.into_error()))?;
        let size = file.stream_position().map_err(|error| self.cannot_keep(&nothing, error))?;
        info!("{} removals and {} additions are here: {size} bytes", counts.removals, counts.additions);
        let format_hint = FormatHint { format: Some(Format::Jsonl), may_be_empty: true, ..FormatHint::default() };
        let input = Input::Fetched(Fetched::new("the changes", file, size));
        Ok(Changes { counts, rows: ReadableInput { input, format_hint, expected_rows: Some(written) } })
    }
}

fn number_of(table: &ListedTable) -> u64 {
    table.id.parse().unwrap_or_else(|_| {
        let mut hasher = DefaultHasher::new();
        table.id.hash(&mut hasher);
        hasher.finish()
    })
}

impl<S: From<JobError>, H: Get + PostForm> Warehouse for TreasureData<'_, S, H> {
    type Rows = ReadableInput;
    /// None where the run was stopped by something else.
    type Error = Option<S>;

    fn now(&self) -> Duration {
        self.times.now()
    }

    fn wait(&mut self, time: Duration) -> Result<(), Self::Error> {
        self.told(self.times.wait(time))
    }

    fn tables(&mut self) -> Result<Listing, Self::Error> {
        let asked = self.times.now();
        let mut listing = Listing { asked, ..Listing::default() };
        let now = self.began + asked.as_secs();
        for table in self.told(self.api.list(&self.state.database))? {
            let id = number_of(&table);
            match self.state.find(&table.name, now) {
                Found::Ours(name @ Name::Version(_)) => listing.versions.push(Table { name, id }),
                Found::Ours(name @ Name::Work(_)) => listing.leftovers.push(Table { name, id }),
                Found::OtherKey | Found::Nothing => {}
            }
        }
        Ok(listing)
    }

    fn try_facts(&mut self) -> Result<(), Self::Error> {
        let result = self.facts();
        self.told(result)
    }

    fn build(&mut self, top: Option<&Table>) -> Result<Option<Table>, Self::Error> {
        let result = self.make(top, |this, work| {
            let top = top.map(|top| this.place(&top.name));
            this.statements.build(top.as_ref(), work)
        });
        self.told(result)
    }

    fn changes(&mut self, work: &Table) -> Result<Changes<ReadableInput>, Self::Error> {
        let result = self.fetch_changes(work);
        self.told(result)
    }

    fn preview(&mut self, top: Option<&Table>) -> Result<Counts, Self::Error> {
        let top = top.map(|top| self.place(&top.name));
        let statement = self.statements.preview(top.as_ref());
        let mut counts = Counts::default();
        let result = self.rows(&statement, |this, row| this.counts(&mut counts, &row));
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
        let result = self.make(Some(ours), |this, next| {
            let refused: Vec<_> =
                refused.iter().map(|one| (one.operation, this.kind_of(one.kind), one.value.as_str())).collect();
            this.statements.commit(&this.place(&ours.name), &refused, next)
        });
        self.told(result)
    }

    fn delete(&mut self, table: &Table) -> Result<(), Self::Error> {
        self.told(self.api.delete(&self.state.database, &self.state.table(&table.name)))
    }
}
