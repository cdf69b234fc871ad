//! What an answer of Treasure Data that is no success means, or its absence. One classifier for both calls; pure.

use std::time::Duration;

use http::HeaderMap;
use http::header::{CONTENT_RANGE, ETAG};
use serde_json::Value;

use super::{Job, JobError};
use crate::braze::{hint, shortened};
use crate::http::{Answer, HttpError};
use crate::secret::redacted;

/// Why a call has to be made again, or cannot be.
#[derive(Debug)]
pub enum Trouble {
    /// Ask the same again; not before the pause that the answer names, where it does.
    Again(String, Option<Duration>),
    /// The idle connection was gone: ask the same again at once.
    AgainAtOnce,
    /// Too many requests; the announced pause, where it makes sense.
    Limited(Option<Duration>),
    /// Nothing that Treasure Data would say: three times, then final.
    Garbage(String),
    /// Final.
    Final(JobError),
}

/// What it means that there is no answer.
pub fn of_error(job: &Job, error: &HttpError) -> Trouble {
    let said = error.to_string();
    match error {
        HttpError::Stale => Trouble::AgainAtOnce,
        HttpError::Garbage(_) => Trouble::Garbage(said),
        HttpError::Certificate(_) | HttpError::Proxy(_) => {
            Trouble::Final(JobError::Configuration { server: job.server.to_string(), said })
        }
        HttpError::Unreachable(_) | HttpError::Timeout(_) | HttpError::Broken(_) => Trouble::Again(said, None),
    }
}

/// What an answer means whose status is not the one that was hoped for.
pub fn of_answer(job: &Job, answer: &Answer) -> Trouble {
    let server = || job.server.to_string();
    let not_ours = |said: &str| not_treasure_data(job, said);
    let asked_for = || hint::retry_after(&answer.headers, hint::WallClock::now());
    match answer.status {
        300..=399 => not_ours(&format!("it redirects elsewhere ({}), which is never followed", answer.status)),
        401 => Trouble::Final(JobError::Credentials { server: server(), said: said(answer) }),
        403 if answer.is_json_object() => {
            Trouble::Final(JobError::Credentials { server: server(), said: said(answer) })
        }
        403 => not_ours("a firewall or an allow-list refused (403): is this machine's address allow-listed?"),
        407 => {
            let said =
                "a proxy asks for credentials (407): give them in HTTPS_PROXY, as http://user:password@host:port"
                    .to_owned();
            Trouble::Final(JobError::Configuration { server: server(), said })
        }
        408 | 425 | 500 | 502 | 503 | 504 => Trouble::Again(format!("status {}", answer.status), asked_for()),
        429 => Trouble::Limited(hint::pause(&answer.headers, hint::WallClock::now())),
        status if answer.is_html() => not_ours(&format!("status {status} with a web page")),
        404 => Trouble::Final(JobError::Unknown { id: job.id.clone(), server: server() }),
        status @ 200..=299 => Trouble::Garbage(format!("status {status}, where 200 was due")),
        status => {
            Trouble::Final(JobError::Refused { server: server(), said: format!("status {status}: {}", said(answer)) })
        }
    }
}

/// The end of a run that asks somebody else.
pub fn not_treasure_data(job: &Job, said: &str) -> Trouble {
    Trouble::Final(JobError::NotTreasureData { server: job.server.to_string(), said: said.to_owned() })
}

/// What Treasure Data says, redacted and in one line.
fn said(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = ["error", "message"].iter().find_map(|name| body.get(name)?.as_str()).unwrap_or("no message");
    let line: String = redacted(text).chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    shortened(&line)
}

/// A part of a body, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it begins; none where there is no part from there on (416).
    pub start: Option<u64>,
    /// How long the whole body is, where that is said.
    pub whole: Option<u64>,
}

