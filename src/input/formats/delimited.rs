//! Values separated by commas or tabs, as Digdag's `td>` writes them with `download_file`, or as people write them by
//! hand.
//!
//! If a result has one column, an empty line is a row (a NULL). No cell or row takes more memory than
//! [`MAX_ROW_BYTES`].

use std::io::{self, Read};

use super::bytes::Bytes;
use super::splitter::{Quotes, Split, Splitter};
use super::{Fault, Row, RowsError};
use crate::members::identifier;

/// The most bytes that are kept of a row. A longer row is read to its end and rejected.
pub const MAX_ROW_BYTES: usize = 1024 * 1024;
/// The most columns of a row.
pub const MAX_COLUMNS: usize = 10_000;
/// The bytes kept of a cell that does not fit. They show that it is too long for an identifier.
pub(super) const KEPT_OF_A_CELL: usize = identifier::MAX_BYTES + 1;

/// Reads rows from separated text, in constant memory.
pub struct Delimited<R> {
    input: Bytes<R>,
    splitter: Splitter,
    /// The length of the latest row, whose bytes were consumed last.
    row_len: usize,
    /// The last line ended with a carriage return. A line feed after it belongs to it.
    after_carriage_return: bool,
    /// The number of columns, set by the header. If it is one, an empty line is a row of one empty cell.
    pub width: usize,
}

impl<R: Read> Delimited<R> {
    /// A reader that has read nothing yet.
    pub fn new(input: Bytes<R>, delimiter: u8, quotes: Quotes) -> Self {
        Self { input, splitter: Splitter::new(delimiter, quotes), row_len: 0, after_carriage_return: false, width: 0 }
    }

    /// The column names. Call it once, before the rows.
    pub fn header(&mut self) -> Result<Vec<String>, RowsError> {
        if !self.advance()? {
            return Err(RowsError::Empty);
        }
        let row = self.row();
        if row.fault.is_some() {
            return Err(RowsError::HeaderTooLong);
        }
        let names = row.to_strings();
        self.width = names.len();
        if !self.after_carriage_return {
            return Ok(names);
        }
        // What is read next may replace the header's bytes.
        self.row_len = 0;
        let next = self.input.first().map_err(|error| failed(self.splitter.line, error))?;
        if next != Some(b'\n') {
            (self.splitter.line_break, self.splitter.line) = (b'\r', self.splitter.line + 1);
        }
        Ok(names)
    }

    /// Goes to the next row; false at the end of the input.
    #[inline]
    pub fn advance(&mut self) -> Result<bool, RowsError> {
        let next = self.skip_line_breaks().map_err(|error| failed(self.splitter.line, error))?;
        self.row_len = 0;
        self.splitter.begin();
        match next {
            None => return Ok(false),
            Some(b'\r' | b'\n') => self.splitter.cells.push(0..0),
            Some(_) => self.read_record()?,
        }
        Ok(true)
    }

