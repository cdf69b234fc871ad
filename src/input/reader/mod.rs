//! Rows into batches, with an exact account of each row and each cell.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use log::{info, warn};

use crate::input::MaxRejected;
use crate::input::columns::{Columns, Names};
use crate::input::counters::InputAccount;
use crate::input::error::InputError;
use crate::input::formats::format::{Form, Format};
use crate::input::source::{Input, Sources};
use crate::members::batch::Batch;
use crate::members::identifier::Kind;
use crate::members::operation::{Operation, Operations};

mod part;
pub mod passes;
mod tally;

use part::Part;
use tally::Tally;

/// What the input has to fulfil beyond its header.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The rows that it must have.
    pub expected_rows: Option<u64>,
    /// How much may be rejected.
    pub max_rejected: MaxRejected,
    /// Identifiers a batch; [`crate::members::batch::CAPACITY`], or fewer in a test.
    pub batch_size: usize,
}

/// Up to so many rejections a share of the rows is judged at the end alone.
const SURE: u64 = 100;

/// Which rows are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// All of them, for the same operation.
    Every(Operation),
    /// All of them, for either operation, to see whether they can be used. Nothing is sent.
    Judging,
    /// Those that remove somebody, once the input is judged.
    Removals,
    /// Those that add somebody, after the removals.
    Additions,
}

impl Pass {
    /// Which rows are read first.
    pub fn first(operations: &Operations) -> Self {
        match operations {
            Operations::One(operation) => Self::Every(*operation),
            Operations::Column(_) => Self::Judging,
        }
    }

    /// What happens to the members, if anything does.
    fn operation(self) -> Operation {
        match self {
            Self::Every(operation) => operation,
            Self::Removals => Operation::Remove,
            Self::Judging | Self::Additions => Operation::Add,
        }
    }

    /// Whether an earlier pass has told what there is to tell.
    fn is_quiet(self) -> bool {
        matches!(self, Self::Removals | Self::Additions)
    }

    fn is_first(self) -> bool {
        self != Self::Additions
    }

    fn is_last(self) -> bool {
        self != Self::Removals
    }
}

/// An input whose columns are known and usable.
pub struct Reader {
    sources: Sources,
    part: Part,
    names: Names,
    limits: Limits,
    pass: Pass,
    tally: Tally,
    batch: Batch,
}

impl Reader {
    /// Opens the input and reads as far as it takes to know its columns.
    pub fn open(input: &Input, form: &Form, names: &Names, limits: Limits, pass: Pass) -> Result<Self, InputError> {
        Self::new(Sources::find(input, form)?, names, limits, pass)
    }

    /// Reads the beginning of the first source, and looks at those of all others, so that a file that does not fit is found
    /// before anything is sent.
    pub fn new(mut sources: Sources, names: &Names, limits: Limits, pass: Pass) -> Result<Self, InputError> {
        let are_several = sources.len() > 1;
        let first = sources.open_next().ok_or_else(|| InputError::Nothing { name: sources.name().to_owned() })??;
        let part = Part::open(first, names, are_several)?;
        for source in sources.ahead() {
            Part::open(source?, names, are_several)?.fits(&part, names)?;
        }
        if part.format != Format::Jsonl && !pass.is_quiet() {
            warn_of_missing(&part.columns.missing);
        }
        let (tally, batch) = (Tally::new(names, pass), Batch::new(pass.operation()));
        let mut reader = Self { sources, part, names: names.clone(), limits, pass, tally, batch };
        reader.begin_part(Format::Csv);
        Ok(reader)
    }

    /// Goes on counting where an earlier pass ended.
    #[must_use]
    pub fn counting_on(mut self, account: InputAccount) -> Self {
        self.tally.account = account;
        self
    }

    /// What is read, for messages.
    pub fn name(&self) -> &str {
        self.sources.name()
    }

    /// The size in bytes, where it is known; of all files together, as they are, compressed or not.
    pub fn size(&self) -> Option<u64> {
        self.sources.size()
    }

    /// A counter of the bytes read so far.
    pub fn bytes_read(&self) -> Arc<AtomicU64> {
        self.sources.bytes_read()
    }

