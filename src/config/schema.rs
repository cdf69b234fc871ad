//! The JSON Schema of the config file, with which editors check and complete it. What it cannot know is said by `check`:
//! the values that templates are filled in with, and settings that come from elsewhere, so that none is required here.

use serde_json::{Map, Value, json};

use super::key::Key;
use crate::rows::format::Format;

/// A value in which something is filled in may become anything.
const TEMPLATE: &str = r"\$\{";

/// The schema, in draft 2020-12.
pub fn schema() -> Value {
    let properties: Map<String, Value> =
        Key::ALL.into_iter().map(|key| (key.name().to_owned(), property(key))).collect();
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

fn property(key: Key) -> Value {
    let mut property = json!({"description": description(key)});
    for part in [values(key), examples(key)] {
        if let (Some(property), Value::Object(part)) = (property.as_object_mut(), part) {
            property.extend(part);
        }
    }
    property
}

/// What a setting is for: the text of the table in docs/settings.md, which a test holds against this.
pub fn description(key: Key) -> &'static str {
    match key {
        Key::CohortId => "the cohort's identifier at Braze",
        Key::CohortName => "the name in Braze's segment filter",
        Key::Operation => "what happens to the members",
        Key::OperationColumn => {
            "says `add`, or `remove` or `delete`, for each row: all removals come first, then all additions"
        }
        Key::Aliases => "columns that hold user aliases",
        Key::Mapping => "columns of other names, and what they hold",
        Key::ThreadCount => "requests at once",
        Key::Endpoint => "Braze's REST endpoint",
        Key::AllowEndpoint => "hosts other than Braze's and Treasure Data's that may be called, such as your own proxy",
        Key::CaFile => "certificates (PEM) of further CAs to trust, such as that of a proxy of yours that decrypts",
        Key::Partner => "the partner's segment of Braze's path",
        Key::Input => "the result; several files are read as one",
        Key::JobId => {
            "the Treasure Data job whose result is fetched and read, in the place of `input`; needs `TD_API_KEY`"
        }
        Key::Format => "how the rows are written",
        Key::Columns => "the names of the columns, where the input has no header",
        Key::ExpectedRows => "rows that the input has to have",
        Key::MaxRejected => "more rejected rows and cells stop the run",
        Key::PossibleCount => "of a delta with `operation_column`: how many may be members before it",
        Key::WantedCount => {
            "of the same delta: how many are to be members after it. Where nobody is wanted, fewer than half of the \
             possible ones are, or more than 1,000 and 20 % of them would be removed, nothing is sent"
        }
        Key::AllowRemovals => "exactly so many removals are meant in spite of these limits; for one run",
        Key::FailedFile => {
            "where refused and undelivered identifiers go, with the reason; `upload --input` takes the file as it is"
        }
        Key::MaxOutage => {
            "how long nothing may get through before the run ends; before the first answer 1 minute at most"
        }
        Key::MaxDuration => "how long the run may take",
        Key::MaxRequestsPerHour => "requests in any hour; a part of it where other tools upload to the same Braze",
    }
}

/// Type, range and default. A key without a value is as good as none, and numbers may be text, as Digdag makes them.
fn values(key: Key) -> Value {
    match key {
        Key::CohortId | Key::CohortName | Key::OperationColumn | Key::Endpoint | Key::CaFile | Key::FailedFile => {
            json!({"type": ["string", "integer", "null"]})
        }
        Key::Operation => one_of(&["add", "remove"]),
        Key::Format => one_of(&Format::ALL.map(Format::name)),
        Key::Aliases | Key::Columns | Key::AllowEndpoint => list(["array", "string", "integer", "null"], 0),
        Key::Input => list(["string", "array", "integer", "null"], 1),
        Key::Mapping => json!({"type": ["object", "null"], "additionalProperties": {"type": ["string", "integer"]}}),
        Key::JobId => json!({
            "type": ["string", "integer", "null"],
            "minimum": 0,
            "pattern": format!("^[0-9]{{1,30}}$|{TEMPLATE}"),
        }),
        Key::Partner => json!({
            "type": ["string", "integer", "null"],
            "pattern": format!("^[A-Za-z0-9_-]+$|{TEMPLATE}"),
            "default": "treasure_data",
        }),
        Key::ThreadCount => json!({
            "type": ["integer", "string", "null"],
            "minimum": 1,
            "maximum": 256,
            "pattern": format!("^[0-9]+$|{TEMPLATE}"),
            "default": 4,
        }),
        Key::ExpectedRows | Key::PossibleCount | Key::WantedCount | Key::AllowRemovals => json!({
            "type": ["integer", "string", "null"],
            "minimum": 0,
            "pattern": format!("^[0-9]+$|{TEMPLATE}"),
        }),
        Key::MaxRejected => json!({
            "type": ["integer", "string", "null"],
            "minimum": 0,
            "pattern": format!("^[0-9]+$|^(100|[0-9]?[0-9]) *%$|{TEMPLATE}"),
        }),
        Key::MaxOutage => duration("15m"),
        Key::MaxDuration => duration("23h"),
        Key::MaxRequestsPerHour => json!({
            "type": ["integer", "string", "null"],
            "minimum": 1,
            "pattern": format!("^[0-9]+$|{TEMPLATE}"),
            "default": 250_000,
        }),
    }
}

fn one_of(names: &[&str]) -> Value {
    json!({
        "type": ["string", "null"],
        "anyOf": [{"enum": names}, {"type": "null"}, {"type": "string", "pattern": TEMPLATE}],
    })
}

fn list(types: [&str; 4], at_least: u64) -> Value {
    json!({"type": types, "items": {"type": ["string", "integer"]}, "minItems": at_least})
}

fn duration(default: &str) -> Value {
    json!({
        "type": ["string", "null"],
        "pattern": format!("^[0-9]+(ms|s|m|h)$|{TEMPLATE}"),
        "default": default,
    })
}

fn examples(key: Key) -> Value {
    let examples = match key {
        Key::CohortId => json!(["gold_members"]),
        Key::CohortName => json!(["Gold members"]),
        Key::Operation => json!(["add"]),
        Key::OperationColumn => json!(["operation"]),
        Key::Aliases => json!([["email"], "email, phone"]),
        Key::Mapping => json!([{"external_id": "user_ids", "mail": "email"}]),
        Key::ThreadCount => json!([8]),
        Key::Endpoint => json!(["US-03", "https://rest.iad-03.braze.com"]),
        Key::AllowEndpoint => json!([["braze.example.com"]]),
        Key::CaFile => json!(["config/ca.pem"]),
        Key::Partner => json!(["treasure_data"]),
        Key::Input => json!(["members.csv", "part-*.csv.gz", "-"]),
        Key::JobId => json!(["${td.last_job_id}"]),
        Key::Format => json!(["csv"]),
        Key::Columns => json!([["user_ids", "email"]]),
        Key::ExpectedRows => json!(["${td.last_job.num_records}"]),
        Key::MaxRejected => json!([0, "5%"]),
        Key::PossibleCount => json!(["${td.last_results.possible}"]),
        Key::WantedCount => json!(["${td.last_results.wanted}"]),
        Key::AllowRemovals => json!(["${allow_removals}"]),
        Key::FailedFile => json!(["failed.csv"]),
        Key::MaxOutage => json!(["30m"]),
        Key::MaxDuration => json!(["6h"]),
        Key::MaxRequestsPerHour => json!([100_000]),
    };
    json!({ "examples": examples })
}

#[cfg(test)]
mod tests;
