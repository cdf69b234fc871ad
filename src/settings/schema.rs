//! The JSON Schema of the config file, made from the table of settings, for checks and completion in editors. It
//! requires no setting, because each may come from elsewhere.

use serde_json::{Value, json};

use super::kind::{JOB_DIGITS, ValueKind};
use super::setting::{Key, SETTINGS, Setting};

/// A value with a template may become anything.
const TEMPLATE: &str = r"\$\{";

/// The schema, in draft 2020-12.
pub fn schema() -> Value {
    let properties: Value = SETTINGS.iter().map(|setting| (setting.name, property(setting))).collect();
    let both_set = |key: Key| json!({"required": [key.name()], "properties": {key.name(): {"type": "string"}}});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of td-braze-cohort",
        "description": "Which query result goes into which Braze cohort. Values may hold ${name} and ${a.b}. \
                        Credentials come from the environment alone.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "not": {"allOf": [both_set(Key::Operation), both_set(Key::OperationColumn)]},
    })
}

fn property(setting: &Setting) -> Value {
    let of_yaml = |text: &str| serde_yaml::from_str(text).unwrap_or(Value::Null);
    let mut property = json!({"description": setting.doc});
    let examples: Value = setting.examples.iter().map(|example| of_yaml(example)).collect();
    let default = setting.default().map(|default| json!({"default": of_yaml(default)}));
    for part in [Some(values(setting.kind)), default, Some(json!({"examples": examples}))].into_iter().flatten() {
        if let (Some(property), Value::Object(part)) = (property.as_object_mut(), part) {
            property.extend(part);
        }
    }
    property
}

/// Type and range. Null counts as not set. Numbers may be text, because Digdag passes them as text.
fn values(kind: ValueKind) -> Value {
    let number =
        |pattern: &str| json!({"type": ["integer", "string", "null"], "pattern": format!("{pattern}|{TEMPLATE}")});
    let text =
        |pattern: &str| json!({"type": ["string", "number", "null"], "pattern": format!("{pattern}|{TEMPLATE}")});
    match kind {
        ValueKind::Text => json!({"type": ["string", "number", "null"]}),
        ValueKind::Segment => text("^[A-Za-z0-9_-]+$"),
        ValueKind::JobNumber => with(number(&format!("^[0-9]{{1,{JOB_DIGITS}}}$")), "minimum", json!(0)),
        ValueKind::OneOf(names) => json!({
            "type": ["string", "null"],
            "anyOf": [{"enum": names()}, {"type": "null"}, {"type": "string", "pattern": TEMPLATE}],
        }),
        ValueKind::List => {
            json!({"type": ["array", "string", "number", "null"], "items": {"type": ["string", "number"]}})
        }
        ValueKind::Paths => with(values(ValueKind::List), "minItems", json!(1)),
        ValueKind::Map => json!({"type": ["object", "null"], "additionalProperties": {"type": ["string", "number"]}}),
        ValueKind::Whole(from, to) => {
            let whole = with(number("^[0-9]+$"), "minimum", json!(from));
            if to == u64::MAX { whole } else { with(whole, "maximum", json!(to)) }
        }
        ValueKind::Share => with(number("^[0-9]+$|^(100|[0-9]?[0-9]) *%$"), "minimum", json!(0)),
        ValueKind::Percent => {
            json!({"type": ["string", "null"], "pattern": format!("^(100|[0-9]?[0-9]) *%$|{TEMPLATE}")})
        }
        ValueKind::Table => {
            json!({"type": ["string", "null"], "pattern": format!("^[A-Za-z0-9_]+[.][A-Za-z0-9_]+$|{TEMPLATE}")})
        }
        ValueKind::Duration => values(ValueKind::DurationOr(&[])),
        ValueKind::DurationOr(words) => {
            let pattern: Vec<_> = words.iter().map(|word| format!("^{word}$|")).collect();
            // Some YAML parsers read `off` as false.
            let types = if words.is_empty() { json!(["string", "null"]) } else { json!(["string", "boolean", "null"]) };
            json!({"type": types, "pattern": format!("^[0-9]+(ms|s|m|h|d)$|{}{TEMPLATE}", pattern.concat())})
        }
        ValueKind::Flag => json!({
            "type": ["boolean", "string", "null"],
            "pattern": format!("^(true|false)$|{TEMPLATE}"),
        }),
    }
}

fn with(mut schema: Value, keyword: &str, value: Value) -> Value {
    schema[keyword] = value;
    schema
}

#[cfg(test)]
mod tests;
