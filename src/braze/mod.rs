//! In: a batch, or an answer. Out: a request's address and body, or what the answer means. Pure: it never sends or
//! waits.
//!
//! One classifier handles all answers of Braze's cohort API.

use serde_json::{Value, json};

use crate::http::endpoint::Endpoint;
use crate::http::{Answer, BodyFraming, HttpError};
use crate::members::batch::Batch;
use crate::retry::hint::Hints;
use crate::retry::{Failure, ResponseMeta, Unanswered};
use crate::secret::redacted;

pub mod body;
pub mod export;
mod redact;

use redact::without_identifiers;

/// The cohort, and how Braze is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The cohort's identifier.
    pub cohort_id: String,
    /// Its name, if one was set.
    pub cohort_name: Option<String>,
    /// Braze's REST endpoint; none if Braze is not called.
    pub endpoint: Option<Endpoint>,
    /// The partner's segment in Braze's path.
    pub partner: String,
}

impl Options {
    /// The name that Braze shows: the cohort ID if no name was set.
    pub fn shown_name(&self) -> &str {
        self.cohort_name.as_deref().unwrap_or(&self.cohort_id)
    }
}

/// The addresses of one partner at one endpoint.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Creates or renames a cohort.
    pub cohorts: String,
    /// Adds and removes users.
    pub users: String,
}

impl Addresses {
    /// `{endpoint}/partners/{partner}/cohorts`, and `/users` below it.
    pub fn new(endpoint: &Endpoint, partner: &str) -> Self {
        let cohorts = format!("{endpoint}/partners/{partner}/cohorts");
        let users = format!("{cohorts}/users");
        Self { cohorts, users }
    }
}

/// What Braze did with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It acknowledged the request.
    Delivered,
    /// It refuses something in the batch: halve the batch.
    Split(String),
}

/// Why the run cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 401, or 403 from Braze itself.
    Credentials(String),
    /// Braze refuses the cohort's ID, name or date, or refuses every such call.
    Request(String),
    /// 404.
    NotFound,
    /// The answer is not from Braze, but from something in front of it.
    NotBraze(String),
    /// A certificate or a proxy: wrong configuration.
    Configuration(String),
}

/// What an answer, or its absence, means to all callers of Braze.
pub fn meta(outcome: &Result<Answer, HttpError>) -> ResponseMeta {
    let unanswered = match outcome {
        Ok(answer) => {
            let quota = Hints::read(|name| answer.header(name)).quota;
            return ResponseMeta { answered: true, quota, unanswered: None };
        }
        Err(HttpError::Timeout(_)) => Some(Unanswered::TimedOut),
        // Braze may have read a request on a kept connection before it closed it.
        Err(HttpError::Stale | HttpError::Broken(_) | HttpError::Unintelligible(_)) => Some(Unanswered::Broke),
        Err(HttpError::Unreachable(_) | HttpError::Certificate(_) | HttpError::Proxy(_)) => None,
    };
    ResponseMeta { unanswered, ..ResponseMeta::NOTHING }
}

/// Decides on the outcome of one request with the identifiers of `part`. The result's texts contain none of them.
pub fn classify(outcome: &Result<Answer, HttpError>, part: Option<&Batch>) -> Result<Verdict, Failure<Refusal>> {
    let error = match outcome {
        Ok(answer) => return classify_answer(answer, part),
        Err(error) => error,
    };
    let said = without_identifiers(&error.to_string(), part);
    Err(match error {
        HttpError::Stale => Failure::AgainAtOnce,
        HttpError::Unintelligible(_) => unintelligible(said),
        HttpError::Certificate(_) | HttpError::Proxy(_) => Failure::Final(Refusal::Configuration(said)),
        HttpError::Unreachable(_) | HttpError::Timeout(_) | HttpError::Broken(_) => {
            Failure::Again { said, pause: None }
        }
    })
}

/// An answer that Braze would not send.
pub fn unintelligible(said: String) -> Failure<Refusal> {
    Failure::Unintelligible { error: Refusal::NotBraze(said.clone()), said }
}

