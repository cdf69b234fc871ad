//! When a delta removes more than anybody is likely to mean; pure.

use thiserror::Error;

/// Up to so many removals are never too many by their share alone.
const FEW: u64 = 1000;
/// The share of possible members, in percent, past which removals are too many.
const MAX_PERCENT: u64 = 20;

/// What a delta says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemovalLimits {
    /// So many may be members before it.
    pub possible: u64,
    /// So many are to be members after it.
    pub wanted: u64,
    /// Exactly so many removals are meant, where somebody says so.
    pub allowed: Option<u64>,
}

/// Why a delta is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TooMany {
    /// Nobody is to stay.
    #[error("{removals} members would be removed and nobody is wanted; {}", way_out(*.removals))]
    NobodyWanted {
        /// So many would be removed.
        removals: u64,
    },
    /// Fewer than half are to stay.
    #[error(
        "{removals} members would be removed: of the {possible} possible ones fewer than half are wanted ({wanted}); {}",
        way_out(*.removals)
    )]
    UnderHalf {
        /// So many would be removed.
        removals: u64,
        /// So many may be members.
        possible: u64,
        /// So many are to be members.
        wanted: u64,
    },
    /// A large share is to leave.
    #[error(
        "{removals} members would be removed, which is more than {FEW} and more than {MAX_PERCENT} % of the {possible} possible \
         ones; {}", way_out(*.removals)
    )]
    LargeShare {
        /// So many would be removed.
        removals: u64,
        /// So many may be members.
        possible: u64,
    },
    /// The number that was allowed is another one.
    #[error(
        "{removals} members would be removed where allow_removals says {allowed}: it has to be the exact number, for one run. \
         Nothing was sent"
    )]
    NotAsAllowed {
        /// So many would be removed.
        removals: u64,
        /// So many were allowed.
        allowed: u64,
    },
}

fn way_out(removals: u64) -> String {
    format!("nothing was sent. Look at the query first; if it is meant, run it once with allow_removals: {removals}")
}

impl RemovalLimits {
    /// Whether so many removals may be sent. Within the limits they may, whatever was allowed beyond them.
    pub fn check(self, removals: u64) -> Result<(), TooMany> {
        let Self { possible, wanted, allowed } = self;
        let too_many = match removals {
            0 => return Ok(()),
            _ if wanted == 0 => TooMany::NobodyWanted { removals },
            _ if wanted < possible.div_ceil(2) => TooMany::UnderHalf { removals, possible, wanted },
            _ if removals > FEW && u128::from(removals) * 100 > u128::from(possible) * u128::from(MAX_PERCENT) => {
                TooMany::LargeShare { removals, possible }
            }
            _ => return Ok(()),
        };
        match allowed {
            None => Err(too_many),
            Some(allowed) if allowed == removals => Ok(()),
            Some(allowed) => Err(TooMany::NotAsAllowed { removals, allowed }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::nothing_is_removed(0, 10, 0, true)]
    #[case::nobody_is_wanted(1, 1, 0, false)]
    #[case::half(5, 10, 5, true)]
    #[case::half_of_an_odd_number(5, 9, 5, true)]
    #[case::under_half_of_an_odd_number(5, 9, 4, false)]
    #[case::under_half(6, 10, 4, false)]
    #[case::few_of_few(1000, 2000, 1000, true)]
    #[case::more_than_a_thousand_and_a_fifth(1001, 5004, 4003, false)]
    #[case::more_than_a_thousand_and_exactly_a_fifth(1001, 5005, 4004, true)]
    #[case::a_fifth_of_many_exactly(20_000, 100_000, 80_000, true)]
    #[case::a_fifth_of_many_and_one(20_001, 100_000, 80_000, false)]
    #[case::numbers_without_end(u64::MAX, u64::MAX, u64::MAX, false)]
    fn too_many_is_nobody_left_under_half_or_a_large_share(
        #[case] removals: u64,
        #[case] possible: u64,
        #[case] wanted: u64,
        #[case] may: bool,
    ) {
        let limits = RemovalLimits { possible, wanted, allowed: None };
        assert_eq!(limits.check(removals).is_ok(), may);
        assert!(RemovalLimits { allowed: Some(removals), ..limits }.check(removals).is_ok());
        let other = RemovalLimits { allowed: Some(removals.wrapping_add(1)), ..limits };
        assert_eq!(other.check(removals).is_ok(), may);
    }

    #[test]
    fn the_message_says_the_number_that_allows_it() {
        let error = RemovalLimits { possible: 10, wanted: 0, allowed: None }.check(7).unwrap_err();
        assert!(error.to_string().contains("allow_removals: 7"), "{error}");
    }
}
