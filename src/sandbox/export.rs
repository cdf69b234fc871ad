//! `POST /users/export/ids`: which of at most 50 users are known, with the requested fields.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::rules::Question;
use super::store::{Alias, Identifier, Kind};
use super::users::KnownUsers;

/// Answers a question. Without a list of users, every identifier is a user.
pub fn answer(question: &Question, known: Option<&KnownUsers>) -> Value {
    let (mut users, mut invalid) = (BTreeMap::new(), Vec::new());
    for (number, identifier) in question.identifiers.iter().enumerate() {
        let user = match known {
            Some(known) => known.user(identifier),
            None => Some((number, std::slice::from_ref(identifier))),
        };
        match user {
            Some((number, user)) => drop(users.insert(number, exported(number, user, &question.fields))),
            None if identifier.kind == Kind::UserIds => invalid.push(&identifier.identifier),
            None => {}
        }
    }
    let mut body = json!({"message": "success", "users": users.values().collect::<Vec<_>>()});
    if !invalid.is_empty() {
        body["invalid_user_ids"] = json!(invalid);
    }
    body
}

fn exported(number: usize, user: &[Identifier], fields: &[String]) -> Value {
    let of = |kind| user.iter().filter(move |identifier| identifier.kind == kind);
    let aliases: Vec<_> = of(Kind::Aliases).map(Alias::from).collect();
    let value = |field: &String| {
        let value = match field.as_str() {
            "external_id" => json!(of(Kind::UserIds).next()?.identifier),
            "braze_id" => json!(format!("{number:024x}")),
            "user_aliases" if !aliases.is_empty() => json!(aliases),
            _ => return None,
        };
        Some((field.clone(), value))
    };
    fields.iter().filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::http::Refusal;
    use crate::sandbox::rules::question;
    use crate::sandbox::tests::options;
    use rstest::rstest;

    fn asked(document: &Value, known: Option<&KnownUsers>) -> Result<Value, Refusal> {
        let question = question(document.as_object().unwrap(), Some("rest-key"), &options())?;
        Ok(answer(&question, known))
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
    #[case(json!({"external_ids": ["a"]}), "fields_to_export must be")]
    #[case(json!({"external_ids": ["a"], "fields_to_export": []}), "fields_to_export must be")]
    #[case(json!({"external_ids": vec!["a"; 51], "fields_to_export": ["external_id"]}), "at most 50")]
    #[case(json!({"user_aliases": vec![json!({"alias_label": "a", "alias_name": "b"}); 51], "fields_to_export": ["external_id"]}), "at most 50")]
    #[case(json!({"external_ids": [7], "fields_to_export": ["external_id"]}), "external_ids, user_aliases and")]
    #[case(json!({"user_aliases": [{"alias_label": "a"}], "fields_to_export": ["external_id"]}), "external_ids, user_aliases and")]
    #[case(json!({"device_id": ["a"], "fields_to_export": ["external_id"]}), "device_id must be given")]
    #[case(json!({"external_ids": [], "fields_to_export": ["external_id"]}), "device_id must be given")]
    fn what_braze_would_refuse_is_refused(#[case] question: Value, #[case] message: &str) {
        let Refusal(status, said) = asked(&question, Some(&known())).unwrap_err();
        assert!(status == 400 && said.contains(message), "{status} {said}");
    }

    #[rstest]
    #[case(Some("rest-key"), None)]
    #[case(Some("import-key"), Some(403))]
    #[case(Some("other"), Some(401))]
    #[case(None, Some(401))]
    fn only_the_rest_api_key_may_ask(#[case] key: Option<&str>, #[case] refused: Option<u16>) {
        let document = json!({"external_ids": ["a"], "fields_to_export": ["external_id"]});
        let asked = question(document.as_object().unwrap(), key, &options());
        assert_eq!(asked.err().map(|refusal| refusal.0), refused);
    }
}
