//! The passes over an input: one that sends it; or one that looks at it and one that sends it; or, with an operation per row, one that
//! judges it, one for all removals, and one for all additions.

use super::{Limits, Pass, Reader};
use crate::input::columns::Names;
use crate::input::error::InputError;
use crate::input::source::Sources;
use crate::members::operation::Operations;

/// Begins a pass.
pub type LaterPass = Box<dyn FnOnce() -> Result<Reader, InputError>>;

/// What follows the first pass.
pub enum LaterPasses {
    /// Nothing: the first pass sends it.
    None,
    /// The first pass looks at it, this one sends it.
    Same(LaterPass),
    /// With an operation per row.
    Both {
        /// Comes first.
        removals: LaterPass,
        /// Comes when all removals are settled; it goes on counting where they ended.
        additions: LaterPass,
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
    let mut later = |pass| -> Result<LaterPass, InputError> {
        let (sources, names) = (sources.again()?, names.clone());
        Ok(Box::new(move || Reader::new(sources, &names, limits, pass)))
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
