//! The rules of the cohort API: a document -> what it asks for, or the first rule that it breaks. Nothing is applied here,
//! so a refused request changes nothing.
//!
//! Credentials are checked first, in the order in which Braze documents the messages.

use jiff::{Timestamp, civil::DateTime};
use serde_json::{Map, Value};

use super::Options;
use super::identifiers::Identifier;
use super::refusal::Refusal;
use super::store::{Change, Operation};

/// Braze's limit of `user_ids`, `device_ids` and `aliases` combined a request.
const MAX_IDENTIFIERS: usize = 1_000;

/// A whole body, which is one JSON object. The last value of a repeated key counts; unknown keys are ignored.
pub type Document = Map<String, Value>;

/// A cohort's name, checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Naming<'a> {
    pub cohort_id: &'a str,
    pub name: &'a str,
    pub created_at: &'a str,
}

/// A cohort's changes, checked: at most 1,000, in the order of the request.
#[derive(Debug, PartialEq, Eq)]
pub struct Users<'a> {
    pub cohort_id: &'a str,
    pub changes: Vec<Change<'a>>,
}

/// Checks a request to the cohort name endpoint.
pub fn naming<'a>(document: &'a Document, options: &Options) -> Result<Naming<'a>, Refusal> {
    authorize(document, options)?;
    Ok(Naming {
        cohort_id: cohort_id(document)?,
        name: text(document, "name").filter(|name| !name.is_empty()).ok_or(Refusal::Name)?,
        created_at: text(document, "created_at").filter(|time| is_iso_8601(time)).ok_or(Refusal::CreatedAt)?,
    })
}

/// Checks a request to the user cohort endpoint.
pub fn users<'a>(document: &'a Document, options: &Options) -> Result<Users<'a>, Refusal> {
    authorize(document, options)?;
    let cohort_id = cohort_id(document)?;
    let parts = document.get("cohort_changes").and_then(Value::as_array).ok_or(Refusal::CohortChanges)?;
    let mut changes = Vec::new();
    for part in parts {
        collect(part.as_object().ok_or(Refusal::CohortChanges)?, &mut changes)?;
    }
    if changes.len() > MAX_IDENTIFIERS {
        return Err(Refusal::TooManyIdentifiers);
    }
    Ok(Users { cohort_id, changes })
}

fn text<'a>(object: &'a Document, key: &str) -> Option<&'a str> {
    object.get(key)?.as_str()
}

fn authorize(document: &Document, options: &Options) -> Result<(), Refusal> {
    if text(document, "partner_api_key") != Some(&options.partner_api_key) {
        return Err(Refusal::PartnerApiKey);
    }
    if text(document, "client_secret") != Some(&options.client_secret) {
        return Err(Refusal::ClientSecret);
    }
    Ok(())
}

fn cohort_id(document: &Document) -> Result<&str, Refusal> {
    text(document, "cohort_id").filter(|id| !id.is_empty()).ok_or(Refusal::CohortId)
}

/// A date, or a date and a time with or without an offset. The parsers take more than ISO 8601: a space for the `T`, a time
/// zone in brackets.
fn is_iso_8601(text: &str) -> bool {
    let iso = |byte: u8| byte.is_ascii_digit() || b"+-:.,TZ".contains(&byte);
    text.bytes().all(iso) && (text.parse::<Timestamp>().is_ok() || text.parse::<DateTime>().is_ok())
}

fn collect<'a>(part: &'a Document, changes: &mut Vec<Change<'a>>) -> Result<(), Refusal> {
    let operation = match part.get("should_remove") {
        None | Some(Value::Bool(false)) => Operation::Add,
        Some(Value::Bool(true)) => Operation::Remove,
        Some(_) => return Err(Refusal::ShouldRemove),
    };
    let user_ids = strings(part, "user_ids")?.into_iter().map(Identifier::ExternalId);
    let device_ids = strings(part, "device_ids")?.into_iter().map(Identifier::DeviceId);
    let identifiers = user_ids.chain(device_ids).chain(aliases(part, "aliases")?);
    changes.extend(identifiers.map(|identifier| Change { operation, identifier }));
    Ok(())
}

/// The texts of a list; none without the list.
pub fn strings<'a>(object: &'a Document, key: &'static str) -> Result<Vec<&'a str>, Refusal> {
    list(object, key, Refusal::Strings(key), Value::as_str)
}

/// The aliases of a list; none without the list.
pub fn aliases<'a>(object: &'a Document, key: &'static str) -> Result<Vec<Identifier<&'a str>>, Refusal> {
    list(object, key, Refusal::Aliases(key), |item| {
        let alias = item.as_object()?;
        Some(Identifier::Alias { label: text(alias, "alias_label")?, name: text(alias, "alias_name")? })
    })
}

fn list<'a, T>(
    object: &'a Document,
    key: &str,
    refusal: Refusal,
    read: impl Fn(&'a Value) -> Option<T>,
) -> Result<Vec<T>, Refusal> {
    let Some(value) = object.get(key) else { return Ok(Vec::new()) };
    value.as_array().and_then(|items| items.iter().map(read).collect()).ok_or(refusal)
}

#[cfg(test)]
mod tests;