    /// The current row.
    #[inline]
    pub fn row(&self) -> Row<'_> {
        Row {
            bytes: self.input.consumed(self.row_len),
            cells: &self.splitter.cells,
            types: &[],
            position: self.splitter.row_line,
            lines: self.splitter.lines,
            fault: self.splitter.is_oversized().then_some(Fault::TooLong),
        }
    }

    /// Goes to the next record and returns its first byte; none at the end. If an empty line is a row, the byte is its
    /// line break, which is already consumed.
    #[inline]
    fn skip_line_breaks(&mut self) -> io::Result<Option<u8>> {
        loop {
            let first = self.input.first()?;
            let Some(byte @ (b'\r' | b'\n')) = first else { return Ok(first) };
            self.input.consume(1);
            self.splitter.line += u64::from(byte == self.splitter.line_break);
            let ends_the_last_record = byte == b'\n' && self.after_carriage_return;
            self.after_carriage_return = byte == b'\r';
            if self.width == 1 && !ends_the_last_record {
                return Ok(first);
            }
        }
    }

    #[inline]
    fn read_record(&mut self) -> Result<(), RowsError> {
        let (mut at_end, line) = (false, self.splitter.row_line);
        loop {
            match self.splitter.split(self.input.at_hand_mut(), at_end) {
                Split::Record { len, after_carriage_return } => {
                    self.after_carriage_return = after_carriage_return;
                    self.row_len = len;
                    self.input.consume(len);
                    // Other programs continue a cell in the next line. It would become two rows.
                    let is_short = self.splitter.cells.len() < self.width;
                    if is_short && self.splitter.ends_with_an_open_quote(self.input.consumed(len)) {
                        return Err(RowsError::OpenQuoteOnALine { line });
                    }
                    if is_short && !matches!(self.input.consumed(1), b"\r" | b"\n") {
                        return Err(RowsError::CutOff { line });
                    }
                    return Ok(());
                }
                Split::OpenQuote => return Err(RowsError::UnterminatedQuote { line }),
                Split::TextBehindQuote => {
                    return Err(RowsError::TextBehindQuote { line, broken: self.splitter.line });
                }
                Split::More => at_end = self.read_more().map_err(|error| failed(line, error))?,
            }
        }
    }

    /// Returns whether the input has ended.
    fn read_more(&mut self) -> io::Result<bool> {
        if self.input.is_full() {
            let len = self.splitter.squeeze(self.input.at_hand_mut());
            self.input.truncate(len);
        }
        Ok(self.input.more()? == 0)
    }
}

fn failed(line: u64, error: io::Error) -> RowsError {
    RowsError::Io { unit: "line", number: line.saturating_sub(1), error }
}

#[cfg(test)]
mod tests {
    use super::super::bytes::WINDOW;
    use super::super::bytes::tests::Dribble;
    use super::super::format::{Format, FormatHint};
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn rows(text: &[u8], step: usize) -> Result<Vec<Vec<String>>, RowsError> {
        let format_hint = FormatHint { format: Some(Format::Csv), ..FormatHint::default() };
        let mut input = super::super::open(Dribble(text, step), "-", &format_hint, Vec::new())?;
        let mut rows = vec![input.names.unwrap()];
        while input.rows.advance()? {
            rows.push(input.rows.row().to_strings());
        }
        Ok(rows)
    }

    fn delimited(text: &str) -> Delimited<&[u8]> {
        let mut input = Delimited::new(Bytes::new(text.as_bytes()), b',', Quotes::Standard);
        input.header().unwrap();
        input
    }

