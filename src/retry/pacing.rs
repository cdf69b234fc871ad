//! Decides who may send now. All callers share its state. Pure; `now` is the time since the start of the run.
//!
//! - Normally all callers send, but never more than the limit in any hour (`hour`).
//! - During an announced pause (429) no caller sends. If the server announces what is left of its limit, no more than
//!   that is sent, and the last part slowly (`quota`).
//! - If the cohort is locked (423), or several requests fail in a row, one request at a time is sent, a second or more
//!   apart, until one succeeds. Then all callers send again.

use std::time::Duration;

mod hour;
mod quota;

use hour::Hour;
pub use quota::QuotaHint;
use quota::{Left, Quota};

/// How many failures in a row, over all callers, make an outage. If 5 % of requests fail, three in a row happen by
/// chance once in 8,000 requests.
const OUTAGE_AFTER: u32 = 3;
const FIRST_PROBE: Duration = Duration::from_secs(1);
/// With this value the former rate is back within ten seconds after an outage.
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

/// How a request ended, as far as other callers need to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// It got through: the server accepted it, or refused its content.
    Through,
    /// The idle connection was closed. This says nothing about the server.
    Unheard,
    /// It did not get through.
    Failed,
    /// The cohort is locked. No try before this time.
    Locked(Duration),
    /// Too many requests.
    Limited {
        /// When the pause ends.
        until: Duration,
        /// Whether the server named the time. If it did not, the pause counts as an outage.
        announced: bool,
    },
}

/// Allows one request. Permits are numbered in the order in which requests begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permit(u64);

/// The pause of one caller before its next try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delay {
    /// Not before this time.
    pub until: Duration,
    /// When that was decided.
    pub since: Duration,
    /// The server named the time, so it holds also if other requests succeed.
    pub announced: bool,
}

impl Delay {
    /// A pause of this length from now on.
    pub fn new(now: Duration, length: Duration) -> Self {
        Self { until: now.saturating_add(length), since: now, announced: false }
    }

    /// Its length.
    pub fn length(self) -> Duration {
        self.until.saturating_sub(self.since)
    }
}

/// What else an answer, or its absence, shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseMeta {
    /// Whether there was any answer.
    pub answered: bool,
    /// What is left of the server's limit.
    pub quota: Option<QuotaHint>,
    /// The server may have read the request, and apply it later.
    pub unanswered: Option<Unanswered>,
}

/// How an unanswered try ended. At least a part of it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The answer took too long.
    TimedOut,
    /// The connection broke.
    Broke,
}

impl ResponseMeta {
    /// There was no answer.
    pub const NOTHING: Self = Self { answered: false, quota: None, unanswered: None };
}

#[derive(Clone, Copy, Debug, Default)]
struct Alone {
    not_before: Duration,
    /// The success of this permit or a later one ends it. Earlier requests may have begun before a lock.
    ended_by: u64,
}

/// The state of all callers.
#[derive(Debug)]
pub struct Pacing {
    in_flight: usize,
    pause_until: Duration,
    /// The same, as far as the server named it.
    announced_until: Duration,
    hour: Hour,
    quota: Option<Quota>,
    /// Set in an outage, and while the cohort is locked.
    alone: Option<Alone>,
    next_permit: u64,
    /// When the latest outage or lock ended. Earlier delays no longer count.
    lifted: Duration,
    failures_in_a_row: u32,
    /// There was a 429 since the latest success.
    limited: bool,
    successes: u64,
    answered: bool,
    /// The latest time without an outage: of a success, or the end of an announced pause.
    well_until: Duration,
    max_outage: Duration,
}

/// Before the first answer the address may be wrong, which should show sooner.
const MAX_OUTAGE_UNANSWERED: Duration = Duration::from_mins(1);

