//! `POST /users/export/ids`, which shows whether Braze knows an identifier: request bodies, and what the answers mean.
//! Pure.
//!
//! It needs a REST API key with the permission `users.export.ids`. An identifier is known if it is in `users`.
//! `invalid_user_ids` is documented only for external IDs, and is used only to detect contradictions.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::Answer;
use crate::http::endpoint::Endpoint;
use crate::members::batch::Batch;
use crate::members::identifier::Kind;

/// The most external IDs, or aliases, in a request.
pub const MAX_IDENTIFIERS: usize = 50;
/// The permission that the key needs.
pub const PERMISSION: &str = "users.export.ids";
/// The longest answer that is read, in bytes: 50 users with many aliases each.
pub const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// The address of the call.
pub fn address(endpoint: &Endpoint) -> String {
    format!("{endpoint}/users/export/ids")
}

/// The most identifiers of a kind in a request.
pub fn capacity(kind: Kind) -> usize {
    if kind == Kind::DeviceId { 1 } else { MAX_IDENTIFIERS }
}

/// The body for identifiers of one kind; `labels` are those of the aliases. It asks for the fewest fields that show
/// whether a profile exists. An anonymous user always has a `braze_id`, but may have neither external ID nor alias.
pub fn body(batch: &Batch, labels: &[String]) -> Vec<u8> {
    let mut fields = vec!["external_id", "user_aliases"];
    let asked = batch.identifiers().map(|(kind, identifier)| match (kind, String::from_utf8_lossy(identifier)) {
        (Kind::Alias(_), name) => json!({"alias_label": kind.column(labels), "alias_name": name}),
        (Kind::UserId | Kind::DeviceId, text) => json!(text),
    });
    let (name, asked) = match batch.identifiers().next() {
        Some((Kind::DeviceId, _)) => {
            fields.push("braze_id");
            ("device_id", json!(asked.last()))
        }
        Some((Kind::Alias(_), _)) => ("user_aliases", asked.collect()),
        _ => ("external_ids", asked.collect()),
    };
    json!({ name: asked, "fields_to_export": fields }).to_string().into_bytes()
}

/// Whether Braze knows an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A user has it. For a device: an anonymous user, because a cohort accepts only those by device.
    Known,
    /// The device of users with an external ID. A cohort does not accept them by device.
    Identified,
    /// No user has it.
    Unknown,
    /// The answer contradicts itself.
    CannotTell,
}

#[derive(Deserialize)]
struct Export {
    users: Vec<Profile>,
    invalid_user_ids: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct Profile {
    external_id: Option<String>,
    user_aliases: Option<Vec<Alias>>,
}

#[derive(Deserialize)]
struct Alias {
    alias_label: Option<String>,
    alias_name: Option<String>,
}

/// The result for each identifier of the batch, in order; none if the answer has no list of users.
pub fn found(answer: &Answer, batch: &Batch, labels: &[String]) -> Option<Vec<Found>> {
    let export: Export = serde_json::from_slice(&answer.body).ok()?;
    let one = |(kind, identifier): (Kind, &[u8])| export.found(kind, &String::from_utf8_lossy(identifier), labels);
    Some(batch.identifiers().map(one).collect())
}

impl Export {
    fn found(&self, kind: Kind, text: &str, labels: &[String]) -> Found {
        let is_there = match kind {
            Kind::UserId => self.users.iter().any(|user| user.external_id() == Some(text)),
            Kind::Alias(_) => self.users.iter().any(|user| user.has_alias(kind.column(labels), text)),
            Kind::DeviceId => !self.users.is_empty(),
        };
        match (is_there, self.names_as_invalid(kind, text)) {
            (true, Some(true)) => Found::CannotTell,
            (true, _) if kind != Kind::DeviceId => Found::Known,
            (true, _) if self.users.iter().any(|user| user.external_id().is_none()) => Found::Known,
            (true, _) => Found::Identified,
            (false, Some(false)) if kind == Kind::UserId => Found::CannotTell,
            (false, _) => Found::Unknown,
        }
    }

    /// Whether it is in `invalid_user_ids`; none if that list is missing.
    fn names_as_invalid(&self, kind: Kind, text: &str) -> Option<bool> {
        let is_alias = matches!(kind, Kind::Alias(_));
        let is_meant = |named: &Value| named == text || is_alias && named["alias_name"] == text;
        Some(self.invalid_user_ids.as_ref()?.iter().any(is_meant))
    }
}

impl Profile {
    fn external_id(&self) -> Option<&str> {
        self.external_id.as_deref().filter(|id| !id.is_empty())
    }

