//! What a run of the mirror needs from others: the warehouse with the members and the state, and the delivery. An error
//! of either ends the run at once, and nothing more is asked of them. Calls retry by themselves while that is safe.

use std::time::Duration;

use crate::members::identifier::Kind;
use crate::members::operation::Operation;

/// Holds the members' table and the numbered versions of the state.
pub trait Warehouse {
    /// What job 2 makes for the delivery: one row per identifier, with its operation.
    type Rows;
    /// Why the run ends.
    type Error;

    /// The time since the start of the run, by the monotonic clock or the wall clock, whichever is later, because the
    /// machine may have slept.
    fn now(&self) -> Duration;

    /// Waits, by the monotonic clock.
    fn wait(&mut self, time: Duration) -> Result<(), Self::Error>;

    /// The tables of this cohort's state. Retried until the answer is complete. It is at most [`Times::stale`] older
    /// than `asked`.
    fn tables(&mut self) -> Result<Listing, Self::Error>;

    /// Tries what the protocol relies on, in the account itself. Called before the first version is made.
    fn try_facts(&mut self) -> Result<(), Self::Error>;

    /// Job 1. Reads the members' table once, joined with `top`, and makes the next odd version, with counts, under a
    /// name that no other run uses. `None` if it failed because `top` is gone.
    ///
    /// A row of `top` that the table no longer has stays, with all its lines. Its identifiers are unconfirmed, and so
    /// are those of a new row. All others stay as they were.
    fn build(&mut self, top: Option<&Table>) -> Result<Option<Table>, Self::Error>;

    /// Job 2. What to remove and add according to job 1's table, under its current name. Identifiers that no row of the
    /// members' table has are removed. Those that it has are added if they were not confirmed in `top`, are due to be
    /// refreshed, or are in a row of `top` that is gone and in which something is removed.
    ///
    /// `top` is the number of the version from which it was made.
    fn changes(&mut self, work: &Table, top: Option<u64>) -> Result<Changes<Self::Rows>, Self::Error>;

    /// Jobs 1 and 2 as one SELECT, for a dry run. Makes no table.
    fn preview(&mut self, top: Option<&Table>) -> Result<Counts, Self::Error>;

    /// Gives a table the number of a version, without overwriting. Tried only once, because after a lost answer it may
    /// take effect later.
    fn rename(&mut self, table: &Table, number: u64) -> Result<Renamed, Self::Error>;

    /// Job 3. Makes the next even version from our odd one, under a name that no other run uses: what is wanted, now
    /// confirmed unless it was refused. An identifier whose removal was refused stays in its row, unwanted. `None` if
    /// it failed because `ours` is gone.
    ///
    /// `wanted` is the number of wanted identifiers ([`Counts::wanted`]).
    fn commit(&mut self, ours: &Table, refused: &[Refused], wanted: u64) -> Result<Option<Table>, Self::Error>;

    /// Deletes a table. If that fails, it is logged and left for a later run.
    fn delete(&mut self, table: &Table) -> Result<(), Self::Error>;
}

/// Sends changes to Braze.
pub trait Sender<Rows> {
    /// Why the run ends.
    type Error;

    /// Sends the rows of one operation until each is delivered, refused, or given up. A phase without rows sends no
    /// member.
    ///
    /// `look` is called before the first request, and then every quarter of [`Times::request_timeout`] while requests
    /// are sent. No request begins after the time that it last gave ([`Warehouse::now`]); it is called again until it
    /// gives more. No request lasts longer than [`Times::longest_try`]. After [`Look::TakenOver`] no request begins.
    fn send(
        &mut self,
        operation: Operation,
        rows: &Rows,
        look: &mut dyn FnMut() -> Result<Look, Self::Error>,
    ) -> Result<Settled, Self::Error>;
}

/// The column with the operation for a row's identifier: `add` or `remove`.
pub const OPERATION: &str = "cohort_operation";

/// The time limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// How long after the last good look requests may still begin.
    pub request_timeout: Duration,
    /// The longest time of a request, from its beginning: connecting, sending, the answer.
    pub longest_try: Duration,
    /// How long a request without an answer may still take effect.
    pub grace: Duration,
    /// How much older than the question a list of tables may be.
    pub stale: Duration,
}

/// The tables of one cohort's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Listing {
    /// When the question for this answer was asked ([`Warehouse::now`]).
    pub asked: Duration,
    /// The versions, in no order.
    pub versions: Vec<Table>,
    /// Tables of runs that cannot be alive any more.
    pub leftovers: Vec<Table>,
}

