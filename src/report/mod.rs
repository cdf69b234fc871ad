//! In: the counts of input and delivery. Out: text, JSON, progress. It never counts anything itself, nor knows why a run ended.
//!
//! The report of a run always adds up:
//! rows read = used + without identifier + rejected; identifiers = delivered + refused + undelivered.

pub mod matching;
pub mod progress;

use indicatif::HumanCount;
use serde_json::{Map, Value, json};

use crate::delivery::counts::DeliveryCounts;
use crate::input::cells::Reason;
use crate::input::counters::InputCounts;
use crate::input::formats::Fault;
use crate::input::near_names::listed;
use crate::matching::Figures;
use crate::members::operation::Operations;
use crate::mirror::treasure_data::JobRun;
use crate::mirror::warehouse::Counts;
use crate::treasure_data::show::JobSummary;

/// What is counted of one of two passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhaseReport {
    /// Identifiers that were read.
    pub identifiers: u64,
    /// What was sent.
    pub sent: DeliveryCounts,
}

impl PhaseReport {
    /// Identifiers that were read and neither acknowledged nor refused.
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

/// What a dry run would send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DryRun {
    /// Requests with identifiers.
    pub batches: u64,
    /// Bytes of their bodies, without the two keys, where they were made.
    pub bytes: Option<u64>,
}

/// What there is to tell of a mirror.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MirrorReport {
    /// What there was to do, where it was found out.
    pub counts: Option<Counts>,
    /// There was no state of an earlier run.
    pub is_first: bool,
    /// The jobs that it issued.
    pub jobs: Vec<JobRun>,
}

impl MirrorReport {
    fn to_json(&self) -> Value {
        let counts = self.counts.into_iter().flat_map(mirror_counts);
        let mut object: Map<_, _> = counts.map(|(name, count)| (name.replace(' ', "_"), json!(count))).collect();
        let job = |job: &JobRun| json!({"id": job.id, "step": job.step, "seconds": rounded(job.time.as_secs_f64())});
        object.insert("first_run".to_owned(), json!(self.is_first));
        object.insert("jobs".to_owned(), self.jobs.iter().map(job).collect());
        Value::Object(object)
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        self.counts.into_iter().flat_map(mirror_counts).map(|(name, count)| line(name, count))
    }

    fn job_lines(&self) -> impl Iterator<Item = String> {
        let job =
            |job: &JobRun| format!("{:<26}{:>12.3} s: {}", format!("job {}", job.id), job.time.as_secs_f64(), job.step);
        self.jobs.iter().map(job)
    }
}

/// The whole report.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The cohort's identifier.
    pub cohort_id: String,
    /// The partner's segment of Braze's path.
    pub partner: String,
    /// What happened to the members.
    pub operations: Operations,
    /// Labels of the aliases.
    pub labels: Vec<String>,
    /// What was read.
    pub input: InputCounts,
    /// What was sent.
    pub sent: DeliveryCounts,
    /// Of both, what belongs to the removals, where each row says its operation.
    pub removals: Option<PhaseReport>,
    /// How many of a sample Braze knows, where it was asked first.
    pub matched: Option<Figures>,
    /// How long it took.
    pub seconds: f64,
    /// The process's exit code; 0 if everything was done.
    pub exit_code: u8,
    /// Set where it is one.
    pub mirror: Option<MirrorReport>,
    /// Set where nothing was to be sent.
    pub dry_run: Option<DryRun>,
    /// Whether it was a check, which counts nothing.
    pub is_check: bool,
    /// Names of settings that stand in a workflow where none is read.
    pub ignored_parameters: Vec<String>,
    /// The job whose result was read.
    pub job: Option<JobSummary>,
}

impl Report {
    /// Identifiers that were read and neither acknowledged nor refused.
    pub fn undelivered(&self) -> u64 {
        self.input.identifiers().saturating_sub(self.sent.delivered + self.sent.refused)
    }

