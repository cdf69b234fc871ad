use super::*;
use rstest::rstest;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn pacing() -> Pacing {
    Pacing::new(at(900), 250_000)
}

fn ask(pacing: &mut Pacing, now: u64) -> Admission {
    pacing.ask(at(now), Delay::default())
}

const ANSWERED: ResponseMeta = ResponseMeta { answered: true, ..ResponseMeta::NOTHING };

fn begin(pacing: &mut Pacing, now: u64) -> Permit {
    pacing.begin(at(now))
}

fn ended(pacing: &mut Pacing, now: u64, outcome: RequestOutcome) {
    let permit = begin(pacing, now);
    pacing.end(at(now), permit, outcome, ANSWERED);
}

#[test]
fn all_send_while_all_is_well_and_a_batch_keeps_to_its_own_delay() {
    let mut pacing = pacing();
    for _ in 0..4 {
        assert_eq!(ask(&mut pacing, 0), Admission::Go);
        begin(&mut pacing, 0);
    }
    assert_eq!(pacing.ask(at(1), Delay { until: at(2), since: at(1), announced: false }), Admission::NotBefore(at(2)));
}

#[test]
fn no_request_begins_in_an_announced_pause_and_a_shorter_hint_does_not_shorten_it() {
    let mut pacing = pacing();
    ended(&mut pacing, 1, RequestOutcome::Limited { until: at(31), announced: true });
    ended(&mut pacing, 2, RequestOutcome::Limited { until: at(5), announced: true });
    assert_eq!(ask(&mut pacing, 30), Admission::NotBefore(at(31)));
    assert_eq!(ask(&mut pacing, 31), Admission::Go);
}

#[test]
fn limits_without_a_time_are_probed_a_second_or_more_apart() {
    let mut pacing = pacing();
    ended(&mut pacing, 1, RequestOutcome::Limited { until: at(1), announced: false });
    assert_eq!(pacing.paused_until(at(0)), at(0), "the server asked for no pause");
    assert_eq!(ask(&mut pacing, 1), Admission::Go);
    ended(&mut pacing, 1, RequestOutcome::Limited { until: at(1), announced: false });
    assert_eq!(ask(&mut pacing, 1), Admission::NotBefore(at(2)));
    ended(&mut pacing, 2, RequestOutcome::Through);
    ended(&mut pacing, 2, RequestOutcome::Limited { until: at(2), announced: false });
    assert_eq!(ask(&mut pacing, 2), Admission::Go);
}

#[test]
fn an_outage_is_probed_by_one_request_at_a_time_and_a_success_lets_all_in() {
    let mut pacing = pacing();
    for now in 0..3 {
        ended(&mut pacing, now, RequestOutcome::Failed);
    }
    let long = Delay { until: at(30), since: at(2), announced: false };
    assert_eq!(pacing.ask(at(2), long), Admission::NotBefore(at(3)), "the probe's pacing, not the batch's");
    assert_eq!(pacing.ask(at(3), long), Admission::Go);
    let probe = begin(&mut pacing, 3);
    assert_eq!(ask(&mut pacing, 3), Admission::AfterAnother);
    pacing.end(at(4), probe, RequestOutcome::Failed, ResponseMeta::NOTHING);
    assert_eq!(ask(&mut pacing, 4), Admission::NotBefore(at(6)));
    ended(&mut pacing, 7, RequestOutcome::Through);
    assert_eq!(pacing.ask(at(7), long), Admission::Go, "a delay from the outage ends with it");
}

#[test]
fn probes_of_a_long_outage_are_at_most_five_seconds_apart() {
    let mut pacing = pacing();
    for now in 0..50 {
        ended(&mut pacing, now, RequestOutcome::Failed);
    }
    assert_eq!(ask(&mut pacing, 50), Admission::NotBefore(at(54)));
}

#[test]
fn a_locked_cohort_is_asked_one_call_at_a_time_until_a_later_call_succeeds() {
    let mut pacing = pacing();
    let (older, locked) = (begin(&mut pacing, 0), begin(&mut pacing, 0));
    pacing.end(at(1), locked, RequestOutcome::Locked(at(2)), ANSWERED);
    assert_eq!(ask(&mut pacing, 2), Admission::AfterAnother);
    pacing.end(at(2), older, RequestOutcome::Through, ANSWERED);
    assert_eq!(ask(&mut pacing, 2), Admission::Go);
    let alone = begin(&mut pacing, 2);
    assert_eq!(ask(&mut pacing, 2), Admission::AfterAnother, "the older call says nothing of the lock");
    pacing.end(at(3), alone, RequestOutcome::Through, ANSWERED);
    begin(&mut pacing, 3);
    assert_eq!(ask(&mut pacing, 3), Admission::Go);
}

