//! Decides when a run changes more than is probably intended. Pure.

use std::fmt;

use indicatif::HumanCount;
use thiserror::Error;

use crate::mirror::warehouse::Counts;

/// A default limit always allows this many changes.
const FEW: u64 = 1000;

/// How many changes are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// This percentage of the members before, but at least 1,000.
    Default(u64),
    /// This percentage of the members before.
    Percent(u64),
    /// This number.
    Count(u64),
}

impl fmt::Display for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default(percent) => write!(formatter, "{percent} %, at least {}", HumanCount(FEW)),
            Self::Percent(percent) => write!(formatter, "{percent} %"),
            Self::Count(count) => HumanCount(*count).fmt(formatter),
        }
    }
}

impl Limit {
    fn is_passed(self, changed: u64, before: u64) -> bool {
        let is_more = |percent: u64| u128::from(changed) * 100 > u128::from(before) * u128::from(percent);
        match self {
            Self::Default(percent) => changed > FEW && is_more(percent),
            Self::Percent(percent) => is_more(percent),
            Self::Count(limit) => changed > limit,
        }
    }
}

/// How many members may leave and enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `max_removals`.
    pub removals: Limit,
    /// `max_additions`; not for a first run.
    pub additions: Limit,
}

impl Default for Limits {
    fn default() -> Self {
        Self { removals: Limit::Default(20), additions: Limit::Default(100) }
    }
}

/// Why no changes are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub struct Exceeded {
    /// Identifiers that were wanted before.
    pub before: u64,
    /// Identifiers that are wanted now.
    pub wanted: u64,
    /// How many would leave.
    pub left: u64,
    /// How many would enter.
    pub entered: u64,
    /// `max_removals` is exceeded.
    pub by_removals: bool,
    /// `max_additions` is exceeded.
    pub by_additions: bool,
    /// The limits.
    pub limits: Limits,
}

impl Limits {
    /// Whether the changes may be made. An empty table is allowed only if `max_removals` is exactly the number that
    /// would leave. Otherwise a high limit that stays set would let an empty table through.
    pub fn judge(self, counts: Counts, is_first: bool) -> Result<(), Exceeded> {
        let Counts { before, wanted, left, entered, .. } = counts;
        let by_removals =
            if wanted == 0 { self.removals != Limit::Count(left) } else { self.removals.is_passed(left, before) };
        let by_additions = !is_first && self.additions.is_passed(entered, before);
        if by_removals || by_additions {
            return Err(Exceeded { before, wanted, left, entered, by_removals, by_additions, limits: self });
        }
        Ok(())
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, wanted, left, entered, by_removals, by_additions, limits } = *self;
        if wanted == 0 {
            return write!(
                formatter,
                "the table has no identifiers, so all {} in the cohort would be removed. Nothing was sent. If this is intended, start the workflow once with \
                 -p braze_cohort.max_removals={left}",
                HumanCount(left)
            );
        }
        let (mut what, mut anyway) = (Vec::new(), Vec::new());
        if by_removals {
            let (some, all) = (HumanCount(left), HumanCount(before));
            what.push(format!("{some} of {all} identifiers would be removed (max_removals: {})", limits.removals));
            anyway.push(format!("-p braze_cohort.max_removals={left}"));
        }
        if by_additions {
            let (some, all) = (HumanCount(entered), HumanCount(before));
            what.push(format!("{some} would be added to {all} (max_additions: {})", limits.additions));
            anyway.push(format!("-p braze_cohort.max_additions={entered}"));
        }
        write!(
            formatter,
            "{}. Nothing was sent. Check the table; if this is intended, start the workflow once with {}",
            what.join(", and "),
            anyway.join(" ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn counts(before: u64, left: u64, entered: u64) -> Counts {
        Counts { before, left, entered, wanted: before - left + entered, ..Counts::default() }
    }

    #[rstest]
    #[case::nothing(Limit::Default(20), 0, 10, true)]
    #[case::few(Limit::Default(20), 1000, 1001, true)]
    #[case::more_than_few(Limit::Default(20), 1001, 5004, false)]
    #[case::a_fifth(Limit::Default(20), 1001, 5005, true)]
    #[case::a_percentage_has_no_least_number(Limit::Percent(20), 3, 10, false)]
    #[case::nothing_at_all(Limit::Percent(0), 1, 1_000_000, false)]
    #[case::a_number(Limit::Count(7), 7, 8, true)]
    #[case::one_more(Limit::Count(7), 8, 9, false)]
    #[case::without_end(Limit::Default(20), u64::MAX - 1, u64::MAX, false)]
    fn removals_have_a_limit(#[case] removals: Limit, #[case] left: u64, #[case] before: u64, #[case] may: bool) {
        let limits = Limits { removals, ..Limits::default() };
        assert_eq!(limits.judge(counts(before, left, 0), false).is_ok(), may);
        let exactly = Limits { removals: Limit::Count(left), ..limits };
        assert!(exactly.judge(counts(before, left, 0), false).is_ok());
    }

    #[rstest]
    #[case::as_many_again(5000, 5000, true)]
    #[case::one_more(5001, 5000, false)]
    #[case::few(1000, 1, true)]
    fn additions_have_a_limit_but_on_a_first_run(#[case] entered: u64, #[case] before: u64, #[case] may: bool) {
        assert_eq!(Limits::default().judge(counts(before, 0, entered), false).is_ok(), may);
        assert!(Limits::default().judge(counts(before, 0, entered), true).is_ok());
    }

    #[rstest]
    #[case::by_default(Limit::Default(20), false)]
    #[case::a_high_limit_that_stays_set(Limit::Count(1_000_000), false)]
    #[case::all(Limit::Percent(100), false)]
    #[case::exactly_the_number(Limit::Count(3), true)]
    fn an_empty_table_passes_only_with_the_exact_number(#[case] removals: Limit, #[case] may: bool) {
        assert_eq!(Limits { removals, ..Limits::default() }.judge(counts(3, 3, 0), false).is_ok(), may);
    }

    #[test]
    fn an_empty_table_is_no_first_run_by_itself() {
        assert!(Limits::default().judge(Counts::default(), true).is_err());
    }

    #[test]
    fn the_message_says_what_lets_exactly_this_pass() {
        let limits = Limits { removals: Limit::Count(0), additions: Limit::Count(0) };
        let said = limits.judge(counts(10, 4, 6), false).unwrap_err().to_string();
        assert!(said.ends_with("-p braze_cohort.max_removals=4 -p braze_cohort.max_additions=6"), "{said}");
        let said = limits.judge(counts(10, 10, 0), false).unwrap_err().to_string();
        assert!(said.starts_with("the table has no identifiers") && said.ends_with("max_removals=10"), "{said}");
    }
}
