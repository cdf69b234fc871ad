//! Tries every interleaving of a few runs of the mirror over three identifiers, with crashes, lost answers, late
//! requests and renames, and stale lists. It runs `run` itself, on a small world.

use std::cell::Cell;

mod actor;
mod node;
mod replay;
mod search;
mod tests;
mod world;

/// What `run` relies on others for. A test can remove one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contract {
    /// Identifiers that share a row with a removal are sent again.
    RowMatesAreUnconfirmed,
    /// What is to be removed is unconfirmed, and stays in the version...
    RemovedIsUnconfirmed,
    /// ... with its rows.
    RemovedStaysUntilDone,
    /// A refused removal stays, to be tried again.
    RefusedRemovalStays,
    /// A rename does not overwrite.
    RenameOverwritesNothing,
    /// A sender looks before its first request.
    FirstLook,
    /// No request begins after the time of the last look.
    NoneBeginsTooLate,
    /// No request lasts longer.
    NoneLastsTooLong,
    /// Unanswered requests are reported.
    UnansweredIsSaid,
}

thread_local! {
    static BROKEN: Cell<Option<Contract>> = const { Cell::new(None) };
}

fn breaks(contract: Contract) -> bool {
    BROKEN.get() == Some(contract)
}

fn breaking<T>(contract: Contract, check: impl FnOnce() -> T) -> T {
    BROKEN.set(Some(contract));
    let result = check();
    BROKEN.set(None);
    result
}
