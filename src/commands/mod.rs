//! In: the command line, signals, Digdag's files. Out: the report, OUTPUT.json, an exit code.
//!
//! One file per command; `pipeline` is a run from settings to report. No other module knows exit codes. It never parses rows or bodies.

use thiserror::Error;

use crate::commands::exit::Exit;
use crate::commands::outcome::Stop;
use crate::delivery::failed_file::FailuresError;
use crate::input::error::InputError;
use crate::settings::ConfigError;

pub mod check;
pub mod cli;
mod context;
pub mod digdag;
mod dry_run;
pub mod exit;
pub mod init;
pub mod job;
pub mod matching;
pub mod mirror;
pub mod network;
pub mod operator;
pub mod outcome;
pub mod parent;
mod phases;
pub mod pipeline;
pub mod sandbox;
pub mod schema;
pub mod signals;
pub mod table;
pub mod upload;
mod watch;

/// Why a command could not begin its work. What ends a run that has begun is a [`Stop`].
#[derive(Debug, Error)]
pub enum CommandError {
    /// Settings, credentials, usage.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The input.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] crate::sandbox::Error),
    /// A folder that `init` cannot write, or a file of Digdag's protocol that cannot be used.
    #[error("{what} {problem}")]
    Unusable {
        /// The command or the file.
        what: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A file that must be written cannot be.
    #[error("{what} cannot be written: {error} (check the folder's free space and permissions)")]
    CannotWrite {
        /// Which file.
        what: String,
        /// The system's error.
        error: std::io::Error,
    },
    /// `failed_file` cannot be written.
    #[error(transparent)]
    Failures(#[from] FailuresError),
    /// The handler of signals cannot be installed.
    #[error("the handler of SIGINT and SIGTERM cannot be installed: {0}. Nothing was sent")]
    Signals(#[source] std::io::Error),
    /// It was stopped before it had counted anything.
    #[error(transparent)]
    Stopped(Box<Stop>),
}

impl From<Stop> for CommandError {
    fn from(stop: Stop) -> Self {
        Self::Stopped(Box::new(stop))
    }
}

impl CommandError {
    /// The exit code for this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Sandbox(_) | Self::Unusable { .. } => Exit::Usage,
            Self::Input(_) => Exit::Input,
            Self::CannotWrite { .. } | Self::Failures(_) => Exit::CannotWrite,
            Self::Signals(_) => Exit::Defect,
            Self::Stopped(stop) => stop.exit(),
        }
    }
}

/// A variable of the environment.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
