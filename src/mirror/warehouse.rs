//! What a run of the mirror asks of others: of the warehouse that holds the members and the state, and of the delivery. An error of
//! either ends the run at once: nothing more is asked of them. Calls try again by themselves as long as that is safe.

use std::time::Duration;

use crate::members::identifier::Kind;
use crate::members::operation::Operation;

/// Where the members' table is, and the numbered versions of the state.
pub trait Warehouse {
    /// What job 2 brings for the delivery: one row an identifier, with its operation.
    type Rows;
    /// Why the run ends.
    type Error;

    /// The time since the start of the run, by the monotonic clock or the wall clock, whichever is later: a machine that slept
    /// must find out.
    fn now(&self) -> Duration;

    /// Waits, by the monotonic clock.
    fn wait(&mut self, time: Duration) -> Result<(), Self::Error>;

    /// The tables of this cohort's state. Tried again until there is a complete answer; what it shows is at most
    /// [`Times::stale`] older than `asked`.
    fn tables(&mut self) -> Result<Listing, Self::Error>;

    /// Before the first version is made: tries what the protocol relies on, on the account itself.
    fn try_facts(&mut self) -> Result<(), Self::Error>;

    /// Job 1: reads the members' table, once, joined with `top`, into a table under a name that no other run uses: the next odd
    /// version, and the counts. `None` if it failed because `top` is not there any more.
    ///
    /// In it, a row of `top` that the table does not have now stays with all its lines. Its identifiers are unconfirmed, as are
    /// those of a new row. Everything else is confirmed as it was.
    fn build(&mut self, top: Option<&Table>) -> Result<Option<Table>, Self::Error>;

    /// Job 2: what is to be removed and added according to the table that job 1 made, under whatever name it has. Removed is what
    /// no row of the members' table has. Added is what it has and what was not confirmed in `top`, is due to be refreshed, or is in
    /// a row of `top` that is gone and in which something is removed.
    ///
    /// `top` is the number of the version that it was made from.
    fn changes(&mut self, work: &Table, top: Option<u64>) -> Result<Changes<Self::Rows>, Self::Error>;

    /// Jobs 1 and 2 as one SELECT, for a dry run; makes no table.
    fn preview(&mut self, top: Option<&Table>) -> Result<Counts, Self::Error>;

    /// Gives a table the number of a version, without overwriting. Tried once: after a lost answer it may take effect even later.
    fn rename(&mut self, table: &Table, number: u64) -> Result<Renamed, Self::Error>;

    /// Job 3: the next even version from our odd one, under a name that no other run uses: what is wanted, confirmed now, except
    /// what was refused; a refused removal stays, unwanted, in its row. `None` if it failed because `ours` is not there any more.
    ///
    /// `wanted` is how many identifiers are wanted ([`Counts::wanted`]).
    fn commit(&mut self, ours: &Table, refused: &[Refused], wanted: u64) -> Result<Option<Table>, Self::Error>;

    /// Deletes a table. What cannot be deleted now is left for a later run, and said in the log.
    fn delete(&mut self, table: &Table) -> Result<(), Self::Error>;
}

/// What brings changes to Braze.
pub trait Sender<Rows> {
    /// Why the run ends.
    type Error;

    /// Sends the rows of one operation until each is delivered, refused, or given up; a phase without rows
    /// sends no member.
    ///
    /// `look` is called before the first request, and from then on every quarter of [`Times::request_timeout`] while requests are
    /// sent. No request begins beyond the time that it gave last ([`Warehouse::now`]), and none lasts longer than
    /// [`Times::longest_try`]; it is asked again until it gives more. [`Look::TakenOver`] ends the phase: no request begins any more.
    fn send(
        &mut self,
        operation: Operation,
        rows: &Rows,
        look: &mut dyn FnMut() -> Result<Look, Self::Error>,
    ) -> Result<Settled, Self::Error>;
}

