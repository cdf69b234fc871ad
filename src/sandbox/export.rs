//! `POST /users/export/ids`: which of at most 50 users are known, and of them the fields that were asked for.

use serde_json::{Value, json};

use super::Options;
use super::answer::Answer;
use super::identifiers::Identifier;
use super::refusal::Refusal;
use super::rules::{Document, aliases, strings};
use super::users::{KnownUsers, Profile};

const MAX_USERS: usize = 50;

/// The key must be the REST API key. The two keys of the cohort API are known, but have no permission here.
pub fn check_key(bearer: Option<&str>, options: &Options) -> Result<(), Refusal> {
    match bearer {
        Some(key) if key == options.rest_api_key => Ok(()),
        Some(key) if key == options.client_secret || key == options.partner_api_key => Err(Refusal::Permission),
        _ => Err(Refusal::RestApiKey),
    }
}

/// Answers a question. Without known users every identifier is a user.
pub fn answer(document: &Document, known: Option<&KnownUsers>) -> Result<Answer, Refusal> {
    let fields = strings(document, "fields_to_export").ok().filter(|fields| !fields.is_empty());
    let fields = fields.ok_or(Refusal::FieldsToExport)?;
    let (mut users, mut invalid, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    for identifier in asked_for(document)? {
        let profile = match known {
            Some(known) => known.profile(identifier),
            None => Some(alone(identifier)),
        };
        match (profile, identifier) {
            (Some(profile), _) if known.is_some() && seen.contains(&profile.number) => {}
            (Some(profile), _) => {
                seen.push(profile.number);
                users.push(exported(&profile, &fields));
            }
            (None, Identifier::ExternalId(id)) => invalid.push(id),
            (None, _) => {}
        }
    }
    let mut body = json!({"message": "success", "users": users});
    if !invalid.is_empty() {
        body["invalid_user_ids"] = json!(invalid);
    }
    Ok(Answer::json(201, &body))
}

fn asked_for(document: &Document) -> Result<Vec<Identifier<&str>>, Refusal> {
    let (external_ids, aliases) = (strings(document, "external_ids")?, aliases(document, "user_aliases")?);
    let device = document.get("device_id").map(|id| id.as_str().ok_or(Refusal::DeviceId)).transpose()?;
    if external_ids.len().max(aliases.len()) > MAX_USERS {
        return Err(Refusal::TooManyUsers);
    }
    let external_ids = external_ids.into_iter().map(Identifier::ExternalId);
    let asked: Vec<_> = external_ids.chain(aliases).chain(device.map(Identifier::DeviceId)).collect();
    if asked.is_empty() { Err(Refusal::NobodyAskedFor) } else { Ok(asked) }
}

/// A user with this identifier and no other.
fn alone(identifier: Identifier<&str>) -> Profile<'_> {
    let nothing = Profile { number: 0, external_id: None, aliases: Vec::new() };
    match identifier {
        Identifier::ExternalId(id) => Profile { external_id: Some(id), ..nothing },
        Identifier::Alias { label, name } => Profile { aliases: vec![(label, name)], ..nothing },
        Identifier::DeviceId(_) => nothing,
    }
}

