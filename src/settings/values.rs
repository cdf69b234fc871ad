//! Turns raw values into typed ones, by the kind in the table. Digdag turns numbers into text and text into numbers, so
//! both are accepted.

use std::time::Duration;

use serde_json::Value;

use super::ConfigError;
use super::kind::{JOB_DIGITS, ValueKind};
use super::placeholder;
use super::raw::{Located, Origin, SettingsLayer, has_text, what};
use super::setting::{Key, SETTINGS, Setting, Unset};
use super::template::is_template;
use crate::input::TableName;
use crate::input::near_names::nearest;
use crate::secret::{holds_a_secret, redacted};

/// The longest text in bytes. A longer one is a mistake, such as a file's content instead of its name.
const MAX_TEXT_BYTES: usize = 4096;

/// Settings that come from where they may, without nulls, templates and placeholders.
pub struct Values(SettingsLayer);

impl Values {
    /// The settings that are set.
    pub fn new(layer: &SettingsLayer) -> Result<Self, ConfigError> {
        let is_set = |(_, written): &(&Key, &Located)| !written.raw.is_null();
        let usable = layer.iter().filter(is_set).map(|(key, Located { raw, origin })| {
            let is_owners = matches!(origin, Origin::File { .. } | Origin::Environment(_));
            if !is_owners && !key.setting().from_workflow {
                return Err(ConfigError::Misplaced { key: *key, origin: origin.clone() });
            }
            if has_text(raw, &placeholder::is) {
                return Err(ConfigError::Placeholder { name: key.name().to_owned(), origin: origin.clone() });
            }
            if has_text(raw, &is_template) {
                return Err(ConfigError::Unfilled { key: *key, origin: origin.clone() });
            }
            Ok((*key, Located { raw: structured(raw, key.setting().kind), origin: origin.clone() }))
        });
        usable.collect::<Result<_, _>>().map(Self)
    }

    /// An error that names all missing required settings.
    pub fn check_required(&self, needs_endpoint: bool) -> Result<(), ConfigError> {
        let is_set = |key: &Key| self.written(*key).is_some();
        let is_missing = |setting: &&Setting| {
            let Unset::Required { or, .. } = setting.unset else { return false };
            !is_set(&setting.key) && !or.iter().any(is_set) && (needs_endpoint || setting.key != Key::Endpoint)
        };
        let keys: Vec<_> = SETTINGS.iter().filter(is_missing).map(|setting| setting.key).collect();
        if keys.is_empty() { Ok(()) } else { Err(ConfigError::Missing { keys, outside: Vec::new() }) }
    }

