use std::collections::VecDeque;
use std::sync::Arc;

use rstest::rstest;

use super::*;

#[derive(Debug, PartialEq, Eq)]
enum Stop {
    Refused(&'static str),
    Halted(LimitReached),
}

impl From<&'static str> for Stop {
    fn from(said: &'static str) -> Self {
        Self::Refused(said)
    }
}

type Try = Result<&'static str, Failure<&'static str>>;

/// A call's value, what stopped the limiter, and when each try began.
struct Ran {
    value: Result<&'static str, CallError>,
    stop: Option<Stop>,
    began: Vec<Duration>,
}

/// Makes one call with these outcomes of its tries. The last outcome repeats.
fn run(tries: Vec<Try>) -> Ran {
    let clock = Arc::new(Jumping::default());
    let limits = Limits {
        max_outage: Duration::from_mins(15),
        max_requests_per_hour: 100_000,
        max_duration: Duration::from_hours(1),
    };
    let limiter = RateLimiter::new(limits, Arc::clone(&clock) as Arc<dyn Clock>, Stop::Halted);
    let (mut tries, mut began) = (VecDeque::from(tries), Vec::new());
    let value = call(&limiter, Duration::ZERO, || {
        began.push(limiter.now());
        let result = if tries.len() > 1 { tries.pop_front() } else { tries.front().cloned() };
        (ResponseMeta { answered: true, ..ResponseMeta::NOTHING }, result.unwrap())
    });
    Ran { value, stop: limiter.take_stop(), began }
}

fn again() -> Try {
    Err(Failure::Again { said: "status 503".to_owned(), pause: None })
}

fn unintelligible() -> Try {
    Err(Failure::Unintelligible { said: "no HTTP".to_owned(), error: "this is not HTTP" })
}

#[rstest]
#[case::at_once(vec![Ok("it")], 0)]
#[case::a_stale_connection(vec![Err(Failure::AgainAtOnce), Ok("it")], 0)]
#[case::an_announced_time(vec![Err(Failure::Again { said: String::new(), pause: Some(Duration::from_secs(40)) }), Ok("it")], 40)]
#[case::a_lock(vec![Err(Failure::Locked { pause: None }), Err(Failure::Locked { pause: None }), Ok("it")], 3)]
#[case::a_lock_for_long(vec![Err(Failure::Locked { pause: Some(Duration::from_mins(10)) }), Ok("it")], 60)]
#[case::a_limit(vec![Err(Failure::Limited { pause: Some(Duration::from_secs(31)) }), Ok("it")], 31)]
#[case::not_acknowledged_once(vec![Err(Failure::NotAcknowledged("no".to_owned())), Ok("it")], 0)]
fn a_call_is_made_again_until_it_has_its_value(#[case] tries: Vec<Try>, #[case] seconds: u64) {
    let count = tries.len();
    let ran = run(tries);
    assert_eq!((ran.value, ran.stop, ran.began.len()), (Ok("it"), None, count));
    assert_eq!(ran.began.last().unwrap().as_secs(), seconds);
}

#[rstest]
#[case::a_refusal(vec![Err(Failure::Final("refused"))], "refused", 1)]
#[case::nothing_intelligible(vec![unintelligible()], "this is not HTTP", 3)]
#[case::three_in_a_row(vec![unintelligible(), again(), unintelligible(), unintelligible(), unintelligible()], "this is not HTTP", 5)]
fn what_is_final_stops_everybody(#[case] tries: Vec<Try>, #[case] said: &'static str, #[case] count: usize) {
    let ran = run(tries);
    assert_eq!(ran.value, Err(CallError::Stopped));
    assert_eq!((ran.stop, ran.began.len()), (Some(Stop::Refused(said)), count));
}

#[test]
fn a_success_that_acknowledges_nothing_twice_gives_the_call_up_alone() {
    let ran = run(vec![Err(Failure::NotAcknowledged("errors".to_owned()))]);
    assert_eq!(ran.value, Err(CallError::GivenUp(GivenUp::NotAcknowledged("errors".to_owned()))));
    assert_eq!((ran.stop, ran.began.len()), (None, 2));
}

#[test]
fn answers_that_break_off_show_that_the_server_is_up_and_ten_give_the_call_up() {
    let ran = run(vec![Err(Failure::BrokeOff("at byte 3".to_owned()))]);
    assert_eq!(ran.value, Err(CallError::GivenUp(GivenUp::Failed("at byte 3".to_owned()))));
    assert_eq!((ran.stop, ran.began.len()), (None, 10));
}

