//! JSON lines: an object a line.
//!
//! A line that is no row is rejected, and the next one is a row again. Empty lines are none. A line is kept up to
//! [`MAX_LINE_BYTES`](super::bytes::MAX_LINE_BYTES).

use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::io::Read;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::bytes::{Bytes, Line};
use super::delimited::KEPT_OF_A_CELL;
use super::typed::{Record, What};
use super::{Fault, Position, Row, RowsError};
use crate::input::cells::Reason;

/// The most keys that are remembered of those that nobody asks for, and the longest, in bytes.
const MAX_OTHER_KEYS: usize = 1000;
const MAX_OTHER_KEY: usize = 64;
/// So many rejected lines may stand before the first object, which shows what the columns are.
const MAX_LEADING_FAULTS: usize = 1000;
/// How deep a value may be nested.
const MAX_DEPTH: u32 = 128;

/// Reads rows from lines of JSON.
pub struct Json<R> {
    bytes: Bytes<R>,
    /// The keys that are looked for; a row has a cell for each.
    wanted: Vec<(String, usize)>,
    columns: usize,
    other_keys: HashSet<String>,
    line: u64,
    record: Record,
    /// Lines before the first object, which were read to find it.
    leading: VecDeque<(u64, Fault)>,
    /// The first object is in the record and was not given out.
    has_first: bool,
    /// Of the latest row: its line, and why it is none.
    latest: (u64, Option<Fault>),
}

impl<R: Read> Json<R> {
    /// An object a line, of which these keys are wanted. Reads the first object and says which keys it has; none where there
    /// is no line at all.
    pub fn new(bytes: Bytes<R>, wanted: Vec<(String, usize)>) -> Result<(Self, Option<Vec<String>>), RowsError> {
        let mut json = Self {
            bytes,
            columns: wanted.iter().map(|(_, column)| column + 1).max().unwrap_or_default(),
            wanted,
            other_keys: HashSet::new(),
            line: 0,
            record: Record::default(),
            leading: VecDeque::new(),
            has_first: false,
            latest: (0, None),
        };
        let keys = json.find_first()?;
        Ok((json, keys))
    }

    /// Goes to the next row; false at the end of the input.
    pub fn advance(&mut self) -> Result<bool, RowsError> {
        if let Some((line, fault)) = self.leading.pop_front() {
            self.latest = (line, Some(fault));
        } else if std::mem::take(&mut self.has_first) {
            self.latest = (self.line, None);
        } else {
            let Some(read) = self.read_line(|_| {})? else { return Ok(false) };
            self.latest = (self.line, read.err());
        }
        Ok(true)
    }

    /// The row that it went to.
    pub fn row(&self) -> Row<'_> {
        let (line, fault) = self.latest;
        self.record.row(line, fault)
    }

    /// The keys of objects so far that are not wanted, in order; at most 1,000.
    pub fn other_keys(&self) -> Vec<String> {
        let mut keys: Vec<_> = self.other_keys.iter().cloned().collect();
        keys.sort_unstable();
        keys
    }

    fn find_first(&mut self) -> Result<Option<Vec<String>>, RowsError> {
        let mut keys = None;
        loop {
            match self.read_line(|object| keys = Some(object.keys()))? {
                Some(Ok(())) => {
                    self.has_first = true;
                    return Ok(keys);
                }
                Some(Err(fault)) => self.leading.push_back((self.line, fault)),
                None if self.leading.is_empty() => return Ok(None),
                None => return Err(RowsError::NoObject { lines: self.leading.len() }),
            }
            if self.leading.len() == MAX_LEADING_FAULTS {
                return Err(RowsError::NoObject { lines: self.leading.len() });
            }
        }
    }

    /// Reads the next line that is not empty into the record; `look` sees it where it is a row. None at the end.
    fn read_line(&mut self, look: impl FnOnce(&Object<'_>)) -> Result<Option<Result<(), Fault>>, RowsError> {
        loop {
            let after = Position { unit: "line", number: self.line };
            let line = self.bytes.line().map_err(|error| RowsError::Io { after, error })?;
            self.line += 1;
            self.record.reset(self.columns);
            let line = match line {
                None => return Ok(None),
                Some(Line::TooLong) => return Ok(Some(Err(Fault::TooLong))),
                Some(Line::Whole(line)) if line.trim_ascii().is_empty() => continue,
                Some(Line::Whole(line)) => line,
            };
            // What is not UTF-8 is looked for where a text is wanted, and does no harm elsewhere.
            let line = String::from_utf8_lossy(line);
            let read = Object::read(&line).and_then(|object| {
                object.fill(&mut self.record, &self.wanted, matches!(line, Cow::Owned(_)))?;
                object.remember_others(&self.wanted, &mut self.other_keys);
                look(&object);
                Ok(())
            });
            return Ok(Some(read));
        }
    }
}

