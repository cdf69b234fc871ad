//! In: the number of a job, or a query; names of tables. Out: their state in Treasure Data, and a job's result as a
//! file. It knows nothing of cohorts or the meaning of columns.
//!
//! ```text
//! GET /v3/job/show/ID ──> queued, booting, running: asked again ──> success: columns, number of rows
//! GET /v3/job/result/ID?format=msgpack.gz ──> a file without a name ──> source
//! ```

use std::io;

use thiserror::Error;

use crate::http::endpoint::Endpoint;
use show::Status;

pub mod address;
pub mod answer;
pub mod fetch;
pub mod show;
pub mod tables;

/// The result format with a `MessagePack` array per row, compressed with gzip.
pub const MSGPACK: &str = "msgpack.gz";
/// The result format with a JSON array per line.
pub const JSON: &str = "json";

/// A job, and its server.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its number, in digits.
    pub id: String,
    /// Treasure Data's API.
    pub server: Endpoint,
}

impl Job {
    /// The address of its state.
    pub fn show_address(&self) -> String {
        format!("{}/v3/job/show/{}", self.server, self.id)
    }

    /// The address of its result, in this format.
    pub fn result_address(&self, format: &str) -> String {
        format!("{}/v3/job/result/{}?format={format}", self.server, self.id)
    }

    /// For messages.
    pub fn name(&self) -> String {
        format!("job {}", self.id)
    }
}

/// Why a call of Treasure Data ends the run.
#[derive(Debug, Error)]
pub enum JobError {
    /// It ended without a result.
    #[error(
        "job {id} ended with the status '{status}' and has no result: its log in Treasure Data's console has the reason. Fix the \
         query, and run the workflow again"
    )]
    Failed {
        /// The job's number.
        id: String,
        /// `error` or `killed`.
        status: Status,
    },
    /// 404.
    #[error(
        "{server} has no job {id}, or no result of it (404): check job_id, that TD_API_SERVER is the job's site, and that the user of \
         TD_API_KEY may read the job. If the result has expired, run the query again"
    )]
    Unknown {
        /// The job's number.
        id: String,
        /// The called server.
        server: String,
    },
    /// It has no columns.
    #[error(
        "job {id} has no result (no hive_result_schema). It may be an INSERT or a CREATE: set job_id to the job of a SELECT"
    )]
    NoResult {
        /// The job's number.
        id: String,
    },
    /// Its columns cannot be read.
    #[error(
        "job {id}: its hive_result_schema (the list of columns) {problem}: run the query again, or set input to its result as a file"
    )]
    Schema {
        /// The job's number.
        id: String,
        /// What is wrong with them.
        problem: &'static str,
    },
    /// 401, or 403 from Treasure Data itself.
    #[error(
        "{server} refused the key ({said}): check TD_API_KEY, and that TD_API_SERVER is the key's site. If your Treasure Data account has an \
         IP allow-list, this machine must be on it; the containers of hosted workflows may have other addresses than Treasure Data's exports"
    )]
    Credentials {
        /// The called server.
        server: String,
        /// Its message.
        said: String,
    },
    /// The answer comes from something else.
    #[error(
        "the answer from {server} is not Treasure Data's: {said} (check TD_API_SERVER, the proxy and the firewall)"
    )]
    NotTreasureData {
        /// The called server.
        server: String,
        /// What is wrong with it.
        said: String,
    },
    /// Any other refusal.
    #[error(
        "Treasure Data refused the call to {server} ({said}): check job_id, if it is set, or ask Treasure Data support"
    )]
    Refused {
        /// The called server.
        server: String,
        /// Its message.
        said: String,
    },
    /// A certificate, or a proxy.
    #[error("{server}: {said}")]
    Configuration {
        /// The called server.
        server: String,
        /// What is wrong.
        said: String,
    },
    /// A call failed again and again, while others got through.
    #[error("{call} failed {failures} times (last: {said}); run it again later")]
    GaveUp {
        /// `a call to SERVER`, with the job if it was about one.
        call: String,
        /// How many times.
        failures: u32,
        /// The last failure.
        said: String,
    },
    /// The temporary file cannot be written.
    #[error(
        "the result of job {id} cannot be written to a temporary file in {folder}: {error} (set TMPDIR to a folder with free \
         space)"
    )]
    CannotKeep {
        /// The job's number.
        id: String,
        /// The folder of temporary files.
        folder: String,
        /// The system's error.
        error: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_are_those_of_the_job_api() {
        let job = Job { id: "123".to_owned(), server: Endpoint::of_sandbox("https://api.treasuredata.com".to_owned()) };
        assert_eq!(job.show_address(), "https://api.treasuredata.com/v3/job/show/123");
        assert_eq!(job.result_address(MSGPACK), "https://api.treasuredata.com/v3/job/result/123?format=msgpack.gz");
    }
}
