//! Turns rows into batches, with exact counts of every row and cell.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use log::{info, warn};

use crate::input::MaxRejected;
use crate::input::columns::{Columns, Names};
use crate::input::counters::InputCounts;
use crate::input::error::{InputError, InputProblem};
use crate::input::formats::RowsError;
use crate::input::formats::format::Format;
use crate::input::near_names::{NearMiss, listed, near_misses};
use crate::input::source::Sources;
use crate::members::batch::Batch;
use crate::members::identifier::Kind;
use crate::members::operation::{Operation, Operations};

mod open_source;
pub mod passes;
mod row_counter;

use open_source::{OpenSource, unreadable};
use row_counter::RowCounter;

/// What the input must satisfy, apart from its header.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The number of rows that it must have.
    pub expected_rows: Option<u64>,
    /// How many rejections are allowed.
    pub max_rejected: MaxRejected,
    /// Identifiers per batch; [`crate::members::batch::CAPACITY`], or fewer in a test.
    pub batch_size: usize,
}

/// With at most this many rejections, a percentage is checked only at the end.
const SURE: u64 = 100;

/// Which rows are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// All of them, with the same operation.
    Every(Operation),
    /// The same rows again, after a first look.
    Again(Operation),
    /// All of them, with either operation, to check whether they can be used. Sends nothing.
    Judging,
    /// Only removals, after the input was judged.
    Removals,
    /// Only additions, after the removals.
    Additions,
}

impl Pass {
    /// The first pass.
    pub fn first(operations: &Operations) -> Self {
        match operations {
            Operations::One(operation) => Self::Every(*operation),
            Operations::Column(_) | Operations::Mirror => Self::Judging,
        }
    }

    fn operation(self) -> Operation {
        match self {
            Self::Every(operation) | Self::Again(operation) => operation,
            Self::Removals => Operation::Remove,
            Self::Judging | Self::Additions => Operation::Add,
        }
    }

    /// Whether an earlier pass has already logged the warnings.
    fn is_quiet(self) -> bool {
        matches!(self, Self::Again(_) | Self::Removals | Self::Additions)
    }

    fn is_first(self) -> bool {
        self != Self::Additions
    }

    fn is_last(self) -> bool {
        self != Self::Removals
    }
}

/// What a first look at an input has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Identifiers to remove.
    pub removals: u64,
    /// Identifiers to add.
    pub additions: u64,
    /// All counts.
    pub counts: InputCounts,
}

/// An input whose columns are known and usable.
pub struct Reader {
    sources: Sources,
    source: OpenSource,
    names: Names,
    limits: Limits,
    pass: Pass,
    counter: RowCounter,
    batch: Batch,
}

impl Reader {
    /// Reads the beginning of every source, so that an unsuitable file is found before anything is sent.
    pub fn new(mut sources: Sources, names: &Names, limits: Limits, pass: Pass) -> Result<Self, InputError> {
        let are_several = sources.are_several();
        let first = sources.open_next().ok_or_else(|| InputProblem::from(RowsError::Empty).of(sources.name()))??;
        let source = OpenSource::open(first, names, are_several)?;
        for other in sources.ahead() {
            OpenSource::open(other?, names, are_several)?.fits(&source, names)?;
        }
        let (counter, batch) = (RowCounter::new(names, pass), Batch::new(pass.operation()));
        let mut reader = Self { sources, source, names: names.clone(), limits, pass, counter, batch };
        reader.begin_part(Format::Csv);
        Ok(reader)
    }

    /// Continues the counts of an earlier pass.
    #[must_use]
    pub fn counting_on(mut self, counts: InputCounts) -> Self {
        self.counter.counts = counts;
        self
    }

    /// What is read, for messages.
    pub fn name(&self) -> &str {
        self.sources.name()
    }

    /// The size of all files in bytes, compressed or not, multiplied by the number of passes; if it is known.
    pub fn size(&self) -> Option<u64> {
        self.sources.size()
    }

    /// A counter of the bytes read so far.
    pub fn bytes_read(&self) -> Arc<AtomicU64> {
        self.sources.bytes_read()
    }

    /// The identifier columns that were found in the header, or in the keys of the first object.
    pub fn columns(&self) -> &Columns {
        &self.source.found
    }

    /// The format of the first file.
    pub fn format(&self) -> Format {
        self.source.layout.format
    }

    /// Reads to the end. The counts go to `publish`, then each full batch to `take`, so nothing is delivered before it
    /// is counted as read. What `publish` returns is kept until these batches are handed over. `take` returns whether
    /// more is wanted. Batches that are no longer wanted, or must not be sent after an error, go to `leave`. `used`
    /// gives an empty batch of this pass, if there is one.
    pub fn read<P>(
        mut self,
        publish: impl Fn(&InputCounts) -> P,
        mut used: impl FnMut() -> Option<Batch>,
        mut take: impl FnMut(Batch) -> bool,
        mut leave: impl FnMut(&Batch),
    ) -> Result<(), InputError> {
        let result = self.read_rows(&publish, &mut used, &mut take, &mut leave);
        let has_ended = matches!(result, Ok(true));
        self.counter.counts.read_to_end = has_ended && self.pass.is_last();
        let _handing = publish(&self.counter.counts);
        if !self.batch.is_empty() {
            if has_ended {
                take(self.batch);
            } else {
                leave(&self.batch);
            }
        }
        result.map(|_| ())
    }

