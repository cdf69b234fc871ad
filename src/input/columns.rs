//! Finds the columns of identifiers and operations by name. Pure.

use thiserror::Error;

use crate::input::cells::NullWords;
use crate::input::first_of;
use crate::input::near_names::{NearMiss, is_long, near_misses};
use crate::members::identifier::Kind;

/// The names of the columns that are read, and the words that count as blank in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Labels of user aliases.
    pub aliases: Vec<String>,
    /// Renamed columns: the input's name, and `user_ids`, `device_ids` or a label.
    pub mapping: Vec<(String, String)>,
    /// The column of the operation.
    pub operation: Option<String>,
    /// The words that count as blank.
    pub null_words: NullWords,
}

/// The columns that are read, in the order of the input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// Index and kind of each identifier column.
    pub used: Vec<(usize, Kind)>,
    /// Index of the operation column.
    pub operation: Option<usize>,
    /// How many columns a row must have.
    pub width: usize,
    /// Columns that the settings name, but the input lacks.
    pub missing: Vec<String>,
    /// Ignored columns whose name is close to one that is read.
    pub near: Vec<NearMiss>,
}

/// Why a header cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum HeaderError {
    /// No column has the exact name of an identifier column.
    #[error(
        "no identifier column: the result has {}, but needs at least one of {} (case and spaces count){}. If a column is a user alias, list it in aliases",
        shown(.seen), quoted(.wanted), hint(.nearest.as_ref())
    )]
    NoIdentifierColumn {
        /// The columns that are there.
        seen: Vec<String>,
        /// The columns that would do.
        wanted: Vec<String>,
        /// The first seen column that resembles a wanted one.
        nearest: Option<NearMiss>,
    },
    /// A missing column. Members with only that identifier would silently be left out.
    #[error(
        "no column {}, which the settings use: the result has {}{}. Add the column to the query, or remove it from the settings",
        quoted(.names), shown(.seen), hint(.nearest.as_ref())
    )]
    Missing {
        /// The missing ones.
        names: Vec<String>,
        /// The columns that are there.
        seen: Vec<String>,
        /// The first of these that resembles a missing one.
        nearest: Option<NearMiss>,
    },
    /// Two columns are read as the same one: they have one name, or `mapping` renames one of them.
    #[error(
        "the result has two columns for '{output}': '{one}' and '{other}'. Remove or rename one of them in the query"
    )]
    Twice {
        /// The name that both stand for.
        output: String,
        /// A column.
        one: String,
        /// The other one.
        other: String,
    },
    /// One of several files has other identifier columns than the first file.
    #[error(
        "its identifier columns are {}, but {first} has {}: give all files the same identifier columns, in any order",
        quoted(.found), quoted(.wanted)
    )]
    OtherColumns {
        /// The columns of this file.
        found: Vec<String>,
        /// The columns of the first file.
        wanted: Vec<String>,
        /// The first file.
        first: String,
    },
}

fn quoted(names: &[String]) -> String {
    first_of(names.iter().map(|name| format!("'{name}'")), 30)
}

/// If one of the columns cannot be a name, the first line may be personal data, and none of it is shown.
fn shown(names: &[String]) -> String {
    if names.iter().all(|name| is_plausible(name)) {
        return format!("the columns {}", quoted(names));
    }
    match names.len() {
        1 => "1 column that looks like data, so it is not shown (is the header missing?)".to_owned(),
        count => format!("{count} columns that look like data, so they are not shown (is the header missing?)"),
    }
}

/// Dates have eight; telephone numbers, UUIDs and identifiers have more.
const MAX_DIGITS: usize = 8;