#[test]
fn an_outage_ends_the_run_after_its_limit_and_sooner_if_no_answer_ever_came() {
    let mut pacing = pacing();
    assert_eq!((pacing.outage(at(59)), pacing.outage(at(60))), (None, Some(at(60))));
    ended(&mut pacing, 10, RequestOutcome::Through);
    assert_eq!((pacing.outage(at(909)), pacing.outage(at(910))), (None, Some(at(900))));
    ended(&mut pacing, 20, RequestOutcome::Limited { until: at(3000), announced: true });
    assert_eq!(pacing.outage(at(3800)), None, "an announced pause is no outage");
    ended(&mut pacing, 3800, RequestOutcome::Limited { until: at(3850), announced: true });
    assert_eq!(pacing.outage(at(3899)), None);
    assert!(pacing.outage(at(3900)).is_some(), "but one after the other is");
    ended(&mut pacing, 4000, RequestOutcome::Through);
    ended(&mut pacing, 4001, RequestOutcome::Limited { until: at(4031), announced: false });
    assert_eq!(
        (pacing.outage(at(4900)), pacing.outage(at(4901))),
        (None, Some(at(900))),
        "nor is a pause of our own making"
    );
}

#[test]
fn time_without_anything_to_send_is_no_outage() {
    let mut pacing = pacing();
    ended(&mut pacing, 1, RequestOutcome::Through);
    ended(&mut pacing, 5000, RequestOutcome::Failed);
    assert_eq!(pacing.outage(at(5001)), None);
    ended(&mut pacing, 5900, RequestOutcome::Failed);
    assert_eq!(pacing.outage(at(5900)), Some(at(900)));
}

#[test]
fn what_a_server_asks_a_caller_to_wait_for_holds_in_an_outage_and_after_it() {
    let mut pacing = pacing();
    for now in 0..3 {
        ended(&mut pacing, now, RequestOutcome::Failed);
    }
    let told = Delay { until: at(30), since: at(2), announced: true };
    assert_eq!(pacing.ask(at(5), told), Admission::NotBefore(at(30)));
    ended(&mut pacing, 6, RequestOutcome::Through);
    assert_eq!(pacing.ask(at(6), told), Admission::NotBefore(at(30)));
}

#[test]
fn the_limit_an_hour_holds_and_waiting_for_it_is_no_outage() {
    let mut pacing = Pacing::new(at(900), 2);
    ended(&mut pacing, 0, RequestOutcome::Through);
    ended(&mut pacing, 1, RequestOutcome::Failed);
    assert_eq!(ask(&mut pacing, 2), Admission::NotBefore(at(3610)));
    assert_eq!(pacing.paused_until(at(2)), at(3610));
    ended(&mut pacing, 3610, RequestOutcome::Failed);
    assert_eq!(pacing.outage(at(3611)), None);
}

#[test]
fn no_more_is_in_flight_than_the_server_says_is_left() {
    let mut pacing = pacing();
    let left = |remaining| ResponseMeta {
        unanswered: None,
        answered: true,
        quota: Some(QuotaHint { remaining, resets_in: at(60), reset_at: 1060 }),
    };
    let (first, second) = (begin(&mut pacing, 0), begin(&mut pacing, 0));
    pacing.end(at(0), first, RequestOutcome::Through, left(1));
    assert_eq!(ask(&mut pacing, 0), Admission::AfterAnother);
    pacing.end(at(0), second, RequestOutcome::Through, left(0));
    assert_eq!(ask(&mut pacing, 0), Admission::NotBefore(at(60)));
    assert_eq!(ask(&mut pacing, 60), Admission::Go);
}

mod limit {
    //! Tasks and a limit, step by step: what each task does, and what the server answers.

    use super::*;
    use std::cmp::Reverse;
    use std::collections::{BinaryHeap, HashMap};

    const PERIODS: u64 = 4;

    /// The server's side: this many requests in each period, which begins with its first request.
    struct Window {
        limit: u64,
        length: Duration,
        ends: Duration,
        used: u64,
        refused: u64,
        taken: u64,
    }

