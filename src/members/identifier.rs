//! The kinds of identifiers, and the columns that hold them.

/// The longest identifier that is sent, in bytes of UTF-8.
pub const MAX_BYTES: usize = 1024;

/// The column of external IDs.
pub const USER_IDS: &str = "user_ids";
/// The column of device IDs.
pub const DEVICE_IDS: &str = "device_ids";

/// What an identifier is to Braze.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An external ID.
    UserId,
    /// A device ID; finds anonymous users only.
    DeviceId,
    /// The name of a user alias; the number is the index of its label in the setting `aliases`.
    Alias(u16),
}

impl Kind {
    /// All kinds with this many aliases, in the order of [`crate::input::columns::Names::outputs`].
    pub fn all(aliases: usize) -> impl Iterator<Item = Self> {
        [Self::UserId, Self::DeviceId].into_iter().chain((0_u16..).take(aliases).map(Self::Alias))
    }

    /// Its index in [`Kind::all`].
    pub fn index(self) -> usize {
        match self {
            Self::UserId => 0,
            Self::DeviceId => 1,
            Self::Alias(index) => 2 + usize::from(index),
        }
    }
}
