//! Text with delimiters against a state machine.

use proptest::prelude::*;

use super::{read, text};
use crate::rows::RowsError;
use crate::rows::format::Format;

/// Comma-separated values (RFC 4180), a letter at a time. Where the standard is silent: CR and LF alone end a line as CRLF
/// does; a quote within a cell that does not begin with one is itself; what stands behind a closing quote belongs to the
/// cell; an empty line is a row where there is one column, and nothing where there are more. None where a quote never ends.
fn reference(content: &str, delimiter: char) -> Option<Vec<Vec<String>>> {
    let content = content.strip_prefix('\u{feff}').unwrap_or(content);
    let (mut rows, mut row, mut cell) = (Vec::<Vec<String>>::new(), Vec::new(), String::new());
    let (mut is_quoted, mut has_begun) = (false, false);
    let mut letters = content.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if is_quoted && letters.peek() == Some(&'"') => cell.push(letters.next().unwrap()),
            '"' if is_quoted => is_quoted = false,
            _ if is_quoted => cell.push(letter),
            '"' if cell.is_empty() && !has_begun => (is_quoted, has_begun) = (true, true),
            '\r' | '\n' => {
                if letter == '\r' {
                    letters.next_if_eq(&'\n');
                }
                let is_empty = row.is_empty() && cell.is_empty() && !has_begun;
                if !is_empty || rows.first().is_some_and(|header| header.len() == 1) {
                    row.push(std::mem::take(&mut cell));
                    rows.push(std::mem::take(&mut row));
                }
                has_begun = false;
            }
            _ if letter == delimiter => {
                row.push(std::mem::take(&mut cell));
                has_begun = false;
            }
            _ => {
                cell.push(letter);
                has_begun = true;
            }
        }
    }
    if is_quoted {
        return None;
    }
    if !row.is_empty() || !cell.is_empty() || has_begun {
        row.push(cell);
        rows.push(row);
    }
    Some(rows)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn delimited_text_is_read_as_the_reference_reads_it(
        content in "[a,\"\r\n é\u{feff}]{0,24}",
        step in prop_oneof![1_usize..4, Just(1000)],
        is_tsv in any::<bool>(),
    ) {
        let (format, delimiter) = if is_tsv { (Format::Tsv, '\t') } else { (Format::Csv, ',') };
        let content = if is_tsv { content.replace(',', "\t") } else { content };
        match (read(content.as_bytes(), step, format, None), reference(&content, delimiter)) {
            (Ok(rows), Some(expected)) => {
                let expected: Vec<_> = expected.iter().map(|row| Ok(row.iter().map(|cell| text(cell)).collect())).collect();
                prop_assert_eq!(rows, expected);
            }
            (Err(RowsError::Empty), Some(expected)) => prop_assert_eq!(expected, Vec::<Vec<String>>::new()),
            (Err(RowsError::UnterminatedQuote { .. }), None) => {}
            (rows, expected) => prop_assert!(false, "{:?} instead of {:?}", rows, expected),
        }
    }
}
