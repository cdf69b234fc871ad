//! Tables, and starting jobs. Calls that may be repeated are tried until the result is final. A rename is tried only
//! once: if its answer is lost, it may take effect later.

use std::time::Duration;

use log::{info, warn};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::show::{SchemaColumn, schema_columns, text_of};
use super::{Job, JobError, answer};
use crate::http::endpoint::Endpoint;
use crate::http::header::{ACCEPT, AUTHORIZATION};
use crate::http::{Answer, Ask, Call, HeaderMap, HeaderValue, HttpError, MAX_ANSWER_BYTES, Stream};
use crate::retry::{self, CallError, Failure, MAX_FAILURES, RateLimiter, ResponseMeta, Stopped};
use crate::secret::Secret;

/// The longest list of tables that is read, in bytes: about 100,000 tables.
const MAX_LIST_BYTES: usize = 64 * 1024 * 1024;

/// A table of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTable {
    /// Its name.
    pub name: String,
    /// It stays the same when the table is renamed.
    pub id: String,
}

/// The outcome of a rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameOutcome {
    /// The table has the new name.
    Done,
    /// The new name is taken (409), or the table does not exist (404).
    Refused,
    /// It is unknown, and may still take effect later.
    Unknown,
}

/// Calls Treasure Data. `S` is what stops the limiter.
pub struct Api<'a, S> {
    server: &'a Endpoint,
    http: &'a dyn Ask,
    limiter: &'a RateLimiter<S>,
    headers: HeaderMap,
}

/// Why a try has no value.
pub(super) enum TryError {
    /// There is no answer.
    Unanswered(HttpError),
    /// The answer is not the expected one.
    Answered(Failure<JobError>),
}

impl From<HttpError> for TryError {
    fn from(error: HttpError) -> Self {
        Self::Unanswered(error)
    }
}

impl From<Failure<JobError>> for TryError {
    fn from(failure: Failure<JobError>) -> Self {
        Self::Answered(failure)
    }
}

