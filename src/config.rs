//! What is asked for. Layers of written settings (YAML, parameters, flags) become one checked [`Config`], exactly once.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

pub mod credentials;
pub mod endpoint;
pub mod key;
pub mod raw;
pub mod schema;
pub mod template;
mod values;

use crate::columns::Names;
use crate::http::proxy::ProxyError;
use crate::http::tls::TrustError;
use crate::log_format;
use crate::operation::Operations;
use crate::place;
use crate::reader::Pass;
use crate::removals::RemovalLimits;
use crate::rows::format::Form;
use crate::source::Input;
use endpoint::{Endpoint, EndpointError};
use key::Key;
use raw::{Layer, Origin, Raw, Written};
use template::{Lookup, TemplateError};
use values::Values;
pub use values::parse_duration;

/// The settings of one upload, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The cohort's identifier at Braze.
    pub cohort_id: String,
    /// Its name, where one was set.
    pub cohort_name: Option<String>,
    /// Add or remove, or both.
    pub operations: Operations,
    /// What the columns are called.
    pub names: Names,
    /// Requests at once, 1 to 256.
    pub thread_count: usize,
    /// Where to; none where neither a setting nor the environment says it.
    pub endpoint: Option<Endpoint>,
    /// More hosts that may be called.
    pub allow_endpoint: Vec<String>,
    /// Certificates of further CAs to trust.
    pub ca_file: Option<PathBuf>,
    /// The partner's segment in Braze's path.
    pub partner: String,
    /// What to read; none where nothing says it.
    pub input: Option<Input>,
    /// The job whose result is to be read; there is no `input` then, until it is fetched.
    pub job_id: Option<String>,
    /// Format and columns, as far as they are set.
    pub form: Form,
    /// The rows that the input must have.
    pub expected_rows: Option<u64>,
    /// How much may be rejected.
    pub max_rejected: MaxRejected,
    /// When a delta removes too many; none where it is no delta.
    pub removal_limits: Option<RemovalLimits>,
    /// Where the identifiers go that did not arrive.
    pub failed_file: Option<PathBuf>,
    /// How long nothing may get through.
    pub max_outage: Duration,
    /// How long the run may take.
    pub max_duration: Duration,
    /// Requests in any hour.
    pub max_requests_per_hour: u64,
}

/// The limit past which rejected cells and rows stop the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxRejected {
    /// 1 % of the rows read, and at least 1,000.
    Default,
    /// So many.
    Count(u64),
    /// So many of a hundred rows read.
    Percent(u64),
}

