//! Values separated by commas, as Digdag's `td>` writes them with `download_file` and as people write them by hand, or by
//! tabs. Quotes mean the same in both.
//!
//! The grammar is csv-core's, also where [`super::regular`] splits a record before csv-core sees it. What stands here is what
//! an exact account needs beyond it: in a result of one column an
//! empty line is a row (a NULL), a quote that never ends is an error, and no cell or row can take more memory than
//! [`MAX_ROW_BYTES`].

use std::io::{self, Read};

use csv_core::ReadRecordResult;

use super::bytes::Bytes;
use super::regular::Regular;
use super::{Cells, Fault, Place, Row, RowsError};
use crate::identifier;

/// The most that is kept of a row. A longer one is read to its end and reported as oversized.
pub const MAX_ROW_BYTES: usize = 1024 * 1024;
/// The most columns of a row.
pub const MAX_COLUMNS: usize = 10_000;
/// What is kept of a cell that does not fit: enough to see that it is too long for an identifier.
pub(super) const KEPT_OF_A_CELL: usize = identifier::MAX_BYTES + 1;

/// Reads rows from separated text, in constant memory.
pub struct Delimited<R> {
    input: Bytes<R>,
    parser: csv_core::Reader,
    regular: Regular,
    record: Record,
    /// Where the latest row begins.
    row_line: u64,
    /// Its length, where it did not need the parser and is not in the record.
    split: Option<usize>,
    /// An empty line is a row of one empty cell.
    blank_lines_are_rows: bool,
    /// The last record ended with a carriage return; a line feed that follows belongs to it.
    after_carriage_return: bool,
    /// Line feeds that the parser was not shown.
    skipped_lines: u64,
}

impl<R: Read> Delimited<R> {
    /// Reads nothing yet.
    pub fn new(input: Bytes<R>, delimiter: u8) -> Self {
        let mut parser = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
        // At its first call it drops a byte order mark, if it is shown all of it at once. Ours is dropped already; a second
        // one is content. Hence an empty line first.
        parser.read_record(b"\n", &mut [0], &mut [0]);
        parser.set_line(1);
        Self {
            input,
            parser,
            regular: Regular::new(delimiter),
            record: Record::new(),
            row_line: 1,
            split: None,
            blank_lines_are_rows: false,
            after_carriage_return: false,
            skipped_lines: 0,
        }
    }

    /// The names of the columns; to be read once, before the rows.
    pub fn header(&mut self) -> Result<Vec<String>, RowsError> {
        if !self.advance()? {
            return Err(RowsError::Empty);
        }
        let row = self.row();
        if row.fault.is_some() {
            return Err(RowsError::HeaderTooLong);
        }
        let names = row.to_strings();
        self.blank_lines_are_rows = names.len() == 1;
        Ok(names)
    }

    /// There is no header: the first line is a row of so many columns.
    pub fn without_header(&mut self, columns: usize) {
        self.blank_lines_are_rows = columns == 1;
    }

    /// Of the other columns, the cells may be given as they stand, with their quotes doubled.
    pub fn keep(&mut self, columns: &[usize]) {
        self.regular.keep(columns);
    }

    /// Goes to the next row; false at the end of the input.
    pub fn advance(&mut self) -> Result<bool, RowsError> {
        let next = self.skip_line_breaks().map_err(|error| RowsError::Io { after: after(self.line()), error })?;
        self.row_line = self.line();
        self.split = None;
        match next {
            Next::End => return Ok(false),
            Next::BlankRow => {
                self.record.clear();
                self.record.ends.push(0);
            }
            Next::Record => {
                if let Some(split) = self.regular.split(self.input.at_hand()) {
                    self.after_carriage_return = false;
                    self.skipped_lines += split.line_feeds;
                    self.input.consume(split.len);
                    self.split = Some(split.len);
                } else {
                    self.record.clear();
                    self.read_record(self.row_line)?;
                }
            }
        }
        Ok(true)
    }