impl<'a, S: From<JobError>> Api<'a, S> {
    /// For calls with this key. The limiter must be for Treasure Data alone.
    pub fn new(server: &'a Endpoint, key: &Secret, http: &'a dyn Ask, limiter: &'a RateLimiter<S>) -> Self {
        let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("*/*"))]);
        // If no header can hold the key, Treasure Data gets none, and refuses it as wrong.
        if let Ok(mut value) = HeaderValue::from_str(&format!("TD1 {}", key.expose())) {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Self { server, http, limiter, headers }
    }

    /// The limiter of all calls.
    pub fn limiter(&self) -> &'a RateLimiter<S> {
        self.limiter
    }

    /// A job on this server.
    pub fn job(&self, id: &str) -> Job {
        Job { id: id.to_owned(), server: self.server.clone() }
    }

    /// All tables of a database.
    pub fn list(&self, database: &str) -> Result<Vec<ListedTable>, Stopped> {
        self.call_about_none(|| {
            let Some(found) = self.get(&["table", "list", database])? else {
                let said = format!("status 404: there is no database '{database}'");
                return Err(Failure::Final(JobError::Refused { server: self.server.to_string(), said }).into());
            };
            let tables = found.get("tables").and_then(Value::as_array);
            let tables: Option<Vec<_>> = tables.and_then(|tables| tables.iter().map(listed).collect());
            tables.ok_or_else(|| self.unintelligible("the answer is no list of tables with their IDs"))
        })
    }

    /// The columns of a table; none if there is no such table.
    pub fn schema(&self, database: &str, table: &str) -> Result<Option<Vec<SchemaColumn>>, Stopped> {
        self.call_about_none(|| {
            let Some(found) = self.get(&["table", "show", database, table])? else { return Ok(None) };
            let columns = found.get("schema").and_then(schema_columns);
            columns.map(Some).ok_or_else(|| self.unintelligible("the answer holds no schema of the table"))
        })
    }

    /// Creates an empty table; returns whether it is new.
    pub fn create(&self, database: &str, table: &str) -> Result<bool, Stopped> {
        self.call_about_none(|| {
            let answer = self.post(&["table", "create", database, table, "log"], &[])?;
            match answer.status {
                200 => Ok(true),
                409 => Ok(false),
                _ => Err(self.refused(&answer)),
            }
        })
    }

    /// Deletes a table, if it exists. Returns whether it is gone; a refusal is logged.
    pub fn delete(&self, database: &str, table: &str) -> Result<bool, Stopped> {
        self.call_about_none(|| {
            let answer = self.post(&["table", "delete", database, table], &[])?;
            match answer.status {
                200 | 404 if !answer.is_html() => Ok(true),
                400 | 403 | 409 | 422 if !answer.is_html() => {
                    warn!(
                        "the table {table} is left, because Treasure Data refuses to delete it: status {}",
                        answer.status
                    );
                    Ok(false)
                }
                _ => Err(self.refused(&answer)),
            }
        })
    }

    /// Renames a table in one try, without overwriting another.
    pub fn rename(&self, database: &str, from: &str, to: &str) -> Result<RenameOutcome, Stopped> {
        self.call_about_none(|| {
            let Ok(answer) = self.post(&["table", "rename", database, from, to], &[]) else {
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

    /// Issues a job. Repeated tries issue only one, because a `domain_key` belongs to one job.
    pub fn issue(&self, database: &str, query: &str, domain_key: &str) -> Result<Job, Stopped> {
        let id = self.call_about_none(|| {
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

    /// Kills a job, in one try because the run is ending.
    pub fn kill(&self, job: &Job) {
        match self.post(&["job", "kill", &job.id], &[]) {
            Ok(answer) if answer.status == 200 => info!("{} is killed", job.name()),
            Ok(answer) => warn!("{} could not be killed: status {}", job.name(), answer.status),
            Err(error) => warn!("{} could not be killed: {error}", job.name()),
        }
    }

    fn call_about_none<T>(&self, one_try: impl Fn() -> Result<T, TryError>) -> Result<T, Stopped> {
        self.call(&self.job(""), Duration::ZERO, one_try)
    }

    /// Makes a call, but not before `pause` has passed. If it is about no job, the ID is empty.
    pub(super) fn call<T>(
        &self,
        job: &Job,
        pause: Duration,
        one_try: impl Fn() -> Result<T, TryError>,
    ) -> Result<T, Stopped> {
        const ANSWERED: ResponseMeta = ResponseMeta { answered: true, ..ResponseMeta::NOTHING };
        let one_try = || match one_try() {
            Ok(value) => (ANSWERED, Ok(value)),
            Err(TryError::Answered(failure)) => (ANSWERED, Err(failure)),
            Err(TryError::Unanswered(error)) => (ResponseMeta::NOTHING, Err(answer::of_error(job, &error))),
        };
        retry::call(self.limiter, pause, one_try).map_err(|error| {
            if let CallError::GivenUp(reason) = error {
                let about = if job.id.is_empty() { String::new() } else { format!(" about {}", job.name()) };
                let (call, said) = (format!("a call to {}{about}", self.server), reason.into_said());
                self.limiter.stop(JobError::GaveUp { call, failures: MAX_FAILURES, said }.into());
            }
            Stopped
        })
    }

    pub(super) fn ask(&self, address: &str, call: Call<'_>) -> Result<Stream, HttpError> {
        self.http.ask(address, &self.headers, call)
    }

    /// The answer's JSON; none for a 404.
    fn get(&self, path: &[&str]) -> Result<Option<Value>, TryError> {
        let answer = self.ask(&self.address(path), Call::Get)?.into_answer(MAX_LIST_BYTES)?;
        match answer.status {
            200 if !answer.is_html() => serde_json::from_slice(&answer.body)
                .map(Some)
                .map_err(|_| self.unintelligible("the answer is not JSON")),
            404 if !answer.is_html() => Ok(None),
            _ => Err(self.refused(&answer)),
        }
    }

    fn post(&self, path: &[&str], form: &[(&str, &str)]) -> Result<Answer, HttpError> {
        let pairs: Vec<_> = form.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        self.ask(&self.address(path), Call::Form(&pairs.join("&")))?.into_answer(MAX_ANSWER_BYTES)
    }

    fn address(&self, path: &[&str]) -> String {
        let path: Vec<_> = path.iter().map(|part| encoded(part)).collect();
        format!("{}/v3/{}", self.server, path.join("/"))
    }

    fn refused(&self, answer: &Answer) -> TryError {
        answer::of_answer(&self.job(""), answer).into()
    }

    fn unintelligible(&self, said: &str) -> TryError {
        answer::unintelligible(&self.job(""), said.to_owned()).into()
    }
}

fn encoded(text: &str) -> String {
    const PLAIN: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-').remove(b'.');
    utf8_percent_encode(text, PLAIN).to_string()
}

fn listed(table: &Value) -> Option<ListedTable> {
    Some(ListedTable { name: table.get("name")?.as_str()?.to_owned(), id: text_of(table.get("id")?)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
