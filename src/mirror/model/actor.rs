//! One run, as far as it has come: the answers that it got so far. What it does next is found by running `run` itself with them.

use std::cell::RefCell;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::time::Duration;

use super::world::{Ids, Key};
use super::{Contract, breaks};
use crate::members::identifier::Kind;
use crate::members::operation::Operation;
use crate::mirror::limits::{Limit, Limits};
use crate::mirror::run::{Conclusion, Record, Rules, run};
use crate::mirror::warehouse::{
    Changes, Counts, Listing, Look, Name, Refused, Renamed, Sender, Settled, Table, Times, Warehouse,
};

/// What a run waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    Tables,
    Build(Option<u8>),
    Changes(Key),
    Rename(Key, u8),
    Commit(u8, Ids, Ids),
    Delete(Key),
    /// Until a tick.
    Wait(u32),
    /// Until the end of a tick: just before a time is that time, where time is so coarse.
    Request {
        is_add: bool,
        id: Ids,
        until: u32,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    Listing {
        versions: Rc<[(u8, u8)]>,
        leftovers: Rc<[u8]>,
    },
    Made(Option<u8>),
    Changes {
        removals: Ids,
        additions: Ids,
    },
    Renamed(Renamed),
    Done,
    /// The request was answered, refused, given up.
    Delivered,
    Refused,
    GivenUp,
    /// It was not answered when the tick began.
    Unanswered(u32),
    /// It was too late to begin.
    NotBegun,
    /// A whole phase.
    Sent {
        refused: Ids,
        undelivered: bool,
        unanswered: Option<u32>,
        is_taken_over: bool,
    },
}

/// A phase that is being sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sending {
    todo: Option<Ids>,
    until: Option<u32>,
    refused: Ids,
    undelivered: bool,
    unanswered: Option<u32>,
}

#[derive(Clone, Debug)]
pub struct Actor {
    pub index: u8,
    /// With the call and the tick of each.
    history: Vec<(Call, Answer, u32)>,
    sending: Sending,
    is_sending: bool,
    pub made: u8,
    pub call: Call,
    pub end: Option<End>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Crashed,
    Concluded(Conclusion),
}

/// A run cannot go on before its call is answered.
pub struct Suspended;

/// All of it in ticks.
#[derive(Clone, Copy, Debug)]
pub struct Ticks {
    pub request_timeout: u32,
    pub longest_try: u32,
    pub stale: u32,
    pub grace: u32,
}

impl Ticks {
    pub fn longest(self) -> u32 {
        self.request_timeout + self.longest_try + self.stale + self.grace + 1
    }
}

fn time(ticks: u32) -> Duration {
    Duration::from_secs(ticks.into())
}

fn ticks(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX / 4).min(u32::MAX / 4)
}

impl Actor {
    pub fn new(index: u8, times: Ticks, now: u32) -> Self {
        let mut actor = Self {
            index,
            history: Vec::new(),
            sending: Sending::default(),
            is_sending: false,
            made: 0,
            call: Call::Tables,
            end: None,
        };
        actor.replay(times, None, now);
        actor
    }

    pub fn is_alive(&self) -> bool {
        self.end.is_none()
    }

    pub fn has_not_begun(&self) -> bool {
        self.is_alive() && self.history.is_empty()
    }

    /// The number that it has committed.
    pub fn committed(&self) -> Option<u8> {
        let is_committed = self.end == Some(End::Concluded(Conclusion::Committed));
        let number = |call: &Call| match call {
            Call::Rename(_, number) => Some(*number),
            _ => None,
        };
        self.history.iter().rev().find_map(|(call, ..)| number(call)).filter(|_| is_committed)
    }

    /// Goes on with an answer.
    pub fn answer(&mut self, times: Ticks, answer: Answer, now: u32) {
        if self.is_sending {
            self.replay(times, Some(answer), now);
        } else {
            self.history.push((self.call, answer, now));
            self.replay(times, None, now);
        }
    }

    fn replay(&mut self, times: Ticks, live: Option<Answer>, now: u32) {
        let limits = Limits { removals: Limit::Count(u64::MAX), additions: Limit::Count(u64::MAX) };
        let real = Times {
            request_timeout: time(times.request_timeout),
            longest_try: time(times.longest_try),
            grace: time(times.grace),
            stale: time(times.stale),
        };
        let live = live.map(|answer| (answer, now));
        let replay = RefCell::new(Replay { actor: self, at: 0, live, now, times });
        let ended = run(&mut &replay, &mut &replay, &Rules { limits, times: real }, &mut Record::default());
        if let Ok(conclusion) = ended {
            self.end = Some(End::Concluded(conclusion));
        }
    }

