//! Reads a YAML file of settings, with limits on time and memory. Values keep the text that they are written with.

use std::cell::Cell;
use std::fmt;
use std::path::Path;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::ConfigError;
use super::credentials::{self, names_a_credential};
use super::kind::ValueKind;
use super::raw::{Located, Origin, SettingsLayer};
use super::setting::{Key, SETTINGS};
use crate::input::near_names::nearest;

/// The largest config file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;
/// The deepest nesting of brackets, indents, and the marks of one line. Our settings need two levels. The parser's time
/// grows with the square of the depth.
const MAX_DEPTH: usize = 64;

/// An error about a config file as a whole.
pub fn unusable(path: &Path, message: &str) -> ConfigError {
    ConfigError::Malformed { origin: Origin::File { path: path.to_owned(), line: None }, message: message.to_owned() }
}

/// The parser's error, with its place in front, as in our own messages.
fn misread(path: &Path, error: &serde_yaml::Error) -> ConfigError {
    let (message, location) = (error.to_string(), error.location());
    let suffix = location.as_ref().map(|location| format!(" at line {} column {}", location.line(), location.column()));
    let message = message.strip_suffix(suffix.as_deref().unwrap_or_default()).unwrap_or(&message);
    // Hides the value: it may be the file with the members.
    let message = if message.ends_with(MAP) { format!("expected {MAP}") } else { message.to_owned() };
    let found = [("sequence", "a list"), ("map", "a map")].into_iter().find_map(|(kind, found)| {
        let (name, expected) = message.split_once(&format!(": invalid type: {kind}, expected "))?;
        Some(format!("{name} must be {expected}, not {found}"))
    });
    let message = found.unwrap_or(message);
    let origin = Origin::File { path: path.to_owned(), line: location.map(|location| location.line()) };
    ConfigError::Malformed { origin, message }
}

/// The text of a file. Fails if the parser would take minutes, because of deep nesting or many directives.
fn bounded<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str, ConfigError> {
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
    if text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).any(|line| line.starts_with('%')) {
        return Err(unusable(path, "a line begins with %, a YAML directive: remove it"));
    }
    Ok(text)
}

/// How deeply a text may be nested: by its brackets, its indents, or the marks at the beginning of one line.
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

/// The settings of a YAML file. Unknown and duplicate keys are errors that name the line.
pub fn read(path: &Path, text: impl AsRef<[u8]>) -> Result<SettingsLayer, ConfigError> {
    let text = bounded(path, text.as_ref())?;
    let mut layer = SettingsLayer::new();
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(layer);
    }
    let left = Cell::new(MAX_FILE_BYTES);
    let entries = serde_yaml::Deserializer::from_str(text).deserialize_map(Settings(&left));
    for (name, raw) in entries.map_err(|error| misread(path, &error))? {
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

const MAP: &str = "a map of settings (cohort_id: ..., operation: add, ...)";

/// Reads the map of all settings. The parser is asked for text, because otherwise it changes numbers.
struct Settings<'a>(&'a Cell<usize>);

impl<'de> Visitor<'de> for Settings<'_> {
    type Value = Vec<(String, Value)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(MAP)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = match Key::from_name(&name).map(|key| key.setting().kind) {
                None => map.next_value::<IgnoredAny>().map(|_| Value::Null)?,
                Some(ValueKind::List | ValueKind::Paths) => {
                    map.next_value_seed(Several { left: self.0, expected: "a list, or text" })?
                }
                Some(ValueKind::Map) => map.next_value_seed(Several { left: self.0, expected: "a map, or text" })?,
                Some(_) => text(self.0, map.next_value()?)?,
            };
            entries.push((name, value));
        }
        Ok(entries)
    }
}

/// A text, or nothing. `left` is how many more values and bytes of text are allowed.
fn text<E: de::Error>(left: &Cell<usize>, text: Option<String>) -> Result<Value, E> {
    let size = 1 + text.as_ref().map_or(0, String::len);
    left.set(left.get().checked_sub(size).ok_or_else(|| {
        let most = MAX_FILE_BYTES >> 20;
        E::custom(format_args!("it is larger than {most} MiB with its aliases (*name) written out: use fewer aliases"))
    })?);
    Ok(text.map_or(Value::Null, Value::from))
}

