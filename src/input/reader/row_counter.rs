//! Exact counts of every row and cell.

use std::fmt;

use log::warn;

use super::Pass;
use super::open_source::Layout;
use crate::input::cells::{Cell, NullWords, Reason, examine};
use crate::input::columns::Names;
use crate::input::counters::{InputCounts, Rejection};
use crate::input::error::InputProblem;
use crate::input::formats::format::Format;
use crate::input::formats::{Fault, Row, Value};
use crate::members::identifier::Kind;
use crate::members::operation::Operation;

/// How many places are kept for each reason, and how many words. A column with more of them holds something else.
const KEPT: usize = 3;
/// Longer words are unlikely to be operations.
const MAX_WORD: usize = 12;
const ONCE: &str = "further ones are only counted";

/// The operation for a row's members; none if another pass reads the row.
#[expect(clippy::inline_always, reason = "a million rows take 0.086 CPU seconds instead of 0.095")]
#[inline(always)]
fn operation_of(row: &Row<'_>, layout: &Layout, pass: Pass) -> Result<Option<Operation>, Fault> {
    let fault = row.fault.or_else(|| (row.width() != layout.columns.width).then_some(Fault::CellCount));
    match (fault, layout.columns.operation) {
        (Some(fault), _) => Err(fault),
        (None, None) => Ok(Some(pass.operation())),
        (None, Some(column)) => {
            let operation = Operation::from_cell(row.cell(column)).ok_or(Fault::Operation)?;
            Ok((pass == Pass::Judging || operation == pass.operation()).then_some(operation))
        }
    }
}

/// Counts rows.
#[derive(Clone, Debug)]
pub struct RowCounter {
    /// The counts so far.
    pub counts: InputCounts,
    /// The number of identifiers to remove.
    pub removals: u64,
    pass: Pass,
    /// For each of [`Kind::all`], the rows without it, until a row has it. In JSON lines, only that shows that these
    /// rows have a blank cell.
    rows_without: Vec<Option<u64>>,
    null_words: NullWords,
    unknown_operations: u64,
    /// Some of the unknown operations, quoted and escaped.
    unknown_words: Vec<String>,
    /// For each operation, the rows that are used, and those of which all identifiers are rejected.
    rows: [(u64, u64); 2],
}

impl RowCounter {
    /// Counts of zero.
    pub fn new(names: &Names, pass: Pass) -> Self {
        let aliases = names.aliases.len();
        Self {
            counts: InputCounts::new(aliases),
            removals: 0,
            pass,
            rows_without: Kind::all(aliases).map(|_| Some(0)).collect(),
            null_words: names.null_words.clone(),
            unknown_operations: 0,
            unknown_words: Vec::new(),
            rows: [(0, 0); 2],
        }
    }

    /// Whether an operation has identifiers, but all of them were rejected.
    pub fn has_lost(&self, operation: Operation) -> bool {
        matches!(self.rows[operation as usize], (0, 1..))
    }

    /// An error if a row has an unknown operation.
    pub fn check_operations(&self) -> Result<(), InputProblem> {
        let rows = self.unknown_operations;
        let words = Some(&self.unknown_words).filter(|words| words.len() <= KEPT).cloned().unwrap_or_default();
        if rows == 0 { Ok(()) } else { Err(InputProblem::UnknownOperations { rows, words }) }
    }

    /// Notes a column for this kind.
    pub fn show(&mut self, kind: Kind) {
        self.counts.cells_blank += self.rows_without[kind.index()].take().unwrap_or_default();
    }

    /// Whether there is a column for this kind.
    pub fn is_shown(&self, kind: Kind) -> bool {
        self.rows_without[kind.index()].is_none()
    }

    /// Counts one row and passes on its identifiers. Logs the first rejection for each reason. Returns whether anything
    /// was rejected.
    pub fn count_row(&mut self, row: Row<'_>, layout: &Layout, send_on: &mut impl FnMut(Kind, &[u8])) -> bool {
        if self.pass.is_first() {
            self.counts.count_lines(row);
        }
        if layout.is_header(&row) {
            self.count_header(row, layout);
            return false;
        }
        self.counts.rows_seen += u64::from(self.pass.is_first());
        let operation = match operation_of(&row, layout, self.pass) {
            Ok(Some(operation)) => operation,
            Err(fault) if self.pass.is_first() => {
                self.count_malformed(fault, row, layout);
                return true;
            }
            Ok(None) | Err(_) => return false,
        };
        self.counts.rows_read += 1;
        if layout.format == Format::Jsonl {
            self.show_present(row, layout);
        }
        let (mut is_used, mut has_rejected) = (false, false);
        for (column, kind) in &layout.columns.used {
            let (text, cell) = match row.value(*column) {
                Value::Text(text) => (text, examine(text, &self.null_words)),
                Value::Unfit(reason) => (b"".as_slice(), Cell::Rejected(reason)),
                Value::Absent => {
                    self.count_absent(*kind);
                    continue;
                }
            };
            match cell {
                Cell::Blank => self.counts.cells_blank += 1,
                Cell::NullWord => self.count_null_word(row, layout, *column),
                Cell::Rejected(reason) => {
                    has_rejected = true;
                    self.count_rejected_cell(reason, row, layout, *column);
                }
                Cell::Identifier { padded, invisible } => {
                    is_used = true;
                    self.counts.of_kinds[kind.index()] += 1;
                    self.removals += u64::from(operation == Operation::Remove);
                    if padded | invisible {
                        self.count_unusual(padded, invisible, row, layout);
                    }
                    send_on(*kind, text);
                }
            }
        }
        self.count_whole(operation, is_used, has_rejected);
        has_rejected
    }