fn classify_answer(answer: &Answer, part: Option<&Batch>) -> Result<Verdict, Failure<Refusal>> {
    let status = answer.status;
    let hints = || Hints::read(|name| answer.header(name));
    let credentials = || Refusal::Credentials(without_identifiers(&said(answer), part));
    Err(match status {
        200..=202 => return acknowledgement(answer, part),
        300..=399 => {
            Failure::Final(Refusal::NotBraze(format!("it is a redirect ({status}), and redirects are not followed")))
        }
        400 => return bad_request(answer, part),
        401 => Failure::Final(credentials()),
        403 if answer.is_json_object() => Failure::Final(credentials()),
        403 => Failure::Final(Refusal::NotBraze(
            "a firewall or an allow-list refused it (403, not from Braze's API): is this machine's address on the allow-list?"
                .to_owned(),
        )),
        404 => Failure::Final(Refusal::NotFound),
        407 => Failure::Final(Refusal::Configuration(
            "a proxy requires credentials (407): set them in HTTPS_PROXY, as http://user:password@host:port"
                .to_owned(),
        )),
        408 | 425 | 500 | 502 | 503 | 504 => Failure::Again { said: format!("status {status}"), pause: hints().retry_after },
        413 => return Ok(Verdict::Split("request too large (413)".to_owned())),
        423 => Failure::Locked { pause: hints().retry_after },
        429 => Failure::Limited { pause: hints().pause },
        _ => Failure::Final(Refusal::Request(with_status(status, &said(answer), part))),
    })
}

fn with_status(status: u16, said: &str, part: Option<&Batch>) -> String {
    without_identifiers(&format!("status {status}: {said}"), part)
}

/// Delivered means: status 200 to 202, and a body that is empty, `{}`, or a JSON object without a non-empty `errors`
/// and with no `message` but "success". If the body ends with its connection, it may be incomplete, so it must be such
/// an object.
fn acknowledgement(answer: &Answer, part: Option<&Batch>) -> Result<Verdict, Failure<Refusal>> {
    match answer.framing() {
        BodyFraming::Unknown => Err(unintelligible("the answer has another Transfer-Encoding than chunked".to_owned())),
        BodyFraming::Length | BodyFraming::Chunked if answer.body.is_empty() => Ok(Verdict::Delivered),
        BodyFraming::Length | BodyFraming::Chunked => judged(answer, part),
        BodyFraming::UntilClose => match judged(answer, part) {
            verdict @ (Ok(_) | Err(Failure::Final(_))) => verdict,
            _ => Err(Failure::Again { said: "the connection ended within the answer".to_owned(), pause: None }),
        },
    }
}

fn judged(answer: &Answer, part: Option<&Batch>) -> Result<Verdict, Failure<Refusal>> {
    let parsed = serde_json::from_slice(&answer.body);
    let Ok(Value::Object(object)) = parsed else {
        return Err(if answer.is_html() {
            Failure::Final(Refusal::NotBraze(format!("status {} with a web page", answer.status)))
        } else {
            unintelligible(format!("status {}, but the body is not a JSON object", answer.status))
        });
    };
    let nothing = [Value::Null, json!([]), json!({}), json!(""), json!(false)];
    let has_errors = object.get("errors").is_some_and(|errors| !nothing.contains(errors));
    let is_success = object.get("message").is_none_or(|message| message == "success");
    if has_errors || !is_success {
        return Err(Failure::NotAcknowledged(without_identifiers(&said(answer), part)));
    }
    Ok(Verdict::Delivered)
}

/// A 400 is about the cohort, which is the same in every call, or about the changes, perhaps of one identifier.
fn bad_request(answer: &Answer, part: Option<&Batch>) -> Result<Verdict, Failure<Refusal>> {
    if answer.is_html() {
        return Err(Failure::Final(Refusal::NotBraze("status 400 with a web page".to_owned())));
    }
    let said = said(answer);
    let shown = with_status(400, &said, part);
    if is_about_the_cohort(&said) { Err(Failure::Final(Refusal::Request(shown))) } else { Ok(Verdict::Split(shown)) }
}

/// Whether the message is about a field of every call, as in `cohort_id must be a valid string`. `alias_name must ...`
/// and `alias name must ...` are about the changes. So is a message that repeats text from an identifier.
fn is_about_the_cohort(said: &str) -> bool {
    const FIELDS: [&str; 5] = ["cohort_id", "name", "created_at", "client_secret", "partner_api_key"];
    let plain: String = said.chars().filter(|letter| !"`'\"".contains(*letter)).collect();
    plain.match_indices(" must ").any(|(end, _)| {
        let subject = plain[..end].rsplit(|letter: char| !(letter.is_alphanumeric() || letter == '_')).next();
        subject.is_some_and(|subject| FIELDS.contains(&subject)) && !names_members(&plain[..end])
    })
}

