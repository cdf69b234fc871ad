//! The order of steps. Versions of the state are numbered tables. The highest counts: while it is odd, a run is at
//! work; when it is even, the run is done. A numbered version never changes. Two rules hold at every moment, for users
//! that Braze knew when they were last sent:
//!
//! - What is confirmed in the highest version is in the cohort. What a run may take out is unconfirmed in its odd
//!   version before the first request, and confirmed again in the even one when no request can take effect late.
//! - What we put into the cohort is in the highest version. A run writes what it adds into its odd version before the
//!   first request.
//!
//! So any run can continue after another. The newest wins without a clock: only one run can take a number above the
//! highest, and the others see it when they look. Before that, they send nothing that the newer run has not waited for.

use std::ops::ControlFlow;
use std::time::Duration;

use crate::input::MaxRejected;
use crate::members::operation::Operation;
use crate::mirror::guard::{Guard, keeps};
use crate::mirror::limits::{Exceeded, Limits};
use crate::mirror::warehouse::{
    Changes, Counts, Listing, Look, MAX_REFUSED, MAX_REFUSED_BYTES, Name, Refused, Renamed, Sender, Settled, Table,
    Times, Warehouse,
};

/// How often a run starts again if a newer run deletes the version that it reads, and how often an unanswered rename is
/// tried.
const TRIES: u32 = 3;

/// The rules for a run.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How many members may enter and leave.
    pub limits: Limits,
    /// How many cells may be rejected.
    pub max_rejected: MaxRejected,
    /// The time limits.
    pub times: Times,
}

impl Rules {
    fn judge(&self, counts: Counts, is_first: bool) -> Option<Conclusion> {
        let Counts { rejected: cells, rows, .. } = counts;
        if self.max_rejected.is_passed(cells, rows) || cells > 0 && counts.wanted == 0 {
            return Some(Conclusion::Rejected { cells, rows });
        }
        self.limits.judge(counts, is_first).err().map(Conclusion::Exceeded)
    }
}

/// What a run has found out so far. It survives errors.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The highest version at the start; none on a first run. Odd if another run was at work.
    pub top: Option<u64>,
    /// The changes to make, once they are known.
    pub counts: Option<Counts>,
    /// What Braze refused.
    pub refused: Vec<Refused>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// The cohort is equal to the table, except for what was refused, and the state is committed.
    Committed,
    /// Too many cells of the table are rejected. Nothing was changed.
    Rejected {
        /// How many.
        cells: u64,
        /// Of how many rows.
        rows: u64,
    },
    /// More members would enter or leave than allowed. Nothing was changed.
    Exceeded(Exceeded),
    /// Another run began at the same time, and was faster. Nothing was changed.
    Faster,
    /// A newer run has taken over.
    TakenOver,
    /// Not everything could be delivered, so nothing is committed.
    Undelivered,
    /// More was refused than can be recorded, so nothing is committed.
    TooManyRefused,
    /// A rename was not answered, and its result cannot be seen. The next run finds out whether it is
    /// [`Self::Committed`].
    Unknown,
}

/// Carries out one run. Each step leaves what the next run needs, so any step may fail.
pub fn run<W, S>(warehouse: &mut W, sender: &mut S, rules: &Rules, record: &mut Record) -> Result<Conclusion, W::Error>
where
    W: Warehouse,
    S: Sender<W::Rows, Error = W::Error>,
{
    match plan(warehouse, rules, record)? {
        ControlFlow::Continue(planned) => carry_out(warehouse, sender, rules, planned, record),
        ControlFlow::Break(conclusion) => Ok(conclusion),
    }
}

/// What a run is about to do. Nothing has been changed yet.
pub struct Planned<Rows> {
    /// What is to be sent.
    pub changes: Changes<Rows>,
    top: Option<u64>,
    work: Table,
}

impl<Rows> Planned<Rows> {
    /// Drops the plan.
    pub fn give_up<W: Warehouse<Rows = Rows>>(&self, warehouse: &mut W) -> Result<(), W::Error> {
        warehouse.delete(&self.work)
    }
}

/// Counts and judges the changes. Returns the run's end if they may not be made.
pub fn plan<W: Warehouse>(
    warehouse: &mut W,
    rules: &Rules,
    record: &mut Record,
) -> Result<ControlFlow<Conclusion, Planned<W::Rows>>, W::Error> {
    let Some((top, work)) = begin(warehouse, record)? else { return Ok(ControlFlow::Break(Conclusion::Faster)) };
    let changes = warehouse.changes(&work, top)?;
    record.counts = Some(changes.counts);
    if let Some(conclusion) = rules.judge(changes.counts, top.is_none()) {
        warehouse.delete(&work)?;
        return Ok(ControlFlow::Break(conclusion));
    }
    Ok(ControlFlow::Continue(Planned { changes, top, work }))
}

