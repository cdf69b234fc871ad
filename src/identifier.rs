//! Which column is what, and which cell is an identifier. Pure: no input, no output, no clock.

use thiserror::Error;

use crate::nearest::nearest;

/// The longest identifier that is sent on, in bytes of UTF-8.
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
    /// The name of a user alias; the number is the place of its label in the configured `aliases`.
    Alias(u16),
}

impl Kind {
    /// All kinds, for so many aliases; in the order of [`wanted_names`].
    pub fn all(aliases: usize) -> impl Iterator<Item = Self> {
        [Self::UserId, Self::DeviceId].into_iter().chain((0_u16..).take(aliases).map(Self::Alias))
    }

    /// Its place among [`Kind::all`].
    pub fn place(self) -> usize {
        match self {
            Self::UserId => 0,
            Self::DeviceId => 1,
            Self::Alias(place) => 2 + usize::from(place),
        }
    }
}

/// The columns of one input that hold identifiers, in the order of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Index of the column, and what its cells are.
    pub used: Vec<(usize, Kind)>,
    /// How many columns a row has to have.
    pub width: usize,
    /// Labels of configured aliases that have no column.
    pub missing_aliases: Vec<String>,
}

/// Why a header cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum HeaderError {
    /// No column has the exact name of an identifier column.
    #[error(
        "no identifier column: the result has the columns {}; wanted is at least one of {} (exact names, case and spaces count){}",
        quoted(.seen), quoted(.wanted), hint(.nearest.as_ref())
    )]
    NoIdentifierColumn {
        /// The columns that are there.
        seen: Vec<String>,
        /// The columns that would do.
        wanted: Vec<String>,
        /// A seen column, and the wanted name it resembles.
        nearest: Option<(String, String)>,
    },
    /// Two columns have the same name, which is one that we use.
    #[error("the column '{name}' is there twice: give one of them another name in the query")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// One of several files has other identifier columns than the first one.
    #[error(
        "its identifier columns are {}, and those of {first} are {}: files that are read as one need the same, in any order",
        quoted(.found), quoted(.wanted)
    )]
    OtherColumns {
        /// The columns of this file.
        found: Vec<String>,
        /// The columns of the first one.
        wanted: Vec<String>,
        /// The first file.
        first: String,
    },
}

fn quoted(names: &[String]) -> String {
    const SHOWN: usize = 30;
    let text = names.iter().take(SHOWN).map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        return format!("{text} and {} more", names.len() - SHOWN);
    }
    text
}

fn hint(nearest: Option<&(String, String)>) -> String {
    nearest.map_or_else(String::new, |(seen, wanted)| {
        format!("; did you mean '{wanted}' where the query says '{seen}'? Write: SELECT \"{seen}\" AS {wanted}")
    })
}

impl Columns {
    /// Finds the identifier columns by exact name: `user_ids`, `device_ids` and the label of each alias.
    pub fn find(header: &[String], aliases: &[String]) -> Result<Self, HeaderError> {
        let wanted = wanted_names(aliases);
        let mut used = Vec::new();
        let mut missing_aliases = Vec::new();
        for (name, kind) in wanted.iter().zip(Kind::all(aliases.len())) {
            let mut places = header.iter().enumerate().filter(|(_, seen)| *seen == name).map(|(place, _)| place);
            match (places.next(), places.next()) {
                (Some(_), Some(_)) => return Err(HeaderError::Duplicate { name: name.to_owned() }),
                (Some(place), None) => used.push((place, kind)),
                (None, _) if matches!(kind, Kind::Alias(_)) => missing_aliases.push(name.to_owned()),
                (None, _) => {}
            }
        }
        if used.is_empty() {
            return Err(no_identifier_column(header, aliases));
        }
        used.sort_unstable_by_key(|(place, _)| *place);
        Ok(Self { used, width: header.len(), missing_aliases })
    }
}

/// The names of all columns that can hold identifiers, in the order of [`Kind`].
pub fn wanted_names(aliases: &[String]) -> Vec<String> {
    [USER_IDS, DEVICE_IDS].into_iter().map(str::to_owned).chain(aliases.iter().cloned()).collect()
}

fn no_identifier_column(header: &[String], aliases: &[String]) -> HeaderError {
    let wanted = wanted_names(aliases);
    let nearest = header.iter().find_map(|seen| {
        let found = nearest(seen, wanted.iter().map(String::as_str))?;
        Some((seen.clone(), found.to_owned()))
    });
    HeaderError::NoIdentifierColumn { seen: header.to_vec(), wanted, nearest }
}

/// What a cell of an identifier column turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// NULL, empty, or white space alone: nobody is meant.
    Blank,
    /// An identifier, sent on as it stands.
    Identifier {
        /// It begins or ends with white space, which is rarely meant.
        padded: bool,
    },
    /// Not an identifier that Braze could know.
    Rejected(Reason),
}

/// Why a cell is not sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It holds a control character, a line break or NUL.
    ControlCharacter,
    /// It is not UTF-8.
    InvalidUtf8,
    /// It is longer than [`MAX_BYTES`].
    TooLong,
    /// A number with a fraction or an exponent, whose digits say nothing reliable.
    Float,
    /// `true` or `false`.
    Boolean,
    /// A list or a map.
    Nested,
    /// A type of `MessagePack`'s that has no meaning here.
    Extension,
}

