//! How long Braze asks us to pause: `Retry-After` in seconds or as a date, `X-RateLimit-Retry-After` in seconds,
//! `X-RateLimit-Reset` in UTC epoch seconds. Pure.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use ureq::http::HeaderMap;

use super::{Answer, HttpError};
use crate::retry::{QuotaHint, ResponseMeta};

/// A longer pause than a week is no pause but a mistake.
const ABSURD: Duration = Duration::from_hours(7 * 24);
/// A limit beyond a billion requests is no limit but a mistake.
const MAX_REQUESTS: u64 = 1_000_000_000;

/// What this machine takes for now, in UTC epoch seconds. A wrong clock is corrected by the answer's own `Date`.
#[derive(Clone, Copy, Debug)]
pub struct WallClock(pub u64);

impl WallClock {
    /// This machine's.
    #[expect(clippy::disallowed_methods, reason = "Braze announces pauses as dates")]
    pub fn now() -> Self {
        Self(epoch_seconds(Timestamp::now()))
    }
}

/// The longest pause that the headers announce. Hints that are past, absurd or garbage count for nothing.
pub fn pause(headers: &HeaderMap, local: WallClock) -> Option<Duration> {
    let seconds = |name| text(headers, name).and_then(whole_number);
    let until_reset = seconds("x-ratelimit-reset").and_then(|reset| reset.checked_sub(now(headers, local)));
    let hints = [seconds("x-ratelimit-retry-after"), until_reset];
    hints.into_iter().flatten().filter_map(sensible).chain(retry_after(headers, local)).max()
}

/// The pause that `Retry-After` announces, for answers which are not about the rate.
pub fn retry_after(headers: &HeaderMap, local: WallClock) -> Option<Duration> {
    let now = now(headers, local);
    text(headers, "retry-after")
        .and_then(|value| whole_number(value).or_else(|| date(value)?.checked_sub(now)))
        .and_then(sensible)
}

/// How many requests are left until when; `None` if the headers do not say both in a way that makes sense. Where the limit
/// itself is absurd, what is said to be left of it counts for nothing.
pub fn quota(headers: &HeaderMap, local: WallClock) -> Option<QuotaHint> {
    let number = |name| text(headers, name).and_then(whole_number);
    let remaining = number("x-ratelimit-remaining")?;
    if remaining.max(number("x-ratelimit-limit").unwrap_or_default()) > MAX_REQUESTS {
        return None;
    }
    let reset_at = number("x-ratelimit-reset")?;
    let resets_in = sensible(reset_at.checked_sub(now(headers, local))?)?;
    Some(QuotaHint { remaining, resets_in, reset_at })
}

/// What an answer, or its absence, says to all who call the same server.
pub fn meta(outcome: &Result<Answer, HttpError>) -> ResponseMeta {
    match outcome {
        Ok(answer) => {
            ResponseMeta { answered: true, quota: quota(&answer.headers, WallClock::now()), unanswered: None }
        }
        Err(error) => ResponseMeta { unanswered: error.unanswered(), ..ResponseMeta::NOTHING },
    }
}

fn sensible(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds)).filter(|pause| !pause.is_zero() && *pause <= ABSURD)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

fn whole_number(text: &str) -> Option<u64> {
    text.parse().ok()
}

fn date(text: &str) -> Option<u64> {
    DateTimeParser::new().parse_timestamp(text).ok().map(epoch_seconds)
}

fn now(headers: &HeaderMap, local: WallClock) -> u64 {
    text(headers, "date").and_then(date).unwrap_or(local.0)
}

fn epoch_seconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_second()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use ureq::http::HeaderValue;

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
        assert_eq!(pause(&headers(pairs), WallClock(NOON)), seconds.map(Duration::from_secs));
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (ureq::http::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
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
        let quota = quota(&headers(pairs), WallClock(NOON));
        assert_eq!(quota.map(|it| (it.remaining, it.resets_in.as_secs())), expected);
    }
}