/// Makes the changes.
pub fn carry_out<W, S>(
    warehouse: &mut W,
    sender: &mut S,
    rules: &Rules,
    planned: Planned<W::Rows>,
    record: &mut Record,
) -> Result<Conclusion, W::Error>
where
    W: Warehouse,
    S: Sender<W::Rows, Error = W::Error>,
{
    let Planned { changes, top, work } = planned;
    let counts = changes.counts;
    let was_at_work = top.is_some_and(|top| top % 2 == 1);
    let is_unfinished = was_at_work && keeps(Guard::QuietOnlyOnEven);
    let is_quiet = counts.removals + counts.additions + counts.moved == 0 && !is_unfinished;
    if is_quiet && !keeps(Guard::QuietRunsTakeOdd) {
        return commit(warehouse, rules.times, &work, next_odd(top) + 1);
    }
    let number = next_odd(top);
    if was_at_work && !keeps(Guard::TakeoverWaitsAfterRename) {
        warehouse.wait(takeover(rules.times))?;
    }
    let ours = match take(warehouse, rules.times, &work, number)? {
        Taken::Ours(ours) => ours,
        Taken::Another => return Ok(Conclusion::Faster),
        Taken::Unknown => return Ok(Conclusion::Unknown),
    };
    let watch = Watch { ours, times: rules.times, since: warehouse.now() };
    if is_quiet {
        return if watch.confirm(warehouse)? {
            commit(warehouse, rules.times, &watch.ours, number + 1)
        } else {
            Ok(Conclusion::TakenOver)
        };
    }
    if was_at_work && keeps(Guard::TakeoverWaitsAfterRename) {
        warehouse.wait(takeover(rules.times))?;
    }
    for operation in [Operation::Remove, Operation::Add] {
        if let Some(early) = phase(warehouse, sender, &watch, operation, &changes, record)? {
            return Ok(early);
        }
    }
    let refused: &[Refused] = if keeps(Guard::RefusedIsTold) { &record.refused } else { &[] };
    let Some(next) = warehouse.commit(&watch.ours, refused, counts.wanted)? else { return Ok(Conclusion::TakenOver) };
    commit(warehouse, rules.times, &next, number + 1)
}

/// Counts and judges the changes without making any.
pub fn preview<W: Warehouse>(
    warehouse: &mut W,
    rules: &Rules,
    record: &mut Record,
) -> Result<Option<Conclusion>, W::Error> {
    let listing = warehouse.tables()?;
    let top = listing.highest();
    record.top = top.and_then(Table::number);
    let counts = warehouse.preview(top)?;
    record.counts = Some(counts);
    Ok(rules.judge(counts, top.is_none()))
}

/// The highest version, and the table of what it becomes. None if newer runs keep deleting it.
fn begin<W: Warehouse>(warehouse: &mut W, record: &mut Record) -> Result<Option<(Option<u64>, Table)>, W::Error> {
    for _ in 0..TRIES {
        let listing = warehouse.tables()?;
        clean(warehouse, &listing)?;
        let top = listing.highest();
        record.top = top.and_then(Table::number);
        if top.is_none() {
            warehouse.try_facts()?;
        }
        if let Some(work) = warehouse.build(top)? {
            return Ok(Some((record.top, work)));
        }
    }
    Ok(None)
}

/// Sends the removals or the additions, and waits until none of them can take effect any more. If the run must end,
/// returns why.
fn phase<W, S>(
    warehouse: &mut W,
    sender: &mut S,
    watch: &Watch,
    operation: Operation,
    changes: &Changes<W::Rows>,
    record: &mut Record,
) -> Result<Option<Conclusion>, W::Error>
where
    W: Warehouse,
    S: Sender<W::Rows, Error = W::Error>,
{
    let Settled { refused, undelivered, unanswered, is_taken_over } =
        sender.send(operation, &changes.rows, &mut || watch.look(warehouse))?;
    record.refused.extend(refused);
    let (completeness, grace) = match operation {
        Operation::Remove => (Guard::RemovalsComplete, Guard::GraceAfterRemovals),
        Operation::Add => (Guard::AdditionsComplete, Guard::GraceAfterAdditions),
    };
    if is_taken_over {
        return Ok(Some(Conclusion::TakenOver));
    }
    let refused_bytes: usize = record.refused.iter().map(|refused| refused.value.len()).sum();
    if record.refused.len() > MAX_REFUSED || refused_bytes > MAX_REFUSED_BYTES {
        return Ok(Some(Conclusion::TooManyRefused));
    }
    if undelivered > 0 && keeps(completeness) {
        return Ok(Some(Conclusion::Undelivered));
    }
    if let Some(ended) = unanswered.filter(|_| keeps(grace)) {
        warehouse.wait((ended + watch.times.grace).saturating_sub(warehouse.now()))?;
    }
    Ok(None)
}

