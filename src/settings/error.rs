//! What can be wrong with settings.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::credentials;
use super::raw::Origin;
use super::setting::{Key, Unset, names};
use super::template::TemplateError;
use super::values;
use crate::http::endpoint::EndpointError;
use crate::http::proxy::ProxyError;
use crate::http::tls::TrustError;

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
    /// Settings that must be there are not.
    #[error("missing settings: {}. Write {}{}", names(.keys), hints(.keys), belong(.outside))]
    Missing {
        /// Which.
        keys: Vec<Key>,
        /// Names of settings that stand in a workflow where none is read.
        outside: Vec<String>,
    },
    /// A setting that decides where the keys go, and stands where others than the owner of the file may write.
    #[error(
        "{origin}: {} is taken from the config file{} alone, as it decides where the keys go", .key.name(), or_variable(*.key)
    )]
    Misplaced {
        /// Which.
        key: Key,
        /// Where it stands.
        origin: Origin,
    },
    /// A value that `init` left open.
    #[error("{origin}: {name} still holds the placeholder <your ...>: write your own value in its place")]
    Placeholder {
        /// Which.
        name: String,
        /// Where it stands.
        origin: Origin,
    },
    /// A value that is not finished.
    #[error("{origin}: {} holds ${{...}}, {}", .key.name(), finish(.origin, *.key))]
    Unfilled {
        /// Which.
        key: Key,
        /// Where it stands.
        origin: Origin,
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
    #[error("the environment variable {} has to be text or json, not '{}'", .variable, values::shortened(.value))]
    LogFormat {
        /// Its name.
        variable: &'static str,
        /// What it holds.
        value: String,
    },
    /// There is a state only of a mirror.
    #[error("--status is for operation: mirror, the only one that keeps a state")]
    NoMirror,
    /// A mirror keeps its state for a cohort that stays.
    #[error(
        "operation: mirror cannot be tried with --sandbox, as its state in Treasure Data would be that of a cohort that is gone at the end: try it \
         with --dry-run, or with the command sandbox and its address as the endpoint"
    )]
    MirrorInSandbox,
    /// A credential on the command line, where every user of the machine can read it.
    #[error(
        "credentials do not belong on the command line; they come from the environment alone, as {}",
        credentials::names()
    )]
    CredentialOnCommandLine,
}

impl ConfigError {
    /// Says of settings that are missing which ones stand where a workflow's are not read.
    #[must_use]
    pub fn with_outside(self, names: &[String]) -> Self {
        match self {
            Self::Missing { keys, .. } => Self::Missing { keys, outside: names.to_vec() },
            other => other,
        }
    }
}

fn hints(keys: &[Key]) -> String {
    let hint = |key: &Key| match key.setting().unset {
        Unset::Required { hint, .. } => hint,
        Unset::Default(_) | Unset::Means(_) => key.name(),
    };
    keys.iter().map(hint).collect::<Vec<_>>().join("; ")
}

fn belong(outside: &[String]) -> String {
    if outside.is_empty() {
        return String::new();
    }
    format!(
        ". In a workflow settings belong into the map braze_cohort: of the task; not read is what stands outside of it: {}",
        outside.join(", ")
    )
}

fn or_variable(key: Key) -> String {
    key.setting().variable.map_or_else(String::new, |variable| format!(", or from {variable} in the environment,"))
}

fn finish(origin: &Origin, key: Key) -> &'static str {
    match origin {
        _ if !key.setting().from_workflow => "and it is never filled in: write what is meant",
        Origin::Map | Origin::Parameter => {
            "which Digdag did not fill in, as it does with a variable that is a template itself: write the expression itself in its \
             place, or put the setting into the config file"
        }
        Origin::File { .. } => "after its template was filled in: give the variable a finished value",
        Origin::Flag(_) | Origin::Environment(_) => "which nobody fills in there: write what is meant",
    }
}
