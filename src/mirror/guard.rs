//! The conditions that the protocol relies on, by name. A test removes one at a time, and must notice. In the product
//! all of them hold, and the checks are optimised away.

/// A condition that keeps cohorts correct and runs from getting stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// A version above ours ends the run.
    NewerVersionStops,
    /// A look is good only if it shows our own version.
    LookShowsOurs,
    /// What a look permits ends `request_timeout` after the look began.
    PermissionEnds,
    /// The takeover waits for the time that the other run's last look permits...
    TakeoverWaitsForLook,
    /// ... and that of its last request...
    TakeoverWaitsForRequests,
    /// ... and because a list may not show us yet...
    TakeoverWaitsForStaleList,
    /// ... and for unanswered requests.
    TakeoverWaitsForGrace,
    /// It begins only after the other run can see us.
    TakeoverWaitsAfterRename,
    /// Additions begin when no removal can take effect any more.
    GraceAfterRemovals,
    /// A version is committed when no request can take effect any more.
    GraceAfterAdditions,
    /// Runs with nothing to send take an odd number, too.
    QuietRunsTakeOdd,
    /// A run with nothing to send still waits if another run was at work.
    QuietOnlyOnEven,
    /// A version is ours only if it is our table, whatever its number.
    TablesAreKnownById,
    /// A rename that may have taken effect is not treated as done.
    LostRenameIsNotDone,
    /// Additions begin only if every removal was delivered or refused.
    RemovalsComplete,
    /// A version is committed only if every addition was delivered or refused.
    AdditionsComplete,
    /// The commit is told what was refused.
    RefusedIsTold,
    /// The next number is above the highest, and odd.
    NextNumberIsOdd,
    /// Only versions below the highest are deleted.
    HighestIsKept,
}

/// Whether a condition must hold.
#[cfg(not(test))]
pub const fn keeps(_: Guard) -> bool {
    true
}

#[cfg(test)]
thread_local! {
    static REMOVED: std::cell::Cell<Option<Guard>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
pub fn keeps(guard: Guard) -> bool {
    REMOVED.get() != Some(guard)
}

#[cfg(test)]
pub fn without<T>(guard: Guard, check: impl FnOnce() -> T) -> T {
    REMOVED.set(Some(guard));
    let result = check();
    REMOVED.set(None);
    result
}
