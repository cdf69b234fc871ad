//! The one place where workers wait: for their turn, for a pause to end, for an outage to be over. Everything that it
//! decides stands in [`Pace`]; here are the lock, the stop, and the waiting on a [`Clock`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::pace::{Delay, Ended, Heard, Limits, Pace, Ticket, Turn};
use crate::stop::{Server, Stop};

/// Shared by all workers of a run.
pub struct Gate {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    limit: Duration,
    address: String,
    server: Server,
}

struct State {
    pace: Pace,
    stop: Option<Stop>,
    /// What went wrong last, for the message of an outage.
    last_failure: String,
}

/// The run has been stopped; nothing more may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl Gate {
    /// For a run that may take `max_duration`, and sends to `address`.
    pub fn new(address: String, limits: Limits, max_duration: Duration, clock: Arc<dyn Clock>) -> Self {
        let state = State { pace: Pace::new(limits), stop: None, last_failure: "nothing was sent yet".to_owned() };
        Self { state: Mutex::new(state), clock, limit: max_duration, address, server: Server::Braze }
    }

    /// The same, where another server than Braze is asked.
    #[must_use]
    pub fn asking(self, server: Server) -> Self {
        Self { server, ..self }
    }

    /// The time since the start of the run; monotonic.
    pub fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Comes to work; see [`Clock::attend`].
    pub fn attend(&self) -> Attendance {
        self.clock.attend();
        Attendance(Arc::clone(&self.clock))
    }

    /// Waits for the turn of a request whose batch wants to wait.
    pub fn enter(&self, delay: Delay) -> Result<Ticket, Stopped> {
        loop {
            let mut state = self.lock();
            if state.stop.is_some() {
                return Err(Stopped);
            }
            let now = self.now();
            if now >= self.limit {
                self.stop_locked(&mut state, Stop::Deadline { limit: self.limit });
                return Err(Stopped);
            }
            let turn = state.pace.ask(now, delay);
            let until = match turn {
                Turn::Go => return Ok(state.pace.begin(now, fastrand::f64())),
                Turn::AfterAnother => None,
                Turn::NotBefore(time) => Some(time),
            };
            let told = if delay.announced { delay.until } else { Duration::ZERO };
            let told = told.max(state.pace.paused_until(now));
            if told > self.limit {
                self.stop_locked(&mut state, pause_too_long(told.saturating_sub(now)));
                return Err(Stopped);
            }
            // Taken before the state is let go, so that no change in between is missed.
            let seen = self.clock.wakes();
            drop(state);
            self.clock.wait(seen, until.map(|time| time.min(self.limit)));
        }
    }

    /// A request has ended. `failure` is what went wrong, if anything. Returns how many requests got through so far.
    pub fn leave(&self, ticket: Ticket, ended: Ended, heard: Heard, failure: Option<&str>) -> u64 {
        let mut state = self.lock();
        let now = self.now();
        state.pace.end(now, ticket, ended, heard);
        if let Some(failure) = failure {
            failure.clone_into(&mut state.last_failure);
        }
        if let Ended::Limited { until, announced: true } = ended
            && until > self.limit
        {
            self.stop_locked(&mut state, pause_too_long(until.saturating_sub(now)));
        }
        if let Some(lasted) = state.pace.outage(now)
            && !matches!(ended, Ended::Through | Ended::Unheard)
        {
            let (address, last) = (self.address.clone(), state.last_failure.clone());
            let answered = state.pace.answered();
            self.stop_locked(&mut state, Stop::Outage { server: self.server, address, lasted, answered, last });
        }
        let successes = state.pace.successes();
        drop(state);
        self.clock.wake();
        successes
    }

    /// Ends the run: no request begins any more. The first reason counts.
    pub fn stop(&self, stop: Stop) {
        let mut state = self.lock();
        self.stop_locked(&mut state, stop);
    }

    /// Stops the run if its time is up.
    pub fn check_limit(&self) {
        if self.now() >= self.limit {
            self.stop(Stop::Deadline { limit: self.limit });
        }
    }

    /// Whether the run has been stopped.
    pub fn is_stopped(&self) -> bool {
        self.lock().stop.is_some()
    }

    /// Why it was stopped, once it is over.
    pub fn take_stop(&self) -> Option<Stop> {
        self.lock().stop.take()
    }

    fn stop_locked(&self, state: &mut State, stop: Stop) {
        state.stop.get_or_insert(stop);
        self.clock.wake();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::disallowed_methods, reason = "a time that is shown to a person is of the wall clock")]
fn pause_too_long(pause: Duration) -> Stop {
    let now = jiff::Timestamp::now();
    let until = jiff::SignedDuration::try_from(pause).ok().and_then(|pause| now.checked_add(pause).ok()).unwrap_or(now);
    Stop::PauseTooLong { pause, until: jiff::Timestamp::from_second(until.as_second()).unwrap_or(until) }
}

/// Somebody is at work until this is dropped.
pub struct Attendance(Arc<dyn Clock>);

impl Drop for Attendance {
    fn drop(&mut self) {
        self.0.depart();
    }
}
