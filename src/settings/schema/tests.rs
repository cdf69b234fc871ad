//! Compares the schema with the settings, the documentation and the sample workflows.

use std::fs;
use std::path::{Path, PathBuf};

use regex_lite::Regex;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::settings::kind::{one_of, whole};
use crate::settings::raw::{Located, Origin, SettingsLayer};
use crate::settings::setting::Unset;
use crate::settings::{Config, yaml};

const COMMITTED: &str = "docs/config.schema.json";

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether a value fits, by all keywords of our schema. Any other keyword fails the test.
fn fits(schema: &Value, value: &Value) -> bool {
    let texts =
        |value: &Value| value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect();
    schema.as_object().unwrap().iter().all(|(keyword, wanted)| match keyword.as_str() {
        "$schema" | "title" | "description" | "default" | "examples" => true,
        "type" => {
            let types: Vec<String> = wanted.as_str().map_or_else(|| texts(wanted), |one| vec![one.to_owned()]);
            types.iter().any(|name| is_a(name, value))
        }
        "enum" => wanted.as_array().unwrap().contains(value),
        "minimum" => value.as_f64().is_none_or(|number| number >= wanted.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|number| number <= wanted.as_f64().unwrap()),
        "pattern" => value.as_str().is_none_or(|text| Regex::new(wanted.as_str().unwrap()).unwrap().is_match(text)),
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| fits(wanted, item))),
        "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= wanted.as_u64().unwrap()),
        "required" => {
            value.as_object().is_none_or(|map| texts(wanted).iter().all(|key: &String| map.contains_key(key)))
        }
        "properties" => value.as_object().is_none_or(|map| {
            let known = map.iter().filter_map(|(key, value)| Some((wanted.get(key)?, value)));
            known.into_iter().all(|(wanted, value)| fits(wanted, value))
        }),
        "additionalProperties" => value.as_object().is_none_or(|map| {
            let known = |key: &str| schema.get("properties").is_some_and(|known| known.get(key).is_some());
            map.iter().filter(|(key, _)| !known(key)).all(|(_, value)| match wanted {
                Value::Bool(allowed) => *allowed,
                wanted => fits(wanted, value),
            })
        }),
        "anyOf" => wanted.as_array().unwrap().iter().any(|one| fits(one, value)),
        "allOf" => wanted.as_array().unwrap().iter().all(|one| fits(one, value)),
        "not" => !fits(wanted, value),
        other => panic!("the test does not know the keyword {other}"),
    })
}

fn is_a(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the test does not know the type {other}"),
    }
}

fn checked(settings: &Value) -> Result<Config, String> {
    let written = |value: &Value| Located { raw: value.clone(), origin: Origin::Environment("a test") };
    let map = settings.as_object().unwrap().iter();
    let layer: SettingsLayer = map.map(|(name, value)| (Key::from_name(name).unwrap(), written(value))).collect();
    Config::check(&layer, false).map_err(|error| error.to_string())
}

/// The setting together with those that every upload requires.
fn with(name: &str, value: Value) -> Value {
    let mut settings = json!({"cohort_id": "c", "operation": "add", "columns": ["user_ids"], "input": "a.csv"});
    if name == "operation_column" {
        settings["operation"] = Value::Null;
    }
    if ["operation", "state_table", "max_removals", "max_additions", "refresh", "key_rotated"].contains(&name) {
        settings["operation"] = json!("mirror");
        settings["table"] = json!("a.b");
    }
    if name == "table" || settings["table"].is_string() || name == "job_id" {
        settings["columns"] = Value::Null;
        settings["input"] = Value::Null;
    }
    if name == "mapping" {
        settings["aliases"] = json!(["email"]);
    }
    settings[name] = value;
    settings
}

#[test]
fn every_setting_is_in_it_with_type_description_and_examples_that_can_be_used() {
    let schema = schema();
    let properties = schema["properties"].as_object().unwrap();
    assert!(properties.keys().eq(SETTINGS.iter().map(|setting| setting.name)));
    for (name, property) in properties {
        assert!(property["type"].as_array().is_some_and(|types| types.len() > 1), "{name} has no type");
        assert!(!property["description"].as_str().unwrap().is_empty(), "{name} has no description");
        for example in property["examples"].as_array().unwrap() {
            assert!(fits(&schema, &with(name, example.clone())), "{name}: {example}");
            if !example.to_string().contains("${") {
                checked(&with(name, example.clone())).unwrap();
            }
        }
    }
}

#[test]
fn its_defaults_are_those_that_are_used() {
    let unset = json!({"cohort_id": "c", "operation": "mirror", "table": "a.b"});
    let mut set = unset.clone();
    for (name, property) in schema()["properties"].as_object().unwrap() {
        if let Some(default) = property.get("default") {
            set[name] = default.clone();
        }
    }
    assert!(set.as_object().unwrap().len() > 3 + 3, "few defaults: {set}");
    assert_eq!(checked(&set), checked(&unset));
}

#[rstest]
#[case("thread_count", json!(0))]
#[case("thread_count", json!(257))]
#[case("thread_count", json!("many"))]
#[case("thread_count", json!(1.5))]
#[case("cohort_id", json!(true))]
#[case("cohort_id", json!(["a"]))]
#[case("operation", json!("ad"))]
#[case("operation", json!(["add"]))]
#[case("operation_column", json!({"a": "b"}))]
#[case("aliases", json!({"a": "b"}))]
#[case("aliases", json!([true]))]
#[case("mapping", json!("external_id"))]
#[case("mapping", json!({"external_id": ["user_ids"]}))]
#[case("format", json!("xlsx"))]
#[case("input", json!([]))]
#[case("expected_rows", json!(-1))]
#[case("expected_rows", json!("all"))]
#[case("max_rejected", json!("101%"))]
#[case("max_outage", json!(15))]
#[case("max_outage", json!("soon"))]
#[case("max_requests_per_hour", json!(0))]
#[case("partner", json!("a/b"))]
#[case("job_id", json!("12a"))]
#[case("job_id", json!(-1))]
#[case("allow_endpoint", json!({"a": "b"}))]
fn what_a_setting_may_not_be_does_not_fit(#[case] name: &str, #[case] value: Value) {
    let settings = with(name, value);
    assert!(!fits(&schema(), &settings));
    checked(&settings).unwrap_err();
}

