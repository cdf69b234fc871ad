//! Which request is to go wrong, and how; decided by its number alone, so that a run can be repeated.

use std::num::NonZeroU64;

/// How a request goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answered with 503, and not applied.
    Unavailable,
}

/// Decides the fault of one API request after the other.
#[derive(Debug, Default)]
pub struct FaultPlan {
    fail_every: Option<NonZeroU64>,
    seen: u64,
}

impl FaultPlan {
    /// A plan in which every n-th request is unavailable, or none.
    pub fn new(fail_every: Option<NonZeroU64>) -> Self {
        Self { fail_every, seen: 0 }
    }

    /// The fault of the next request; `None` lets it through.
    pub fn next(&mut self) -> Option<Fault> {
        self.seen += 1;
        fault(self.fail_every, self.seen)
    }
}

/// The fault of the `number`-th request, counted from 1.
fn fault(fail_every: Option<NonZeroU64>, number: u64) -> Option<Fault> {
    let every = fail_every?;
    number.is_multiple_of(every.get()).then_some(Fault::Unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_nth_request_fails() {
        for (every, expected) in [
            (0, [false, false, false, false, false, false]),
            (1, [true, true, true, true, true, true]),
            (2, [false, true, false, true, false, true]),
            (3, [false, false, true, false, false, true]),
            (7, [false, false, false, false, false, false]),
        ] {
            let mut plan = FaultPlan::new(NonZeroU64::new(every));
            assert_eq!([(); 6].map(|()| plan.next().is_some()), expected, "every {every}");
        }
    }
}
