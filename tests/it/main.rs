//! The real binary, with a clean environment, against the sandbox and against servers that misbehave on purpose.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "in a test a panic is the message, and the name of the test is its documentation"
)]

mod account;
mod answers;
mod check;
mod checkpoint;
mod delivery;
mod dry_run;
mod endpoint;
mod failed_file;
mod formats;
mod input;
mod naming;
mod operator;
mod operator_errors;
mod retries;
mod sandbox_command;
mod scripted;
mod secrets;
mod settings;
mod stop;
mod support;
