//! The passes over an input: one, or where each row says its operation, one to judge it, one for all removals, and one for all
//! additions.

use super::{Limits, Pass, Reader};
use crate::input::columns::Names;
use crate::input::error::InputError;
use crate::input::source::Sources;
use crate::members::operation::Operations;

/// A pass that has not begun yet.
pub struct LaterPass {
    pass: Pass,
    sources: Sources,
    names: Names,
    limits: Limits,
}

impl LaterPass {
    /// Begins it.
    pub fn begin(self) -> Result<Reader, InputError> {
        Reader::new(self.sources, &self.names, self.limits, self.pass)
    }
}

/// What follows when the first pass has judged the input to be usable.
pub struct LaterPasses {
    /// First.
    pub removals: LaterPass,
    /// When all removals are settled; it is to go on counting where they ended.
    pub additions: LaterPass,
}

/// Opens the input for the first pass, and keeps what later ones need.
pub fn open(
    sources: Sources,
    names: &Names,
    limits: Limits,
    operations: &Operations,
) -> Result<(Reader, Option<LaterPasses>), InputError> {
    let first = |sources| Reader::new(sources, names, limits, Pass::first(operations));
    match operations {
        Operations::One(_) => Ok((first(sources)?, None)),
        Operations::Column(_) => {
            let [judged, removals, additions] = sources.thrice()?;
            let later = |pass, sources| LaterPass { pass, sources, names: names.clone(), limits };
            let rest =
                LaterPasses { removals: later(Pass::Removals, removals), additions: later(Pass::Additions, additions) };
            Ok((first(judged)?, Some(rest)))
        }
    }
}
