use super::*;
use rstest::rstest;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn pace() -> Pace {
    Pace::new(Limits { max_outage: at(900), max_requests_per_hour: 250_000 })
}

fn ask(pace: &mut Pace, now: u64) -> Turn {
    pace.ask(at(now), Delay::default())
}

const ANSWERED: Heard = Heard { answered: true, standing: None };

fn begin(pace: &mut Pace, now: u64) -> Ticket {
    pace.begin(at(now), 0.5)
}

fn ended(pace: &mut Pace, now: u64, ended: Ended) {
    let ticket = begin(pace, now);
    pace.end(at(now), ticket, ended, ANSWERED);
}

#[test]
fn all_send_while_all_is_well_and_a_batch_keeps_to_its_own_delay() {
    let mut pace = pace();
    for _ in 0..4 {
        assert_eq!(ask(&mut pace, 0), Turn::Go);
        begin(&mut pace, 0);
    }
    assert_eq!(pace.ask(at(1), Delay { until: at(2), since: at(1), announced: false }), Turn::NotBefore(at(2)));
}

#[test]
fn nobody_sends_in_an_announced_pause_and_a_shorter_hint_does_not_shorten_it() {
    let mut pace = pace();
    ended(&mut pace, 1, Ended::Limited { until: at(31), announced: true });
    ended(&mut pace, 2, Ended::Limited { until: at(5), announced: true });
    assert_eq!(ask(&mut pace, 30), Turn::NotBefore(at(31)));
    assert_eq!(ask(&mut pace, 31), Turn::Go);
}

#[test]
fn limits_without_a_time_are_probed_a_second_or_more_apart() {
    let mut pace = pace();
    ended(&mut pace, 1, Ended::Limited { until: at(1), announced: false });
    assert_eq!(ask(&mut pace, 1), Turn::Go);
    ended(&mut pace, 1, Ended::Limited { until: at(1), announced: false });
    assert_eq!(ask(&mut pace, 1), Turn::NotBefore(at(2)));
    ended(&mut pace, 2, Ended::Through);
    ended(&mut pace, 2, Ended::Limited { until: at(2), announced: false });
    assert_eq!(ask(&mut pace, 2), Turn::Go);
}

#[test]
fn an_outage_is_probed_by_one_request_at_a_time_and_a_success_lets_all_in() {
    let mut pace = pace();
    for now in 0..3 {
        ended(&mut pace, now, Ended::Failed);
    }
    let long = Delay { until: at(30), since: at(2), announced: false };
    assert_eq!(pace.ask(at(2), long), Turn::NotBefore(at(3)), "the probe's pace, not the batch's");
    assert_eq!(pace.ask(at(3), long), Turn::Go);
    let probe = begin(&mut pace, 3);
    assert_eq!(ask(&mut pace, 3), Turn::AfterAnother);
    pace.end(at(4), probe, Ended::Failed, Heard::NOTHING);
    assert_eq!(ask(&mut pace, 4), Turn::NotBefore(at(6)));
    ended(&mut pace, 7, Ended::Through);
    assert_eq!(pace.ask(at(7), long), Turn::Go, "a delay from the outage ends with it");
}

#[test]
fn probes_of_a_long_outage_are_at_most_five_seconds_apart() {
    let mut pace = pace();
    for now in 0..50 {
        ended(&mut pace, now, Ended::Failed);
    }
    assert_eq!(ask(&mut pace, 50), Turn::NotBefore(at(54)));
}

#[test]
fn a_locked_cohort_is_asked_one_call_at_a_time_until_a_later_call_succeeds() {
    let mut pace = pace();
    let (older, locked) = (begin(&mut pace, 0), begin(&mut pace, 0));
    pace.end(at(1), locked, Ended::Locked(at(2)), ANSWERED);
    assert_eq!(ask(&mut pace, 2), Turn::AfterAnother);
    pace.end(at(2), older, Ended::Through, ANSWERED);
    assert_eq!(ask(&mut pace, 2), Turn::Go);
    let alone = begin(&mut pace, 2);
    assert_eq!(ask(&mut pace, 2), Turn::AfterAnother, "the older call says nothing of the lock");
    pace.end(at(3), alone, Ended::Through, ANSWERED);
    begin(&mut pace, 3);
    assert_eq!(ask(&mut pace, 3), Turn::Go);
}

