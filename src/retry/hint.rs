//! The pauses and limits that the headers of an answer announce: `Retry-After` in seconds or as a date,
//! `X-RateLimit-Retry-After` in seconds, `X-RateLimit-Reset` in UTC epoch seconds. Pure.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

use super::pacing::QuotaHint;

/// Longer pauses are considered mistakes.
const MAX_PAUSE: Duration = Duration::from_hours(7 * 24);
/// Larger limits are considered mistakes.
const MAX_REQUESTS: u64 = 1_000_000_000;

/// What one answer announces. Values that are past, absurd or unreadable are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// The pause that `Retry-After` announces.
    pub retry_after: Option<Duration>,
    /// The longest pause that any header announces, for answers about the rate.
    pub pause: Option<Duration>,
    /// The requests that are left, if the headers give their number and the time of the reset.
    pub quota: Option<QuotaHint>,
}

impl Hints {
    /// Reads the headers. `header` finds them by their names in lower case.
    #[expect(clippy::disallowed_methods, reason = "pauses are announced as dates")]
    pub fn read<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Self {
        Self::read_at(header, epoch_seconds(Timestamp::now()))
    }

    /// The same on a machine whose clock shows `local`, in UTC epoch seconds. If that clock is wrong, the answer's
    /// `Date` corrects it.
    pub fn read_at<'a>(header: impl Fn(&str) -> Option<&'a str>, local: u64) -> Self {
        let text = |name| header(name).map(str::trim);
        let number = |name| text(name)?.parse::<u64>().ok();
        let now = text("date").and_then(date).unwrap_or(local);
        let until = |time: u64| time.checked_sub(now);
        let retry_after = text("retry-after").and_then(|value| value.parse().ok().or_else(|| until(date(value)?)));
        let retry_after = retry_after.and_then(sensible);
        let reset_at = number("x-ratelimit-reset");
        let resets_in = reset_at.and_then(until).and_then(sensible);
        let pause = retry_after.max(resets_in).max(number("x-ratelimit-retry-after").and_then(sensible));
        let limit = number("x-ratelimit-limit").unwrap_or_default();
        let remaining = number("x-ratelimit-remaining").filter(|remaining| limit.max(*remaining) <= MAX_REQUESTS);
        let quota = remaining.zip(resets_in).zip(reset_at);
        let quota = quota.map(|((remaining, resets_in), reset_at)| QuotaHint { remaining, resets_in, reset_at });
        Self { retry_after, pause, quota }
    }
}

fn sensible(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds)).filter(|pause| !pause.is_zero() && *pause <= MAX_PAUSE)
}

fn date(text: &str) -> Option<u64> {
    DateTimeParser::new().parse_timestamp(text).ok().map(epoch_seconds)
}

fn epoch_seconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_second()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    /// Mon, 23 Nov 2026 12:00:00 GMT
    const NOON: u64 = 1_795_435_200;

    #[rstest]
    #[case::seconds(&[("retry-after", "7")], Some(7))]
    #[case::date(&[("retry-after", "Mon, 23 Nov 2026 12:00:30 GMT")], Some(30))]
    #[case::own_header(&[("x-ratelimit-retry-after", "12")], Some(12))]
    #[case::reset(&[("x-ratelimit-reset", "1795435260")], Some(60))]
    #[case::the_longest_counts(&[("retry-after", "7"), ("x-ratelimit-reset", "1795435260")], Some(60))]
    #[case::a_wrong_local_clock(&[("date", "Mon, 23 Nov 2026 11:00:00 GMT"), ("x-ratelimit-reset", "1795431610")], Some(10))]
    #[case::past(&[("x-ratelimit-reset", "1795435100")], None)]
    #[case::past_date(&[("retry-after", "Mon, 23 Nov 2026 11:00:30 GMT")], None)]
    #[case::negative(&[("retry-after", "-5")], None)]
    #[case::two_days(&[("retry-after", "172800")], Some(172_800))]
    #[case::absurd(&[("retry-after", "99999999")], None)]
    #[case::overflowing(&[("x-ratelimit-reset", "99999999999999999999")], None)]
    #[case::garbage(&[("retry-after", "soon")], None)]
    #[case::nothing(&[], None)]
    fn reads_the_announced_pause(#[case] pairs: &[(&'static str, &'static str)], #[case] seconds: Option<u64>) {
        assert_eq!(read(pairs).pause, seconds.map(Duration::from_secs));
    }

    fn read(pairs: &[(&'static str, &'static str)]) -> Hints {
        Hints::read_at(|name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| *value), NOON)
    }

    #[rstest]
    #[case::all(&[("x-ratelimit-limit", "100"), ("x-ratelimit-remaining", "9"), ("x-ratelimit-reset", "1795435260")], Some((9, 60)))]
    #[case::no_limit(&[("x-ratelimit-remaining", "9"), ("x-ratelimit-reset", "1795435260")], Some((9, 60)))]
    #[case::no_reset(&[("x-ratelimit-limit", "100"), ("x-ratelimit-remaining", "9")], None)]
    #[case::past(&[("x-ratelimit-remaining", "9"), ("x-ratelimit-reset", "1795435100")], None)]
    #[case::absurd(&[("x-ratelimit-remaining", "9"), ("x-ratelimit-reset", "1795435260000")], None)]
    #[case::far_too_many(&[("x-ratelimit-remaining", "18446744073709551615"), ("x-ratelimit-reset", "1795435260")], None)]
    #[case::of_far_too_many(&[("x-ratelimit-limit", "18446744073709551615"), ("x-ratelimit-remaining", "9"), ("x-ratelimit-reset", "1795435260")], None)]
    #[case::reset_at_the_end_of_time(&[("x-ratelimit-remaining", "9"), ("x-ratelimit-reset", "18446744073709551615")], None)]
    #[case::garbage(&[("x-ratelimit-remaining", "-9"), ("x-ratelimit-reset", "1795435260")], None)]
    fn reads_what_is_left_of_the_limit(
        #[case] pairs: &[(&'static str, &'static str)],
        #[case] expected: Option<(u64, u64)>,
    ) {
        assert_eq!(read(pairs).quota.map(|it| (it.remaining, it.resets_in.as_secs())), expected);
    }
}
