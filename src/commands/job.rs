//! A Treasure Data job as the input, or one that reads a table: fetched before anything else, and from then on an input like any other.

use std::sync::Arc;

use log::{info, warn};

use super::CommandError;
use super::network::network;
use super::table;
use super::watch::watched;
use crate::commands::outcome::{Api, Stop};
use crate::commands::pipeline::{MAX_STEP, RunContext};
use crate::http::Http;
use crate::http::endpoint::Endpoint;
use crate::input::columns::Names;
use crate::input::formats::format::{Format, FormatHint};
use crate::input::source::Input;
use crate::input::source::fetched::Fetched;
use crate::input::{self, Location, ReadableInput, TableName};
use crate::mirror::sql::{Column, ColumnType, Refresh, Statements};
use crate::report::progress::DownloadProgress;
use crate::retry::{RateLimiter, Stopped};
use crate::secret::Secret;
use crate::settings::credentials::{td_api_key, td_server};
use crate::settings::{Config, ConfigError};
use crate::treasure_data::fetch::Received;
use crate::treasure_data::show::{JobInfo, JobSummary};
use crate::treasure_data::tables::Api as TdApi;
use crate::treasure_data::{Job, ResultFormat};

/// Treasure Data names no limit; this only keeps a defect from asking without end.
const MAX_REQUESTS_PER_HOUR: u64 = 100_000;

/// What a look at a job has found.
pub struct JobStatus {
    /// As Treasure Data writes it.
    pub status: &'static str,
    /// The names of the columns and the number of rows, where that is known; none where the job has not ended.
    pub ended: Option<(Vec<String>, Option<u64>)>,
}

/// Where the rows are: the files, or the job's result, which is fetched.
pub fn locate(context: &mut RunContext) -> Result<ReadableInput, CommandError> {
    let input::Options { location, format_hint, expected_rows, .. } = &context.config.input;
    let (id, table) = match location {
        Location::Here(input) => {
            let (input, format_hint) = (input.clone(), format_hint.clone());
            return Ok(ReadableInput { input, format_hint, expected_rows: *expected_rows });
        }
        Location::Job(id) => (id.clone(), None),
        Location::Table(table) => (String::new(), Some(table.clone())),
    };
    let access = Access::new(&context.config)?;
    let limiter = access.limiter(context)?;
    let input::Options { expected_rows, names, .. } = &context.config.input;
    let http = &access.http;
    let job = match &table {
        None => access.job(&id),
        Some(table) => watched(http, &limiter, || {}, || issue(&access.api(&limiter), table, &context.config))?,
    };
    let api = access.api(&limiter);
    let uploaded_before_to = uploaded_before_to(context, &job.id);
    let wanted = Wanted { job: &job, rows: *expected_rows, names, uploaded_before_to };
    let (received, mut progress) = (Received::default(), DownloadProgress::default());
    let show = || {
        let (bytes, whole) = received.so_far();
        progress.show(bytes, whole);
    };
    let fetched = watched(http, &limiter, show, || fetch(&api, wanted, &received));
    progress.finish();
    if fetched.is_err() && table.is_some() {
        // The way that the run had is cut.
        Access::new(&context.config)?.api(&limiter).kill(&job);
    }
    let (readable, summary) = fetched?;
    context.job = Some(summary);
    Ok(readable)
}

/// The cohort to which this session has uploaded the job's result already, if it is another one.
fn uploaded_before_to(context: &RunContext, id: &str) -> Option<String> {
    let (job, cohort) = context.uploaded.as_ref()?;
    (job == id && *cohort != context.config.braze.cohort_id).then(|| cohort.clone())
}

/// Asks once for the job.
pub fn look(context: &mut RunContext, id: &str) -> Result<JobStatus, CommandError> {
    let access = Access::new(&context.config)?;
    let limiter = context.limiter_of_step((Api::TreasureData, access.server.to_string()), MAX_STEP)?;
    let job = access.job(id);
    let info = watched(&access.http, &limiter, || {}, || access.api(&limiter).show(&job))?;
    let status = info.status.name();
    if !info.is_done(&job).map_err(Stop::Job)? {
        return Ok(JobStatus { status, ended: None });
    }
    Ok(JobStatus { status, ended: Some((info.columns(&job).map_err(Stop::Job)?, info.rows)) })
}