    /// The identifier columns that were found in the header, or among the keys of the first object.
    pub fn columns(&self) -> &Columns {
        &self.part.columns
    }

    /// The format of the first file.
    pub fn format(&self) -> Format {
        self.part.format
    }

    /// Reads to the end. Each full batch goes to `take`, which says whether more is wanted; the account goes to `publish`
    /// before a batch does, so that nothing is delivered that was not counted as read; what it returns is kept until the batches that
    /// it counts are handed over. What was read and is not wanted any
    /// more, or may not be sent after an error, goes to `leave`.
    pub fn read<P>(
        mut self,
        publish: impl Fn(&InputAccount) -> P,
        mut take: impl FnMut(Batch) -> bool,
        mut leave: impl FnMut(&Batch),
    ) -> Result<(), InputError> {
        let result = self.read_rows(&publish, &mut take, &mut leave);
        let has_ended = matches!(result, Ok(true));
        self.tally.account.read_to_end = has_ended && self.pass.is_last();
        let _handing = publish(&self.tally.account);
        if !self.batch.is_empty() {
            let last = mem::replace(&mut self.batch, Batch::new(self.pass.operation()));
            if has_ended {
                take(last);
            } else {
                leave(&last);
            }
        }
        result.map(|_| ())
    }

    /// Reads to the end, or as long as it is wanted, to see whether all of it can be used. Returns the identifiers that are to be removed.
    pub fn judge(mut self, is_wanted: impl Fn() -> bool) -> Result<u64, InputError> {
        self.read_rows(&|_| {}, &mut |_| is_wanted(), &mut |_| {})?;
        Ok(self.tally.removals)
    }