    #[inline]
    fn count_whole(&mut self, operation: Operation, is_used: bool, has_rejected: bool) {
        let rows = &mut self.rows[operation as usize];
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
    }

    fn show_present(&mut self, row: Row<'_>, layout: &Layout) {
        for (_, kind) in layout.columns.used.iter().filter(|(column, _)| row.value(*column) != Value::Absent) {
            self.show(*kind);
        }
    }

    fn count_absent(&mut self, kind: Kind) {
        match &mut self.rows_without[kind.index()] {
            Some(rows) => *rows += 1,
            None => self.counts.cells_blank += 1,
        }
    }

    /// Logs the first one of its kind, unless an earlier pass has.
    fn tell_first(&self, count: u64, row: Row<'_>, layout: &Layout, what: fmt::Arguments<'_>) {
        if count == 1 && !self.pass.is_quiet() {
            warn!("{}: {what}", layout.at(row.position));
        }
    }

    fn count_header(&mut self, row: Row<'_>, layout: &Layout) {
        if self.pass.is_first() {
            self.counts.rows_repeating_header += 1;
            let count = self.counts.rows_repeating_header;
            self.tell_first(count, row, layout, format_args!("it repeats the header and is skipped ({ONCE})"));
        }
    }

    /// Keeps a word only if it is unlikely to be an identifier.
    fn note_operation(&mut self, value: Value<'_>) {
        let cell = match value {
            Value::Text(cell) if matches!(examine(cell, &self.null_words), Cell::Blank | Cell::NullWord) => return,
            Value::Text(cell) => cell,
            Value::Absent => return,
            Value::Unfit(_) => b"",
        };
        self.unknown_operations += 1;
        if cell.len() > MAX_WORD || !cell.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b' ') {
            return;
        }
        let word = format!("{:?}", String::from_utf8_lossy(cell));
        if !cell.is_empty() && self.unknown_words.len() <= KEPT && !self.unknown_words.contains(&word) {
            self.unknown_words.push(word);
        }
    }

    fn keep_place(&mut self, reason: &'static str, row: Row<'_>, layout: &Layout, column: Option<usize>) {
        let kept = &mut self.counts.first_rejections;
        if kept.iter().filter(|kept| kept.reason == reason).count() < KEPT {
            let column = column.and_then(|index| layout.names.get(index).cloned());
            kept.push(Rejection { reason, source: layout.file.clone(), line: row.position, column });
        }
    }

    fn count_malformed(&mut self, fault: Fault, row: Row<'_>, layout: &Layout) {
        self.counts.rows_read += 1;
        self.keep_place(fault.key(), row, layout, None);
        self.counts.rows_rejected += 1;
        self.counts.rows_malformed[fault as usize] += 1;
        let count = self.counts.rows_malformed[fault as usize];
        let problem = match fault {
            Fault::CellCount => &format!("it has {} cells for {} columns", row.width(), layout.columns.width),
            Fault::TooLong => "it has too many cells, or too long ones",
            Fault::NotJson => "it is not JSON",
            Fault::NotARow => "it is JSON, but not an object",
            Fault::DuplicateKey => "an identifier's key occurs twice",
            Fault::Operation => {
                self.note_operation(row.value(layout.columns.operation.unwrap_or_default()));
                "its operation is not add, remove or delete"
            }
        };
        self.tell_first(count, row, layout, format_args!("rejected: {problem} ({ONCE})"));
    }

    fn count_rejected_cell(&mut self, reason: Reason, row: Row<'_>, layout: &Layout, column: usize) {
        self.keep_place(reason.key(), row, layout, Some(column));
        self.counts.cells_rejected[reason as usize] += 1;
        let count = self.counts.cells_rejected[reason as usize];
        let way_out = match reason {
            Reason::Float => "; for a DOUBLE write CAST(CAST(... AS BIGINT) AS VARCHAR) in the query",
            Reason::Nested => "; for an ARRAY or a MAP write UNNEST in the query",
            _ => "",
        };
        self.tell_first(count, row, layout, format_args!("a cell is rejected ({}; {ONCE}{way_out})", reason.key()));
    }

    fn count_null_word(&mut self, row: Row<'_>, layout: &Layout, column: usize) {
        self.counts.null_words += 1;
        let word = String::from_utf8_lossy(row.cell(column));
        let what = format_args!(
            "a cell is the word '{word}', which counts as blank ({ONCE}); the setting null_words lists such words, and null_words: \
             [] sends them"
        );
        self.tell_first(self.counts.null_words, row, layout, what);
    }

    /// Counts an identifier that is sent as it is, but is probably a mistake.
    fn count_unusual(&mut self, padded: bool, invisible: bool, row: Row<'_>, layout: &Layout) {
        let counts = &mut self.counts;
        counts.cells_with_outer_space += u64::from(padded);
        counts.cells_with_invisible_characters += u64::from(invisible);
        let (spaces, characters) = (counts.cells_with_outer_space, counts.cells_with_invisible_characters);
        let tell = |count, what| {
            let rest = format_args!("an identifier {what} and is sent as it is; Braze is unlikely to know it ({ONCE})");
            self.tell_first(count, row, layout, rest);
        };
        if padded {
            tell(spaces, "begins or ends with a space");
        }
        if invisible {
            tell(characters, "contains an invisible character");
        }
    }
}
