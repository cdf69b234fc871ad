//! A YAML file of settings, read in bounded time and memory. A value keeps the text that it is written with.

use std::cell::Cell;
use std::fmt;
use std::path::Path;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::ConfigError;
use super::credentials::{self, names_a_credential};
use super::raw::{Located, Origin, RawValue, SettingsLayer};
use super::setting::{Key, SETTINGS};
use crate::input::near_names::nearest;

/// The largest config file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;
/// How deep brackets, indents, and the marks of a line may be nested. Our settings need two levels; the parser's time grows with the
/// square of the depth.
const MAX_DEPTH: usize = 64;
/// More digits than any ID has. The parser reads a number again for each alias of it.
const MAX_DIGITS: usize = 1000;

/// An error about a config file as a whole.
pub fn unusable(path: &Path, message: &str) -> ConfigError {
    ConfigError::Malformed { origin: Origin::File { path: path.to_owned(), line: None }, message: message.to_owned() }
}

/// The parser's error, with its place in front, as in our own messages.
fn misread(path: &Path, error: &serde_yaml::Error) -> ConfigError {
    let (message, location) = (error.to_string(), error.location());
    let suffix = location.as_ref().map(|location| format!(" at line {} column {}", location.line(), location.column()));
    let message = message.strip_suffix(suffix.as_deref().unwrap_or_default()).unwrap_or(&message).to_owned();
    let origin = Origin::File { path: path.to_owned(), line: location.map(|location| location.line()) };
    ConfigError::Malformed { origin, message }
}

/// The text of a file, unless the parser would take minutes for it: for deep nesting, for endless numbers, for many directives.
fn bounded<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str, ConfigError> {
    let is_of_number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'_');
    let is_endless = |run: &[u8]| run.len() > MAX_DIGITS && is_of_number(&run[0]);
    let wrong = |what: &str| Err(unusable(path, &format!("it {what}: is this the file with the settings?")));
    if bytes.len() > MAX_FILE_BYTES {
        return wrong(&format!("is larger than {} MiB", MAX_FILE_BYTES >> 20));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(unusable(path, "it is not UTF-8 text: save it as UTF-8"));
    };
    let text = text.trim_start_matches('\u{feff}');
    if depth(text) > MAX_DEPTH {
        return wrong(&format!("is nested deeper than {MAX_DEPTH} levels"));
    }
    if bytes.chunk_by(|one, next| is_of_number(one) == is_of_number(next)).any(is_endless) {
        return wrong("contains a number of more than 1,000 digits");
    }
    if text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).any(|line| line.starts_with('%')) {
        return Err(unusable(path, "a line begins with %, a YAML directive: remove it"));
    }
    Ok(text)
}

/// How deep a text may be nested: by its brackets, by its indents, or by the marks at the beginning of one line.
fn depth(text: &str) -> usize {
    let mut open = 0_usize;
    let by_bracket = text.bytes().map(|byte| {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        open
    });
    let mut indents: Vec<usize> = Vec::new();
    let by_line = text.lines().filter(|line| !line.trim().is_empty()).map(|line| {
        let indent = line.len() - line.trim_start().len();
        indents.truncate(indents.partition_point(|outer| *outer < indent));
        indents.push(indent);
        let marks = line.split_whitespace().take_while(|word| matches!(*word, "-" | "?" | ":")).count();
        marks.max(indents.len())
    });
    by_bracket.chain(by_line).max().unwrap_or_default()
}

