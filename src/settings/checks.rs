//! Settings that depend on each other, and settings with their own rules.

use std::collections::HashSet;
use std::path::PathBuf;

use super::ConfigError;
use super::raw::{Located, Origin};
use super::setting::Key;
use super::values::{Values, missing, parse_duration, shortened};
use crate::http::endpoint::{self, Endpoint};
use crate::input::cells::NullWords;
use crate::input::columns::Names;
use crate::input::formats::delimited::MAX_COLUMNS;
use crate::input::formats::format::{Format, FormatHint};
use crate::input::formats::splitter::Quotes;
use crate::input::source::Input;
use crate::input::{Location, MaxRejected, TableName};
use crate::members::identifier::{COLUMNS, Kind};
use crate::members::operation::{MIRROR, Operation, Operations};
use crate::mirror;
use crate::mirror::limits::{Limit, Limits};
use crate::mirror::sql::Refresh;
use crate::mirror::warehouse::OPERATION;

/// The most alias columns; Braze sets no limit, a `u16` counts them.
const MAX_ALIASES: usize = 1000;
/// What a state's tables have behind it takes up to 51 of the 128 letters that Treasure Data allows.
const MAX_STATE_NAME: usize = 70;

impl Values {
    pub fn operations(&self) -> Result<Operations, ConfigError> {
        match (self.text(Key::Operation)?, self.text(Key::OperationColumn)?) {
            (Some(_), Some(_)) => {
                Err(self.bad(Key::OperationColumn, "cannot be set together with operation: leave one of them out"))
            }
            (None, Some(column)) => Ok(Operations::Column(column)),
            (Some(name), None) if name == MIRROR => Ok(Operations::Mirror),
            (Some(name), None) if name == Operation::Remove.as_str() => Ok(Operations::One(Operation::Remove)),
            (Some(_), None) => Ok(Operations::One(Operation::Add)),
            (None, None) => Err(missing(Key::Operation)),
        }
    }

    /// The names of the columns that are read. All differ.
    pub fn names_of_columns(&self, operation: Option<&str>) -> Result<Names, ConfigError> {
        let null_words = NullWords::new(self.list(Key::NullWords)?);
        let mapping = self.map(Key::Mapping)?;
        let names = Names { aliases: self.aliases()?, mapping, operation: operation.map(str::to_owned), null_words };
        let outputs = names.outputs();
        if operation.is_some_and(|column| outputs.iter().any(|output| output == column)) {
            return Err(self.bad(
                Key::OperationColumn,
                "names an identifier column: name the column that holds add, remove or delete",
            ));
        }
        let mut seen = HashSet::new();
        for (attribute, output) in &names.mapping {
            let (from, to) = (shortened(attribute), shortened(output));
            let wrong = if !outputs.contains(output) {
                format!(
                    "maps '{from}' to '{to}', which is not {} or one of aliases: add aliases: [{to}]",
                    COLUMNS.map(|(_, name)| name).join(", ")
                )
            } else if outputs.contains(attribute) || operation == Some(attribute.as_str()) {
                format!("maps '{from}', but a column of that name is always read as itself: remove it from mapping")
            } else if !seen.insert(output) {
                format!("maps two columns to '{to}': keep one of them")
            } else {
                continue;
            };
            return Err(self.bad(Key::Mapping, &wrong));
        }
        Ok(names)
    }

    fn aliases(&self) -> Result<Vec<String>, ConfigError> {
        let wrong = |expected: &str| self.bad(Key::Aliases, expected);
        let labels = self.list(Key::Aliases)?;
        if labels.len() > MAX_ALIASES {
            return Err(wrong("has more than 1,000 labels: list only columns that the result has"));
        }
        let mut seen = HashSet::new();
        for label in &labels {
            if Kind::is_fixed_column(label) {
                return Err(wrong(&format!("names '{label}', which is always read and not an alias: leave it out")));
            }
            if !seen.insert(label) {
                return Err(wrong(&format!("names '{}' twice: keep one of them", shortened(label))));
            }
        }
        Ok(labels)
    }

    /// A file, a job, or a table. Treasure Data knows the columns and format of the last two, so these must not be set.
    pub fn location(&self) -> Result<Location, ConfigError> {
        let (location, of) = match (self.table(Key::Table)?, self.text(Key::JobId)?) {
            (Some(table), _) => (Location::Table(table), Key::Table),
            (None, Some(id)) => (Location::Job(id), Key::JobId),
            (None, None) => return self.input().map(Location::Here),
        };
        let one_source = "set only one of table, job_id and input";
        let excluded = [
            (Key::JobId, one_source),
            (Key::Input, one_source),
            (Key::Columns, "leave it out, Treasure Data gives the names of the columns"),
            (Key::Format, "leave it out, a result is always fetched as MessagePack"),
        ];
        match excluded.into_iter().find(|(key, _)| *key != of && self.written(*key).is_some()) {
            Some((key, way_out)) => Err(self.bad(key, &format!("is set together with {}: {way_out}", of.name()))),
            None => Ok(location),
        }
    }

