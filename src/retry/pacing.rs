//! Who may send now: the state that all callers share. Pure, with `now` as the time since the start of the run.
//!
//! - While all is well, whoever has work sends, but never more than the limit in any hour (`hour`).
//! - In an announced pause (429) nobody sends. If the server says how much is left of its limit, no more is sent than that,
//!   and the last of it slowly (`quota`).
//! - If what is asked for is locked (423), or one failure follows another without anything getting through, one request at
//!   a time is sent, a second or more apart, until one succeeds. Then everybody sends again.

use std::time::Duration;

mod hour;
mod quota;

use hour::Hour;
pub use quota::QuotaHint;
use quota::{Left, Quota};

/// Failures in a row, over all workers, that make an outage. Three by chance, at 5 % of failures: once in 8,000 requests.
const OUTAGE_AFTER: u32 = 3;
const FIRST_PROBE: Duration = Duration::from_secs(1);
/// Short enough to be back at the former rate within ten seconds after an outage.
const LAST_PROBE: Duration = Duration::from_secs(5);

/// Whether a request may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Now.
    Go,
    /// Not before this time.
    NotBefore(Duration),
    /// When another request has ended.
    AfterAnother,
}

/// How a request ended, as far as the others have to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// Something got through: the server took it, or refused it for what it is.
    Through,
    /// Nobody heard it, which says nothing of the server: the idle connection was gone.
    Unheard,
    /// Nothing got through.
    Failed,
    /// Locked; not before this time again.
    Locked(Duration),
    /// Too many requests; not before this time again.
    Limited {
        /// When the pause ends.
        until: Duration,
        /// The server named the time. A pause of our own making is no excuse for an outage.
        announced: bool,
    },
}

/// Allows one request. They are numbered in the order in which they begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permit(u64);

/// How long a caller wants to wait, and since when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delay {
    /// Not before this time.
    pub until: Duration,
    /// When that was decided.
    pub since: Duration,
    /// The server named the time, so it holds whatever happens to others.
    pub announced: bool,
}

impl Delay {
    /// So long from now on.
    pub fn new(now: Duration, length: Duration) -> Self {
        Self { until: now.saturating_add(length), since: now, announced: false }
    }

    /// How long it is.
    pub fn length(self) -> Duration {
        self.until.saturating_sub(self.since)
    }
}

/// What an answer, or its absence, says beside how the request ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseMeta {
    /// The server said anything at all.
    pub answered: bool,
    /// What it said of its limit.
    pub quota: Option<QuotaHint>,
    /// It may have heard the request, and take it later.
    pub unanswered: Option<Unanswered>,
}

/// How a try ended that was sent, or a part of it, and not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The answer took too long.
    TimedOut,
    /// The connection broke.
    Broke,
}

impl ResponseMeta {
    /// Not a word.
    pub const NOTHING: Self = Self { answered: false, quota: None, unanswered: None };
}

/// A lock that the server has told of.
#[derive(Clone, Copy, Debug)]
struct Lock {
    not_before: Duration,
    /// Only the success of a request that began after the lock was noted lifts it.
    lifted_by: u64,
}

/// The state.
#[derive(Debug)]
pub struct Pacing {
    in_flight: usize,
    pause_until: Duration,
    hour: Hour,
    quota: Option<Quota>,
    /// In an outage: one request at a time, not before this time.
    probe: Option<Duration>,
    lock: Option<Lock>,
    next_permit: u64,
    /// When the latest outage or lock was over. Delays from before it do not count any more.
    lifted: Duration,
    failures_in_a_row: u32,
    /// Refused for the rate since the latest success.
    limited: bool,
    successes: u64,
    answered: bool,
    /// The latest time at which all was well, or an announced pause ended.
    well_until: Duration,
    max_outage: Duration,
}

/// Before the server's first answer an outage is rather a wrong address, which should be found out sooner.
const MAX_OUTAGE_UNANSWERED: Duration = Duration::from_mins(1);

impl Pacing {
    /// Nothing was sent yet.
    pub fn new(max_outage: Duration, max_requests_per_hour: u64) -> Self {
        Self {
            in_flight: 0,
            pause_until: Duration::ZERO,
            hour: Hour::new(max_requests_per_hour),
            quota: None,
            probe: None,
            lock: None,
            next_permit: 0,
            lifted: Duration::ZERO,
            failures_in_a_row: 0,
            limited: false,
            successes: 0,
            answered: false,
            well_until: Duration::ZERO,
            max_outage,
        }
    }