fn exported(profile: &Profile<'_>, fields: &[&str]) -> Value {
    let value = |field: &&str| {
        let value = match *field {
            "external_id" => json!(profile.external_id?),
            "braze_id" => json!(format!("{:024x}", profile.number)),
            "user_aliases" if !profile.aliases.is_empty() => {
                let alias = |(label, name): &(&str, &str)| json!({"alias_label": label, "alias_name": name});
                profile.aliases.iter().map(alias).collect()
            }
            _ => return None,
        };
        Some(((*field).to_owned(), value))
    };
    Value::Object(fields.iter().filter_map(value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn asked(document: &Value, known: Option<&KnownUsers>) -> Result<Value, Refusal> {
        let answer = answer(document.as_object().unwrap(), known)?;
        Ok(serde_json::from_slice(&answer.body).unwrap())
    }

    fn known() -> KnownUsers {
        let rows = "external_id,device_id,email\nann,phone-1,ann@example.com\nann,,ann@example.org\n,phone-2,\n,,eve@example.com\n";
        KnownUsers::read(rows.as_bytes()).unwrap()
    }

    #[rstest]
    #[case(json!({"external_ids": ["bob", "ann"]}), json!([{"external_id": "ann", "braze_id": format!("{:024x}", 0)}]))]
    #[case(json!({"device_id": "phone-1"}), json!([{"external_id": "ann", "braze_id": format!("{:024x}", 0)}]))]
    #[case(json!({"device_id": "phone-2"}), json!([{"braze_id": format!("{:024x}", 1)}]))]
    #[case(json!({"device_id": "phone-3"}), json!([]))]
    #[case(
        json!({"user_aliases": [{"alias_label": "email", "alias_name": "ann@example.org"}, {"alias_label": "email", "alias_name": "x"}]}),
        json!([{"external_id": "ann", "braze_id": format!("{:024x}", 0)}])
    )]
    fn known_users_come_back_with_the_fields_that_were_asked_for(#[case] question: Value, #[case] users: Value) {
        let mut question = question;
        question["fields_to_export"] = json!(["external_id", "braze_id"]);
        assert_eq!(asked(&question, Some(&known())).unwrap()["users"], users);
    }

    #[test]
    fn a_user_is_exported_once_with_all_aliases_and_who_is_missing_is_named() {
        let question = json!({"external_ids": ["ann", "bob", "ann"], "fields_to_export": ["user_aliases"]});
        let said = asked(&question, Some(&known())).unwrap();
        assert_eq!(said["users"].as_array().unwrap().len(), 1);
        assert_eq!(said["users"][0]["user_aliases"].as_array().unwrap().len(), 2);
        assert_eq!(said["invalid_user_ids"], json!(["bob"]));
        let said = asked(&json!({"external_ids": ["bob", "eve"], "fields_to_export": ["external_id"]}), None).unwrap();
        assert_eq!(said["users"], json!([{"external_id": "bob"}, {"external_id": "eve"}]));
    }

    #[rstest]
    #[case(json!({"external_ids": ["a"]}), Refusal::FieldsToExport)]
    #[case(json!({"external_ids": ["a"], "fields_to_export": []}), Refusal::FieldsToExport)]
    #[case(json!({"external_ids": vec!["a"; 51], "fields_to_export": ["external_id"]}), Refusal::TooManyUsers)]
    #[case(json!({"user_aliases": vec![json!({"alias_label": "a", "alias_name": "b"}); 51], "fields_to_export": ["external_id"]}), Refusal::TooManyUsers)]
    #[case(json!({"external_ids": [7], "fields_to_export": ["external_id"]}), Refusal::Strings("external_ids"))]
    #[case(json!({"user_aliases": [{"alias_label": "a"}], "fields_to_export": ["external_id"]}), Refusal::Aliases("user_aliases"))]
    #[case(json!({"device_id": ["a"], "fields_to_export": ["external_id"]}), Refusal::DeviceId)]
    #[case(json!({"external_ids": [], "fields_to_export": ["external_id"]}), Refusal::NobodyAskedFor)]
    fn what_braze_would_refuse_is_refused(#[case] question: Value, #[case] refusal: Refusal) {
        assert_eq!(asked(&question, Some(&known())), Err(refusal));
    }

    #[rstest]
    #[case(Some("rest-key"), Ok(()))]
    #[case(Some("import-key"), Err(Refusal::Permission))]
    #[case(Some("other"), Err(Refusal::RestApiKey))]
    #[case(None, Err(Refusal::RestApiKey))]
    fn only_the_rest_api_key_may_ask(#[case] key: Option<&str>, #[case] expected: Result<(), Refusal>) {
        assert_eq!(check_key(key, &crate::sandbox::tests::options()), expected);
    }
}
