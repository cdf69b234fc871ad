//! Who may send now: the state that all workers share. Pure, with `now` as the time since the start of the run.
//!
//! - While all is well, whoever has work sends.
//! - In an announced pause (429) nobody sends.
//! - When the cohort is locked (423), or one failure follows another without anything getting through, one request at a
//!   time is sent, a second or more apart, until one succeeds. Then everybody sends again.

use std::time::Duration;

/// Failures in a row, over all workers, that make an outage. Three by chance, at 5 % of failures: once in 8,000 requests.
const OUTAGE_AFTER: u32 = 3;
const FIRST_PROBE: Duration = Duration::from_secs(1);
/// Short enough to be back at the former rate within ten seconds after an outage.
const LAST_PROBE: Duration = Duration::from_secs(5);

/// Whether a request may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Now.
    Go,
    /// Not before this time.
    NotBefore(Duration),
    /// When another request has ended.
    AfterAnother,
}

/// How a request ended, as far as the others have to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Something got through: Braze took it, or refused it for what it is.
    Through,
    /// Nobody heard it, which says nothing of Braze: the idle connection was gone.
    Unheard,
    /// Nothing got through.
    Failed,
    /// The cohort is locked; not before this time again.
    Locked(Duration),
    /// Too many requests; not before this time again.
    Limited {
        /// When the pause ends.
        until: Duration,
        /// Braze itself named the time. A pause of our own making is no excuse for an outage.
        announced: bool,
    },
}

/// The state.
#[derive(Debug)]
pub struct Pace {
    in_flight: usize,
    pause_until: Duration,
    /// One request at a time, not before this time.
    alone: Option<Duration>,
    failures_in_a_row: u32,
    successes: u64,
    answered: bool,
    /// The latest time at which all was well, or an announced pause ended.
    well_until: Duration,
    max_outage: Duration,
}

/// Before Braze's first answer an outage is rather a wrong address, which should be found out sooner.
const MAX_OUTAGE_UNANSWERED: Duration = Duration::from_mins(1);

impl Pace {
    /// With the longest time in which nothing may get through.
    pub fn new(max_outage: Duration) -> Self {
        Self {
            in_flight: 0,
            pause_until: Duration::ZERO,
            alone: None,
            failures_in_a_row: 0,
            successes: 0,
            answered: false,
            well_until: Duration::ZERO,
            max_outage,
        }
    }

    /// Whether a request that wants to begin at `earliest` may begin now.
    pub fn ask(&self, now: Duration, earliest: Duration) -> Turn {
        let not_before = match self.alone {
            // The probe's own pace takes the place of the batch's.
            Some(probe) => probe.max(self.pause_until),
            None => earliest.max(self.pause_until),
        };
        if now < not_before {
            Turn::NotBefore(not_before)
        } else if self.alone.is_some() && self.in_flight > 0 {
            Turn::AfterAnother
        } else {
            Turn::Go
        }
    }

    /// A request begins.
    pub fn begin(&mut self) {
        self.in_flight += 1;
    }

    /// A request has ended; `answered` says whether Braze said anything.
    pub fn end(&mut self, now: Duration, ended: Ended, answered: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.answered |= answered;
        match ended {
            Ended::Unheard => {}
            Ended::Through => {
                self.successes += 1;
                self.failures_in_a_row = 0;
                self.alone = None;
                self.well_until = self.well_until.max(now);
            }
            Ended::Failed => {
                self.failures_in_a_row += 1;
                if self.alone.is_some() || self.failures_in_a_row >= OUTAGE_AFTER {
                    let probes = self.failures_in_a_row.saturating_sub(OUTAGE_AFTER).min(8);
                    let wait = (FIRST_PROBE * (1 << probes)).min(LAST_PROBE);
                    self.alone = Some(self.alone.unwrap_or_default().max(now + wait));
                }
            }
            Ended::Locked(until) => self.alone = Some(self.alone.unwrap_or_default().max(until)),
            Ended::Limited { until, announced } => {
                self.pause_until = self.pause_until.max(until);
                if announced {
                    self.well_until = self.well_until.max(until);
                }
            }
        }
    }