/// Reads a value that may have several texts.
struct Several<'a> {
    left: &'a Cell<usize>,
    expected: &'static str,
}

impl<'de> DeserializeSeed<'de> for Several<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Several<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.expected)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E: de::Error>(self, one: &str) -> Result<Value, E> {
        text(self.left, Some(one.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(one) = list.next_element()? {
            values.push(text(self.left, one)?);
        }
        Ok(Value::from(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Map::new();
        while let Some((name, one)) = map.next_entry::<String, _>()? {
            text(self.left, Some(name.clone()))?;
            if entries.insert(name, text(self.left, one)?).is_some() {
                return Err(de::Error::custom("a name is mapped twice: keep one of them"));
            }
        }
        Ok(Value::from(entries))
    }
}

/// The longest key that is shown, in bytes. A longer one, or one with unusual characters, may be data.
const LONGEST_NAME: usize = 64;

/// The message for a key that is not a setting.
pub fn unknown_key(name: &str) -> String {
    let is_a_name = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.' | ' ');
    let names = SETTINGS.iter().map(|setting| setting.name);
    let known = || names.clone().collect::<Vec<_>>().join(", ");
    if name.len() > LONGEST_NAME || !name.chars().all(is_a_name) {
        return format!("a text before : is not the name of a setting; the settings are {}", known());
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

/// The line of a top-level key, after `before` others with the same name. The parser does not give it, so the text is
/// searched. For a map in braces this may find nothing.
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
    use serde_json::json;

    fn read(text: &str) -> Result<SettingsLayer, String> {
        super::read(Path::new("c.yml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn values_keep_their_type_and_their_line() {
        let layer = read("cohort_id: 4711\n\noperation: add\naliases: [a, 1]\ncohort_name:\n").unwrap();
        let cohort_id = &layer[&Key::CohortId];
        assert_eq!(cohort_id.raw, "4711");
        assert_eq!(layer[&Key::Operation].origin.to_string(), "c.yml, line 3");
        assert_eq!(layer[&Key::Aliases].raw, json!(["a", "1"]));
        assert_eq!(layer[&Key::CohortName].raw, Value::Null);
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
    #[case::input("user_ids\nhush\n", "expected a map of settings", "c.yml, line 1")]
    #[case::number("4711\n", "expected a map of settings", "c.yml")]
    #[case::directive("%TAG ! tag:x,2000:\n---\ncohort_id: a\n", "directive", "c.yml")]
    #[case::key("mapping: {[a]: b}\n", "must be a string", "line 1")]
    #[case::name_twice("mapping: {a: user_ids, a: device_ids}\n", "mapped twice", "line 1")]
    #[case::list("cohort_id: [a]\n", "cohort_id must be a string, not a list", "line 1")]
    #[case::list_of_an_unknown_key("cohort_id: a\nxyzzy: [b]\n", "unknown key 'xyzzy'", "line 2")]
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
        assert_eq!(layer[&Key::CohortId].raw, number);
        assert_eq!(layer[&Key::Aliases].raw, json!([number, "x", number]));
        assert_eq!(layer[&Key::Mapping].raw, json!({number: number}));
    }

    #[test]
    fn what_is_not_quoted_is_text_too_except_for_nothing() {
        let layer =
            read("cohort_id: 'true'\ncohort_name: \"null\"\noperation: ~\naliases: [true, null, '~']\n").unwrap();
        assert_eq!(layer[&Key::CohortId].raw, "true");
        assert_eq!(layer[&Key::CohortName].raw, "null");
        assert_eq!(layer[&Key::Operation].raw, Value::Null);
        assert_eq!(layer[&Key::Aliases].raw, json!(["true", null, "~"]));
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
        assert!(before.elapsed().as_secs() < 10);
    }
}
