//! What is to be sent, and the counts, from a result of [`crate::mirror::sql::Statements::changes`].

use std::io::{BufWriter, Seek, Write};

use log::info;
use serde_json::json;

use super::TreasureData;
use crate::input::ReadableInput;
use crate::input::formats::format::{Format, FormatHint};
use crate::input::source::Input;
use crate::input::source::fetched::Fetched;
use crate::members::identifier::Kind;
use crate::mirror::error::MirrorError;
use crate::mirror::warehouse::{Changes, Counts, OPERATION, Table};
use crate::retry::Stopped;
use crate::treasure_data::JobError;

/// What the delivery gets from job 2.
pub struct ChangedRows {
    /// One row per identifier.
    pub input: ReadableInput,
    /// The alias labels of the settings, then those that only the state has. Identifiers of the latter must be removed.
    pub labels: Vec<String>,
}

/// The counts that every result of such a statement has once.
const TOTALS: [&str; 4] = ["with_identifier", "without_identifier", "rejected", "before"];

/// The counts of a result so far.
#[derive(Default)]
pub(super) struct Tally {
    counts: Counts,
    has_total: [bool; TOTALS.len()],
}

impl<S: From<JobError> + From<MirrorError>> TreasureData<'_, S> {
    pub(super) fn fetch_changes(&mut self, work: &Table, top: Option<u64>) -> Result<Changes<ChangedRows>, Stopped> {
        let statement = self.statements.changes(top, &self.place(&work.name));
        let nothing = self.api.job("");
        let file = tempfile::tempfile().map_err(|error| self.cannot_keep(&nothing, error))?;
        let (mut tally, mut writer) = (Tally::default(), BufWriter::new(file));
        self.rows("find what to remove and add", &statement, |this, row: [&str; 5]| {
            let [change, kind, value, ..] = row;
            this.count(&mut tally, row)?;
            if kind.is_empty() {
                return Ok(());
            }
            if !Kind::is_fixed_column(kind) && this.aliases.iter().all(|alias| alias != kind) {
                this.aliases.push(kind.to_owned());
            }
            let operation = if change == "remove" { "remove" } else { "add" };
            writeln!(writer, "{}", json!({OPERATION: operation, kind: value}))
                .map_err(|error| this.cannot_keep(&nothing, error))
        })?;
        let counts = self.complete(tally)?;
        let written = counts.removals + counts.additions;
        let mut file = writer.into_inner().map_err(|error| self.cannot_keep(&nothing, error.into_error()))?;
        let size = file.stream_position().map_err(|error| self.cannot_keep(&nothing, error))?;
        info!("{} removals and {} additions are here: {size} bytes", counts.removals, counts.additions);
        let format_hint = FormatHint { format: Some(Format::Jsonl), may_be_empty: true, ..FormatHint::default() };
        let input = Input::Fetched(Fetched::new("the changes", file, size));
        let input = ReadableInput { input, format_hint, expected_rows: Some(written) };
        Ok(Changes { counts, rows: ChangedRows { input, labels: self.aliases.clone() } })
    }

    /// Counts a row.
    pub(super) fn count(&self, tally: &mut Tally, [change, _, _, before, number]: [&str; 5]) -> Result<(), Stopped> {
        let (number, counts) = (self.number(number)?, &mut tally.counts);
        if let Some(index) = TOTALS.iter().position(|total| *total == change)
            && std::mem::replace(&mut tally.has_total[index], true)
        {
            return Err(self.cannot(&format!("the result has the count '{change}' twice")));
        }
        match change {
            "with_identifier" => counts.rows += number,
            "without_identifier" => {
                counts.rows += number;
                counts.without_identifier += number;
            }
            "rejected" => counts.rejected += number,
            "before" => counts.before += number,
            "remove" | "add" | "refresh" | "beside" | "moved" => {
                counts.identifiers(change, before, number);
            }
            other => return Err(self.cannot(&format!("unknown change '{other}'"))),
        }
        Ok(())
    }

    pub(super) fn complete(&self, Tally { counts, has_total }: Tally) -> Result<Counts, Stopped> {
        if has_total.contains(&false) {
            return Err(self.cannot("the result lacks counts that it always has"));
        }
        counts.complete().ok_or_else(|| self.cannot("more identifiers left than the state has"))
    }

    pub(super) fn number(&self, text: &str) -> Result<u64, Stopped> {
        text.parse().map_err(|_| self.cannot("Treasure Data returned a count that is not a number"))
    }
}
