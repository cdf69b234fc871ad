//! The passes over an input: one, or where each row says its operation, one to judge it, one for all removals, and one for all
//! additions.

use super::{Limits, Pass, Reader};
use crate::input::columns::Names;
use crate::input::counters::InputAccount;
use crate::input::error::InputError;
use crate::input::source::Sources;
use crate::members::operation::Operations;

/// What follows when the first pass has judged the input to be usable.
pub struct Rest {
    removals: Sources,
    additions: Sources,
    names: Names,
    limits: Limits,
}

/// The last pass, not begun yet.
pub struct Additions {
    sources: Sources,
    names: Names,
    limits: Limits,
}

impl Rest {
    /// Begins with the removals.
    pub fn begin(self) -> Result<(Reader, Additions), InputError> {
        let Self { removals, additions, names, limits } = self;
        let reader = Reader::new(removals, &names, limits, Pass::Removals)?;
        Ok((reader, Additions { sources: additions, names, limits }))
    }
}

impl Additions {
    /// Begins them, when all removals are settled; `account` is what was counted of these.
    pub fn begin(self, account: InputAccount) -> Result<Reader, InputError> {
        Ok(Reader::new(self.sources, &self.names, self.limits, Pass::Additions)?.counting_on(account))
    }
}

/// Opens the input for the first pass, and keeps what later ones need.
pub fn open(
    sources: Sources,
    names: &Names,
    limits: Limits,
    operations: &Operations,
) -> Result<(Reader, Option<Rest>), InputError> {
    match operations {
        Operations::One(operation) => Ok((Reader::new(sources, names, limits, Pass::Every(*operation))?, None)),
        Operations::Column(_) => {
            let [judged, removals, additions] = sources.thrice()?;
            let reader = Reader::new(judged, names, limits, Pass::Judging)?;
            Ok((reader, Some(Rest { removals, additions, names: names.clone(), limits })))
        }
    }
}
