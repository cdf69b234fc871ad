//! Exact counts of every row and cell.

use log::warn;

use super::Pass;
use super::open_source::Layout;
use crate::input::cells::{Cell, NullWords, Reason, examine};
use crate::input::columns::Names;
use crate::input::counters::{InputCounts, Rejection};
use crate::input::formats::{Fault, Row, Value};
use crate::members::identifier::Kind;
use crate::members::operation::Operation;

/// When a row is counted.
enum RowUse {
    Now(Operation),
    InAnotherPass,
    Never(Fault),
    /// The cell of the operation says something else.
    Unknown,
}

/// So many places are kept of each reason, and so many words.
const KEPT: usize = 3;
/// A longer word is hardly one for an operation.
const MAX_WORD: usize = 12;

#[expect(clippy::inline_always, reason = "a million rows take 0.086 CPU seconds instead of 0.095")]
#[inline(always)]
fn turn_of(row: &Row<'_>, layout: &Layout, pass: Pass, null_words: &NullWords) -> RowUse {
    let fault = row.fault.or_else(|| (row.len() != layout.width).then_some(Fault::CellCount));
    match (fault, layout.operation.map(|column| row.value(column))) {
        (Some(fault), _) => RowUse::Never(fault),
        (None, None) => RowUse::Now(pass.operation()),
        (None, Some(value)) => match value {
            Value::Text(cell) => match Operation::from_cell(cell) {
                Some(operation) if pass == Pass::Judging || operation == pass.operation() => RowUse::Now(operation),
                Some(_) => RowUse::InAnotherPass,
                None if matches!(examine(cell, null_words), Cell::Blank | Cell::NullWord) => {
                    RowUse::Never(Fault::Operation)
                }
                None => RowUse::Unknown,
            },
            Value::Absent => RowUse::Never(Fault::Operation),
            Value::Unfit(_) => RowUse::Unknown,
        },
    }
}

/// Counts rows.
#[derive(Clone, Debug)]
pub struct RowCounter {
    /// What was counted.
    pub counts: InputCounts,
    /// Of the identifiers, those that are removed.
    pub removals: u64,
    pass: Pass,
    /// What is known of each kind of identifier, in the order of [`Kind::all`].
    kinds: Vec<ColumnSeen>,
    null_words: NullWords,
    /// Rows whose operation is none that is known, and some words that they have.
    pub unknown_operations: u64,
    /// Quoted and escaped.
    pub unknown_words: Vec<String>,
    /// Of each operation, the rows that are used and those that are not, as a cell is rejected.
    rows: [(u64, u64); 2],
}

/// Whether there is a column for a kind. In JSON lines that shows with the first object that has the key; up to there nobody
/// knows whether objects without it have a blank cell.
#[derive(Clone, Copy, Debug, Default)]
struct ColumnSeen {
    is_shown: bool,
    rows_without: u64,
}

impl RowCounter {
    /// Nothing counted yet.
    pub fn new(names: &Names, pass: Pass) -> Self {
        let (aliases, null_words) = (names.aliases.len(), names.null_words.clone());
        Self {
            counts: InputCounts::new(aliases),
            removals: 0,
            pass,
            kinds: vec![ColumnSeen::default(); 2 + aliases],
            null_words,
            unknown_operations: 0,
            unknown_words: Vec::new(),
            rows: [(0, 0); 2],
        }
    }

    /// Whether all rows of an operation that name somebody were rejected.
    pub fn has_lost(&self, operation: Operation) -> bool {
        matches!(self.rows[operation.index()], (0, 1..))
    }

    /// There is a column for this kind.
    pub fn show(&mut self, kind: Kind) {
        if let Some(shown) = self.kinds.get_mut(kind.index())
            && !shown.is_shown
        {
            shown.is_shown = true;
            self.counts.cells_blank += shown.rows_without;
        }
    }

    /// Whether there is a column for this kind.
    pub fn is_shown(&self, kind: Kind) -> bool {
        self.kinds.get(kind.index()).is_some_and(|shown| shown.is_shown)
    }

    /// Counts one row and hands on its identifiers. The first rejection for each reason is told with its place. Returns whether
    /// anything was rejected.
    pub fn count_row(&mut self, row: Row<'_>, layout: &Layout, send_on: &mut impl FnMut(Kind, &[u8])) -> bool {
        if layout.is_header(&row) {
            self.count_header(row, layout);
            return false;
        }
        self.counts.rows_seen += u64::from(self.pass.is_first());
        let operation = match turn_of(&row, layout, self.pass, &self.null_words) {
            RowUse::Now(operation) => {
                self.counts.rows_read += 1;
                operation
            }
            RowUse::InAnotherPass => return false,
            RowUse::Never(_) | RowUse::Unknown if !self.pass.is_first() => return false,
            RowUse::Unknown => {
                self.counts.rows_read += 1;
                self.count_unknown(row, layout);
                return true;
            }
            RowUse::Never(fault) => {
                self.counts.rows_read += 1;
                self.count_malformed(fault, row, layout);
                return true;
            }
        };
        if layout.is_sparse {
            self.show_present(row, layout);
        }
        let (mut is_used, mut has_rejected) = (false, false);
        for (index, (column, kind)) in layout.used.iter().enumerate() {
            let cell = match row.value(*column) {
                Value::Text(text) => text,
                Value::Absent => {
                    self.count_absent(*kind);
                    continue;
                }
                Value::Unfit(reason) => {
                    has_rejected = true;
                    self.count_rejected_cell(reason, row, layout, index);
                    continue;
                }
            };
            match examine(cell, &self.null_words) {
                Cell::Blank => self.counts.cells_blank += 1,
                Cell::NullWord => self.count_null_word(cell, row, layout),
                Cell::Rejected(reason) => {
                    has_rejected = true;
                    self.count_rejected_cell(reason, row, layout, index);
                }
                Cell::Identifier { padded, invisible } => {
                    is_used = true;
                    self.counts.count_identifier(*kind);
                    self.removals += u64::from(operation == Operation::Remove);
                    if padded {
                        self.count_padded_cell(row, layout);
                    }
                    if invisible {
                        self.count_invisible(row, layout);
                    }
                    send_on(*kind, cell);
                }
            }
        }
        let rows = &mut self.rows[operation.index()];
        match (is_used, has_rejected) {
            (true, _) => {
                rows.0 += 1;
                self.counts.rows_used += 1;
            }
            (false, true) => {
                rows.1 += 1;
                self.counts.rows_rejected += 1;
            }
            (false, false) => self.counts.rows_without_identifier += 1,
        }
        has_rejected
    }

