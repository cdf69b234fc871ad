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

/// The number of a request, in the order in which they began.
pub type Ticket = u64;

/// How long a batch wants to wait, and since when.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delay {
    /// Not before this time.
    pub until: Duration,
    /// When that was decided.
    pub since: Duration,
}

/// A locked cohort.
#[derive(Clone, Copy, Debug)]
struct Lock {
    not_before: Duration,
    /// Only the success of a request that began after the lock was noted lifts it.
    lifted_by: Ticket,
}

/// The state.
#[derive(Debug)]
pub struct Pace {
    in_flight: usize,
    pause_until: Duration,
    /// In an outage: one request at a time, not before this time.
    probe: Option<Duration>,
    lock: Option<Lock>,
    next_ticket: Ticket,
    /// When the latest outage or lock was over. Delays from before it do not count any more.
    lifted: Duration,
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
            probe: None,
            lock: None,
            next_ticket: 0,
            lifted: Duration::ZERO,
            failures_in_a_row: 0,
            successes: 0,
            answered: false,
            well_until: Duration::ZERO,
            max_outage,
        }
    }

    /// Whether a request may begin now whose batch wants to wait.
    pub fn ask(&self, now: Duration, delay: Delay) -> Turn {
        let alone = self.probe.max(self.lock.map(|lock| lock.not_before));
        let not_before = match alone {
            // The probe's own pace takes the place of the batch's.
            Some(probe) => probe.max(self.pause_until),
            None if delay.since < self.lifted => self.pause_until,
            None => delay.until.max(self.pause_until),
        };
        if now < not_before {
            Turn::NotBefore(not_before)
        } else if alone.is_some() && self.in_flight > 0 {
            Turn::AfterAnother
        } else {
            Turn::Go
        }
    }

    /// A request begins. Its ticket is to be given back when it ends.
    pub fn begin(&mut self, now: Duration) -> Ticket {
        if self.in_flight == 0 && self.failures_in_a_row == 0 && self.lock.is_none() {
            // Time in which there was nothing to send is no outage.
            self.well_until = self.well_until.max(now);
        }
        self.in_flight += 1;
        self.next_ticket += 1;
        self.next_ticket - 1
    }

    /// A request has ended; `answered` says whether Braze said anything.
    pub fn end(&mut self, now: Duration, ticket: Ticket, ended: Ended, answered: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.answered |= answered;
        match ended {
            Ended::Unheard => {}
            Ended::Through => self.succeeded(now, ticket),
            Ended::Failed => self.failed(now),
            Ended::Locked(until) => {
                let not_before = self.lock.map_or(until, |lock| lock.not_before.max(until));
                self.lock = Some(Lock { not_before, lifted_by: self.next_ticket });
            }
            Ended::Limited { until, announced } => {
                self.pause_until = self.pause_until.max(until);
                if announced {
                    self.well_until = self.well_until.max(until);
                } else {
                    self.failures_in_a_row = self.failures_in_a_row.max(1);
                }
            }
        }
    }

    fn succeeded(&mut self, now: Duration, ticket: Ticket) {
        self.successes += 1;
        self.failures_in_a_row = 0;
        self.well_until = self.well_until.max(now);
        if self.probe.take().is_some() {
            self.lifted = now;
        }
        if self.lock.is_some_and(|lock| ticket >= lock.lifted_by) {
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

    fn ask(pace: &Pace, now: u64) -> Turn {
        pace.ask(at(now), Delay::default())
    }

    fn ended(pace: &mut Pace, now: u64, ended: Ended) {
        let ticket = pace.begin(at(now));
        pace.end(at(now), ticket, ended, true);
    }

    #[test]
    fn all_send_while_all_is_well_and_a_batch_keeps_to_its_own_delay() {
        let mut pace = Pace::new(at(900));
        for _ in 0..4 {
            assert_eq!(ask(&pace, 0), Turn::Go);
            pace.begin(at(0));
        }
        assert_eq!(pace.ask(at(1), Delay { until: at(2), since: at(1) }), Turn::NotBefore(at(2)));
    }

    #[test]
    fn nobody_sends_in_an_announced_pause_and_a_shorter_hint_does_not_shorten_it() {
        let mut pace = Pace::new(at(900));
        ended(&mut pace, 1, Ended::Limited { until: at(31), announced: true });
        ended(&mut pace, 2, Ended::Limited { until: at(5), announced: true });
        assert_eq!(ask(&pace, 30), Turn::NotBefore(at(31)));
        assert_eq!(ask(&pace, 31), Turn::Go);
    }

    #[test]
    fn an_outage_is_probed_by_one_request_at_a_time_and_a_success_lets_all_in() {
        let mut pace = Pace::new(at(900));
        for now in 0..3 {
            ended(&mut pace, now, Ended::Failed);
        }
        let long = Delay { until: at(30), since: at(2) };
        assert_eq!(pace.ask(at(2), long), Turn::NotBefore(at(3)), "the probe's pace, not the batch's");
        assert_eq!(pace.ask(at(3), long), Turn::Go);
        let probe = pace.begin(at(3));
        assert_eq!(ask(&pace, 3), Turn::AfterAnother);
        pace.end(at(4), probe, Ended::Failed, false);
        assert_eq!(ask(&pace, 4), Turn::NotBefore(at(6)));
        ended(&mut pace, 7, Ended::Through);
        assert_eq!(pace.ask(at(7), long), Turn::Go, "a delay from the outage ends with it");
    }

    #[test]
    fn probes_of_a_long_outage_are_at_most_five_seconds_apart() {
        let mut pace = Pace::new(at(900));
        for now in 0..50 {
            ended(&mut pace, now, Ended::Failed);
        }
        assert_eq!(ask(&pace, 50), Turn::NotBefore(at(54)));
    }

    #[test]
    fn a_locked_cohort_is_asked_one_call_at_a_time_until_a_later_call_succeeds() {
        let mut pace = Pace::new(at(900));
        let (older, locked) = (pace.begin(at(0)), pace.begin(at(0)));
        pace.end(at(1), locked, Ended::Locked(at(2)), true);
        assert_eq!(ask(&pace, 2), Turn::AfterAnother);
        pace.end(at(2), older, Ended::Through, true);
        assert_eq!(ask(&pace, 2), Turn::Go);
        let alone = pace.begin(at(2));
        assert_eq!(ask(&pace, 2), Turn::AfterAnother, "the older call says nothing of the lock");
        pace.end(at(3), alone, Ended::Through, true);
        pace.begin(at(3));
        assert_eq!(ask(&pace, 3), Turn::Go);
    }

    #[test]
    fn an_outage_ends_the_run_after_its_limit_and_sooner_where_nobody_ever_answered() {
        let mut pace = Pace::new(at(900));
        assert_eq!((pace.outage(at(59)), pace.outage(at(60))), (None, Some(at(60))));
        ended(&mut pace, 10, Ended::Through);
        assert_eq!((pace.outage(at(909)), pace.outage(at(910))), (None, Some(at(900))));
        ended(&mut pace, 20, Ended::Limited { until: at(3000), announced: true });
        assert_eq!(pace.outage(at(3800)), None, "an announced pause is no outage");
        ended(&mut pace, 3800, Ended::Limited { until: at(3830), announced: false });
        assert!(pace.outage(at(4800)).is_some(), "a pause of our own making does not put it off");
    }

    #[test]
    fn time_without_anything_to_send_is_no_outage() {
        let mut pace = Pace::new(at(900));
        ended(&mut pace, 1, Ended::Through);
        ended(&mut pace, 5000, Ended::Failed);
        assert_eq!(pace.outage(at(5001)), None);
        ended(&mut pace, 5900, Ended::Failed);
        assert_eq!(pace.outage(at(5900)), Some(at(900)));
    }
}
