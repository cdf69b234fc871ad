//! Time that passes only when all workers wait: an hour of pauses takes a moment, and the results are the same on every machine.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use td_braze_cohort::retry::{Clock, Wakes};

/// The clock. Whoever works attends it; when all of them wait, the time jumps to the first one's.
#[derive(Default)]
pub struct VirtualClock {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    now: Duration,
    wakes: Wakes,
    /// The number of workers that are not waiting.
    at_work: usize,
    sleepers: Vec<Sleeper>,
    names: u64,
}

struct Sleeper {
    name: u64,
    until: Option<Duration>,
    /// Whether a wake can end it before its time.
    can_be_woken: bool,
}

impl VirtualClock {
    /// Lets this much time pass for the caller.
    pub fn sleep(&self, time: Duration) {
        let state = self.state.lock().unwrap();
        let until = state.now + time;
        self.rest(state, Some(until), false);
    }

    fn rest(&self, mut state: MutexGuard<'_, State>, until: Option<Duration>, can_be_woken: bool) {
        if until.is_some_and(|until| until <= state.now) {
            return;
        }
        state.names += 1;
        let name = state.names;
        state.sleepers.push(Sleeper { name, until, can_be_woken });
        state.at_work -= 1;
        self.pass_time(&mut state);
        while state.sleepers.iter().any(|sleeper| sleeper.name == name) {
            state = self.changed.wait(state).unwrap();
        }
    }

    /// If no worker is busy, the time jumps to the first sleeper's end.
    fn pass_time(&self, state: &mut State) {
        if state.at_work > 0 || state.sleepers.is_empty() {
            return;
        }
        let first = state.sleepers.iter().filter_map(|sleeper| sleeper.until).min();
        state.now = first.expect("everybody waits for each other");
        let now = state.now;
        self.wake_those(state, |sleeper| sleeper.until.is_some_and(|until| until <= now));
    }

    fn wake_those(&self, state: &mut State, which: impl Fn(&Sleeper) -> bool) {
        let before = state.sleepers.len();
        state.sleepers.retain(|sleeper| !which(sleeper));
        state.at_work += before - state.sleepers.len();
        self.changed.notify_all();
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Duration {
        self.state.lock().unwrap().now
    }

    fn wakes(&self) -> Wakes {
        self.state.lock().unwrap().wakes
    }

    fn wait(&self, seen: Wakes, until: Option<Duration>) {
        let state = self.state.lock().unwrap();
        if state.wakes == seen {
            self.rest(state, until, true);
        }
    }

    fn wake(&self) {
        let mut state = self.state.lock().unwrap();
        state.wakes += 1;
        self.wake_those(&mut state, |sleeper| sleeper.can_be_woken);
    }

    fn attend(&self) {
        self.state.lock().unwrap().at_work += 1;
    }

    fn depart(&self) {
        let mut state = self.state.lock().unwrap();
        state.at_work -= 1;
        self.pass_time(&mut state);
    }
}
