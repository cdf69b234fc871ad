//! The answer of `job/show`. Pure.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Job, JobError};

/// More columns than any query has.
const MAX_COLUMNS: usize = 10_000;
/// Enough of a query to tell it from others.
const MAX_QUERY: usize = 80;

/// The status of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It waits for its turn.
    Queued,
    /// It begins.
    Booting,
    /// It runs.
    Running,
    /// It has a result.
    Success,
    /// It failed.
    Error,
    /// It was killed.
    Killed,
}

impl Status {
    const ALL: [Self; 6] = [Self::Queued, Self::Booting, Self::Running, Self::Success, Self::Error, Self::Killed];

    /// As Treasure Data writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Booting => "booting",
            Self::Running => "running",
            Self::Success => "success",
            Self::Error => "error",
            Self::Killed => "killed",
        }
    }
}

/// A job, as `job/show` describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct JobInfo {
    /// Its status.
    pub status: Status,
    /// The number of rows of its result, if that is known.
    pub rows: Option<u64>,
    /// The database of its query.
    pub database: Option<String>,
    /// When it was issued, as Treasure Data writes it.
    pub issued: Option<String>,
    /// The first line of its query that is not blank; its first 80 characters.
    pub query: Option<String>,
    schema: Value,
}

/// A job for the log and the report, which show whether it is the right one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobSummary {
    /// Its number.
    pub id: String,
    /// See [`JobInfo::database`].
    pub database: Option<String>,
    /// See [`JobInfo::issued`].
    pub issued: Option<String>,
    /// See [`JobInfo::rows`].
    pub rows: Option<u64>,
    /// See [`JobInfo::query`].
    pub query: Option<String>,
    /// Another cohort to which this session has uploaded its result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uploaded_before_to: Option<String>,
}

impl fmt::Display for JobSummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
        let rows = self.rows.map_or_else(|| "unknown".to_owned(), |rows| rows.to_string());
        let (database, issued, query) = (known(&self.database), known(&self.issued), known(&self.query));
        write!(formatter, "{} (database {database}, issued {issued}, rows {rows}): {query}", self.id)
    }
}