    /// The row that it went to.
    #[inline]
    pub fn row(&self) -> Row<'_> {
        match self.split {
            Some(len) => Row {
                bytes: self.input.consumed(len),
                cells: Cells::Spans(self.regular.cells()),
                place: self.row_line,
                fault: None,
            },
            None => self.record.row(self.row_line),
        }
    }

    fn line(&self) -> u64 {
        self.parser.line() + self.skipped_lines
    }

    /// Goes to the first byte of the next record. The parser would skip empty lines without a word.
    fn skip_line_breaks(&mut self) -> io::Result<Next> {
        loop {
            let Some(byte) = self.input.first()? else { return Ok(Next::End) };
            if !matches!(byte, b'\r' | b'\n') {
                return Ok(Next::Record);
            }
            self.input.consume(1);
            self.skipped_lines += u64::from(byte == b'\n');
            let ends_the_last_record = byte == b'\n' && self.after_carriage_return;
            self.after_carriage_return = byte == b'\r';
            if self.blank_lines_are_rows && !ends_the_last_record {
                return Ok(Next::BlankRow);
            }
        }
    }

    fn read_record(&mut self, line: u64) -> Result<(), RowsError> {
        loop {
            let bytes = self.input.fill().map_err(|error| RowsError::Io { after: after(line), error })?;
            let at_end = bytes.is_empty();
            // At the end a line feed takes the place of the parser's own end mark: inside a quote it is swallowed, which
            // is the only sign of a quote that was never closed.
            let bytes = if at_end { b"\n".as_slice() } else { bytes };
            let (result, read) = self.record.read(&mut self.parser, bytes);
            if !at_end {
                self.after_carriage_return = read > 0 && bytes.get(read - 1) == Some(&b'\r');
                self.input.consume(read);
            }
            match result {
                ReadRecordResult::Record | ReadRecordResult::End => return Ok(()),
                ReadRecordResult::InputEmpty if at_end => return Err(RowsError::UnterminatedQuote { line }),
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.record.make_room(),
                ReadRecordResult::OutputEndsFull => self.record.make_room_for_cells(),
            }
        }
    }
}

/// The line before the one that is read.
fn after(line: u64) -> Place {
    Place { unit: "line", number: line.saturating_sub(1) }
}

enum Next {
    Record,
    BlankRow,
    End,
}

/// The cells of one record, while it is read.
struct Record {
    /// The cells' bytes up to `len`, room behind it.
    bytes: Vec<u8>,
    len: usize,
    ends: Vec<usize>,
    /// Room for the parser to put the ends of cells in.
    new_ends: [usize; 64],
    /// How many bytes of this record were not kept; the parser counts them.
    cut: usize,
    oversized: bool,
}

impl Record {
    fn new() -> Self {
        Self { bytes: vec![0; 4 * 1024], len: 0, ends: Vec::new(), new_ends: [0; 64], cut: 0, oversized: false }
    }

    fn clear(&mut self) {
        self.len = 0;
        self.ends.clear();
        self.cut = 0;
        self.oversized = false;
    }