    /// What belongs to each operation, where each row says its own.
    fn parts(&self) -> Option<[(&'static str, PhaseReport); 2]> {
        let removals = self.removals?;
        let sent = DeliveryCounts {
            delivered: self.sent.delivered - removals.sent.delivered,
            refused: self.sent.refused - removals.sent.refused,
            ..DeliveryCounts::default()
        };
        let additions = PhaseReport { identifiers: self.input.identifiers() - removals.identifiers, sent };
        Some([("remove", removals), ("add", additions)])
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
        let aliases: Map<String, Value> =
            self.labels.iter().cloned().zip(input.aliases.iter().map(|count| json!(count))).collect();
        let rejected = by_key(Reason::KEYS, input.cells_rejected);
        let malformed = by_key(Fault::KEYS, input.rows_malformed);
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
            "rows_malformed": malformed,
            "rows_repeating_header": input.rows_repeating_header,
            "rows_over_lines": input.over_lines.rows,
            "ignored_columns": input.ignored_columns.iter().map(|miss| &miss.seen).collect::<Vec<_>>(),
            "first_rejections": input.first_rejections,
            "cells_blank": input.cells_blank,
            "null_words": input.null_words,
            "cells_rejected": rejected,
            "cells_with_outer_space": input.cells_with_outer_space,
            "cells_with_invisible_characters": input.cells_with_invisible_characters,
            "identifiers": {
                "total": input.identifiers(),
                "user_ids": input.user_ids,
                "device_ids": input.device_ids,
                "aliases": aliases,
            },
            "delivered": self.sent.delivered,
            "refused": self.sent.refused,
            "undelivered": self.undelivered(),
            "requests": self.sent.requests,
            "retries": self.sent.retries,
            "seconds": rounded(self.seconds),
        });
        let dry_run = self.dry_run.map(|dry_run| json!({"batches": dry_run.batches, "bytes": dry_run.bytes}));
        let by_operation =
            self.parts().map(|parts| parts.into_iter().map(|(name, part)| (name.to_owned(), part.to_json())).collect());
        let parts = [
            ("dry_run", dry_run),
            ("match", self.matched.as_ref().map(matching::to_json)),
            ("job", self.job.as_ref().map(job_to_json)),
            ("mirror", self.mirror.as_ref().map(MirrorReport::to_json)),
            ("ignored_parameters", (!self.ignored_parameters.is_empty()).then(|| json!(self.ignored_parameters))),
            ("by_operation", by_operation),
        ];
        for (name, part) in parts {
            if let Some(part) = part {
                report[name] = part;
            }
        }
        report
    }

    /// The same for people, a line a number; what is zero and rare is left out.
    pub fn to_text(&self) -> String {
        let input = &self.input;
        if self.is_check {
            return self.first_line();
        }
        let mut lines = vec![self.first_line()];
        match &self.mirror {
            Some(mirror) => lines.extend(mirror.lines()),
            None => lines.extend([
                line("rows read", input.rows_read),
                line("  used", input.rows_used),
                line("  without identifier", input.rows_without_identifier),
                line("  rejected", input.rows_rejected),
            ]),
        }
        lines
            .push(line(if self.mirror.is_some() { "identifiers to send" } else { "identifiers" }, input.identifiers()));
        let by_kind = [("  external IDs".to_owned(), input.user_ids), ("  device IDs".to_owned(), input.device_ids)];
        let by_label =
            self.labels.iter().zip(&input.aliases).map(|(label, count)| (format!("  alias {label}"), *count));
        lines.extend(
            by_kind.into_iter().chain(by_label).filter(|(_, count)| *count > 0).map(|(name, count)| line(&name, count)),
        );
        lines.push(line("delivered", self.sent.delivered));
        let parts = self.parts().into_iter().flatten();
        lines.extend(parts.map(|(name, part)| line(&format!("  {name}"), part.sent.delivered)));
        lines.push(line("refused", self.sent.refused));
        lines.push(line("undelivered", self.undelivered()));
        lines.extend(self.mirror.is_none().then(|| line("cells blank", input.cells_blank)));
        let malformed = Fault::KEYS.into_iter().zip(input.rows_malformed);
        let malformed = malformed.map(|(key, count)| (format!("rows malformed: {key}"), count));
        let rejected = Reason::KEYS.into_iter().zip(input.cells_rejected);
        let rejected = rejected.map(|(key, count)| (format!("cells rejected: {key}"), count));
        let spaces = [
            ("cells blank (null_words)".to_owned(), input.null_words),
            ("cells with outer space".to_owned(), input.cells_with_outer_space),
            ("cells with invisible chars".to_owned(), input.cells_with_invisible_characters),
            ("rows repeating the header".to_owned(), input.rows_repeating_header),
            ("rows spanning lines".to_owned(), input.over_lines.rows),
        ];
        lines.extend(
            malformed
                .chain(rejected)
                .chain(spaces)
                .filter(|(_, count)| *count > 0)
                .map(|(name, count)| line(&name, count)),
        );
        lines.push(line("requests", self.sent.requests));
        lines.push(line("retries", self.sent.retries));
        lines.extend(self.mirror.iter().flat_map(MirrorReport::job_lines));
        if let Some(dry_run) = self.dry_run {
            lines.push(line("batches to send", dry_run.batches));
            lines.extend(dry_run.bytes.map(|bytes| line("bytes to send", bytes)));
        }
        lines.push(format!("{:<26}{:>12.3}", "seconds", self.seconds));
        lines.push(format!("{:<26}{}", "partner", self.partner));
        lines.extend(self.matched.as_ref().map(|figures| format!("known to Braze\n{}", matching::to_text(figures))));
        if let Some(job) = &self.job {
            lines.push(format!("{:<26}{job}", "job"));
        }
        if !input.ignored_columns.is_empty() {
            lines.push(format!("{:<26}{}", "ignored columns", listed(&input.ignored_columns)));
        }
        if !self.ignored_parameters.is_empty() {
            lines.push(format!("{:<26}{}", "ignored parameters", self.ignored_parameters.join(", ")));
        }
        lines.join("\n")
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
            _ => format!(
                "; delivered {} of {total} identifiers, refused {}",
                grouped(sent.delivered),
                grouped(sent.refused)
            ),
        };
        self.first_line() + &counts
    }

    fn first_line(&self) -> String {
        format!("cohort {} ({}): {}", self.cohort_id, self.operations.as_str(), self.headline())
    }

    fn headline(&self) -> String {
        if let (Some(mirror), 0, None) = (&self.mirror, self.exit_code, self.dry_run) {
            let said = match (self.sent.refused, self.input.identifiers()) {
                (0, 0) => "equal to its table; nothing had changed",
                (0, _) => "equal to its table",
                _ => "equal to its table, except for what Braze refused",
            };
            let first = if mirror.is_first { "; a first run does not remove earlier members" } else { "" };
            return format!("{said}{first}");
        }
        let said = match (self.outcome(), self.input.identifiers()) {
            ("check_only", _) => "check only, no member was sent",
            ("dry_run", _) => "dry run, nothing was sent",
            ("no_identifiers", _) => {
                return format!("{} rows, none with an identifier; no member was sent", grouped(self.input.rows_read));
            }
            ("delivered", _) if self.sent.refused > 0 => "everything was delivered except what Braze refused",
            ("delivered", 0) => "the input has no identifiers, no member was sent",
            ("delivered", _) => "everything was delivered",
            _ if self.sent.requests == 0 => "nothing was sent",
            _ if self.input.read_to_end => "not everything was delivered",
            _ => "not everything was delivered, and the input was not read to the end",
        };
        said.to_owned()
    }
}

