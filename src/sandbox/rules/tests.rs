use serde_json::json;

use super::*;
use crate::sandbox::tests::options;

/// A valid request of either kind, with some keys replaced; null removes a key.
fn document(replaced: &Value) -> Document {
    let mut document = json!({
        "partner_api_key": "partner-key", "client_secret": "import-key", "cohort_id": "c", "name": "Cohort",
        "created_at": "2026-11-23T19:20:30+05:00", "cohort_changes": [],
    });
    for (key, value) in replaced.as_object().unwrap() {
        document[key] = value.clone();
    }
    document.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    serde_json::from_value(document).unwrap()
}

fn refused_naming(replaced: &Value) -> Option<(u16, String)> {
    let refusal = naming(&document(replaced), &options()).err()?;
    Some((refusal.0, refusal.1.to_owned()))
}

fn refused_users(replaced: &Value) -> Option<(u16, String)> {
    let refusal = users(&document(replaced), &options()).err()?;
    Some((refusal.0, refusal.1.to_owned()))
}

#[test]
fn only_objects_are_documents() {
    for (body, is_document) in [
        ("{}", true),
        (r#" {"a": [1, -2, 1e99, null, true, "b", {}]} "#, true),
        ("", false),
        ("[]", false),
        ("null", false),
        (r#""text""#, false),
        ("{} {}", false),
        (r#"{"a": }"#, false),
        (r#"{"a": "\ud800"}"#, false),
    ] {
        assert_eq!(serde_json::from_str::<Document>(body).is_ok(), is_document, "{body}");
    }
    assert!(serde_json::from_slice::<Document>(b"{\"a\": \"\xff\"}").is_err());
    assert!(serde_json::from_str::<Document>(&"[".repeat(100_000)).is_err());
}

#[test]
fn the_last_of_a_repeated_key_counts() {
    let document = serde_json::from_str(r#"{"a": "first", "a": "plain", "b\n": "esc\u0061ped", "c": 1}"#).unwrap();
    let texts = ["a", "b\n", "c", "d"].map(|key| text(&document, key));
    assert_eq!(texts, ["plain", "escaped", "", ""]);
}

#[test]
fn both_calls_look_at_the_credentials_first() {
    for (replaced, message) in [
        (json!({"partner_api_key": null}), "Invalid Partner API key"),
        (json!({"partner_api_key": 1}), "Invalid Partner API key"),
        (json!({"partner_api_key": "import-key", "client_secret": "partner-key"}), "Invalid Partner API key"),
        (json!({"client_secret": null}), "Invalid client secret"),
        (json!({"client_secret": "import-key "}), "Invalid client secret"),
        (json!({"client_secret": "wrong", "cohort_id": 1}), "Invalid client secret"),
    ] {
        assert_eq!(refused_naming(&replaced), Some((401, message.to_owned())), "{replaced}");
        assert_eq!(refused_users(&replaced), Some((401, message.to_owned())), "{replaced}");
    }
}

#[test]
fn naming_needs_a_cohort_id_a_name_and_a_time() {
    for (replaced, message) in [
        (json!({"cohort_id": null}), "cohort_id must be a valid string"),
        (json!({"cohort_id": ""}), "cohort_id must be a valid string"),
        (json!({"cohort_id": 1}), "cohort_id must be a valid string"),
        (json!({"name": null}), "name must be a non-empty string"),
        (json!({"name": ""}), "name must be a non-empty string"),
        (json!({"name": ["n"]}), "name must be a non-empty string"),
        (json!({"created_at": null}), "created_at must be ISO-8601"),
        (json!({"created_at": 1_795_000_000}), "created_at must be ISO-8601"),
    ] {
        assert_eq!(refused_naming(&replaced), Some((400, message.to_owned())), "{replaced}");
    }
    assert_eq!(refused_naming(&json!({"cohort_changes": null})), None);
}

#[test]
fn times_are_iso_8601() {
    for (text, expected) in [
        ("2021-01-21T19:20:30+05:00", true),
        ("2021-01-21T19:20:30Z", true),
        ("2021-01-21T19:20:30.123456Z", true),
        ("20210121T192030Z", true),
        ("2021-01-21T19:20:30", true),
        ("2021-01-21", true),
        ("", false),
        ("2021-01-21 19:20:30Z", false),
        ("2021-01-21t19:20:30z", false),
        ("2021-01-21T19:20:30-05:00[America/New_York]", false),
        ("2021-02-30T19:20:30Z", false),
        ("2021-01-21T25:20:30Z", false),
        ("Thu, 21 Jan 2021 19:20:30 GMT", false),
        ("1611256830", false),
        ("yesterday", false),
    ] {
        assert_eq!(is_iso_8601(text), expected, "{text}");
    }
}

#[test]
fn changes_are_checked_by_type() {
    let changes = "cohort_changes must be an array of objects";
    for value in [
        json!({}),
        json!("[]"),
        json!(["a"]),
        json!([{}, ["a"]]),
        json!([{"user_ids": "a"}]),
        json!([{"user_ids": null}]),
        json!([{"user_ids": ["a", 1]}]),
        json!([{"device_ids": {"a": "b"}}]),
        json!([{"device_ids": [["a"]]}]),
        json!([{"aliases": {"alias_label": "l", "alias_name": "n"}}]),
        json!([{"aliases": ["a"]}]),
        json!([{"aliases": [["l", "n"]]}]),
        json!([{"aliases": [{"alias_label": "l"}]}]),
        json!([{"aliases": [{"alias_label": "l", "alias_name": 1}]}]),
        json!([{"should_remove": "true"}]),
        json!([{"should_remove": null, "user_ids": []}]),
    ] {
        let refused = refused_users(&json!({"cohort_changes": value}));
        assert_eq!(refused, Some((400, changes.to_owned())), "{value}");
    }
    assert_eq!(refused_users(&json!({"cohort_changes": null})), Some((400, changes.to_owned())));
    assert_eq!(refused_users(&json!({"cohort_id": null})), Some((400, "cohort_id must be a valid string".to_owned())));
    assert_eq!(refused_users(&json!({"name": null, "created_at": null})), None);
}

#[test]
fn a_thousand_identifiers_are_allowed_in_all() {
    let ids = |count: usize| (0..count).map(|id| id.to_string()).collect::<Vec<_>>();
    let aliases =
        |count| ids(count).iter().map(|name| json!({"alias_label": "l", "alias_name": name})).collect::<Vec<_>>();
    for (value, refused) in [
        (json!([{"user_ids": ids(1_000)}]), false),
        (json!([{"user_ids": ids(1_001)}]), true),
        (json!([{"device_ids": ids(1_001)}]), true),
        (json!([{"aliases": aliases(1_001)}]), true),
        (json!([{"user_ids": ids(333), "device_ids": ids(333), "aliases": aliases(334)}]), false),
        (json!([{"user_ids": ids(334), "device_ids": ids(333), "aliases": aliases(334)}]), true),
        (json!([{"user_ids": ids(500)}, {"user_ids": ids(500), "should_remove": true}]), false),
        (json!([{"user_ids": ids(500)}, {"user_ids": ids(501), "should_remove": true}]), true),
    ] {
        let message = "Only 1,000 user_ids, device_ids, and aliases allowed per request";
        let expected = refused.then(|| (400, message.to_owned()));
        assert_eq!(refused_users(&json!({"cohort_changes": value})), expected);
    }
}

#[test]
fn changes_keep_the_order_of_the_array() {
    let document = document(&json!({"cohort_changes": [
        {"should_remove": true, "user_ids": ["a"], "device_ids": ["d"]},
        {},
        {"should_remove": false, "user_ids": ["a"], "aliases": [{"alias_name": "n", "alias_label": "l"}]},
    ]}));
    let alias = Alias { alias_label: "l".to_owned(), alias_name: "n".to_owned() };
    let expected = vec![
        (Operation::Remove, Identifier::external_id("a".to_owned())),
        (Operation::Remove, Identifier::device_id("d".to_owned())),
        (Operation::Add, Identifier::external_id("a".to_owned())),
        (Operation::Add, Identifier::from(alias)),
    ];
    assert_eq!(users(&document, &options()), Ok(Users { cohort_id: "c".to_owned(), changes: expected }));
}
