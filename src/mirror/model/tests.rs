//! What is searched, and which faults a search must notice.

use rstest::rstest;

use super::actor::Ticks;
use super::node::Scenario;
use super::search::search;
use super::world::{A, B, C, rows};
use super::{Contract, breaking};
use crate::mirror::guard::{Guard, without};

/// The least number of faults in each search. scripts/check sets it; the searches then take minutes.
const MORE: &str = "MIRROR_MODEL_FAULTS";

const TICKS: Ticks = Ticks { request_timeout: 1, longest_try: 1, stale: 1, grace: 1 };

#[derive(Clone, Copy, Debug)]
enum Story {
    /// A user enters, another leaves, and the next table reverses both.
    BackAndForth,
    /// There was no run before.
    First,
    /// A user's identifier becomes one that Braze does not know yet.
    NewAddress,
    /// A user stays with one identifier, another one leaves.
    Stays,
    /// Nothing changes, and something is sent again.
    Refreshed,
}

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

/// Each guard, with a story that shows it and the number of faults needed.
const GUARDS: [(Guard, Story, u8); 19] = [
    (Guard::NewerVersionStops, Story::First, 0),
    (Guard::LookShowsOurs, Story::First, 0),
    (Guard::PermissionEnds, Story::First, 0),
    (Guard::TakeoverWaitsForLook, Story::First, 1),
    (Guard::TakeoverWaitsForRequests, Story::First, 1),
    (Guard::TakeoverWaitsForStaleList, Story::First, 1),
    (Guard::TakeoverWaitsForGrace, Story::First, 1),
    (Guard::TakeoverWaitsAfterRename, Story::First, 0),
    (Guard::GraceAfterRemovals, Story::BackAndForth, 1),
    (Guard::GraceAfterAdditions, Story::First, 1),
    (Guard::QuietRunsTakeOdd, Story::BackAndForth, 0),
    (Guard::QuietOnlyOnEven, Story::Refreshed, 1),
    (Guard::TablesAreKnownById, Story::First, 0),
    (Guard::LostRenameIsNotDone, Story::First, 1),
    (Guard::RemovalsComplete, Story::BackAndForth, 1),
    (Guard::AdditionsComplete, Story::First, 1),
    (Guard::RefusedIsTold, Story::First, 1),
    (Guard::NextNumberIsOdd, Story::First, 0),
    (Guard::HighestIsKept, Story::First, 0),
];

const PROMISES: [(Contract, Story, u8); 9] = [
    (Contract::RowMatesAreUnconfirmed, Story::NewAddress, 0),
    (Contract::RemovedIsUnconfirmed, Story::BackAndForth, 0),
    (Contract::RemovedStaysUntilDone, Story::BackAndForth, 0),
    (Contract::RefusedRemovalStays, Story::BackAndForth, 1),
    (Contract::RenameOverwritesNothing, Story::First, 0),
    (Contract::FirstLook, Story::First, 0),
    (Contract::NoneBeginsTooLate, Story::First, 0),
    (Contract::NoneLastsTooLong, Story::First, 1),
    (Contract::UnansweredIsSaid, Story::First, 1),
];

fn goes_wrong(story: Story, faults: u8) -> bool {
    search(&scenario(story, faults)).wrong.is_some()
}

#[test]
fn each_guard_is_needed() {
    let is_missed = |(guard, story, faults): &(Guard, Story, u8)| !without(*guard, || goes_wrong(*story, *faults));
    let missed: Vec<_> = GUARDS.into_iter().filter(is_missed).map(|(guard, ..)| guard).collect();
    assert_eq!(missed, []);
}

#[test]
fn each_promise_of_others_is_needed() {
    let is_missed =
        |(promise, story, faults): &(Contract, Story, u8)| !breaking(*promise, || goes_wrong(*story, *faults));
    let missed: Vec<_> = PROMISES.into_iter().filter(is_missed).map(|(promise, ..)| promise).collect();
    assert_eq!(missed, []);
}