/// Whether a text can be the name of a column, in any script. An address, a long number or a UUID cannot.
fn is_plausible(name: &str) -> bool {
    let is_of_name = |letter: char| match letter {
        '_' | '-' | '.' | ' ' | '(' | ')' => true,
        // Bytes that are not UTF-8 may be anything.
        char::REPLACEMENT_CHARACTER => false,
        other if other.is_ascii() => other.is_ascii_alphanumeric(),
        other => !other.is_control() && !other.is_whitespace(),
    };
    let digits = name.chars().filter(|letter| letter.is_numeric()).count();
    let has_letters = name.chars().any(char::is_alphabetic);
    let is_number = digits > MAX_DIGITS || digits > 4 && !has_letters;
    !is_long(name) && !is_number && !is_uuid(name) && name.chars().all(is_of_name)
}

/// UUIDs may have few digits.
fn is_uuid(name: &str) -> bool {
    let hex = name.chars().filter(char::is_ascii_hexdigit).count();
    hex == 32 && name.chars().all(|letter| letter.is_ascii_hexdigit() || letter == '-')
}

fn hint(nearest: Option<&NearMiss>) -> String {
    nearest.map_or_else(String::new, |NearMiss { seen, wanted }| {
        format!("; did you mean '{wanted}' instead of '{seen}'? Write SELECT \"{seen}\" AS {wanted}")
    })
}

impl Names {
    /// `user_ids`, `device_ids` and the label of each alias, in the order of [`Kind::all`].
    pub fn outputs(&self) -> Vec<String> {
        Kind::all(self.aliases.len()).map(|kind| kind.column(&self.aliases).to_owned()).collect()
    }

    /// The names that are read, each with its column among [`Self::of_objects`]. A mapped name and its output are the
    /// same column, so a header or an object with both has one column twice.
    pub fn keys(&self) -> Vec<(String, usize)> {
        let outputs = self.outputs();
        let mapped = self.mapping.iter().filter_map(|(attribute, output)| {
            let column = outputs.iter().position(|known| known == output)?;
            Some((attribute.clone(), column))
        });
        let operation = self.operation.iter().map(|name| (name.clone(), outputs.len()));
        let mut keys: Vec<_> = mapped.chain(operation).collect();
        keys.extend(outputs.into_iter().enumerate().map(|(column, name)| (name, column)));
        keys
    }

    /// Finds the columns by exact name. A mapped column may also have the name of its output, as in a failed file.
    pub fn find(&self, header: &[String]) -> Result<Columns, HeaderError> {
        let (outputs, keys) = (self.outputs(), self.keys());
        let mut places = vec![None; outputs.len() + 1];
        for (index, name) in header.iter().enumerate() {
            let Some((_, column)) = keys.iter().find(|(key, _)| key == name) else { continue };
            if let Some(other) = places[*column].replace(index) {
                let output = outputs.get(*column).unwrap_or(name).clone();
                return Err(HeaderError::Twice { output, one: header[other].clone(), other: name.clone() });
            }
        }
        let (mut used, mut missing) = (Vec::new(), Vec::new());
        for ((output, kind), place) in outputs.iter().zip(Kind::all(self.aliases.len())).zip(&places) {
            match (place, self.mapping.iter().find(|(_, to)| to == output)) {
                (Some(index), _) => used.push((*index, kind)),
                (None, Some((attribute, _))) => missing.push(attribute.clone()),
                (None, None) if matches!(kind, Kind::Alias(_)) => missing.push(output.clone()),
                (None, None) => {}
            }
        }
        if used.is_empty() {
            let (seen, wanted) = (header.to_vec(), self.wanted());
            let nearest = nearest(header, &wanted, 2);
            return Err(HeaderError::NoIdentifierColumn { seen, wanted, nearest });
        }
        let operation = places[outputs.len()];
        if let (Some(name), None) = (&self.operation, operation) {
            return Err(lacks(header, vec![name.clone()]));
        }
        used.sort_unstable_by_key(|(index, _)| *index);
        let is_ignored = |index: &usize| Some(*index) != operation && !used.iter().any(|(used, _)| used == index);
        let ignored = (0..header.len()).filter(is_ignored).map(|index| header[index].as_str());
        let near = near_misses(ignored, &self.wanted(), 1).collect();
        Ok(Columns { used, operation, width: header.len(), missing, near })
    }

