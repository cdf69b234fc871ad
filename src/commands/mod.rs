//! In: the command line, signals, Digdag's files. Out: the report, OUTPUT.json, an exit code.
//!
//! One file per command; `pipeline` is a run from settings to report. No other module decides on exit codes. It never parses
//! rows or bodies.

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

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