/// Gives a finished table its even number.
fn commit<W: Warehouse>(warehouse: &mut W, times: Times, table: &Table, number: u64) -> Result<Conclusion, W::Error> {
    match take(warehouse, times, table, number)? {
        Taken::Ours(_) => {
            let listing = warehouse.tables()?;
            clean(warehouse, &listing)?;
            Ok(Conclusion::Committed)
        }
        Taken::Another => Ok(Conclusion::TakenOver),
        Taken::Unknown => Ok(Conclusion::Unknown),
    }
}

/// Deletes what no run needs any more. The highest version stays. What another run is making is higher, so it is safe.
fn clean<W: Warehouse>(warehouse: &mut W, listing: &Listing) -> Result<(), W::Error> {
    let highest = listing.highest().filter(|_| keeps(Guard::HighestIsKept));
    for table in listing.leftovers.iter().chain(listing.versions.iter().filter(|table| Some(*table) != highest)) {
        warehouse.delete(table)?;
    }
    Ok(())
}

enum Taken {
    Ours(Table),
    Another,
    Unknown,
}

/// Renames a table to a number. After a lost answer, only the tables show who has it.
fn take<W: Warehouse>(warehouse: &mut W, times: Times, table: &Table, number: u64) -> Result<Taken, W::Error> {
    let ours = Table { name: Name::Version(number), id: table.id };
    for attempt in 0..TRIES {
        match warehouse.rename(table, number)? {
            Renamed::Done => return Ok(Taken::Ours(ours)),
            Renamed::Refused if attempt == 0 => return Ok(Taken::Another),
            Renamed::Unknown if !keeps(Guard::LostRenameIsNotDone) => return Ok(Taken::Ours(ours)),
            Renamed::Refused | Renamed::Unknown => {}
        }
        let ended = warehouse.now();
        loop {
            let listing = warehouse.tables()?;
            if let Some(found) = listing.versions.iter().find(|found| found.name == ours.name) {
                return Ok(if is_same(found, &ours) { Taken::Ours(ours) } else { Taken::Another });
            }
            if listing.highest().and_then(Table::number) > Some(number) {
                return Ok(Taken::Another);
            }
            if listing.asked > ended + times.stale {
                break;
            }
            warehouse.wait(times.stale)?;
        }
    }
    Ok(Taken::Unknown)
}

struct Watch {
    ours: Table,
    times: Times,
    since: Duration,
}

impl Watch {
    fn look<W: Warehouse>(&self, warehouse: &mut W) -> Result<Look, W::Error> {
        let listing = warehouse.tables()?;
        let is_above = listing.highest().and_then(Table::number) > self.ours.number();
        let is_shown = listing.versions.iter().any(|found| is_same(found, &self.ours)) || !keeps(Guard::LookShowsOurs);
        // A version that is missing when the list must show it was deleted.
        let is_gone = !is_shown && listing.asked > self.since + self.times.stale;
        Ok(if is_above && keeps(Guard::NewerVersionStops) || is_gone {
            Look::TakenOver
        } else if is_shown {
            let time = if keeps(Guard::PermissionEnds) { self.times.request_timeout } else { Duration::MAX / 2 };
            Look::Until(listing.asked + time)
        } else {
            Look::Unclear
        })
    }

    fn confirm<W: Warehouse>(&self, warehouse: &mut W) -> Result<bool, W::Error> {
        loop {
            match self.look(warehouse)? {
                Look::Until(_) => return Ok(true),
                Look::TakenOver => return Ok(false),
                Look::Unclear => warehouse.wait(self.times.stale)?,
            }
        }
    }
}

/// How long a run that was at work may still change the cohort after our number becomes visible. Its last good look
/// began before that. Its last request began at most `request_timeout` after the look, and may take effect until
/// `grace` after its end.
fn takeover(times: Times) -> Duration {
    let part = |guard, time| if keeps(guard) { time } else { Duration::ZERO };
    part(Guard::TakeoverWaitsForLook, times.request_timeout)
        + part(Guard::TakeoverWaitsForRequests, times.longest_try)
        + part(Guard::TakeoverWaitsForStaleList, times.stale)
        + part(Guard::TakeoverWaitsForGrace, times.grace)
}

/// When a table is deleted, its number is free again, so a name alone proves nothing.
fn is_same(found: &Table, ours: &Table) -> bool {
    found.name == ours.name && (found.id == ours.id || !keeps(Guard::TablesAreKnownById))
}

fn next_odd(top: Option<u64>) -> u64 {
    match top {
        None => 1,
        Some(top) if keeps(Guard::NextNumberIsOdd) => top + 1 + top % 2,
        Some(top) => top + 1,
    }
}
