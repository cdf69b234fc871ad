//! The rate limit: a fixed window that starts with its first request.

use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

const HOUR: Duration = Duration::from_hours(1);

/// The most API requests in a window. Braze's own limit is 250,000 in an hour.
///
/// It is written `N/SECONDS`, such as `100/60`, or `N` for an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests in a window.
    pub requests: NonZeroU64,
    /// The window's length; at least one second if it was parsed.
    pub window: Duration,
}

/// The text is not a rate limit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{given:?} is not a rate limit: write N/SECONDS such as 100/60, or N for an hour, both at least 1")]
pub struct RateLimitError {
    /// The text.
    pub given: String,
}

impl FromStr for RateLimit {
    type Err = RateLimitError;

    fn from_str(text: &str) -> Result<Self, RateLimitError> {
        let parse = || {
            let (requests, window) = match text.split_once('/') {
                Some((requests, seconds)) => (requests, Duration::from_secs(seconds.parse::<NonZeroU64>().ok()?.get())),
                None => (text, HOUR),
            };
            Some(Self { requests: requests.parse().ok()?, window })
        };
        parse().ok_or_else(|| RateLimitError { given: text.to_owned() })
    }
}

/// The state of a window after a request, for the `X-RateLimit` headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether the request is allowed.
    pub admitted: bool,
    /// Requests a window.
    pub limit: u64,
    /// Requests that are left in this window.
    pub remaining: u64,
    /// How long until the window ends.
    pub resets_in: Duration,
}

impl Standing {
    /// The window's end in UTC epoch seconds, rounded up, so that a request at this time is allowed.
    pub fn reset_at(&self, now: Duration) -> u64 {
        let reset = now.saturating_add(self.resets_in);
        reset.as_secs() + u64::from(reset.subsec_nanos() > 0)
    }
}

/// Counts the requests of one window after the other.
#[derive(Debug)]
pub struct RateWindow {
    limit: RateLimit,
    ends: Duration,
    used: u64,
}

impl RateWindow {
    /// No window is open yet.
    pub fn new(limit: RateLimit) -> Self {
        Self { limit, ends: Duration::ZERO, used: 0 }
    }

    /// Counts a request at `now`, a monotonic time. A request that is not allowed is not counted.
    pub fn admit(&mut self, now: Duration) -> Standing {
        if now >= self.ends {
            self.ends = now.saturating_add(self.limit.window);
            self.used = 0;
        }
        let limit = self.limit.requests.get();
        let admitted = self.used < limit;
        self.used += u64::from(admitted);
        Standing { admitted, limit, remaining: limit - self.used, resets_in: self.ends.saturating_sub(now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(requests: u64, seconds: u64) -> RateLimit {
        RateLimit { requests: NonZeroU64::new(requests).unwrap(), window: Duration::from_secs(seconds) }
    }

    #[test]
    fn it_is_written_as_requests_and_seconds() {
        for (text, expected) in [
            ("100/60", Some(limit(100, 60))),
            ("1/1", Some(limit(1, 1))),
            ("250000", Some(limit(250_000, 3600))),
            ("0", None),
            ("0/60", None),
            ("100/0", None),
            ("100/", None),
            ("/60", None),
            ("", None),
            ("100/60/2", None),
            ("-1/60", None),
            ("100/1m", None),
        ] {
            let error = RateLimitError { given: text.to_owned() };
            assert_eq!(text.parse(), expected.ok_or(error), "{text}");
        }
    }

    #[test]
    fn a_window_opens_with_its_first_request_and_starts_over_at_its_end() {
        let mut window = RateWindow::new(limit(2, 10));
        for (now, admitted, remaining, resets_in) in [
            (3, true, 1, 10),
            (4, true, 0, 9),
            (5, false, 0, 8),
            (12, false, 0, 1),
            (13, true, 1, 10),
            (99, true, 1, 10),
        ] {
            let standing = window.admit(Duration::from_secs(now));
            let resets_in = Duration::from_secs(resets_in);
            assert_eq!(standing, Standing { admitted, limit: 2, remaining, resets_in }, "at {now} s");
        }
    }

    #[test]
    fn the_reset_is_rounded_up() {
        for (now, resets_in, expected) in [(100_000, 2_000, 102), (100_001, 2_000, 103), (100_500, 500, 101)] {
            let resets_in = Duration::from_millis(resets_in);
            let standing = Standing { admitted: false, limit: 1, remaining: 0, resets_in };
            assert_eq!(standing.reset_at(Duration::from_millis(now)), expected, "{now} ms");
        }
    }
}
