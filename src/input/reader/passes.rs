//! The passes over an input: one, or one to look at it and one to send it, or, if each row says its operation, one to judge it, one for
//! all removals, and one for all additions.

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

/// What follows the first pass.
pub enum LaterPasses {
    /// Nothing: it is sent as it is read.
    None,
    /// It was only looked at, and is sent now.
    Same(Box<LaterPass>),
    /// It was judged, as each row says its operation.
    Both {
        /// First.
        removals: Box<LaterPass>,
        /// When all removals are settled; it is to go on counting where they ended.
        additions: Box<LaterPass>,
    },
}

/// Opens the input for the first pass, and keeps what later ones need. `is_looked_at` first, before anything of it is sent.
pub fn open(
    sources: Sources,
    names: &Names,
    limits: Limits,
    operations: &Operations,
    is_looked_at: bool,
) -> Result<(Reader, LaterPasses), InputError> {
    let first = |sources| Reader::new(sources, names, limits, Pass::first(operations));
    let later = |pass, sources| Box::new(LaterPass { pass, sources, names: names.clone(), limits });
    match operations {
        Operations::One(operation) if is_looked_at => {
            let [looked_at, sent] = sources.repeated()?;
            Ok((first(looked_at)?, LaterPasses::Same(later(Pass::Again(*operation), sent))))
        }
        Operations::One(_) => Ok((first(sources)?, LaterPasses::None)),
        Operations::Column(_) | Operations::Mirror => {
            let [judged, removals, additions] = sources.repeated()?;
            let rest = LaterPasses::Both {
                removals: later(Pass::Removals, removals),
                additions: later(Pass::Additions, additions),
            };
            Ok((first(judged)?, rest))
        }
    }
}
