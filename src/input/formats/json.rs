//! JSON lines: one object per line.
//!
//! A line that is not an object is a rejected row; an empty line is skipped. A line is kept up to
//! [`MAX_LINE_BYTES`](super::bytes::MAX_LINE_BYTES).

use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::io::Read;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::bytes::Bytes;
use super::delimited::KEPT_OF_A_CELL;
use super::typed::{Record, What};
use super::{Fault, Row, RowsError};
use crate::input::cells::Reason;

/// How many keys that are not read are remembered, and the longest of them in bytes.
const MAX_OTHER_KEYS: usize = 1000;
const MAX_OTHER_KEY: usize = 64;
/// The most rejected lines before the first object. That object shows the columns.
const MAX_LEADING_FAULTS: usize = 1000;

/// Reads rows from lines of JSON.
pub struct Json<R> {
    bytes: Bytes<R>,
    /// The keys that are read, each with its column.
    wanted: Vec<(String, usize)>,
    columns: usize,
    /// The keys so far that are not read, as far as there is room.
    pub other_keys: HashSet<String>,
    line: u64,
    record: Record,
    /// The lines that were read to find the first object: their numbers, and why they are rejected. The record holds
    /// that object.
    ahead: VecDeque<(u64, Option<Fault>)>,
    /// The same for the latest row.
    latest: (u64, Option<Fault>),
}

impl<R: Read> Json<R> {
    /// Reads up to the first object, and returns its keys; none if there is no line at all.
    pub fn new(bytes: Bytes<R>, wanted: Vec<(String, usize)>) -> Result<(Self, Option<Vec<String>>), RowsError> {
        let mut json = Self {
            bytes,
            columns: wanted.iter().map(|(_, column)| column + 1).max().unwrap_or_default(),
            wanted,
            other_keys: HashSet::new(),
            line: 0,
            record: Record::default(),
            ahead: VecDeque::new(),
            latest: (0, None),
        };
        let mut keys = None;
        while keys.is_none() && json.ahead.len() < MAX_LEADING_FAULTS {
            let Some(read) = json.read_line(|object| keys = Some(object.keys()))? else { break };
            json.ahead.push_back((json.line, read.err()));
        }
        match (keys, json.ahead.len()) {
            (None, lines @ 1..) => Err(RowsError::NoObject { lines }),
            (keys, _) => Ok((json, keys)),
        }
    }

    /// Goes to the next row; false at the end of the input.
    pub fn advance(&mut self) -> Result<bool, RowsError> {
        self.latest = match self.ahead.pop_front() {
            Some(row) => row,
            None => match self.read_line(|_| {})? {
                Some(Err(Fault::NotJson)) if self.bytes.consumed(1) != b"\n" => {
                    return Err(RowsError::CutOff { line: self.line });
                }
                Some(read) => (self.line, read.err()),
                None => return Ok(false),
            },
        };
        Ok(true)
    }

    /// The current row.
    pub fn row(&self) -> Row<'_> {
        let (line, fault) = self.latest;
        self.record.row(line, fault)
    }

    /// Reads the next line that is not empty into the record. If it is a row, `look` sees it. None at the end.
    fn read_line(&mut self, look: impl FnOnce(&Object<'_>)) -> Result<Option<Result<(), Fault>>, RowsError> {
        loop {
            let number = self.line;
            let line = self.bytes.line().map_err(|error| RowsError::Io { unit: "line", number, error })?;
            self.line += 1;
            self.record.reset(self.columns);
            let line = match line {
                None => return Ok(None),
                Some(Err(fault)) => return Ok(Some(Err(fault))),
                Some(Ok(line)) if line.trim_ascii().is_empty() => continue,
                Some(Ok(line)) => line,
            };
            // Bytes that are not UTF-8 matter only in texts that are read, so they are looked for there.
            let line = String::from_utf8_lossy(line);
            let read = Object::read(&line).and_then(|object| {
                object.fill(&mut self.record, &self.wanted, &mut self.other_keys, matches!(line, Cow::Owned(_)))?;
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

/// The members of an object, in order. Values are kept as written, so numbers keep their digits. Their grammar was
/// checked, except for what strings escape.
struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

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
                while let Some((Text(key), value)) = map.next_entry()? {
                    members.push((key, value));
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

    fn keys(&self) -> Vec<String> {
        self.0.iter().map(|(key, _)| key.chars().take(KEPT_OF_A_CELL).collect()).collect()
    }

    /// Puts the values of the wanted keys into the record, and remembers the other keys as far as there is room.
    /// `is_damaged`: bytes that were not UTF-8 were replaced.
    fn fill(
        &self,
        record: &mut Record,
        wanted: &[(String, usize)],
        others: &mut HashSet<String>,
        is_damaged: bool,
    ) -> Result<(), Fault> {
        let mut is_twice = false;
        for (key, value) in &self.0 {
            let column = wanted.iter().find(|(wanted, _)| wanted == key).map(|(_, column)| *column);
            let start = record.bytes().len();
            let what = read_value(value.get(), column.map(|_| record.bytes()), is_damaged)?;
            let has_room = others.len() < MAX_OTHER_KEYS && key.len() <= MAX_OTHER_KEY;
            match column {
                Some(column) => is_twice |= !record.set(column, start, what),
                None if has_room && !others.contains(key.as_ref()) => drop(others.insert(key.clone().into_owned())),
                None => {}
            }
        }
        if is_twice { Err(Fault::DuplicateKey) } else { Ok(()) }
    }
}

/// The type of a value. A string's content or a whole number's digits go to `out`.
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

/// Whether the text, which is valid JSON, escapes no lone surrogate.
fn is_sound(json: &str) -> bool {
    let mut rest = json;
    while let Some(start) = rest.find('"') {
        let mut texts = serde_json::Deserializer::from_str(&rest[start..]).into_iter::<Text<'_>>();
        if !matches!(texts.next(), Some(Ok(_))) {
            return false;
        }
        rest = &rest[start + texts.byte_offset()..];
    }
    true
}