    fn row(&self, line: u64) -> Row<'_> {
        let fault = self.oversized.then_some(Fault::TooLong);
        Row { bytes: &self.bytes[..self.len], cells: Cells::Ends(&self.ends), place: line, fault }
    }

    fn read(&mut self, parser: &mut csv_core::Reader, bytes: &[u8]) -> (ReadRecordResult, usize) {
        let (result, read, written, cells) = parser.read_record(bytes, &mut self.bytes[self.len..], &mut self.new_ends);
        self.len += written;
        if !self.oversized {
            self.ends.extend(self.new_ends[..cells].iter().map(|end| end - self.cut));
        }
        (result, read)
    }

    /// The parser needs room for bytes: from the cell it is in, if that is too long for anything we want, else more.
    fn make_room(&mut self) {
        let cell_start = self.ends.last().copied().unwrap_or(0);
        if self.oversized {
            self.len = 0;
        } else if self.len - cell_start > KEPT_OF_A_CELL {
            self.cut += self.len - (cell_start + KEPT_OF_A_CELL);
            self.len = cell_start + KEPT_OF_A_CELL;
        } else if self.bytes.len() < MAX_ROW_BYTES {
            self.bytes.resize(self.bytes.len() * 2, 0);
        } else {
            self.give_up();
        }
    }

    fn make_room_for_cells(&mut self) {
        if self.ends.len() > MAX_COLUMNS {
            self.give_up();
        }
    }

    fn give_up(&mut self) {
        self.oversized = true;
        self.len = 0;
        self.ends.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::bytes::tests::Dribble;
    use super::super::format::{Form, Format};
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn rows(text: &[u8], step: usize) -> Result<Vec<Vec<String>>, RowsError> {
        let form = Form { format: Some(Format::Csv), ..Form::default() };
        let mut input = super::super::open(Dribble(text, step), "-", &form, Vec::new())?;
        let mut rows = vec![input.names.unwrap()];
        while input.rows.advance()? {
            rows.push(input.rows.row().to_strings());
        }
        Ok(rows)
    }

    fn delimited(text: &str) -> Delimited<&[u8]> {
        let mut input = Delimited::new(Bytes::new(text.as_bytes()), b',');
        input.header().unwrap();
        input
    }

    fn next<'a>(input: &'a mut Delimited<&[u8]>) -> Row<'a> {
        assert!(input.advance().unwrap());
        input.row()
    }

    /// Expected: the cells of a row between `|`, the rows between `/`.
    #[rstest]
    #[case::crlf("a,b\r\n1,2\r\n3,4\r\n", "a|b/1|2/3|4")]
    #[case::lf("a,b\n1,2\n", "a|b/1|2")]
    #[case::no_line_break_at_the_end("a,b\r\n1,2", "a|b/1|2")]
    #[case::byte_order_mark("\u{feff}a,b\r\n1,2\r\n", "a|b/1|2")]
    #[case::quotes("a,b\r\n\"x,\"\"y\"\"\",\"l1\r\nl2\"\r\n", "a|b/x,\"y\"|l1\r\nl2")]
    #[case::nulls("a,b\r\n,\r\n\"\",1\r\n", "a|b/|/|1")]
    #[case::a_null_in_one_column_is_a_row("a\r\n\r\n1\r\n\r\n\r\n2", "a//1///2")]
    #[case::a_null_in_one_column_with_lf("a\n\n1\n\n", "a//1/")]
    #[case::an_empty_line_between_many_columns("a,b\r\n\r\n1,2\r\n\r\n", "a|b/1|2")]
    #[case::ragged("a,b\r\n1\r\n1,2,3\r\n", "a|b/1/1|2|3")]
    #[case::quoted_at_the_very_end("a\r\n\"x\"", "a/x")]
    #[case::mixed_line_breaks("a\r\n1\n2\r\n3\r4", "a/1/2/3/4")]
    #[case::header_only("a\r\n", "a")]
    fn reads(#[case] text: &str, #[case] expected: &str) {
        for step in [1, 2, 3, 1000] {
            let read: Vec<_> = rows(text.as_bytes(), step).unwrap().iter().map(|row| row.join("|")).collect();
            assert_eq!(read.join("/"), expected, "step {step}");
        }
    }

    #[rstest]
    #[case::empty(b"", "empty")]
    #[case::line_breaks_only(b"\r\n\r\n", "empty")]
    #[case::utf16(b"\xff\xfea\0", "UTF-16")]
    #[case::utf16_without_mark(b"a\0b\0", "UTF-16")]
    #[case::gzip(b"\x1f\x8b\x08\0", "gzip")]
    #[case::quote_without_end(b"a\r\n1\r\n\"2\r\n3\r\n", "line 3 never ends")]
    #[case::quote_at_the_very_end(b"a\r\n1\r\n\"", "line 3 never ends")]
    #[case::quote_without_end_in_the_header(b"\"a\r\n1\r\n", "line 1 never ends")]
    fn refuses(#[case] text: &[u8], #[case] message: &str) {
        for step in [1, 1000] {
            let error = rows(text, step).unwrap_err().to_string();
            assert!(error.contains(message), "step {step}: {error}");
        }
    }

    #[test]
    fn a_cell_too_long_for_anything_takes_no_memory_and_leaves_the_others_whole() {
        let text = format!("a,b,c\r\nx,{},z\r\n1,2,3\r\n", "y".repeat(30_000_000));
        let mut input = delimited(&text);
        let row = next(&mut input);
        assert_eq!((row.cell(0), row.cell(2), row.len()), (b"x".as_slice(), b"z".as_slice(), 3));
        assert!(row.cell(1).len() > identifier::MAX_BYTES);
        assert!(input.record.bytes.len() < 64 * 1024);
        assert_eq!(next(&mut input).to_strings(), ["1", "2", "3"]);
    }

    #[test]
    fn a_row_of_too_many_cells_is_oversized_and_the_next_one_is_not() {
        let text = format!("a\r\n{}\r\n1\r\n", "x,".repeat(3_000_000));
        let mut input = delimited(&text);
        assert_eq!(next(&mut input).fault, Some(Fault::TooLong));
        let row = next(&mut input);
        assert_eq!((row.to_strings(), row.place, row.fault), (vec!["1".to_owned()], 3, None));
    }

    proptest! {
        /// The plain second implementation is the csv crate's own writer.
        #[test]
        fn gives_back_what_a_writer_wrote(
            table in (1_usize..4).prop_flat_map(|width| {
                prop::collection::vec(prop::collection::vec("[a-c,\"\r\n é]{0,6}", width), 1..12)
            }),
            step in 1_usize..9,
            quote_always in any::<bool>(),
        ) {
            let style = if quote_always { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary };
            let mut writer = csv::WriterBuilder::new()
                .quote_style(style).terminator(csv::Terminator::CRLF).from_writer(Vec::new());
            writer.write_record(vec!["h"; table[0].len()]).unwrap();
            for row in &table {
                writer.write_record(row).unwrap();
            }
            let text = writer.into_inner().unwrap();
            let read = rows(&text, step).unwrap();
            prop_assert_eq!(&read[1..], &table[..]);
        }
    }
}
