//! What Braze says of its own limit in the headers of its answers: so many requests are left until a time. No request is sent
//! that is not left, and the last tenth is spread over the time, so that no answer is a 429. Others may share the limit (30
//! tasks of one account): the share that is not ours is told from how much faster it melts than we send, and one other is
//! allowed for until then. When the time is over, one request finds out what is left in the next period.

use std::time::Duration;

/// What an answer says of the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Requests in all; zero where it is not said.
    pub limit: u64,
    /// Requests that are left.
    pub remaining: u64,
    /// How long until they are counted anew.
    pub resets_in: Duration,
    /// When that is, in UTC epoch seconds, which tells one period from the next.
    pub reset_at: u64,
}

/// From here on requests are spread: a tenth of the limit.
const SCARCE: u64 = 10;
/// What is left for others of whom nothing is known: so many-th of the limit.
const KEPT_FOR_UNKNOWN: u64 = 50;
/// Periods whose ends are so close are the same one, rounded differently.
const SAME_PERIOD_SECONDS: u64 = 1;

/// The requests that are left in the current period, as far as known.
#[derive(Debug)]
pub struct Quota {
    limit: u64,
    remaining: u64,
    resets: Duration,
    reset_at: u64,
    /// How many were left when the period was first heard of, and how many of ours have ended since.
    first_remaining: u64,
    ended: u64,
    /// How many shared the limit in the period before; one other, where nobody knows yet.
    sharers_before: f64,
    /// While requests are spread: not before this time.
    next: Duration,
    /// A new period has begun, of which nobody has told us yet; others may have used it up already.
    is_unheard: bool,
}

/// When a request may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Now, or from this time on.
    From(Duration),
    /// When one of those in flight has ended; they may have used up what is left.
    AfterAnother,
    /// Not before the period is over.
    Nothing(Duration),
}

impl Quota {
    /// As the first answer of a period says.
    pub fn new(standing: Standing, now: Duration) -> Self {
        Self {
            limit: standing.limit,
            remaining: standing.remaining,
            resets: now + standing.resets_in,
            reset_at: standing.reset_at,
            first_remaining: standing.remaining,
            ended: 0,
            sharers_before: 2.0,
            next: Duration::ZERO,
            is_unheard: false,
        }
    }

    /// A later answer. Answers may come in another order than they were given.
    pub fn hear(&mut self, standing: Standing, now: Duration) {
        if self.is_unheard || standing.reset_at > self.reset_at + SAME_PERIOD_SECONDS {
            let sharers_before = if self.ended < 3 { self.sharers_before } else { self.told_sharers(0) };
            *self = Self { sharers_before, ..Self::new(standing, now) };
        } else if standing.reset_at + SAME_PERIOD_SECONDS >= self.reset_at {
            self.remaining = self.remaining.min(standing.remaining);
            self.ended += 1;
        }
    }

    /// A request has ended that said nothing of the limit; it may have counted.
    pub fn hear_nothing(&mut self) {
        self.remaining = self.remaining.saturating_sub(1);
        self.ended += 1;
    }

    /// Nobody tells us any more.
    pub fn is_unheard(&self) -> bool {
        self.is_unheard
    }

    /// When a request may begin, with so many others in flight.
    pub fn ask(&mut self, now: Duration, in_flight: usize) -> Left {
        self.is_unheard |= now >= self.resets;
        if self.is_unheard {
            return if in_flight > 0 { Left::AfterAnother } else { Left::From(now) };
        }
        // What is in flight may not be counted yet.
        if self.remaining > self.kept_for_others(in_flight) + in_flight as u64 {
            return Left::From(if self.is_scarce() { self.next } else { now });
        }
        if in_flight > 0 { Left::AfterAnother } else { Left::Nothing(self.resets) }
    }