/// What a mirror counts, in identifiers.
fn mirror_counts(counts: Counts) -> [(&'static str, u64); 10] {
    let Counts {
        before, wanted, entered, left, refreshed, beside, additions, rows, without_identifier, rejected, ..
    } = counts;
    [
        ("rows of the table", rows),
        ("rows without identifier", without_identifier),
        ("cells of it rejected", rejected),
        ("wanted before", before),
        ("wanted now", wanted),
        ("entered", entered),
        ("left", left),
        ("refreshed", refreshed),
        ("sent beside a removal", beside),
        ("unchanged", wanted.saturating_sub(additions)),
    ]
}

/// To thousandths.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// A number with a comma before each three digits.
fn grouped(number: u64) -> String {
    HumanCount(number).to_string()
}

fn job_to_json(job: &JobSummary) -> Value {
    let mut object = json!({
        "id": job.id,
        "database": job.database,
        "issued": job.issued,
        "rows": job.rows,
        "query": job.query,
    });
    if let Some(cohort) = &job.uploaded_before_to {
        object["uploaded_before_to"] = json!(cohort);
    }
    object
}

/// Those that occurred.
fn by_key<const N: usize>(keys: [&str; N], counts: [u64; N]) -> Map<String, Value> {
    let occurred = keys.iter().zip(counts).filter(|(_, count)| *count > 0);
    occurred.map(|(key, count)| ((*key).to_owned(), json!(count))).collect()
}

fn line(name: &str, count: u64) -> String {
    format!("{name:<26}{count:>12}")
}
