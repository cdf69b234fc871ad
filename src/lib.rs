//! Brings a Treasure Data query result into a Braze cohort. The modules, in the order in which data meets them:
//!
//! ```text
//! settings ──> input ──────────────────────────────> delivery ────────────────> report
//!              source ─> formats ─> columns, cells    queue ─> workers           what was read,
//!              ─> batches of at most 1,000            (braze, retry, http)       delivered, refused
//! ```
//! Rows flow to the right, and counts flow into the report; nothing flows back. ARCHITECTURE.md has the details.

#![forbid(unsafe_code)]

pub mod commands;
pub mod settings;

pub mod report;

pub mod mirror;

pub mod braze;
pub mod delivery;
pub mod matching;
pub mod treasure_data;

pub mod input;

pub mod http;
pub mod retry;

pub mod members;

pub mod secret;
pub mod terminal;

pub mod sandbox;
