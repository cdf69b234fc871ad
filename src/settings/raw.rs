//! Settings as they were written: untyped values with their places.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::setting::Key;

/// A value of YAML or of a Digdag parameter. A number is text as it is written, because `007` is an ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawValue {
    /// As if the key were not there.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number of JSON that is not whole: its text in the workflow is lost.
    Float(String),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<RawValue>),
    /// A map, in the order in which it is written.
    Map(Vec<(String, RawValue)>),
}

impl RawValue {
    /// Its type, for a message. Never the value, which may be a key.
    pub fn what(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Float(_) => "a number such as 1.5 or 1e5",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    /// Whether `is_meant` holds for a text or a name in it.
    pub fn has_text(&self, is_meant: &impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Text(text) => is_meant(text),
            Self::List(values) => values.iter().any(|value| value.has_text(is_meant)),
            Self::Map(entries) => entries.iter().any(|(key, value)| is_meant(key) || value.has_text(is_meant)),
            Self::Null | Self::Bool(_) | Self::Float(_) => false,
        }
    }
}

impl From<&serde_json::Value> for RawValue {
    fn from(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) if number.is_f64() => Self::Float(number.to_string()),
            Value::Number(number) => Self::Text(number.to_string()),
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(values) => Self::List(values.iter().map(Self::from).collect()),
            Value::Object(entries) => {
                Self::Map(entries.iter().map(|(key, value)| (key.clone(), Self::from(value))).collect())
            }
        }
    }
}

/// Where a value is set, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file, and the line of the key if it was found.
    File {
        /// As it was given.
        path: PathBuf,
        /// From 1.
        line: Option<usize>,
    },
    /// A parameter of the workflow.
    Parameter,
    /// The map `braze_cohort` of the workflow.
    Map,
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
            Self::Map => formatter.write_str("the workflow's map braze_cohort"),
            Self::Flag(flag) => write!(formatter, "{flag}"),
            Self::Environment(variable) => write!(formatter, "the environment variable {variable}"),
        }
    }
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The value.
    pub raw: RawValue,
    /// Its place.
    pub origin: Origin,
}

/// Settings by key. A later source overrides an earlier one key by key.
pub type SettingsLayer = BTreeMap<Key, Located>;