/// The settings of a YAML file: unknown and duplicate keys are errors that name the line.
pub fn read(path: &Path, text: impl AsRef<[u8]>) -> Result<SettingsLayer, ConfigError> {
    let text = bounded(path, text.as_ref())?;
    let mut layer = SettingsLayer::new();
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(layer);
    }
    let raw = parse(text).map_err(|error| misread(path, &error))?;
    let RawValue::Map(entries) = raw else {
        // Never the value: it may be the file with the members.
        let found = raw.what();
        let message = format!("found {found}, expected a map of settings (cohort_id: ..., operation: add, ...)");
        return Err(unusable(path, &message));
    };
    for (name, raw) in entries {
        let known = Key::from_name(&name);
        let is_second = known.is_some_and(|key| layer.contains_key(&key));
        let origin = Origin::File { path: path.to_owned(), line: line_of(text, &name, usize::from(is_second)) };
        let message = match known {
            Some(key) if !is_second => {
                layer.insert(key, Located { raw, origin });
                continue;
            }
            Some(_) => format!("'{name}' is set twice: keep one of them"),
            None => unknown_key(&name),
        };
        return Err(ConfigError::Malformed { origin, message });
    }
    Ok(layer)
}

/// Reads the text twice, because the parser gives a number's text only if it is asked for text: first what kind of value each is,
/// then the texts. Each time has its own limit; without aliases no file that is small enough exceeds it.
fn parse(text: &str) -> Result<RawValue, serde_yaml::Error> {
    let read = |shape| {
        let node = Node { shape, left: &Cell::new(MAX_FILE_BYTES) };
        node.deserialize(serde_yaml::Deserializer::from_str(text))
    };
    let shape = read(None)?;
    read(Some(&shape))
}

macro_rules! without_text {
    ($($name:ident: $of:ty),*) => {
        $(fn $name<E>(self, _: $of) -> Result<RawValue, E> {
            Ok(TEXT)
        })*
    };
}

const TEXT: RawValue = RawValue::Text(String::new());

/// Reads one value.
#[derive(Clone, Copy)]
struct Node<'a> {
    /// What the first reading has found; all its texts are empty.
    shape: Option<&'a RawValue>,
    /// How many values, or bytes of text, there may still be.
    left: &'a Cell<usize>,
}

