//! Settings as written: untyped values with their places.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde_json::Value;

use super::setting::Key;

/// The type of a value, for a message. Never the value, which may be a key.
pub fn what(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number such as 1.5 or 1e5",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// Whether `is_meant` holds for any text or name in a value.
pub fn has_text(value: &Value, is_meant: &impl Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => is_meant(text),
        Value::Array(values) => values.iter().any(|value| has_text(value, is_meant)),
        Value::Object(entries) => entries.iter().any(|(key, value)| is_meant(key) || has_text(value, is_meant)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Where a value is set, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file, with the line of the key if it was found.
    File {
        /// As given.
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
    /// The value. A YAML number is kept as text, because `007` is an ID.
    pub raw: Value,
    /// Its place.
    pub origin: Origin,
}

/// Settings by key. A later layer overrides an earlier one key by key.
pub type SettingsLayer = BTreeMap<Key, Located>;
