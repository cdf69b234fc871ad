//! In: the counts of input and delivery. Out: text, JSON, progress. It counts nothing itself, and does not know why a
//! run ended.
//!
//! The report of a run always adds up:
//! rows read = used + without identifier + rejected; identifiers = delivered + refused + undelivered.

pub mod matching;
pub mod progress;

use indicatif::HumanCount;
use serde_json::{Value, json};

use crate::delivery::counts::DeliveryCounts;
use crate::input::cells::Reason;
use crate::input::counters::InputCounts;
use crate::input::formats::Fault;
use crate::matching::Figures;
use crate::members::identifier::{COLUMNS, Kind};
use crate::members::operation::Operations;
use crate::mirror::treasure_data::JobRun;
use crate::mirror::warehouse::Counts;
use crate::treasure_data::show::JobSummary;

/// The counts of one operation, or of all operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhaseReport {
    /// How many identifiers were read.
    pub identifiers: u64,
    /// What was sent.
    pub sent: DeliveryCounts,
}

impl PhaseReport {
    /// Identifiers that were read, but neither acknowledged nor refused.
    pub fn undelivered(self) -> u64 {
        self.identifiers.saturating_sub(self.sent.delivered + self.sent.refused)
    }

    fn to_json(self) -> Value {
        json!({
            "identifiers": self.identifiers,
            "delivered": self.sent.delivered,
            "refused": self.sent.refused,
            "undelivered": self.undelivered(),
        })
    }
}

/// What a mirror found and did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MirrorReport {
    /// The members and changes, if they were counted.
    pub counts: Option<Counts>,
    /// Whether there was no state of an earlier run.
    pub is_first: bool,
    /// The jobs that it issued.
    pub jobs: Vec<JobRun>,
}

impl MirrorReport {
    fn to_json(&self) -> Value {
        let counted = |counts: Counts| {
            json!({
                "rows_of_the_table": counts.rows,
                "rows_without_identifier": counts.without_identifier,
                "cells_of_it_rejected": counts.rejected,
                "wanted_before": counts.before,
                "wanted_now": counts.wanted,
                "entered": counts.entered,
                "left": counts.left,
                "refreshed": counts.refreshed,
                "sent_beside_a_removal": counts.beside,
                "unchanged": counts.wanted.saturating_sub(counts.additions),
            })
        };
        let mut object = self.counts.map_or_else(|| json!({}), counted);
        let job = |job: &JobRun| json!({"id": job.id, "step": job.step, "seconds": rounded(job.time.as_secs_f64())});
        object["first_run"] = json!(self.is_first);
        object["jobs"] = self.jobs.iter().map(job).collect();
        object
    }
}

/// The whole report.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The cohort's identifier.
    pub cohort_id: String,
    /// The partner's segment of Braze's path.
    pub partner: String,
    /// What was done with the members.
    pub operations: Operations,
    /// Labels of the aliases.
    pub labels: Vec<String>,
    /// What was read.
    pub input: InputCounts,
    /// What was sent.
    pub sent: DeliveryCounts,
    /// The removals among these, if each row has its own operation.
    pub removals: Option<PhaseReport>,
    /// How many of a sample Braze knows, if asked.
    pub matched: Option<Figures>,
    /// The duration in seconds.
    pub seconds: f64,
    /// The process's exit code; 0 if everything was done.
    pub exit_code: u8,
    /// The report of a mirror.
    pub mirror: Option<MirrorReport>,
    /// The batches that a dry run would send.
    pub dry_run: Option<u64>,
    /// Whether it was a check, which has no counts.
    pub is_check: bool,
    /// Names of settings that are in the workflow, but outside of the map that we read.
    pub ignored_parameters: Vec<String>,
    /// The job whose result was read.
    pub job: Option<JobSummary>,
    /// The cohort in the sandbox.
    pub sandbox: Option<Value>,
}