    fn next<'a>(input: &'a mut Delimited<&[u8]>) -> Row<'a> {
        assert!(input.advance().unwrap());
        input.row()
    }

    /// The same notation, with tabs.
    #[rstest]
    #[case::inches("a\tb\n5\"\ta\"b\n\"12 inch\tx\n", "a|b/5\"|a\"b/\"12 inch|x")]
    #[case::quoted_on_one_line("a\tb\n\"x\ty\"\t\"1\"\"2\"\n\"\"\t\"z\"\r\n", "a|b/x\ty|1\"2/|z")]
    #[case::text_behind_a_quote("a\tb\n\"x\"y\tz\n", "a|b/\"x\"y|z")]
    #[case::quoted_at_the_very_end("a\tb\n1\t\"x\"", "a|b/1|x")]
    #[case::open_at_the_very_end("a\tb\n1\t\"x", "a|b/1|\"x")]
    fn a_quoted_cell_of_tsv_ends_on_its_line(#[case] text: &str, #[case] expected: &str) {
        for step in [1, 2, 1000] {
            let mut input = Delimited::new(Bytes::new(Dribble(text.as_bytes(), step)), b'\t', Quotes::OnOneLine);
            let mut read = vec![input.header().unwrap().join("|")];
            while input.advance().unwrap() {
                read.push(input.row().to_strings().join("|"));
            }
            assert_eq!(read.join("/"), expected, "step {step}");
        }
    }

    /// Whatever is at hand: the closing quote counts up to a distance, not up to what was read.
    #[rstest]
    #[case::near(30_000, 2)]
    #[case::far(35_000, 3)]
    fn a_quoted_cell_of_tsv_is_the_same_however_it_arrives(#[case] half: usize, #[case] width: usize) {
        let text = format!("a\tb\n1\t\"{}\t{}\"\n", "x".repeat(half), "y".repeat(half));
        for step in [1000, 60_000, 66_000, 1_000_000] {
            let mut input = Delimited::new(Bytes::new(Dribble(text.as_bytes(), step)), b'\t', Quotes::OnOneLine);
            input.header().unwrap();
            assert!(input.advance().unwrap());
            assert_eq!(input.row().width(), width, "step {step}");
        }
    }

    #[test]
    fn a_cell_of_tsv_that_goes_on_in_the_next_line_is_an_error_or_read_as_the_setting_says() {
        let text = "a\tb\n1\t\"x\ny\"\n\"z\nw\"\t2\n";
        let read = |text: &str, quotes| {
            let mut input = Delimited::new(Bytes::new(Dribble(text.as_bytes(), 3)), b'\t', quotes);
            input.header()?;
            let (mut rows, mut lines) = (Vec::new(), Vec::new());
            while input.advance()? {
                rows.push(input.row().to_strings().join("|"));
                lines.push((input.row().position, input.row().lines));
            }
            Ok::<_, RowsError>((rows, lines))
        };
        let (rows, lines) = read(text, Quotes::Standard).unwrap();
        assert_eq!(rows, ["1|x\ny", "z\nw|2"]);
        assert_eq!(lines, [(2, 2), (4, 2)]);
        assert_eq!(read(text, Quotes::None).unwrap().0, ["1|\"x", "y\"", "\"z", "w\"|2"]);
        let error = read(text, Quotes::OnOneLine).unwrap_err();
        assert!(matches!(error, RowsError::OpenQuoteOnALine { line: 4 }), "{error}");
    }

    #[test]
    fn a_long_quoted_cell_of_tsv_is_taken_unchanged_in_little_memory() {
        let text = format!("a\tb\n\"{}\"\t1\n2\t3\n", "x".repeat(5_000_000));
        let mut input = Delimited::new(Bytes::new(Dribble(text.as_bytes(), 100_000)), b'\t', Quotes::OnOneLine);
        input.header().unwrap();
        assert!(input.advance().unwrap());
        assert_eq!((input.row().width(), input.row().cell(1)), (2, b"1".as_slice()));
        assert!(input.advance().unwrap());
        assert_eq!(input.row().to_strings(), ["2", "3"]);
        assert!(input.input.capacity() <= 2 * MAX_ROW_BYTES, "{} bytes are kept", input.input.capacity());
    }

    /// Expected: cells separated by `|`, rows by `/`.
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
    #[case::quotes_in_the_middle("a,b\n5\"\",x\"y\"\n \"z\",\"\"\n", "a|b/5\"\"|x\"y\"/ \"z\"|")]
    #[case::doubled_quotes("a,b\n\"\"\"1\"\"\",\"\"\"\"\n\"2\"\"\"\"3\",4\n", "a|b/\"1\"|\"/2\"\"3|4")]
    #[case::quoted_before_each_line_break("a,b\r\n1,\"2\"\r3,\"4\"\n5,\"6\"\r\n", "a|b/1|2/3|4/5|6")]
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
    #[case::quote_without_end(b"a\r\n1\r\n\"2\r\n3\r\n", "line 3 is not closed")]
    #[case::quote_at_the_very_end(b"a\r\n1\r\n\"", "line 3 is not closed")]
    #[case::quote_without_end_in_the_header(b"\"a\r\n1\r\n", "line 1 is not closed")]
    #[case::text_behind_a_quote(b"a\r\n\"1\"2\r\n", "begins in line 2 is invalid in line 2")]
    #[case::space_behind_a_quote(b"a,b\r\n\"1\" ,2\r\n", "begins in line 2 is invalid in line 2")]
    #[case::two_lone_quotes(b"a,b\r\n\"1,2\r\n3,4\r\n\"5,6\r\n", "begins in line 2 is invalid in line 4")]
    #[case::three_lone_quotes(b"a,b\n1,\"2\n3,\"4\n5,\"6\n7,8\n", "begins in line 2 is invalid in line 3")]
    #[case::three_lone_quotes_of_which_two_meet(b"a,b\n\"1,2\n\",4\n5,\"6\n7,8\n", "line 4 is not closed")]
    #[case::two_lone_quotes_in_the_header(b"\"a,b\n\"1,2\n", "begins in line 1 is invalid in line 2")]
    #[case::text_behind_a_doubled_quote(b"a\n\"\"\"1\"2\n", "begins in line 2 is invalid in line 2")]
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
        assert_eq!((row.cell(0), row.cell(2), row.width()), (b"x".as_slice(), b"z".as_slice(), 3));
        assert!(row.cell(1).len() > identifier::MAX_BYTES);
        assert!(input.input.capacity() <= WINDOW, "{} bytes are kept", input.input.capacity());
        assert_eq!(next(&mut input).to_strings(), ["1", "2", "3"]);
    }

    #[rstest]
    #[case(MAX_COLUMNS, None)]
    #[case(MAX_COLUMNS + 1, Some(Fault::TooLong))]
    fn the_limit_of_columns_is_exact_both_ways(#[case] columns: usize, #[case] fault: Option<Fault>) {
        for cell in ["x", "\"x\"\"\""] {
            let text = format!("a\r\n{}{cell}\r\n", "x,".repeat(columns - 1));
            assert_eq!(next(&mut delimited(&text)).fault, fault);
        }
    }

    #[test]
    fn a_row_of_too_many_cells_is_oversized_and_the_next_one_is_not() {
        let text = format!("a\r\n{}\r\n1\r\n", "x,".repeat(3_000_000));
        let mut input = delimited(&text);
        assert_eq!(next(&mut input).fault, Some(Fault::TooLong));
        let row = next(&mut input);
        assert_eq!((row.to_strings(), row.position, row.fault), (vec!["1".to_owned()], 3, None));
        assert!(input.input.capacity() <= WINDOW, "{} bytes are kept", input.input.capacity());
    }

    /// Cells of 1,000 letters count fully; of longer ones, only what is kept counts.
    #[rstest]
    #[case::below(1000, 1000, None)]
    #[case::above(1000, 1100, Some(Fault::TooLong))]
    #[case::above_in_long_cells(5000, 1100, Some(Fault::TooLong))]
    #[case::below_in_long_cells(5000, 1000, None)]
    #[case::far_above(1000, 9000, Some(Fault::TooLong))]
    fn a_row_has_a_megabyte_in_what_is_kept_of_its_cells(
        #[case] length: usize,
        #[case] cells: usize,
        #[case] fault: Option<Fault>,
        #[values("", "\"")] quote: &str,
        #[values(1000, usize::MAX)] step: usize,
    ) {
        let row = vec![format!("{quote}{}{quote}", "x".repeat(length)); cells].join(",");
        let text = format!("a\r\n{row}\r\n{row}\r\n1\r\n");
        let mut input = Delimited::new(Bytes::new(Dribble(text.as_bytes(), step)), b',', Quotes::Standard);
        input.header().unwrap();
        for _ in 0..2 {
            assert!(input.advance().unwrap());
            assert_eq!(input.row().fault, fault);
            assert!(
                fault.is_some()
                    || input.row().width() == cells && input.row().cell(cells - 1).len() >= length.min(KEPT_OF_A_CELL)
            );
        }
        assert!(input.advance().unwrap());
        assert_eq!((input.row().to_strings(), input.row().position), (vec!["1".to_owned()], 4));
        assert!(input.input.capacity() <= 2 * MAX_ROW_BYTES, "{} bytes are kept", input.input.capacity());
    }

    proptest! {
        /// The csv crate's own writer is the second implementation.
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
