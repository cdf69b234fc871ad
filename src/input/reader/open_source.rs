//! One source of the input, opened: its rows, and which cells of them are identifiers.

use crate::input::columns::{Columns, HeaderError, Names};
use crate::input::error::InputError;
use crate::input::formats::delimited::OverLines;
use crate::input::formats::format::Format;
use crate::input::formats::{self, Position, Row, Rows, RowsError};
use crate::input::near_names::{NearMiss, near_misses};
use crate::input::source::compressed::Unpacked;
use crate::input::source::files::Watch;
use crate::input::source::{Source, SourceError};
use crate::members::identifier::Kind;

/// What is looked at in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The cells that hold identifiers, and what they are.
    pub used: Vec<(usize, Kind)>,
    /// The cell that says the operation.
    pub operation: Option<usize>,
    /// How many cells a row has.
    pub width: usize,
    /// `line` or `row`.
    pub unit: &'static str,
    /// The file, where there are several.
    pub file: Option<String>,
    /// A row may leave columns out.
    pub is_sparse: bool,
    /// The names of the columns, where a row could repeat them.
    pub header: Vec<String>,
    /// The column of each used cell.
    pub labels: Vec<String>,
}

impl Layout {
    /// Whether a row is the header once more.
    #[inline]
    pub fn is_header(&self, row: &Row<'_>) -> bool {
        self.used.first().is_some_and(|(column, _)| self.repeats(row, *column)) && self.repeats_all(row)
    }

    #[inline]
    fn repeats(&self, row: &Row<'_>, column: usize) -> bool {
        self.header.get(column).is_some_and(|name| name.as_bytes() == row.cell(column))
    }

    #[cold]
    fn repeats_all(&self, row: &Row<'_>) -> bool {
        row.fault.is_none() && row.len() == self.header.len() && (0..row.len()).all(|column| self.repeats(row, column))
    }

    /// A row, for messages.
    pub fn at(&self, number: u64) -> String {
        let position = Position { unit: self.unit, number };
        self.file.as_ref().map_or_else(|| position.to_string(), |file| format!("{file}, {position}"))
    }
}

/// An opened source.
pub struct OpenSource {
    /// For messages.
    pub name: String,
    /// As it was set or recognised.
    pub format: Format,
    /// The columns that its header names, or the keys of its first object.
    pub columns: Columns,
    /// What is looked at.
    pub layout: Layout,
    rows: Rows<Unpacked<Source>>,
    /// The names that were set, as long as no row was held against them.
    set_names: Option<Vec<String>>,
    watch: Watch,
}

impl OpenSource {
    /// Reads as far as it takes to know the columns.
    pub fn open(source: Source, names: &Names, is_one_of_several: bool) -> Result<Self, InputError> {
        let (name, watch) = (source.name.clone(), source.watch());
        let opened = Self::open_rows(source, names).map_err(|error| unreadable(&name, &watch, error))?;
        let formats::Opened { mut rows, format, names: seen } = opened.0;
        let is_sparse = format == Format::Jsonl;
        let columns = match &seen {
            Some(seen) => {
                if is_sparse { names.find(seen) } else { names.find_all(seen) }.map_err(|error| header(&name, error))?
            }
            None => Columns::default(),
        };
        let Columns { used, operation, width, .. } = if is_sparse { names.of_objects() } else { columns.clone() };
        rows.keep(&used.iter().map(|(index, _)| *index).chain(operation).collect::<Vec<_>>());
        let file = is_one_of_several.then(|| name.clone());
        let outputs = names.outputs();
        let labels = if is_sparse { outputs.as_slice() } else { seen.as_deref().unwrap_or_default() };
        let labels = used.iter().filter_map(|(index, _)| labels.get(*index).cloned()).collect();
        let header = seen.clone().filter(|_| matches!(format, Format::Csv | Format::Tsv)).unwrap_or_default();
        let layout = Layout { used, operation, width, unit: format.unit(), file, is_sparse, header, labels };
        let set_names = seen.filter(|_| opened.1 && !is_sparse);
        Ok(Self { name, format, columns, layout, rows, set_names, watch })
    }

