//! The conditions on which the protocol rests, by name, so that a test can take out one at a time and has to notice. In the product
//! each of them always holds, and nothing of this is left.

/// A condition without which a cohort may become wrong, or a run stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// A version above ours ends the run.
    NewerVersionStops,
    /// A look is good only if it shows our own version.
    LookShowsOurs,
    /// What a look allows ends, `request_timeout` after it was begun.
    PermissionEnds,
    /// A run at work is given the time that its last look allows...
    TakeoverWaitsForLook,
    /// ... and that of its last request...
    TakeoverWaitsForRequests,
    /// ... and of a list that does not show us yet...
    TakeoverWaitsForStaleList,
    /// ... and of what was never answered.
    TakeoverWaitsForGrace,
    /// It is given that time after it can see us.
    TakeoverWaitsAfterRename,
    /// Additions begin when no removal can take effect any more.
    GraceAfterRemovals,
    /// A version is committed when no request can take effect any more.
    GraceAfterAdditions,
    /// Runs with nothing to send take an odd number too.
    QuietRunsTakeOdd,
    /// A run with nothing to send has something to wait for all the same if another one was at work.
    QuietOnlyOnEven,
    /// A version is ours only if it is our table, whatever its number is.
    TablesAreKnownById,
    /// A rename that may have taken effect is not taken for done.
    LostRenameIsNotDone,
    /// Additions begin only if every removal was delivered or refused.
    RemovalsComplete,
    /// A version is committed only if every addition was delivered or refused.
    AdditionsComplete,
    /// What was refused is told to the commit.
    RefusedIsTold,
    /// The next number is above the highest, and odd.
    NextNumberIsOdd,
    /// Only what is below the highest version is deleted.
    HighestIsKept,
}

/// Whether a condition is to be kept.
#[cfg(not(test))]
pub const fn keeps(_: Guard) -> bool {
    true
}

#[cfg(test)]
thread_local! {
    static REMOVED: std::cell::Cell<Option<Guard>> = const { std::cell::Cell::new(None) };
}

/// Whether a condition is to be kept.
#[cfg(test)]
pub fn keeps(guard: Guard) -> bool {
    REMOVED.get() != Some(guard)
}

/// Runs `check` without one condition.
#[cfg(test)]
pub fn without<T>(guard: Guard, check: impl FnOnce() -> T) -> T {
    REMOVED.set(Some(guard));
    let result = check();
    REMOVED.set(None);
    result
}
