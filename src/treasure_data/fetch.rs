//! Waits for a job to end, and downloads its result into a file without a name. If that ends early, the limiter has the
//! reason.

use std::fs::File;
use std::io::{self, Write};
use std::time::Duration;

use log::info;

use super::show::{JobInfo, Status};
use super::tables::{Api, TryError};
use super::{Job, JobError, answer};
use crate::http::header::CONTENT_LENGTH;
use crate::http::{Call, MAX_ANSWER_BYTES, Stream, begins_html, declares_html};
use crate::retry::{Failure, Stopped};

/// The longest answer of `job/show` that is read, in bytes. It contains the query and the schema.
pub const MAX_SHOW_BYTES: usize = 1024 * 1024;
/// How often a running job is logged.
const TELL_EVERY: Duration = Duration::from_mins(1);
const BUFFER_BYTES: usize = 64 * 1024;
/// After how many written bytes the free disk space is checked.
const CHECK_EVERY: u64 = 16 << 20;
/// The free space that a result longer than [`CHECK_EVERY`] leaves on the disk, in bytes.
const LEFT_FREE: u64 = 64 << 20;

impl<S: From<JobError>> Api<'_, S> {
    /// Downloads the whole result into a file without a name, and returns its size in bytes.
    pub fn download(&self, job: &Job, format: &str) -> Result<(File, u64), Stopped> {
        let address = job.result_address(format);
        self.call(job, Duration::ZERO, || self.keep(job, self.ask(&address, Call::Download)?))
    }

    /// Asks until the job has ended, successfully or not.
    pub fn wait(&self, job: &Job) -> Result<JobInfo, Stopped> {
        let mut pause = Duration::ZERO;
        let mut told: Option<(Status, Duration)> = None;
        loop {
            let shown = self.show_after(job, pause)?;
            if !matches!(shown.is_done(), Ok(false)) {
                return Ok(shown);
            }
            pause = longer(pause);
            let now = self.limiter().now();
            let is_news =
                told.is_none_or(|(status, at)| status != shown.status || now.saturating_sub(at) >= TELL_EVERY);
            if is_news {
                info!("{} is {}; asking again until it has ended", job.name(), shown.status);
                told = Some((shown.status, now));
            }
        }
    }

    /// The state of the job.
    pub fn show(&self, job: &Job) -> Result<JobInfo, Stopped> {
        self.show_after(job, Duration::ZERO)
    }

    fn show_after(&self, job: &Job, pause: Duration) -> Result<JobInfo, Stopped> {
        self.call(job, pause, || {
            let answer = self.ask(&job.show_address(), Call::Get)?.into_answer(MAX_SHOW_BYTES)?;
            if answer.status != 200 || answer.is_html() {
                return Err(answer::of_answer(job, &answer).into());
            }
            let info = JobInfo::parse(job, &answer.body);
            info.ok_or_else(|| answer::unintelligible(job, "the answer does not describe a job".to_owned()).into())
        })
    }

    /// Writes the whole body into a file without a name: only its owner can read it, and it disappears with the
    /// process. A broken download starts again.
    fn keep(&self, job: &Job, mut stream: Stream) -> Result<(File, u64), TryError> {
        if stream.status != 200 {
            return Err(answer::of_answer(job, &stream.into_answer(MAX_ANSWER_BYTES)?).into());
        }
        let not_ours = || Err(answer::not_treasure_data(job, "a web page came instead of the result").into());
        if declares_html(&stream.headers) {
            return not_ours();
        }
        let whole = stream.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.trim().parse().ok());
        let cannot_keep = |error| cannot_keep(job, error);
        let mut file = tempfile::tempfile().map_err(cannot_keep)?;
        let (mut size, mut buffer) = (0, vec![0; BUFFER_BYTES]);
        let mut next_check = CHECK_EVERY;
        has_room(&file, whole.unwrap_or_default()).map_err(cannot_keep)?;
        loop {
            if self.limiter().is_stopped() {
                return Err(Failure::AgainAtOnce.into());
            }
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) if size == 0 && begins_html(&buffer[..count]) => return not_ours(),
                Ok(count) => {
                    file.write_all(&buffer[..count]).map_err(cannot_keep)?;
                    size += count as u64;
                    if size >= next_check {
                        next_check = size + CHECK_EVERY;
                        has_room(&file, CHECK_EVERY + LEFT_FREE).map_err(cannot_keep)?;
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

    /// If some bytes of the body came, the server is not down.
    fn broke_off(&self, size: u64, said: &str) -> TryError {
        let said = format!("the download broke off at byte {size} ({said})");
        let failure = match size {
            _ if self.limiter().is_stopped() => Failure::AgainAtOnce,
            0 => Failure::Again { said, pause: None },
            _ => Failure::BrokeOff(said),
        };
        failure.into()
    }
}

/// The pause before a running job is asked about again: 1 s after the first question, then longer, up to 10 s.
fn longer(pause: Duration) -> Duration {
    (pause * 3 / 2).clamp(Duration::from_secs(1), Duration::from_secs(10))
}

fn cannot_keep(job: &Job, error: io::Error) -> TryError {
    let folder = std::env::temp_dir().display().to_string();
    Failure::Final(JobError::CannotKeep { id: job.id.clone(), folder, error }).into()
}

/// Fails if the file's disk has less free space than this.
fn has_room(file: &File, bytes: u64) -> io::Result<()> {
    let disk = rustix::fs::fstatvfs(file)?;
    if disk.f_bavail.saturating_mul(disk.f_frsize) < bytes { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