    /// What it does from here on depends on this alone.
    pub fn hash_into(&self, state: &mut impl Hasher, now: u32, ticks: Ticks) {
        self.end.is_some().hash(state);
        if self.end.is_some() {
            return;
        }
        let age = |at: u32| now.saturating_sub(at).min(ticks.stale + 1);
        let ahead = |until: u32| (until + 1).saturating_sub(now).min(ticks.longest());
        // What a list said is forgotten when something was done with it; of times, only that of the last rename is compared.
        let is_passing = |call: &Call| matches!(call, Call::Tables | Call::Delete(_) | Call::Wait(1..));
        let is_settled = !is_passing(&self.call);
        let last = self.history.iter().rposition(|(call, ..)| !is_passing(call)).map_or(0, |last| last + 1);
        let skipped = if is_settled { self.history.len() } else { last };
        for (at, (call, answer, time)) in self.history.iter().enumerate() {
            if at < skipped && is_passing(call) {
                continue;
            }
            match (call, answer) {
                (Call::Rename(..), answer) => (call, answer, age(*time)).hash(state),
                (_, Answer::Sent { refused, undelivered, is_taken_over, .. }) => {
                    (refused, undelivered, is_taken_over).hash(state);
                }
                (Call::Wait(_), _) => {}
                _ => (call, answer).hash(state),
            }
        }
        self.is_sending.hash(state);
        if self.is_sending {
            let Sending { todo, until, refused, undelivered, unanswered } = &self.sending;
            (todo, until.map(ahead), refused, undelivered, unanswered.map(|end| ahead(end + ticks.grace))).hash(state);
        }
        match self.call {
            Call::Wait(until) => ahead(until).hash(state),
            Call::Request { is_add, id, until } => (is_add, id, ahead(until)).hash(state),
            call => call.hash(state),
        }
    }
}

struct Replay<'a> {
    actor: &'a mut Actor,
    /// So many answers were used again.
    at: usize,
    /// The answer within a phase.
    live: Option<(Answer, u32)>,
    /// When the last answer came.
    now: u32,
    times: Ticks,
}

impl Replay<'_> {
    fn again(&mut self) -> Option<Answer> {
        let (_, answer, at) = self.actor.history.get(self.at)?;
        self.at += 1;
        self.now = *at;
        Some(answer.clone())
    }

    fn ask(&mut self, call: Call) -> Result<Answer, Suspended> {
        let answer = if self.actor.is_sending && self.at == self.actor.history.len() {
            self.live.take().map(|(answer, at)| {
                self.now = at;
                answer
            })
        } else {
            self.again()
        };
        answer.ok_or_else(|| {
            self.actor.call = call;
            Suspended
        })
    }
}

fn key(table: &Table) -> Key {
    match table.name {
        Name::Version(number) => Key::Version(small(number)),
        Name::Work(_) => Key::Work(small(table.id)),
    }
}

fn small(number: u64) -> u8 {
    u8::try_from(number).expect("few tables")
}

fn work(id: u8) -> Table {
    Table { name: Name::Work(String::new()), id: id.into() }
}

fn unexpected<T>(answer: &Answer) -> T {
    panic!("another answer was expected: {answer:?}")
}

impl Warehouse for &RefCell<Replay<'_>> {
    type Rows = (Ids, Ids);
    type Error = Suspended;

    fn now(&self) -> Duration {
        time(self.borrow().now)
    }

    fn wait(&mut self, time: Duration) -> Result<(), Suspended> {
        let mut replay = self.borrow_mut();
        let until = replay.now + ticks(time);
        replay.ask(Call::Wait(until)).map(|_| ())
    }

    fn tables(&mut self) -> Result<Listing, Suspended> {
        let mut replay = self.borrow_mut();
        match replay.ask(Call::Tables)? {
            Answer::Listing { versions, leftovers } => Ok(Listing {
                asked: time(replay.now),
                versions: versions
                    .iter()
                    .map(|&(number, id)| Table { name: Name::Version(number.into()), id: id.into() })
                    .collect(),
                leftovers: leftovers.iter().copied().map(work).collect(),
            }),
            other => unexpected(&other),
        }
    }

    fn try_facts(&mut self) -> Result<(), Suspended> {
        Ok(())
    }

    fn build(&mut self, top: Option<&Table>) -> Result<Option<Table>, Suspended> {
        let top = top.map(|table| match key(table) {
            Key::Version(number) => number,
            Key::Work(_) => panic!("a version is built from a version"),
        });
        match self.borrow_mut().ask(Call::Build(top))? {
            Answer::Made(id) => Ok(id.map(work)),
            other => unexpected(&other),
        }
    }

    fn changes(&mut self, work: &Table) -> Result<Changes<(Ids, Ids)>, Suspended> {
        match self.borrow_mut().ask(Call::Changes(key(work)))? {
            Answer::Changes { removals, additions } => {
                let count = |ids: Ids| ids.count_ones().into();
                let counts =
                    Counts { wanted: 1, removals: count(removals), additions: count(additions), ..Counts::default() };
                Ok(Changes { counts, rows: (removals, additions) })
            }
            other => unexpected(&other),
        }
    }

    fn preview(&mut self, _: Option<&Table>) -> Result<Counts, Suspended> {
        panic!("no run previews")
    }

    fn rename(&mut self, table: &Table, number: u64) -> Result<Renamed, Suspended> {
        match self.borrow_mut().ask(Call::Rename(key(table), small(number)))? {
            Answer::Renamed(renamed) => Ok(renamed),
            other => unexpected(&other),
        }
    }

    fn commit(&mut self, ours: &Table, refused: &[Refused]) -> Result<Option<Table>, Suspended> {
        let Key::Version(number) = key(ours) else { panic!("a version is committed from a version") };
        let of = |operation| {
            let ids = refused.iter().filter(|refused| refused.operation == operation);
            ids.map(|refused| refused.value.parse::<Ids>().unwrap()).fold(0, |all, id| all | id)
        };
        match self.borrow_mut().ask(Call::Commit(number, of(Operation::Remove), of(Operation::Add)))? {
            Answer::Made(id) => Ok(id.map(work)),
            other => unexpected(&other),
        }
    }

    fn delete(&mut self, table: &Table) -> Result<(), Suspended> {
        self.borrow_mut().ask(Call::Delete(key(table))).map(|_| ())
    }
}

