//! The requests of a rolling hour, counted in slots of ten seconds. A slot counts until its end is an hour ago, so no
//! hour has more than the limit, and at most 0.3 % of the limit is lost.

use std::collections::VecDeque;
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);
const SLOT: Duration = Duration::from_secs(10);

/// Counts requests against a limit for each hour.
#[derive(Debug)]
pub struct Hour {
    limit: u64,
    /// The slots that may still count, the oldest first: number, and requests that began in it.
    slots: VecDeque<(u64, u64)>,
    used: u64,
}

impl Hour {
    /// A counter of no requests; `limit` is at least 1.
    pub fn new(limit: u64) -> Self {
        Self { limit, slots: VecDeque::new(), used: 0 }
    }

    /// When a request may begin: now, or later.
    pub fn free_at(&self, now: Duration) -> Duration {
        let mut used = self.used;
        let mut free_at = now;
        for &(slot, count) in &self.slots {
            if used < self.limit && forgotten_at(slot) > now {
                break;
            }
            used -= count;
            free_at = free_at.max(forgotten_at(slot));
        }
        free_at
    }

    /// Counts a request.
    pub fn count(&mut self, now: Duration) {
        while let Some(&(slot, count)) = self.slots.front()
            && forgotten_at(slot) <= now
        {
            self.used -= count;
            self.slots.pop_front();
        }
        let this = now.as_secs() / SLOT.as_secs();
        match self.slots.back_mut() {
            Some((slot, count)) if *slot == this => *count += 1,
            _ => self.slots.push_back((this, 1)),
        }
        self.used += 1;
    }
}

fn forgotten_at(slot: u64) -> Duration {
    Duration::from_secs((slot + 1) * SLOT.as_secs()) + HOUR
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_burst_is_let_through_and_the_next_request_waits_for_the_hour_to_pass() {
        let mut hour = Hour::new(3);
        for now in [1, 2, 25] {
            assert_eq!(hour.free_at(at(now)), at(now));
            hour.count(at(now));
        }
        assert_eq!(hour.free_at(at(30)), at(3610));
        assert_eq!(hour.free_at(at(3610)), at(3610));
        hour.count(at(3611));
        hour.count(at(3612));
        assert_eq!(hour.free_at(at(3613)), at(3630));
        assert_eq!(hour.free_at(at(9000)), at(9000));
    }

    #[test]
    fn at_least_97_percent_of_every_hour_is_used_if_there_is_work() {
        let (limit, mut hour, mut now, mut begun) = (2_000, Hour::new(2_000), Duration::ZERO, 0_u32);
        while now < at(10 * 3600) {
            hour.count(now);
            begun += 1;
            now = hour.free_at(now + Duration::from_millis(10));
        }
        assert!(f64::from(begun) >= 0.97 * f64::from(limit * 10), "{begun}");
    }

    proptest! {
        #[test]
        fn no_rolling_hour_has_more_than_the_limit(limit in 1_u64..20, gaps in prop::collection::vec(0_u64..900_000, 1..200)) {
            let mut hour = Hour::new(limit);
            let (mut now, mut begun) = (Duration::ZERO, Vec::new());
            for gap in gaps {
                now = hour.free_at(now + Duration::from_millis(gap));
                hour.count(now);
                begun.push(now);
            }
            for (first, start) in begun.iter().enumerate() {
                let within = begun[first..].iter().filter(|time| **time < *start + HOUR).count() as u64;
                prop_assert!(within <= limit, "{within} in an hour");
            }
        }
    }
}