    /// How many requests got through so far.
    pub fn successes(&self) -> u64 {
        self.successes
    }

    /// For how long nothing has got through, where that is too long.
    pub fn outage(&self, now: Duration) -> Option<Duration> {
        let limit = if self.answered { self.max_outage } else { self.max_outage.min(MAX_OUTAGE_UNANSWERED) };
        now.checked_sub(self.well_until).filter(|outage| *outage >= limit)
    }

    /// Whether Braze has ever said anything.
    pub fn answered(&self) -> bool {
        self.answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn failed(pace: &mut Pace, now: u64) {
        pace.begin();
        pace.end(at(now), Ended::Failed, true);
    }

    #[test]
    fn all_send_while_all_is_well_and_a_batch_keeps_to_its_own_delay() {
        let mut pace = Pace::new(at(900));
        for _ in 0..4 {
            assert_eq!(pace.ask(at(0), at(0)), Turn::Go);
            pace.begin();
        }
        assert_eq!(pace.ask(at(1), at(2)), Turn::NotBefore(at(2)));
    }

    #[test]
    fn nobody_sends_in_an_announced_pause_and_a_shorter_hint_does_not_shorten_it() {
        let mut pace = Pace::new(at(900));
        pace.begin();
        pace.end(at(1), Ended::Limited { until: at(31), announced: true }, true);
        pace.end(at(2), Ended::Limited { until: at(5), announced: true }, true);
        assert_eq!(pace.ask(at(30), at(0)), Turn::NotBefore(at(31)));
        assert_eq!(pace.ask(at(31), at(0)), Turn::Go);
    }

    #[test]
    fn an_outage_is_probed_by_one_request_at_a_time_and_a_success_lets_all_in() {
        let mut pace = Pace::new(at(900));
        for now in 0..3 {
            failed(&mut pace, now);
        }
        assert_eq!(pace.ask(at(2), at(20)), Turn::NotBefore(at(3)), "the probe's pace, not the batch's");
        assert_eq!(pace.ask(at(3), at(20)), Turn::Go);
        pace.begin();
        assert_eq!(pace.ask(at(3), at(0)), Turn::AfterAnother);
        pace.end(at(4), Ended::Failed, false);
        assert_eq!(pace.ask(at(4), at(0)), Turn::NotBefore(at(6)));
        pace.begin();
        pace.end(at(7), Ended::Through, true);
        assert_eq!(pace.ask(at(7), at(0)), Turn::Go);
    }

    #[test]
    fn probes_of_a_long_outage_are_at_most_five_seconds_apart() {
        let mut pace = Pace::new(at(900));
        for now in 0..50 {
            failed(&mut pace, now);
        }
        assert_eq!(pace.ask(at(50), at(0)), Turn::NotBefore(at(54)));
    }

    #[test]
    fn a_locked_cohort_is_asked_one_call_at_a_time() {
        let mut pace = Pace::new(at(900));
        pace.begin();
        pace.begin();
        pace.end(at(1), Ended::Locked(at(2)), true);
        assert_eq!(pace.ask(at(2), at(0)), Turn::AfterAnother);
        pace.end(at(2), Ended::Through, true);
        assert_eq!(pace.ask(at(2), at(0)), Turn::Go);
    }

    #[test]
    fn an_outage_ends_the_run_after_its_limit_and_sooner_where_nobody_ever_answered() {
        let mut pace = Pace::new(at(900));
        assert_eq!((pace.outage(at(59)), pace.outage(at(60))), (None, Some(at(60))));
        pace.begin();
        pace.end(at(10), Ended::Through, true);
        assert_eq!((pace.outage(at(909)), pace.outage(at(910))), (None, Some(at(900))));
        pace.end(at(20), Ended::Limited { until: at(3000), announced: true }, true);
        assert_eq!(pace.outage(at(3800)), None, "an announced pause is no outage");
        pace.end(at(3800), Ended::Limited { until: at(3830), announced: false }, true);
        assert!(pace.outage(at(3900)).is_some(), "a pause of our own making does not put it off");
    }
}