fn settled(operation: Operation, answer: &Answer) -> Settled {
    let Answer::Sent { refused, undelivered, unanswered, is_taken_over } = answer else { return unexpected(answer) };
    let refused = (0..3).map(|at| 1 << at).filter(|id| *refused & id != 0);
    Settled {
        refused: refused.map(|id: Ids| Refused { operation, kind: Kind::UserId, value: id.to_string() }).collect(),
        undelivered: u64::from(*undelivered),
        unanswered: unanswered.map(time),
        is_taken_over: *is_taken_over,
    }
}

impl Sender<(Ids, Ids)> for &RefCell<Replay<'_>> {
    type Error = Suspended;

    fn send(
        &mut self,
        operation: Operation,
        rows: &(Ids, Ids),
        look: &mut dyn FnMut() -> Result<Look, Suspended>,
    ) -> Result<Settled, Suspended> {
        let is_add = operation == Operation::Add;
        {
            let mut replay = self.borrow_mut();
            if let Some(sent) = replay.again() {
                return Ok(settled(operation, &sent));
            }
            replay.actor.is_sending = true;
            let all = if is_add { rows.1 } else { rows.0 };
            let no_look = breaks(Contract::FirstLook).then(|| replay.now + replay.times.request_timeout);
            let sending = &mut replay.actor.sending;
            if sending.todo.is_none() {
                *sending = Sending { todo: Some(all), until: no_look, ..Sending::default() };
            }
        }
        let mut is_taken_over = false;
        loop {
            let (todo, until, now) = {
                let replay = self.borrow();
                (replay.actor.sending.todo.unwrap_or(0), replay.actor.sending.until, replay.now)
            };
            if todo == 0 {
                break;
            }
            let Some(until) = until.filter(|until| now <= *until || breaks(Contract::NoneBeginsTooLate)) else {
                let seen = look()?;
                let sending = &mut self.borrow_mut().actor.sending;
                match seen {
                    Look::Until(until) => sending.until = Some(ticks(until)),
                    Look::Unclear => {}
                    Look::TakenOver => {
                        is_taken_over = true;
                        break;
                    }
                }
                continue;
            };
            self.one(Call::Request { is_add, id: todo & todo.wrapping_neg(), until })?;
        }
        let mut replay = self.borrow_mut();
        let Sending { refused, undelivered, unanswered, .. } = std::mem::take(&mut replay.actor.sending);
        let sent = Answer::Sent { refused, undelivered, unanswered, is_taken_over };
        let now = replay.now;
        replay.actor.history.push((Call::Wait(0), sent.clone(), now));
        replay.at += 1;
        replay.actor.is_sending = false;
        Ok(settled(operation, &sent))
    }
}

trait OneRequest {
    fn one(&self, call: Call) -> Result<(), Suspended>;
}

impl OneRequest for &RefCell<Replay<'_>> {
    fn one(&self, call: Call) -> Result<(), Suspended> {
        let Call::Request { id, .. } = call else { panic!("no request") };
        let mut replay = self.borrow_mut();
        let answer = replay.ask(call)?;
        let sending = &mut replay.actor.sending;
        let is_over = matches!(answer, Answer::Delivered | Answer::Refused | Answer::GivenUp);
        match answer {
            Answer::Refused => sending.refused |= id,
            Answer::GivenUp => sending.undelivered = true,
            Answer::Unanswered(at) => sending.unanswered = Some(at),
            _ => {}
        }
        if is_over {
            sending.todo = sending.todo.map(|todo| todo & !id);
        }
        Ok(())
    }
}
