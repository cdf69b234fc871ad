//! Decides which cells are identifiers, and why others are not. Pure: no input, output or clock.

use serde::de::IgnoredAny;

use crate::members::identifier::{MAX_BYTES, all_bytes};

/// What Treasure Data's tools, Hive, Python and others write for NULL, separated by commas.
pub const NULL_WORDS: &str = r"null,NULL,\N,nan,NaN,None,<nil>,undefined";

/// What a cell of an identifier column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// NULL, empty, or only white space.
    Blank,
    /// A word that other programs write for NULL.
    NullWord,
    /// An identifier, sent as it is.
    Identifier {
        /// It begins or ends with white space, which is rarely intended.
        padded: bool,
        /// It contains invisible characters.
        invisible: bool,
    },
    /// It cannot be an identifier in Braze.
    Rejected(Reason),
}

/// Why a cell is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It holds a control character, a line break or NUL.
    ControlCharacter,
    /// It is not UTF-8.
    InvalidUtf8,
    /// It is longer than [`MAX_BYTES`].
    TooLong,
    /// A number with a fraction or an exponent, or text like a DOUBLE. Its digits are not reliable.
    Float,
    /// `true` or `false`.
    Boolean,
    /// A list or a map, or text that is one in JSON.
    Nested,
    /// A `MessagePack` extension type.
    Extension,
}

impl Reason {
    /// The keys in the report, in the order of the variants.
    pub const KEYS: [&'static str; 7] =
        ["control_character", "invalid_utf8", "too_long", "float", "boolean", "nested", "extension"];

    /// The reason's key in the report.
    pub fn key(self) -> &'static str {
        Self::KEYS[self as usize]
    }
}

/// The words that count as blank. The spelling must be exact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NullWords {
    words: Vec<String>,
    /// A bit for each word length; the last bit stands for all longer ones. It saves most comparisons.
    lengths: u64,
}

impl NullWords {
    /// From these words.
    pub fn new(words: Vec<String>) -> Self {
        let lengths = words.iter().fold(0, |lengths, word| lengths | length_bit(word.len()));
        Self { words, lengths }
    }

    /// All words.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// The word that equals the cell.
    #[inline]
    pub fn find(&self, cell: &[u8]) -> Option<&str> {
        if self.lengths & length_bit(cell.len()) == 0 {
            return None;
        }
        self.words.iter().map(String::as_str).find(|word| word.as_bytes() == cell)
    }
}

impl Default for NullWords {
    fn default() -> Self {
        Self::new(NULL_WORDS.split(',').map(str::to_owned).collect())
    }
}

fn length_bit(length: usize) -> u64 {
    1 << length.min(63)
}

/// Decides what a cell is. Changes nothing: no trimming, no change of case.
#[expect(clippy::inline_always, reason = "as for the operation of a row")]
#[inline(always)]
pub fn examine(cell: &[u8], null_words: &NullWords) -> Cell {
    if cell.is_empty() {
        return Cell::Blank;
    }
    if cell.len() > MAX_BYTES {
        return Cell::Rejected(Reason::TooLong);
    }
    if null_words.find(cell).is_some() {
        return Cell::NullWord;
    }
    if matches!(cell, [b'[' | b'{', ..]) && is_json(cell) {
        return Cell::Rejected(Reason::Nested);
    }
    // Nearly every identifier is printable ASCII, and a DOUBLE has a point.
    if all_bytes(cell, |byte| matches!(byte, b'!'..=b'-' | b'/'..=b'~')) {
        return Cell::Identifier { padded: false, invisible: false };
    }
    if matches!(cell, [b'+' | b'-' | b'0'..=b'9', ..]) && is_double(cell) {
        return Cell::Rejected(Reason::Float);
    }
    if all_bytes(cell, |byte| (b'!'..=b'~').contains(&byte)) {
        Cell::Identifier { padded: false, invisible: false }
    } else {
        examine_text(cell)
    }
}

#[cold]
fn examine_text(cell: &[u8]) -> Cell {
    let Ok(text) = std::str::from_utf8(cell) else {
        return Cell::Rejected(Reason::InvalidUtf8);
    };
    if text.chars().all(|letter| letter.is_whitespace() || is_invisible(letter)) {
        Cell::Blank
    } else if text.chars().any(char::is_control) {
        Cell::Rejected(Reason::ControlCharacter)
    } else {
        Cell::Identifier { padded: text.trim() != text, invisible: text.chars().any(is_invisible) }
    }
}

/// Whether a text is one JSON value.
#[cold]
pub fn is_json(cell: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(cell).is_ok()
}

/// Digits and `.0`, or a mantissa with a point and an exponent.
fn is_double(cell: &[u8]) -> bool {
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_integer = |text: &str| are_digits(text.strip_prefix(['-', '+']).unwrap_or(text));
    // The largest exponent has a sign and three digits.
    let is_exponent = |text: &str| text.len() <= 4 && is_integer(text);
    let Some((whole, fraction)) = str::from_utf8(cell).ok().and_then(|text| text.split_once('.')) else { return false };
    let scaled = fraction.split_once(['e', 'E']);
    let is_scaled = scaled.is_some_and(|(digits, exponent)| are_digits(digits) && is_exponent(exponent));
    is_integer(whole) && (fraction == "0" || is_scaled)
}

