//! The passes over an input: one that sends it; or one that looks at it and one that sends it; or, with an operation per row, one that
//! judges it, one for all removals, and one for all additions.

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
    /// Nothing: the first pass sends it.
    None,
    /// The first pass looks at it, this one sends it.
    Same(Box<LaterPass>),
    /// With an operation per row.
    Both {
        /// Comes first.
        removals: Box<LaterPass>,
        /// Comes when all removals are settled; it goes on counting where they ended.
        additions: Box<LaterPass>,
    },
}

/// Opens the input for the first pass, and keeps what later passes need. With `is_looked_at`, a pass that sends nothing comes first.
pub fn open(
    mut sources: Sources,
    names: &Names,
    limits: Limits,
    operations: &Operations,
    is_looked_at: bool,
) -> Result<(Reader, LaterPasses), InputError> {
    let mut later = |pass| {
        let sources = sources.again()?;
        Ok::<_, InputError>(Box::new(LaterPass { pass, sources, names: names.clone(), limits }))
    };
    let later = match operations {
        Operations::One(operation) if is_looked_at => LaterPasses::Same(later(Pass::Again(*operation))?),
        Operations::One(_) => LaterPasses::None,
        Operations::Column(_) | Operations::Mirror => {
            LaterPasses::Both { removals: later(Pass::Removals)?, additions: later(Pass::Additions)? }
        }
    };
    Ok((Reader::new(sources, names, limits, Pass::first(operations))?, later))
}