#[rstest]
#[case("thread_count", json!("8"))]
#[case("thread_count", Value::Null)]
#[case("cohort_id", json!(4711))]
#[case("aliases", json!([1, "email"]))]
#[case("format", json!("csv"))]
#[case("mapping", json!({"mail": "email"}))]
#[case("max_rejected", json!("100%"))]
#[case("max_outage", json!("500ms"))]
#[case("operation_column", json!("what"))]
#[case("job_id", json!(4711))]
#[case("job_id", json!("4711"))]
#[case("allow_endpoint", json!(["a.example", "b.example"]))]
fn what_a_setting_may_be_fits(#[case] name: &str, #[case] value: Value) {
    let settings = with(name, value);
    assert!(fits(&schema(), &settings));
    checked(&settings).unwrap();
}

#[test]
fn an_unknown_key_and_both_ways_to_say_the_operation_do_not_fit() {
    assert!(!fits(&schema(), &with("cohort_nmae", json!("x"))));
    let both = json!({"cohort_id": "c", "operation": "add", "operation_column": "what"});
    assert!(!fits(&schema(), &both));
    checked(&both).unwrap_err();
}

#[test]
fn the_committed_schema_is_this_one() {
    written_anew(COMMITTED, |_| serde_json::to_string_pretty(&schema()).unwrap() + "\n");
}

/// If this is set, the test writes the files again.
const UPDATE: &str = "UPDATE_SETTINGS";

/// Compares a file with the text that the table of settings requires.
#[track_caller]
fn written_anew(name: &str, change: impl Fn(&str) -> String) {
    let path = top().join(name);
    let committed = fs::read_to_string(&path).unwrap();
    let expected = change(&committed);
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, expected).unwrap();
    } else {
        assert_eq!(committed, expected, "write it anew: {UPDATE}=1 cargo test --locked --lib settings::schema");
    }
}

/// A setting's line in docs/settings.md: values or examples, the default or its meaning, and the purpose.
fn documentation(setting: &Setting) -> String {
    let quoted = |texts: &[&str]| one_of(&texts.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>());
    let examples = quoted(setting.examples);
    let values = match setting.kind {
        ValueKind::Segment => "letters, digits, `_` and `-`".to_owned(),
        ValueKind::OneOf(names) => quoted(&names()),
        ValueKind::Whole(from, u64::MAX) => format!("{}, such as {examples}", whole(from, u64::MAX)),
        ValueKind::Whole(from, to) => format!("{from} to {to}"),
        ValueKind::Duration => "a duration".to_owned(),
        ValueKind::DurationOr(words) => format!("a duration, or {}", quoted(words)),
        ValueKind::Flag => "`true` or `false`".to_owned(),
        ValueKind::Text
        | ValueKind::JobNumber
        | ValueKind::List
        | ValueKind::Paths
        | ValueKind::Map
        | ValueKind::Share
        | ValueKind::Percent
        | ValueKind::Table => examples,
    };
    let unset = match setting.unset {
        Unset::Default(value) => format!("`{value}`"),
        Unset::Means(words) => words.to_owned(),
        Unset::Required { or: [], .. } => "required".to_owned(),
        Unset::Required { or, .. } => {
            let others: Vec<_> = or.iter().map(|other| format!("`{}`", other.name())).collect();
            format!("this or {} is required", others.join(" or "))
        }
    };
    let variable = setting.variable.map_or_else(String::new, |name| format!(", or `{name}`"));
    format!("| `{}` | {values}; {unset}{variable} | {} |", setting.name, setting.doc)
}

#[test]
fn the_reference_is_the_table_of_settings() {
    const HEADING: &str = "| key | values or examples; default | meaning |\n|---|---|---|\n";
    written_anew("docs/settings.md", |text| {
        let (before, rest) = text.split_once(HEADING).unwrap();
        let after = rest.lines().skip_while(|line| line.starts_with('|'));
        let rows = SETTINGS.iter().map(documentation).chain(after.map(str::to_owned));
        let rows: String = rows.map(|line| line + "\n").collect();
        format!("{before}{HEADING}{rows}")
    });
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.extension().and_then(|extension| extension.to_str()) {
            _ if path.is_dir() => yaml_files(&path),
            Some("yml") => vec![path],
            _ => Vec::new(),
        })
        .collect()
}

#[test]
fn the_configs_of_the_sample_workflows_name_it_and_fit() {
    let files = yaml_files(&top().join("workflows"));
    assert!(files.len() >= 2);
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap();
        let schema_path = first.strip_prefix("# yaml-language-server: $schema=");
        let schema_path = schema_path.unwrap_or_else(|| panic!("{} does not name its schema", path.display()));
        let named = path.parent().unwrap().join(schema_path).canonicalize().unwrap();
        assert_eq!(named, top().join(COMMITTED).canonicalize().unwrap());
        assert!(fits(&schema(), &serde_yaml::from_str(&text).unwrap()), "{} does not fit", path.display());
        yaml::read(&path, &text).unwrap();
    }
}
