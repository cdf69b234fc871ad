//! JSON lines: an object a line, or an array a line as Treasure Data writes a job's result as `json`.
//!
//! A line that is no row is rejected, and the next one is a row again. Empty lines are none. A line is kept up to
//! [`MAX_LINE_BYTES`](super::bytes::MAX_LINE_BYTES).

use std::collections::VecDeque;
use std::io::{self, Read};

use super::bytes::{Bytes, Line};
use super::delimited::{KEPT_OF_A_CELL, MAX_COLUMNS};
use super::typed::{Record, Typed, What};
use super::{Fault, Place, Row, RowsError};
use crate::identifier::Reason;

pub mod lexer;

use lexer::{Bad, Key, Kind, Lexer};

/// So many rejected lines may stand before the first object, which shows what the columns are.
const MAX_LEADING_FAULTS: usize = 1000;

/// Reads rows from lines of JSON.
pub struct Json<R> {
    bytes: Bytes<R>,
    shape: Shape,
    line: u64,
    record: Record,
    unescaped: Vec<u8>,
    /// Lines before the first object, which were read to find it.
    leading: VecDeque<(u64, Fault)>,
    /// The first object is in the record and was not given out.
    has_first: bool,
    /// Of the latest row: its line, and why it is none.
    latest: (u64, Option<Fault>),
}

enum Shape {
    /// The keys that are looked for; a row has a cell for each.
    Objects(Vec<String>),
    /// Which columns are looked at.
    Arrays(Vec<bool>),
}

impl<R: Read> Json<R> {
    /// An object a line, of which these keys are wanted. Reads the first object and says which keys it has; none where there
    /// is no line at all.
    pub fn objects(bytes: Bytes<R>, wanted: Vec<String>) -> Result<(Self, Option<Vec<String>>), RowsError> {
        let mut json = Self::new(bytes, Shape::Objects(wanted));
        let keys = json.find_first()?;
        Ok((json, keys))
    }

    /// An array a line.
    pub fn arrays(bytes: Bytes<R>) -> Self {
        Self::new(bytes, Shape::Arrays(Vec::new()))
    }

    fn new(bytes: Bytes<R>, shape: Shape) -> Self {
        Self {
            bytes,
            shape,
            line: 0,
            record: Record::default(),
            unescaped: Vec::new(),
            leading: VecDeque::new(),
            has_first: false,
            latest: (0, None),
        }
    }

    /// Looks at these columns of an array alone.
    pub fn keep(&mut self, columns: &[usize]) {
        if let Shape::Arrays(kept) = &mut self.shape {
            *kept = super::kept(columns);
        }
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

    fn find_first(&mut self) -> Result<Option<Vec<String>>, RowsError> {
        let mut keys = None;
        loop {
            match self.read_line(|line| keys = keys_of(line).ok())? {
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
    fn read_line(&mut self, look: impl FnOnce(&[u8])) -> Result<Option<Result<(), Fault>>, RowsError> {
        loop {
            let failed =
                |line: u64, error: io::Error| RowsError::Io { after: Place { unit: "line", number: line }, error };
            let line = match self.bytes.line() {
                Ok(None) => return Ok(None),
                Ok(Some(line)) => line,
                Err(error) => return Err(failed(self.line, error)),
            };
            self.line += 1;
            let Line::Whole(line) = line else {
                self.record.clear();
                return Ok(Some(Err(Fault::TooLong)));
            };
            if line.trim_ascii().is_empty() {
                continue;
            }
            let read = match &self.shape {
                Shape::Objects(wanted) => read_object(line, wanted, &mut self.record, &mut self.unescaped),
                Shape::Arrays(kept) => read_array(line, kept, &mut self.record),
            };
            if read.is_ok() {
                look(line);
            }
            return Ok(Some(read));
        }
    }
}

impl From<Bad> for Fault {
    fn from(_: Bad) -> Self {
        Self::NotJson
    }
}

fn read_object(line: &[u8], wanted: &[String], record: &mut Record, unescaped: &mut Vec<u8>) -> Result<(), Fault> {
    record.reset(wanted.len());
    let mut lexer = Lexer::new(line);
    if !lexer.takes(b'{') {
        return Err(another_shape(line));
    }
    let (mut goes_on, mut is_twice) = (!lexer.takes(b'}'), false);
    while goes_on {
        let key = match lexer.key(unescaped)? {
            Key::Plain(key) => key,
            Key::Unescaped => unescaped.as_slice(),
        };
        match wanted.iter().position(|wanted| wanted.as_bytes() == key) {
            Some(column) => {
                let cell = read_cell(&mut lexer, record)?;
                is_twice |= !record.set(column, cell);
            }
            None => drop(lexer.value(None)?),
        }
        goes_on = lexer.takes(b',');
        if !goes_on && !lexer.takes(b'}') {
            return Err(Fault::NotJson);
        }
    }
    match (lexer.ends(), is_twice) {
        (false, _) => Err(Fault::NotJson),
        (true, true) => Err(Fault::DuplicateKey),
        (true, false) => Ok(()),
    }
}

fn read_array(line: &[u8], kept: &[bool], record: &mut Record) -> Result<(), Fault> {
    record.clear();
    let mut lexer = Lexer::new(line);
    if !lexer.takes(b'[') {
        return Err(another_shape(line));
    }
    let mut goes_on = !lexer.takes(b']');
    while goes_on {
        let cell = if kept.get(record.next_column()).copied().unwrap_or_default() {
            read_cell(&mut lexer, record)?
        } else {
            lexer.value(None)?;
            Typed::ABSENT
        };
        record.push(cell);
        goes_on = lexer.takes(b',');
        if !goes_on && !lexer.takes(b']') {
            return Err(Fault::NotJson);
        }
        if record.next_column() > MAX_COLUMNS {
            return Err(Fault::TooLong);
        }
    }
    if lexer.ends() { Ok(()) } else { Err(Fault::NotJson) }
}

fn read_cell(lexer: &mut Lexer<'_>, record: &mut Record) -> Result<Typed, Bad> {
    let start = record.bytes().len();
    let what = match lexer.value(Some(record.bytes()))? {
        Kind::Text | Kind::Integer | Kind::Null => What::Text,
        Kind::Float => What::Unfit(Reason::Float),
        Kind::Boolean => What::Unfit(Reason::Boolean),
        Kind::Nested => What::Unfit(Reason::Nested),
    };
    Ok(record.cell(start, what))
}

/// What a line is that does not begin as a row does.
fn another_shape(line: &[u8]) -> Fault {
    let mut lexer = Lexer::new(line);
    if lexer.value(None).is_ok() && lexer.ends() { Fault::NotARow } else { Fault::NotJson }
}

/// The keys of an object, in order; what is not UTF-8 is replaced.
fn keys_of(line: &[u8]) -> Result<Vec<String>, Bad> {
    let (mut lexer, mut unescaped, mut keys) = (Lexer::new(line), Vec::new(), Vec::new());
    let mut goes_on = lexer.takes(b'{') && !lexer.takes(b'}');
    while goes_on {
        let key = match lexer.key(&mut unescaped)? {
            Key::Plain(key) => key,
            Key::Unescaped => unescaped.as_slice(),
        };
        // Keys are shown in messages; one that is longer is none of ours.
        keys.push(String::from_utf8_lossy(&key[..key.len().min(KEPT_OF_A_CELL)]).into_owned());
        lexer.value(None)?;
        goes_on = lexer.takes(b',');
    }
    Ok(keys)
}
