//! What can be wrong with settings.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::credentials;
use super::raw::Origin;
use super::setting::{Key, Unset, names};
use super::template::TemplateError;
use crate::http::endpoint::EndpointError;
use crate::http::proxy::ProxyError;
use crate::http::tls::TrustError;

/// Why settings cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the config file {} cannot be read: {error} (paths are relative to the working directory)", .path.display())]
    Unreadable {
        /// As given.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The file, or the workflow's map, is not a map of our settings.
    #[error("{origin}: {message}")]
    Malformed {
        /// Where it is, with the line in a file if it is known.
        origin: Origin,
        /// What is wrong.
        message: String,
    },
    /// Required settings are not set.
    #[error("missing settings: {}. Set {}{}", names(.keys), hints(.keys), belong(.outside))]
    Missing {
        /// Which ones.
        keys: Vec<Key>,
        /// Names of settings that are in the workflow, but outside of the map that we read.
        outside: Vec<String>,
    },
    /// A setting that decides where the keys are sent, where others than the file's owner may write.
    #[error(
        "{origin}: {} may only be set in the config file{}, because it decides where the keys are sent", .key.name(), or_variable(*.key)
    )]
    Misplaced {
        /// Which.
        key: Key,
        /// Where it is set.
        origin: Origin,
    },
    /// A placeholder of `init` is left.
    #[error("{origin}: {name} is still the placeholder <your ...>: replace it with your value")]
    Placeholder {
        /// Which.
        name: String,
        /// Where it is set.
        origin: Origin,
    },
    /// A value contains a template that was not filled in.
    #[error("{origin}: {} contains ${{...}}, {}", .key.name(), finish(.origin, *.key))]
    Unfilled {
        /// Which.
        key: Key,
        /// Where it is set.
        origin: Origin,
    },
    /// A value has the wrong type or is out of range.
    #[error("{origin}: {} {expected}", .key.name())]
    Value {
        /// Which.
        key: Key,
        /// Where it is set.
        origin: Origin,
        /// What it must be, and what it is.
        expected: String,
    },
    /// A template cannot be filled in.
    #[error("{origin}: {}: {error}", .key.name())]
    Template {
        /// Which.
        key: Key,
        /// Where it is set.
        origin: Origin,
        /// Why it cannot be filled in.
        error: TemplateError,
    },
    /// A refused address for the keys.
    #[error("{origin}: the {what} {error}")]
    Address {
        /// Where it is set.
        origin: Origin,
        /// Whose address it is.
        what: &'static str,
        /// Why it is refused.
        error: EndpointError,
    },
    /// `ca_file` cannot be used.
    #[error("ca_file {} {error}", .path.display())]
    CaFile {
        /// As given.
        path: PathBuf,
        /// Why it cannot be used.
        error: TrustError,
    },
    /// The proxy in a variable of the environment cannot be used.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// `failed_file` would overwrite the input.
    #[error("input and failed_file are the same file: use two files")]
    SameFile,
    /// A credential is missing or unusable.
    #[error("{variable} {problem}. It is {whose}; in a workflow set it under _env: {variable}: ${{secret:{secret}}}")]
    Credential {
        /// The environment variable.
        variable: &'static str,
        /// What is wrong with it.
        problem: &'static str,
        /// What it is, and where to get it.
        whose: &'static str,
        /// A name for it among the workflow's secrets.
        secret: &'static str,
    },
    /// `check --status` needs a mirror.
    #[error("--status needs operation: mirror; no other operation keeps a state")]
    NoMirror,
    /// A mirror with `--sandbox`.
    #[error(
        "operation: mirror does not work with --sandbox: its state in Treasure Data would outlive that sandbox, which ends with the \
         run. Use --dry-run, or a sandbox that keeps running: start td-braze-cohort sandbox, and set endpoint to its address"
    )]
    MirrorInSandbox,
    /// A credential on the command line.
    #[error(
        "credentials must not appear on the command line, where other users can read them: set {} in the environment",
        credentials::names()
    )]
    CredentialOnCommandLine,
}

impl ConfigError {
    /// Adds settings outside of the workflow's map to an error about missing ones.
    #[must_use]
    pub fn with_outside(self, names: &[String]) -> Self {
        match self {
            Self::Missing { keys, .. } => Self::Missing { keys, outside: names.to_vec() },
            other => other,
        }
    }
}

fn hints(keys: &[Key]) -> String {
    let hint = |key: &Key| if let Unset::Required { hint, .. } = key.setting().unset { hint } else { key.name() };
    keys.iter().map(hint).collect::<Vec<_>>().join("; ")
}

fn belong(outside: &[String]) -> String {
    if outside.is_empty() {
        return String::new();
    }
    format!(
        ". In a workflow, settings are read only from the map braze_cohort: and its config file. These are outside of it: {}. Move them \
         into it",
        outside.join(", ")
    )
}

fn or_variable(key: Key) -> String {
    key.setting().variable.map_or_else(String::new, |variable| format!(" or as {variable} in the environment"))
}

fn finish(origin: &Origin, key: Key) -> &'static str {
    match origin {
        _ if !key.setting().from_workflow => "which is never filled in for this setting: write the value itself",
        Origin::Map | Origin::Parameter => {
            "which Digdag did not fill in, because the value of that variable contains ${...} too. Write the inner ${...} here, or set \
             it in the config file"
        }
        Origin::File { .. } => {
            "because the value of one of its variables contains ${...}: give that variable a value without ${...}"
        }
        Origin::Flag(_) | Origin::Environment(_) => "which is not filled in there: write the value itself",
    }
}
