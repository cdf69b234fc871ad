//! Every interleaving of a few runs of the mirror over three identifiers, with crashes, lost answers, requests and renames that take
//! effect late, and lists that are old: `run` itself, on a small world.

use std::cell::Cell;

mod actor;
mod node;
mod replay;
mod search;
mod tests;
mod world;

/// What `run` relies on others for, so that a test can take out one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contract {
    /// What shares a row with a removal is sent again.
    RowMatesAreUnconfirmed,
    /// What is to be removed is unconfirmed, and stays in the version...
    RemovedIsUnconfirmed,
    /// ... with its rows.
    RemovedStaysUntilDone,
    /// A refused removal stays, to be removed.
    RefusedRemovalStays,
    /// A rename does not overwrite.
    RenameOverwritesNothing,
    /// A sender looks before its first request.
    FirstLook,
    /// No request begins when the time of the last look is over.
    NoneBeginsTooLate,
    /// None lasts longer.
    NoneLastsTooLong,
    /// Unanswered requests are reported.
    UnansweredIsSaid,
}

thread_local! {
    static BROKEN: Cell<Option<Contract>> = const { Cell::new(None) };
}

/// Whether a promise is not kept.
fn breaks(contract: Contract) -> bool {
    BROKEN.get() == Some(contract)
}

/// Runs `check` with others who break one promise.
fn breaking<T>(contract: Contract, check: impl FnOnce() -> T) -> T {
    BROKEN.set(Some(contract));
    let result = check();
    BROKEN.set(None);
    result
}
