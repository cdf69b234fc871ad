//! The search: each state once, by its hash.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::rc::Rc;

use super::actor::{Actor, Answer, Call, Ticks};
use super::world::{A, B, C, Ids, Key, Late, Rows, State, World, ids, rows};
use super::{Contract, breaking, breaks};
use crate::mirror::guard::{Guard, without};
use crate::mirror::run::Conclusion;
use crate::mirror::warehouse::Renamed;

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// A run's call is answered, in one of some ways.
    Step(usize, Way),
    Crash(usize),
    Tick,
    Late(Late),
    /// What was late never happens.
    Never(Late),
    TableChanges,
}

/// How a call is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// As it should be.
    Well,
    /// With a list that was old so many changes ago.
    Old(usize),
    /// The answer is lost; it is done now, later, or never.
    Late,
    /// The same, and nothing is heard until the request's time is over.
    Hung,
    Refused,
    GivenUp,
}

#[derive(Clone, Debug)]
struct Node {
    world: World,
    actors: Vec<Rc<Actor>>,
    /// Whether a run that goes no further may be known to be dead.
    crashes: bool,
}

/// Where a search begins.
#[derive(Clone, Copy, Debug)]
struct Scenario {
    users: [Option<u8>; 3],
    /// The state and the cohort, where there is one.
    before: Option<Rows>,
    /// The members' table, before and after it changes.
    tables: [Rows; 2],
    due: Ids,
    runs: u8,
    faults: u8,
    crashes: bool,
    ticks: Ticks,
}

impl Scenario {
    fn start(&self) -> Node {
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
    fn hash(&self, ticks: Ticks) -> u64 {
        let (mut hasher, now) = (Mix::default(), self.world.now);
        let World { table, next_table, tables, past, late, due, cohort, faults, .. } = &self.world;
        (table, next_table, tables, due, cohort, faults).hash(&mut hasher);
        for (until, list) in past {
            (now - until, list).hash(&mut hasher);
        }
        for late in late {
            match *late {
                Late::Request { is_add, id, until } => (is_add, id, until - now).hash(&mut hasher),
                other => other.hash(&mut hasher),
            }
        }
        for actor in &self.actors {
            actor.hash_into(&mut hasher, now, ticks);
        }
        hasher.finish()
    }

    fn events(&self, events: &mut Vec<Event>) {
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
                Call::Request { until, .. } if can_fail && self.world.now < until => {
                    [Way::Well, Way::Late, Way::Hung, Way::Refused, Way::GivenUp].into_iter().for_each(step);
                }
                _ => step(Way::Well),
            }
            if self.crashes {
                events.push(Event::Crash(index));
            }
            if index == 0 && actor.has_not_begun() {
                // They are all alike.
                break;
            }
        }
        for late in &self.world.late {
            events.push(Event::Late(*late));
            if !matches!(late, Late::Request { .. }) {
                events.push(Event::Never(*late));
            }
        }
        // Nobody sees it before.
        let reads = |actor: &Rc<Actor>| actor.is_alive() && matches!(actor.call, Call::Build(_));
        if self.world.next_table.is_some() && self.actors.iter().any(reads) {
            events.push(Event::TableChanges);
        }
        events.push(Event::Tick);
    }

    fn apply(&mut self, event: Event, ticks: Ticks) {
        self.one(event, ticks);
        // What touches nothing that others see needs no place among their steps.
        for index in 0..self.actors.len() {
            while self.actors[index].is_alive() && self.is_private(index) {
                self.one(Event::Step(index, Way::Well), ticks);
            }
        }
    }

    fn fault(&self) -> Option<&'static str> {
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
            Event::Crash(index) => Rc::make_mut(&mut self.actors[index]).end = Some(None),
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
                let (_, state) = world.find(key).expect("nobody deletes the table of a run at work");
                Answer::Changes { removals: state.removals(), additions: state.additions() }
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
    if now >= until && !breaks(Contract::NoneBeginsTooLate) {
        return Answer::NotBegun;
    }
    let longest = now + ticks.request_timeout;
    let end = if breaks(Contract::NoneLastsTooLong) { longest } else { longest.min(until) };
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

/// What was found.
#[derive(Debug, Default)]
struct Found {
    states: usize,
    ends: usize,
    /// What is wrong, and how it came to it.
    wrong: Option<(String, Vec<Event>)>,
}

/// A hash for numbers that nobody chose to collide, much faster than the standard one.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ mixed >> 29;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

struct Search {
    seen: HashSet<u64, BuildHasherDefault<Mix>>,
    quiet: HashSet<u64, BuildHasherDefault<Mix>>,
    ticks: Ticks,
    trace: Vec<Event>,
    found: Found,
}

fn search(scenario: &Scenario) -> Found {
    let mut search = Search {
        seen: HashSet::default(),
        quiet: HashSet::default(),
        ticks: scenario.ticks,
        trace: Vec::new(),
        found: Found::default(),
    };
    search.visit(&scenario.start());
    search.found.states = search.seen.len();
    search.found.ends = search.quiet.len();
    search.found
}

impl Search {
    fn visit(&mut self, node: &Node) {
        if !self.seen.insert(node.hash(self.ticks)) || self.found.wrong.is_some() {
            return;
        }
        if let Some(fault) = node.fault() {
            self.found.wrong = Some((fault.to_owned(), self.trace.clone()));
            return;
        }
        if node.world.late.is_empty() && self.quiet.insert(Node { actors: Vec::new(), ..node.clone() }.hash(self.ticks))
        {
            if let Err(fault) = quiet_run(node, self.ticks) {
                self.found.wrong = Some((fault, self.trace.clone()));
                return;
            }
        }
        let mut events = Vec::new();
        node.events(&mut events);
        for event in events {
            let mut next = node.clone();
            next.apply(event, self.ticks);
            self.trace.push(event);
            self.visit(&next);
            self.trace.pop();
        }
    }
}

