//! The known name that a mistyped one resembles.

use std::collections::HashMap;
use std::fmt;

/// The most pairs of names that are compared letter by letter; beyond that only case, spaces and separators are looked at.
const MAX_PAIRS: usize = 20_000;

/// Two names that are nearly the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearMiss {
    /// As it is.
    pub seen: String,
    /// As it would be looked for.
    pub wanted: String,
}

impl fmt::Display for NearMiss {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} (nearly {})", self.seen, self.wanted)
    }
}

/// These near misses, for a message.
pub fn listed(misses: &[NearMiss]) -> String {
    const SHOWN: usize = 10;
    let shown = misses.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let more = misses.len().saturating_sub(SHOWN);
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// Of the seen names those that differ from a wanted one in case, spaces, separators, invisible characters, or one letter.
pub fn near_misses<'a>(seen: impl Iterator<Item = &'a str>, wanted: &[String]) -> Vec<NearMiss> {
    let wanted: Vec<_> = wanted.iter().map(|name| (fold(name), name)).collect();
    let equal: HashMap<_, _> = wanted.iter().map(|(folded, name)| (folded.as_str(), *name)).collect();
    let mut pairs = 0;
    let mut is_close = |folded: &str, other: &str| {
        pairs += 1;
        pairs <= MAX_PAIRS && folded.len().abs_diff(other.len()) <= 4 && strsim::damerau_levenshtein(folded, other) <= 1
    };
    seen.filter_map(|seen| {
        let folded = fold(seen);
        let found = equal
            .get(folded.as_str())
            .copied()
            .or_else(|| wanted.iter().find(|(other, _)| is_close(&folded, other)).map(|(_, name)| *name))?;
        Some(NearMiss { seen: seen.to_owned(), wanted: found.clone() })
    })
    .collect()
}

/// The candidate that is most like `name`, where one is like enough: equal but for case, spaces and separators, or two
/// edits away at most (one, for names of four letters or fewer).
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(name);
    let allowed = if folded.chars().count() <= 4 { 1 } else { 2 };
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&folded, &fold(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn fold(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn a_name_that_is_nearly_a_wanted_one_is_found() {
        let seen = ["USER_IDS", "user_id", "user_ids ", "user\u{200b}_ids", "name", "e-mail", "mail"];
        let wanted = ["user_ids", "device_ids", "email"].map(str::to_owned);
        let found: Vec<_> = near_misses(seen.into_iter(), &wanted).iter().map(|miss| miss.seen.clone()).collect();
        assert_eq!(found, ["USER_IDS", "user_id", "user_ids ", "user\u{200b}_ids", "e-mail", "mail"]);
        let shown = listed(&near_misses(["user\u{200b}_ids"].into_iter(), &wanted));
        assert_eq!(shown, "\"user\\u{200b}_ids\" (nearly user_ids)");
    }

    #[test]
    fn many_names_are_compared_in_bounded_time() {
        let seen: Vec<_> = (0..10_000).map(|number| format!("column_{number:05}")).collect();
        let wanted: Vec<_> = (0..1000).map(|number| format!("alias_x_{number:04}")).collect();
        let started = std::time::Instant::now();
        assert!(near_misses(seen.iter().map(String::as_str), &wanted).is_empty());
        assert!(nearest("column_x", wanted.iter().map(String::as_str)).is_none());
        assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    }

    #[rstest]
    #[case("cohortid", Some("cohort_id"))]
    #[case("Cohort-ID", Some("cohort_id"))]
    #[case("chort_id", Some("cohort_id"))]
    #[case("thread_cuont", Some("thread_count"))]
    #[case("inptu", Some("input"))]
    #[case("threads", None)]
    #[case("x", None)]
    fn finds_the_name_that_was_meant(#[case] written: &str, #[case] meant: Option<&str>) {
        assert_eq!(nearest(written, ["cohort_id", "thread_count", "input"].into_iter()), meant);
    }
}
