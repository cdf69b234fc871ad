//! Tables and the issuing of jobs. What may be repeated safely is tried until something final is known; a rename is tried once, as
//! one whose answer was lost may take effect later.

use std::time::Duration;

use crate::http::HeaderMap;
use log::{info, warn};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::fetch::{Client, headers_with};
use super::{Job, JobError, answer};
use crate::http::endpoint::Endpoint;
use crate::http::{Answer, Get, HttpError, Patience, PostForm};
use crate::retry::{self, CallError, Failure, MAX_FAILURES, RateLimiter, ResponseMeta, Stopped};
use crate::secret::Secret;

/// The longest list of tables that is read, in bytes: about 100,000 tables.
const MAX_LIST_BYTES: usize = 64 * 1024 * 1024;

/// A table of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTable {
    /// Its name.
    pub name: String,
    /// The same whatever it is called.
    pub id: String,
}

/// A column of a table: its name, and what the API calls its type (`string`, `long`, `int`, `double`, ...).
pub type SchemaColumn = (String, String);

/// What became of a rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameOutcome {
    /// It is done.
    Done,
    /// There is a table of that name (409), or none to rename (404).
    Refused,
    /// Nobody knows; it may even take effect later.
    Unknown,
}

/// Calls Treasure Data. `S` is what stops the limiter.
pub struct Api<'a, S, H> {
    server: &'a Endpoint,
    key: &'a Secret,
    http: &'a H,
    limiter: &'a RateLimiter<S>,
    headers: HeaderMap,
}

impl<'a, S: From<JobError>, H: Get + PostForm> Api<'a, S, H> {
    /// Sends the key with every call; the limiter is to be that of Treasure Data alone.
    pub fn new(server: &'a Endpoint, key: &'a Secret, http: &'a H, limiter: &'a RateLimiter<S>) -> Self {
        Self { server, key, http, limiter, headers: headers_with(key) }
    }

    /// The limiter that all calls go through.
    pub fn limiter(&self) -> &'a RateLimiter<S> {
        self.limiter
    }

    /// A job of this account.
    pub fn job(&self, id: &str) -> Job {
        Job { id: id.to_owned(), server: self.server.clone() }
    }

    /// Asks for a job.
    pub fn client<'b>(&'b self, job: &'b Job) -> Client<'b, S> {
        Client::new(job, self.key, self.http, self.limiter)
    }

    /// All tables of a database.
    pub fn list(&self, database: &str) -> Result<Vec<ListedTable>, Stopped> {
        self.call(|| {
            let Some(found) = self.get(&["table", "list", database])? else {
                let said = format!("status 404: there is no database '{database}'");
                return Err(Failure::Final(JobError::Refused { server: self.server.to_string(), said }));
            };
            let tables = found.get("tables").and_then(Value::as_array);
            let tables: Option<Vec<_>> = tables.and_then(|tables| tables.iter().map(listed).collect());
            tables.ok_or_else(|| self.unintelligible("the answer is no list of tables with their IDs"))
        })
    }

    /// The columns of a table; none where there is no such table.
    pub fn schema(&self, database: &str, table: &str) -> Result<Option<Vec<SchemaColumn>>, Stopped> {
        self.call(|| {
            let Some(found) = self.get(&["table", "show", database, table])? else { return Ok(None) };
            let columns = schema_columns(&found);
            columns.map(Some).ok_or_else(|| self.unintelligible("the answer holds no schema of the table"))
        })
    }

    /// Makes an empty table; whether it is new.
    pub fn create(&self, database: &str, table: &str) -> Result<bool, Stopped> {
        self.call(|| {
            let answer = self.post(&["table", "create", database, table, "log"], &[])?;
            match answer.status {
                200 => Ok(true),
                409 => Ok(false),
                _ => Err(self.refused(&answer)),
            }
        })
    }

    /// Deletes a table; one that is not there is deleted.
    pub fn delete(&self, database: &str, table: &str) -> Result<(), Stopped> {
        self.call(|| {
            let answer = self.post(&["table", "delete", database, table], &[])?;
            if matches!(answer.status, 200 | 404) && !answer.is_html() { Ok(()) } else { Err(self.refused(&answer)) }
        })
    }

    /// Gives a table another name, without overwriting; one try.
    pub fn rename(&self, database: &str, from: &str, to: &str) -> Result<RenameOutcome, Stopped> {
        self.call(|| {
            let Ok(answer) = self.send(&["table", "rename", database, from, to], &[]) else {
                return Ok(RenameOutcome::Unknown);
            };
            match (answer.status, answer.is_html()) {
                (200, false) => Ok(RenameOutcome::Done),
                (404 | 409, false) => Ok(RenameOutcome::Refused),
                (401 | 403, _) => Err(self.refused(&answer)),
                _ => Ok(RenameOutcome::Unknown),
            }
        })
    }

    /// Issues a job once, however often it has to be tried: a `domain_key` belongs to one job.
    pub fn issue(&self, database: &str, query: &str, domain_key: &str) -> Result<Job, Stopped> {
        let id = self.call(|| {
            let form = [("query", query), ("domain_key", domain_key)];
            let answer = self.post(&["job", "issue", "trino", database], &form)?;
            let found = match answer.status {
                200 => serde_json::from_slice(&answer.body).ok(),
                // The answer to an earlier try was lost.
                409 => self.get(&["job", "status_by_domain_key", domain_key])?,
                _ => return Err(self.refused(&answer)),
            };
            let id = found.as_ref().and_then(|found: &Value| text_of(found.get("job_id")?));
            id.ok_or_else(|| self.unintelligible("the answer names no job"))
        })?;
        info!("job {id} is issued");
        Ok(self.job(&id))
    }

    /// Ends a job, in one try: the run is ending, so that nothing waits any more.
    pub fn kill(&self, job: &Job) {
        match self.send(&["job", "kill", &job.id], &[]) {
            Ok(answer) if answer.status == 200 => info!("{} is killed", job.name()),
            Ok(answer) => warn!("{} could not be killed: status {}", job.name(), answer.status),
            Err(error) => warn!("{} could not be killed: {error}", job.name()),
        }
    }

    fn call<T>(&self, ask: impl Fn() -> Result<T, Failure<JobError>>) -> Result<T, Stopped> {
        let one_try = || (ResponseMeta { answered: true, ..ResponseMeta::NOTHING }, ask());
        retry::call(self.limiter, Duration::ZERO, one_try).map_err(|error| {
            if let CallError::GivenUp(reason) = error {
                let (server, said) = (self.server.to_string(), reason.into_said());
                self.limiter.stop(JobError::GaveUp { server, failures: MAX_FAILURES, said }.into());
            }
            Stopped
        })
    }

    /// The JSON that is answered; none for a 404.
    fn get(&self, path: &[&str]) -> Result<Option<Value>, Failure<JobError>> {
        let of_error = |error| answer::of_error(&self.nothing(), &error);
        let stream = self.http.get(&self.address(path), &self.headers, Patience::Whole).map_err(of_error)?;
        let (status, headers) = (stream.status, stream.headers);
        let body = stream.body.read_up_to(MAX_LIST_BYTES).map_err(of_error)?;
        let answer = Answer { status, headers, body };
        match answer.status {
            200 if !answer.is_html() => serde_json::from_slice(&answer.body)
                .map(Some)
                .map_err(|_| self.unintelligible("the answer is not JSON")),
            404 if !answer.is_html() => Ok(None),
            _ => Err(self.refused(&answer)),
        }
    }

    fn post(&self, path: &[&str], form: &[(&str, &str)]) -> Result<Answer, Failure<JobError>> {
        self.send(path, form).map_err(|error| answer::of_error(&self.nothing(), &error))
    }

    fn send(&self, path: &[&str], form: &[(&str, &str)]) -> Result<Answer, HttpError> {
        let pairs: Vec<_> = form.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        self.http.post_form(&self.address(path), &self.headers, &pairs.join("&"))
    }

    fn address(&self, path: &[&str]) -> String {
        let path: Vec<_> = path.iter().map(|part| encoded(part)).collect();
        format!("{}/v3/{}", self.server, path.join("/"))
    }

    fn refused(&self, answer: &Answer) -> Failure<JobError> {
        answer::of_answer(&self.nothing(), answer)
    }

    fn unintelligible(&self, said: &str) -> Failure<JobError> {
        answer::unintelligible(&self.nothing(), said.to_owned())
    }

    /// For messages that are about no job.
    fn nothing(&self) -> Job {
        self.job("")
    }
}

