//! The only place in which callers wait. [`Pacing`] decides for how long. The lock, the stop, and the waiting on a
//! [`Clock`] are here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock::Clock;
use super::pacing::{Admission, Delay, Pacing, Permit, RequestOutcome, ResponseMeta, Unanswered};
use super::policy::Moment;

/// How often failures are logged while nothing gets through; the first one at once.
const TELL_EVERY: Duration = Duration::from_mins(1);
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// The limits of a run.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest time without a successful request.
    pub max_outage: Duration,
    /// Requests in any hour, at least 1.
    pub max_requests_per_hour: u64,
    /// How long the run may take.
    pub max_duration: Duration,
}

/// Why the limiter ends a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitReached {
    /// Nothing got through for too long.
    Outage {
        /// For how long.
        lasted: Duration,
        /// Whether the server had ever answered.
        answered: bool,
        /// The last failure.
        last: String,
    },
    /// The run's time is over.
    Deadline {
        /// The longest time it may take.
        limit: Duration,
    },
    /// A pause would last beyond the end of the run.
    PauseTooLong {
        /// Its length.
        pause: Duration,
        /// The server asks for it. If it does not, our own limit for an hour is used up.
        is_announced: bool,
    },
}

/// What waits until none of its tries can take effect any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A phase. Its tries must not take effect during the next phase.
    Phase,
    /// The run. It waits only for tries that timed out: broken connections are common, and hardly ever take effect
    /// late.
    Run,
}

/// Shared by all callers of one server. `S` is the reason for a stop.
pub struct RateLimiter<S> {
    state: Mutex<State<S>>,
    clock: Arc<dyn Clock>,
    max_duration: Duration,
    stop_for: Box<dyn Fn(LimitReached) -> S + Send + Sync>,
}

struct State<S> {
    pacing: Pacing,
    stop: Option<S>,
    /// The last failure, for the message of an outage.
    last_failure: String,
    last_timeout: Option<Duration>,
    last_break: Option<Duration>,
    last_told: Option<Duration>,
    /// No request begins after this time ([`Clock::with_sleep`]).
    permitted_until: Option<Duration>,
}