/// Which part an answer carries, as `Content-Range` says: `bytes 100-199/200`, `bytes */200`.
pub fn part(headers: &HeaderMap) -> Option<Part> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?.trim();
    let (range, whole) = text.strip_prefix("bytes ")?.trim().split_once('/')?;
    let start = match range {
        "*" => None,
        range => Some(range.split_once('-')?.0.trim().parse().ok()?),
    };
    Some(Part { start, whole: whole.trim().parse().ok() })
}

/// What tells whether the body is still the same; a weak one does not tell it byte by byte.
pub fn strong_tag(headers: &HeaderMap) -> Option<http::HeaderValue> {
    headers.get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\"")).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::endpoint::Endpoint;
    use rstest::rstest;

    fn job() -> Job {
        Job { id: "7".to_owned(), server: Endpoint::of_sandbox("https://api.example".to_owned()) }
    }

    fn answered(status: u16, body: &str) -> Trouble {
        of_answer(&job(), &Answer { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec() })
    }

    const ERROR: &str = r#"{"error": "said\nso", "severity": "error"}"#;

    #[rstest]
    #[case(401, ERROR, 4, "refused the key (said so): check TD_API_KEY")]
    #[case(401, "", 4, "no message")]
    #[case(403, r#"{"message": "no access"}"#, 4, "no access")]
    #[case(403, "<html>Forbidden", 5, "firewall")]
    #[case(404, ERROR, 3, "knows no job 7")]
    #[case(404, "", 3, "knows no job 7")]
    #[case(404, "<html>Not Found", 5, "web page")]
    #[case(302, "", 5, "redirects elsewhere (302)")]
    #[case(400, ERROR, 5, "status 400: said so")]
    #[case(400, "<html>", 5, "not Treasure Data")]
    #[case(501, "", 5, "status 501")]
    #[case(200, "<!doctype html>", 5, "not Treasure Data")]
    #[case(407, "", 2, "proxy")]
    fn final_answers(#[case] status: u16, #[case] body: &str, #[case] code: u8, #[case] words: &str) {
        match answered(status, body) {
            Trouble::Final(error) => {
                assert_eq!(error.exit().code(), code);
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
        assert!(matches!(answered(status, "<html>"), Trouble::Again(_, None)));
    }

    #[test]
    fn the_rest() {
        assert!(matches!(answered(429, ""), Trouble::Limited(None)));
        assert!(matches!(answered(204, ""), Trouble::Garbage(_)));
        let error = |error: HttpError| of_error(&job(), &error);
        assert!(matches!(error(HttpError::Stale), Trouble::AgainAtOnce));
        assert!(matches!(error(HttpError::Garbage(String::new())), Trouble::Garbage(_)));
        assert!(matches!(error(HttpError::Timeout(String::new())), Trouble::Again(_, None)));
        for error in [error(HttpError::Certificate("x".to_owned())), error(HttpError::Proxy("x".to_owned()))] {
            assert!(matches!(error, Trouble::Final(JobError::Configuration { .. })));
        }
    }

    #[rstest]
    #[case("bytes 100-199/200", Some((Some(100), Some(200))))]
    #[case("bytes 0-0/*", Some((Some(0), None)))]
    #[case("bytes */200", Some((None, Some(200))))]
    #[case("items 0-1/2", None)]
    #[case("bytes 100", None)]
    #[case("bytes -5/10", None)]
    #[case("", None)]
    fn the_part_is_as_content_range_says(#[case] text: &str, #[case] expected: Option<(Option<u64>, Option<u64>)>) {
        let headers = HeaderMap::from_iter([(CONTENT_RANGE, text.parse().unwrap())]);
        assert_eq!(part(&headers).map(|part| (part.start, part.whole)), expected);
    }

    #[rstest]
    #[case("\"abc\"", true)]
    #[case("W/\"abc\"", false)]
    fn only_a_strong_tag_tells_bytes_apart(#[case] tag: &str, #[case] is_strong: bool) {
        assert_eq!(strong_tag(&HeaderMap::from_iter([(ETAG, tag.parse().unwrap())])).is_some(), is_strong);
    }
}