    fn show_present(&mut self, row: Row<'_>, layout: &Layout) {
        for (_, kind) in layout.used.iter().filter(|(column, _)| row.value(*column) != Value::Absent) {
            self.show(*kind);
        }
    }

    fn count_absent(&mut self, kind: Kind) {
        if let Some(shown) = self.kinds.get_mut(kind.index()) {
            if shown.is_shown {
                self.counts.cells_blank += 1;
            } else {
                shown.rows_without += 1;
            }
        }
    }

    /// Tells of the first one of its kind, unless an earlier pass has.
    fn tell_first(&self, count: u64, row: Row<'_>, layout: &Layout, what: impl FnOnce() -> String) {
        if count == 1 && !self.pass.is_quiet() {
            warn!("{}: {}", layout.at(row.position), what());
        }
    }

    fn count_header(&mut self, row: Row<'_>, layout: &Layout) {
        if self.pass.is_first() {
            self.counts.rows_repeating_header += 1;
            self.tell_first(self.counts.rows_repeating_header, row, layout, || {
                "it repeats the header and is skipped (further ones are only counted)".to_owned()
            });
        }
    }

    /// A word is kept if it is unlikely to be an identifier.
    fn count_unknown(&mut self, row: Row<'_>, layout: &Layout) {
        self.unknown_operations += 1;
        let cell = row.cell(layout.operation.unwrap_or_default());
        let is_word = cell.len() <= MAX_WORD && cell.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b' ');
        let word = format!("{:?}", String::from_utf8_lossy(if is_word { cell } else { b"" }));
        if is_word && !cell.is_empty() && self.unknown_words.len() < KEPT && !self.unknown_words.contains(&word) {
            self.unknown_words.push(word);
        }
        self.count_malformed(Fault::Operation, row, layout);
    }

    fn keep_place(&mut self, reason: &'static str, row: Row<'_>, layout: &Layout, column: Option<usize>) {
        let kept = &mut self.counts.first_rejections;
        if kept.iter().filter(|kept| kept.reason == reason).count() < KEPT {
            let column = column.and_then(|index| layout.labels.get(index).cloned());
            kept.push(Rejection { reason, source: layout.file.clone(), line: row.position, column });
        }
    }

    fn count_malformed(&mut self, fault: Fault, row: Row<'_>, layout: &Layout) {
        self.keep_place(fault.key(), row, layout, None);
        let count = self.counts.count_malformed(fault);
        self.tell_first(count, row, layout, || {
            let problem = match fault {
                Fault::CellCount => format!("it has {} cells for {} columns", row.len(), layout.width),
                Fault::TooLong => "it has too many cells, or too long ones".to_owned(),
                Fault::NotJson => "it is not JSON".to_owned(),
                Fault::NotARow => "it is JSON, but not an object".to_owned(),
                Fault::DuplicateKey => "an identifier's key occurs twice".to_owned(),
                Fault::Operation => "its operation is not add, remove or delete".to_owned(),
            };
            format!("rejected: {problem} (further ones are only counted)")
        });
    }

    fn count_rejected_cell(&mut self, reason: Reason, row: Row<'_>, layout: &Layout, index: usize) {
        self.keep_place(reason.key(), row, layout, Some(index));
        let count = self.counts.count_rejected(reason);
        self.tell_first(count, row, layout, || {
            let way_out = match reason {
                Reason::Float => "; for a DOUBLE write CAST(CAST(... AS BIGINT) AS VARCHAR) in the query",
                Reason::Nested => "; for an ARRAY or a MAP write UNNEST in the query",
                _ => "",
            };
            format!("a cell is rejected ({}; further ones are only counted{way_out})", reason.key())
        });
    }

    fn count_invisible(&mut self, row: Row<'_>, layout: &Layout) {
        self.counts.cells_with_invisible_characters += 1;
        self.tell_first(self.counts.cells_with_invisible_characters, row, layout, || {
            "an identifier contains an invisible character and is sent as it is; Braze is unlikely to know it (further ones are only counted)"
                .to_owned()
        });
    }

    fn count_null_word(&mut self, cell: &[u8], row: Row<'_>, layout: &Layout) {
        self.counts.null_words += 1;
        self.tell_first(self.counts.null_words, row, layout, || {
            format!(
                "a cell is the word '{}', which counts as blank (further ones are only counted); the setting null_words lists \
                 such words, and null_words: [] sends them",
                self.null_words.find(cell).unwrap_or_default()
            )
        });
    }

    fn count_padded_cell(&mut self, row: Row<'_>, layout: &Layout) {
        self.counts.cells_with_outer_space += 1;
        self.tell_first(self.counts.cells_with_outer_space, row, layout, || {
            "an identifier begins or ends with a space and is sent as it is; Braze is unlikely to know it (further ones are only counted)"
                .to_owned()
        });
    }
}
