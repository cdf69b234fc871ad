//! The known name that a mistyped one resembles.

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
    use super::nearest;
    use rstest::rstest;

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
