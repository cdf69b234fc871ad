//! A job's result, fetched: asks until the job has ended, then brings its result into a file without a name. Whatever ends
//! it early is in the gate.

use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderMap;
use http::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use log::{debug, info, warn};

use super::answer::{self, Trouble};
use super::show::{Shown, Status};
use super::{Job, JobError, pause_before_question};
use crate::columns::Names;
use crate::gate::{Gate, Stopped};
use crate::http::{Answer, Get, HttpError, MAX_ANSWER_BYTES, Patience, Stream};
use crate::pace::{Delay, Ended, Heard, Ticket};
use crate::retry;
use crate::secret::Secret;
use crate::source::fetched::Fetched;
use crate::stop::Stop;

mod download;

use download::Download;

/// The longest answer of `job/show` that is read, in bytes: it holds the query and the schema.
pub const MAX_SHOW_BYTES: usize = 1024 * 1024;
/// How often a job that has not ended is mentioned in the log.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// What a job has to fulfil, so that its result is worth fetching.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The rows that it must have, where that is set.
    pub rows: Option<u64>,
    /// What its columns are called.
    pub names: &'a Names,
}

/// A job's result, complete.
#[derive(Debug)]
pub struct JobResult {
    /// The bytes, as Treasure Data sent them.
    pub bytes: Fetched,
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows that it has to have, where that is known.
    pub rows: Option<u64>,
}

/// How far the download has come, in bytes, for whoever watches. A length of zero is not known.
#[derive(Debug, Default)]
pub struct Received {
    /// So much is here.
    pub bytes: AtomicU64,
    /// Of so much.
    pub whole: AtomicU64,
}

/// Asks Treasure Data for one job.
pub struct Client<'a> {
    job: &'a Job,
    get: &'a dyn Get,
    gate: &'a Gate,
    headers: HeaderMap,
}

/// What happened to one call so far.
#[derive(Debug, Default)]
struct History {
    failures: u32,
    garbage: u32,
    limits: u32,
    stale: bool,
}

