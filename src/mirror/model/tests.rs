//! What is searched, and what a search has to notice.

use rstest::rstest;

use super::actor::Ticks;
use super::node::Scenario;
use super::search::search;
use super::world::{A, B, C, rows};
use super::{Contract, breaking};
use crate::mirror::guard::{Guard, without};

/// More that may go wrong in each search, and more stories with it: minutes. scripts/check sets it.
const MORE: &str = "MIRROR_MODEL_FAULTS";

const TICKS: Ticks = Ticks { request_timeout: 1, longest_try: 1, stale: 1, grace: 1 };

#[derive(Clone, Copy, Debug)]
enum Story {
    /// Somebody enters, somebody leaves, and it is all a mistake.
    BackAndForth,
    /// There was no run before.
    First,
    /// A user's identifier becomes one that Braze does not know yet.
    NewAddress,
    /// A user stays by one identifier, another one leaves.
    Stays,
    /// Nothing changes, and something is sent again.
    Refreshed,
}

const STORIES: [Story; 5] = [Story::First, Story::NewAddress, Story::Refreshed, Story::BackAndForth, Story::Stays];

fn scenario(story: Story, faults: u8) -> Scenario {
    let known = [Some(0), Some(0), Some(1)];
    let of = |before, tables| Scenario {
        users: known,
        before,
        tables,
        due: 0,
        runs: 2,
        faults,
        crashes: false,
        ticks: TICKS,
    };
    match story {
        Story::BackAndForth => of(Some(rows(&[A])), [rows(&[C]), rows(&[A])]),
        Story::First => of(None, [rows(&[A]), rows(&[C])]),
        Story::NewAddress => {
            let users = [Some(0), Some(0), None];
            Scenario { users, ..of(Some(rows(&[A | B])), [rows(&[A | C]); 2]) }
        }
        Story::Stays => of(Some(rows(&[A | B, C])), [rows(&[B]), rows(&[A | B])]),
        Story::Refreshed => Scenario { due: A, ..of(Some(rows(&[A])), [rows(&[A]), rows(&[C])]) },
    }
}

/// The first story that goes wrong, from the smallest on.
fn check(faults: u8) -> Option<String> {
    (0..=faults).flat_map(|faults| STORIES.map(|story| scenario(story, faults))).find_map(|scenario| {
        let (wrong, trace) = search(&scenario).wrong?;
        Some(format!("{wrong}: {scenario:?}\n{trace:#?}"))
    })
}

fn more_faults() -> u8 {
    std::env::var(MORE).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[rstest]
#[case(Story::First, 1)]
#[case(Story::NewAddress, 1)]
#[case(Story::Refreshed, 0)]
#[case(Story::BackAndForth, 0)]
#[case(Story::Stays, 0)]
fn nothing_goes_wrong_in_any_order(#[case] story: Story, #[case] faults: u8) {
    let found = search(&scenario(story, faults.max(more_faults())));
    assert_eq!(found.wrong, None, "{story:?}");
    assert!(found.states > 10_000 && found.ends > 1000, "the search has lost its way: {found:?}");
}

#[rstest]
fn a_run_that_is_known_to_be_dead_is_cleaned_up_after() {
    let found = search(&Scenario { crashes: true, ..scenario(Story::BackAndForth, 0) });
    assert_eq!(found.wrong, None);
}

const GUARDS: [Guard; 19] = [
    Guard::NewerVersionStops,
    Guard::LookShowsOurs,
    Guard::PermissionEnds,
    Guard::TakeoverWaitsForLook,
    Guard::TakeoverWaitsForRequests,
    Guard::TakeoverWaitsForStaleList,
    Guard::TakeoverWaitsForGrace,
    Guard::TakeoverWaitsAfterRename,
    Guard::GraceAfterRemovals,
    Guard::GraceAfterAdditions,
    Guard::QuietRunsTakeOdd,
    Guard::QuietOnlyOnEven,
    Guard::TablesAreKnownById,
    Guard::LostRenameIsNotDone,
    Guard::RemovalsComplete,
    Guard::AdditionsComplete,
    Guard::RefusedIsTold,
    Guard::NextNumberIsOdd,
    Guard::HighestIsKept,
];

const CONTRACTS: [Contract; 9] = [
    Contract::RowMatesAreUnconfirmed,
    Contract::RemovedIsUnconfirmed,
    Contract::RemovedStaysUntilDone,
    Contract::RefusedRemovalStays,
    Contract::RenameOverwritesNothing,
    Contract::FirstLook,
    Contract::NoneBeginsTooLate,
    Contract::NoneLastsTooLong,
    Contract::UnansweredIsSaid,
];

#[test]
fn each_guard_is_needed() {
    let missed: Vec<_> = GUARDS.into_iter().filter(|guard| without(*guard, || check(1)).is_none()).collect();
    assert_eq!(missed, []);
}

#[test]
fn each_promise_of_others_is_needed() {
    let missed: Vec<_> = CONTRACTS.into_iter().filter(|contract| breaking(*contract, || check(1)).is_none()).collect();
    assert_eq!(missed, []);
}