    /// The value, or the default, as read by `read`.
    pub fn get<T>(&self, key: Key, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, ConfigError> {
        let setting = key.setting();
        let Some(Located { raw, origin }) = self.written(key) else { return Ok(setting.default().and_then(read)) };
        let text = scalar(raw, &setting.wanted()).map_err(|expected| bad(key, origin, expected))?;
        read(&text).map(Some).ok_or_else(|| {
            let meant = match setting.kind {
                ValueKind::OneOf(names) => nearest(&text, names().into_iter()),
                _ => None,
            };
            let hint = meant.map_or_else(String::new, |name| format!(" (did you mean '{name}'?)"));
            bad(key, origin, format!("must be {}, not '{}'{hint}", setting.wanted(), shortened(&text)))
        })
    }

    /// The text of a setting that is neither a list nor a map.
    pub fn text(&self, key: Key) -> Result<Option<String>, ConfigError> {
        let kind = key.setting().kind;
        self.get(key, |text| is_of(kind, text).then(|| text.to_owned()))
    }

    pub fn whole<T: TryFrom<u64>>(&self, key: Key) -> Result<Option<T>, ConfigError> {
        let ValueKind::Whole(from, to) = key.setting().kind else { return Ok(None) };
        let in_range = |number: &u64| (from..=to).contains(number);
        self.get(key, |text| parse_digits(text).filter(in_range).and_then(|number| T::try_from(number).ok()))
    }

    /// A setting that is set or has a default.
    pub fn required<T>(
        &self,
        key: Key,
        value: fn(&Self, Key) -> Result<Option<T>, ConfigError>,
    ) -> Result<T, ConfigError> {
        value(self, key)?.ok_or_else(|| missing(key))
    }

    pub fn duration(&self, key: Key) -> Result<Option<Duration>, ConfigError> {
        self.get(key, parse_duration)
    }

    pub fn flag(&self, key: Key) -> Result<bool, ConfigError> {
        Ok(self.get(key, |text| text.parse().ok())?.unwrap_or(false))
    }

    /// A count or a percentage.
    pub fn share<T>(&self, key: Key, count: fn(u64) -> T, percent: fn(u64) -> T) -> Result<Option<T>, ConfigError> {
        self.get(key, |text| parse_percent(text).map(percent).or_else(|| parse_digits(text).map(count)))
    }

    pub fn table(&self, key: Key) -> Result<Option<TableName>, ConfigError> {
        self.get(key, TableName::parse)
    }

    pub fn percent(&self, key: Key) -> Result<Option<u32>, ConfigError> {
        self.get(key, |text| parse_percent(text).and_then(|percent| u32::try_from(percent).ok()))
    }

    /// A list of texts, or one text: a path, or names with commas.
    pub fn list(&self, key: Key) -> Result<Vec<String>, ConfigError> {
        let setting = key.setting();
        let is_path = matches!(setting.kind, ValueKind::Paths);
        let names = |text: &str| match text {
            path if is_path => vec![path.to_owned()],
            text => text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        };
        let Some(Located { raw, origin }) = self.written(key) else {
            return Ok(setting.default().map_or_else(Vec::new, names));
        };
        let texts = match raw {
            Value::Array(entries) => entries.iter().map(|entry| scalar(entry, "a string")).collect(),
            Value::String(text) if !is_path && text.trim().is_empty() => {
                Err("is empty: give it a value, or [] for none".to_owned())
            }
            Value::String(text) if !is_path && text.trim().starts_with('[') => {
                Err("begins with [ but is not a JSON list, such as [\"email\", \"phone\"]".to_owned())
            }
            one => scalar(one, &setting.wanted()).map(|text| names(&text)),
        };
        texts.map_err(|expected| bad(key, origin, expected))
    }

    /// The texts of a map, in order.
    pub fn map(&self, key: Key) -> Result<Vec<(String, String)>, ConfigError> {
        let Some(Located { raw, origin }) = self.written(key) else { return Ok(Vec::new()) };
        let wrong = |expected: String| bad(key, origin, expected);
        let Value::Object(entries) = raw else { return Err(wrong(not(&key.setting().wanted(), raw))) };
        let entries = entries
            .iter()
            .map(|(from, to)| Ok((scalar(&Value::from(from.as_str()), "a string")?, scalar(to, "a string")?)));
        entries.collect::<Result<_, String>>().map_err(wrong)
    }

    pub fn written(&self, key: Key) -> Option<&Located> {
        self.0.get(&key)
    }

    /// An error about a value that was read.
    pub fn bad(&self, key: Key, expected: &str) -> ConfigError {
        let origin = self.written(key).map_or(Origin::Parameter, |written| written.origin.clone());
        bad(key, &origin, expected.to_owned())
    }
}

pub fn missing(key: Key) -> ConfigError {
    ConfigError::Missing { keys: vec![key], outside: Vec::new() }
}

fn bad(key: Key, origin: &Origin, expected: String) -> ConfigError {
    ConfigError::Value { key, origin: origin.clone(), expected }
}

/// Reverses what happens to values on the way: lists and maps that became JSON text, and `off` that YAML read as false.
/// A boolean becomes text.
fn structured(raw: &Value, kind: ValueKind) -> Value {
    let of_json = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| raw.clone());
    match (kind, raw) {
        (ValueKind::DurationOr(_), Value::Bool(false)) => Value::from("off"),
        (ValueKind::Flag, Value::Bool(value)) => Value::from(value.to_string()),
        (ValueKind::List | ValueKind::Paths, Value::String(text)) if text.trim().starts_with('[') => of_json(text),
        (ValueKind::Map, Value::String(text)) if text.trim().starts_with('{') => of_json(text),
        _ => raw.clone(),
    }
}

fn not(wanted: &str, raw: &Value) -> String {
    match raw {
        Value::String(text) => format!("must be {wanted}, not '{}'", shortened(text)),
        other => format!("must be {wanted}, not {}", what(other)),
    }
}

/// What is wrong with a text as a value, if anything.
pub fn problem(text: &str) -> Option<String> {
    scalar(&Value::from(text), "a string").err()
}

