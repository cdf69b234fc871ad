//! A world with its runs, and its next possible events.

use std::hash::{Hash, Hasher};
use std::rc::Rc;

use super::actor::{Actor, Answer, Call, End, Ticks};
use super::world::{Ids, Key, Late, Rows, State, World, ids};
use super::{Contract, breaks};
use crate::mirror::warehouse::Renamed;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A run's call is answered in one of these ways.
    Step(usize, Way),
    Crash(usize),
    Tick,
    Late(Late),
    /// A late request never takes effect.
    Never(Late),
    TableChanges,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As intended.
    Well,
    /// With the list from before that many changes.
    Old(usize),
    /// The answer is lost. The effect comes now, later, or never.
    Late,
    /// The same, but nothing is heard until the request's time is over.
    Hung,
    Refused,
    GivenUp,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub world: World,
    pub actors: Vec<Rc<Actor>>,
    /// Whether a run's crash can be known.
    pub crashes: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub users: [Option<u8>; 3],
    /// The state and the cohort, if there are any.
    pub before: Option<Rows>,
    pub tables: [Rows; 2],
    pub due: Ids,
    pub runs: u8,
    pub faults: u8,
    pub crashes: bool,
    pub ticks: Ticks,
}

impl Scenario {
    pub fn start(&self) -> Node {
        let state = self.before.map(State::of);
        let mut world = World {
            users: self.users,
            now: 100,
            table: self.tables[0],
            next_table: Some(self.tables[1]).filter(|next| *next != self.tables[0]),
            tables: state.map(|state| (Key::Version(2), 250, state)).into_iter().collect(),
            past: Vec::new(),
            late: Vec::new(),
            due: self.due,
            cohort: 0,
            faults: self.faults,
        };
        world.cohort = world.users_of(self.before.map_or(0, ids));
        let actors = (0..self.runs).map(|index| Rc::new(Actor::new(index, self.ticks, 100))).collect();
        Node { world, actors, crashes: self.crashes }
    }
}

impl Node {
    pub fn hash_into(&self, hasher: &mut impl Hasher, ticks: Ticks) {
        let now = self.world.now;
        let World { table, next_table, tables, past, late, due, cohort, faults, .. } = &self.world;
        (table, next_table, tables, due, cohort, faults).hash(hasher);
        for (until, list) in past {
            (now - until, list).hash(hasher);
        }
        for late in late {
            match *late {
                Late::Request { is_add, id, until } => (is_add, id, until - now).hash(hasher),
                other => other.hash(hasher),
            }
        }
        for actor in &self.actors {
            actor.hash_into(hasher, now, ticks);
        }
    }

    pub fn events(&self, events: &mut Vec<Event>) {
        let can_fail = self.world.faults > 0;
        for (index, actor) in self.actors.iter().enumerate().filter(|(_, actor)| actor.is_alive()) {
            let mut step = |way| events.push(Event::Step(index, way));
            match actor.call {
                Call::Tables => {
                    step(Way::Well);
                    (0..self.world.past.len()).for_each(|at| step(Way::Old(at)));
                }
                Call::Wait(until) if self.world.now < until => {}
                Call::Rename(..) | Call::Delete(_) if can_fail => {
                    [Way::Well, Way::Late].into_iter().for_each(step);
                }
                Call::Request { until, .. } if can_fail && self.world.now <= until => {
                    [Way::Well, Way::Late, Way::Hung, Way::Refused, Way::GivenUp].into_iter().for_each(step);
                }
                _ => step(Way::Well),
            }
            if self.crashes {
                events.push(Event::Crash(index));
            }
            if index == 0 && actor.has_not_begun() {
                // The other runs are alike.
                break;
            }
        }
        for late in &self.world.late {
            events.push(Event::Late(*late));
            if !matches!(late, Late::Request { .. }) {
                events.push(Event::Never(*late));
            }
        }
        // Earlier, no run would see it.
        let reads = |actor: &Rc<Actor>| actor.is_alive() && matches!(actor.call, Call::Build(_));
        if self.world.next_table.is_some() && self.actors.iter().any(reads) {
            events.push(Event::TableChanges);
        }
        events.push(Event::Tick);
    }

    pub fn apply(&mut self, event: Event, ticks: Ticks) {
        self.one(event, ticks);
        // A step that touches nothing visible to others can be taken at once.
        for index in 0..self.actors.len() {
            while self.actors[index].is_alive() && self.is_private(index) {
                self.one(Event::Step(index, Way::Well), ticks);
            }
        }
    }