/// One run to which nothing happens leaves the cohort equal to the table, and nothing but its version.
fn quiet_run(node: &Node, ticks: Ticks) -> Result<(), String> {
    const QUIET: u8 = 4;
    let mut node = node.clone();
    node.apply(Event::TableChanges, ticks);
    for _ in 0..=ticks.longest() {
        node.world.tick(ticks.stale);
    }
    node.actors = vec![Rc::new(Actor::new(QUIET, ticks, node.world.now))];
    for _ in 0..1000 {
        if let Some(end) = &node.actors[0].end {
            if *end != Some(Conclusion::Committed) {
                return Err(format!("a quiet run ended with {end:?}"));
            }
            let wanted = ids(node.world.table);
            let done = State::of(node.world.table);
            let is_done = node.world.tables.len() == 1
                && node.world.top().is_some_and(|(number, state)| number % 2 == 0 && state == done);
            return if node.world.cohort != node.world.users_of(wanted) {
                Err("after a quiet run the cohort is not the table".to_owned())
            } else if is_done {
                Ok(())
            } else {
                Err(format!("after a quiet run there is {:?}", node.world.tables))
            };
        }
        match node.actors[0].call {
            Call::Wait(until) if node.world.now < until => node.apply(Event::Tick, ticks),
            _ => node.apply(Event::Step(0, Way::Well), ticks),
        }
    }
    Err("a quiet run does not end".to_owned())
}

const TICKS: Ticks = Ticks { request_timeout: 1, stale: 1, grace: 1 };

#[derive(Clone, Copy, Debug)]
enum Story {
    /// Somebody enters, somebody leaves, and it is all a mistake.
    BackAndForth,
    /// There was no run before.
    First,
    /// A user's identifier becomes one that Braze does not know yet.
    NewAddress,
    /// A user stays by one identifier, another one leaves.
    Stays,
    /// Nothing changes, and something is sent again.
    Refreshed,
}

const STORIES: [Story; 5] = [Story::First, Story::NewAddress, Story::Refreshed, Story::BackAndForth, Story::Stays];

fn scenario(story: Story, faults: u8) -> Scenario {
    let known = [Some(0), Some(0), Some(1)];
    let of = |before, tables| Scenario {
        users: known,
        before,
        tables,
        due: 0,
        runs: 2,
        faults,
        crashes: false,
        ticks: TICKS,
    };
    match story {
        Story::BackAndForth => of(Some(rows(&[A])), [rows(&[C]), rows(&[A])]),
        Story::First => of(None, [rows(&[A]), rows(&[C])]),
        Story::NewAddress => {
            let users = [Some(0), Some(0), None];
            Scenario { users, ..of(Some(rows(&[A | B])), [rows(&[A | C]); 2]) }
        }
        Story::Stays => of(Some(rows(&[A | B, C])), [rows(&[B]), rows(&[A | B])]),
        Story::Refreshed => Scenario { due: A, ..of(Some(rows(&[A])), [rows(&[A]), rows(&[C])]) },
    }
}

/// The first story that goes wrong, from the smallest on.
fn check(faults: u8) -> Option<String> {
    (0..=faults).flat_map(|faults| STORIES.map(|story| scenario(story, faults))).find_map(|scenario| {
        let (wrong, trace) = search(&scenario).wrong?;
        Some(format!("{wrong}: {scenario:?}\n{trace:#?}"))
    })
}

#[test]
fn sizes() {
    for faults in 0..=1 {
        for story in STORIES {
            let started = std::time::Instant::now();
            let found = search(&scenario(story, faults));
            eprintln!("{story:?} {faults} {} {} {:?} {:?}", found.states, found.ends, started.elapsed(), found.wrong);
            assert!(found.wrong.is_none());
        }
    }
}

const GUARDS: [Guard; 18] = [
    Guard::NewerVersionStops,
    Guard::LookShowsOurs,
    Guard::PermissionEnds,
    Guard::TakeoverWaitsForRequests,
    Guard::TakeoverWaitsForStaleList,
    Guard::TakeoverWaitsForGrace,
    Guard::TakeoverWaitsAfterRename,
    Guard::GraceAfterRemovals,
    Guard::GraceAfterAdditions,
    Guard::QuietRunsTakeOdd,
    Guard::QuietOnlyOnEven,
    Guard::TablesAreKnownById,
    Guard::LostRenameIsNotDone,
    Guard::RemovalsComplete,
    Guard::AdditionsComplete,
    Guard::RefusedIsTold,
    Guard::NextNumberIsOdd,
    Guard::HighestIsKept,
];

const CONTRACTS: [Contract; 9] = [
    Contract::RowMatesAreUnconfirmed,
    Contract::RemovedIsUnconfirmed,
    Contract::RemovedStaysUntilDone,
    Contract::RefusedRemovalStays,
    Contract::RenameOverwritesNothing,
    Contract::FirstLook,
    Contract::NoneBeginsTooLate,
    Contract::NoneLastsTooLong,
    Contract::UnansweredIsSaid,
];

#[test]
fn each_guard_is_needed() {
    for guard in GUARDS {
        let started = std::time::Instant::now();
        let result = without(guard, || check(1));
        eprintln!(
            "{guard:?}: {:?} {:?}",
            result.map(|said| said.lines().next().unwrap().to_owned()),
            started.elapsed()
        );
    }
    for contract in CONTRACTS {
        let started = std::time::Instant::now();
        let result = breaking(contract, || check(1));
        eprintln!(
            "{contract:?}: {:?} {:?}",
            result.map(|said| said.lines().next().unwrap().to_owned()),
            started.elapsed()
        );
    }
}