impl Reason {
    /// Every reason, in the order of the account.
    pub const ALL: [Self; 7] = [
        Self::ControlCharacter,
        Self::InvalidUtf8,
        Self::TooLong,
        Self::Float,
        Self::Boolean,
        Self::Nested,
        Self::Extension,
    ];

    /// The reason's key in the account.
    pub fn key(self) -> &'static str {
        match self {
            Self::ControlCharacter => "control_character",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::TooLong => "too_long",
            Self::Float => "float",
            Self::Boolean => "boolean",
            Self::Nested => "nested",
            Self::Extension => "extension",
        }
    }
}

/// Decides what a cell is. Nothing is altered: no trimming, no change of case.
#[inline]
pub fn examine(cell: &[u8]) -> Cell {
    if cell.is_empty() {
        return Cell::Blank;
    }
    if cell.len() > MAX_BYTES {
        return Cell::Rejected(Reason::TooLong);
    }
    // Nearly every identifier is printable ASCII, which one pass over the bytes can tell; one without a way out in the middle
    // takes many bytes at once.
    if cell.iter().fold(true, |is_plain, byte| is_plain & (b'!'..=b'~').contains(byte)) {
        return Cell::Identifier { padded: false };
    }
    let Ok(text) = std::str::from_utf8(cell) else {
        return Cell::Rejected(Reason::InvalidUtf8);
    };
    let trimmed = text.trim();
    if trimmed.is_empty() {
        Cell::Blank
    } else if text.chars().any(char::is_control) {
        Cell::Rejected(Reason::ControlCharacter)
    } else {
        Cell::Identifier { padded: trimmed.len() != text.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[rstest]
    #[case(b"", Cell::Blank)]
    #[case(b"   ", Cell::Blank)]
    #[case(b"\t\r\n", Cell::Blank)]
    #[case("\u{3000}\u{a0}".as_bytes(), Cell::Blank)]
    #[case(b"u1", Cell::Identifier { padded: false })]
    #[case(b"U 1", Cell::Identifier { padded: false })]
    #[case(b" u1", Cell::Identifier { padded: true })]
    #[case(b"u1 ", Cell::Identifier { padded: true })]
    #[case("日本語@example.com".as_bytes(), Cell::Identifier { padded: false })]
    #[case(br#"say "hi"\"#, Cell::Identifier { padded: false })]
    #[case(b"NULL", Cell::Identifier { padded: false })]
    #[case(b"a\nb", Cell::Rejected(Reason::ControlCharacter))]
    #[case(b"a\0b", Cell::Rejected(Reason::ControlCharacter))]
    #[case(b"a\x7fb", Cell::Rejected(Reason::ControlCharacter))]
    #[case("a\u{85}b".as_bytes(), Cell::Rejected(Reason::ControlCharacter))]
    #[case(b"a\xffb", Cell::Rejected(Reason::InvalidUtf8))]
    #[case(&[b'x'; 1024], Cell::Identifier { padded: false })]
    #[case(&[b'x'; 1025], Cell::Rejected(Reason::TooLong))]
    #[case(&[b' '; 1025], Cell::Rejected(Reason::TooLong))]
    fn a_cell_is_blank_an_identifier_or_rejected(#[case] cell: &[u8], #[case] expected: Cell) {
        assert_eq!(examine(cell), expected);
    }

    #[test]
    fn columns_are_found_by_exact_name_in_the_order_of_the_input() {
        let header = names(&["email", "name", "device_ids", "User_Ids", "user_ids"]);
        let columns = Columns::find(&header, &names(&["phone", "email"])).unwrap();
        assert_eq!(columns.used, [(0, Kind::Alias(1)), (2, Kind::DeviceId), (4, Kind::UserId)]);
        assert_eq!(columns.width, 5);
        assert_eq!(columns.missing_aliases, ["phone"]);
    }

    #[rstest]
    #[case("User_IDs", "user_ids")]
    #[case("user_id", "user_ids")]
    #[case(" device_ids", "device_ids")]
    #[case("e_mail", "email")]
    fn a_near_miss_is_named(#[case] seen: &str, #[case] meant: &str) {
        let error = Columns::find(&names(&["name", seen]), &names(&["email"])).unwrap_err();
        let HeaderError::NoIdentifierColumn { nearest: Some((from, to)), .. } = &error else { panic!("{error:?}") };
        assert_eq!((from.as_str(), to.as_str()), (seen, meant));
        assert!(error.to_string().contains(&format!("SELECT \"{seen}\" AS {meant}")), "{error}");
    }

    #[test]
    fn a_header_without_any_likeness_lists_what_is_there_and_what_is_wanted() {
        let error = Columns::find(&names(&["a", "b"]), &[]).unwrap_err().to_string();
        assert!(error.contains("'a', 'b'") && error.contains("'user_ids', 'device_ids'"), "{error}");
    }

    #[test]
    fn the_same_column_twice_is_an_error_only_where_it_is_used() {
        let twice = Columns::find(&names(&["user_ids", "user_ids"]), &[]);
        assert_eq!(twice, Err(HeaderError::Duplicate { name: "user_ids".to_owned() }));
        assert!(Columns::find(&names(&["user_ids", "x", "x"]), &[]).is_ok());
    }
}