impl Listing {
    /// The highest version; none before a first run.
    pub fn highest(&self) -> Option<&Table> {
        self.versions.iter().max_by_key(|table| table.number())
    }
}

/// A table of the state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    /// Its name.
    pub name: Name,
    /// Its ID. It survives renames, and is never reused.
    pub id: u64,
}

impl Table {
    /// The number of the version, if it is one.
    pub fn number(&self) -> Option<u64> {
        match self.name {
            Name::Version(number) => Some(number),
            Name::Work(_) => None,
        }
    }
}

/// The name of a table of the state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// A version. Its number is odd while a run is at work, and even afterwards.
    Version(u64),
    /// A table that one run works on, with its name in the warehouse.
    Work(String),
}

/// The result of job 2.
#[derive(Clone, Debug)]
pub struct Changes<Rows> {
    /// The counts.
    pub counts: Counts,
    /// The rows.
    pub rows: Rows,
}

/// The counts of a run, in identifiers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counts {
    /// Wanted in the version before.
    pub before: u64,
    /// Wanted now.
    pub wanted: u64,
    /// Wanted now, but not in the version before, confirmed or not.
    pub entered: u64,
    /// Wanted in the version before, but not now.
    pub left: u64,
    /// To be removed: those that left, and those that earlier runs left over.
    pub removals: u64,
    /// To be added: everything wanted that is not confirmed, or is due to be refreshed.
    pub additions: u64,
    /// Of these, confirmed before, but due to be refreshed.
    pub refreshed: u64,
    /// Of these, sent again because they share a row with a removal.
    pub beside: u64,
    /// Wanted but not sent, although a row with it has come or gone.
    pub moved: u64,
    /// Rows of the members' table.
    pub rows: u64,
    /// Rows without any identifier.
    pub without_identifier: u64,
    /// Cells that the rules for identifiers reject.
    pub rejected: u64,
}

impl Counts {
    /// Adds identifiers with one change. `before` is their status in the version before: `unknown`, `unwanted` or
    /// `wanted`. Until [`Self::complete`], [`Self::wanted`] counts only those that were not wanted before.
    pub fn identifiers(&mut self, change: &str, before: &str, number: u64) {
        let add_if = |count: &mut u64, is_so: bool| *count += if is_so { number } else { 0 };
        let is_wanted = change != "remove";
        add_if(&mut self.wanted, is_wanted && before != "wanted");
        add_if(&mut self.entered, is_wanted && before == "unknown");
        add_if(&mut self.left, !is_wanted && before == "wanted");
        add_if(&mut self.removals, !is_wanted);
        add_if(&mut self.additions, ["add", "refresh", "beside"].contains(&change));
        add_if(&mut self.refreshed, change == "refresh");
        add_if(&mut self.beside, change == "beside");
        add_if(&mut self.moved, change == "moved");
    }

    /// The counts after all changing identifiers were added and [`Self::before`] is known. None if more left than there
    /// were.
    pub fn complete(self) -> Option<Self> {
        Some(Self { wanted: self.before.checked_sub(self.left)? + self.wanted, ..self })
    }
}

/// The outcome of a rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Renamed {
    /// It is done.
    Done,
    /// Refused: a table with that name exists (409), or ours does not (404).
    Refused,
    /// The answer was lost or unclear: it may have taken effect, or may do so later.
    Unknown,
}

/// What a look at the tables means for a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Requests may begin until this time.
    Until(Duration),
    /// The look was not good. What was allowed before stays allowed.
    Unclear,
    /// A newer run has taken over.
    TakenOver,
}

/// An identifier that Braze refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Refused {
    /// The operation.
    pub operation: Operation,
    /// Its kind; an alias by its place in the settings.
    pub kind: Kind,
    /// Its value.
    pub value: String,
}

/// The outcome of a phase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// What Braze refused, at most one more than [`MAX_REFUSED`].
    pub refused: Vec<Refused>,
    /// How many were neither delivered nor refused.
    pub undelivered: u64,
    /// When the last try without an answer ended ([`Warehouse::now`]).
    pub unanswered: Option<Duration>,
    /// Whether it ended because a newer run has taken over.
    pub is_taken_over: bool,
}

/// The most refused identifiers that fit into the statement of job 3...
pub const MAX_REFUSED: usize = 1000;
/// ... and their most bytes together. A statement of a million letters is refused, and quotes are doubled.
pub const MAX_REFUSED_BYTES: usize = 300_000;
