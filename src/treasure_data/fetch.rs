//! A job's result, fetched: asks until the job has ended, then brings its result into a file without a name. Whatever ends
//! it early is in the limiter.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::http::HeaderMap;
use crate::http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, HeaderValue};
use log::info;

use super::show::{JobInfo, Status};
use super::{Job, JobError, ResultFormat, answer, pause_before_question};
use crate::http::{Answer, Get, MAX_ANSWER_BYTES, Patience, Stream, begins_html, declares_html};
use crate::retry::{self, CallError, Failure, MAX_FAILURES, RateLimiter, ResponseMeta, Stopped};
use crate::secret::Secret;

/// The longest answer of `job/show` that is read, in bytes: it holds the query and the schema.
pub const MAX_SHOW_BYTES: usize = 1024 * 1024;
/// How often a job that has not ended is mentioned in the log.
const TELL_EVERY: Duration = Duration::from_mins(1);
const BUFFER_BYTES: usize = 64 * 1024;
/// How often the room on the disk is looked at, in bytes that were written.
const LOOK_EVERY: u64 = 16 << 20;
/// So much of the disk is left to others, in bytes, by a result that is longer than [`LOOK_EVERY`].
const LEFT_TO_OTHERS: u64 = 64 << 20;

/// How far the download has come, in bytes, for whoever watches. A length of zero is not known.
#[derive(Debug, Default)]
pub struct Received {
    bytes: AtomicU64,
    whole: AtomicU64,
}

/// Asks Treasure Data for one job. `S` is what stops the limiter.
pub struct Client<'a, S> {
    job: &'a Job,
    get: &'a dyn Get,
    limiter: &'a RateLimiter<S>,
    headers: HeaderMap,
}

impl<'a, S: From<JobError>> Client<'a, S> {
    /// Sends the key with every call; the limiter is to be that of Treasure Data alone.
    pub fn new(job: &'a Job, key: &Secret, get: &'a dyn Get, limiter: &'a RateLimiter<S>) -> Self {
        Self { job, get, limiter, headers: headers_with(key) }
    }

    /// Fetches the whole result into a file without a name, and says its size in bytes.
    pub fn download(&self, format: ResultFormat, received: &Received) -> Result<(File, u64), Stopped> {
        let address = self.job.result_address(format);
        self.call(&address, Patience::EachPiece, Duration::ZERO, |stream| self.keep(stream, received))
    }

    /// Ends the run for a reason of the caller's.
    pub fn refuse(&self, reason: S) -> Stopped {
        self.limiter.stop(reason);
        Stopped
    }

    /// Asks until the job has ended. One that failed stops the run.
    pub fn wait_for_end(&self) -> Result<JobInfo, Stopped> {
        let shown = self.wait()?;
        shown.is_done(self.job).map_err(|error| self.stop(error))?;
        Ok(shown)
    }

    /// Asks until the job has ended, however it did.
    pub fn wait(&self) -> Result<JobInfo, Stopped> {
        let (mut questions, mut pause) = (0, Duration::ZERO);
        let mut told: Option<(Status, Duration)> = None;
        loop {
            let shown = self.ask(pause)?;
            if !matches!(shown.is_done(self.job), Ok(false)) {
                return Ok(shown);
            }
            questions += 1;
            pause = pause_before_question(questions);
            let now = self.limiter.now();
            let is_news =
                told.is_none_or(|(status, at)| status != shown.status || now.saturating_sub(at) >= TELL_EVERY);
            if is_news {
                info!("{} is {}; asking again until it has ended", self.job.name(), shown.status.name());
                told = Some((shown.status, now));
            }
        }
    }

    /// Asks once how the job is, and again where that fails.
    pub fn show(&self) -> Result<JobInfo, Stopped> {
        self.ask(Duration::ZERO)
    }

    fn ask(&self, pause: Duration) -> Result<JobInfo, Stopped> {
        self.call(&self.job.show_address(), Patience::Whole, pause, |stream| self.shown(stream))
    }

    /// Makes a call until `take` has made something of its answer.
    fn call<T>(
        &self,
        address: &str,
        patience: Patience,
        pause: Duration,
        take: impl Fn(Stream) -> Result<T, Failure<JobError>>,
    ) -> Result<T, Stopped> {
        let one_try = || match self.get.get(address, &self.headers, patience) {
            Ok(stream) => (ResponseMeta { answered: true, ..ResponseMeta::NOTHING }, take(stream)),
            Err(error) => (ResponseMeta::NOTHING, Err(answer::of_error(self.job, &error))),
        };
        retry::call(self.limiter, pause, one_try).map_err(|error| match error {
            CallError::Stopped => Stopped,
            CallError::GivenUp(reason) => {
                let (id, last) = (self.job.id.clone(), reason.into_said());
                self.stop(JobError::Broken { id, failures: MAX_FAILURES, last })
            }
        })
    }