#[test]
fn an_outage_ends_the_run_after_its_limit_and_sooner_where_nobody_ever_answered() {
    let mut pace = pace();
    assert_eq!((pace.outage(at(59)), pace.outage(at(60))), (None, Some(at(60))));
    ended(&mut pace, 10, Ended::Through);
    assert_eq!((pace.outage(at(909)), pace.outage(at(910))), (None, Some(at(900))));
    ended(&mut pace, 20, Ended::Limited { until: at(3000), announced: true });
    assert_eq!(pace.outage(at(3800)), None, "an announced pause is no outage");
    ended(&mut pace, 3800, Ended::Limited { until: at(3850), announced: true });
    assert_eq!(pace.outage(at(3899)), None);
    assert!(pace.outage(at(3900)).is_some(), "but one after the other is");
    ended(&mut pace, 4000, Ended::Through);
    ended(&mut pace, 4001, Ended::Limited { until: at(4031), announced: false });
    assert_eq!(
        (pace.outage(at(4900)), pace.outage(at(4901))),
        (None, Some(at(900))),
        "nor is a pause of our own making"
    );
}

#[test]
fn time_without_anything_to_send_is_no_outage() {
    let mut pace = pace();
    ended(&mut pace, 1, Ended::Through);
    ended(&mut pace, 5000, Ended::Failed);
    assert_eq!(pace.outage(at(5001)), None);
    ended(&mut pace, 5900, Ended::Failed);
    assert_eq!(pace.outage(at(5900)), Some(at(900)));
}

#[test]
fn what_braze_asks_a_batch_to_wait_for_holds_in_an_outage_and_after_it() {
    let mut pace = pace();
    for now in 0..3 {
        ended(&mut pace, now, Ended::Failed);
    }
    let told = Delay { until: at(30), since: at(2), announced: true };
    assert_eq!(pace.ask(at(5), told), Turn::NotBefore(at(30)));
    ended(&mut pace, 6, Ended::Through);
    assert_eq!(pace.ask(at(6), told), Turn::NotBefore(at(30)));
}

#[test]
fn the_limit_an_hour_holds_and_waiting_for_it_is_no_outage() {
    let mut pace = Pace::new(Limits { max_outage: at(900), max_requests_per_hour: 2 });
    ended(&mut pace, 0, Ended::Through);
    ended(&mut pace, 1, Ended::Failed);
    assert_eq!(ask(&mut pace, 2), Turn::NotBefore(at(3610)));
    assert_eq!(pace.paused_until(at(2)), at(3610));
    ended(&mut pace, 3610, Ended::Failed);
    assert_eq!(pace.outage(at(3611)), None);
}

#[test]
fn no_more_is_in_flight_than_braze_says_is_left() {
    let mut pace = pace();
    let standing = |remaining| Heard {
        answered: true,
        standing: Some(Standing { limit: 100, remaining, resets_in: at(60), reset_at: 1060 }),
    };
    let (first, second) = (begin(&mut pace, 0), begin(&mut pace, 0));
    pace.end(at(0), first, Ended::Through, standing(1));
    assert_eq!(ask(&mut pace, 0), Turn::AfterAnother);
    pace.end(at(0), second, Ended::Through, standing(0));
    assert_eq!(ask(&mut pace, 0), Turn::NotBefore(at(60)));
    assert_eq!(ask(&mut pace, 60), Turn::Go);
}

mod sharing {
    //! Tasks that share Braze's limit, step by step: what each of them does, and what Braze answers.

    use super::*;
    use std::cmp::Reverse;
    use std::collections::{BinaryHeap, HashMap};

    /// Braze's side: so many requests in each period, which begins with its first request.
    struct Window {
        limit: u64,
        length: Duration,
        ends: Duration,
        used: u64,
        refused: u64,
        taken: u64,
    }