    /// Whether the end was reached.
    fn read_rows<P>(
        &mut self,
        publish: &impl Fn(&InputAccount) -> P,
        take: &mut impl FnMut(Batch) -> bool,
        leave: &mut impl FnMut(&Batch),
    ) -> Result<bool, InputError> {
        let mut full = Vec::new();
        loop {
            match self.part.advance() {
                Ok(true) => {}
                Ok(false) if self.next_part()? => continue,
                Ok(false) => break,
                Err(error) => return Err(self.part.unreadable(error)),
            }
            let (row, layout) = (self.part.row(), &self.part.layout);
            let has_rejected = self.tally.count_row(row, layout, &mut |kind, identifier| {
                self.batch.push(kind, identifier);
                if self.batch.len() >= self.limits.batch_size {
                    full.push(mem::replace(&mut self.batch, Batch::new(self.pass.operation())));
                }
            });
            if has_rejected && let Err(error) = self.check_rejections() {
                let _handing = publish(&self.tally.account);
                full.iter().for_each(leave);
                return Err(error);
            }
            if !full.is_empty() {
                let _handing = publish(&self.tally.account);
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
        self.check_end()?;
        Ok(true)
    }

    /// Goes on to the next file; false where there is none.
    fn next_part(&mut self) -> Result<bool, InputError> {
        self.part.unmodified()?;
        let Some(source) = self.sources.open_next() else { return Ok(false) };
        let part = Part::open(source?, &self.names, true)?;
        part.fits(&self.part, &self.names)?;
        let before = mem::replace(&mut self.part, part).format;
        self.begin_part(before);
        Ok(true)
    }

    fn begin_part(&mut self, format_before: Format) {
        if self.part.format != format_before && !self.pass.is_quiet() {
            info!("{} is read as {}", self.part.name, self.part.format);
        }
        self.part.columns.used.iter().for_each(|(_, kind)| self.tally.show(*kind));
    }

    fn check_rejections(&self) -> Result<(), InputError> {
        // A share of the rows can only be told when enough of them were rejected, or all were read.
        let is_share = !matches!(self.limits.max_rejected, MaxRejected::Count(_));
        if is_share && self.tally.account.rejections() <= SURE { Ok(()) } else { self.check_limit() }
    }

    fn check_limit(&self) -> Result<(), InputError> {
        let (rejected, rows_read) = (self.tally.account.rejections(), self.tally.account.rows_seen);
        if self.limits.max_rejected.is_passed(rejected, rows_read) {
            self.check_operations()?;
            let (name, reasons) = (self.name().to_owned(), self.tally.account.reasons());
            return Err(InputError::TooManyRejected { name, rejected, rows_read, reasons });
        }
        Ok(())
    }

    fn check_operations(&self) -> Result<(), InputError> {
        let (rows, words) = (self.tally.unknown_operations, self.tally.unknown_words.clone());
        let name = self.name().to_owned();
        if rows == 0 { Ok(()) } else { Err(InputError::UnknownOperations { name, rows, words }) }
    }

    /// What no limit allows.
    fn check_unusable(&self) -> Result<(), InputError> {
        let (tally, account) = (&self.tally, &self.tally.account);
        let (name, reasons) = (|| self.name().to_owned(), || account.reasons());
        self.check_operations()?;
        let lost = [Operation::Remove, Operation::Add].into_iter().find(|operation| tally.has_lost(*operation));
        if let (Some(operation), Some(_)) = (lost, &self.names.operation) {
            return Err(InputError::OperationRejected { name: name(), operation, reasons: reasons() });
        }
        if self.pass.is_last() && account.rejections() > 0 && account.identifiers() == 0 {
            return Err(InputError::AllRejected { name: name(), rows_read: account.rows_read, reasons: reasons() });
        }
        Ok(())
    }

    fn check_end(&self) -> Result<(), InputError> {
        self.check_unusable()?;
        self.check_limit()?;
        let found = self.tally.account.rows_seen;
        if let Some(expected) = self.limits.expected_rows.filter(|expected| *expected != found) {
            return Err(InputError::ExpectedRows { name: self.name().to_owned(), found, expected });
        }
        if self.part.format == Format::Jsonl && !self.pass.is_quiet() {
            let kinds = Kind::all(self.names.aliases.len()).skip(2).zip(&self.names.aliases);
            let missing = kinds.filter(|(kind, _)| !self.tally.is_shown(*kind)).map(|(_, label)| label.clone());
            warn_of_missing(&missing.collect::<Vec<_>>());
        }
        Ok(())
    }
}

fn warn_of_missing(names: &[String]) {
    if !names.is_empty() {
        warn!("no column {}: the settings name it, and it is not in the result of the query", names.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::formats;
    use part::Layout;
    use proptest::prelude::*;

    fn layout() -> Layout {
        Layout {
            used: vec![(0, Kind::UserId), (2, Kind::Alias(0))],
            operation: None,
            width: 3,
            unit: "line",
            file: None,
            is_sparse: false,
            header: Vec::new(),
            labels: Vec::new(),
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
        fn the_account_always_adds_up(rows in prop::collection::vec(prop::collection::vec(cells(), 2..5), 0..40)) {
            let mut writer = csv::WriterBuilder::new().flexible(true).quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
            writer.write_record(["user_ids", "x", "email"]).unwrap();
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let text = writer.into_inner().unwrap();
            let form = Form { format: Some(Format::Csv), ..Form::default() };
            let mut input = formats::open(text.as_slice(), "-", &form, Vec::new()).unwrap();
            let names = Names { aliases: vec!["email".to_owned()], ..Names::default() };
            let mut tally = Tally::new(&names, Pass::Every(Operation::Add));
            let mut sent_on = 0;
            while input.rows.advance().unwrap() {
                tally.count_row(input.rows.row(), &layout(), &mut |_, _| sent_on += 1);
            }
            let account = tally.account;
            prop_assert_eq!(account.rows_read, rows.len() as u64);
            prop_assert_eq!(account.rows_read, account.rows_used + account.rows_without_identifier + account.rows_rejected);
            prop_assert_eq!(account.identifiers(), sent_on);
            let whole = rows.iter().filter(|row| row.len() == 3).count() as u64;
            let cells = account.cells_blank + account.null_words + account.cells_rejected.iter().sum::<u64>() + account.identifiers();
            prop_assert_eq!(cells, 2 * whole);
        }
    }
}
