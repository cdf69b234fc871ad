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

    /// Counts a request at `now`, a monotonic time; `epoch` is the same time in UTC. Returns whether it is allowed, and
    /// the answer's headers. A refused request is not counted.
    pub fn admit(&mut self, now: Duration, epoch: Duration) -> (bool, [(&'static str, String); 3]) {
        if now >= self.ends {
            self.ends = now.saturating_add(self.limit.window);
            self.used = 0;
        }
        let limit = self.limit.requests.get();
        let is_allowed = self.used < limit;
        self.used += u64::from(is_allowed);
        // Up to a second after the end, so that a request at this time is allowed.
        let reset = epoch.saturating_add(self.ends.saturating_sub(now)).as_secs() + 1;
        let headers = [
            ("X-RateLimit-Limit", limit.to_string()),
            ("X-RateLimit-Remaining", (limit - self.used).to_string()),
            ("X-RateLimit-Reset", reset.to_string()),
        ];
        (is_allowed, headers)
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
        for (now, is_allowed, remaining, reset) in [
            (3, true, "1", "114"),
            (4, true, "0", "114"),
            (5, false, "0", "114"),
            (12, false, "0", "114"),
            (13, true, "1", "124"),
            (99, true, "1", "210"),
        ] {
            let now = Duration::from_secs(now);
            let (allowed, headers) = window.admit(now, now + Duration::from_secs(100));
            let values = headers.each_ref().map(|(_, value)| value.as_str());
            assert_eq!((allowed, values), (is_allowed, ["2", remaining, reset]), "at {now:?}");
        }
    }
}