impl JobInfo {
    /// Reads a body. The error tells what is wrong with it.
    pub fn parse(body: &[u8]) -> Result<Self, &'static str> {
        let mut object: Map<String, Value> =
            serde_json::from_slice(body).map_err(|_| "the body is not a JSON object")?;
        let name = object.get("status").and_then(Value::as_str).ok_or("it does not say the job's status")?;
        let status =
            Status::ALL.into_iter().find(|status| status.name() == name).ok_or("it says a status that no job has")?;
        let rows = match object.get("num_records") {
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(digits)) => digits.parse().ok(),
            _ => None,
        };
        let schema = object.remove("hive_result_schema").unwrap_or_default();
        let text = |key: &str| object.get(key).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        let line = text("query").and_then(|query| query.lines().map(str::trim).find(|line| !line.is_empty()));
        Ok(Self {
            status,
            rows,
            database: text("database").map(str::to_owned),
            issued: text("created_at").map(str::to_owned),
            query: line.map(|line| line.chars().take(MAX_QUERY).collect()),
            schema,
        })
    }

    /// For people.
    pub fn summary(&self, job: &Job) -> JobSummary {
        JobSummary {
            id: job.id.clone(),
            database: self.database.clone(),
            issued: self.issued.clone(),
            rows: self.rows,
            query: self.query.clone(),
            uploaded_before_to: None,
        }
    }

    /// Whether it has a result; an error if it never will.
    pub fn is_done(&self, job: &Job) -> Result<bool, JobError> {
        match self.status {
            Status::Queued | Status::Booting | Status::Running => Ok(false),
            Status::Success => Ok(true),
            Status::Error | Status::Killed => Err(JobError::Failed { id: job.id.clone(), status: self.status.name() }),
        }
    }

    /// The names of the columns, from `[[name, type], ...]` as text or as a list.
    pub fn columns(&self, job: &Job) -> Result<Vec<String>, JobError> {
        let wrong = |problem| JobError::Schema { id: job.id.clone(), problem };
        let none = || JobError::NoResult { id: job.id.clone() };
        let schema = match &self.schema {
            Value::Null => return Err(none()),
            Value::String(text) if text.trim().is_empty() => return Err(none()),
            Value::String(text) => serde_json::from_str(text).map_err(|_| wrong("is not JSON"))?,
            other => other.clone(),
        };
        let columns = match schema {
            Value::Null => return Err(none()),
            Value::Array(columns) => columns,
            _ => return Err(wrong("is not a list")),
        };
        if columns.len() > MAX_COLUMNS {
            return Err(wrong("has more than 10,000 columns"));
        }
        let name = |column: &Value| column.get(0)?.as_str().map(str::to_owned);
        let names: Option<Vec<_>> = columns.iter().map(name).collect();
        match names {
            None => Err(wrong("does not name each column")),
            Some(names) if names.is_empty() => Err(none()),
            Some(names) => Ok(names),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::endpoint::Endpoint;
    use rstest::rstest;
    use serde_json::json;

    fn job() -> Job {
        Job { id: "7".to_owned(), server: Endpoint::of_sandbox("http://127.0.0.1:1".to_owned()) }
    }

    fn shown(value: &Value) -> Result<JobInfo, &'static str> {
        JobInfo::parse(value.to_string().as_bytes())
    }

    #[rstest]
    #[case("queued", Some(false))]
    #[case("booting", Some(false))]
    #[case("running", Some(false))]
    #[case("success", Some(true))]
    #[case("error", None)]
    #[case("killed", None)]
    fn the_status_decides(#[case] status: &str, #[case] is_done: Option<bool>) {
        let shown = shown(&json!({ "status": status, "more": [1] })).unwrap();
        match (shown.is_done(&job()), is_done) {
            (Ok(found), Some(expected)) => assert_eq!(found, expected),
            (Err(error), None) => assert!(error.to_string().contains(&format!("'{status}'")), "{error}"),
            (found, _) => panic!("{found:?}"),
        }
    }

    #[rstest]
    #[case(json!([]), "not a JSON object")]
    #[case(json!({}), "status")]
    #[case(json!({"status": 1}), "status")]
    #[case(json!({"status": "sucess"}), "no job has")]
    fn what_is_no_description_of_a_job_is_said(#[case] body: Value, #[case] words: &str) {
        let error = shown(&body).unwrap_err();
        assert!(error.contains(words), "{error}");
    }

    #[rstest]
    #[case(json!(8), Some(8))]
    #[case(json!("8"), Some(8))]
    #[case(json!(0), Some(0))]
    #[case(json!(null), None)]
    #[case(json!(-1), None)]
    #[case(json!("many"), None)]
    fn the_number_of_rows_may_be_unknown(#[case] rows: Value, #[case] expected: Option<u64>) {
        assert_eq!(shown(&json!({"status": "success", "num_records": rows})).unwrap().rows, expected);
    }

    #[rstest]
    #[case(json!("[[\"user_ids\",\"varchar\"],[\"名前\",\"bigint\"]]"), &["user_ids", "名前"])]
    #[case(json!([["a", "varchar"], ["b", "array<int>", "b"]]), &["a", "b"])]
    fn the_schema_names_the_columns(#[case] schema: Value, #[case] expected: &[&str]) {
        let shown = shown(&json!({"status": "success", "hive_result_schema": schema})).unwrap();
        assert_eq!(shown.columns(&job()).unwrap(), expected);
    }

    #[rstest]
    #[case(json!(null), "has no result")]
    #[case(json!(""), "has no result")]
    #[case(json!("null"), "has no result")]
    #[case(json!("[]"), "has no result")]
    #[case(json!("[[\"a\""), "is not JSON")]
    #[case(json!("{}"), "is not a list")]
    #[case(json!("[[\"a\", \"int\"], \"b\"]"), "does not name each")]
    #[case(json!([[1, "int"]]), "does not name each")]
    #[case(json!(vec![["a", "int"]; 10_001]), "more than 10,000")]
    fn a_schema_without_names_is_no_result(#[case] schema: Value, #[case] words: &str) {
        let shown = shown(&json!({"status": "success", "hive_result_schema": schema})).unwrap();
        let error = shown.columns(&job()).unwrap_err();
        let is_meant = matches!(error, JobError::NoResult { .. } | JobError::Schema { .. });
        assert!(error.to_string().contains(words) && is_meant, "{error}");
    }
}
