//! What a sink saw, and the limit that it keeps.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::digest::digest;

/// Since it was last asked.
#[derive(Debug, Default, Serialize)]
pub struct Seen {
    /// With identifiers, answered by 201.
    pub requests: u64,
    /// Calls that name the cohort.
    pub first_calls: u64,
    /// Requests that it did not understand.
    pub bad: u64,
    /// Answers of 429.
    pub refused: u64,
    pub body_bytes: u64,
    pub most_in_flight: u64,
    #[serde(skip)]
    pub in_flight: u64,
    /// With `--parse` alone, as the digest is.
    pub identifiers: u64,
    #[serde(serialize_with = "as_hex")]
    pub digest: u64,
    /// With a quota: the requests of each period, those with 429 left out.
    pub periods: Vec<u64>,
    #[serde(skip)]
    period_ends: Option<u64>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde prescribes it")]
fn as_hex<S: serde::Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{number:016x}"))
}

/// So many requests in each period of so many seconds.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    pub requests: u64,
    pub seconds: u64,
}

/// What the headers of an answer say.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    pub is_admitted: bool,
    pub remaining: u64,
    /// In UTC epoch seconds.
    pub reset_at: u64,
}

impl Quota {
    /// `400/60`
    pub fn parse(text: &str) -> Result<Self, String> {
        let parse = || {
            let (requests, seconds) = text.split_once('/')?;
            Some(Self {
                requests: requests.parse().ok()?,
                seconds: seconds.parse().ok().filter(|seconds| *seconds > 0)?,
            })
        };
        parse().ok_or_else(|| format!("{text} is not REQUESTS/SECONDS"))
    }

    /// Counts a request. The first one begins the first period; one period follows the other, as an hour does.
    pub fn admit(self, seen: &mut Seen) -> Standing {
        let now = epoch().as_secs();
        let mut ends = *seen.period_ends.get_or_insert_with(|| {
            seen.periods.push(0);
            now + self.seconds
        });
        while now >= ends {
            ends += self.seconds;
            seen.periods.push(0);
        }
        seen.period_ends = Some(ends);
        let used = seen.periods.last_mut().map_or(0, |used| {
            *used += 1;
            *used
        });
        let is_admitted = used <= self.requests;
        if !is_admitted {
            if let Some(used) = seen.periods.last_mut() {
                *used -= 1;
            }
            seen.refused += 1;
        }
        Standing { is_admitted, remaining: self.requests.saturating_sub(used), reset_at: ends }
    }
}

#[expect(clippy::disallowed_methods, reason = "the headers of a limit are in wall time")]
fn epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[derive(Deserialize)]
struct Body {
    cohort_changes: Vec<Change>,
}

#[derive(Deserialize)]
struct Change {
    #[serde(default)]
    user_ids: Vec<String>,
    #[serde(default)]
    device_ids: Vec<String>,
    #[serde(default)]
    aliases: Vec<Alias>,
}

#[derive(Deserialize)]
struct Alias {
    alias_label: String,
    alias_name: String,
}

/// How many identifiers a body holds, and what their digests add up to. None if Braze would not take it.
pub fn look_into(body: &[u8]) -> Option<(u64, u64)> {
    let body: Body = serde_json::from_slice(body).ok()?;
    let (mut count, mut sum) = (0, 0_u64);
    let mut add = |label: &str, identifier: &str| {
        count += 1;
        sum = sum.wrapping_add(digest(label, identifier));
    };
    for change in &body.cohort_changes {
        change.user_ids.iter().for_each(|identifier| add("user_ids", identifier));
        change.device_ids.iter().for_each(|identifier| add("device_ids", identifier));
        change.aliases.iter().for_each(|alias| add(&alias.alias_label, &alias.alias_name));
    }
    (1..=1000).contains(&count).then_some((count, sum))
}
