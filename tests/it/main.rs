//! The real binary, with a clean environment, against the sandbox and against servers that misbehave on purpose.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "in a test a panic is the message, and the name of the test is its documentation"
)]

mod answers;
mod architecture;
mod book;
mod canary;
mod check;
mod deadlines;
mod delivery;
mod documented;
mod documents;
mod dry_run;
mod endpoint;
mod failed_file;
mod faulty;
mod formats;
mod front;
mod fuzz;
mod hostile_input;
mod hostile_settings;
mod init;
mod input;
mod kills;
mod limits;
mod matching;
mod matrix;
mod messages;
mod mirror;
mod mixed;
mod model;
mod naming;
mod network;
mod operator;
mod operator_errors;
mod outputs;
mod panics;
mod parent;
mod places;
mod proxy;
mod rates;
mod report;
mod retries;
mod rig;
mod sandbox_command;
mod schema;
mod scripted;
mod secrets;
mod settings;
mod stop;
mod support;
mod td;
mod td_job;
mod tls;
mod virtual_clock;
mod warehouse;
mod workflows;