impl<'a> Client<'a> {
    /// Sends the key with every call; the gate is to be that of Treasure Data alone.
    pub fn new(job: &'a Job, key: &Secret, get: &'a dyn Get, gate: &'a Gate) -> Self {
        let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("*/*"))]);
        // A key that cannot stand in a header is refused like any wrong one; that it has no control character is known.
        if let Ok(mut value) = HeaderValue::from_str(&format!("TD1 {}", key.expose())) {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Self { job, get, gate, headers }
    }

    /// Waits for the job to end and fetches its result, if that is one which can be used.
    pub fn fetch(&self, wanted: Wanted<'_>, received: &Received) -> Result<JobResult, Stopped> {
        let shown = self.wait_for_end()?;
        let columns = self.usable_columns(&shown, wanted).map_err(|error| self.stop(error))?;
        let rows = shown.rows.map_or_else(|| "an unknown number of".to_owned(), |rows| rows.to_string());
        info!("{} has {rows} rows of {} columns; its result is being fetched", self.job.name(), columns.len());
        let (file, size) = self.download(received)?;
        info!("the result of {} is here: {size} bytes", self.job.name());
        let bytes = Fetched::new(&self.job.name(), file, size);
        Ok(JobResult { bytes, columns, rows: shown.rows.or(wanted.rows) })
    }

    fn usable_columns(&self, shown: &Shown, wanted: Wanted<'_>) -> Result<Vec<String>, JobError> {
        let names = shown.columns(self.job)?;
        let id = self.job.id.clone();
        match (shown.rows, wanted.rows) {
            (Some(found), Some(expected)) if found != expected => Err(JobError::ExpectedRows { id, found, expected }),
            _ => match wanted.names.find(&names) {
                Ok(_) => Ok(names),
                Err(error) => Err(JobError::Header { id, error }),
            },
        }
    }

    /// Asks until the job has ended. One that failed stops the run.
    fn wait_for_end(&self) -> Result<Shown, Stopped> {
        let (mut questions, mut delay) = (0, Delay::default());
        let mut told: Option<(Status, Duration)> = None;
        loop {
            let shown = self.ask(delay)?;
            if shown.is_done(self.job).map_err(|error| self.stop(error))? {
                return Ok(shown);
            }
            questions += 1;
            let (now, pause) = (self.gate.now(), pause_before_question(questions));
            let is_news =
                told.is_none_or(|(status, at)| status != shown.status || now.saturating_sub(at) >= TELL_EVERY);
            if is_news {
                info!("{} is {}; asking again until it has ended", self.job.name(), shown.status.name());
                told = Some((shown.status, now));
            }
            delay = Delay { until: now + pause, since: now, announced: false };
        }
    }

    /// Asks once how the job is, and again where that fails.
    pub fn show(&self) -> Result<Shown, Stopped> {
        self.ask(Delay::default())
    }

    fn ask(&self, mut delay: Delay) -> Result<Shown, Stopped> {
        let mut history = History::default();
        loop {
            let ticket = self.gate.enter(delay)?;
            let outcome = self.read_whole(&self.job.show_address(), MAX_SHOW_BYTES);
            let heard = Heard { answered: outcome.is_ok(), standing: None };
            match self.shown(&outcome) {
                Ok(shown) => {
                    self.gate.leave(ticket, Ended::Through, heard, None);
                    return Ok(shown);
                }
                Err(trouble) => delay = self.again(trouble, ticket, heard, &mut history)?,
            }
        }
    }

    fn read_whole(&self, address: &str, most: usize) -> Result<Answer, HttpError> {
        let Stream { status, headers, body } = self.get.get(address, &self.headers, Patience::Whole)?;
        Ok(Answer { status, headers, body: body.read_up_to(most)? })
    }

    fn shown(&self, outcome: &Result<Answer, HttpError>) -> Result<Shown, Trouble> {
        let answer = outcome.as_ref().map_err(|error| answer::of_error(self.job, error))?;
        if answer.status != 200 || answer.is_html() {
            return Err(answer::of_answer(self.job, answer));
        }
        if answer.body.len() > MAX_SHOW_BYTES {
            return Err(Trouble::Garbage(format!("more than {MAX_SHOW_BYTES} bytes")));
        }
        Shown::parse(&answer.body).map_err(|problem| Trouble::Garbage(problem.to_owned()))
    }

    /// Brings the result: each try goes on where the one before it broke off, where the server can do that.
    fn download(&self, received: &Received) -> Result<(File, u64), Stopped> {
        let mut download = Download::begin(received).map_err(|error| self.cannot_keep(error))?;
        let (mut history, mut breaks, mut delay) = (History::default(), 0, Delay::default());
        loop {
            let ticket = self.gate.enter(delay)?;
            let attempt = download.attempt(self);
            let heard = Heard { answered: attempt.answered, standing: None };
            let trouble = match attempt.result {
                Ok(()) => {
                    self.gate.leave(ticket, Ended::Through, heard, None);
                    return Ok(download.finish());
                }
                Err(download::Failure::Trouble(trouble)) => trouble,
                Err(download::Failure::Write(error)) => return Err(self.cannot_keep(error)),
            };
            if self.gate.is_stopped() {
                self.gate.leave(ticket, Ended::Unheard, heard, None);
                return Err(Stopped);
            }
            if attempt.got_further {
                (history, breaks) = (History::default(), 0);
            }
            delay = match trouble {
                // Bytes came, so the server is not down. What cannot be had in whole must end at some time all the same.
                Trouble::Again(last, _) if attempt.bytes > 0 => {
                    breaks += 1;
                    history.failures += 1;
                    self.gate.leave(ticket, Ended::Through, heard, None);
                    if breaks >= retry::MAX_FAILURES {
                        return Err(self.stop(JobError::Broken { id: self.job.id.clone(), breaks, last }));
                    }
                    warn!("the download broke at byte {} ({last}); going on", download.at());
                    self.backoff(None, history.failures, &last)
                }
                trouble => self.again(trouble, ticket, heard, &mut history)?,
            };
        }
    }

    /// Tells the gate how a call failed, and decides when to make it again.
    fn again(&self, trouble: Trouble, ticket: Ticket, heard: Heard, history: &mut History) -> Result<Delay, Stopped> {
        let failed = |trouble: &str, pause: Option<Duration>, history: &mut History| {
            history.failures += 1;
            self.gate.leave(ticket, Ended::Failed, heard, Some(trouble));
            self.backoff(pause, history.failures, trouble)
        };
        if !matches!(trouble, Trouble::Garbage(_)) {
            history.garbage = 0;
        }
        Ok(match trouble {
            Trouble::AgainAtOnce if !history.stale => {
                history.stale = true;
                self.gate.leave(ticket, Ended::Unheard, heard, None);
                Delay::default()
            }
            Trouble::AgainAtOnce => failed("the idle connection was closed again", None, history),
            Trouble::Again(said, pause) => failed(&said, pause, history),
            Trouble::Garbage(said) => {
                history.garbage += 1;
                if history.garbage < retry::MAX_GARBAGE {
                    failed(&said, None, history)
                } else {
                    return self.again(answer::not_treasure_data(self.job, &said), ticket, heard, history);
                }
            }
            Trouble::Limited(asked_for) => {
                history.limits += 1;
                let pause = asked_for.unwrap_or_else(|| retry::delay(history.limits, fastrand::f64()));
                let (since, announced) = (self.gate.now(), asked_for.is_some());
                let until = since + pause;
                self.gate.leave(ticket, Ended::Limited { until, announced }, heard, Some("rate limit (429)"));
                warn!("Treasure Data's rate limit (429): pausing for {:.1} s", pause.as_secs_f64());
                Delay { until, since, announced }
            }
            Trouble::Final(error) => {
                let stopped = self.stop(error);
                self.gate.leave(ticket, Ended::Through, heard, None);
                return Err(stopped);
            }
        })
    }

    fn backoff(&self, pause: Option<Duration>, failures: u32, trouble: &str) -> Delay {
        let (since, announced) = (self.gate.now(), pause.is_some());
        let pause = pause.unwrap_or_else(|| retry::delay(failures, fastrand::f64()));
        debug!("a call to Treasure Data failed ({trouble}); again in {:.1} s", pause.as_secs_f64());
        Delay { until: since + pause, since, announced }
    }

    fn stop(&self, error: JobError) -> Stopped {
        self.gate.stop(Stop::Job(error));
        Stopped
    }

    fn cannot_keep(&self, error: std::io::Error) -> Stopped {
        let folder = std::env::temp_dir().display().to_string();
        self.stop(JobError::CannotKeep { id: self.job.id.clone(), folder, error })
    }
}

impl Received {
    /// What came, and of how much, where that is known.
    pub fn so_far(&self) -> (u64, Option<u64>) {
        let whole = self.whole.load(Ordering::Relaxed);
        (self.bytes.load(Ordering::Relaxed), Some(whole).filter(|whole| *whole > 0))
    }
}

/// Reads what came in the place of a body, for its message.
fn read_error(stream: Stream) -> Result<Answer, HttpError> {
    let Stream { status, headers, body } = stream;
    Ok(Answer { status, headers, body: body.read_up_to(MAX_ANSWER_BYTES)? })
}

#[cfg(test)]
mod tests;