    /// The rows, and whether the columns were set.
    fn open_rows(source: Source, names: &Names) -> Result<(formats::Opened<Unpacked<Source>>, bool), RowsError> {
        let (name, mut format_hint) = (source.name.clone(), source.format_hint.clone());
        let start = Position { unit: "line", number: 0 };
        let unpacked = Unpacked::new(source).map_err(|error| RowsError::Io { after: start, error })?;
        format_hint.may_be_empty |= unpacked.is_compressed();
        Ok((formats::open(unpacked, &name, &format_hint, names.keys())?, format_hint.columns.is_some()))
    }

    /// Goes to the next row; false at the end.
    #[inline]
    pub fn advance(&mut self) -> Result<bool, RowsError> {
        let is_row = self.rows.advance()?;
        if is_row
            && let Some(names) = &self.set_names
            && self.row().fault.is_none()
        {
            check_first_row(self.row(), names, &self.layout)?;
            self.set_names = None;
        }
        Ok(is_row)
    }

    /// The row that it went to.
    #[inline]
    pub fn row(&self) -> Row<'_> {
        self.rows.row()
    }

    /// The rows so far that have more than one line.
    pub fn over_lines(&self) -> OverLines {
        self.rows.over_lines()
    }

    /// Of the keys of objects so far that are ignored, those that are nearly those of columns that are not.
    pub fn near_keys(&self, names: &Names) -> Vec<NearMiss> {
        let keys = self.rows.other_keys();
        near_misses(keys.iter().map(String::as_str), &names.wanted())
    }

    /// Why the rows cannot be read on.
    pub fn unreadable(&self, error: RowsError) -> InputError {
        unreadable(&self.name, &self.watch, error)
    }

    /// Whether the file is still the one that was looked at first.
    pub fn unmodified(&self) -> Result<(), SourceError> {
        self.watch.unmodified()
    }

    /// An error where the identifier columns are others than those of the first part. An object may leave keys out, so JSON
    /// lines can be held against nothing.
    pub fn fits(&self, first: &Self, names: &Names) -> Result<(), InputError> {
        if self.format == Format::Jsonl || first.format == Format::Jsonl {
            return Ok(());
        }
        let all = names.outputs();
        let kinds = |source: &Self| {
            let mut kinds: Vec<_> = source.columns.used.iter().map(|(_, kind)| kind.index()).collect();
            kinds.sort_unstable();
            kinds
        };
        let (found, wanted) = (kinds(self), kinds(first));
        if found == wanted {
            return Ok(());
        }
        let to_names = |kinds: Vec<usize>| kinds.into_iter().filter_map(|index| all.get(index).cloned()).collect();
        let error =
            HeaderError::OtherColumns { found: to_names(found), wanted: to_names(wanted), first: first.name.clone() };
        Err(header(&self.name, error))
    }
}

/// Whether the names that were set can be those of this row. In a short input wrong names would pass for a few rejections.
fn check_first_row(row: Row<'_>, names: &[String], layout: &Layout) -> Result<(), RowsError> {
    if row.len() != names.len() {
        return Err(RowsError::ColumnCount { found: row.len(), named: names.len() });
    }
    let is_header = layout.used.iter().all(|(column, _)| row.cell(*column) == names[*column].as_bytes());
    if is_header { Err(RowsError::HeaderBesideColumns) } else { Ok(()) }
}

fn header(name: &str, error: HeaderError) -> InputError {
    InputError::Header { name: name.to_owned(), error }
}

fn unreadable(name: &str, watch: &Watch, error: RowsError) -> InputError {
    // A file that changes under our eyes shows as nearly any error; the cause is the better message.
    match watch.unmodified() {
        Err(modified) => InputError::Source(modified),
        Ok(()) => InputError::Rows { name: name.to_owned(), error },
    }
}