    fn has_alias(&self, label: &str, name: &str) -> bool {
        let is_it =
            |alias: &Alias| alias.alias_label.as_deref() == Some(label) && alias.alias_name.as_deref() == Some(name);
        self.user_aliases.iter().flatten().any(is_it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HeaderMap;
    use crate::members::operation::Operation;
    use rstest::rstest;

    fn batch(kind: Kind, identifiers: &[&str]) -> Batch {
        let mut batch = Batch::new(Operation::Add);
        for identifier in identifiers {
            batch.push(kind, identifier.as_bytes());
        }
        batch
    }

    fn labels() -> Vec<String> {
        vec!["phone".to_owned(), "email".to_owned()]
    }

    #[rstest]
    #[case(Kind::UserId, json!({"external_ids": ["a\"", "b"], "fields_to_export": ["external_id", "user_aliases"]}))]
    #[case(Kind::Alias(1), json!({
        "user_aliases": [{"alias_label": "email", "alias_name": "a\""}, {"alias_label": "email", "alias_name": "b"}],
        "fields_to_export": ["external_id", "user_aliases"],
    }))]
    #[case(Kind::DeviceId, json!({"device_id": "b", "fields_to_export": ["external_id", "user_aliases", "braze_id"]}))]
    fn no_more_than_is_needed_is_asked_for(#[case] kind: Kind, #[case] expected: Value) {
        let body = body(&batch(kind, &["a\"", "b"]), &labels());
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    }

    #[rstest]
    #[case::known(Kind::UserId, json!({"users": [{"external_id": "a"}, {"external_id": "b"}]}), Found::Known)]
    #[case::missing(Kind::UserId, json!({"users": [{"external_id": "b"}]}), Found::Unknown)]
    #[case::other_case(Kind::UserId, json!({"users": [{"external_id": "A"}]}), Found::Unknown)]
    #[case::invalid(Kind::UserId, json!({"users": [], "invalid_user_ids": ["a"]}), Found::Unknown)]
    #[case::both(Kind::UserId, json!({"users": [{"external_id": "a"}], "invalid_user_ids": ["a"]}), Found::CannotTell)]
    #[case::neither(Kind::UserId, json!({"users": [], "invalid_user_ids": ["b"]}), Found::CannotTell)]
    #[case::alias(Kind::Alias(1), json!({"users": [{"user_aliases": [{"alias_label": "email", "alias_name": "a"}]}]}), Found::Known)]
    #[case::other_label(Kind::Alias(0), json!({"users": [{"user_aliases": [{"alias_label": "email", "alias_name": "a"}]}]}), Found::Unknown)]
    #[case::alias_not_listed(Kind::Alias(1), json!({"users": [], "invalid_user_ids": ["b"]}), Found::Unknown)]
    #[case::alias_both(
        Kind::Alias(1),
        json!({"users": [{"user_aliases": [{"alias_label": "email", "alias_name": "a"}]}], "invalid_user_ids": [{"alias_name": "a"}]}),
        Found::CannotTell
    )]
    #[case::anonymous(Kind::DeviceId, json!({"users": [{"braze_id": "x"}]}), Found::Known)]
    #[case::identified(Kind::DeviceId, json!({"users": [{"braze_id": "x", "external_id": "b"}]}), Found::Identified)]
    #[case::of_both(Kind::DeviceId, json!({"users": [{"external_id": "b"}, {"external_id": null}]}), Found::Known)]
    #[case::no_device(Kind::DeviceId, json!({"users": [], "invalid_user_ids": []}), Found::Unknown)]
    #[case::device_both(Kind::DeviceId, json!({"users": [{}], "invalid_user_ids": ["a"]}), Found::CannotTell)]
    fn known_is_what_comes_back(#[case] kind: Kind, #[case] said: Value, #[case] expected: Found) {
        let answer = Answer { status: 201, headers: HeaderMap::new(), body: said.to_string().into_bytes() };
        assert_eq!(found(&answer, &batch(kind, &["a"]), &labels()), Some(vec![expected]));
    }

    #[rstest]
    #[case("{}")]
    #[case(r#"{"users": {}}"#)]
    #[case(r#"{"users": [{"external_id": 7}]}"#)]
    fn another_answer_says_nothing(#[case] said: &str) {
        let answer = Answer { status: 201, headers: HeaderMap::new(), body: said.into() };
        assert_eq!(found(&answer, &batch(Kind::UserId, &["a"]), &[]), None);
    }
}