/// The column of the changes that says what is to be done with a row's identifier: `add` or `remove`.
pub const OPERATION: &str = "cohort_operation";

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// No request begins later than that after the last good look.
    pub request_timeout: Duration,
    /// The longest that a request lasts, from its beginning: connecting, sending, the answer.
    pub longest_try: Duration,
    /// How long a request that was never answered may still take effect.
    pub grace: Duration,
    /// How much older than the question the answer to it may be, when the tables are listed.
    pub stale: Duration,
}

/// The tables of one cohort's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Listing {
    /// When the question was asked that brought this answer ([`Warehouse::now`]).
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
    /// What it is called.
    pub name: Name,
    /// Stays the same when the table is renamed; no two tables ever have the same.
    pub id: u64,
}

impl Table {
    /// Which version it is, if it is one.
    pub fn number(&self) -> Option<u64> {
        match self.name {
            Name::Version(number) => Some(number),
            Name::Work(_) => None,
        }
    }
}

/// What a table of the state is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// A version: odd while a run is at work, even when it is done.
    Version(u64),
    /// A table that one run works on, by its name in the warehouse.
    Work(String),
}

/// What job 2 brings.
#[derive(Clone, Debug)]
pub struct Changes<Rows> {
    /// How many.
    pub counts: Counts,
    /// Which.
    pub rows: Rows,
}

/// The counts of a run, in identifiers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counts {
    /// Wanted as of the version before.
    pub before: u64,
    /// Wanted now.
    pub wanted: u64,
    /// Wanted now, and not in the version before, confirmed or not.
    pub entered: u64,
    /// Wanted in the version before, and not now.
    pub left: u64,
    /// To be removed: those that left, and what earlier runs have not removed.
    pub removals: u64,
    /// To be added: everything that is wanted and not confirmed, or due to be refreshed.
    pub additions: u64,
    /// Of these, confirmed before, sent again as their time has come.
    pub refreshed: u64,
    /// Of these, sent again as they share a row with a removal.
    pub beside: u64,
    /// Wanted and not sent, although a row with it has come or gone.
    pub moved: u64,
    /// Rows of the members' table.
    pub rows: u64,
    /// Rows without any identifier.
    pub without_identifier: u64,
    /// Cells that the rules for identifiers reject.
    pub rejected: u64,
}

impl Counts {
    /// Adds identifiers with one change. `before` is what they were as of the version before: `unknown`, `unwanted` or `wanted`.
    /// [`Self::wanted`] counts those that were not wanted before, until [`Self::complete`].
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

    /// The counts when all identifiers that change are added, and [`Self::before`] is known. Nothing if more left than there were.
    pub fn complete(self) -> Option<Self> {
        Some(Self { wanted: self.before.checked_sub(self.left)? + self.wanted, ..self })
    }
}

/// What became of a rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Renamed {
    /// It is done.
    Done,
    /// Refused: there is a table of that name (409), or ours is not there (404).
    Refused,
    /// The answer was lost, or says nothing: it may have taken effect, or may do so later.
    Unknown,
}

/// What a look at the tables says to a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Requests may begin until then.
    Until(Duration),
    /// Nothing good was seen; whatever was allowed before stays so.
    Unclear,
    /// A newer run has taken over.
    TakenOver,
}

/// An identifier that Braze refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Refused {
    /// What was to be done with it.
    pub operation: Operation,
    /// Of this kind; an alias by its place in the settings.
    pub kind: Kind,
    /// Its value.
    pub value: String,
}

/// What became of a phase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// What Braze refused. Of more than [`MAX_REFUSED`], one more than that.
    pub refused: Vec<Refused>,
    /// Neither delivered nor refused.
    pub undelivered: u64,
    /// When the last try ended that was never answered ([`Warehouse::now`]).
    pub unanswered: Option<Duration>,
    /// It ended as a newer run has taken over.
    pub is_taken_over: bool,
}

/// The most refused identifiers that fit into the statement of job 3...
pub const MAX_REFUSED: usize = 1000;
/// ... if they have no more bytes together: a statement of a million letters is refused, and a quote in one is doubled.
pub const MAX_REFUSED_BYTES: usize = 300_000;