impl Node<'_> {
    fn take<E: de::Error>(self, count: usize) -> Result<(), E> {
        let left = self.left.get().checked_sub(count).ok_or_else(|| {
            E::custom(format_args!(
                "it is larger than {} MiB with its aliases (*name) written out: use fewer aliases",
                MAX_FILE_BYTES >> 20
            ))
        })?;
        self.left.set(left);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = RawValue;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawValue, D::Error> {
        match self.shape {
            None => {
                self.take(1)?;
                deserializer.deserialize_any(self)
            }
            Some(RawValue::List(_)) => deserializer.deserialize_seq(self),
            Some(RawValue::Map(_)) => deserializer.deserialize_map(self),
            Some(RawValue::Text(_)) => deserializer.deserialize_str(self),
            Some(other) => IgnoredAny::deserialize(deserializer).map(|_| other.clone()),
        }
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = RawValue;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.shape.is_some() { "a string as the key" } else { "text, a number or a list" })
    }

    fn visit_unit<E>(self) -> Result<RawValue, E> {
        Ok(RawValue::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<RawValue, E> {
        Ok(RawValue::Bool(value))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RawValue, E> {
        if self.shape.is_none() {
            return Ok(TEXT);
        }
        self.take(text.len())?;
        Ok(RawValue::Text(text.to_owned()))
    }

    without_text! { visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128, visit_f64: f64 }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RawValue, A::Error> {
        let shapes: &[RawValue] = if let Some(RawValue::List(shapes)) = self.shape { shapes } else { &[] };
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Node { shape: shapes.get(values.len()), ..self })? {
            values.push(value);
        }
        Ok(RawValue::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawValue, A::Error> {
        let shapes: &[(String, RawValue)] = if let Some(RawValue::Map(shapes)) = self.shape { shapes } else { &[] };
        let mut entries = Vec::new();
        while let Some(RawValue::Text(name)) = map.next_key_seed(Node { shape: Some(&TEXT), ..self })? {
            let shape = shapes.get(entries.len()).map(|(_, shape)| shape);
            entries.push((name, map.next_value_seed(Node { shape, ..self })?));
        }
        Ok(RawValue::Map(entries))
    }
}

/// The longest key that is shown, in bytes. A longer one, or one with characters that no name has, may be data.
const LONGEST_NAME: usize = 64;

/// The message for a key that is not a setting.
pub fn unknown_key(name: &str) -> String {
    let is_a_name = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.' | ' ');
    let names = SETTINGS.iter().map(|setting| setting.name);
    let known = || names.clone().collect::<Vec<_>>().join(", ");
    if name.len() > LONGEST_NAME || !name.chars().all(is_a_name) {
        return format!("a key is not the name of a setting; the settings are {}", known());
    }
    if names_a_credential(name) {
        return format!(
            "'{name}': credentials must not appear in settings: set {} in the environment (in a workflow: _env with ${{secret:...}})",
            credentials::names()
        );
    }
    if let Some(meant) = nearest(name, names.clone()) {
        return format!("unknown key '{name}'; did you mean '{meant}'?");
    }
    format!("unknown key '{name}'; the settings are {}", known())
}

/// The line of a key of the top level, after `before` others of the same name. The parser does not give it, so the text is searched;
/// for a map in braces that may find nothing.
fn line_of(text: &str, name: &str, before: usize) -> Option<usize> {
    let is_there = |line: &str| {
        let unquoted = line.trim_start_matches(['"', '\'', '{', ' ']);
        let rest = unquoted.strip_prefix(name);
        rest.is_some_and(|rest| rest.trim_start_matches(['"', '\'']).trim_start().starts_with(':'))
    };
    text.lines().enumerate().filter(|(_, line)| is_there(line)).nth(before).map(|(index, _)| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn read(text: &str) -> Result<SettingsLayer, String> {
        super::read(Path::new("c.yml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn values_keep_their_type_and_their_line() {
        let layer = read("cohort_id: 4711\n\noperation: add\naliases: [a, 1]\ncohort_name:\n").unwrap();
        let cohort_id = &layer[&Key::CohortId];
        assert_eq!(cohort_id.raw, RawValue::Text("4711".to_owned()));
        assert_eq!(layer[&Key::Operation].origin.to_string(), "c.yml, line 3");
        assert_eq!(
            layer[&Key::Aliases].raw,
            RawValue::List(vec![RawValue::Text("a".to_owned()), RawValue::Text("1".to_owned())])
        );
        assert_eq!(layer[&Key::CohortName].raw, RawValue::Null);
    }

    #[rstest]
    #[case::typo("cohort_id: a\ncohortname: b\n", "did you mean 'cohort_name'?", "line 2")]
    #[case::unlike_anything("cohort_id: a\nxyzzy: b\n", "the settings are cohort_id, ", "line 2")]
    #[case::twice("cohort_id: a\noperation: add\ncohort_id: b\n", "'cohort_id' is set twice", "line 3")]
    #[case::secret("cohort_id: a\nclient_secret: hush\n", "in the environment", "line 2")]
    #[case::no_map("- a\n- b\n", "a map of settings", "")]
    #[case::broken("cohort_id: [a\n", "c.yml", "line")]
    #[case::no_name("cohort_id: a\nhush@example.com: b\n", "not the name of a setting", "line 2")]
    #[case::too_long(&format!("cohort_id: a\n{}: b\n", "hush".repeat(17)), "not the name of a setting", "line 2")]
    #[case::input("user_ids\nhush\n", "text, expected a map of settings", "")]
    #[case::number("4711\n", "expected a map of settings", "c.yml")]
    #[case::directive("%TAG ! tag:x,2000:\n---\ncohort_id: a\n", "directive", "c.yml")]
    #[case::key("mapping: {[a]: b}\n", "expected a string as the key", "line 1")]
    #[case::tabs("cohort_id: a\n\toperation: add\n", "c.yml", "line 2")]
    fn says_what_is_wrong_and_where(#[case] text: &str, #[case] message: &str, #[case] location: &str) {
        let error = read(text).unwrap_err();
        assert!(error.contains(message) && error.contains(location), "{error}");
        assert!(!error.contains("hush") && !error.contains("4711"), "{error}");
    }

    #[rstest]
    #[case("+4912")]
    #[case("-0")]
    #[case("0x10")]
    #[case("1_000")]
    #[case("0o17")]
    #[case("+0b1")]
    #[case("007")]
    #[case("1e5")]
    #[case("1.50")]
    #[case("99999999999999999999999999999999999999999")]
    #[case(".nan")]
    fn a_number_is_taken_as_it_is_written(#[case] number: &str) {
        let text = format!("aliases: [&a {number}, x, *a]\nmapping:\n  {number}: {number}\ncohort_id: {number}\n");
        let layer = read(&text).unwrap();
        let text = |text: &str| RawValue::Text(text.to_owned());
        assert_eq!(layer[&Key::CohortId].raw, text(number));
        assert_eq!(layer[&Key::Aliases].raw, RawValue::List(vec![text(number), text("x"), text(number)]));
        assert_eq!(layer[&Key::Mapping].raw, RawValue::Map(vec![(number.to_owned(), text(number))]));
    }

    #[test]
    fn quoted_text_stays_text_and_nothing_and_truth_stay_what_they_are() {
        let layer =
            read("cohort_id: 'true'\ncohort_name: \"null\"\noperation: ~\naliases: [true, null, '~']\n").unwrap();
        assert_eq!(layer[&Key::CohortId].raw, RawValue::Text("true".to_owned()));
        assert_eq!(layer[&Key::CohortName].raw, RawValue::Text("null".to_owned()));
        assert_eq!(layer[&Key::Operation].raw, RawValue::Null);
        assert_eq!(
            layer[&Key::Aliases].raw,
            RawValue::List(vec![RawValue::Bool(true), RawValue::Null, RawValue::Text("~".to_owned())])
        );
    }

    #[test]
    fn what_aliases_stand_for_is_bounded_and_a_file_without_them_is_not() {
        let long = "x".repeat(400_000);
        let error =
            read(&format!("cohort_id: &a {long}\naliases: [{}]\n", vec!["*a"; 100_000].join(", "))).unwrap_err();
        assert!(error.contains("aliases (*name)") && error.len() < 1000, "{error}");
        let digits = "1".repeat(1000);
        let error =
            read(&format!("cohort_id: &a {digits}\naliases: [{}]\n", vec!["*a"; 100_000].join(","))).unwrap_err();
        assert!(error.contains("aliases (*name)") && error.len() < 1000, "{error}");
        let full = format!("aliases: [{}1]\n", "1,".repeat((MAX_FILE_BYTES - 13) / 2));
        assert!(full.len() > MAX_FILE_BYTES - 4 && read(&full).is_ok());
    }

    #[test]
    fn nothing_but_comments_is_an_empty_layer() {
        assert_eq!(read("# later\n\n"), Ok(SettingsLayer::new()));
        assert_eq!(read(""), Ok(SettingsLayer::new()));
    }

    #[test]
    fn an_anchor_bomb_is_refused_at_once() {
        let mut text = "aliases: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
        text.push_str("input: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n");
        for (name, anchor, before) in [
            ("endpoint", "c", "b"),
            ("partner", "d", "c"),
            ("operation", "e", "d"),
            ("cohort_id", "f", "e"),
            ("cohort_name", "g", "f"),
            ("thread_count", "h", "g"),
        ] {
            text = format!("{text}{name}: &{anchor} [{}]\n", vec![format!("*{before}"); 9].join(","));
        }
        let before = std::time::Instant::now();
        assert!(read(&text).is_err());
        assert!(before.elapsed().as_secs() < 1);
    }
}