impl Pacing {
    /// The state before the first request.
    pub fn new(max_outage: Duration, max_requests_per_hour: u64) -> Self {
        Self {
            in_flight: 0,
            pause_until: Duration::ZERO,
            announced_until: Duration::ZERO,
            hour: Hour::new(max_requests_per_hour),
            quota: None,
            alone: None,
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

    /// Whether a caller with this pause may begin its request.
    pub fn ask(&mut self, now: Duration, delay: Delay) -> Admission {
        let alone = self.alone.map(|alone| alone.not_before);
        let own_delay = match alone {
            _ if delay.announced => delay.until,
            // The pause of the outage replaces the caller's.
            Some(not_before) => not_before,
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

    /// When the limits next allow a request; zero if they do now.
    fn kept_free(&mut self, now: Duration) -> Duration {
        let hour = Some(self.hour.free_at(now)).filter(|time| *time > now).unwrap_or_default();
        match self.quota.as_mut().map(|quota| quota.ask(now, self.in_flight)) {
            Some(Left::Nothing(time)) => hour.max(time),
            _ => hour,
        }
    }

    /// When the server and our own hourly limit next allow a request.
    pub fn paused_until(&mut self, now: Duration) -> Duration {
        self.announced_until.max(self.kept_free(now))
    }

    /// When our own hourly limit next allows a request.
    pub fn hour_free_at(&self, now: Duration) -> Duration {
        self.hour.free_at(now)
    }

    /// Begins a request. Its permit must be given back when it ends.
    pub fn begin(&mut self, now: Duration) -> Permit {
        if self.in_flight == 0 && self.failures_in_a_row == 0 && self.alone.is_none() {
            // Idle time is no outage.
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

    /// Ends a request.
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
            RequestOutcome::Locked(until) => self.send_alone(until, self.next_permit),
            RequestOutcome::Limited { until, announced } => {
                // The backoff may be almost zero, which is acceptable only the first time.
                let again = self.limited && !announced;
                let until = if again { until.max(now + FIRST_PROBE) } else { until };
                self.pause_until = self.pause_until.max(until);
                if announced {
                    self.announced_until = self.announced_until.max(until);
                    self.excuse(until);
                } else {
                    // The end of the pause is unknown, so only one caller tries.
                    self.send_alone(until, 0);
                }
                self.limited = true;
                self.failures_in_a_row = self.failures_in_a_row.max(1);
            }
        }
    }

    fn send_alone(&mut self, not_before: Duration, ended_by: u64) {
        let before = self.alone.unwrap_or_default();
        let (not_before, ended_by) = (before.not_before.max(not_before), before.ended_by.max(ended_by));
        self.alone = Some(Alone { not_before, ended_by });
    }

    /// An announced pause is no outage, unless there was no success since the last one.
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
        if self.alone.take_if(|alone| permit.0 >= alone.ended_by).is_some() {
            self.lifted = now;
        }
    }

    fn failed(&mut self, now: Duration) {
        self.failures_in_a_row += 1;
        if self.alone.is_some_and(|alone| alone.ended_by == 0) || self.failures_in_a_row >= OUTAGE_AFTER {
            let probes = self.failures_in_a_row.saturating_sub(OUTAGE_AFTER).min(8);
            self.send_alone(now + (FIRST_PROBE * (1 << probes)).min(LAST_PROBE), 0);
        }
    }

    /// How many requests have succeeded so far.
    pub fn successes(&self) -> u64 {
        self.successes
    }

    /// The time without a successful request, if it is too long.
    pub fn outage(&self, now: Duration) -> Option<Duration> {
        now.checked_sub(self.well_until).filter(|outage| *outage >= self.patience())
    }

    /// The longest time without a successful request.
    pub fn patience(&self) -> Duration {
        if self.answered { self.max_outage } else { self.max_outage.min(MAX_OUTAGE_UNANSWERED) }
    }

    /// Whether the server has ever answered.
    pub fn answered(&self) -> bool {
        self.answered
    }
}

#[cfg(test)]
mod tests;
