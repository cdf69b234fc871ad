//! Fetches the result of a Treasure Data job, or of one that reads a table, as the input, before anything is sent.

use log::{info, warn};

use super::context::RunContext;
use super::network::network;
use super::table;
use super::variable;
use super::watch::watched;
use crate::commands::outcome::{Api, Stop};
use crate::http::Http;
use crate::http::endpoint::Endpoint;
use crate::input::formats::format::{Format, FormatHint};
use crate::input::source::Input;
use crate::input::source::fetched::Fetched;
use crate::input::{self, Location, ReadableInput, TableName};
use crate::mirror::sql::{Column, ColumnType, Refresh, Statements};
use crate::retry::{RateLimiter, Stopped};
use crate::secret::Secret;
use crate::settings::credentials::{td_api_key, td_server};
use crate::settings::{Config, ConfigError};
use crate::treasure_data::show::{JobInfo, JobSummary};
use crate::treasure_data::tables::Api as TdApi;
use crate::treasure_data::{Job, MSGPACK};

/// The input: files, or the fetched result of a job.
pub fn locate(context: &mut RunContext) -> Result<ReadableInput, Stop> {
    let input::Options { location, format_hint, expected_rows, .. } = context.config.input.clone();
    let (id, table) = match location {
        Location::Here(input) => return Ok(ReadableInput { input, format_hint, expected_rows }),
        Location::Job(id) => (id, None),
        Location::Table(table) => (String::new(), Some(table)),
    };
    let access = Access::new(&context.config)?;
    let limiter = context.limiter(Api::TreasureData, access.server.as_str())?;
    let (http, config) = (&access.http, &context.config);
    let job = match &table {
        None => access.job(&id),
        Some(table) => watched(http, &limiter, || issue(&access.api(&limiter), table, config))?,
    };
    let api = access.api(&limiter);
    let before = context.uploaded.as_ref().filter(|(id, cohort)| *id == job.id && *cohort != config.braze.cohort_id);
    let uploaded_before_to = before.map(|(_, cohort)| cohort.clone());
    let fetched = watched(http, &limiter, || fetch(&api, &job, &config.input, uploaded_before_to));
    if fetched.is_err() && table.is_some() {
        // A new connection: the run's own are cut.
        Access::new(config)?.api(&limiter).kill(&job);
    }
    let (readable, summary) = fetched?;
    context.job = Some(summary);
    Ok(readable)
}

pub(super) struct Access {
    /// Its API.
    pub server: Endpoint,
    key: Secret,
    /// Its connections.
    pub http: Http,
}

impl Access {
    /// From settings and environment.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let key = td_api_key(variable)?;
        let server = td_server(&config.allow_endpoint, variable)?;
        let http = Http::new(1, network(config, &server)?);
        Ok(Self { server, key, http })
    }

    /// Its tables and jobs.
    pub fn api<'a>(&'a self, limiter: &'a RateLimiter<Stop>) -> TdApi<'a, Stop> {
        TdApi::new(&self.server, &self.key, &self.http, limiter)
    }

    /// The job with this number.
    pub fn job(&self, id: &str) -> Job {
        Job { id: id.to_owned(), server: self.server.clone() }
    }
}

fn issue(api: &TdApi<'_, Stop>, table: &TableName, config: &Config) -> Result<Job, Stopped> {
    let (columns, used) = table::columns(api, table, &config.input.names)?;
    // Selected as well, so that the reader warns about them.
    let near = columns.near.into_iter().map(|miss| Column {
        name: miss.seen.clone(),
        kind: miss.seen,
        column_type: ColumnType::Text,
    });
    let statements = Statements {
        cohort_id: config.braze.cohort_id.clone(),
        members: table.clone(),
        columns: used.into_iter().chain(near).collect(),
        null_words: Vec::new(),
        refresh: Refresh::Off,
    };
    let key = format!("td-braze-cohort-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    api.issue(&table.database, &statements.select(), &key)
}

/// Waits for the job to end, and fetches its result if it can be used.
fn fetch(
    api: &TdApi<'_, Stop>,
    job: &Job,
    options: &input::Options,
    uploaded_before_to: Option<String>,
) -> Result<(ReadableInput, JobSummary), Stopped> {
    let shown = api.wait(job)?;
    let columns = usable_columns(job, &shown, options).map_err(|stop| {
        api.limiter().stop(stop);
        Stopped
    })?;
    let summary = JobSummary { uploaded_before_to, ..shown.summary.clone() };
    info!("job {summary}");
    if let Some(cohort) = &summary.uploaded_before_to {
        warn!(
            "this session has already uploaded the result of {} to the cohort {cohort}: is the job_id right? (After a resume or another query, \
             ${{td.last_job_id}} is the job of another task)",
            job.name()
        );
    }
    let (file, size) = api.download(job, MSGPACK)?;
    info!("fetched the result of {}: {size} bytes", job.name());
    let format_hint = FormatHint {
        format: Some(Format::Msgpack),
        columns: Some(columns),
        may_be_empty: true,
        ..FormatHint::default()
    };
    let input = Input::Fetched(Fetched::new(&job.name(), file, size));
    Ok((ReadableInput { input, format_hint, expected_rows: summary.rows.or(options.expected_rows) }, summary))
}

fn usable_columns(job: &Job, shown: &JobInfo, options: &input::Options) -> Result<Vec<String>, Stop> {
    shown.is_done()?;
    let columns = shown.columns()?;
    if let (Some(found), Some(expected)) = (shown.summary.rows, options.expected_rows)
        && found != expected
    {
        return Err(Stop::JobRows { id: job.id.clone(), found, expected });
    }
    let found = options.names.find_all(&columns);
    found.map_err(|error| Stop::Header { name: job.name(), error: Box::new(error) })?;
    Ok(columns)
}
