//! One run, with the answers that it got so far. Its next call is found by running `run` itself with these answers.

use std::cell::RefCell;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::time::Duration;

use super::replay::Replay;
use super::world::{Ids, Key};
use crate::input::MaxRejected;
use crate::mirror::limits::{Limit, Limits};
use crate::mirror::run::{Conclusion, Record, Rules, run};
use crate::mirror::warehouse::{Renamed, Times};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    Tables,
    Build(Option<u8>),
    Changes(Key),
    Rename(Key, u8),
    Commit(u8, Ids, Ids),
    Delete(Key),
    /// Until this tick.
    Wait(u32),
    /// Until the end of this tick. Time is too coarse for a moment just before a tick.
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
        is_changed: bool,
    },
    Renamed(Renamed),
    Done,
    /// The request was answered, refused or given up.
    Delivered,
    Refused,
    GivenUp,
    /// There was no answer when this tick began.
    Unanswered(u32),
    /// It was too late to begin.
    NotBegun,
    Sent {
        refused: Ids,
        undelivered: bool,
        unanswered: Option<u32>,
        is_taken_over: bool,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sending {
    pub todo: Option<Ids>,
    pub until: Option<u32>,
    pub refused: Ids,
    pub undelivered: bool,
    pub unanswered: Option<u32>,
}

#[derive(Clone, Debug)]
pub struct Actor {
    pub index: u8,
    /// The answers, each with its call and tick.
    pub history: Vec<(Call, Answer, u32)>,
    pub sending: Sending,
    pub is_sending: bool,
    pub made: u8,
    pub call: Call,
    pub end: Option<End>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Crashed,
    Concluded(Conclusion),
}

/// Ends `run` until its call is answered.
pub struct Suspended;

/// Times in ticks.
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

pub fn time(ticks: u32) -> Duration {
    Duration::from_secs(ticks.into())
}

pub fn ticks(time: Duration) -> u32 {
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

    /// The number that it claims to have committed.
    pub fn committed(&self) -> Option<u8> {
        let is_committed = self.end == Some(End::Concluded(Conclusion::Committed));
        let number = |call: &Call| match call {
            Call::Rename(_, number) => Some(*number),
            _ => None,
        };
        self.history.iter().rev().find_map(|(call, ..)| number(call)).filter(|_| is_committed)
    }

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
        let rules = Rules { limits, max_rejected: MaxRejected::Default, times: real };
        let ended = run(&mut &replay, &mut &replay, &rules, &mut Record::default());
        if let Ok(conclusion) = ended {
            self.end = Some(End::Concluded(conclusion));
        }
    }

    /// Everything that its next steps depend on.
    pub fn hash_into(&self, state: &mut impl Hasher, now: u32, ticks: Ticks) {
        self.end.is_some().hash(state);
        if self.end.is_some() {
            return;
        }
        let age = |at: u32| now.saturating_sub(at).min(ticks.stale + 1);
        let ahead = |until: u32| (until + 1).saturating_sub(now).min(ticks.longest());
        // A list no longer matters after something was done with it. Of the times, only that of the last rename is
        // compared.
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