    impl Window {
        fn request(&mut self, now: Duration) -> (Ended, Heard) {
            if now >= self.ends {
                (self.ends, self.used) = (now + self.length, 0);
            }
            let takes = self.used < self.limit;
            self.used += u64::from(takes);
            self.taken += u64::from(takes);
            self.refused += u64::from(!takes);
            let resets_in = self.ends.saturating_sub(now);
            let (resets_in, reset_at) = (at(resets_in.as_secs() + 1), self.ends.as_secs() + 1);
            let standing = Standing { limit: self.limit, remaining: self.limit - self.used, resets_in, reset_at };
            let ended = if takes { Ended::Through } else { Ended::Limited { until: now + resets_in, announced: true } };
            (ended, Heard { answered: true, standing: Some(standing) })
        }
    }

    /// What happens at a time.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Step {
        Ask,
        Arrive(Ticket),
        Answer(Ticket),
    }

    /// Runs the tasks, whose requests and answers take up to so many milliseconds, and returns what Braze took and refused.
    fn run(tasks: usize, threads: usize, limit: u64, length: u64, periods: u64, latency: u64) -> (u64, u64) {
        let mut random = fastrand::Rng::with_seed(4711);
        let mut window = Window { limit, length: at(length), ends: Duration::ZERO, used: 0, refused: 0, taken: 0 };
        let (mut paces, mut steps, mut answers) = (Vec::new(), BinaryHeap::new(), HashMap::new());
        for task in 0..tasks {
            paces.push(pace());
            steps.push(Reverse((Duration::from_millis(random.u64(0..500)), task, Step::Ask)));
        }
        // The first call of each comes alone.
        let mut waiting = vec![threads - 1; tasks];
        while let Some(Reverse((now, task, step))) =
            steps.pop().filter(|Reverse((now, ..))| *now < at(length * periods))
        {
            let pace = &mut paces[task];
            let later = now + Duration::from_micros(random.u64(100..latency * 1000));
            match step {
                Step::Ask => match pace.ask(now, Delay::default()) {
                    Turn::Go => {
                        let ticket = pace.begin(now, random.f64());
                        steps.push(Reverse((later, task, Step::Arrive(ticket))));
                    }
                    Turn::NotBefore(time) => steps.push(Reverse((time, task, Step::Ask))),
                    Turn::AfterAnother => waiting[task] += 1,
                },
                Step::Arrive(ticket) => {
                    answers.insert((task, ticket), window.request(now));
                    steps.push(Reverse((later, task, Step::Answer(ticket))));
                }
                Step::Answer(ticket) => {
                    let (ended, heard) = answers.remove(&(task, ticket)).unwrap();
                    pace.end(now, ticket, ended, heard);
                    (0..=waiting[task]).for_each(|_| steps.push(Reverse((now, task, Step::Ask))));
                    waiting[task] = 0;
                }
            }
        }
        (window.taken, window.refused)
    }

    #[rstest]
    #[case::one_task(1, 4, 1_000, 60, 50)]
    #[case::one_task_with_many_threads(1, 64, 1_000, 60, 50)]
    #[case::a_small_limit(1, 4, 10, 10, 50)]
    #[case::thirty_tasks(30, 4, 25_000, 360, 50)]
    #[case::five_tasks(5, 4, 2_000, 60, 50)]
    #[case::more_threads_than_requests(1, 32, 20, 3, 5)]
    #[case::many_more_threads_than_requests(1, 64, 10, 2, 5)]
    #[case::two_tasks(2, 4, 60, 3, 2)]
    #[case::two_slower_tasks(2, 4, 60, 3, 40)]
    #[case::two_tasks_with_many_threads(2, 32, 100, 3, 2)]
    #[case::two_fast_tasks(2, 8, 200, 3, 2)]
    fn a_shared_limit_is_kept_without_a_single_429(
        #[case] tasks: usize,
        #[case] threads: usize,
        #[case] limit: u64,
        #[case] length: u64,
        #[case] latency: u64,
    ) {
        const PERIODS: u64 = 4;
        let (taken, refused) = run(tasks, threads, limit, length, PERIODS, latency);
        assert_eq!(refused, 0);
        // The end of a period is said in whole seconds, which in a short one is a good part of it.
        let used = if length < 10 { 60 } else { 95 };
        assert!(taken * 100 >= limit * PERIODS * used, "{taken} of {}", limit * PERIODS);
    }
}
