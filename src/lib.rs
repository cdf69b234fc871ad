//! Brings a Treasure Data query result into a Braze cohort. The modules, in the order in which data meets them:
//!
//! ```text
//! config ──> source ──> rows ────> identifier ──> batch ──> body ──> upload (braze, retry) ───────> account
//!  what is    files,     csv, json,  which cell is   ≤ 1,000   bytes    thread_count workers,         what was read,
//!  asked for  stdin      msgpack     which one                 to send  every outcome counted         delivered, refused
//! ```
//! Rows flow to the right, outcomes flow into the account; nothing turns back. ARCHITECTURE.md is the longer picture.

#![forbid(unsafe_code)]

pub mod cli;
pub mod command;
pub mod config;
pub mod digdag;

pub mod batch;
pub mod body;
pub mod columns;
pub mod identifier;
pub mod input;
pub mod operation;
pub mod reader;
pub mod removals;
pub mod rows;
pub mod source;

pub mod braze;
pub mod http;
pub mod retry;
pub mod stop;
pub mod td;
pub mod upload;

pub mod account;
pub mod exit;
pub mod failures;
pub mod log_format;
pub mod progress;
pub mod sandbox;
pub mod secret;
pub mod shutdown;
pub mod terminal;

mod nearest;
mod place;