impl MaxRejected {
    /// Whether so many rejections of so many rows are too many.
    pub fn is_passed(self, rejected: u64, rows_read: u64) -> bool {
        match self {
            Self::Default => rejected > (rows_read / 100).max(1000),
            Self::Count(count) => rejected > count,
            Self::Percent(percent) => u128::from(rejected) * 100 > u128::from(rows_read) * u128::from(percent),
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the config file {} cannot be read: {error} (paths are relative to the working directory)", .path.display())]
    Unreadable {
        /// As it was given.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file is no map of our settings.
    #[error("{origin}: {message}")]
    Yaml {
        /// The file, and the line where that is known.
        origin: Origin,
        /// What is wrong.
        message: String,
    },
    /// A key of the workflow's map is none of ours.
    #[error("{origin}: {message}")]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// What is wrong.
        message: String,
    },
    /// A setting that must be there is not.
    #[error("{} is required and not set: {hint}", .key.name())]
    Missing {
        /// Which.
        key: Key,
        /// How to set it.
        hint: &'static str,
    },
    /// A value of the wrong type or outside its range.
    #[error("{origin}: {} {expected}", .key.name())]
    Value {
        /// Which.
        key: Key,
        /// Where it stands.
        origin: Origin,
        /// What it has to be, and what it is.
        expected: String,
    },
    /// A template in a value.
    #[error("{origin}: {}: {error}", .key.name())]
    Template {
        /// Which.
        key: Key,
        /// Where it stands.
        origin: Origin,
        /// Why it cannot be filled in.
        error: TemplateError,
    },
    /// The endpoint.
    #[error("{origin}: the endpoint {error}")]
    Endpoint {
        /// Where it stands.
        origin: Origin,
        /// Why it is refused.
        error: EndpointError,
    },
    /// The address of Treasure Data's API.
    #[error("{origin}: the address of Treasure Data's API {error}")]
    TdServer {
        /// Where it stands.
        origin: Origin,
        /// Why it is refused.
        error: EndpointError,
    },
    /// The certificates of further CAs.
    #[error("ca_file {} {error}", .path.display())]
    CaFile {
        /// As it was given.
        path: PathBuf,
        /// Why it cannot be used.
        error: TrustError,
    },
    /// A variable of the environment that is to name a proxy.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// One file in two places of the settings, of which one would destroy the other.
    #[error("{} and {} are the same file: give each its own", .first.name(), .second.name())]
    SameFile {
        /// One.
        first: Key,
        /// The other.
        second: Key,
    },
    /// A credential that is not there.
    #[error("{variable} {problem}. It is {whose}; in a workflow set it under _env: {variable}: ${{secret:{secret}}}")]
    Credential {
        /// The variable of the environment.
        variable: &'static str,
        /// What is wrong with it.
        problem: &'static str,
        /// Where it is to be had.
        whose: &'static str,
        /// A name for it among the workflow's secrets.
        secret: &'static str,
    },
    /// The variable that says how log lines are written.
    #[error("the environment variable {} has to be text or json, not '{}'", log_format::VARIABLE, values::shortened(.value))]
    LogFormat {
        /// What it holds.
        value: String,
    },
    /// A credential on the command line, where every user of the machine can read it.
    #[error(
        "credentials do not belong on the command line; they come from the environment alone, as BRAZE_CLIENT_SECRET, \
         BRAZE_PARTNER_API_KEY and TD_API_KEY"
    )]
    CredentialOnCommandLine,
}

