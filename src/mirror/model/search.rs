//! The search. It visits each state once, by its hash.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use super::actor::{Actor, Call, End, Ticks};
use super::node::{Event, Node, Scenario, Way};
use super::world::{State, ids};
use crate::mirror::run::Conclusion;

#[derive(Debug, Default)]
pub struct Found {
    pub states: usize,
    pub ends: usize,
    /// The fault, and the events that led to it.
    pub wrong: Option<(String, Vec<Event>)>,
}

/// A hash for numbers that do not collide on purpose, much faster than the standard one.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64((*byte).into());
        }
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

fn hash(node: &Node, ticks: Ticks) -> u64 {
    let mut hasher = Mix::default();
    node.hash_into(&mut hasher, ticks);
    hasher.finish()
}

struct Search {
    seen: HashSet<u64, BuildHasherDefault<Mix>>,
    quiet: HashSet<u64, BuildHasherDefault<Mix>>,
    ticks: Ticks,
    trace: Vec<Event>,
    found: Found,
}

pub fn search(scenario: &Scenario) -> Found {
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
        if !self.seen.insert(hash(node, self.ticks)) || self.found.wrong.is_some() {
            return;
        }
        if let Some(fault) = node.fault() {
            self.found.wrong = Some((fault.to_owned(), self.trace.clone()));
            return;
        }
        let is_new =
            |search: &mut Self| search.quiet.insert(hash(&Node { actors: Vec::new(), ..node.clone() }, search.ticks));
        // As if all runs crashed here, and nothing came late any more.
        if node.world.late.is_empty()
            && is_new(self)
            && let Err(fault) = quiet_run(node, self.ticks)
        {
            self.found.wrong = Some((fault, self.trace.clone()));
            return;
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

/// Checks that one undisturbed run leaves the cohort equal to the table, and only its own version.
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
            if *end != End::Concluded(Conclusion::Committed) {
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
