//! The limit that the server announces in headers: how many requests are left until a time. No more are sent, and the
//! last tenth is spread over the time, so that no answer is a 429. After that time one request finds out what is left
//! in the next period.

use std::time::Duration;

/// The announced limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaHint {
    /// Requests that are left.
    pub remaining: u64,
    /// How long until the count starts again.
    pub resets_in: Duration,
    /// When that is, in UTC epoch seconds. It identifies the period.
    pub reset_at: u64,
}

/// Requests are spread over time when only a tenth of the first announced number is left.
const SCARCE: u64 = 10;
/// Periods that end this close together are the same, rounded differently.
const SAME_PERIOD_SECONDS: u64 = 1;

/// What is left of the current period.
#[derive(Debug)]
pub struct Quota {
    remaining: u64,
    first_remaining: u64,
    resets: Duration,
    reset_at: u64,
    /// While requests are spread, none begins before this time.
    next: Duration,
    /// A period that no answer has announced yet. Other tasks may have used it up.
    is_unheard: bool,
}

/// When a request may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Now, or from this time on.
    From(Duration),
    /// When a request in flight has ended. Those in flight may use up what is left.
    AfterAnother,
    /// Not before the period is over.
    Nothing(Duration),
}

impl Quota {
    /// From the first answer of a period.
    pub fn new(hint: QuotaHint, now: Duration) -> Self {
        Self {
            remaining: hint.remaining,
            first_remaining: hint.remaining,
            resets: now.saturating_add(hint.resets_in),
            reset_at: hint.reset_at,
            next: Duration::ZERO,
            is_unheard: false,
        }
    }

    /// Takes a later answer. Answers may arrive out of order.
    pub fn hear(&mut self, hint: QuotaHint, now: Duration) {
        if self.is_unheard || hint.reset_at > self.reset_at.saturating_add(SAME_PERIOD_SECONDS) {
            *self = Self::new(hint, now);
        } else if hint.reset_at.saturating_add(SAME_PERIOD_SECONDS) >= self.reset_at {
            self.remaining = self.remaining.min(hint.remaining);
        }
    }

    /// A request ended without an announcement. It may have counted.
    pub fn hear_nothing(&mut self) {
        self.remaining = self.remaining.saturating_sub(1);
    }

    /// Whether no answer has announced the current period.
    pub fn is_unheard(&self) -> bool {
        self.is_unheard
    }

    /// When a request may begin, if this many others are in flight.
    pub fn ask(&mut self, now: Duration, in_flight: usize) -> Left {
        self.is_unheard |= now >= self.resets;
        // Requests in flight may not be counted yet.
        if !self.is_unheard && self.remaining > in_flight as u64 {
            Left::From(if self.is_scarce() { self.next } else { now })
        } else if in_flight > 0 {
            Left::AfterAnother
        } else if self.is_unheard {
            Left::From(now)
        } else {
            Left::Nothing(self.resets)
        }
    }

    /// Begins a request while this many others are in flight.
    pub fn begin(&mut self, now: Duration, in_flight: usize) {
        if self.is_scarce() && !self.is_unheard {
            let left = u32::try_from(self.remaining.saturating_sub(in_flight as u64)).unwrap_or(u32::MAX);
            self.next = now + self.resets.saturating_sub(now) / left.saturating_add(1);
        }
    }

    fn is_scarce(&self) -> bool {
        self.remaining < self.first_remaining / SCARCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn hint(remaining: u64, resets_in: u64, reset_at: u64) -> QuotaHint {
        QuotaHint { remaining, resets_in: at(resets_in), reset_at }
    }

    #[test]
    fn no_more_is_sent_than_is_left() {
        let mut quota = Quota::new(hint(50, 60, 1060), at(0));
        assert_eq!(quota.ask(at(1), 49), Left::From(at(1)));
        assert_eq!(quota.ask(at(1), 50), Left::AfterAnother);
        quota.hear(hint(0, 59, 1060), at(1));
        assert_eq!(quota.ask(at(1), 0), Left::Nothing(at(60)));
        assert_eq!(quota.ask(at(60), 0), Left::From(at(60)));
        assert_eq!(quota.ask(at(60), 1), Left::AfterAnother, "one finds out what is left in the next period");
    }

    #[test]
    fn a_late_answer_does_not_give_back_what_is_used_and_a_new_period_counts_anew() {
        let mut quota = Quota::new(hint(20, 60, 1060), at(0));
        quota.hear(hint(15, 60, 1060), at(0));
        quota.hear(hint(18, 60, 1061), at(0));
        assert_eq!(quota.remaining, 15);
        quota.hear(hint(90, 60, 1000), at(0));
        assert_eq!(quota.remaining, 15, "an older period");
        quota.hear(hint(99, 60, 1120), at(60));
        assert_eq!(quota.remaining, 99);
        quota.hear_nothing();
        assert_eq!(quota.remaining, 98);
    }

    #[test]
    fn the_last_tenth_is_spread_over_the_time_that_is_left() {
        let mut quota = Quota::new(hint(100, 60, 1060), at(0));
        quota.hear(hint(10, 60, 1060), at(0));
        quota.begin(at(0), 0);
        assert_eq!(quota.ask(at(0), 0), Left::From(at(0)), "a tenth is not yet scarce");
        quota.hear(hint(9, 60, 1060), at(0));
        quota.begin(at(0), 0);
        assert_eq!(quota.ask(at(0), 1), Left::From(at(6)));
    }

    #[test]
    fn what_others_use_is_known_from_the_next_answer_and_never_guessed() {
        let mut quota = Quota::new(hint(1000, 60, 1060), at(0));
        quota.hear(hint(500, 60, 1060), at(0));
        assert_eq!(quota.ask(at(1), 4), Left::From(at(1)));
    }

    /// The reader of the headers rejects such numbers, but this does not depend on it.
    #[rstest]
    #[case::then_ten(10)]
    #[case::then_a_thousand(1000)]
    #[case::still(u64::MAX)]
    fn numbers_without_bounds_overflow_nothing(#[case] then: u64) {
        let absurd = |remaining| QuotaHint { remaining, resets_in: Duration::MAX, reset_at: u64::MAX };
        let mut quota = Quota::new(absurd(u64::MAX), at(1));
        quota.hear(absurd(then), at(2));
        quota.begin(at(2), 0);
        assert!(matches!(quota.ask(at(2), 1), Left::From(_)));
        quota.hear_nothing();
        quota.begin(at(3), usize::MAX);
        assert_eq!(quota.ask(at(3), usize::MAX), Left::AfterAnother);
    }
}