fn encoded(text: &str) -> String {
    const PLAIN: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-').remove(b'.');
    utf8_percent_encode(text, PLAIN).to_string()
}

/// Numbers may come as text.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn listed(table: &Value) -> Option<ListedTable> {
    Some(ListedTable { name: table.get("name")?.as_str()?.to_owned(), id: text_of(table.get("id")?)? })
}

/// `[[name, type], ...]`, which Treasure Data writes as a text of its own.
fn schema_columns(found: &Value) -> Option<Vec<SchemaColumn>> {
    let columns = match found.get("schema")? {
        Value::String(text) => serde_json::from_str(text).ok()?,
        other => other.clone(),
    };
    let text = |column: &Value, index: usize| column.get(index)?.as_str().map(str::to_owned);
    columns.as_array()?.iter().map(|column| Some((text(column, 0)?, text(column, 1)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_schema_is_text_or_a_list() {
        let expected = Some(vec![("a".to_owned(), "string".to_owned()), ("b".to_owned(), "long".to_owned())]);
        assert_eq!(schema_columns(&json!({"schema": r#"[["a","string"],["b","long","b"]]"#})), expected);
        assert_eq!(schema_columns(&json!({"schema": [["a", "string"], ["b", "long"]]})), expected);
        for wrong in [json!({}), json!({"schema": "["}), json!({"schema": [["a"]]}), json!({"schema": {}})] {
            assert_eq!(schema_columns(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_id_is_a_number_or_text_and_never_missing() {
        let table = |id: &str| Some(ListedTable { name: "t".to_owned(), id: id.to_owned() });
        assert_eq!(listed(&json!({"name": "t", "id": 7, "type": "log"})), table("7"));
        assert_eq!(listed(&json!({"name": "t", "id": "7a"})), table("7a"));
        assert_eq!(listed(&json!({"name": "t"})), None);
    }

    #[test]
    fn names_and_queries_stay_within_their_place() {
        assert_eq!(encoded("a b/../c?d&e=é"), "a%20b%2F..%2Fc%3Fd%26e%3D%C3%A9");
    }
}