    fn shown(&self, stream: Stream) -> Result<JobInfo, Failure<JobError>> {
        let answer = self.whole(stream, MAX_SHOW_BYTES)?;
        if answer.status != 200 || answer.is_html() {
            return Err(answer::of_answer(self.job, &answer));
        }
        if answer.body.len() > MAX_SHOW_BYTES {
            return Err(answer::unintelligible(self.job, format!("more than {MAX_SHOW_BYTES} bytes")));
        }
        JobInfo::parse(&answer.body).map_err(|problem| answer::unintelligible(self.job, problem.to_owned()))
    }

    /// Keeps the whole body in a file without a name, so that it is gone with the process, and only its owner could read it.
    /// A download that breaks is of no use to the next try.
    fn keep(&self, mut stream: Stream, received: &Received) -> Result<(File, u64), Failure<JobError>> {
        if stream.status != 200 {
            return Err(answer::of_answer(self.job, &self.whole(stream, MAX_ANSWER_BYTES)?));
        }
        let not_ours = || answer::not_treasure_data(self.job, "a web page came instead of the result");
        if declares_html(&stream.headers) {
            return Err(not_ours());
        }
        let whole = stream.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.trim().parse().ok());
        let mut file = tempfile::tempfile().map_err(|error| self.cannot_keep(error))?;
        let (mut size, mut buffer) = (0, vec![0; BUFFER_BYTES]);
        let mut next_look = LOOK_EVERY;
        has_room(&file, whole.unwrap_or_default()).map_err(|error| self.cannot_keep(error))?;
        loop {
            received.set(size, whole);
            if self.limiter.is_stopped() {
                return Err(Failure::AgainAtOnce);
            }
            match stream.body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) if size == 0 && begins_html(&buffer[..count]) => return Err(not_ours()),
                Ok(count) => {
                    file.write_all(&buffer[..count]).map_err(|error| self.cannot_keep(error))?;
                    size += count as u64;
                    if size >= next_look {
                        next_look = size + LOOK_EVERY;
                        has_room(&file, LOOK_EVERY + LEFT_TO_OTHERS).map_err(|error| self.cannot_keep(error))?;
                    }
                }
                Err(error) => return Err(self.broke_off(size, &error.to_string())),
            }
        }
        match whole {
            Some(whole) if whole != size => Err(self.broke_off(size, &format!("{whole} bytes were announced"))),
            _ => Ok((file, size)),
        }
    }

    /// Bytes that came show that the server is not down.
    fn broke_off(&self, size: u64, said: &str) -> Failure<JobError> {
        if self.limiter.is_stopped() {
            return Failure::AgainAtOnce;
        }
        let said = format!("the download broke off at byte {size} ({said})");
        if size > 0 { Failure::BrokeOff(said) } else { Failure::Again { said, pause: None } }
    }

    fn whole(&self, stream: Stream, most: usize) -> Result<Answer, Failure<JobError>> {
        let Stream { status, headers, body } = stream;
        let body = body.read_up_to(most).map_err(|error| answer::of_error(self.job, &error))?;
        Ok(Answer { status, headers, body })
    }

    fn stop(&self, error: JobError) -> Stopped {
        self.refuse(error.into())
    }

    fn cannot_keep(&self, error: io::Error) -> Failure<JobError> {
        let folder = std::env::temp_dir().display().to_string();
        Failure::Final(JobError::CannotKeep { id: self.job.id.clone(), folder, error })
    }
}

/// An error where the disk of a file has no room for so many more bytes.
fn has_room(file: &File, bytes: u64) -> io::Result<()> {
    let disk = rustix::fs::fstatvfs(file)?;
    if disk.f_bavail.saturating_mul(disk.f_frsize) < bytes { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
}

/// What every call sends.
pub fn headers_with(key: &Secret) -> HeaderMap {
    let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("*/*"))]);
    // A key that cannot stand in a header is refused like any wrong one; that it has no control character is known.
    if let Ok(mut value) = HeaderValue::from_str(&format!("TD1 {}", key.expose())) {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    headers
}

impl Received {
    fn set(&self, bytes: u64, whole: Option<u64>) {
        self.bytes.store(bytes, Ordering::Relaxed);
        self.whole.store(whole.unwrap_or_default(), Ordering::Relaxed);
    }

    /// What came, and of how much, where that is known.
    pub fn so_far(&self) -> (u64, Option<u64>) {
        let whole = self.whole.load(Ordering::Relaxed);
        (self.bytes.load(Ordering::Relaxed), Some(whole).filter(|whole| *whole > 0))
    }
}

#[cfg(test)]
mod tests;
