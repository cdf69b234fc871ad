//! `${name}` and `${a.b}` in settings. Pure.

use serde_json::Value;
use thiserror::Error;

use super::credentials;
use super::raw::has_text;

/// The source of the values for templates.
pub enum Lookup<'a> {
    /// The environment. `sh>` puts a workflow's parameters there: text as it is, everything else as JSON.
    Environment(&'a dyn Fn(&str) -> Option<String>),
    /// The parameters that Digdag passes to an operator.
    Parameters(&'a Value),
}

impl Lookup<'_> {
    /// The value of a name, or of a path inside a value. None if the name does not exist.
    fn find(&self, path: &[&str]) -> Option<Value> {
        let (name, fields) = path.split_first()?;
        let value = match self {
            Self::Environment(variable) => {
                let text = variable(name)?;
                let structured = text.starts_with(['{', '[']).then(|| serde_json::from_str(&text).ok()).flatten();
                structured.unwrap_or(Value::String(text))
            }
            Self::Parameters(parameters) => parameters.get(name)?.clone(),
        };
        fields.iter().try_fold(&value, |value, field| value.get(field)).cloned()
    }

    fn searched(&self) -> &'static str {
        match self {
            Self::Environment(_) => "the environment (sh> puts the workflow's parameters there)",
            Self::Parameters(_) => "the workflow's parameters",
        }
    }

    /// Whether the values may have lost letters.
    fn may_be_garbled(&self) -> bool {
        let Self::Environment(variable) = self else { return false };
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(|name| variable(name)).find(|it| !it.is_empty());
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        !locale.contains("utf-8") && !locale.contains("utf8")
    }
}

/// Why a template cannot be filled in.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TemplateError {
    /// The name is undefined.
    #[error("${{{name}}} is undefined{}", way_out(.name, .searched))]
    Unknown {
        /// As written.
        name: String,
        /// The searched place.
        searched: &'static str,
    },
    /// The variable holds a credential.
    #[error(
        "${{{name}}} is a credential, and credentials must not appear in settings: leave it out, it is read from the environment"
    )]
    Credential {
        /// As written.
        name: String,
    },
    /// `${secret:...}`
    #[error("Digdag fills in ${{secret:...}} only under _env: move it there (BRAZE_CLIENT_SECRET: ${{secret:...}})")]
    DigdagSecret,
    /// An expression, which only Digdag can compute.
    #[error(
        "${{...}} may only contain a name, such as ${{cohort}} or ${{td.last_job_id}}, not a JavaScript expression. Compute the value \
         under _export in the .dig file, and use its name"
    )]
    Expression,
    /// The value may have lost letters.
    #[error(
        "the value of ${{{name}}} contains a ? or \u{fffd}, and the locale is not UTF-8, so letters may have been lost: use py>, or set \
         LC_ALL: C.UTF-8 under _env"
    )]
    Garbled {
        /// As written.
        name: String,
    },
    /// `${` without `}`.
    #[error("${{ has no closing }}: write }} after the name")]
    Unclosed,
    /// A map or a list within text.
    #[error(
        "${{{name}}} is a map or a list and cannot be part of a text: use one of its values, such as ${{{name}.id}}"
    )]
    Structured {
        /// As written.
        name: String,
    },
    /// A number within text that may have lost digits.
    #[error(
        "${{{name}}} is a number such as 1.5 or 1e5 and cannot be part of a text, because its digits may have changed: write it in quotes \
         where it is set"
    )]
    Number {
        /// As written.
        name: String,
    },
    /// Nothing would be filled in, and the setting would be another one or none.
    #[error("${{{name}}} is empty or null: give it a value, or leave the setting out")]
    Empty {
        /// As written.
        name: String,
    },
}

/// Whether a text contains a template.
pub fn is_template(text: &str) -> bool {
    text.contains("${")
}

/// Fills in every template of a value. A text that is just a template becomes its value, so a list stays a list.
pub fn expand(raw: Value, lookup: &Lookup<'_>) -> Result<Value, TemplateError> {
    match raw {
        Value::String(text) => expand_text(&text, lookup),
        Value::Array(values) => values.into_iter().map(|value| expand(value, lookup)).collect(),
        Value::Object(entries) => entries.into_iter().map(|(key, value)| Ok((key, expand(value, lookup)?))).collect(),
        other => Ok(other),
    }
}

fn expand_text(text: &str, lookup: &Lookup<'_>) -> Result<Value, TemplateError> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        let (name, after) = behind.split_once('}').ok_or(TemplateError::Unclosed)?;
        let value = value_of(name.trim(), lookup)?;
        if before.is_empty() && after.is_empty() && filled.is_empty() {
            return Ok(value);
        }
        filled.push_str(before);
        filled.push_str(&plain_text(name, &value)?);
        rest = after;
    }
    filled.push_str(rest);
    Ok(Value::from(filled))
}

