//! Gives the answers that a run got so far to `run` again, as its warehouse and sender.

use std::cell::RefCell;
use std::time::Duration;

use super::actor::{Actor, Answer, Call, Sending, Suspended, Ticks, ticks, time};
use super::world::{Ids, Key};
use super::{Contract, breaks};
use crate::members::identifier::Kind;
use crate::members::operation::Operation;
use crate::mirror::warehouse::{
    Changes, Counts, Listing, Look, Name, Refused, Renamed, Sender, Settled, Table, Warehouse,
};

pub struct Replay<'a> {
    pub actor: &'a mut Actor,
    /// How many answers were used again.
    pub at: usize,
    pub live: Option<(Answer, u32)>,
    pub now: u32,
    pub times: Ticks,
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

    fn changes(&mut self, work: &Table, _: Option<u64>) -> Result<Changes<(Ids, Ids)>, Suspended> {
        match self.borrow_mut().ask(Call::Changes(key(work)))? {
            Answer::Changes { removals, additions, is_changed } => {
                let count = |ids: Ids| ids.count_ones().into();
                let counts = Counts {
                    wanted: 1,
                    removals: count(removals),
                    additions: count(additions),
                    moved: is_changed.into(),
                    ..Counts::default()
                };
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

    fn commit(&mut self, ours: &Table, refused: &[Refused], _: u64) -> Result<Option<Table>, Suspended> {
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