/// A string; borrowed, if nothing in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The members of an object, in order. Values are as they are written, so that numbers keep their digits; their grammar was
/// looked at, but not what their strings escape.
struct Object<'a>(Vec<(Text<'a>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut members = Vec::with_capacity(16);
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl<'a> Object<'a> {
    fn read(line: &'a str) -> Result<Self, Fault> {
        serde_json::from_str(line).map_err(|_| match serde_json::from_str::<&RawValue>(line) {
            Ok(value) if is_sound(value.get()) => Fault::NotARow,
            _ => Fault::NotJson,
        })
    }

    /// The keys are shown in messages; one that is longer is none of ours.
    fn keys(&self) -> Vec<String> {
        self.0.iter().map(|(key, _)| key.0.chars().take(KEPT_OF_A_CELL).collect()).collect()
    }

    /// Remembers the keys that are not wanted, as far as there is room.
    fn remember_others(&self, wanted: &[(String, usize)], others: &mut HashSet<String>) {
        for (key, _) in &self.0 {
            if others.len() < MAX_OTHER_KEYS
                && key.0.len() <= MAX_OTHER_KEY
                && !others.contains(key.0.as_ref())
                && !wanted.iter().any(|(known, _)| *known == key.0)
            {
                others.insert(key.0.clone().into_owned());
            }
        }
    }

    /// Puts the values of the wanted keys into the record.
    fn fill(&self, record: &mut Record, wanted: &[(String, usize)], is_damaged: bool) -> Result<(), Fault> {
        let mut is_twice = false;
        for (key, value) in &self.0 {
            let column = wanted.iter().find(|(wanted, _)| *wanted == key.0).map(|(_, column)| *column);
            let start = record.bytes().len();
            let what = read_value(value.get(), column.map(|_| record.bytes()), is_damaged)?;
            if let Some(column) = column {
                is_twice |= !record.set(column, record.cell(start, what));
            }
        }
        if is_twice { Err(Fault::DuplicateKey) } else { Ok(()) }
    }
}

/// What a value is. The content of a string and the digits of a whole number go to `out`. `is_damaged` says that what was not
/// UTF-8 is replaced.
fn read_value(value: &str, out: Option<&mut Vec<u8>>, is_damaged: bool) -> Result<What, Fault> {
    let content = match value.as_bytes() {
        [b'"', content @ ..] if !value.contains('\\') => Cow::Borrowed(&value[1..content.len()]),
        [b'"', ..] => serde_json::from_str::<Text<'_>>(value).map_err(|_| Fault::NotJson)?.0,
        [b'{' | b'[', ..] if is_sound(value) => return Ok(What::Unfit(Reason::Nested)),
        [b'{' | b'[', ..] => return Err(Fault::NotJson),
        [b't' | b'f', ..] => return Ok(What::Unfit(Reason::Boolean)),
        [b'n', ..] => return Ok(What::Text),
        _ if value.contains(['.', 'e', 'E']) => return Ok(What::Unfit(Reason::Float)),
        _ => Cow::Borrowed(value),
    };
    if is_damaged && content.contains(char::REPLACEMENT_CHARACTER) {
        return Ok(What::Unfit(Reason::InvalidUtf8));
    }
    if let Some(out) = out {
        out.extend_from_slice(content.as_bytes());
    }
    Ok(What::Text)
}

/// Whether JSON of the right grammar is not too deep, and escapes no half of a surrogate pair.
fn is_sound(json: &str) -> bool {
    let (mut index, mut depth) = (0, 0_u32);
    while let Some(byte) = json.as_bytes().get(index) {
        match byte {
            b'"' => {
                let mut text = serde_json::Deserializer::from_str(&json[index..]).into_iter::<Text<'_>>();
                if !matches!(text.next(), Some(Ok(_))) {
                    return false;
                }
                index += text.byte_offset();
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        if depth >= MAX_DEPTH {
            return false;
        }
        index += 1;
    }
    true
}