/// Reads the settings of a YAML file and fills in their templates; those that a layer above takes the place of are left out, as
/// nobody may be there to fill them in.
pub fn read_file(path: &Path, lookup: &dyn Lookup, above: &Layer) -> Result<Layer, ConfigError> {
    let mut bytes = Vec::new();
    // One byte more than may be, so that a device without an end is told from a file that just fits.
    File::open(path)
        .and_then(|file| file.take(raw::MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
    raw::check_size(path, &bytes)?;
    let text = String::from_utf8(bytes).map_err(|_| raw::unusable(path, "it is not UTF-8 text: save it as UTF-8"))?;
    raw::from_yaml(path, text.trim_start_matches('\u{feff}'))?
        .into_iter()
        .filter(|(key, _)| !is_set(above, *key) && !counterpart(*key).is_some_and(|other| is_set(above, other)))
        .map(|(key, Written { raw, origin })| match template::expand(raw, lookup) {
            Ok(raw) => Ok((key, Written { raw, origin })),
            Err(error) => Err(ConfigError::Template { key, origin, error }),
        })
        .collect()
}

/// Puts a later layer over an earlier one, key by key. What is null in the later one changes nothing. A file and a job are
/// two ways to say what is read, so one of them takes the place of the other.
pub fn overlay(below: &mut Layer, above: Layer) {
    let above: Layer = above.into_iter().filter(|(_, written)| written.raw != Raw::Null).collect();
    for other in above.keys().filter_map(|key| counterpart(*key)) {
        below.remove(&other);
    }
    below.extend(above);
}

/// The other way to say the same.
fn counterpart(key: Key) -> Option<Key> {
    match key {
        Key::Input => Some(Key::JobId),
        Key::JobId => Some(Key::Input),
        _ => None,
    }
}

fn is_set(layer: &Layer, key: Key) -> bool {
    layer.get(&key).is_some_and(|written| written.raw != Raw::Null)
}

impl Config {
    /// Checks every setting. `environment_endpoint` is what `BRAZE_ENDPOINT` holds.
    pub fn check(layer: &Layer, environment_endpoint: Option<String>) -> Result<Self, ConfigError> {
        let values = Values(layer);
        let cohort_id = values.text(Key::CohortId)?.ok_or(ConfigError::Missing {
            key: Key::CohortId,
            hint: "the identifier under which Braze keeps the cohort, such as cohort_id: vip_customers",
        })?;
        let operations = values.operations()?;
        let (max_outage, max_duration) = (Duration::from_mins(15), Duration::from_hours(23));
        Ok(Self {
            cohort_id,
            cohort_name: values.text(Key::CohortName)?,
            names: values.names_of_columns(operations.column())?,
            operations,
            thread_count: values.thread_count()?,
            endpoint: values.endpoint(environment_endpoint)?,
            allow_endpoint: values.allow_endpoint()?,
            ca_file: values.text(Key::CaFile)?.map(PathBuf::from),
            partner: values.partner()?,
            job_id: values.job_id()?,
            input: values.input()?,
            form: values.form()?,
            expected_rows: values.whole_number(Key::ExpectedRows)?,
            max_rejected: values.max_rejected()?,
            removal_limits: values.removal_limits()?,
            failed_file: values.text(Key::FailedFile)?.map(PathBuf::from),
            max_outage: values.duration(Key::MaxOutage)?.unwrap_or(max_outage),
            max_duration: values.duration(Key::MaxDuration)?.unwrap_or(max_duration),
            max_requests_per_hour: values.max_requests_per_hour()?,
        })
    }

    /// The endpoint, where one has to be there.
    pub fn required_endpoint(&self) -> Result<&Endpoint, ConfigError> {
        self.endpoint.as_ref().ok_or(ConfigError::Missing {
            key: Key::Endpoint,
            hint: "the REST endpoint of your Braze instance, such as endpoint: US-03 or https://rest.iad-03.braze.com, or \
                   BRAZE_ENDPOINT in the environment (for a trial without Braze: --sandbox)",
        })
    }

    /// The input, where one has to be there.
    pub fn required_input(&self) -> Result<&Input, ConfigError> {
        self.input.as_ref().ok_or(ConfigError::Missing {
            key: Key::Input,
            hint: "the file with the query's result, such as input: members.csv, or --input PATH, or - for standard input; \
                   or, in its place, the Treasure Data job that has the result: job_id: ${td.last_job_id}",
        })
    }

    /// Which rows are read first.
    pub fn first_pass(&self) -> Pass {
        match &self.operations {
            Operations::One(operation) => Pass::Every(*operation),
            Operations::Column(_) => Pass::Removals,
        }
    }

    /// Whether input and file of failures are different files.
    pub fn check_files(&self) -> Result<(), ConfigError> {
        // A file that is not there yet is told by its folder.
        let place = |path: &Path| {
            let path = place::resolve(path).unwrap_or(path.to_owned());
            let in_folder = || Ok(place::folder_of(&path).canonicalize()?.join(path.file_name().unwrap_or_default()));
            path.canonicalize().or_else(|_: io::Error| in_folder()).unwrap_or_else(|_: io::Error| path.clone())
        };
        // Whatever is wrong with the input is said when it is opened.
        let inputs = self.input.as_ref().and_then(|input| input.files().ok()).unwrap_or_default();
        let inputs: Vec<_> = inputs.iter().map(|path| place(path)).collect();
        if self.failed_file.as_deref().is_some_and(|path| inputs.contains(&place(path))) {
            return Err(ConfigError::SameFile { first: Key::Input, second: Key::FailedFile });
        }
        Ok(())
    }

    /// The name that Braze shows: the cohort ID where no name was set.
    pub fn shown_name(&self) -> &str {
        self.cohort_name.as_deref().unwrap_or(&self.cohort_id)
    }
}