    /// A request begins, with so many others in flight. `chance` is from 0 to 1: tasks that share the limit do not go in step.
    pub fn begin(&mut self, now: Duration, in_flight: usize, chance: f64) {
        if !self.is_scarce() || self.is_unheard {
            return;
        }
        let left = self.remaining.saturating_sub(self.kept_for_others(in_flight) + in_flight as u64);
        let gap = self.resets.saturating_sub(now).mul_f64(self.sharers(in_flight) / precise(left + 1));
        self.next = (now + gap.mul_f64(0.75 + chance / 2.0)).min(self.resets);
    }

    fn is_scarce(&self) -> bool {
        self.remaining < self.limit / SCARCE
    }

    /// How many tasks like this one seem to share the limit.
    fn sharers(&self, in_flight: usize) -> f64 {
        // Whoever has not come yet in this period may still come.
        self.told_sharers(in_flight).max(self.sharers_before)
    }

    fn told_sharers(&self, in_flight: usize) -> f64 {
        let used = self.first_remaining.saturating_sub(self.remaining);
        (precise(used) / precise((self.ended + in_flight as u64).max(1))).max(1.0)
    }

    /// Each of the others may have as much under way as we have, and as much again may have been counted while the answer was
    /// under way. Where we seem to be alone, a fiftieth of the limit for somebody who comes.
    fn kept_for_others(&self, in_flight: usize) -> u64 {
        let others = self.sharers(in_flight) - 1.0;
        let for_known = if others < 0.25 { 0 } else { rounded_up(others * 2.0 * precise(in_flight as u64 + 1)) };
        for_known.max(self.limit / KEPT_FOR_UNKNOWN)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
fn precise(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
fn rounded_up(count: f64) -> u64 {
    count.ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn standing(remaining: u64, resets_in: u64, reset_at: u64) -> Standing {
        Standing { limit: 100, remaining, resets_in: at(resets_in), reset_at }
    }

    #[test]
    fn no_more_is_sent_than_is_left() {
        let mut quota = Quota::new(standing(50, 60, 1060), at(0));
        quota.sharers_before = 1.0;
        assert_eq!(quota.ask(at(1), 47), Left::From(at(1)));
        assert_eq!(quota.ask(at(1), 48), Left::AfterAnother);
        quota.hear(standing(0, 59, 1060), at(1));
        assert_eq!(quota.ask(at(1), 0), Left::Nothing(at(60)));
        assert_eq!(quota.ask(at(60), 0), Left::From(at(60)));
        assert_eq!(quota.ask(at(60), 1), Left::AfterAnother, "one finds out what is left in the next period");
    }

    #[test]
    fn a_late_answer_does_not_give_back_what_is_used_and_a_new_period_counts_anew() {
        let mut quota = Quota::new(standing(20, 60, 1060), at(0));
        quota.hear(standing(15, 60, 1060), at(0));
        quota.hear(standing(18, 60, 1061), at(0));
        assert_eq!(quota.remaining, 15);
        quota.hear(standing(90, 60, 1000), at(0));
        assert_eq!(quota.remaining, 15, "an older period");
        quota.hear(standing(99, 60, 1120), at(60));
        assert_eq!(quota.remaining, 99);
        quota.hear_nothing();
        assert_eq!(quota.remaining, 98);
    }

    #[test]
    fn the_last_tenth_is_spread_over_the_time_that_is_left() {
        let mut quota = Quota::new(standing(10, 60, 1060), at(0));
        quota.begin(at(0), 0, 0.5);
        assert_eq!(quota.ask(at(0), 0), Left::From(at(0)), "a tenth is not yet scarce");
        quota.sharers_before = 1.0;
        quota.hear(standing(9, 60, 1060), at(0));
        quota.begin(at(0), 0, 0.5);
        assert_eq!(quota.ask(at(0), 1), Left::From(Duration::from_millis(7500)));
    }

    #[test]
    fn a_limit_that_melts_faster_than_we_send_is_shared() {
        let mut quota = Quota::new(standing(50, 60, 1060), at(0));
        quota.hear(standing(9, 60, 1060), at(0));
        assert!(quota.sharers(0) > 40.0);
        assert_eq!(quota.ask(at(1), 0), Left::Nothing(at(60)), "what is left is kept for those who are under way");
    }
}
