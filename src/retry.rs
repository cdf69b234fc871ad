//! When a batch is sent again.
//!
//! - "Again" is after 0.5 s, doubling up to 30 s, with full jitter: anything from nothing to that, evenly spread, so that
//!   workers which failed together do not come back together.
//! - Where the answer names a time (`Retry-After`), that takes the place of the delay.
//! - A locked cohort (423) is asked again after 1 s, doubling up to 60 s, or when the answer says within these bounds; one
//!   call at a time.
//! - A connection that the server had closed while it was idle is replaced at once, and once.
//! - A batch that has failed 10 times while others got through is given up; it is undelivered. As long as nothing gets
//!   through the fault is not the batch's, and `max_outage` ends the run instead.
//! - An answer that is not HTTP, or not JSON where Braze sends JSON, is given three tries, then it is final.
//! - A 2xx that names errors is given one more try, then the batch is refused.
//!
//! Pure: `now` and chance come from outside.

use std::time::Duration;

/// Failures of one batch, while others get through, after which it is given up.
pub const MAX_FAILURES: u32 = 10;
/// Unusable answers in a row after which the run ends.
pub const MAX_GARBAGE: u32 = 3;

const FIRST_DELAY: Duration = Duration::from_millis(500);
const LAST_DELAY: Duration = Duration::from_secs(30);
const FIRST_LOCKED_DELAY: Duration = Duration::from_secs(1);
const LAST_LOCKED_DELAY: Duration = Duration::from_mins(1);

/// The delay before try number `failures + 1`; `chance` is from 0 to 1.
pub fn delay(failures: u32, chance: f64) -> Duration {
    doubled(FIRST_DELAY, failures, LAST_DELAY).mul_f64(chance.clamp(0.0, 1.0))
}

/// The delay before a locked cohort is asked again, 1 to 60 s; `asked_for` is what the answer named.
pub fn locked_delay(failures: u32, asked_for: Option<Duration>) -> Duration {
    let delay = asked_for.unwrap_or_else(|| doubled(FIRST_LOCKED_DELAY, failures, LAST_LOCKED_DELAY));
    delay.clamp(FIRST_LOCKED_DELAY, LAST_LOCKED_DELAY)
}

fn doubled(first: Duration, failures: u32, last: Duration) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (first * (1 << doublings)).min(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(1, 1.0, 500)]
    #[case(2, 1.0, 1_000)]
    #[case(3, 0.5, 1_000)]
    #[case(7, 1.0, 30_000)]
    #[case(100, 1.0, 30_000)]
    #[case(5, 0.0, 0)]
    fn delays_double_up_to_thirty_seconds(#[case] failures: u32, #[case] chance: f64, #[case] millis: u64) {
        assert_eq!(delay(failures, chance).as_millis(), u128::from(millis));
    }

    #[rstest]
    #[case(1, None, 1)]
    #[case(4, None, 8)]
    #[case(9, None, 60)]
    #[case(1, Some(7), 7)]
    #[case(1, Some(0), 1)]
    #[case(1, Some(600), 60)]
    fn a_lock_is_waited_for_between_one_second_and_sixty(
        #[case] failures: u32,
        #[case] asked_for: Option<u64>,
        #[case] seconds: u64,
    ) {
        assert_eq!(locked_delay(failures, asked_for.map(Duration::from_secs)).as_secs(), seconds);
    }
}
