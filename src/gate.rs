//! The one place where workers wait: for their turn, for a pause to end, for an outage to be over. Everything that it
//! decides stands in [`Pace`]; here are the lock, the clock and the stop.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::pace::{Delay, Ended, Pace, Ticket, Turn};
use crate::stop::Stop;

/// Shared by all workers of a run.
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    started: Instant,
    limit: Duration,
    address: String,
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
    /// For a run that may take `limit`, in which nothing may get through to `address` for `max_outage`.
    pub fn new(address: String, max_outage: Duration, limit: Duration) -> Self {
        let state = State { pace: Pace::new(max_outage), stop: None, last_failure: "nothing was sent yet".to_owned() };
        Self { state: Mutex::new(state), changed: Condvar::new(), started: Instant::now(), limit, address }
    }

    /// The time since the start of the run; monotonic.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits for the turn of a request whose batch wants to wait.
    pub fn enter(&self, delay: Delay) -> Result<Ticket, Stopped> {
        let mut state = self.lock();
        loop {
            if state.stop.is_some() {
                return Err(Stopped);
            }
            let now = self.now();
            if now >= self.limit {
                self.stop_locked(&mut state, Stop::Deadline { limit: self.limit });
                return Err(Stopped);
            }
            state = match state.pace.ask(now, delay) {
                Turn::Go => return Ok(state.pace.begin(now)),
                Turn::NotBefore(time) => self.wait(state, time.min(self.limit).saturating_sub(now)),
                Turn::AfterAnother => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// A request has ended. `answered` says whether Braze said anything; `failure` what went wrong, if anything. Returns
    /// how many requests got through so far.
    pub fn leave(&self, ticket: Ticket, ended: Ended, answered: bool, failure: Option<&str>) -> u64 {
        let mut state = self.lock();
        let now = self.now();
        state.pace.end(now, ticket, ended, answered);
        if let Some(failure) = failure {
            failure.clone_into(&mut state.last_failure);
        }
        if let Ended::Limited { until, announced: true } = ended
            && until > self.limit
        {
            self.stop_locked(&mut state, Stop::PauseTooLong { pause: until.saturating_sub(now) });
        }
        if let Some(lasted) = state.pace.outage(now)
            && !matches!(ended, Ended::Through | Ended::Unheard)
        {
            let (address, last) = (self.address.clone(), state.last_failure.clone());
            let answered = state.pace.answered();
            self.stop_locked(&mut state, Stop::Outage { address, lasted, answered, last });
        }
        self.changed.notify_all();
        state.pace.successes()
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
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }
}