/// Whether the text contains `alias`, `user ID`, `external ID` or `device ID`, with or without a separator.
fn names_members(said: &str) -> bool {
    let letters = said.chars().filter(|letter| letter.is_alphanumeric()).collect::<String>().to_lowercase();
    ["alias", "userid", "externalid", "deviceid"].iter().any(|word| letters.contains(word))
}

/// Braze's `message`, redacted. `errors` may repeat identifiers and is not read.
fn said(answer: &Answer) -> String {
    let message = serde_json::from_slice::<Value>(&answer.body)
        .ok()
        .and_then(|body| body.get("message").and_then(Value::as_str).map(str::to_owned))
        .unwrap_or_else(|| "no message".to_owned());
    redacted(&message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
    use crate::http::{HeaderMap, HeaderName, HeaderValue};
    use rstest::rstest;

    type Judged = Result<Verdict, Failure<Refusal>>;

    fn answered(status: u16, body: &str) -> Judged {
        framed(status, &[(CONTENT_LENGTH, &body.len().to_string())], body)
    }

    fn framed(status: u16, headers: &[(HeaderName, &str)], body: &str) -> Judged {
        let mut lines = HeaderMap::new();
        for (name, text) in headers {
            lines.append(name, HeaderValue::from_str(text).unwrap());
        }
        classify(&Ok(Answer { status, headers: lines, body: body.as_bytes().to_vec() }), None)
    }

    #[rstest]
    #[case(201, r#"{"message":"success"}"#)]
    #[case(200, "")]
    #[case(202, "{}")]
    #[case(201, r#"{"message":"success","errors":[]}"#)]
    #[case(201, r#"{"errors":null}"#)]
    #[case(201, r#"{"errors":{}}"#)]
    #[case(201, r#"{"errors":""}"#)]
    #[case(201, r#"{"errors":false}"#)]
    fn delivered(#[case] status: u16, #[case] body: &str) {
        assert_eq!(answered(status, body), Ok(Verdict::Delivered));
    }

    #[rstest]
    #[case(201, r#"{"message":"success","errors":["x"]}"#)]
    #[case(201, r#"{"message":"queued"}"#)]
    #[case(200, r#"{"errors":{"a":1}}"#)]
    #[case(200, r#"{"errors":"x"}"#)]
    #[case(200, r#"{"errors":true}"#)]
    #[case(200, r#"{"errors":0}"#)]
    fn not_acknowledged(#[case] status: u16, #[case] body: &str) {
        assert!(matches!(answered(status, body), Err(Failure::NotAcknowledged(_))));
    }

    #[rstest]
    #[case(200, "[]")]
    #[case(201, "ok")]
    fn garbage(#[case] status: u16, #[case] body: &str) {
        assert!(matches!(answered(status, body), Err(Failure::Unintelligible { .. })));
    }

    #[rstest]
    #[case(408)]
    #[case(425)]
    #[case(500)]
    #[case(502)]
    #[case(503)]
    #[case(504)]
    fn again(#[case] status: u16) {
        assert!(matches!(answered(status, "<html>"), Err(Failure::Again { pause: None, .. })));
    }

    #[rstest]
    #[case(204)]
    #[case(405)]
    #[case(410)]
    #[case(501)]
    #[case(505)]
    fn final_without_a_reason_of_its_own(#[case] status: u16) {
        assert!(matches!(answered(status, "{}"), Err(Failure::Final(Refusal::Request(_)))));
    }

    #[rstest]
    #[case(302, "")]
    #[case(307, "{}")]
    #[case(200, "<!doctype html>")]
    #[case(400, "<html>")]
    #[case(403, "<html>Forbidden")]
    fn something_in_front_of_braze(#[case] status: u16, #[case] body: &str) {
        assert!(matches!(answered(status, body), Err(Failure::Final(Refusal::NotBraze(_)))));
    }

    #[rstest]
    #[case(401, r#"{"message":"Invalid client secret"}"#)]
    #[case(401, "")]
    #[case(403, r#"{"message":"Unauthorized access"}"#)]
    fn credentials(#[case] status: u16, #[case] body: &str) {
        assert!(matches!(answered(status, body), Err(Failure::Final(Refusal::Credentials(_)))));
    }

    #[rstest]
    #[case::nothing("", false)]
    #[case::half("{\"message\":\"succ", false)]
    #[case::no_object("[]", false)]
    #[case::no_success(r#"{"message":"queued"}"#, false)]
    #[case::errors(r#"{"errors":["x"]}"#, false)]
    #[case::whole("{}", true)]
    #[case::success(r#"{"message":"success"}"#, true)]
    fn a_body_that_ends_with_its_connection_must_acknowledge(#[case] body: &str, #[case] is_delivered: bool) {
        match framed(201, &[], body) {
            Ok(Verdict::Delivered) => assert!(is_delivered),
            verdict => assert!(!is_delivered && matches!(verdict, Err(Failure::Again { .. })), "{verdict:?}"),
        }
        assert!(matches!(framed(200, &[], "<html>"), Err(Failure::Final(Refusal::NotBraze(_)))));
    }

    #[rstest]
    #[case::chunked(&["chunked"], true)]
    #[case::any_case(&["\tChUnKeD "], true)]
    #[case::another(&["gzip"], false)]
    #[case::another_before(&["gzip, chunked"], false)]
    #[case::another_line(&["gzip", "chunked"], false)]
    #[case::twice(&["chunked", "chunked"], false)]
    #[case::with_a_parameter(&["chunked;q=1"], false)]
    fn the_only_coding_is_chunked(#[case] codings: &[&str], #[case] is_delivered: bool) {
        for body in ["", "{}"] {
            let mut headers = vec![(CONTENT_LENGTH, "2")];
            headers.extend(codings.iter().map(|coding| (TRANSFER_ENCODING, *coding)));
            match framed(201, &headers, body) {
                Ok(Verdict::Delivered) => assert!(is_delivered),
                verdict => {
                    assert!(!is_delivered && matches!(verdict, Err(Failure::Unintelligible { .. })), "{verdict:?}");
                }
            }
        }
    }

    #[rstest]
    #[case("alias_name must be a string")]
    #[case("alias_name must be a non-empty string")]
    #[case("invalid identifier partner-7@x.example with cohort_id")]
    #[case("user_ids must be an array of strings")]
    #[case("alias name must be a valid string")]
    #[case("Alias 3: `name` must be a non-empty string")]
    #[case("user_ids[0].name must be a string")]
    #[case("user ID name must be a string")]
    #[case("the device ID's name must be a string")]
    fn a_bad_change_is_looked_for(#[case] message: &str) {
        let body = serde_json::json!({ "message": message }).to_string();
        assert!(matches!(answered(400, &body), Ok(Verdict::Split(_))));
    }

    #[rstest]
    #[case("cohort_id must be a valid string")]
    #[case("name must be a non-empty string")]
    #[case("created_at must be ISO-8601")]
    #[case("Invalid request: `client_secret` must be a string")]
    fn a_bad_cohort_is_final(#[case] message: &str) {
        let body = serde_json::json!({ "message": message }).to_string();
        assert_eq!(answered(400, &body), Err(Failure::Final(Refusal::Request(format!("status 400: {message}")))));
    }

    #[rstest]
    #[case::unreachable(HttpError::Unreachable(String::new()), None)]
    #[case::too_slow(HttpError::Timeout(String::new()), Some(Unanswered::TimedOut))]
    #[case::broken(HttpError::Broken(String::new()), Some(Unanswered::Broke))]
    fn what_never_was_connected_is_not_waited_for(#[case] error: HttpError, #[case] unanswered: Option<Unanswered>) {
        assert_eq!(meta(&Err(error)).unanswered, unanswered);
    }

    #[test]
    fn bad_changes_are_halved_and_the_rest_has_its_own_way() {
        assert!(matches!(answered(400, r#"{"message":"user_ids must be strings"}"#), Ok(Verdict::Split(_))));
        assert!(matches!(answered(413, ""), Ok(Verdict::Split(_))));
        assert_eq!(answered(404, "{}"), Err(Failure::Final(Refusal::NotFound)));
        assert_eq!(answered(423, "{}"), Err(Failure::Locked { pause: None }));
        assert_eq!(answered(429, "{}"), Err(Failure::Limited { pause: None }));
    }
}