    /// Whether a request may begin now whose caller wants to wait.
    pub fn ask(&mut self, now: Duration, delay: Delay) -> Admission {
        let alone = self.probe.max(self.lock.map(|lock| lock.not_before));
        let own_delay = match alone {
            _ if delay.announced => delay.until,
            // The probe's own pace takes the place of the caller's.
            Some(probe) => probe,
            None if delay.since < self.lifted => Duration::ZERO,
            None => delay.until,
        };
        let kept_free = self.kept_free(now);
        self.excuse(kept_free);
        let (spread, is_used_up) = match self.quota.as_mut().map(|quota| quota.ask(now, self.in_flight)) {
            Some(Left::From(time)) => (time, false),
            Some(Left::AfterAnother) => (now, true),
            Some(Left::Nothing(_)) | None => (now, false),
        };
        let not_before = own_delay.max(alone.unwrap_or_default()).max(self.pause_until).max(kept_free).max(spread);
        if now < not_before {
            Admission::NotBefore(not_before)
        } else if (alone.is_some() || is_used_up) && self.in_flight > 0 {
            Admission::AfterAnother
        } else {
            Admission::Go
        }
    }

    /// Until when the limits of the hour allow nobody anything; zero where they do.
    fn kept_free(&mut self, now: Duration) -> Duration {
        let hour = Some(self.hour.free_at(now)).filter(|time| *time > now).unwrap_or_default();
        match self.quota.as_mut().map(|quota| quota.ask(now, self.in_flight)) {
            Some(Left::Nothing(time)) => hour.max(time),
            _ => hour,
        }
    }

    /// Until when the server, or our own limit an hour, keeps everybody from sending.
    pub fn paused_until(&mut self, now: Duration) -> Duration {
        self.pause_until.max(self.kept_free(now))
    }

    /// A request begins. Its permit is to be given back when it ends.
    pub fn begin(&mut self, now: Duration) -> Permit {
        if self.in_flight == 0 && self.failures_in_a_row == 0 && self.lock.is_none() {
            // Time in which there was nothing to send is no outage.
            self.well_until = self.well_until.max(now);
        }
        self.hour.count(now);
        if let Some(quota) = &mut self.quota {
            quota.begin(now, self.in_flight);
        }
        self.in_flight += 1;
        self.next_permit += 1;
        Permit(self.next_permit - 1)
    }

    /// A request has ended.
    pub fn end(&mut self, now: Duration, permit: Permit, outcome: RequestOutcome, meta: ResponseMeta) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.answered |= meta.answered;
        match (&mut self.quota, meta.quota) {
            (Some(quota), Some(hint)) => quota.hear(hint, now),
            (None, Some(hint)) => self.quota = Some(Quota::new(hint, now)),
            (Some(quota), None) if meta.answered && quota.is_unheard() => self.quota = None,
            (Some(quota), None) => quota.hear_nothing(),
            (None, None) => {}
        }
        match outcome {
            RequestOutcome::Unheard => {}
            RequestOutcome::Through => self.succeeded(now, permit),
            RequestOutcome::Failed => self.failed(now),
            RequestOutcome::Locked(until) => {
                let not_before = self.lock.map_or(until, |lock| lock.not_before.max(until));
                self.lock = Some(Lock { not_before, lifted_by: self.next_permit });
            }
            RequestOutcome::Limited { until, announced } => {
                // The backoff may be next to nothing: once for a chance, but not again and again.
                let again = self.limited && !announced;
                let until = if again { until.max(now + FIRST_PROBE) } else { until };
                self.pause_until = self.pause_until.max(until);
                if announced {
                    self.excuse(until);
                } else {
                    // Nobody knows when it is over: one tries, not all at once.
                    self.probe = self.probe.max(Some(until));
                }
                self.limited = true;
                self.failures_in_a_row = self.failures_in_a_row.max(1);
            }
        }
    }

    /// What we are told to wait for is no outage; but being told so again and again, without anything getting through, is.
    fn excuse(&mut self, until: Duration) {
        if !self.limited {
            self.well_until = self.well_until.max(until);
        }
    }

    fn succeeded(&mut self, now: Duration, permit: Permit) {
        self.limited = false;
        self.successes += 1;
        self.failures_in_a_row = 0;
        self.well_until = self.well_until.max(now);
        if self.probe.take().is_some() {
            self.lifted = now;
        }
        if self.lock.is_some_and(|lock| permit.0 >= lock.lifted_by) {
            self.lock = None;
            self.lifted = now;
        }
    }

    fn failed(&mut self, now: Duration) {
        self.failures_in_a_row += 1;
        if self.probe.is_some() || self.failures_in_a_row >= OUTAGE_AFTER {
            let probes = self.failures_in_a_row.saturating_sub(OUTAGE_AFTER).min(8);
            let wait = (FIRST_PROBE * (1 << probes)).min(LAST_PROBE);
            self.probe = Some(self.probe.unwrap_or_default().max(now + wait));
        }
    }

    /// How many requests got through so far.
    pub fn successes(&self) -> u64 {
        self.successes
    }

    /// For how long nothing has got through, where that is too long.
    pub fn outage(&self, now: Duration) -> Option<Duration> {
        now.checked_sub(self.well_until).filter(|outage| *outage >= self.patience())
    }

    /// How long nothing may get through.
    pub fn patience(&self) -> Duration {
        if self.answered { self.max_outage } else { self.max_outage.min(MAX_OUTAGE_UNANSWERED) }
    }

    /// Whether the server has ever said anything.
    pub fn answered(&self) -> bool {
        self.answered
    }
}

#[cfg(test)]
mod tests;