    /// The options of a mirror. Other operations must not set them.
    pub fn mirror(&self, operations: &Operations) -> Result<Option<mirror::Options>, ConfigError> {
        const OF_MIRROR: [Key; 5] =
            [Key::StateTable, Key::MaxRemovals, Key::MaxAdditions, Key::Refresh, Key::KeyRotated];
        if *operations != Operations::Mirror {
            return match OF_MIRROR.into_iter().find(|key| self.written(*key).is_some()) {
                Some(key) => Err(self.bad(key, "is only for operation: mirror: leave it out")),
                None => Ok(None),
            };
        }
        let Some(table) = self.table(Key::Table)? else {
            let hint = "is mirror, which needs a table of members in Treasure Data: set table: marketing.gold_members";
            return Err(self.bad(Key::Operation, hint));
        };
        if self.written(Key::ExpectedRows).is_some() {
            return Err(self.bad(
                Key::ExpectedRows,
                "cannot be used with operation: mirror: leave it out, and set max_removals and max_additions instead",
            ));
        }
        if self.aliases()?.iter().any(|label| label == OPERATION) {
            return Err(
                self.bad(Key::Aliases, &format!("names '{OPERATION}', which a mirror uses itself: rename the alias"))
            );
        }
        let state_table = self.table(Key::StateTable)?;
        let is_usable = |name: &TableName| {
            name.table.len() <= MAX_STATE_NAME && !name.table.bytes().any(|letter| letter.is_ascii_uppercase())
        };
        if state_table.as_ref().is_some_and(|name| !is_usable(name)) {
            let expected =
                format!("must have a name in lower case, of at most {MAX_STATE_NAME} letters after the point");
            return Err(self.bad(Key::StateTable, &expected));
        }
        let refresh = self.get(Key::Refresh, |text| match text {
            "off" => Some(Refresh::Off),
            "all" => Some(Refresh::All),
            other => Some(parse_duration(other)?.as_secs()).filter(|seconds| *seconds > 0).map(Refresh::Every),
        })?;
        let limit = |key| self.share(key, Limit::Count, Limit::Percent);
        let Limits { removals, additions } = Limits::default();
        Ok(Some(mirror::Options {
            table,
            state_table,
            limits: Limits {
                removals: limit(Key::MaxRemovals)?.unwrap_or(removals),
                additions: limit(Key::MaxAdditions)?.unwrap_or(additions),
            },
            refresh: refresh.ok_or_else(|| missing(Key::Refresh))?,
            key_rotated: self.flag(Key::KeyRotated)?,
        }))
    }

    fn input(&self) -> Result<Input, ConfigError> {
        let wrong = |expected: &str| Err(self.bad(Key::Input, expected));
        let is_list = self.written(Key::Input).is_some_and(|written| written.raw.is_array());
        match self.list(Key::Input)?.as_slice() {
            [] if is_list => wrong("is an empty list: name at least one file"),
            [] => Err(missing(Key::Input)),
            [one] => Ok(Input::from_text(one)),
            several if several.iter().any(|entry| entry == "-") => {
                wrong("lists standard input (-) next to files: read it alone")
            }
            several => Ok(Input::Files(several.iter().map(PathBuf::from).collect())),
        }
    }

    pub fn format_hint(&self) -> Result<FormatHint, ConfigError> {
        let format = self.get(Key::Format, Format::from_name)?;
        let columns = Some(self.list(Key::Columns)?).filter(|columns| !columns.is_empty());
        if columns.as_ref().is_some_and(|columns| columns.len() > MAX_COLUMNS) {
            return Err(self.bad(Key::Columns, "has more than 10,000 names, the most that an input may have"));
        }
        if let (Some(format), None) = (format.filter(|format| format.needs_columns()), &columns) {
            let expected = format!(
                "is {format}, which has no column names: set columns to the names in the order of the query's SELECT, such as \
                 columns: [user_ids, email]"
            );
            return Err(self.bad(Key::Format, &expected));
        }
        let quotes = self.get(Key::Quotes, Quotes::from_name)?;
        Ok(FormatHint { format, columns, quotes, may_be_empty: false })
    }

    /// The endpoint. One from the environment is checked only if needed.
    pub fn endpoint(&self, allowed: &[String], is_needed: bool) -> Result<Option<Endpoint>, ConfigError> {
        let is_looked_at = |written: &&Located| is_needed || !matches!(written.origin, Origin::Environment(_));
        let Some(Located { origin, .. }) = self.written(Key::Endpoint).filter(is_looked_at) else { return Ok(None) };
        let refused = |error| ConfigError::Address { origin: origin.clone(), what: "endpoint", error };
        let checked = |text: String| endpoint::parse(text.trim(), allowed).map_err(refused);
        self.text(Key::Endpoint)?.map(checked).transpose()
    }

    pub fn max_rejected(&self) -> Result<MaxRejected, ConfigError> {
        let limit = self.share(Key::MaxRejected, MaxRejected::Count, MaxRejected::Percent)?;
        Ok(limit.unwrap_or(MaxRejected::Default))
    }
}
