//! The operations on members.

/// Add the identifiers to the cohort, or remove them from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `should_remove: false`
    Add,
    /// `should_remove: true`
    Remove,
}

impl Operation {
    /// As written in settings and in the report.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Remove => "remove",
        }
    }

    /// From a cell: `add`, `remove` or `delete`, in any case.
    pub fn from_cell(cell: &[u8]) -> Option<Self> {
        let is = |word: &str| cell.eq_ignore_ascii_case(word.as_bytes());
        if is("add") { Some(Self::Add) } else { (is("remove") || is("delete")).then_some(Self::Remove) }
    }
}

/// Which operation applies to which members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operations {
    /// The same operation for all.
    One(Operation),
    /// The operation in this column. All removals come before all additions.
    Column(String),
    /// Whatever makes the cohort equal to a table.
    Mirror,
}

/// [`Operations::Mirror`] in the settings.
pub const MIRROR: &str = "mirror";

impl Operations {
    /// As written in the report.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::One(operation) => operation.as_str(),
            Self::Column(_) => "mixed",
            Self::Mirror => MIRROR,
        }
    }

    /// The operation column, if there is one.
    pub fn column(&self) -> Option<&str> {
        if let Self::Column(name) = self { Some(name) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("add", Some(Operation::Add))]
    #[case("ADD", Some(Operation::Add))]
    #[case("remove", Some(Operation::Remove))]
    #[case("Delete", Some(Operation::Remove))]
    #[case("", None)]
    #[case(" add", None)]
    #[case("upsert", None)]
    fn a_cell_says_the_operation(#[case] cell: &str, #[case] operation: Option<Operation>) {
        assert_eq!(Operation::from_cell(cell.as_bytes()), operation);
    }
}
