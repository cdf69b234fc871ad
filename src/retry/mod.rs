//! In: the outcome of each try of a call. Out: the call's value, or why there is none. It limits the rate of all
//! callers of one server, and waits. It knows neither the server nor the protocol.
//!
//! ```text
//! call ──> rate limiter: may I? ──> one try ──> policy: again, and when? ──> ...
//!            (pacing, clock)
//! ```

use std::time::Duration;

use log::{debug, warn};

mod clock;
pub mod hint;
mod pacing;
mod policy;
mod rate_limiter;

#[cfg(test)]
pub use clock::Jumping;
pub use clock::{Clock, Monotonic, Wakes};
pub use pacing::{QuotaHint, ResponseMeta, Unanswered};
pub use policy::{Failure, GivenUp, MAX_FAILURES};
pub use rate_limiter::{ActiveGuard, Ending, LimitReached, Limits, RateLimiter, Stopped};

use pacing::{Delay, RequestOutcome};
use policy::{AfterFailure, History};

/// Why a call has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The limiter was stopped, by this call or by something else. It has the reason.
    Stopped,
    /// Only this call has failed. Others may continue.
    GivenUp(GivenUp),
}

impl From<Stopped> for CallError {
    fn from(Stopped: Stopped) -> Self {
        Self::Stopped
    }
}

/// Tries until the result is final, but not before `pause` has passed. A final failure stops the limiter.
pub fn call<T, E: Into<S>, S>(
    limiter: &RateLimiter<S>,
    pause: Duration,
    mut one_try: impl FnMut() -> (ResponseMeta, Result<T, Failure<E>>),
) -> Result<T, CallError> {
    let mut history = History::default();
    let mut delay = Delay::new(limiter.now(), pause);
    loop {
        let permit = limiter.acquire(delay)?;
        let (meta, result) = one_try();
        let failure = match result {
            Ok(value) => {
                limiter.release(permit, RequestOutcome::Through, meta, None);
                return Ok(value);
            }
            Err(failure) => failure,
        };
        let decision = history.decide(failure, limiter.moment());
        let (outcome, said) = (decision.outcome, decision.said);
        let next = match decision.next {
            AfterFailure::Again(delay) => Ok(delay),
            AfterFailure::GiveUp(reason) => Err(CallError::GivenUp(reason)),
            AfterFailure::Stop(error) => {
                // Before the release, so that no other request begins in between.
                limiter.stop(error.into());
                Err(CallError::Stopped)
            }
        };
        let patience = limiter.release(permit, outcome, meta, said.as_deref());
        delay = next?;
        // After the release, because the log may be slow.
        tell(outcome, &said.unwrap_or_default(), delay.length(), patience);
    }
}

/// With `patience`, a failure is logged as a warning.
fn tell(outcome: RequestOutcome, said: &str, pause: Duration, patience: Option<Duration>) {
    let seconds = pause.as_secs_f64();
    match (outcome, patience) {
        (RequestOutcome::Unheard, _) => {}
        (RequestOutcome::Through, _) => warn!("{said}; again in {seconds:.1} s"),
        (RequestOutcome::Failed, Some(patience)) => warn!(
            "a request failed ({said}); it is repeated until a request succeeds, for {} s at most (max_outage)",
            patience.as_secs()
        ),
        (RequestOutcome::Failed, None) => debug!("a request failed ({said}); again in {seconds:.1} s"),
        (RequestOutcome::Locked(_), _) => warn!("{said}: one request at a time, the next one in {seconds:.1} s"),
        (RequestOutcome::Limited { .. }, _) => warn!("{said}: no request for {seconds:.1} s"),
    }
}

#[cfg(test)]
mod tests;
