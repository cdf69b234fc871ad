//! The rules of Braze's API: turns a body into what it asks for, or finds the first broken rule. Nothing is applied
//! here, so a refused request changes nothing.
//!
//! Credentials are checked first, in the order in which Braze documents the messages.

use jiff::{Timestamp, civil::DateTime};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Options;
use super::http::Refusal;
use super::store::{Alias, Identifier, Operation};

/// Braze's limit of `user_ids`, `device_ids` and `aliases` combined per request.
const MAX_IDENTIFIERS: usize = 1_000;
/// Its limit of external IDs, and of aliases, in a question.
const MAX_USERS: usize = 50;

/// A whole body: one JSON object. If a key is repeated, its last value counts; unknown keys are ignored.
pub type Document = Map<String, Value>;

/// A cohort's name, checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Naming {
    pub cohort_id: String,
    pub name: String,
    pub created_at: String,
}

/// A cohort's changes, checked: at most 1,000, in the order of the request.
#[derive(Debug, PartialEq, Eq)]
pub struct Users {
    pub cohort_id: String,
    pub changes: Vec<(Operation, Identifier)>,
}

/// A checked question about users.
#[derive(Debug, PartialEq, Eq)]
pub struct Question {
    pub identifiers: Vec<Identifier>,
    pub fields: Vec<String>,
}

/// A part of `cohort_changes`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Part {
    user_ids: Vec<String>,
    device_ids: Vec<String>,
    aliases: Vec<Alias>,
    should_remove: bool,
}

/// Checks a request to the cohort name endpoint.
pub fn naming(document: &Document, options: &Options) -> Result<Naming, Refusal> {
    authorize(document, options)?;
    let cohort_id = cohort_id(document)?;
    let (name, created_at) = (text(document, "name"), text(document, "created_at"));
    check(!name.is_empty(), 400, "name must be a non-empty string")?;
    check(is_iso_8601(created_at), 400, "created_at must be ISO-8601")?;
    Ok(Naming { cohort_id, name: name.to_owned(), created_at: created_at.to_owned() })
}

/// Checks a request to the user cohort endpoint.
pub fn users(document: &Document, options: &Options) -> Result<Users, Refusal> {
    authorize(document, options)?;
    let cohort_id = cohort_id(document)?;
    let parts = document.get("cohort_changes").and_then(Value::as_array);
    let parts: Option<Vec<Part>> = parts.and_then(|parts| parts.iter().map(part).collect());
    let parts = parts.ok_or(Refusal(400, "cohort_changes must be an array of objects"))?;
    let changes: Vec<_> = parts.into_iter().flat_map(changes).collect();
    check(changes.len() <= MAX_IDENTIFIERS, 400, "Only 1,000 user_ids, device_ids, and aliases allowed per request")?;
    Ok(Users { cohort_id, changes })
}

/// Checks a question about users. It needs the REST API key: those of the cohort API have no permission here.
pub fn question(document: &Document, bearer: Option<&str>, options: &Options) -> Result<Question, Refusal> {
    let is_other = bearer.is_some_and(|key| key == options.client_secret || key == options.partner_api_key);
    check(!is_other, 403, "Access denied: this API key has not the permission users.export.ids")?;
    check(bearer == Some(&options.rest_api_key), 401, "Invalid API key")?;
    let fields: Vec<String> = list(document, "fields_to_export")?;
    check(!fields.is_empty(), 400, "fields_to_export must be a non-empty array of names of fields")?;
    let external_ids: Vec<String> = list(document, "external_ids")?;
    let aliases: Vec<Alias> = list(document, "user_aliases")?;
    check(
        external_ids.len().max(aliases.len()) <= MAX_USERS,
        400,
        "at most 50 external_ids and 50 user_aliases are allowed per request",
    )?;
    let external_ids = external_ids.into_iter().map(Identifier::external_id);
    let device = Some(text(document, "device_id")).filter(|id| !id.is_empty());
    let device = device.map(|id| Identifier::device_id(id.to_owned()));
    let identifiers: Vec<_> = external_ids.chain(aliases.into_iter().map(Identifier::from)).chain(device).collect();
    check(!identifiers.is_empty(), 400, "external_ids, user_aliases or device_id must be given")?;
    Ok(Question { identifiers, fields })
}

fn check(holds: bool, status: u16, message: &'static str) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal(status, message)) }
}

/// Empty if it is missing or not a string.
fn text<'a>(document: &'a Document, key: &str) -> &'a str {
    document.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn authorize(document: &Document, options: &Options) -> Result<(), Refusal> {
    check(text(document, "partner_api_key") == options.partner_api_key, 401, "Invalid Partner API key")?;
    check(text(document, "client_secret") == options.client_secret, 401, "Invalid client secret")
}

fn cohort_id(document: &Document) -> Result<String, Refusal> {
    let id = text(document, "cohort_id");
    check(!id.is_empty(), 400, "cohort_id must be a valid string")?;
    Ok(id.to_owned())
}

/// A date, or a date and a time with or without an offset. The parsers accept more than ISO 8601: a space instead of
/// `T`, a time zone in brackets.
fn is_iso_8601(text: &str) -> bool {
    let iso = |byte: u8| byte.is_ascii_digit() || b"+-:.,TZ".contains(&byte);
    text.bytes().all(iso) && (text.parse::<Timestamp>().is_ok() || text.parse::<DateTime>().is_ok())
}

/// Objects only: an array would be read as the values of the fields.
fn part(value: &Value) -> Option<Part> {
    let aliases = value.as_object()?.get("aliases").and_then(Value::as_array);
    let are_objects = aliases.is_none_or(|aliases| aliases.iter().all(Value::is_object));
    Part::deserialize(value).ok().filter(|_| are_objects)
}

fn changes(part: Part) -> impl Iterator<Item = (Operation, Identifier)> {
    let operation = if part.should_remove { Operation::Remove } else { Operation::Add };
    let user_ids = part.user_ids.into_iter().map(Identifier::external_id);
    let device_ids = part.device_ids.into_iter().map(Identifier::device_id);
    let aliases = part.aliases.into_iter().map(Identifier::from);
    user_ids.chain(device_ids).chain(aliases).map(move |identifier| (operation, identifier))
}

/// A question's list; empty if missing.
fn list<'a, T: Deserialize<'a>>(document: &'a Document, key: &str) -> Result<Vec<T>, Refusal> {
    let list = document.get(key).map_or(Ok(Vec::new()), Vec::deserialize);
    list.map_err(|_| Refusal(400, "external_ids, user_aliases and fields_to_export must be arrays of what they name"))
}

#[cfg(test)]
mod tests;