    /// Reads to the end, to check whether all of it can be used. `look` sees each batch, and returns whether more is
    /// wanted. Returns what was found, and whether the later passes may send it.
    pub fn judge(mut self, mut look: impl FnMut(&Batch) -> bool) -> (Judged, Result<(), InputError>) {
        let result = self.read_rows(&|_| {}, &mut || None, &mut |batch| look(&batch), &mut |_| {});
        look(&self.batch);
        let (removals, counts) = (self.counter.removals, self.counter.counts);
        (Judged { removals, additions: counts.identifiers().saturating_sub(removals), counts }, result.map(drop))
    }

    /// Reads at most this many rows, and judges them as if they were all. Returns their counts.
    pub fn preview(mut self, rows: u64) -> Result<InputCounts, InputError> {
        while self.counter.counts.rows_seen < rows {
            if !self.advance()? {
                self.counter.counts.read_to_end = true;
                break;
            }
            self.counter.count_row(self.source.rows.row(), &self.source.layout, &mut |_, _| {});
        }
        if !self.counter.counts.read_to_end {
            self.end_source();
        }
        self.check_end().map_err(|problem| problem.of(self.name()))?;
        Ok(self.counter.counts)
    }

    /// Returns whether the end was reached.
    fn read_rows<P>(
        &mut self,
        publish: &impl Fn(&InputCounts) -> P,
        used: &mut impl FnMut() -> Option<Batch>,
        take: &mut impl FnMut(Batch) -> bool,
        leave: &mut impl FnMut(&Batch),
    ) -> Result<bool, InputError> {
        let mut full = Vec::new();
        while self.advance()? {
            let (row, layout) = (self.source.rows.row(), &self.source.layout);
            let has_rejected = self.counter.count_row(row, layout, &mut |kind, identifier| {
                self.batch.push(kind, identifier);
                if self.batch.len() >= self.limits.batch_size {
                    let empty = used().unwrap_or_else(|| Batch::new(self.pass.operation()));
                    full.push(mem::replace(&mut self.batch, empty));
                }
            });
            if has_rejected && let Err(problem) = self.check_rejections() {
                let _handing = publish(&self.counter.counts);
                full.iter().for_each(leave);
                return Err(problem.of(self.name()));
            }
            if !full.is_empty() {
                let _handing = publish(&self.counter.counts);
                let mut wanted = true;
                for batch in full.drain(..) {
                    if wanted {
                        wanted = take(batch);
                    } else {
                        leave(&batch);
                    }
                }
                if !wanted {
                    return Ok(false);
                }
            }
        }
        self.check_end().map_err(|problem| problem.of(self.name()))?;
        Ok(true)
    }

    #[inline]
    fn advance(&mut self) -> Result<bool, InputError> {
        match self.source.advance() {
            Ok(true) => Ok(true),
            end => self.advance_after(end),
        }
    }

    /// Separate from the code that runs for each row.
    #[cold]
    fn advance_after(&mut self, end: Result<bool, RowsError>) -> Result<bool, InputError> {
        match end {
            Ok(false) => Ok(self.next_part()? && self.advance()?),
            end => end.map_err(|error| unreadable(&self.source.name, &self.source.watch, error)),
        }
    }

    fn next_part(&mut self) -> Result<bool, InputError> {
        self.source.watch.unmodified()?;
        self.end_source();
        let Some(source) = self.sources.open_next() else { return Ok(false) };
        let source = OpenSource::open(source?, &self.names, true)?;
        source.fits(&self.source, &self.names)?;
        let before = mem::replace(&mut self.source, source).layout.format;
        self.begin_part(before);
        Ok(true)
    }

    fn begin_part(&mut self, format_before: Format) {
        let (name, format) = (&self.source.name, self.source.layout.format);
        if format != format_before && !self.pass.is_quiet() {
            info!("{name} is read as {format}");
        }
        if self.pass.is_first() {
            self.counter.counts.count_lines(self.source.rows.row());
        }
        self.source.found.used.iter().for_each(|(_, kind)| self.counter.show(*kind));
        // The first object may lack keys that later ones have.
        if format != Format::Jsonl {
            let near = self.source.found.near.clone();
            self.note_ignored(&near, "columns", "write SELECT ... AS with that name");
        }
    }

    fn note_ignored(&mut self, near: &[NearMiss], what: &str, way_out: &str) {
        let is_new = self.pass.is_first() && self.counter.counts.add_ignored_columns(near);
        if is_new && !self.pass.is_quiet() {
            warn!("ignored {what}: {}; to use one, {way_out}", listed(near));
        }
    }

    fn end_source(&mut self) {
        if self.pass.is_first() {
            let keys = self.source.rows.other_keys().into_iter();
            let near = near_misses(keys, &self.names.wanted(), 1).collect::<Vec<_>>();
            self.note_ignored(&near, "keys", "give it that name");
        }
    }

