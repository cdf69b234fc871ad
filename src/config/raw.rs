//! Settings as they were written: a value without a type yet, and where it stands.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Unexpected, Visitor};

use super::ConfigError;
use super::key::{Key, names_a_credential};

/// A value of YAML or of a Digdag parameter. Numbers keep the digits that they were written with, as far as their syntax
/// lets us see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raw {
    /// Nothing: as if the key were not there.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number, in decimal digits.
    Integer(String),
    /// Any other number.
    Float(String),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Raw>),
    /// A map, in the order in which it is written.
    Map(Vec<(String, Raw)>),
}

impl Raw {
    /// What it is, for a message. Never the value: somebody may have put a key there.
    pub fn what(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a truth value",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number that is not written in plain digits",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

impl From<&serde_json::Value> for Raw {
    fn from(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) if number.is_f64() => Self::Float(number.to_string()),
            Value::Number(number) => Self::Integer(number.to_string()),
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(values) => Self::List(values.iter().map(Self::from).collect()),
            Value::Object(entries) => {
                Self::Map(entries.iter().map(|(key, value)| (key.clone(), Self::from(value))).collect())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("text, a number or a list")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Integer(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Integer(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Integer(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Integer(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Float(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Raw::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Raw, Raw>()? {
            let key = match key {
                Raw::Text(key) | Raw::Integer(key) => key,
                // Never the value, which may be anything.
                other => return Err(de::Error::custom(format_args!("a key has to be text, not {}", other.what()))),
            };
            entries.push((key, value));
        }
        Ok(Raw::Map(entries))
    }
}

/// Where a value stands, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file, and the line of the key where it could be found.
    File {
        /// As it was given.
        path: PathBuf,
        /// From 1.
        line: Option<usize>,
    },
    /// A parameter of the workflow.
    Parameter,
    /// The map `braze_cohort` of the workflow.
    Export,
    /// A flag of the command line.
    Flag(&'static str),
    /// A variable of the environment.
    Environment(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: Some(line) } => write!(formatter, "{}, line {line}", path.display()),
            Self::File { path, line: None } => write!(formatter, "{}", path.display()),
            Self::Parameter => formatter.write_str("the workflow's parameters"),
            Self::Export => formatter.write_str("the workflow's map braze_cohort"),
            Self::Flag(flag) => write!(formatter, "{flag}"),
            Self::Environment(variable) => write!(formatter, "the environment variable {variable}"),
        }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The value.
    pub raw: Raw,
    /// Where it stands.
    pub origin: Origin,
}

/// Settings by key. A later source overrides an earlier one key by key.
pub type Layer = BTreeMap<Key, Written>;

/// The largest config file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;

/// An error where there is more than [`MAX_FILE_BYTES`].
pub fn check_size(path: &Path, bytes: &[u8]) -> Result<(), ConfigError> {
    if bytes.len() <= MAX_FILE_BYTES {
        return Ok(());
    }
    Err(unusable(path, &format!("it is larger than {MAX_FILE_BYTES} bytes: is this the file with the settings?")))
}

/// An error about a config file as a whole.
pub fn unusable(path: &Path, message: &str) -> ConfigError {
    ConfigError::Yaml { origin: Origin::File { path: path.to_owned(), line: None }, message: message.to_owned() }
}

/// The parser's error, with the place in front, as everywhere, and not behind a long message.
fn misread(path: &Path, error: &serde_yaml::Error) -> ConfigError {
    let (message, place) = (error.to_string(), error.location());
    let suffix = place.as_ref().map(|place| format!(" at line {} column {}", place.line(), place.column()));
    let message = message.strip_suffix(suffix.as_deref().unwrap_or_default()).unwrap_or(&message).to_owned();
    let origin = Origin::File { path: path.to_owned(), line: place.map(|place| place.line()) };
    ConfigError::Yaml { origin, message }
}

/// How deep brackets may be nested, and how often a line may begin a list or a key within another. Our settings need two; the
/// parser takes time that grows with the square of the depth.
const MAX_DEPTH: usize = 64;

/// An error where the text is nested deeper than any settings are.
fn check_depth(path: &Path, text: &str) -> Result<(), ConfigError> {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    let marks = |line: &str| line.split_whitespace().take_while(|word| matches!(*word, "-" | "?" | ":")).count();
    let in_lines = text.lines().map(marks).max().unwrap_or_default();
    let mut indents: Vec<usize> = Vec::new();
    let mut by_indent = 0;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let indent = line.len() - line.trim_start().len();
        while indents.last().is_some_and(|last| *last >= indent) {
            indents.pop();
        }
        indents.push(indent);
        by_indent = by_indent.max(indents.len());
    }
    if deepest.max(in_lines).max(by_indent) <= MAX_DEPTH {
        return Ok(());
    }
    Err(unusable(path, &format!("it is nested deeper than {MAX_DEPTH} levels: is this the file with the settings?")))
}

/// The settings of a YAML file: unknown and duplicate keys are errors that name the line.
pub fn from_yaml(path: &Path, text: &str) -> Result<Layer, ConfigError> {
    check_size(path, text.as_bytes())?;
    check_depth(path, text)?;
    let mut layer = Layer::new();
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(layer);
    }
    let fill = Fill { layer: &mut layer, path, text };
    fill.deserialize(serde_yaml::Deserializer::from_str(text)).map_err(|error| misread(path, &error))?;
    Ok(layer)
}

/// Reads the map at the top of the file into a layer.
struct Fill<'a> {
    layer: &'a mut Layer,
    path: &'a Path,
    text: &'a str,
}

impl<'de> DeserializeSeed<'de> for Fill<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fill<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map of settings (cohort_id: ..., operation: add, ...)")
    }

    // Each of these would be shown otherwise, and somebody may have given the file with the members.
    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        Err(E::invalid_type(Unexpected::Other("text"), &self))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        Err(E::invalid_type(Unexpected::Other("a truth value"), &self))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        Err(E::invalid_type(Unexpected::Other("a number"), &self))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        self.visit_i64(0)
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<(), E> {
        self.visit_i64(0)
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<(), E> {
        self.visit_i64(0)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        self.visit_i64(0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(KnownKey(self.layer))? {
            let line = line_of(self.text, key);
            let raw = match (map.next_value()?, line.and_then(|line| self.text.lines().nth(line - 1))) {
                // 0x4f2e or 0o17, which the parser has turned into other digits than those of the ID that was meant.
                (Raw::Integer(digits), Some(text)) if !text.contains(&digits) => Raw::Float(digits),
                (raw, _) => raw,
            };
            let origin = Origin::File { path: self.path.to_owned(), line };
            self.layer.insert(key, Written { raw, origin });
        }
        Ok(())
    }
}

/// A key that is known and new. The error is raised while the key is read, so that it carries the key's line.
struct KnownKey<'a>(&'a Layer);

impl<'de> DeserializeSeed<'de> for KnownKey<'_> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KnownKey<'_> {
    type Value = Key;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a setting")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Key, E> {
        let key = Key::from_name(name).ok_or_else(|| E::custom(unknown_key(name)))?;
        if self.0.contains_key(&key) {
            return Err(E::custom(format!("'{name}' is there twice: keep one of them")));
        }
        Ok(key)
    }
}

/// No longer key is shown, nor one of other characters than names have: it is a mistake of another kind, and may be data.
const LONGEST_NAME: usize = 64;

/// What to say of a key that is none of ours.
pub fn unknown_key(name: &str) -> String {
    let is_a_name = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.' | ' ');
    let known = || Key::ALL.into_iter().map(Key::name).collect::<Vec<_>>().join(", ");
    if name.len() > LONGEST_NAME || !name.chars().all(is_a_name) {
        return format!("a key that is no name of a setting; known are {}", known());
    }
    if names_a_credential(name) {
        return format!(
            "'{name}': credentials do not belong into settings; they come from the environment alone, as \
             BRAZE_CLIENT_SECRET, BRAZE_PARTNER_API_KEY and TD_API_KEY (in a workflow: _env with ${{secret:...}})"
        );
    }
    if let Some(key) = Key::nearest(name) {
        return format!("unknown key '{name}'; did you mean '{}'?", key.name());
    }
    format!("unknown key '{name}'; known are {}", known())
}

/// The line in which a key of the top level stands. The parser does not tell, so it is looked up in the text; where the
/// map is written in braces that may find nothing.
fn line_of(text: &str, key: Key) -> Option<usize> {
    text.lines()
        .position(|line| {
            let unquoted = line.trim_start_matches(['"', '\'', '{', ' ']);
            unquoted
                .strip_prefix(key.name())
                .is_some_and(|rest| rest.trim_start_matches(['"', '\'']).trim_start().starts_with(':'))
        })
        .map(|index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn read(text: &str) -> Result<Layer, String> {
        from_yaml(Path::new("c.yml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn values_keep_what_they_are_and_where_they_stand() {
        let layer = read("cohort_id: 4711\n\noperation: add\naliases: [a, 1]\ncohort_name:\n").unwrap();
        let cohort_id = &layer[&Key::CohortId];
        assert_eq!(cohort_id.raw, Raw::Integer("4711".to_owned()));
        assert_eq!(layer[&Key::Operation].origin.to_string(), "c.yml, line 3");
        assert_eq!(layer[&Key::Aliases].raw, Raw::List(vec![Raw::Text("a".to_owned()), Raw::Integer("1".to_owned())]));
        assert_eq!(layer[&Key::CohortName].raw, Raw::Null);
    }

    #[rstest]
    #[case::typo("cohort_id: a\ncohortname: b\n", "did you mean 'cohort_name'?", "line 2")]
    #[case::unlike_anything("cohort_id: a\nxyzzy: b\n", "known are cohort_id, ", "line 2")]
    #[case::twice("cohort_id: a\noperation: add\ncohort_id: b\n", "'cohort_id' is there twice", "line 3")]
    #[case::secret("cohort_id: a\nclient_secret: hush\n", "environment alone", "line 2")]
    #[case::no_map("- a\n- b\n", "a map of settings", "")]
    #[case::broken("cohort_id: [a\n", "c.yml", "line")]
    #[case::no_name("cohort_id: a\nhush@example.com: b\n", "no name of a setting", "line 2")]
    #[case::too_long(&format!("cohort_id: a\n{}: b\n", "hush".repeat(17)), "no name of a setting", "line 2")]
    #[case::input("user_ids\nhush\n", "text, expected a map of settings", "")]
    #[case::number("4711\n", "expected a map of settings", "c.yml")]
    #[case::tabs("cohort_id: a\n\toperation: add\n", "c.yml", "line 2")]
    fn says_what_is_wrong_and_where(#[case] text: &str, #[case] message: &str, #[case] place: &str) {
        let error = read(text).unwrap_err();
        assert!(error.contains(message) && error.contains(place), "{error}");
        assert!(!error.contains("hush") && !error.contains("4711"), "{error}");
    }

    #[test]
    fn nothing_but_comments_is_an_empty_layer() {
        assert_eq!(read("# later\n\n"), Ok(Layer::new()));
        assert_eq!(read(""), Ok(Layer::new()));
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
