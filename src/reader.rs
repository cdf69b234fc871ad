//! Rows into batches, with an exact account of each row and each cell.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use log::warn;

use crate::account::InputAccount;
use crate::batch::Batch;
use crate::config::MaxRejected;
use crate::identifier::{Cell, Columns, Kind, Reason, examine};
use crate::input::InputError;
use crate::rows::delimited::Delimited;
use crate::rows::{Row, RowsError};
use crate::source::{Input, Source, Watch};

/// What the input has to fulfil beyond its header.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The rows that it must have.
    pub expected_rows: Option<u64>,
    /// How much may be rejected.
    pub max_rejected: MaxRejected,
    /// Identifiers a batch; [`crate::batch::CAPACITY`], or fewer in a test.
    pub batch_size: usize,
}

/// An input whose header is read and usable.
pub struct Reader {
    name: String,
    rows: Delimited<Source>,
    size: Option<u64>,
    bytes_read: Arc<AtomicU64>,
    watch: Watch,
    columns: Columns,
    limits: Limits,
    account: InputAccount,
    batch: Batch,
}

impl Reader {
    /// Opens the input and reads its header.
    pub fn open(input: &Input, aliases: &[String], limits: Limits) -> Result<Self, InputError> {
        let source = Source::open(input)?;
        Self::new(input.to_string(), source, aliases, limits)
    }

    /// Reads the header of an opened input.
    pub fn new(name: String, source: Source, aliases: &[String], limits: Limits) -> Result<Self, InputError> {
        let (watch, size, bytes_read) = (source.watch(), source.size(), source.bytes_read());
        let unusable = |error| InputError::Rows { name: name.clone(), error };
        let mut rows = Delimited::new(source).map_err(unusable)?;
        let header = rows.header().map_err(unusable)?;
        let columns =
            Columns::find(&header, aliases).map_err(|error| InputError::Header { name: name.clone(), error })?;
        if !columns.missing_aliases.is_empty() {
            warn!(
                "no column for the aliases {}: they are not in the result of the query",
                columns.missing_aliases.join(", ")
            );
        }
        let account = InputAccount::new(aliases.len());
        Ok(Self { name, rows, size, bytes_read, watch, columns, limits, account, batch: Batch::new() })
    }

