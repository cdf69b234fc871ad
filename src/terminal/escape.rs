//! Escapes characters that would control a terminal, or forge a line of a log. Pure.

use std::fmt::Write;

/// The longest line, in bytes. Names and messages come from files and servers.
pub const MAX_LINE_BYTES: usize = 8000;

/// As one line, cut if it is too long.
pub fn line(text: &str) -> String {
    let escaped = escaped(text, |_| false);
    match escaped.floor_char_boundary(MAX_LINE_BYTES - '…'.len_utf8()) {
        _ if escaped.len() <= MAX_LINE_BYTES => escaped,
        end => format!("{}…", &escaped[..end]),
    }
}

/// As lines: line feeds and tabs stay.
pub fn lines(text: &str) -> String {
    escaped(text, |letter| matches!(letter, '\n' | '\t'))
}

fn escaped(text: &str, is_ours: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            letter if is_ours(letter) || !acts(letter) => shown.push(letter),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            // As in JSON, so that a document stays valid. Each has four digits.
            other => {
                let _ = write!(shown, "\\u{:04x}", u32::from(other));
            }
        }
    }
    shown
}

/// Whether it is a control character, changes the direction of text, or ends a line for some programs.
fn acts(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::plain("名前 is é, 'a\\n'", "名前 is é, 'a\\n'")]
    #[case::colour("\u{1b}[31mred", "\\u001b[31mred")]
    #[case::title("\u{1b}]0;x\u{7}", "\\u001b]0;x\\u0007")]
    #[case::c1("\u{9b}2J\u{7f}\0", "\\u009b2J\\u007f\\u0000")]
    #[case::lines("a\r\nerror: b\tc", "a\\r\\nerror: b\\tc")]
    #[case::turned_round("\u{202a}\u{202e}\u{2066}\u{2069}", "\\u202a\\u202e\\u2066\\u2069")]
    #[case::separators("\u{2028}\u{2029}", "\\u2028\\u2029")]
    fn what_acts_is_written_out(#[case] text: &str, #[case] shown: &str) {
        assert_eq!(line(text), shown);
    }

    #[test]
    fn a_document_keeps_its_lines_and_stays_json() {
        let text = serde_json::json!({"a\u{202e}": "b\u{1b}"}).to_string();
        let shown = lines(&format!("{text}\n"));
        assert!(!shown.contains('\u{202e}') && shown.ends_with('\n'), "{shown}");
        let read: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(read["a\u{202e}"], "b\u{1b}");
    }

    #[test]
    fn a_line_ends_somewhere() {
        let long = line(&"é\u{1b}".repeat(5000));
        assert!(long.len() <= MAX_LINE_BYTES && long.ends_with('…'), "{}", long.len());
        assert_eq!(line(&"a".repeat(MAX_LINE_BYTES)).len(), MAX_LINE_BYTES);
    }
}
