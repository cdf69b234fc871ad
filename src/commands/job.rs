//! A Treasure Data job as the input: fetched before anything else, and from then on an input like any other.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};
use log::info;

use super::CommandError;
use super::network::network;
use crate::commands::outcome::{Server, Stop};
use crate::commands::signals::Shutdown;
use crate::http::{Http, Post};
use crate::input::columns::Names;
use crate::input::formats::format::{Form, Format};
use crate::input::source::Input;
use crate::input::source::fetched::Fetched;
use crate::input::{self, Location, Rows};
use crate::report::progress::DownloadProgress;
use crate::retry::{self, Clock, Monotonic, RateLimiter, Stopped};
use crate::secret::Secret;
use crate::settings::credentials::{td_api_key, td_server};
use crate::settings::{Config, ConfigError};
use crate::treasure_data::fetch::{Client, Received};
use crate::treasure_data::show::Shown;
use crate::treasure_data::{Job, JobError};

/// How often the time and a stop are looked at while an answer is waited for.
const TICK: Duration = Duration::from_millis(100);
/// Treasure Data names no limit; this only keeps a defect from asking without end.
const MAX_REQUESTS_PER_HOUR: u64 = 100_000;

/// What a run has from its start on, whomever it asks first.
pub struct Beginning {
    /// Runs from the start of the run.
    pub clock: Arc<dyn Clock>,
    /// Stops whatever limiter is there.
    pub shutdown: Shutdown,
}

impl Default for Beginning {
    fn default() -> Self {
        Self { clock: Arc::new(Monotonic::default()), shutdown: Shutdown::default() }
    }
}

/// What a look at a job has found.
pub struct Look {
    /// As Treasure Data writes it.
    pub status: &'static str,
    /// The names of the columns and the number of rows, where that is known; none where the job has not ended.
    pub finished: Option<(Vec<String>, Option<u64>)>,
}

/// The rows to read: those of the files, or of the job's result, which is fetched; or what kept it from being fetched.
pub fn rows(config: &Config, beginning: &mut Beginning) -> Result<Result<Rows, Stop>, CommandError> {
    let input::Options { location, form, expected_rows, names, .. } = &config.input;
    let id = match location {
        Location::Job(id) => id,
        Location::Here(input) => {
            return Ok(Ok(Rows { input: input.clone(), form: form.clone(), expected: *expected_rows }));
        }
    };
    let Access { job, key, http } = access(config, id)?;
    let limiter = Arc::new(limiter(config, &job, &beginning.clock));
    beginning.shutdown.stop(&limiter).map_err(CommandError::Signals)?;
    let client = Client::new(&job, &key, &http, &limiter);
    let wanted = Wanted { job: &job, rows: *expected_rows, names };
    Ok(match supervised(&client, wanted, &http, &limiter) {
        Some(rows) => Ok(rows),
        None => Err(limiter.take_stop().unwrap_or_else(|| Stop::Defect("the download panicked".to_owned()))),
    })
}

/// Asks once for the job. An error where it cannot be asked for; a stop where the answer is not what an upload needs.
pub fn look(config: &Config, id: &str) -> Result<Result<Look, Stop>, CommandError> {
    let Access { job, key, http } = access(config, id)?;
    let limiter = limiter(config, &job, &Beginning::default().clock);
    let looked = Client::new(&job, &key, &http, &limiter).show().map(|shown| {
        let status = shown.status.name();
        if !shown.is_done(&job)? {
            return Ok(Look { status, finished: None });
        }
        Ok(Look { status, finished: Some((shown.columns(&job)?, shown.rows)) })
    });
    Ok(match looked {
        Ok(look) => look.map_err(|error: JobError| Stop::Job(error)),
        Err(_) => Err(limiter.take_stop().unwrap_or_else(|| Stop::Defect("a stop without a reason".to_owned()))),
    })
}

/// What it takes to ask Treasure Data.
struct Access {
    job: Job,
    key: Secret,
    http: Http,
}

fn access(config: &Config, id: &str) -> Result<Access, ConfigError> {
    let variable = |name: &str| std::env::var(name).ok();
    let key = td_api_key(variable)?;
    let server = td_server(&config.allow_endpoint, variable)?;
    let http = Http::new(1, network(config, &server)?);
    Ok(Access { job: Job { id: id.to_owned(), server }, key, http })
}

fn limiter(config: &Config, job: &Job, clock: &Arc<dyn Clock>) -> RateLimiter<Stop> {
    let limits = retry::Limits {
        max_outage: config.delivery.max_outage,
        max_requests_per_hour: MAX_REQUESTS_PER_HOUR,
        max_duration: config.delivery.max_duration,
    };
    let stop_for = Stop::of_limiter(Server::TreasureData, job.server.to_string());
    RateLimiter::new(limits, Arc::clone(clock), stop_for)
}

/// Fetches on a thread of its own, so that a stop and the end of the run's time are heeded while an answer is waited for.
fn supervised(client: &Client<'_, Stop>, wanted: Wanted<'_>, http: &Http, limiter: &RateLimiter<Stop>) -> Option<Rows> {
    let (received, mut progress) = (Received::default(), DownloadProgress::default());
    let result = thread::scope(|scope| {
        let (at_work, done) = bounded::<()>(0);
        let received = &received;
        let worker = scope.spawn(move || {
            let result = fetch(client, wanted, received);
            drop(at_work);
            result
        });
        while let Err(RecvTimeoutError::Timeout) = done.recv_timeout(TICK) {
            let (bytes, whole) = received.so_far();
            progress.show(bytes, whole);
            limiter.check_limit();
            if limiter.is_stopped() {
                http.cut();
            }
        }
        worker.join()
    });
    progress.finish();
    result.ok()?.ok()
}

/// What the result must be like, so that it is worth fetching.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    job: &'a Job,
    rows: Option<u64>,
    names: &'a Names,
}

/// Waits for the job to end and fetches its result, if it can be used.
fn fetch(client: &Client<'_, Stop>, wanted: Wanted<'_>, received: &Received) -> Result<Rows, Stopped> {
    let Wanted { job, rows: expected, names } = wanted;
    let shown = client.wait_for_end()?;
    let columns = usable_columns(job, &shown, expected, names).map_err(|stop| client.refuse(stop))?;
    let rows = shown.rows.map_or_else(|| "an unknown number of".to_owned(), |rows| rows.to_string());
    info!("{} has {rows} rows of {} columns; its result is being fetched", job.name(), columns.len());
    let (file, size) = client.download(received)?;
    info!("the result of {} is here: {size} bytes", job.name());
    let form = Form { format: Some(Format::Msgpack), columns: Some(columns), may_be_empty: true };
    Ok(Rows { input: Input::Fetched(Fetched::new(&job.name(), file, size)), form, expected: shown.rows.or(expected) })
}

fn usable_columns(job: &Job, shown: &Shown, expected: Option<u64>, names: &Names) -> Result<Vec<String>, Stop> {
    let columns = shown.columns(job)?;
    let id = job.id.clone();
    match (shown.rows, expected) {
        (Some(found), Some(expected)) if found != expected => Err(Stop::JobRows { id, found, expected }),
        _ => match names.find(&columns) {
            Ok(_) => Ok(columns),
            Err(error) => Err(Stop::JobHeader { id, error: Box::new(error) }),
        },
    }
}
