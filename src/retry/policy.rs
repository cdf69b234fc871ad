//! Decides when a call is tried again.
//!
//! - Again after 0.5 s, doubling up to 30 s, with full jitter: spread evenly from zero, so that callers that failed
//!   together do not come back together.
//! - If the answer names a time (`Retry-After`), that replaces the delay.
//! - Locked (423): after 1 s, doubling up to 60 s, or at the announced time within these bounds. One call at a time.
//! - If the server had closed an idle connection, it is replaced once, without a delay.
//! - A call that has failed 10 times while others got through is given up. If no call gets through, that is an outage,
//!   and `max_outage` ends the run instead.
//! - An answer that is not HTTP, or not from this server, is final after three tries.
//! - After a success that names errors, the call is tried once more, then given up.
//!
//! Pure: time and chance are arguments.

use std::time::Duration;

use super::pacing::{Delay, RequestOutcome};

/// How many failures, while other calls get through, until a call is given up.
pub const MAX_FAILURES: u32 = 10;
/// How many unintelligible answers in a row end the run.
const MAX_UNINTELLIGIBLE: u32 = 3;

const FIRST_DELAY: Duration = Duration::from_millis(500);
const LAST_DELAY: Duration = Duration::from_secs(30);
const FIRST_LOCKED_DELAY: Duration = Duration::from_secs(1);
const LAST_LOCKED_DELAY: Duration = Duration::from_mins(1);

/// Why a try has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure<E> {
    /// The idle connection was closed. Try again at once.
    AgainAtOnce,
    /// Try again, not before the announced pause.
    Again {
        /// What went wrong.
        said: String,
        /// The announced pause.
        pause: Option<Duration>,
    },
    /// The answer broke off, so the server is not down. Try again.
    BrokeOff(String),
    /// A success that acknowledges nothing. Try once more, then give the call up.
    NotAcknowledged(String),
    /// An answer that this server would not send. Final after three tries.
    Unintelligible {
        /// What is wrong with it.
        said: String,
        /// The final error.
        error: E,
    },
    /// Locked. One call at a time, not before the announced pause.
    Locked {
        /// The announced pause.
        pause: Option<Duration>,
    },
    /// Too many requests.
    Limited {
        /// The announced pause.
        pause: Option<Duration>,
    },
    /// Ends the run.
    Final(E),
}

impl<E> Failure<E> {
    /// Changes the final error.
    pub fn map_error<F>(self, change: impl FnOnce(E) -> F) -> Failure<F> {
        match self {
            Self::AgainAtOnce => Failure::AgainAtOnce,
            Self::Again { said, pause } => Failure::Again { said, pause },
            Self::BrokeOff(said) => Failure::BrokeOff(said),
            Self::NotAcknowledged(said) => Failure::NotAcknowledged(said),
            Self::Unintelligible { said, error } => Failure::Unintelligible { said, error: change(error) },
            Self::Locked { pause } => Failure::Locked { pause },
            Self::Limited { pause } => Failure::Limited { pause },
            Self::Final(error) => Failure::Final(change(error)),
        }
    }
}

/// Why a call is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// It failed [`MAX_FAILURES`] times while others got through. Contains the last failure.
    Failed(String),
    /// It was answered twice, but not acknowledged. Contains the last answer's message.
    NotAcknowledged(String),
}

impl GivenUp {
    /// The last failure.
    pub fn into_said(self) -> String {
        match self {
            Self::Failed(said) | Self::NotAcknowledged(said) => said,
        }
    }
}

/// The circumstances at the end of a try.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time since the start of the run.
    pub now: Duration,
    /// How many requests of all calls have succeeded so far.
    pub successes: u64,
    /// A random number, 0 to 1.
    pub chance: f64,
}

/// What follows from a failed try.
#[derive(Debug, PartialEq, Eq)]
pub struct Decision<E> {
    /// The outcome for the other callers.
    pub outcome: RequestOutcome,
    /// What went wrong, for the log.
    pub said: Option<String>,
    /// What happens next.
    pub next: AfterFailure<E>,
}

/// What happens after a failed try.
#[derive(Debug, PartialEq, Eq)]
pub enum AfterFailure<E> {
    /// Another try.
    Again(Delay),
    /// This call ends.
    GiveUp(GivenUp),
    /// The run ends.
    Stop(E),
}

/// The failures of one call so far.
#[derive(Debug, Default)]
pub struct History {
    failures: u32,
    failures_while_others_got_through: u32,
    successes_seen: u64,
    unintelligible: u32,
    locks: u32,
    limits: u32,
    was_stale: bool,
    was_not_acknowledged: bool,
}

impl History {
    /// Decides by the latest failure and the earlier ones.
    pub fn decide<E>(&mut self, failure: Failure<E>, at: Moment) -> Decision<E> {
        if !matches!(failure, Failure::Unintelligible { .. }) {
            self.unintelligible = 0;
        }
        match failure {
            Failure::AgainAtOnce if !std::mem::replace(&mut self.was_stale, true) => {
                Decision::again(RequestOutcome::Unheard, None, Delay::new(at.now, Duration::ZERO))
            }
            Failure::AgainAtOnce => self.failed("the idle connection was closed again".to_owned(), None, at),
            Failure::Again { said, pause } => self.failed(said, pause, at),
            Failure::BrokeOff(said) => {
                self.failures_while_others_got_through += 1;
                self.backoff(RequestOutcome::Through, said, None, at)
            }
            Failure::NotAcknowledged(said) if self.was_not_acknowledged => {
                let next = AfterFailure::GiveUp(GivenUp::NotAcknowledged(said));
                Decision { outcome: RequestOutcome::Through, said: None, next }
            }
            Failure::NotAcknowledged(said) => {
                self.was_not_acknowledged = true;
                let said = format!("answered without acknowledging ({said})");
                Decision::again(RequestOutcome::Through, Some(said), Delay::new(at.now, Duration::ZERO))
            }
            Failure::Unintelligible { error, .. } if self.unintelligible + 1 >= MAX_UNINTELLIGIBLE => {
                Decision::stop(error)
            }
            Failure::Unintelligible { said, .. } => {
                self.unintelligible += 1;
                self.failed(said, None, at)
            }
            Failure::Locked { pause } => {
                self.locks += 1;
                let delay = Delay::new(at.now, locked_delay(self.locks, pause));
                Decision::again(RequestOutcome::Locked(delay.until), Some("locked (423)".to_owned()), delay)
            }
            Failure::Limited { pause } => {
                self.limits += 1;
                let delay = at.delay(pause, self.limits);
                let outcome = RequestOutcome::Limited { until: delay.until, announced: delay.announced };
                Decision::again(outcome, Some("rate limit (429)".to_owned()), delay)
            }
            Failure::Final(error) => Decision::stop(error),
        }
    }