impl Report {
    /// Identifiers that were read, but neither acknowledged nor refused.
    pub fn undelivered(&self) -> u64 {
        PhaseReport { identifiers: self.input.identifiers(), sent: self.sent }.undelivered()
    }

    /// The counts of each operation, if each row has its own.
    fn by_operation(&self) -> Option<Value> {
        let removals = self.removals?;
        let sent = DeliveryCounts {
            delivered: self.sent.delivered - removals.sent.delivered,
            refused: self.sent.refused - removals.sent.refused,
            ..DeliveryCounts::default()
        };
        let additions = PhaseReport { identifiers: self.input.identifiers() - removals.identifiers, sent };
        Some(json!({"remove": removals.to_json(), "add": additions.to_json()}))
    }

    fn outcome(&self) -> &'static str {
        match self.exit_code {
            0 if self.is_check => "check_only",
            0 if self.dry_run.is_some() => "dry_run",
            0 if self.input.rows_read > 0 && self.input.identifiers() == 0 => "no_identifiers",
            0 => "delivered",
            _ => "incomplete",
        }
    }

    /// One object with the keys that docs/report.md documents.
    pub fn to_json(&self) -> Value {
        let input = &self.input;
        let mut report = json!({
            "summary": self.summary(),
            "cohort_id": self.cohort_id,
            "partner": self.partner,
            "operation": self.operations.as_str(),
            "outcome": self.outcome(),
            "exit_code": self.exit_code,
            "input_read_to_end": input.read_to_end,
            "rows_read": input.rows_read,
            "rows_used": input.rows_used,
            "rows_without_identifier": input.rows_without_identifier,
            "rows_rejected": input.rows_rejected,
            "rows_malformed": occurred(Fault::KEYS, input.rows_malformed),
            "rows_repeating_header": input.rows_repeating_header,
            "rows_over_lines": input.rows_over_lines,
            "ignored_columns": input.ignored_columns.iter().map(|miss| &miss.seen).collect::<Vec<_>>(),
            "first_rejections": input.first_rejections,
            "cells_blank": input.cells_blank,
            "null_words": input.null_words,
            "cells_rejected": occurred(Reason::KEYS, input.cells_rejected),
            "cells_with_outer_space": input.cells_with_outer_space,
            "cells_with_invisible_characters": input.cells_with_invisible_characters,
            "identifiers": self.identifiers(),
            "delivered": self.sent.delivered,
            "refused": self.sent.refused,
            "undelivered": self.undelivered(),
            "requests": self.sent.requests,
            "retries": self.sent.retries,
            "seconds": rounded(self.seconds),
        });
        let dry_run = self.dry_run.map(|batches| json!({"batches": batches}));
        let parts = [
            ("dry_run", dry_run),
            ("match", self.matched.as_ref().map(matching::to_json)),
            ("job", self.job.as_ref().map(|job| json!(job))),
            ("mirror", self.mirror.as_ref().map(MirrorReport::to_json)),
            ("ignored_parameters", (!self.ignored_parameters.is_empty()).then(|| json!(self.ignored_parameters))),
            ("by_operation", self.by_operation()),
            ("sandbox", self.sandbox.clone()),
        ];
        for (name, part) in parts.into_iter().filter_map(|(name, part)| Some((name, part?))) {
            report[name] = part;
        }
        report
    }

    /// The same for people: the summary, then a line for each other value. Values that are 0 or unknown are left out.
    pub fn to_text(&self) -> String {
        let mut lines = vec![self.summary()];
        if let (false, Value::Object(values)) = (self.is_check, self.to_json()) {
            values.iter().filter(|(name, _)| !UNLISTED.contains(&name.as_str())).for_each(|(name, value)| {
                list(name, value, &mut lines);
            });
            lines
                .extend(self.matched.as_ref().map(|figures| format!("known to Braze\n{}", matching::to_text(figures))));
        }
        lines.join("\n")
    }

    fn identifiers(&self) -> Value {
        let kinds = Kind::all(self.labels.len()).zip(self.input.of_kinds.iter().copied());
        let mut kinds = kinds.map(|(kind, count)| (kind.column(&self.labels), count));
        let total = std::iter::once(("total", self.input.identifiers()));
        let mut identifiers: Value = total.chain(kinds.by_ref().take(COLUMNS.len())).collect();
        identifiers["aliases"] = kinds.collect();
        identifiers
    }

    /// The run in one line, for a log, a mail or a table.
    fn summary(&self) -> String {
        let (total, sent) = (grouped(self.input.identifiers()), self.sent);
        let counts = match self.outcome() {
            "check_only" => String::new(),
            "dry_run" => match self.mirror.as_ref().and_then(|mirror| mirror.counts) {
                Some(counts) => {
                    format!("; {} to remove, {} to add", grouped(counts.removals), grouped(counts.additions))
                }
                None => format!("; {total} identifiers"),
            },
            _ => {
                let rejected = match self.rejections() {
                    0 => String::new(),
                    count => format!(", rejected cells and rows {}", grouped(count)),
                };
                let (delivered, refused) = (grouped(sent.delivered), grouped(sent.refused));
                format!("; delivered {delivered} of {total} identifiers, refused {refused}{rejected}")
            }
        };
        format!("cohort {} ({}): {}{counts}", self.cohort_id, self.operations.as_str(), self.headline())
    }

    /// In the input or, for a mirror, in the table.
    fn rejections(&self) -> u64 {
        let counts = self.mirror.as_ref().and_then(|mirror| mirror.counts);
        counts.map_or_else(|| self.input.rejections(), |counts| counts.rejected)
    }

    fn headline(&self) -> String {
        let except = match (self.rejections(), self.sent.refused) {
            (0, 0) => "",
            (0, _) => " except what Braze refused",
            (_, 0) => " except what was rejected in the input",
            _ => " except what was rejected in the input or refused by Braze",
        };
        if let (Some(mirror), 0, None) = (&self.mirror, self.exit_code, self.dry_run) {
            let unchanged = if self.input.identifiers() == 0 { "; nothing had changed" } else { "" };
            let first = if mirror.is_first { "; a first run does not remove earlier members" } else { "" };
            return format!("equal to its table{except}{unchanged}{first}");
        }
        let said = match (self.outcome(), self.input.identifiers()) {
            ("check_only", _) => "check only, no member was sent",
            ("dry_run", _) => "dry run, nothing was sent",
            ("no_identifiers", _) => {
                return format!("{} rows, none with an identifier; no member was sent", grouped(self.input.rows_read));
            }
            ("delivered", 0) => "the input has no identifiers, no member was sent",
            ("delivered", _) => return format!("everything was delivered{except}"),
            _ if self.sent.requests == 0 => "nothing was sent",
            _ if self.input.read_to_end => "not everything was delivered",
            _ => "not everything was delivered, and the input was not read to the end",
        };
        said.to_owned()
    }
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

fn grouped(number: u64) -> String {
    HumanCount(number).to_string()
}

fn occurred<const N: usize>(keys: [&str; N], counts: [u64; N]) -> Value {
    keys.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
}

/// Values that are in the summary already, or have their own table.
const UNLISTED: [&str; 5] = ["summary", "cohort_id", "operation", "outcome", "match"];
/// Counts that are shown even if they are 0.
const ALWAYS: [&str; 3] = ["delivered", "refused", "undelivered"];

fn list(name: &str, value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Object(values) => values.iter().for_each(|(key, value)| list(&format!("{name}.{key}"), value, lines)),
        Value::Array(values) => lines.extend(values.iter().map(|value| format!("{name:<32}{}", shown(value)))),
        Value::Number(number) if number.as_f64() != Some(0.0) || ALWAYS.contains(&name) => {
            lines.push(format!("{name:<32}{:>12}", number.to_string()));
        }
        Value::Null | Value::Number(_) => {}
        value => lines.push(format!("{name:<32}{}", shown(value))),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(values) => {
            values.iter().map(|(key, value)| format!("{key} {}", shown(value))).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}
