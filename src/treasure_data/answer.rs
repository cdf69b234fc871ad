//! What a failed call of Treasure Data means for the next try. One classifier handles all calls. Pure.

use serde_json::Value;

use super::{Job, JobError};
use crate::http::{Answer, HttpError, shortened};
use crate::retry::Failure;
use crate::retry::hint::Hints;
use crate::secret::redacted;

/// What a missing answer means.
pub fn of_error(job: &Job, error: &HttpError) -> Failure<JobError> {
    let said = error.to_string();
    match error {
        HttpError::Stale => Failure::AgainAtOnce,
        HttpError::Unintelligible(_) => unintelligible(job, said),
        HttpError::Certificate(_) | HttpError::Proxy(_) => {
            Failure::Final(JobError::Configuration { server: job.server.to_string(), said })
        }
        HttpError::Unreachable(_) | HttpError::Timeout(_) | HttpError::Broken(_) => {
            Failure::Again { said, pause: None }
        }
    }
}

/// What an answer without the expected status means.
pub fn of_answer(job: &Job, answer: &Answer) -> Failure<JobError> {
    let server = || job.server.to_string();
    let not_ours = |said: &str| not_treasure_data(job, said);
    let hints = || Hints::read(|name| answer.header(name));
    let credentials = || Failure::Final(JobError::Credentials { server: server(), said: said(answer) });
    match answer.status {
        300..=399 => not_ours(&format!("it is a redirect ({}), and redirects are not followed", answer.status)),
        401 => credentials(),
        403 if answer.is_json_object() => credentials(),
        403 => not_ours("a firewall or an allow-list refused it (403): is this machine's address on the allow-list?"),
        407 => {
            let said = "a proxy requires credentials (407): set them in HTTPS_PROXY, as http://user:password@host:port"
                .to_owned();
            Failure::Final(JobError::Configuration { server: server(), said })
        }
        408 | 425 | 500 | 502 | 503 | 504 => {
            Failure::Again { said: format!("status {}", answer.status), pause: hints().retry_after }
        }
        429 => Failure::Limited { pause: hints().pause },
        status if answer.is_html() => not_ours(&format!("status {status} with a web page")),
        404 if !job.id.is_empty() => Failure::Final(JobError::Unknown { id: job.id.clone(), server: server() }),
        status @ 200..=299 => unintelligible(job, format!("status {status} instead of 200")),
        status => {
            Failure::Final(JobError::Refused { server: server(), said: format!("status {status}: {}", said(answer)) })
        }
    }
}

/// The answer comes from another server, so the run ends.
pub fn not_treasure_data(job: &Job, said: &str) -> Failure<JobError> {
    Failure::Final(JobError::NotTreasureData { server: job.server.to_string(), said: said.to_owned() })
}

/// An answer that Treasure Data would not send.
pub fn unintelligible(job: &Job, said: String) -> Failure<JobError> {
    let error = JobError::NotTreasureData { server: job.server.to_string(), said: said.clone() };
    Failure::Unintelligible { said, error }
}

fn said(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = ["error", "message"].iter().find_map(|name| body.get(name)?.as_str()).unwrap_or("no message");
    shortened(&redacted(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HeaderMap;
    use crate::http::endpoint::Endpoint;
    use rstest::rstest;

    fn job() -> Job {
        Job { id: "7".to_owned(), server: Endpoint::of_sandbox("https://api.example".to_owned()) }
    }

    fn answered(status: u16, body: &str) -> Failure<JobError> {
        of_answer(&job(), &Answer { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec() })
    }

    const ERROR: &str = r#"{"error": "said so", "severity": "error"}"#;

    #[rstest]
    #[case(401, ERROR, 4, "refused the key (said so): check TD_API_KEY")]
    #[case(401, "", 4, "no message")]
    #[case(403, r#"{"message": "no access"}"#, 4, "no access")]
    #[case(403, "<html>Forbidden", 5, "firewall")]
    #[case(404, ERROR, 3, "has no job 7")]
    #[case(404, "", 3, "has no job 7")]
    #[case(404, "<html>Not Found", 5, "web page")]
    #[case(302, "", 5, "a redirect (302)")]
    #[case(400, ERROR, 5, "status 400: said so")]
    #[case(400, "<html>", 5, "not Treasure Data")]
    #[case(501, "", 5, "status 501")]
    #[case(200, "<!doctype html>", 5, "not Treasure Data")]
    #[case(407, "", 2, "proxy")]
    fn final_answers(#[case] status: u16, #[case] body: &str, #[case] code: u8, #[case] words: &str) {
        match answered(status, body) {
            Failure::Final(error) => {
                let is_meant = match code {
                    2 => matches!(error, JobError::Configuration { .. }),
                    3 => matches!(error, JobError::Unknown { .. }),
                    4 => matches!(error, JobError::Credentials { .. }),
                    _ => matches!(error, JobError::NotTreasureData { .. } | JobError::Refused { .. }),
                };
                assert!(is_meant, "{error:?}");
                assert!(error.to_string().contains(words), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[rstest]
    #[case(408)]
    #[case(500)]
    #[case(502)]
    #[case(503)]
    #[case(504)]
    fn again(#[case] status: u16) {
        assert!(matches!(answered(status, "<html>"), Failure::Again { pause: None, .. }));
    }

    #[test]
    fn the_rest() {
        assert!(matches!(answered(429, ""), Failure::Limited { pause: None }));
        assert!(matches!(answered(204, ""), Failure::Unintelligible { error: JobError::NotTreasureData { .. }, .. }));
        let error = |error: HttpError| of_error(&job(), &error);
        assert!(matches!(error(HttpError::Stale), Failure::AgainAtOnce));
        assert!(matches!(
            error(HttpError::Unintelligible(String::new())),
            Failure::Unintelligible { error: JobError::NotTreasureData { .. }, .. }
        ));
        assert!(matches!(error(HttpError::Timeout(String::new())), Failure::Again { pause: None, .. }));
        for error in [error(HttpError::Certificate("x".to_owned())), error(HttpError::Proxy("x".to_owned()))] {
            assert!(matches!(error, Failure::Final(JobError::Configuration { .. })));
        }
    }
}
