//! The passes over an input: one, or where each row says its operation, all removals and then all additions.

use super::{Limits, Pass, Reader};
use crate::input::columns::Names;
use crate::input::counters::InputAccount;
use crate::input::error::InputError;
use crate::input::source::Sources;
use crate::members::operation::Operations;

/// A second pass, not begun yet.
pub struct Second {
    sources: Sources,
    names: Names,
    limits: Limits,
}

impl Second {
    /// Begins it, when all of the first pass is settled; `account` is what the first pass counted.
    pub fn begin(self, account: InputAccount) -> Result<Reader, InputError> {
        Ok(Reader::new(self.sources, &self.names, self.limits, Pass::Additions)?.counting_on(account))
    }
}

/// Opens the input for the first pass, and keeps what a second one needs.
pub fn open(
    sources: Sources,
    names: &Names,
    limits: Limits,
    operations: &Operations,
) -> Result<(Reader, Option<Second>), InputError> {
    match operations {
        Operations::One(operation) => Ok((Reader::new(sources, names, limits, Pass::Every(*operation))?, None)),
        Operations::Column(_) => {
            let (first, again) = sources.twice()?;
            let reader = Reader::new(first, names, limits, Pass::Removals)?;
            Ok((reader, Some(Second { sources: again, names: names.clone(), limits })))
        }
    }
}