/// What it takes to ask Treasure Data.
pub(super) struct Access {
    /// Its API.
    pub server: Endpoint,
    key: Secret,
    /// The way there.
    pub http: Http,
}

impl Access {
    /// As settings and environment say.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let variable = |name: &str| std::env::var(name).ok();
        let key = td_api_key(variable)?;
        let server = td_server(&config.allow_endpoint, variable)?;
        let http = Http::new(1, network(config, &server)?);
        Ok(Self { server, key, http })
    }

    /// What all requests of a run to Treasure Data have to pass.
    pub fn limiter(&self, context: &mut RunContext) -> Result<Arc<RateLimiter<Stop>>, CommandError> {
        context.limiter((Api::TreasureData, self.server.to_string()), MAX_REQUESTS_PER_HOUR)
    }

    /// Its tables and jobs.
    pub fn api<'a>(&'a self, limiter: &'a RateLimiter<Stop>) -> TdApi<'a, Stop> {
        TdApi::new(&self.server, &self.key, &self.http, limiter)
    }

    fn job(&self, id: &str) -> Job {
        Job { id: id.to_owned(), server: self.server.clone() }
    }
}

/// Has a table's members read by a job.
fn issue(api: &TdApi<'_, Stop>, table: &TableName, config: &Config) -> Result<Job, Stopped> {
    let columns = table::columns(api, table, &config.input.names)?;
    // So that the reader sees and tells of them.
    let near = columns.near.into_iter().map(|miss| Column {
        name: miss.seen.clone(),
        kind: miss.seen,
        column_type: ColumnType::Text,
    });
    let statements = Statements {
        cohort_id: config.braze.cohort_id.clone(),
        members: table.clone(),
        columns: columns.used.into_iter().chain(near).collect(),
        null_words: Vec::new(),
        refresh: Refresh::Off,
    };
    let key = format!("td-braze-cohort-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    api.issue(&table.database, &statements.select(), &key)
}

/// What the result must be like, so that it is worth fetching.
struct Wanted<'a> {
    job: &'a Job,
    rows: Option<u64>,
    names: &'a Names,
    uploaded_before_to: Option<String>,
}

/// Waits for the job to end and fetches its result, if it can be used.
fn fetch(
    api: &TdApi<'_, Stop>,
    wanted: Wanted<'_>,
    received: &Received,
) -> Result<(ReadableInput, JobSummary), Stopped> {
    let Wanted { job, rows: expected, names, uploaded_before_to } = wanted;
    let shown = api.wait(job)?;
    let columns = usable_columns(job, &shown, expected, names).map_err(|stop| {
        api.limiter().stop(stop);
        Stopped
    })?;
    let summary = JobSummary { uploaded_before_to, ..shown.summary(job) };
    info!("job {summary}");
    if let Some(cohort) = &summary.uploaded_before_to {
        warn!(
            "this session has already uploaded the result of {} to the cohort {cohort}: is the job_id right? (After a resume or another query, \
             ${{td.last_job_id}} is the job of another task)",
            job.name()
        );
    }
    let (file, size) = api.download(job, ResultFormat::Msgpack, received)?;
    info!("fetched the result of {}: {size} bytes", job.name());
    let format_hint = FormatHint {
        format: Some(Format::Msgpack),
        columns: Some(columns),
        may_be_empty: true,
        ..FormatHint::default()
    };
    let input = Input::Fetched(Fetched::new(&job.name(), file, size));
    Ok((ReadableInput { input, format_hint, expected_rows: shown.rows.or(expected) }, summary))
}

fn usable_columns(job: &Job, shown: &JobInfo, expected: Option<u64>, names: &Names) -> Result<Vec<String>, Stop> {
    shown.is_done(job)?;
    let columns = shown.columns(job)?;
    let id = job.id.clone();
    match (shown.rows, expected) {
        (Some(found), Some(expected)) if found != expected => Err(Stop::JobRows { id, found, expected }),
        _ => match names.find_all(&columns) {
            Ok(_) => Ok(columns),
            Err(error) => Err(Stop::JobHeader { id, error: Box::new(error) }),
        },
    }
}
