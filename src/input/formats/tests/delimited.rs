//! Compares separated text with a state machine.

use proptest::prelude::*;

use super::{Read, read, text};
use crate::input::formats::RowsError;
use crate::input::formats::format::Format;

#[derive(Debug, PartialEq)]
enum Bad {
    /// A quote never ends in the record that begins in this line.
    Open(u64),
    /// Text after a closing quote: the line of the record, and the line of the text.
    Text(u64, u64),
    /// In this line, the last record has too few cells and no line break.
    CutOff(u64),
}

/// Comma-separated values (RFC 4180), one letter at a time. The standard leaves some cases open: CR or LF alone ends a
/// line as CRLF does; a quote in a cell that does not begin with one is plain text; an empty line is a row if there is
/// one column, otherwise nothing. Lines are counted by LF, or by CR if the header ends with CR alone.
fn reference(content: &str, delimiter: char) -> Result<Vec<Vec<String>>, Bad> {
    let content = content.strip_prefix('\u{feff}').unwrap_or(content);
    let (mut rows, mut row, mut cell) = (Vec::<Vec<String>>::new(), Vec::new(), String::new());
    let (mut is_quoted, mut was_quoted, mut has_begun) = (false, false, false);
    let (mut line, mut begin, mut line_break) = (1, 1, '\n');
    let mut letters = content.chars().peekable();
    while let Some(letter) = letters.next() {
        if row.is_empty() && !has_begun {
            begin = line;
        }
        line += u64::from(letter == line_break);
        match letter {
            '"' if is_quoted && letters.peek() == Some(&'"') => cell.push(letters.next().unwrap()),
            '"' if is_quoted => (is_quoted, was_quoted) = (false, true),
            _ if is_quoted => cell.push(letter),
            '"' if !has_begun => (is_quoted, has_begun) = (true, true),
            '\r' | '\n' => {
                let is_pair = letter == '\r' && letters.next_if_eq(&'\n').is_some();
                line += u64::from(is_pair && line_break == '\n');
                let is_empty = row.is_empty() && !has_begun;
                if !is_empty || rows.first().is_some_and(|header| header.len() == 1) {
                    row.push(std::mem::take(&mut cell));
                    rows.push(std::mem::take(&mut row));
                    if rows.len() == 1 && letter == '\r' && !is_pair {
                        (line_break, line) = ('\r', line + 1);
                    }
                }
                (was_quoted, has_begun) = (false, false);
            }
            _ if letter == delimiter => {
                row.push(std::mem::take(&mut cell));
                (was_quoted, has_begun) = (false, false);
            }
            _ if was_quoted => return Err(Bad::Text(begin, line)),
            _ => {
                cell.push(letter);
                has_begun = true;
            }
        }
    }
    if is_quoted {
        return Err(Bad::Open(begin));
    }
    if !row.is_empty() || has_begun {
        row.push(cell);
        if rows.first().is_some_and(|header| row.len() < header.len()) {
            return Err(Bad::CutOff(begin));
        }
        rows.push(row);
    }
    Ok(rows)
}

fn cells_of(rows: &[Vec<String>]) -> Vec<Read> {
    rows.iter().map(|row| Ok(row.iter().map(|cell| text(cell)).collect())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn delimited_text_is_read_as_the_reference_reads_it(
        content in "[a,\"\r\n é\u{feff}]{0,24}",
        step in prop_oneof![1_usize..4, Just(1000)],
        is_tsv in any::<bool>(),
    ) {
        let (format, delimiter) = if is_tsv { (Format::Tsv, '\t') } else { (Format::Csv, ',') };
        let content = if is_tsv { content.replace(',', "\t") } else { content };
        match (read(content.as_bytes(), step, format, None), reference(&content, delimiter)) {
            (Ok(rows), Ok(expected)) => prop_assert_eq!(rows, cells_of(&expected)),
            (Err(RowsError::Empty), Ok(expected)) => prop_assert_eq!(expected, Vec::<Vec<String>>::new()),
            (Err(RowsError::UnterminatedQuote { line }), Err(bad)) => prop_assert_eq!(bad, Bad::Open(line)),
            (Err(RowsError::TextBehindQuote { line, broken }), Err(bad)) => prop_assert_eq!(bad, Bad::Text(line, broken)),
            (Err(RowsError::CutOff { line }), Err(bad)) => prop_assert_eq!(bad, Bad::CutOff(line)),
            (rows, expected) => prop_assert!(false, "{:?} instead of {:?}", rows, expected),
        }
    }

    #[test]
    fn valid_text_is_read_as_the_csv_crate_reads_it(
        cells in prop::collection::vec("[a \té]{0,3}|\"([a,\r\n é]|\"\"){0,5}\"|a\"[\"a]{0,2}", 0..30),
        ends in prop::collection::vec(prop_oneof![3 => Just(","), 1 => Just("\n"), 1 => Just("\r\n"), 1 => Just("\r")], 30),
        step in prop_oneof![1_usize..4, Just(1000)],
    ) {
        let cells = cells.iter().zip(ends).map(|(cell, end)| format!("{cell}{end}"));
        // With two columns, neither reader takes an empty line for a row.
        let content = format!("x,y\n{}\n", cells.collect::<String>());
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(content.as_bytes());
        let expected: Vec<Vec<String>> = reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
        prop_assert_eq!(read(content.as_bytes(), step, Format::Csv, None).unwrap(), cells_of(&expected));
    }
}