/// Zero-width and directional characters, the soft hyphen and the byte order mark.
pub fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}'
        | '\u{2066}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(b"", Cell::Blank)]
    #[case(b"   ", Cell::Blank)]
    #[case(b"\t\r\n", Cell::Blank)]
    #[case("\u{3000}\u{a0}".as_bytes(), Cell::Blank)]
    #[case(b"u1", Cell::Identifier { padded: false, invisible: false })]
    #[case(b"U 1", Cell::Identifier { padded: false, invisible: false })]
    #[case(b" u1", Cell::Identifier { padded: true, invisible: false })]
    #[case(b"u1 ", Cell::Identifier { padded: true, invisible: false })]
    #[case("日本語@example.com".as_bytes(), Cell::Identifier { padded: false, invisible: false })]
    #[case(br#"say "hi"\"#, Cell::Identifier { padded: false, invisible: false })]
    #[case(b"NULL", Cell::NullWord)]
    #[case(br"\N", Cell::NullWord)]
    #[case(b"<nil>", Cell::NullWord)]
    #[case(b"Null", Cell::Identifier { padded: false, invisible: false })]
    #[case(b"null ", Cell::Identifier { padded: true, invisible: false })]
    #[case(b"12345.0", Cell::Rejected(Reason::Float))]
    #[case(b"-1.0", Cell::Rejected(Reason::Float))]
    #[case(b"7.9155723368987034E17", Cell::Rejected(Reason::Float))]
    #[case(b"1.5e-300", Cell::Rejected(Reason::Float))]
    #[case(b"1.5", Cell::Identifier { padded: false, invisible: false })]
    #[case(b"1.0.0", Cell::Identifier { padded: false, invisible: false })]
    #[case(b"12345e67", Cell::Identifier { padded: false, invisible: false })]
    #[case(b"-", Cell::Identifier { padded: false, invisible: false })]
    #[case(b"-0", Cell::Identifier { padded: false, invisible: false })]
    #[case(b".0", Cell::Identifier { padded: false, invisible: false })]
    #[case(b"1.e5", Cell::Identifier { padded: false, invisible: false })]
    #[case(b"1.5e", Cell::Identifier { padded: false, invisible: false })]
    #[case(b"1.5e-", Cell::Identifier { padded: false, invisible: false })]
    #[case(b"true", Cell::Identifier { padded: false, invisible: false })]
    #[case(br#"["u1", "u2"]"#, Cell::Rejected(Reason::Nested))]
    #[case(br#"{"a":1}"#, Cell::Rejected(Reason::Nested))]
    #[case(b"[u1]", Cell::Identifier { padded: false, invisible: false })]
    #[case("u\u{200b}1".as_bytes(), Cell::Identifier { padded: false, invisible: true })]
    #[case("\u{feff} \u{ad}".as_bytes(), Cell::Blank)]
    #[case(b"a\nb", Cell::Rejected(Reason::ControlCharacter))]
    #[case(b"a\0b", Cell::Rejected(Reason::ControlCharacter))]
    #[case(b"a\x7fb", Cell::Rejected(Reason::ControlCharacter))]
    #[case("a\u{85}b".as_bytes(), Cell::Rejected(Reason::ControlCharacter))]
    #[case(b"a\xffb", Cell::Rejected(Reason::InvalidUtf8))]
    #[case(&[b'x'; 1024], Cell::Identifier { padded: false, invisible: false })]
    #[case(&[b'x'; 1025], Cell::Rejected(Reason::TooLong))]
    #[case(&[b' '; 1025], Cell::Rejected(Reason::TooLong))]
    fn a_cell_is_blank_an_identifier_or_rejected(#[case] cell: &[u8], #[case] expected: Cell) {
        assert_eq!(examine(cell, &NullWords::default()), expected);
    }

    #[rstest]
    #[case(Reason::ControlCharacter, "control_character")]
    #[case(Reason::InvalidUtf8, "invalid_utf8")]
    #[case(Reason::TooLong, "too_long")]
    #[case(Reason::Float, "float")]
    #[case(Reason::Boolean, "boolean")]
    #[case(Reason::Nested, "nested")]
    #[case(Reason::Extension, "extension")]
    fn a_reason_has_its_key(#[case] reason: Reason, #[case] key: &str) {
        assert_eq!(reason.key(), key);
    }

    #[test]
    fn the_words_that_are_set_are_the_only_ones() {
        let long = "x".repeat(70);
        let words = NullWords::new(vec!["n/a".to_owned(), long.clone()]);
        assert_eq!((words.find(b"n/a"), words.find(long.as_bytes())), (Some("n/a"), Some(long.as_str())));
        assert_eq!((words.find(b"null"), words.find(&[b'x'; 71])), (None, None));
        let is_sent = Cell::Identifier { padded: false, invisible: false };
        assert_eq!(examine(b"null", &NullWords::new(Vec::new())), is_sent);
    }
}