    fn failed<E>(&mut self, said: String, pause: Option<Duration>, at: Moment) -> Decision<E> {
        if self.failures == 0 || at.successes > self.successes_seen {
            self.failures_while_others_got_through += 1;
        }
        self.backoff(RequestOutcome::Failed, said, pause, at)
    }

    fn backoff<E>(
        &mut self,
        outcome: RequestOutcome,
        said: String,
        pause: Option<Duration>,
        at: Moment,
    ) -> Decision<E> {
        self.failures += 1;
        // A broken download counts as this call's own success.
        self.successes_seen = at.successes + u64::from(outcome == RequestOutcome::Through);
        let next = if self.failures_while_others_got_through >= MAX_FAILURES {
            AfterFailure::GiveUp(GivenUp::Failed(said.clone()))
        } else {
            AfterFailure::Again(at.delay(pause, self.failures))
        };
        Decision { outcome, said: Some(said), next }
    }
}

impl<E> Decision<E> {
    fn again(outcome: RequestOutcome, said: Option<String>, delay: Delay) -> Self {
        Self { outcome, said, next: AfterFailure::Again(delay) }
    }

    /// A final failure is no outage.
    fn stop(error: E) -> Self {
        Self { outcome: RequestOutcome::Through, said: None, next: AfterFailure::Stop(error) }
    }
}

impl Moment {
    /// The announced pause, or the delay after this many failures.
    fn delay(self, announced: Option<Duration>, failures: u32) -> Delay {
        let length = announced.unwrap_or_else(|| delay(failures, self.chance));
        Delay { announced: announced.is_some(), ..Delay::new(self.now, length) }
    }
}

/// The delay before try number `failures + 1`; `chance` is from 0 to 1.
fn delay(failures: u32, chance: f64) -> Duration {
    doubled(FIRST_DELAY, failures, LAST_DELAY).mul_f64(chance.clamp(0.0, 1.0))
}

/// The delay after a lock, 1 to 60 s. `announced` is the pause in the answer.
fn locked_delay(failures: u32, announced: Option<Duration>) -> Duration {
    let delay = announced.unwrap_or_else(|| doubled(FIRST_LOCKED_DELAY, failures, LAST_LOCKED_DELAY));
    delay.clamp(FIRST_LOCKED_DELAY, LAST_LOCKED_DELAY)
}

fn doubled(first: Duration, failures: u32, last: Duration) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (first * (1 << doublings)).min(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(1, 1.0, 500)]
    #[case(2, 1.0, 1_000)]
    #[case(3, 0.5, 1_000)]
    #[case(7, 1.0, 30_000)]
    #[case(100, 1.0, 30_000)]
    #[case(5, 0.0, 0)]
    fn delays_double_up_to_thirty_seconds(#[case] failures: u32, #[case] chance: f64, #[case] millis: u64) {
        assert_eq!(delay(failures, chance).as_millis(), u128::from(millis));
    }

    #[rstest]
    #[case(1, None, 1)]
    #[case(4, None, 8)]
    #[case(9, None, 60)]
    #[case(1, Some(7), 7)]
    #[case(1, Some(0), 1)]
    #[case(1, Some(600), 60)]
    fn a_lock_is_waited_for_between_one_second_and_sixty(
        #[case] failures: u32,
        #[case] asked_for: Option<u64>,
        #[case] seconds: u64,
    ) {
        assert_eq!(locked_delay(failures, asked_for.map(Duration::from_secs)).as_secs(), seconds);
    }

    /// After how many failures a call is given up, if this many others succeed before each.
    fn given_up_after(others: u64) -> Option<u64> {
        let mut history = History::default();
        (1..=50).find(|tries| {
            let at = Moment { now: Duration::ZERO, successes: tries * others, chance: 1.0 };
            let failure = Failure::<()>::Again { said: "status 503".to_owned(), pause: None };
            history.decide(failure, at).next == AfterFailure::GiveUp(GivenUp::Failed("status 503".to_owned()))
        })
    }

    #[rstest]
    #[case::others_get_through(1, Some(10))]
    #[case::no_others_do(0, None)]
    fn a_call_is_given_up_after_ten_failures_while_others_get_through(
        #[case] others: u64,
        #[case] expected: Option<u64>,
    ) {
        assert_eq!(given_up_after(others), expected);
    }

    #[test]
    fn a_second_stale_connection_is_a_failure() {
        let mut history = History::default();
        let at = Moment { now: Duration::ZERO, successes: 0, chance: 1.0 };
        let mut outcome = || history.decide(Failure::<()>::AgainAtOnce, at).outcome;
        assert_eq!((outcome(), outcome()), (RequestOutcome::Unheard, RequestOutcome::Failed));
    }
}
