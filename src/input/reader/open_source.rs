//! An opened source: its rows, and which of their cells are identifiers.

use std::collections::BTreeSet;

use crate::input::columns::{Columns, HeaderError, Names};
use crate::input::error::{InputError, InputProblem};
use crate::input::formats::format::Format;
use crate::input::formats::{self, Row, Rows, RowsError};
use crate::input::source::Source;
use crate::input::source::compressed::Unpacked;
use crate::input::source::files::Watch;

/// What a row must look like, and what is read from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The cells that are read.
    pub columns: Columns,
    /// The format of the rows.
    pub format: Format,
    /// The file, if there are several.
    pub file: Option<String>,
    /// The names of all columns.
    pub names: Vec<String>,
}

impl Layout {
    /// Whether a row repeats the header.
    #[inline]
    pub fn is_header(&self, row: &Row<'_>) -> bool {
        matches!(self.format, Format::Csv | Format::Tsv)
            && self.columns.used.first().is_some_and(|(column, _)| self.repeats(row, *column))
            && self.repeats_all(*row)
    }

    #[inline]
    fn repeats(&self, row: &Row<'_>, column: usize) -> bool {
        self.names.get(column).is_some_and(|name| name.as_bytes() == row.cell(column))
    }

    #[cold]
    fn repeats_all(&self, row: Row<'_>) -> bool {
        let is_repeated = |column| self.repeats(&row, column);
        row.fault.is_none() && row.width() == self.names.len() && (0..row.width()).all(is_repeated)
    }

    /// A row's position, for messages.
    pub fn at(&self, number: u64) -> String {
        let position = format!("{} {number}", self.format.unit());
        self.file.as_ref().map_or_else(|| position.clone(), |file| format!("{file}, {position}"))
    }

    /// Checks that the names in the setting `columns` can be those of this row. In a short input, wrong names would
    /// look like a few rejections.
    fn check_first_row(&self, row: Row<'_>) -> Result<(), RowsError> {
        if row.width() != self.names.len() {
            return Err(RowsError::ColumnCount { found: row.width(), named: self.names.len() });
        }
        let is_header = self.columns.used.iter().all(|(column, _)| self.repeats(&row, *column));
        if is_header { Err(RowsError::HeaderBesideColumns) } else { Ok(()) }
    }
}

/// An opened source.
pub struct OpenSource {
    /// Its name, for messages.
    pub name: String,
    /// The columns that its header names, or the keys of its first object.
    pub found: Columns,
    /// What is read.
    pub layout: Layout,
    /// The rows. Only [`Self::advance`] moves on.
    pub rows: Rows<Unpacked<Source>>,
    /// The column names come from the settings, and have not been compared with a row yet.
    is_unchecked: bool,
    /// Shows whether the file was modified since it was found.
    pub watch: Watch,
}

impl OpenSource {
    /// Reads until the columns are known.
    pub fn open(source: Source, names: &Names, is_one_of_several: bool) -> Result<Self, InputError> {
        let (name, watch, mut format_hint) = (source.name.clone(), source.watch.clone(), source.format_hint.clone());
        let opened = Unpacked::new(source).map_err(RowsError::at_start).and_then(|unpacked| {
            // Compressed data shows if its end is missing.
            format_hint.may_be_empty |= !matches!(unpacked, Unpacked::Plain(_));
            formats::open(unpacked, &name, &format_hint, names.keys())
        });
        let formats::Opened { rows, format, names: seen } = opened.map_err(|error| unreadable(&name, &watch, error))?;
        let is_sparse = format == Format::Jsonl;
        let found = match &seen {
            None => Ok(Columns::default()),
            Some(seen) if is_sparse => names.find(seen),
            Some(seen) => names.find_all(seen),
        };
        let found = found.map_err(|error| InputProblem::from(Box::new(error)).of(&name))?;
        let columns = if is_sparse { names.of_objects() } else { found.clone() };
        let names = if is_sparse { names.outputs() } else { seen.unwrap_or_default() };
        let layout = Layout { columns, format, file: is_one_of_several.then(|| name.clone()), names };
        let is_unchecked = format_hint.columns.is_some() && !is_sparse;
        Ok(Self { name, found, layout, rows, is_unchecked, watch })
    }

    /// Goes to the next row; false at the end.
    #[inline]
    pub fn advance(&mut self) -> Result<bool, RowsError> {
        let is_row = self.rows.advance()?;
        if self.is_unchecked && is_row && self.rows.row().fault.is_none() {
            self.layout.check_first_row(self.rows.row())?;
            self.is_unchecked = false;
        }
        Ok(is_row)
    }

    /// An error if its identifier columns are not those of the first source. JSON lines are not compared, because
    /// objects may leave out keys.
    pub fn fits(&self, first: &Self, names: &Names) -> Result<(), InputError> {
        let used = |source: &Self| source.found.used.iter().map(|(_, kind)| kind.index()).collect::<BTreeSet<_>>();
        let [found, wanted] = [self, first].map(used);
        if found == wanted || [self, first].iter().any(|source| source.layout.format == Format::Jsonl) {
            return Ok(());
        }
        let outputs = names.outputs();
        let [found, wanted] = [found, wanted].map(|used| used.into_iter().map(|kind| outputs[kind].clone()).collect());
        let error = HeaderError::OtherColumns { found, wanted, first: first.name.clone() };
        Err(InputProblem::from(Box::new(error)).of(&self.name))
    }
}

/// Why a source cannot be read further.
pub fn unreadable(name: &str, watch: &Watch, error: RowsError) -> InputError {
    // A file that changes while it is read can cause nearly any error. The change is the better message.
    match watch.unmodified() {
        Err(modified) => modified.into(),
        Ok(()) => InputProblem::from(error).of(name),
    }
}