    fn check_rejections(&self) -> Result<(), InputProblem> {
        // A percentage can be judged only after many rejections, or at the end.
        let is_share = !matches!(self.limits.max_rejected, MaxRejected::Count(_));
        if is_share && self.counter.counts.rejections() <= SURE { Ok(()) } else { self.check_limit() }
    }

    fn check_limit(&self) -> Result<(), InputProblem> {
        let (counts, limit) = (&self.counter.counts, self.limits.max_rejected);
        let (rejected, rows_read) = (counts.rejections(), counts.rows_seen);
        if limit.is_passed(rejected, rows_read) {
            self.counter.check_operations()?;
            return Err(InputProblem::TooManyRejected { rejected, rows_read, limit, reasons: counts.reasons() });
        }
        Ok(())
    }

    fn check_end(&self) -> Result<(), InputProblem> {
        let (counter, counts) = (&self.counter, &self.counter.counts);
        counter.check_operations()?;
        let lost = [Operation::Remove, Operation::Add].into_iter().find(|operation| counter.has_lost(*operation));
        if let (Some(operation), Some(_)) = (lost, &self.names.operation) {
            return Err(InputProblem::OperationRejected { operation, reasons: counts.reasons() });
        }
        if self.pass.is_last() && counts.rejections() > 0 && counts.identifiers() == 0 {
            return Err(InputProblem::AllRejected { rows_read: counts.rows_read, reasons: counts.reasons() });
        }
        self.check_limit()?;
        let found = counts.rows_seen;
        if let Some(expected) = self.limits.expected_rows.filter(|expected| *expected != found) {
            return Err(InputProblem::ExpectedRows { found, expected });
        }
        if !self.pass.is_quiet() {
            self.warn_at_end();
        }
        Ok(())
    }

    /// Warns about probable mistakes, including those that show only after all objects were read.
    fn warn_at_end(&self) {
        let InputCounts { rows_over_lines, longest_row, longest_row_at, ignored_columns, .. } = &self.counter.counts;
        if *rows_over_lines > 0 {
            warn!(
                "{rows_over_lines} rows span several lines; the longest begins in line {longest_row_at} and has {longest_row} lines. If \
                 that is not intended, a cell begins with a quote that is not doubled"
            );
        }
        let aliases = &self.names.aliases;
        let is_missing = |kind: &Kind| matches!(kind, Kind::Alias(_)) && !self.counter.is_shown(*kind);
        let missing: Vec<_> = Kind::all(aliases.len()).filter(is_missing).map(|kind| kind.column(aliases)).collect();
        if self.source.layout.format == Format::Jsonl && !missing.is_empty() {
            let near = ignored_columns.iter().find(|miss| missing.contains(&miss.wanted.as_str()));
            let near = near.map_or_else(String::new, |miss| format!("; there is {:?}", miss.seen));
            warn!("no object has the key {}, which the settings use{near}", missing.join(", "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::formats;
    use crate::input::formats::format::FormatHint;
    use open_source::Layout;
    use proptest::prelude::*;

    fn layout() -> Layout {
        Layout {
            columns: Columns { used: vec![(0, Kind::UserId), (2, Kind::Alias(0))], width: 3, ..Columns::default() },
            format: Format::Csv,
            file: None,
            names: Vec::new(),
        }
    }

    fn cells() -> impl Strategy<Value = String> {
        prop_oneof![
            Just(String::new()),
            Just(" ".to_owned()),
            "[a-z]{1,5}",
            Just("a\u{1}b".to_owned()),
            Just(" x".to_owned()),
            Just("null".to_owned()),
        ]
    }

    proptest! {
        #[test]
        fn the_report_always_adds_up(rows in prop::collection::vec(prop::collection::vec(cells(), 2..5), 0..40)) {
            let mut writer = csv::WriterBuilder::new().flexible(true).quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
            writer.write_record(["user_ids", "x", "email"]).unwrap();
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let text = writer.into_inner().unwrap();
            let format_hint = FormatHint { format: Some(Format::Csv), ..FormatHint::default() };
            let mut input = formats::open(text.as_slice(), "-", &format_hint, Vec::new()).unwrap();
            let names = Names { aliases: vec!["email".to_owned()], ..Names::default() };
            let mut counter = RowCounter::new(&names, Pass::Every(Operation::Add));
            let mut sent_on = 0;
            while input.rows.advance().unwrap() {
                counter.count_row(input.rows.row(), &layout(), &mut |_, _| sent_on += 1);
            }
            let counts = counter.counts;
            prop_assert_eq!(counts.rows_read, rows.len() as u64);
            prop_assert_eq!(counts.rows_read, counts.rows_used + counts.rows_without_identifier + counts.rows_rejected);
            prop_assert_eq!(counts.identifiers(), sent_on);
            let whole = rows.iter().filter(|row| row.len() == 3).count() as u64;
            let cells = counts.cells_blank + counts.null_words + counts.cells_rejected.iter().sum::<u64>() + counts.identifiers();
            prop_assert_eq!(cells, 2 * whole);
        }
    }
}