    impl Window {
        fn request(&mut self, now: Duration) -> (RequestOutcome, ResponseMeta) {
            if now >= self.ends {
                (self.ends, self.used) = (now + self.length, 0);
            }
            let takes = self.used < self.limit;
            self.used += u64::from(takes);
            self.taken += u64::from(takes);
            self.refused += u64::from(!takes);
            let resets_in = self.ends.saturating_sub(now);
            let (resets_in, reset_at) = (at(resets_in.as_secs() + 1), self.ends.as_secs() + 1);
            let quota = Some(QuotaHint { remaining: self.limit - self.used, resets_in, reset_at });
            let limited = RequestOutcome::Limited { until: now + resets_in, announced: true };
            (
                if takes { RequestOutcome::Through } else { limited },
                ResponseMeta { answered: true, quota, ..ResponseMeta::NOTHING },
            )
        }
    }

    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Step {
        Ask,
        Arrive(Permit),
        Answer(Permit),
    }

    /// Runs the tasks. Requests and answers take up to `latency` milliseconds each. Returns the accepted and refused
    /// numbers.
    fn run(tasks: usize, threads: usize, limit: u64, length: u64, latency: u64) -> (u64, u64) {
        let mut random = fastrand::Rng::with_seed(4711);
        let mut window = Window { limit, length: at(length), ends: Duration::ZERO, used: 0, refused: 0, taken: 0 };
        let (mut pacings, mut steps, mut answers) = (Vec::new(), BinaryHeap::new(), HashMap::new());
        for task in 0..tasks {
            pacings.push(pacing());
            steps.push(Reverse((Duration::from_millis(random.u64(0..500)), task, Step::Ask)));
        }
        // Each task's first call is alone.
        let mut waiting = vec![threads - 1; tasks];
        while let Some(Reverse((now, task, step))) =
            steps.pop().filter(|Reverse((now, ..))| *now < at(length * PERIODS))
        {
            let pacing = &mut pacings[task];
            let later = now + Duration::from_micros(random.u64(100..latency * 1000));
            match step {
                Step::Ask => match pacing.ask(now, Delay::default()) {
                    Admission::Go => {
                        let permit = pacing.begin(now);
                        steps.push(Reverse((later, task, Step::Arrive(permit))));
                    }
                    Admission::NotBefore(time) => steps.push(Reverse((time, task, Step::Ask))),
                    Admission::AfterAnother => waiting[task] += 1,
                },
                Step::Arrive(permit) => {
                    answers.insert((task, permit), window.request(now));
                    steps.push(Reverse((later, task, Step::Answer(permit))));
                }
                Step::Answer(permit) => {
                    let (outcome, meta) = answers.remove(&(task, permit)).unwrap();
                    pacing.end(now, permit, outcome, meta);
                    (0..=waiting[task]).for_each(|_| steps.push(Reverse((now, task, Step::Ask))));
                    waiting[task] = 0;
                }
            }
        }
        (window.taken, window.refused)
    }

    #[rstest]
    #[case::a_few_threads(4, 1_000, 60, 50)]
    #[case::many_threads(64, 1_000, 60, 50)]
    #[case::a_small_limit(4, 10, 10, 50)]
    #[case::more_threads_than_requests(32, 20, 3, 5)]
    #[case::many_more_threads_than_requests(64, 10, 2, 5)]
    fn a_limit_is_kept_without_a_single_429(
        #[case] threads: usize,
        #[case] limit: u64,
        #[case] length: u64,
        #[case] latency: u64,
    ) {
        let (taken, refused) = run(1, threads, limit, length, latency);
        assert_eq!(refused, 0);
        // The end of a period is announced in whole seconds. In a short period, rounding takes a large part of it.
        let used = if length < 10 { 60 } else { 95 };
        assert!(taken * 100 >= limit * PERIODS * used, "{taken} of {}", limit * PERIODS);
    }

    #[rstest]
    #[case::two_tasks(2, 4, 60, 3, 2)]
    #[case::five_tasks(5, 4, 2_000, 60, 50)]
    #[case::thirty_tasks(30, 4, 25_000, 360, 50)]
    fn processes_that_share_a_limit_pause_after_one_429_in_each_request_in_flight(
        #[case] tasks: usize,
        #[case] threads: usize,
        #[case] limit: u64,
        #[case] length: u64,
        #[case] latency: u64,
    ) {
        let (taken, refused) = run(tasks, threads, limit, length, latency);
        assert!(refused <= (tasks * threads) as u64 * PERIODS, "{refused} of {taken}");
    }
}
