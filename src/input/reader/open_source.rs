//! An opened source: its rows, and which of their cells are identifiers.

use std::collections::BTreeSet;

use crate::input::columns::{Columns, HeaderError, Names};
use crate::input::error::{InputError, InputProblem};
use crate::input::formats::format::Format;
use crate::input::formats::{self, Row, Rows, RowsError, UTF8_BOM};
use crate::input::near_names::is_alike;
use crate::input::source::compressed::Unpacked;
use crate::input::source::files::Watch;
use crate::input::source::{Source, SourceError};
use crate::members::identifier::Kind;

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
    #[expect(clippy::inline_always, reason = "as for the end of a record")]
    #[inline(always)]
    pub fn is_header(&self, row: &Row<'_>) -> bool {
        matches!(self.format, Format::Csv | Format::Tsv)
            && self.columns.used.first().is_some_and(|(column, _)| self.repeats(row, *column))
            && self.repeats_all(*row)
    }

    #[inline]
    fn repeats(&self, row: &Row<'_>, column: usize) -> bool {
        let cell = row.cell(column);
        self.names.get(column).is_some_and(|name| {
            name.as_bytes() == cell || cell.first() == Some(&UTF8_BOM[0]) && repeats_with_mark(name, cell)
        })
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
    /// look like a few rejections, and a header in another order would send identifiers as another kind.
    fn check_first_row(&self, row: Row<'_>, known: &[String]) -> Result<(), RowsError> {
        if row.width() != self.names.len() {
            return Err(RowsError::ColumnCount { found: row.width(), named: self.names.len() });
        }
        let text = |column| str::from_utf8(row.cell(column)).unwrap_or_default();
        let is_name = |cell: &str| known.iter().chain(&self.names).any(|name| name == cell || is_alike(name, cell));
        let is_fixed = |column| Kind::is_fixed_column(text(column));
        let names_kind = self.columns.used.iter().any(|(column, _)| is_name(text(*column)));
        if names_kind || (0..row.width()).any(is_fixed) { Err(RowsError::HeaderBesideColumns) } else { Ok(()) }
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
    /// The names that a header would have, if the column names come from the settings and have not been compared with a
    /// row yet.
    unchecked: Option<Vec<String>>,
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
        let outputs = names.outputs();
        let unchecked = format_hint.columns.is_some().then(|| outputs.clone());
        let names = if is_sparse { outputs } else { seen.unwrap_or_default() };
        let layout = Layout { columns, format, file: is_one_of_several.then(|| name.clone()), names };
        Ok(Self { name, found, layout, rows, unchecked, watch })
    }

    /// Goes to the next row; false at the end.
    #[inline]
    pub fn advance(&mut self) -> Result<bool, RowsError> {
        let is_row = self.rows.advance()?;
        if is_row && self.unchecked.is_some() && self.rows.row().fault.is_none() {
            let known = self.unchecked.take().unwrap_or_default();
            self.layout.check_first_row(self.rows.row(), &known)?;
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

/// Whether it is the first name of a header that was joined to another file with its byte order mark, after which a
/// quote is text.
#[cold]
fn repeats_with_mark(name: &str, cell: &[u8]) -> bool {
    let quoted = format!("\"{name}\"");
    cell.strip_prefix(UTF8_BOM).is_some_and(|cell| [name, quoted.as_str()].map(str::as_bytes).contains(&cell))
}

/// Why a source cannot be read further.
pub fn unreadable(name: &str, watch: &Watch, error: RowsError) -> InputError {
    // A file that changes while it is read can cause nearly any error. The change is the better message.
    if let Err(modified) = watch.unmodified() {
        return modified.into();
    }
    match error {
        RowsError::Io { unit, number, error } => match error.downcast::<SourceError>() {
            Ok(error) => error.into(),
            Err(error) => InputProblem::from(RowsError::Io { unit, number, error }).of(name),
        },
        error => InputProblem::from(error).of(name),
    }
}