fn scalar(raw: &Value, wanted: &str) -> Result<String, String> {
    let wrong = match raw {
        Value::Number(number) if !number.is_f64() => return Ok(number.to_string()),
        Value::String(text) if text.trim().is_empty() => "is empty: give it a value",
        Value::String(text) if text.len() > MAX_TEXT_BYTES => {
            "is longer than 4 KiB: give a name or a path, not the content of a file"
        }
        Value::String(text) if text.chars().any(char::is_control) => {
            "contains a control character, such as a line break: remove it"
        }
        Value::String(text) if holds_a_secret(text) => {
            "contains a credential: credentials must not appear in settings; they come from the environment alone"
        }
        Value::String(text) => return Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) if wanted == "a string" => {
            return Err(format!("{}: put it in quotes", not(wanted, raw)));
        }
        other => return Err(not(wanted, other)),
    };
    Err(wrong.to_owned())
}

fn is_of(kind: ValueKind, text: &str) -> bool {
    match kind {
        ValueKind::OneOf(names) => names().contains(&text),
        ValueKind::JobNumber => text.len() <= JOB_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit()),
        ValueKind::Segment => text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')),
        _ => true,
    }
}

/// The first letters of a value, for a message.
pub fn shortened(text: &str) -> String {
    const SHOWN: usize = 40;
    let text = redacted(text);
    if text.chars().count() <= SHOWN { text } else { text.chars().take(SHOWN).chain(['…']).collect() }
}

fn parse_digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn parse_percent(text: &str) -> Option<u64> {
    parse_digits(text.strip_suffix('%')?.trim()).filter(|percent| *percent <= 100)
}