    /// What is read, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The size in bytes, where it is known.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// A counter of the bytes read so far.
    pub fn bytes_read(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.bytes_read)
    }

    /// The identifier columns that were found.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Reads to the end. Each full batch goes to `take`, which says whether more is wanted; the account goes to `publish`
    /// before a batch does, so that nothing is delivered that was not counted as read. What was read and is not wanted any
    /// more, or may not be sent after an error, goes to `leave`.
    pub fn read(
        mut self,
        publish: impl Fn(&InputAccount),
        mut take: impl FnMut(Batch) -> bool,
        mut leave: impl FnMut(&Batch),
    ) -> Result<(), InputError> {
        let result = self.read_rows(&publish, &mut take, &mut leave);
        self.account.read_to_end = matches!(result, Ok(true));
        publish(&self.account);
        if !self.batch.is_empty() {
            let last = mem::take(&mut self.batch);
            if self.account.read_to_end {
                take(last);
            } else {
                leave(&last);
            }
        }
        result.map(|_| ())
    }

    /// Whether the end was reached.
    fn read_rows(
        &mut self,
        publish: &impl Fn(&InputAccount),
        take: &mut impl FnMut(Batch) -> bool,
        leave: &mut impl FnMut(&Batch),
    ) -> Result<bool, InputError> {
        let mut full = Vec::new();
        loop {
            let row = match self.rows.next_row() {
                Ok(Some(row)) => row,
                Ok(None) => break,
                Err(error) => return Err(self.unreadable(error)),
            };
            let rejected_before = self.account.rejections();
            count_row(row, &self.columns, &mut self.account, &mut |kind, identifier| {
                self.batch.push(kind, identifier);
                if self.batch.len() >= self.limits.batch_size {
                    full.push(mem::replace(&mut self.batch, Batch::new()));
                }
            });
            if self.account.rejections() != rejected_before
                && let Err(error) = self.check_rejections()
            {
                full.iter().for_each(leave);
                return Err(error);
            }
            if !full.is_empty() {
                publish(&self.account);
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

    fn unreadable(&self, error: RowsError) -> InputError {
        // A file that changes under our eyes shows as nearly any error; the cause is the better message.
        match self.watch.unmodified() {
            Err(modified) => InputError::Source(modified),
            Ok(()) => InputError::Rows { name: self.name.clone(), error },
        }
    }

    fn check_rejections(&self) -> Result<(), InputError> {
        let (rejected, rows_read) = (self.account.rejections(), self.account.rows_read);
        // A share of the rows can only be told when enough of them were seen, or all.
        let too_early = matches!(self.limits.max_rejected, MaxRejected::Percent(_)) && rows_read < 1000;
        if !too_early && self.limits.max_rejected.is_passed(rejected, rows_read) {
            return Err(InputError::TooManyRejected { name: self.name.clone(), rejected, rows_read });
        }
        Ok(())
    }

    fn check_end(&self) -> Result<(), InputError> {
        let InputAccount { rows_read, .. } = self.account;
        let rejected = self.account.rejections();
        self.watch.unmodified()?;
        if self.limits.max_rejected.is_passed(rejected, rows_read) {
            return Err(InputError::TooManyRejected { name: self.name.clone(), rejected, rows_read });
        }
        match self.limits.expected_rows {
            Some(expected) if expected != rows_read => {
                Err(InputError::ExpectedRows { name: self.name.clone(), found: rows_read, expected })
            }
            _ => Ok(()),
        }
    }
}

/// Counts one row and hands on its identifiers. The first rejection for each reason is told with its line.
fn count_row(row: Row<'_>, columns: &Columns, account: &mut InputAccount, send_on: &mut impl FnMut(Kind, &[u8])) {
    account.rows_read += 1;
    if row.oversized || row.len() != columns.width {
        account.rows_rejected += 1;
        account.rows_ragged += 1;
        if account.rows_ragged == 1 {
            warn!(
                "line {}: rejected, as it has {} cells where the header has {} (further ones are only counted)",
                row.line,
                if row.oversized { "too many or too long".to_owned() } else { row.len().to_string() },
                columns.width
            );
        }
        return;
    }
    let (mut is_used, mut has_rejected) = (false, false);
    for (column, kind) in &columns.used {
        let cell = row.cell(*column);
        match examine(cell) {
            Cell::Blank => account.cells_blank += 1,
            Cell::Rejected(reason) => {
                has_rejected = true;
                count_rejected_cell(account, reason, row.line);
            }
            Cell::Identifier { padded } => {
                is_used = true;
                account.count_identifier(*kind);
                if padded {
                    count_padded_cell(account, row.line);
                }
                send_on(*kind, cell);
            }
        }
    }
    match (is_used, has_rejected) {
        (true, _) => account.rows_used += 1,
        (false, true) => account.rows_rejected += 1,
        (false, false) => account.rows_without_identifier += 1,
    }
}

fn count_rejected_cell(account: &mut InputAccount, reason: Reason, line: u64) {
    let is_first = Reason::ALL.iter().zip(account.cells_rejected).any(|(known, count)| *known == reason && count == 0);
    account.count_rejected(reason);
    if is_first {
        warn!("line {line}: a cell is rejected ({}; further ones are only counted)", reason.key());
    }
}

fn count_padded_cell(account: &mut InputAccount, line: u64) {
    account.cells_with_outer_space += 1;
    if account.cells_with_outer_space == 1 {
        warn!(
            "line {line}: an identifier begins or ends with a space and is sent so; Braze will hardly know it \
             (further ones are only counted)"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn columns() -> Columns {
        Columns { used: vec![(0, Kind::UserId), (2, Kind::Alias(0))], width: 3, missing_aliases: Vec::new() }
    }

    fn cells() -> impl Strategy<Value = String> {
        prop_oneof![
            Just(String::new()),
            Just(" ".to_owned()),
            "[a-z]{1,5}",
            Just("a\u{1}b".to_owned()),
            Just(" x".to_owned())
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
            let mut input = Delimited::new(text.as_slice()).unwrap();
            input.header().unwrap();
            let mut account = InputAccount::new(1);
            let mut sent_on = 0;
            while let Some(row) = input.next_row().unwrap() {
                count_row(row, &columns(), &mut account, &mut |_, _| sent_on += 1);
            }
            prop_assert_eq!(account.rows_read, rows.len() as u64);
            prop_assert_eq!(account.rows_read, account.rows_used + account.rows_without_identifier + account.rows_rejected);
            prop_assert_eq!(account.identifiers(), sent_on);
            let whole = rows.iter().filter(|row| row.len() == 3).count() as u64;
            let cells = account.cells_blank + account.cells_rejected.iter().sum::<u64>() + account.identifiers();
            prop_assert_eq!(cells, 2 * whole);
        }
    }
}
