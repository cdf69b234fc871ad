//! How long Braze asks us to pause: `Retry-After` in seconds or as a date, `X-RateLimit-Retry-After` in seconds,
//! `X-RateLimit-Reset` in UTC epoch seconds. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;

/// A longer pause than a day is no pause but a mistake.
const ABSURD: Duration = Duration::from_hours(24);

/// What this machine takes for now, in UTC epoch seconds. A wrong clock is corrected by the answer's own `Date`.
#[derive(Clone, Copy, Debug)]
pub struct Clock(pub u64);

impl Clock {
    /// This machine's.
    #[expect(clippy::disallowed_methods, reason = "Braze announces pauses as dates")]
    pub fn now() -> Self {
        Self(epoch_seconds(SystemTime::now()))
    }
}

/// The longest pause that the headers announce. Hints that are past, absurd or garbage count for nothing.
pub fn pause(headers: &HeaderMap, local: Clock) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let date = |value: &str| httpdate::parse_http_date(value).ok().map(epoch_seconds);
    let now = text("date").and_then(date).unwrap_or(local.0);
    let seconds = |value: &str| value.parse::<u64>().ok();
    [
        text("retry-after").and_then(|value| seconds(value).or_else(|| date(value)?.checked_sub(now))),
        text("x-ratelimit-retry-after").and_then(seconds),
        text("x-ratelimit-reset").and_then(|value| seconds(value)?.checked_sub(now)),
    ]
    .into_iter()
    .flatten()
    .map(Duration::from_secs)
    .filter(|pause| !pause.is_zero() && *pause <= ABSURD)
    .max()
}

fn epoch_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
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
    #[case::absurd(&[("retry-after", "99999999")], None)]
    #[case::overflowing(&[("x-ratelimit-reset", "99999999999999999999")], None)]
    #[case::garbage(&[("retry-after", "soon")], None)]
    #[case::nothing(&[], None)]
    fn reads_the_announced_pause(#[case] headers: &[(&'static str, &'static str)], #[case] seconds: Option<u64>) {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        assert_eq!(pause(&headers, Clock(NOON)), seconds.map(Duration::from_secs));
    }
}