fn value_of(name: &str, lookup: &Lookup<'_>) -> Result<Value, TemplateError> {
    if name.starts_with("secret:") {
        return Err(TemplateError::DigdagSecret);
    }
    let path: Vec<&str> = name.split('.').collect();
    if !path.iter().all(|part| is_name(part)) {
        return Err(TemplateError::Expression);
    }
    if path.iter().any(|part| credentials::ALL.contains(part)) {
        return Err(TemplateError::Credential { name: name.to_owned() });
    }
    let value = lookup
        .find(&path)
        .ok_or_else(|| TemplateError::Unknown { name: name.to_owned(), searched: lookup.searched() })?;
    if value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty()) {
        return Err(TemplateError::Empty { name: name.to_owned() });
    }
    let is_replaced = |text: &str| text.contains(['?', char::REPLACEMENT_CHARACTER]);
    if lookup.may_be_garbled() && has_text(&value, &is_replaced) {
        return Err(TemplateError::Garbled { name: name.to_owned() });
    }
    Ok(value)
}

fn way_out(name: &str, searched: &str) -> String {
    if name.starts_with("td.") {
        return ". td.* exists only inside a workflow, after a td> task; by hand use --input".to_owned();
    }
    format!(": it is not in {searched}. Set it there, or correct the name")
}

fn is_name(part: &str) -> bool {
    !part.is_empty()
        && !part.starts_with(|first: char| first.is_ascii_digit())
        && part.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

fn plain_text(name: &str, value: &Value) -> Result<String, TemplateError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) if number.is_f64() => Err(TemplateError::Number { name: name.to_owned() }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Array(_) | Value::Object(_) => Err(TemplateError::Structured { name: name.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn environment(name: &str) -> Option<String> {
        let value = match name {
            "cohort" => "vip",
            "td" => r#"{"last_job_id":"815","last_job":{"num_records":42,"size":null},"id":123456789012345678901234}"#,
            "labels" => r#"["email","phone"]"#,
            "braces" => "{not json",
            "question" => "gold?",
            "names" => r#"["a", "シ??"]"#,
            "empty" => "",
            "BRAZE_CLIENT_SECRET" => "hush",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn expanded(text: &str) -> Result<Value, TemplateError> {
        expand(Value::from(text), &Lookup::Environment(&environment))
    }

    #[rstest]
    #[case("plain", "plain")]
    #[case("${cohort}", "vip")]
    #[case("a-${cohort}-${ td.last_job_id }.csv", "a-vip-815.csv")]
    #[case("n=${td.last_job.num_records}", "n=42")]
    #[case("${braces}", "{not json")]
    #[case("$cohort $ {x} }", "$cohort $ {x} }")]
    fn fills_in(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(expanded(text), Ok(Value::from(expected)));
    }

    #[test]
    fn one_template_alone_keeps_its_type() {
        assert_eq!(expanded("${td.last_job.num_records}"), Ok(json!(42)));
        assert_eq!(expanded("${labels}"), Ok(json!(["email", "phone"])));
        assert!(matches!(expanded("${td}"), Ok(Value::Object(entries)) if !entries.is_empty()));
    }

    #[rstest]
    #[case("${nobody}", "is undefined")]
    #[case("${td.nothing}", "is undefined")]
    #[case("${cohort.x}", "is undefined")]
    #[case("${empty}", "is empty or null")]
    #[case("gold_${td.last_job.size}", "is empty or null")]
    #[case("gold_${td.id}", "in quotes")]
    #[case("x${td}", "is a map or a list")]
    #[case("${BRAZE_CLIENT_SECRET}", "is a credential")]
    #[case("${TD_API_KEY}", "is a credential")]
    #[case("${secret:braze.key}", "only under _env")]
    #[case("${moment(session_time).format('YYYY')}", "JavaScript")]
    #[case("${a + b}", "JavaScript")]
    #[case("${}", "JavaScript")]
    #[case("${question}", "LC_ALL")]
    #[case("${names}", "LC_ALL")]
    #[case("${open", "no closing")]
    fn says_why_not(#[case] text: &str, #[case] message: &str) {
        let error = expanded(text).unwrap_err().to_string();
        assert!(error.contains(message) && !error.contains("hush"), "{error}");
    }

    #[rstest]
    #[case(&[("LC_ALL", "C.UTF-8"), ("LANG", "C")], true)]
    #[case(&[("LC_ALL", ""), ("LC_CTYPE", "ja_JP.utf8")], true)]
    #[case(&[("LANG", "en_US.UTF-8")], true)]
    #[case(&[("LC_ALL", "POSIX"), ("LANG", "en_US.UTF-8")], false)]
    #[case(&[("LANG", "ja_JP.eucJP")], false)]
    #[case(&[], false)]
    fn a_question_mark_is_taken_in_a_locale_that_has_all_letters(#[case] locale: &[(&str, &str)], #[case] taken: bool) {
        let variable = |name: &str| {
            let set = locale.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            set.or_else(|| environment(name))
        };
        let expanded = |text: &str| expand(Value::from(text), &Lookup::Environment(&variable));
        assert_eq!(expanded("is it ${question}").is_ok(), taken);
        assert!(expanded("is it ${cohort}?").is_ok(), "what the file itself holds is UTF-8");
    }

    #[test]
    fn an_operator_looks_into_its_parameters() {
        let parameters = json!({"cohort": "vip", "td": {"last_job_id": 815}});
        let raw = expand(Value::from("${cohort}/${td.last_job_id}"), &Lookup::Parameters(&parameters));
        assert_eq!(raw, Ok(Value::from("vip/815")));
    }
}
