//! The keys. They come only from the environment.

use super::ConfigError;
use super::placeholder;
use super::raw::Origin;
use crate::braze::body::Credentials;
use crate::http::endpoint::{Endpoint, EndpointError};
use crate::secret::Secret;
use crate::treasure_data::address::{self, TD_API_SERVER, TD_ENDPOINT};

/// The variable with the data import key.
pub const CLIENT_SECRET: &str = "BRAZE_CLIENT_SECRET";
/// The variable with the partner key.
pub const PARTNER_API_KEY: &str = "BRAZE_PARTNER_API_KEY";

/// The variable with Treasure Data's key.
pub const TD_API_KEY: &str = "TD_API_KEY";

/// The variable with a REST API key of the workspace.
pub const REST_API_KEY: &str = "BRAZE_REST_API_KEY";

/// All variables that hold a credential.
pub const ALL: [&str; 4] = [CLIENT_SECRET, PARTNER_API_KEY, TD_API_KEY, REST_API_KEY];

/// The names of these variables, for a message.
pub fn names() -> String {
    let [several @ .., last] = &ALL;
    format!("{} and {last}", several.join(", "))
}

/// Reads both keys for Braze; `variable` is the environment.
pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Credentials, ConfigError> {
    let take = |name, whose, secret| take(&variable, name, whose, secret);
    Ok(Credentials {
        client_secret: take(
            CLIENT_SECRET,
            "the data import key: find it in Braze's dashboard under Partner Integrations, Technology Partners, on the \
             page of the partner that the cohort belongs to",
            "braze.client_secret",
        )?,
        partner_api_key: take(
            PARTNER_API_KEY,
            "the partner key: ask your Braze customer success manager for it",
            "braze.partner_api_key",
        )?,
    })
}

/// Reads the key for asking Braze which identifiers it knows.
pub fn rest_api_key(variable: impl Fn(&str) -> Option<String>) -> Result<Secret, ConfigError> {
    take(
        &variable,
        REST_API_KEY,
        "a REST API key of the Braze workspace with the one permission users.export.ids (for match and min_match): create it in \
         Braze's dashboard under Settings, APIs and Identifiers",
        "braze.rest_api_key",
    )
}

/// Reads Treasure Data's key.
pub fn td_api_key(variable: impl Fn(&str) -> Option<String>) -> Result<Secret, ConfigError> {
    take(
        &variable,
        TD_API_KEY,
        "the master API key (NUMBER/TEXT) of a Treasure Data user who may read the job or table: find it in the console under My Settings, API Keys",
        "td.apikey",
    )
}

/// The address of Treasure Data's API from the environment, or that of the US site. `allowed` are additional hosts that
/// may be called.
pub fn td_server(allowed: &[String], variable: impl Fn(&str) -> Option<String>) -> Result<Endpoint, ConfigError> {
    let set = |name| variable(name).filter(|text| !text.trim().is_empty());
    let what = "address of Treasure Data's API";
    let refused = |name, error| ConfigError::Address { origin: Origin::Environment(name), what, error };
    let text = set(TD_API_SERVER);
    if text.is_none() && set(TD_ENDPOINT).is_some() {
        return Err(refused(TD_ENDPOINT, EndpointError::NotRead));
    }
    if text.as_deref().is_some_and(placeholder::is) {
        return Err(ConfigError::Placeholder {
            name: TD_API_SERVER.to_owned(),
            origin: Origin::Environment(TD_API_SERVER),
        });
    }
    address::parse(text.as_deref().unwrap_or(address::DEFAULT).trim(), allowed)
        .map_err(|error| refused(TD_API_SERVER, error))
}

fn take(
    variable: impl Fn(&str) -> Option<String>,
    name: &'static str,
    whose: &'static str,
    secret: &'static str,
) -> Result<Secret, ConfigError> {
    let value = variable(name).unwrap_or_default();
    match problem(&value) {
        Some(problem) => Err(ConfigError::Credential { variable: name, problem, whose, secret }),
        None => Ok(Secret::new(value)),
    }
}

/// Why a value cannot be a credential. It never contains the value.
fn problem(value: &str) -> Option<&'static str> {
    if value.trim().is_empty() {
        Some("is missing or empty in the environment")
    } else if value.contains("${") {
        Some(
            "still contains ${...}: Digdag fills in ${secret:...} only under _env, and only if the project has that secret \
             (td wf secrets --project NAME --set KEY)",
        )
    } else if value.chars().any(char::is_control) {
        Some("contains a line break or another control character: copy it again, without the line break")
    } else if value.trim() != value {
        Some("begins or ends with a space: copy it again, without the space")
    } else {
        None
    }
}

/// Whether a name is that of a credential, which must not be a setting.
pub fn names_a_credential(name: &str) -> bool {
    let folded: String = name.chars().filter(char::is_ascii_alphanumeric).flat_map(char::to_lowercase).collect();
    ["secret", "apikey", "partnerkey", "importkey", "password", "token", "credential"]
        .iter()
        .any(|word| folded.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(None, "missing or empty")]
    #[case(Some(""), "missing or empty")]
    #[case(Some("${secret:braze.key}"), "still contains ${...}")]
    #[case(Some("hush\n"), "line break")]
    #[case(Some("hush "), "space")]
    fn an_unusable_key_is_named_and_not_shown(#[case] value: Option<&str>, #[case] message: &str) {
        let error = from_environment(|name| match name {
            CLIENT_SECRET => Some("fine-key".to_owned()),
            _ => value.map(str::to_owned),
        })
        .unwrap_err()
        .to_string();
        assert!(error.starts_with(PARTNER_API_KEY) && error.contains(message) && !error.contains("hush"), "{error}");
    }

    #[test]
    fn the_environment_names_the_site_and_else_it_is_that_in_the_us() {
        let server =
            |text: Option<&str>| td_server(&[], |name| text.filter(|_| name == "TD_API_SERVER").map(str::to_owned));
        for unset in [None, Some(""), Some(" ")] {
            assert_eq!(server(unset).unwrap().as_str(), address::DEFAULT);
        }
        assert_eq!(
            server(Some("https://api.eu01.treasuredata.com/\n")).unwrap().as_str(),
            "https://api.eu01.treasuredata.com"
        );
        let other = |name: &str| (name == "TD_ENDPOINT").then(|| "https://api.eu01.treasuredata.com".to_owned());
        let error = td_server(&[], other).unwrap_err().to_string();
        assert!(error.contains("TD_ENDPOINT") && error.contains("set TD_API_SERVER"), "{error}");
        assert!(td_server(&[], |_| Some(address::DEFAULT.to_owned())).is_ok());
        let error = server(Some("https://evil.example")).unwrap_err().to_string();
        assert!(error.contains("TD_API_SERVER") && error.contains("allow_endpoint: evil.example"), "{error}");
    }
}