    pub fn fault(&self) -> Option<&'static str> {
        let top = self.world.top().map_or(0, |(number, _)| number);
        let is_wrong = self.actors.iter().filter_map(|actor| actor.committed()).any(|number| number > top);
        self.world.fault().or(is_wrong.then_some("a run says that it has committed, and has not"))
    }

    fn is_private(&self, index: usize) -> bool {
        match self.actors[index].call {
            Call::Changes(_) => true,
            Call::Wait(until) => until <= self.world.now,
            _ => false,
        }
    }

    fn one(&mut self, event: Event, ticks: Ticks) {
        match event {
            Event::Step(index, way) => {
                let answer = self.step(index, way, ticks);
                Rc::make_mut(&mut self.actors[index]).answer(ticks, answer, self.world.now);
            }
            Event::Crash(index) => Rc::make_mut(&mut self.actors[index]).end = Some(End::Crashed),
            Event::Tick => self.world.tick(ticks.stale),
            Event::Late(late) => self.world.happen(late),
            Event::Never(late) => self.world.late.retain(|other| *other != late),
            Event::TableChanges => {
                if let Some(next) = self.world.next_table.take() {
                    self.world.table = next;
                }
            }
        }
    }

    fn step(&mut self, index: usize, way: Way, ticks: Ticks) -> Answer {
        let world = &mut self.world;
        if !matches!(way, Way::Well | Way::Old(_)) {
            world.faults -= 1;
        }
        let now = world.now;
        match self.actors[index].call {
            Call::Tables => {
                let versions = match way {
                    Way::Old(at) => world.past[at].1.clone(),
                    _ => world.versions(),
                };
                Answer::Listing { versions: versions.into(), leftovers: self.leftovers().into() }
            }
            Call::Build(top) => {
                let state = top.map(|number| world.find(Key::Version(number)));
                if state == Some(None) {
                    return Answer::Made(None);
                }
                let due = std::mem::take(&mut world.due);
                let state = State::next_odd(state.flatten().map(|(_, state)| state), world.table, due);
                self.make(index, state)
            }
            Call::Changes(key) => {
                let (_, state) = world.find(key).expect("the table of a run at work is never deleted");
                let State { additions, is_changed, .. } = state;
                Answer::Changes { removals: state.removals(), additions, is_changed }
            }
            Call::Rename(from, to) => Answer::Renamed(match way {
                Way::Well if world.rename(from, to) => Renamed::Done,
                Way::Well => Renamed::Refused,
                _ => {
                    world.put_off(Late::Rename { from, to });
                    Renamed::Unknown
                }
            }),
            Call::Commit(number, removals, additions) => match world.find(Key::Version(number)) {
                Some((_, state)) => {
                    let next = state.next_even(removals, additions);
                    self.make(index, next)
                }
                None => Answer::Made(None),
            },
            Call::Delete(key) => {
                match way {
                    Way::Well => world.delete(key),
                    _ => world.put_off(Late::Delete(key)),
                }
                Answer::Done
            }
            Call::Wait(_) => Answer::Done,
            Call::Request { is_add, id, until } => request(world, way, is_add, id, until, now, ticks),
        }
    }

    fn leftovers(&self) -> Vec<u8> {
        let is_alive = |id: u8| self.actors.iter().any(|actor| actor.index == id / 50 && actor.is_alive());
        let work = |key: &Key| match key {
            Key::Work(id) => Some(*id).filter(|id| !is_alive(*id)),
            Key::Version(_) => None,
        };
        self.world.tables.iter().filter_map(|(key, ..)| work(key)).collect()
    }

    fn make(&mut self, index: usize, state: State) -> Answer {
        let actor = Rc::make_mut(&mut self.actors[index]);
        let id = actor.index * 50 + actor.made;
        actor.made += 1;
        self.world.make(Key::Work(id), id, state);
        Answer::Made(Some(id))
    }
}

fn request(world: &mut World, way: Way, is_add: bool, id: u8, until: u32, now: u32, ticks: Ticks) -> Answer {
    if now > until && !breaks(Contract::NoneBeginsTooLate) {
        return Answer::NotBegun;
    }
    let end = now + ticks.longest_try + u32::from(breaks(Contract::NoneLastsTooLong));
    let unanswered = |at| if breaks(Contract::UnansweredIsSaid) { Answer::NotBegun } else { Answer::Unanswered(at) };
    match way {
        Way::Refused => Answer::Refused,
        Way::GivenUp => Answer::GivenUp,
        Way::Late => {
            world.put_off(Late::Request { is_add, id, until: now + ticks.grace });
            unanswered(now)
        }
        Way::Hung => {
            world.put_off(Late::Request { is_add, id, until: end + ticks.grace });
            unanswered(end)
        }
        Way::Well | Way::Old(_) => {
            world.request(is_add, id);
            Answer::Delivered
        }
    }
}