#[test]
fn where_nothing_gets_through_it_is_an_outage_and_no_call_is_given_up() {
    let ran = run(vec![again()]);
    assert_eq!(ran.value, Err(CallError::Stopped));
    let Some(Stop::Halted(LimitReached::Outage { lasted, answered: true, last })) = ran.stop else {
        panic!("{:?}", ran.stop)
    };
    assert!((900..910).contains(&lasted.as_secs()), "{lasted:?}");
    assert_eq!(last, "status 503");
    assert!(ran.began.len() > 100, "{} tries, at most 5 s apart", ran.began.len());
}

#[rstest]
#[case::of_a_failure(Failure::Again { said: String::new(), pause: Some(Duration::from_hours(2)) })]
#[case::of_a_limit(Failure::Limited { pause: Some(Duration::from_hours(2)) })]
fn an_announced_pause_beyond_the_deadline_ends_the_run_at_once(#[case] failure: Failure<&'static str>) {
    let ran = run(vec![Err(failure)]);
    let limit = LimitReached::PauseTooLong { pause: Duration::from_hours(2), is_announced: true };
    assert_eq!(ran.stop, Some(Stop::Halted(limit)));
    assert_eq!(ran.began, [Duration::ZERO]);
}

/// A call whose first try ends like this at the start, and whose second try is answered a pause later. Then a phase or
/// the run ends.
fn settled(
    unanswered: Option<Unanswered>,
    ending: Ending,
    grace: Duration,
    stop: Option<Stop>,
) -> (Ran, Vec<Duration>) {
    let clock = Arc::new(Jumping::default());
    let limits = Limits {
        max_outage: Duration::from_mins(15),
        max_requests_per_hour: 100_000,
        max_duration: Duration::from_hours(1),
    };
    let limiter = RateLimiter::new(limits, Arc::clone(&clock) as Arc<dyn Clock>, Stop::Halted);
    let mut began = Vec::new();
    let value = call(&limiter, Duration::ZERO, || {
        began.push(limiter.now());
        if began.len() > 1 {
            return (ResponseMeta { answered: true, ..ResponseMeta::NOTHING }, Ok("it"));
        }
        let failure = Failure::Again { said: String::new(), pause: Some(Duration::from_secs(10)) };
        (ResponseMeta { unanswered, ..ResponseMeta::NOTHING }, Err::<_, Failure<&'static str>>(failure))
    });
    if let Some(stop) = stop {
        limiter.stop(stop);
    }
    let mut shown = Vec::new();
    let _: Result<(), Stopped> = limiter.settle(ending, grace, |left| shown.push(left));
    began.push(limiter.now());
    (Ran { value, stop: limiter.take_stop(), began }, shown)
}

#[rstest]
#[case::answered(None, Ending::Phase, 10)]
#[case::a_timeout_of_a_phase(Some(Unanswered::TimedOut), Ending::Phase, 120)]
#[case::a_break_of_a_phase(Some(Unanswered::Broke), Ending::Phase, 120)]
#[case::a_timeout_of_the_run(Some(Unanswered::TimedOut), Ending::Run, 120)]
#[case::a_break_of_the_run(Some(Unanswered::Broke), Ending::Run, 10)]
fn a_phase_ends_when_no_unanswered_try_can_take_effect(
    #[case] unanswered: Option<Unanswered>,
    #[case] ending: Ending,
    #[case] ends_at: u64,
) {
    let (ran, shown) = settled(unanswered, ending, Duration::from_mins(2), None);
    assert_eq!((ran.value, ran.stop), (Ok("it"), None));
    assert_eq!(ran.began.last(), Some(&Duration::from_secs(ends_at)));
    let waits = shown.first().copied().unwrap_or_default();
    assert_eq!(waits, Duration::from_secs(ends_at - 10), "the wait is shown from its beginning");
}

#[test]
fn no_wait_begins_after_a_stop_or_beyond_the_end_of_the_run() {
    for ending in [Ending::Phase, Ending::Run] {
        let timeout = Some(Unanswered::TimedOut);
        let (stopped, shown) = settled(timeout, ending, Duration::from_mins(2), Some(Stop::Refused("no")));
        assert_eq!((stopped.stop, shown), (Some(Stop::Refused("no")), Vec::new()));
        let (late, shown) = settled(timeout, ending, Duration::from_hours(2), None);
        let limit = Duration::from_hours(1);
        assert_eq!((late.stop, shown), (Some(Stop::Halted(LimitReached::Deadline { limit })), Vec::new()));
    }
}
