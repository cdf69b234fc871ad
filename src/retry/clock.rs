//! Time, and waiting for it. The clock is monotonic, and replaceable so that tests need no real pauses.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The number of wakes so far.
pub type Wakes = u64;

/// A clock that callers can wait for.
pub trait Clock: Send + Sync {
    /// The time since the start of the run. It never goes back, even if the wall clock does.
    fn now(&self) -> Duration;
    /// The same, plus the time that the machine slept, by the wall clock. Never goes back, and is never less than
    /// [`Self::now`].
    fn with_sleep(&self) -> Duration {
        self.now()
    }
    /// The number of wakes. Read it before checking a condition, so that no wake is missed.
    fn wakes(&self) -> Wakes;
    /// Waits for a wake since `seen`, or until the time has come.
    fn wait(&self, seen: Wakes, until: Option<Duration>);
    /// Wakes all waiters.
    fn wake(&self);
    /// Registers a worker with the simulated clock, whose time passes only while all workers wait.
    fn attend(&self) {}
    /// Removes a worker.
    fn depart(&self) {}
}

/// The system's monotonic clock.
pub struct Monotonic {
    started: Instant,
    wall_started: SystemTime,
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Default)]
struct State {
    wakes: Wakes,
    waiting: usize,
    /// How far ahead the wall clock has been.
    slept: Duration,
}

impl Default for Monotonic {
    fn default() -> Self {
        Self { started: Instant::now(), wall_started: wall_clock(), state: Mutex::default(), woken: Condvar::new() }
    }
}

impl Monotonic {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::disallowed_methods, reason = "it shows that the machine slept")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// How long the machine has slept: the largest lead of the wall clock so far.
fn slept(before: Duration, monotonic: Duration, wall: Duration) -> Duration {
    before.max(wall.saturating_sub(monotonic))
}

impl Clock for Monotonic {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn with_sleep(&self) -> Duration {
        let before = &mut self.lock().slept;
        let (monotonic, wall) = (self.now(), wall_clock().duration_since(self.wall_started).unwrap_or_default());
        *before = slept(*before, monotonic, wall);
        monotonic + *before
    }

    fn wakes(&self) -> Wakes {
        self.lock().wakes
    }

    fn wait(&self, seen: Wakes, until: Option<Duration>) {
        let mut state = self.lock();
        state.waiting += 1;
        while state.wakes == seen {
            state = match until.map(|until| until.saturating_sub(self.now())) {
                Some(Duration::ZERO) => break,
                Some(time) => self.woken.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0,
                None => self.woken.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        state.waiting -= 1;
    }

    fn wake(&self) {
        let mut state = self.lock();
        state.wakes += 1;
        // Saves a system call at the end of nearly every request.
        if state.waiting > 0 {
            self.woken.notify_all();
        }
    }
}

/// Each wait advances its time.
#[cfg(test)]
#[derive(Default)]
pub struct Jumping(Mutex<Duration>);

#[cfg(test)]
impl Clock for Jumping {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn wakes(&self) -> Wakes {
        0
    }

    fn wait(&self, _: Wakes, until: Option<Duration>) {
        let mut now = self.0.lock().unwrap();
        *now = now.max(until.expect("a sleeper without an end"));
    }

    fn wake(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn a_wall_clock_that_was_ahead_counts_as_sleep_for_ever() {
        let seconds = Duration::from_secs;
        assert_eq!(slept(Duration::ZERO, seconds(10), seconds(70)), seconds(60));
        assert_eq!(slept(seconds(60), seconds(11), seconds(2)), seconds(60));
        assert_eq!(slept(Duration::ZERO, seconds(11), seconds(2)), Duration::ZERO);
        let clock = Monotonic::default();
        let now = clock.now();
        assert!(clock.with_sleep() >= now);
    }

    #[test]
    fn a_wait_ends_at_its_time() {
        let clock = Monotonic::default();
        let until = clock.now() + Duration::from_millis(20);
        clock.wait(clock.wakes(), Some(until));
        assert!(clock.now() >= until);
    }

    #[test]
    fn a_wake_between_looking_and_waiting_is_not_missed() {
        let clock = Monotonic::default();
        let seen = clock.wakes();
        clock.wake();
        clock.wait(seen, None);
    }

    #[test]
    fn all_who_wait_are_woken() {
        let clock = Arc::new(Monotonic::default());
        let seen = clock.wakes();
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let clock = Arc::clone(&clock);
                thread::spawn(move || clock.wait(seen, None))
            })
            .collect();
        clock.wake();
        for thread in waiting {
            thread.join().unwrap();
        }
    }
}