/// The limiter has been stopped; nothing more may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl<S> RateLimiter<S> {
    /// A limiter for a run within these limits. If the limiter itself ends the run, `stop_for` makes the reason.
    pub fn new(
        limits: Limits,
        clock: Arc<dyn Clock>,
        stop_for: impl Fn(LimitReached) -> S + Send + Sync + 'static,
    ) -> Self {
        let Limits { max_outage, max_requests_per_hour, max_duration } = limits;
        let pacing = Pacing::new(max_outage, max_requests_per_hour);
        let last_failure = "nothing was sent yet".to_owned();
        let state = State {
            pacing,
            stop: None,
            last_failure,
            last_timeout: None,
            last_break: None,
            last_told: None,
            permitted_until: None,
        };
        Self { state: Mutex::new(state), clock, max_duration, stop_for: Box::new(stop_for) }
    }

    /// The time since the start of the run; monotonic.
    pub fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Registers a worker; see [`Clock::attend`].
    pub fn attend(&self) -> ActiveGuard {
        self.clock.attend();
        ActiveGuard(Arc::clone(&self.clock))
    }

    /// Waits until a caller with this pause may begin its request.
    pub(super) fn acquire(&self, delay: Delay) -> Result<Permit, Stopped> {
        loop {
            let mut state = self.lock();
            if state.stop.is_some() {
                return Err(Stopped);
            }
            let now = self.now();
            if now >= self.max_duration {
                return Err(self.halt(&mut state, self.deadline()));
            }
            if state.permitted_until.is_some_and(|until| self.clock.with_sleep() >= until) {
                let seen = self.clock.wakes();
                drop(state);
                self.clock.wait(seen, Some(self.max_duration));
                continue;
            }
            let until = match state.pacing.ask(now, delay) {
                Admission::Go => return Ok(state.pacing.begin(now)),
                Admission::AfterAnother => None,
                Admission::NotBefore(time) => Some(time),
            };
            let told = if delay.announced { delay.until } else { Duration::ZERO };
            let told = told.max(state.pacing.paused_until(now));
            if told > self.max_duration {
                let is_announced = told > state.pacing.hour_free_at(now);
                let limit = LimitReached::PauseTooLong { pause: told.saturating_sub(now), is_announced };
                return Err(self.halt(&mut state, limit));
            }
            // Read before the lock is released, so that no change in between is missed.
            let seen = self.clock.wakes();
            drop(state);
            self.clock.wait(seen, until.map(|time| time.min(self.max_duration)));
        }
    }

    pub(super) fn moment(&self) -> Moment {
        let successes = self.lock().pacing.successes();
        Moment { now: self.now(), successes, chance: fastrand::f64() }
    }

    /// Ends a request. `failure` is what went wrong, if anything. Returns the longest outage if it is time to log a
    /// warning.
    pub(super) fn release(
        &self,
        permit: Permit,
        outcome: RequestOutcome,
        meta: ResponseMeta,
        failure: Option<&str>,
    ) -> Option<Duration> {
        let mut state = self.lock();
        let now = self.now();
        state.pacing.end(now, permit, outcome, meta);
        match meta.unanswered {
            Some(Unanswered::TimedOut) => state.last_timeout = Some(now),
            Some(Unanswered::Broke) => state.last_break = Some(now),
            None => {}
        }
        if let Some(failure) = failure {
            failure.clone_into(&mut state.last_failure);
        }
        if let RequestOutcome::Limited { until, announced: true } = outcome
            && until > self.max_duration
        {
            self.halt(&mut state, LimitReached::PauseTooLong { pause: until.saturating_sub(now), is_announced: true });
        }
        if let Some(lasted) = state.pacing.outage(now)
            && !matches!(outcome, RequestOutcome::Through | RequestOutcome::Unheard)
        {
            let (answered, last) = (state.pacing.answered(), state.last_failure.clone());
            self.halt(&mut state, LimitReached::Outage { lasted, answered, last });
        }
        let is_time = state.last_told.is_none_or(|last| now >= last.saturating_add(TELL_EVERY));
        let told = (outcome == RequestOutcome::Failed && state.stop.is_none() && is_time).then_some(now);
        state.last_told = told.or(state.last_told);
        let patience = state.pacing.patience();
        drop(state);
        self.clock.wake();
        told.map(|_| patience)
    }

    /// Waits until `grace` has passed since the end of the last unanswered try, which the server may have read. `show`
    /// gets the remaining time now and then. A wait beyond the end of the run ends the run now.
    pub fn settle(&self, ending: Ending, grace: Duration, show: impl FnMut(Duration)) -> Result<(), Stopped> {
        let until = |state: &State<S>| {
            let last = match ending {
                Ending::Phase => state.last_timeout.max(state.last_break),
                Ending::Run => state.last_timeout,
            };
            last.map_or(Duration::ZERO, |last| last.saturating_add(grace))
        };
        self.wait_until(until, show)
    }

    /// Waits for this long. `show` gets the remaining time now and then. A wait beyond the end of the run ends the run
    /// now.
    pub fn wait(&self, time: Duration, show: impl FnMut(Duration)) -> Result<(), Stopped> {
        let until = self.now().saturating_add(time);
        self.wait_until(|_| until, show)
    }

    fn wait_until(&self, until: impl Fn(&State<S>) -> Duration, mut show: impl FnMut(Duration)) -> Result<(), Stopped> {
        loop {
            let mut state = self.lock();
            if state.stop.is_some() {
                return Err(Stopped);
            }
            let (now, until) = (self.now(), until(&state));
            if until <= now {
                return Ok(());
            }
            if until > self.max_duration {
                return Err(self.halt(&mut state, self.deadline()));
            }
            let seen = self.clock.wakes();
            drop(state);
            show(until.saturating_sub(now));
            self.clock.wait(seen, Some(until.min(now + SHOW_EVERY)));
        }
    }

    /// Requests may begin until this time ([`Self::with_sleep`]), or a later one of another call. Without a call there
    /// is no such limit.
    pub fn permit_until(&self, until: Duration) {
        let mut state = self.lock();
        state.permitted_until = state.permitted_until.max(Some(until));
        self.clock.wake();
    }

    /// The time since the start of the run, including the time during which the machine slept.
    pub fn with_sleep(&self) -> Duration {
        self.clock.with_sleep()
    }

    /// The end of the last unanswered try, which the server may have read.
    pub fn last_unanswered(&self) -> Option<Duration> {
        let state = self.lock();
        state.last_timeout.max(state.last_break)
    }

    /// Ends the run: no further request begins. Only the first reason is kept.
    pub fn stop(&self, stop: S) {
        let mut state = self.lock();
        state.stop.get_or_insert(stop);
        self.clock.wake();
    }

    /// Stops the run if its time is up.
    pub fn check_limit(&self) {
        if self.now() >= self.max_duration {
            self.halt(&mut self.lock(), self.deadline());
        }
    }

    /// Whether the run has been stopped.
    pub fn is_stopped(&self) -> bool {
        self.lock().stop.is_some()
    }

    /// Why it was stopped, for use when it is over.
    pub fn take_stop(&self) -> Option<S> {
        self.lock().stop.take()
    }

    fn deadline(&self) -> LimitReached {
        LimitReached::Deadline { limit: self.max_duration }
    }

    fn halt(&self, state: &mut State<S>, limit: LimitReached) -> Stopped {
        state.stop.get_or_insert_with(|| (self.stop_for)(limit));
        self.clock.wake();
        Stopped
    }

    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a worker registered until it is dropped.
pub struct ActiveGuard(Arc<dyn Clock>);

impl Drop for ActiveGuard {
    fn drop(&mut self) {
        self.0.depart();
    }
}
