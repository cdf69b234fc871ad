//! The passes over an input. One pass sends it; if it is looked at first, that is another pass. With an operation per
//! row there are three: one judges it, one sends all removals, one all additions.

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
        /// Begins when all removals are settled. It continues their counts.
        additions: LaterPass,
    },
}

/// Opens the input for the first pass, and keeps what later passes need. With `is_looked_at`, the first pass sends
/// nothing.
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