/// Parses `500ms`, `30s`, `15m`, `23h`, `30d`: more than zero, at most a million days.
pub fn parse_duration(text: &str) -> Option<Duration> {
    const DAY: u64 = 86_400_000;
    let text = text.trim();
    let (digits, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit())?);
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => DAY,
        _ => return None,
    };
    let total = parse_digits(digits)?.checked_mul(millis)?;
    (1..=1_000_000 * DAY).contains(&total).then(|| Duration::from_millis(total))
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;
    use crate::input::source::Input;
    use crate::input::{Location, MaxRejected};
    use rstest::rstest;
    use serde_json::{Value, json};

    fn layer(values: &Value) -> SettingsLayer {
        values
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| {
                let origin = Origin::Environment("a test");
                (Key::from_name(name).unwrap(), Located { raw: value.clone(), origin })
            })
            .collect()
    }

    fn checked(mut values: Value) -> Result<Config, String> {
        let object = values.as_object_mut().unwrap();
        object.entry("cohort_id").or_insert(json!("c"));
        object.entry("operation").or_insert(json!("add"));
        if !object.contains_key("job_id") {
            object.entry("input").or_insert(json!("a.csv"));
        }
        Config::check(&layer(&values), false).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let config = checked(json!({})).unwrap();
        let (braze, delivery) = (config.braze, config.delivery);
        assert_eq!((delivery.thread_count, braze.partner.as_str(), braze.shown_name()), (4, "treasure_data", "c"));
        assert_eq!(config.input.max_rejected, MaxRejected::Default);
        assert_eq!((delivery.max_outage.as_secs(), delivery.max_duration.as_secs()), (900, 82_800));
        assert!(config.input.names.aliases.is_empty() && braze.endpoint.is_none());
    }

    #[test]
    fn numbers_may_come_as_text_and_ids_as_integers() {
        let config =
            checked(json!({"cohort_id": 4711, "thread_count": "8", "expected_rows": "12", "max_outage": "90s"}))
                .unwrap();
        let found = (config.braze.cohort_id.as_str(), config.delivery.thread_count, config.input.expected_rows);
        assert_eq!(found, ("4711", 8, Some(12)));
        assert_eq!(config.delivery.max_outage.as_secs(), 90);
    }

    #[test]
    fn a_job_is_named_by_digits_as_text_or_number() {
        for job in [json!("0123"), json!(123), json!("18446744073709551616")] {
            let id = job.as_str().map_or_else(|| job.to_string(), str::to_owned);
            assert_eq!(checked(json!({ "job_id": job })).unwrap().input.location, Location::Job(id));
        }
        let file = Location::Here(Input::from_text("a.csv"));
        assert_eq!(checked(json!({ "job_id": null, "input": "a.csv" })).unwrap().input.location, file);
    }

    #[rstest]
    #[case(json!("a.example, b.example"))]
    #[case(json!(["a.example", "b.example"]))]
    fn more_hosts_are_a_list_or_text_with_commas(#[case] hosts: Value) {
        assert_eq!(checked(json!({ "allow_endpoint": hosts })).unwrap().allow_endpoint, ["a.example", "b.example"]);
    }

    #[rstest]
    #[case(json!("email, phone,"))]
    #[case(json!(["email", "phone"]))]
    #[case(json!(r#"["email", "phone"]"#))]
    #[case(json!(r#" ["email","phone"]"#))]
    fn aliases_are_a_list_or_text_with_commas(#[case] aliases: Value) {
        assert_eq!(checked(json!({ "aliases": aliases })).unwrap().input.names.aliases, ["email", "phone"]);
    }

    #[rstest]
    #[case(json!({"operation": "ad"}), "operation must be 'add', 'remove' or 'mirror', not 'ad'")]
    #[case(json!({"thread_count": 0}), "from 1 to 256")]
    #[case(json!({"thread_count": "many"}), "thread_count must be a whole number from 1 to 256, not 'many'")]
    #[case(json!({"thread_count": 2.5}), "not a number such as 1.5 or 1e5")]
    #[case(json!({"cohort_id": true}), "put it in quotes")]
    #[case(json!({"cohort_id": ["a"]}), "not a list")]
    #[case(json!({"cohort_id": null}), "missing settings: cohort_id.")]
    #[case(json!({"cohort_id": " "}), "is empty")]
    #[case(json!({"aliases": ["email", "email"]}), "twice")]
    #[case(json!({"aliases": "user_ids"}), "always read")]
    #[case(json!({"partner": "a/b"}), "letters, digits")]
    #[case(json!({"max_rejected": "101%"}), "percentage")]
    #[case(json!({"max_outage": "15"}), "15m")]
    #[case(json!({"min_match": 80}), "min_match must be a percentage such as 80%, not '80'")]
    #[case(json!({"min_match": "101%"}), "percentage")]
    #[case(json!({"max_requests_per_hour": 0}), "at least 1")]
    #[case(json!({"expected_rows": -1}), "whole number")]
    #[case(json!({"job_id": "12a"}), "number of a job, such as ${td.last_job_id}, not '12a'")]
    #[case(json!({"job_id": -1}), "number of a job")]
    #[case(json!({"job_id": 1.5}), "number of a job")]
    #[case(json!({"cohort_id": null, "operation": null, "input": null}), "missing settings: cohort_id, operation, input.")]
    #[case(json!({"cohort_id": "a ${b}"}), "contains ${...}")]
    #[case(json!({"aliases": ["a", "${b}"]}), "contains ${...}")]
    #[case(json!({"mapping": {"${a}": "user_ids"}}), "contains ${...}")]
    #[case(json!({"aliases": "[email, phone]"}), "not a JSON list")]
    #[case(json!({"format": "jsnol"}), "(did you mean 'jsonl'?)")]
    #[case(json!({"job_id": ""}), "is empty")]
    #[case(json!({"job_id": "1".repeat(31)}), "number of a job")]
    #[case(json!({"job_id": 1, "input": "a.csv"}), "input is set together with job_id")]
    #[case(json!({"job_id": 1, "columns": "user_ids"}), "columns is set together with job_id")]
    #[case(json!({"job_id": 1, "format": "csv"}), "format is set together with job_id")]
    #[case(json!({"allow_endpoint": ["a.example", 1.5]}), "must be a string")]
    #[case(json!({"table": "gold"}), "table must be database.table")]
    #[case(json!({"table": "a.b\"; DROP"}), "table must be database.table")]
    #[case(json!({"table": "a.b"}), "input is set together with table")]
    #[case(json!({"table": "a.b", "input": null, "job_id": 1}), "job_id is set together with table")]
    #[case(json!({"operation": "mirror"}), "needs a table")]
    #[case(json!({"operation": "mirror", "input": null, "table": "a.b", "expected_rows": 1}), "cannot be used with operation: mirror")]
    #[case(json!({"operation": "mirror", "input": null, "table": "a.b", "refresh": "soon"}), "or off or all, not 'soon'")]
    #[case(json!({"operation": "mirror", "input": null, "table": "a.b", "refresh": "5ms"}), "not '5ms'")]
    #[case(json!({"max_removals": 5}), "is only for operation: mirror")]
    fn a_wrong_value_is_named_with_what_it_must_be(#[case] values: Value, #[case] message: &str) {
        let error = checked(values).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
}
