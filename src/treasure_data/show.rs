//! The answer of `job/show`. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Job, JobError};

/// Enough of a query to recognise it.
const MAX_QUERY: usize = 80;

/// The status of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
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

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&format!("{self:?}").to_lowercase())
    }
}

/// A job, as `job/show` describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct JobInfo {
    /// Its status.
    pub status: Status,
    /// What people know it by.
    pub summary: JobSummary,
    schema: Value,
}

/// A job, for the log and the report. It shows whether it is the right one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobSummary {
    /// Its number.
    pub id: String,
    /// The database of its query.
    pub database: Option<String>,
    /// When it was issued, as Treasure Data writes it.
    pub issued: Option<String>,
    /// The number of rows in its result, if known.
    pub rows: Option<u64>,
    /// The first line of its query that is not blank, up to 80 characters.
    pub query: Option<String>,
    /// Another cohort to which this session already uploaded its result.
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
    /// Reads a body; none if it does not describe a job.
    pub fn parse(job: &Job, body: &[u8]) -> Option<Self> {
        let mut object: Map<String, Value> = serde_json::from_slice(body).ok()?;
        let status = serde_json::from_value(object.get("status")?.clone()).ok()?;
        let rows = object.get("num_records").and_then(text_of).and_then(|digits| digits.parse().ok());
        let schema = object.remove("hive_result_schema").unwrap_or_default();
        let text = |key: &str| object.get(key).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        let line = text("query").and_then(|query| query.lines().map(str::trim).find(|line| !line.is_empty()));
        let summary = JobSummary {
            id: job.id.clone(),
            database: text("database").map(str::to_owned),
            issued: text("created_at").map(str::to_owned),
            rows,
            query: line.map(|line| line.chars().take(MAX_QUERY).collect()),
            uploaded_before_to: None,
        };
        Some(Self { status, summary, schema })
    }

    /// Whether it has a result; an error if it never will.
    pub fn is_done(&self) -> Result<bool, JobError> {
        match self.status {
            Status::Queued | Status::Booting | Status::Running => Ok(false),
            Status::Success => Ok(true),
            Status::Error | Status::Killed => {
                Err(JobError::Failed { id: self.summary.id.clone(), status: self.status })
            }
        }
    }

    /// The names of the columns.
    pub fn columns(&self) -> Result<Vec<String>, JobError> {
        let id = self.summary.id.clone();
        if matches!(&self.schema, Value::Null) || matches!(self.schema.as_str().map(str::trim), Some("" | "null")) {
            return Err(JobError::NoResult { id });
        }
        match schema_columns(&self.schema) {
            None => Err(JobError::Schema { id, problem: "is not a list of names and types" }),
            Some(columns) if columns.is_empty() => Err(JobError::NoResult { id }),
            Some(columns) => Ok(columns.into_iter().map(|(name, _)| name).collect()),
        }
    }
}

/// A column: its name, and the API's name of its type (`string`, `long`, `int`, `double`, ...).
pub type SchemaColumn = (String, String);

/// `[[name, type], ...]`, as text or as a list.
pub(super) fn schema_columns(schema: &Value) -> Option<Vec<SchemaColumn>> {
    let columns = match schema {
        Value::String(text) => serde_json::from_str(text).ok()?,
        other => other.clone(),
    };
    let text = |column: &Value, index: usize| column.get(index)?.as_str().map(str::to_owned);
    columns.as_array()?.iter().map(|column| Some((text(column, 0)?, text(column, 1)?))).collect()
}

/// Numbers may come as text.
pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
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

    fn shown(value: &Value) -> Option<JobInfo> {
        JobInfo::parse(&job(), value.to_string().as_bytes())
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
        match (shown.is_done(), is_done) {
            (Ok(found), Some(expected)) => assert_eq!(found, expected),
            (Err(error), None) => assert!(error.to_string().contains(&format!("'{status}'")), "{error}"),
            (found, _) => panic!("{found:?}"),
        }
    }

    #[rstest]
    #[case(json!([]))]
    #[case(json!({}))]
    #[case(json!({"status": 1}))]
    #[case(json!({"status": "sucess"}))]
    fn what_is_no_description_of_a_job_is_none(#[case] body: Value) {
        assert_eq!(shown(&body), None);
    }

    #[rstest]
    #[case(json!(8), Some(8))]
    #[case(json!("8"), Some(8))]
    #[case(json!(0), Some(0))]
    #[case(json!(null), None)]
    #[case(json!(-1), None)]
    #[case(json!("many"), None)]
    fn the_number_of_rows_may_be_unknown(#[case] rows: Value, #[case] expected: Option<u64>) {
        assert_eq!(shown(&json!({"status": "success", "num_records": rows})).unwrap().summary.rows, expected);
    }

    #[rstest]
    #[case(json!("[[\"user_ids\",\"varchar\"],[\"名前\",\"bigint\"]]"), &["user_ids", "名前"])]
    #[case(json!([["a", "varchar"], ["b", "array<int>", "b"]]), &["a", "b"])]
    fn the_schema_names_the_columns(#[case] schema: Value, #[case] expected: &[&str]) {
        let shown = shown(&json!({"status": "success", "hive_result_schema": schema})).unwrap();
        assert_eq!(shown.columns().unwrap(), expected);
    }

    #[rstest]
    #[case(json!(null), "has no result")]
    #[case(json!(""), "has no result")]
    #[case(json!("null"), "has no result")]
    #[case(json!("[]"), "has no result")]
    #[case(json!("[[\"a\""), "is not a list of names")]
    #[case(json!("{}"), "is not a list of names")]
    #[case(json!("[[\"a\", \"int\"], \"b\"]"), "is not a list of names")]
    #[case(json!([[1, "int"]]), "is not a list of names")]
    fn a_schema_without_names_is_no_result(#[case] schema: Value, #[case] words: &str) {
        let shown = shown(&json!({"status": "success", "hive_result_schema": schema})).unwrap();
        let error = shown.columns().unwrap_err();
        let is_meant = matches!(error, JobError::NoResult { .. } | JobError::Schema { .. });
        assert!(error.to_string().contains(words) && is_meant, "{error}");
    }

    #[test]
    fn a_schema_is_text_or_a_list() {
        let expected = Some(vec![("a".to_owned(), "string".to_owned()), ("b".to_owned(), "long".to_owned())]);
        assert_eq!(schema_columns(&json!(r#"[["a","string"],["b","long","b"]]"#)), expected);
        assert_eq!(schema_columns(&json!([["a", "string"], ["b", "long"]])), expected);
        for wrong in [json!(null), json!("["), json!([["a"]]), json!({})] {
            assert_eq!(schema_columns(&wrong), None, "{wrong}");
        }
    }
}