    /// The columns of objects, which may leave out keys: one for each kind, and the operation.
    pub fn of_objects(&self) -> Columns {
        let kinds: Vec<_> = Kind::all(self.aliases.len()).collect();
        let operation = self.operation.as_ref().map(|_| kinds.len());
        let width = kinds.len() + usize::from(operation.is_some());
        Columns { used: kinds.into_iter().enumerate().collect(), operation, width, ..Columns::default() }
    }

    /// The names that identifier columns may have.
    pub fn wanted(&self) -> Vec<String> {
        self.outputs().into_iter().chain(self.mapping.iter().map(|(attribute, _)| attribute.clone())).collect()
    }

    /// Like [`Self::find`], but fails if the header lacks a column that the settings use.
    pub fn find_all(&self, header: &[String]) -> Result<Columns, HeaderError> {
        let columns = self.find(header)?;
        if columns.missing.is_empty() { Ok(columns) } else { Err(lacks(header, columns.missing)) }
    }
}

fn lacks(header: &[String], names: Vec<String>) -> HeaderError {
    let nearest = nearest(header, &names, 1);
    HeaderError::Missing { names, seen: header.to_vec(), nearest }
}

fn nearest(header: &[String], wanted: &[String], most: usize) -> Option<NearMiss> {
    near_misses(header.iter().map(String::as_str), wanted, most).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn with_aliases(aliases: &[&str]) -> Names {
        Names { aliases: names(aliases), ..Names::default() }
    }

    #[test]
    fn columns_are_found_by_exact_name_in_the_order_of_the_input() {
        let header = names(&["email", "name", "device_ids", "User_Ids", "user_ids"]);
        let columns = with_aliases(&["phone", "email"]).find(&header).unwrap();
        assert_eq!(columns.used, [(0, Kind::Alias(1)), (2, Kind::DeviceId), (4, Kind::UserId)]);
        assert_eq!(columns.width, 5);
        assert_eq!(columns.missing, ["phone"]);
    }

    #[rstest]
    #[case("User_IDs", "user_ids")]
    #[case("user_id", "user_ids")]
    #[case(" device_ids", "device_ids")]
    #[case("e_mail", "email")]
    fn a_near_miss_is_named(#[case] seen: &str, #[case] meant: &str) {
        let error = with_aliases(&["email"]).find(&names(&["name", seen])).unwrap_err();
        let HeaderError::NoIdentifierColumn { nearest: Some(NearMiss { seen: from, wanted: to }), .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!((from.as_str(), to.as_str()), (seen, meant));
        assert!(error.to_string().contains(&format!("SELECT \"{seen}\" AS {meant}")), "{error}");
    }

    #[test]
    fn a_header_without_any_likeness_lists_what_is_there_and_what_is_wanted() {
        let error = with_aliases(&[]).find(&names(&["a", "b"])).unwrap_err().to_string();
        assert!(error.contains("'a', 'b'") && error.contains("'user_ids', 'device_ids'"), "{error}");
    }

    #[rstest]
    #[case::plain("user_name", true)]
    #[case::made_by_a_query("count(x).day-2026 1", true)]
    #[case::of_a_day("sum_20260101", true)]
    #[case::nothing("", true)]
    #[case::japanese("名前", true)]
    #[case::arabic("الاسم", true)]
    #[case::hindi("नाम्", true)]
    #[case::sixty_four(&"é".repeat(64), true)]
    #[case::sixty_five(&"é".repeat(65), false)]
    #[case::address("zqx@example.com", false)]
    #[case::password_file("root:x:0:0:root:/root:/bin/sh", false)]
    #[case::number("48151", false)]
    #[case::telephone("+4915112345678", false)]
    #[case::longer_number("a123456789", false)]
    #[case::uuid("abcdefab-cdef-abcd-efab-cdefabcdefab", false)]
    #[case::escape("a\u{1b}b", false)]
    #[case::line("a\nb", false)]
    #[case::other_bytes("\u{fffd}zqx", false)]
    fn a_name_is_plausible_in_any_script(#[case] name: &str, #[case] is: bool) {
        assert_eq!(is_plausible(name), is);
    }

    #[test]
    fn where_one_name_looks_like_data_none_is_shown_but_a_near_miss() {
        let header = names(&["zqx_plain", "zqx@example.com", "User_ID"]);
        let error = with_aliases(&[]).find(&header).unwrap_err().to_string();
        assert!(error.contains("3 columns that look like data") && error.contains("'User_ID'"), "{error}");
        assert!(!error.contains("zqx"), "{error}");
        let operation = Names { operation: Some("change".to_owned()), ..Names::default() };
        let error = operation.find(&names(&["user_ids", "zqx@example.com", "Change"])).unwrap_err().to_string();
        assert!(error.contains("did you mean 'change' instead of 'Change'") && !error.contains("zqx"), "{error}");
    }

    #[test]
    fn the_same_column_twice_is_an_error_only_if_it_is_used() {
        let twice = with_aliases(&[]).find(&names(&["user_ids", "user_ids"]));
        let [output, one, other] = [(); 3].map(|()| "user_ids".to_owned());
        assert_eq!(twice, Err(HeaderError::Twice { output, one, other }));
        assert!(with_aliases(&[]).find(&names(&["user_ids", "x", "x"])).is_ok());
    }

    fn mapped() -> Names {
        let mapping = [("external_id", "user_ids"), ("mail", "email")];
        let mapping = mapping.map(|(from, to)| (from.to_owned(), to.to_owned())).to_vec();
        Names { aliases: names(&["email"]), mapping, operation: Some("change".to_owned()), ..Names::default() }
    }

    #[test]
    fn a_mapped_column_is_read_as_its_output_and_the_output_as_itself() {
        let columns = mapped().find(&names(&["change", "mail", "user_ids", "device_ids"])).unwrap();
        assert_eq!(columns.used, [(1, Kind::Alias(0)), (2, Kind::UserId), (3, Kind::DeviceId)]);
        assert_eq!((columns.operation, columns.width), (Some(0), 4));
        let columns = mapped().find(&names(&["external_id", "change"])).unwrap();
        assert_eq!((columns.used, columns.missing), (vec![(0, Kind::UserId)], names(&["mail"])));
    }

    #[test]
    fn a_mapped_column_next_to_its_output_is_an_error_and_so_is_a_missing_operation() {
        let both = mapped().find(&names(&["change", "external_id", "user_ids"])).unwrap_err();
        assert!(both.to_string().contains("two columns for 'user_ids': 'external_id' and 'user_ids'"), "{both}");
        let missing = mapped().find(&names(&["Change", "external_id"])).unwrap_err();
        assert!(missing.to_string().contains("no column 'change', which the settings use"), "{missing}");
    }

    #[test]
    fn a_mapped_key_of_an_object_is_the_column_of_its_output() {
        let keys = mapped().keys();
        let column = |name: &str| keys.iter().find(|(key, _)| key == name).map(|(_, column)| *column);
        assert_eq!(["external_id", "user_ids"].map(column), [Some(0); 2]);
        assert_eq!(["mail", "email"].map(column), [Some(2); 2]);
        assert_eq!((column("device_ids"), column("change"), column("mapping")), (Some(1), Some(3), None));
        let columns = mapped().of_objects();
        assert_eq!(columns.used, [(0, Kind::UserId), (1, Kind::DeviceId), (2, Kind::Alias(0))]);
        assert_eq!((columns.operation, columns.width), (Some(3), 4));
    }
}
