//! The kinds of identifiers, and the columns that hold them.

/// The longest identifier that is sent, in bytes of UTF-8.
pub const MAX_BYTES: usize = 1024;

/// The columns with fixed names, in the order of [`Kind::all`]. The name is also that of the list in a request and of
/// the key in the report.
pub const COLUMNS: [(Kind, &str); 2] = [(Kind::UserId, "user_ids"), (Kind::DeviceId, "device_ids")];

/// The kinds of identifiers in Braze.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An external ID.
    UserId,
    /// A device ID. It finds only anonymous users.
    DeviceId,
    /// The name of a user alias. The number is the index of its label in the setting `aliases`.
    Alias(u16),
}

impl Kind {
    /// All kinds with this many aliases, in the order of [`crate::input::columns::Names::outputs`].
    pub fn all(aliases: usize) -> impl Iterator<Item = Self> {
        COLUMNS.into_iter().map(|(kind, _)| kind).chain((0_u16..).take(aliases).map(Self::Alias))
    }

    /// Whether a column with this name is always read.
    pub fn is_fixed_column(name: &str) -> bool {
        COLUMNS.iter().any(|(_, fixed)| *fixed == name)
    }

    /// The name of its column: a fixed name, or one of these labels.
    pub fn column(self, labels: &[String]) -> &str {
        match self {
            Self::Alias(index) => labels.get(usize::from(index)).map_or("", String::as_str),
            kind => COLUMNS[kind.index()].1,
        }
    }

    /// Its index in [`Kind::all`].
    pub fn index(self) -> usize {
        match self {
            Self::UserId => 0,
            Self::DeviceId => 1,
            Self::Alias(index) => COLUMNS.len() + usize::from(index),
        }
    }
}

/// Whether `is_such` holds for all bytes of an identifier.
///
/// A loop without an early exit takes `BLOCK` bytes at once, but the rest one by one. So the last block is checked as a
/// whole, and overlaps the others.
#[inline]
pub fn all_bytes(identifier: &[u8], is_such: impl Fn(u8) -> bool) -> bool {
    let all = |bytes: &[u8]| bytes.iter().fold(true, |all, byte| all & is_such(*byte));
    match identifier.last_chunk::<BLOCK>() {
        Some(last) => all(&identifier[..identifier.len() / BLOCK * BLOCK]) & all(last),
        None => all(identifier),
    }
}

const BLOCK: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_kind_has_its_place_in_all_of_them_and_its_own_column() {
        let labels = ["email", "phone"].map(str::to_owned);
        for (index, kind) in Kind::all(labels.len()).enumerate() {
            assert_eq!(kind.index(), index);
            let name = kind.column(&labels);
            assert_eq!(Kind::is_fixed_column(name), !matches!(kind, Kind::Alias(_)), "{name}");
        }
        let names: HashSet<_> = Kind::all(labels.len()).map(|kind| kind.column(&labels)).collect();
        assert_eq!(names.len(), COLUMNS.len() + labels.len());
    }
}
