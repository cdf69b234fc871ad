//! Finds the name that a mistyped one resembles.

use std::fmt;

use crate::input::first_of;

/// How many pairs of names are compared letter by letter. Further pairs must be equal except for case, spaces and
/// separators.
const MAX_PAIRS: usize = 20_000;

/// The longest name of a column.
const MAX_NAME_LETTERS: usize = 64;

/// Two names that are nearly the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearMiss {
    /// The input's name.
    pub seen: String,
    /// The expected name.
    pub wanted: String,
}

impl fmt::Display for NearMiss {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} (nearly {})", self.seen, self.wanted)
    }
}

/// These near misses, for a message.
pub fn listed(misses: &[NearMiss]) -> String {
    first_of(misses.iter().map(ToString::to_string), 10)
}

/// The names that are looked for, with a limit on letter-by-letter comparisons.
struct Candidates<'a> {
    /// Each name with its folded form.
    names: Vec<(String, &'a str)>,
    pairs_left: usize,
}

impl<'a> Candidates<'a> {
    fn new(names: impl Iterator<Item = &'a str>) -> Self {
        Self { names: names.map(|name| (fold(name), name)).collect(), pairs_left: MAX_PAIRS }
    }

    /// The name most like `name`: equal except for case, spaces, separators and invisible characters, or at most `most`
    /// edits away (one, for names of four letters or fewer).
    fn closest(&mut self, name: &str, most: usize) -> Option<&'a str> {
        let folded = fold(name);
        if let Some((_, equal)) = self.names.iter().find(|(other, _)| *other == folded) {
            return Some(equal);
        }
        let letters = folded.chars().count();
        let allowed = if letters <= 4 { 1 } else { most };
        let similar = self.names.iter().filter(|(other, _)| letters.abs_diff(other.chars().count()) <= allowed);
        let compared = similar.take(self.pairs_left).inspect(|_| self.pairs_left -= 1);
        let near = compared.map(|(other, name)| (strsim::damerau_levenshtein(&folded, other), *name));
        near.filter(|(distance, _)| *distance <= allowed).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
    }
}

/// The seen names that differ from a wanted one only in case, spaces, separators, invisible characters, or at most
/// `most` edits.
pub fn near_misses<'a>(
    seen: impl Iterator<Item = &'a str>,
    wanted: &[String],
    most: usize,
) -> impl Iterator<Item = NearMiss> {
    let mut candidates = Candidates::new(wanted.iter().map(String::as_str));
    seen.filter(|seen| !is_long(seen)).filter_map(move |seen| {
        let wanted = candidates.closest(seen, most)?.to_owned();
        Some(NearMiss { seen: seen.to_owned(), wanted })
    })
}

/// Whether it is longer than a column name can be. It may be data, of any length.
pub fn is_long(name: &str) -> bool {
    name.chars().nth(MAX_NAME_LETTERS).is_some()
}

/// The candidate that is most like `name`, at most two edits away.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    Candidates::new(candidates).closest(name, 2)
}

/// Whether the names are equal except for case, spaces, separators and invisible characters.
pub fn is_alike(name: &str, other: &str) -> bool {
    let folded = fold(name);
    !folded.is_empty() && folded == fold(other)
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
        let found: Vec<_> = near_misses(seen.into_iter(), &wanted, 1).map(|miss| miss.seen).collect();
        assert_eq!(found, ["USER_IDS", "user_id", "user_ids ", "user\u{200b}_ids", "e-mail", "mail"]);
        let shown = listed(&near_misses(["user\u{200b}_ids"].into_iter(), &wanted, 1).collect::<Vec<_>>());
        assert_eq!(shown, "\"user\\u{200b}_ids\" (nearly user_ids)");
    }

    #[test]
    fn many_names_are_compared_in_bounded_time() {
        let seen: Vec<_> = (0..10_000).map(|number| format!("column_{number:05}")).collect();
        let wanted: Vec<_> = (0..1000).map(|number| format!("alias_x_{number:04}")).collect();
        let started = std::time::Instant::now();
        assert!(near_misses(seen.iter().map(String::as_str), &wanted, 1).next().is_none());
        assert!(nearest("column_x", wanted.iter().map(String::as_str)).is_none());
        let mut candidates = Candidates::new(wanted.iter().map(String::as_str));
        assert!(seen.iter().all(|name| candidates.closest(name, 2).is_none()));
        assert_eq!(
            candidates.closest("ALIAS-x-0007", 2),
            Some("alias_x_0007"),
            "equal but for case, however many there were"
        );
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
