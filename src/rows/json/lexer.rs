//! The grammar of JSON (RFC 8259), as far as rows need it: a value is told by its kind, and nothing is built from it.
//!
//! Written by hand because numbers keep their digits however long they are, and nothing is allocated for a value that
//! nobody wants. Bytes that are not UTF-8 are let through within strings; who uses a string looks at it.

use memchr::memchr2;

/// It is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bad;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A number in plain digits.
    Integer,
    /// A number with a fraction or an exponent.
    Float,
    /// `true` or `false`.
    Boolean,
    /// `null`.
    Null,
    /// An array or an object.
    Nested,
}

/// Goes over a text.
pub struct Lexer<'a> {
    text: &'a [u8],
    place: usize,
}

/// Where the content of a string without escapes stands, or that it had to be unescaped.
pub enum Key<'a> {
    /// In the text itself.
    Plain(&'a [u8]),
    /// In the buffer that was given.
    Unescaped,
}

/// Whether the text is an array and nothing else.
pub fn is_array(text: &[u8]) -> bool {
    let mut lexer = Lexer::new(text);
    lexer.value(None) == Ok(Kind::Nested) && lexer.ends() && text.trim_ascii_start().starts_with(b"[")
}

/// Whether the text could go on to be an array: its first value is there, or is a string that goes on.
pub fn begins_an_array(text: &[u8]) -> bool {
    let mut lexer = Lexer::new(text);
    lexer.takes(b'[') && (lexer.peek() == Some(b'"') || (lexer.value(None).is_ok() && lexer.takes(b',')))
}

impl<'a> Lexer<'a> {
    /// At the beginning of the text.
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, place: 0 }
    }

    /// The next byte that is no white space.
    pub fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.text.get(self.place) {
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Some(*byte);
            }
            self.place += 1;
        }
        None
    }

    /// Whether nothing but white space is left.
    pub fn ends(&mut self) -> bool {
        self.peek().is_none()
    }

    /// Takes this byte, if it is the next one.
    pub fn takes(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.place += usize::from(is_there);
        is_there
    }

    /// A key of an object and the colon. Only one with escapes is put into `unescaped`.
    pub fn key(&mut self, unescaped: &mut Vec<u8>) -> Result<Key<'a>, Bad> {
        unescaped.clear();
        let quote = self.peek().map(|_| self.place).ok_or(Bad)?;
        self.string(Some(unescaped))?;
        let raw = &self.text[quote + 1..self.place - 1];
        if !self.takes(b':') {
            return Err(Bad);
        }
        Ok(if raw.contains(&b'\\') { Key::Unescaped } else { Key::Plain(raw) })
    }

    /// A string; its content goes to `out`.
    pub fn string(&mut self, mut out: Option<&mut Vec<u8>>) -> Result<(), Bad> {
        if !self.takes(b'"') {
            return Err(Bad);
        }
        loop {
            let rest = &self.text[self.place..];
            let length = memchr2(b'"', b'\\', rest).ok_or(Bad)?;
            if rest[..length].iter().any(|byte| *byte < b' ') {
                return Err(Bad);
            }
            if let Some(out) = &mut out {
                out.extend_from_slice(&rest[..length]);
            }
            self.place += length + 1;
            if rest[length] == b'"' {
                return Ok(());
            }
            let letter = self.escape()?;
            if let Some(out) = &mut out {
                out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }

    /// What stands behind a backslash. Half a surrogate pair is an error.
    fn escape(&mut self) -> Result<char, Bad> {
        let byte = *self.text.get(self.place).ok_or(Bad)?;
        self.place += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.four_digits()?;
                if !(0xd800..0xdc00).contains(&first) {
                    return char::from_u32(first).ok_or(Bad);
                }
                if !self.text[self.place..].starts_with(b"\\u") {
                    return Err(Bad);
                }
                self.place += 2;
                let second = self.four_digits()?.checked_sub(0xdc00).filter(|low| *low < 0x400).ok_or(Bad)?;
                char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + second).ok_or(Bad)?
            }
            _ => return Err(Bad),
        })
    }

    fn four_digits(&mut self) -> Result<u32, Bad> {
        let digits = self.text.get(self.place..self.place + 4).ok_or(Bad)?;
        self.place += 4;
        digits.iter().try_fold(0, |number, digit| Ok(number * 16 + char::from(*digit).to_digit(16).ok_or(Bad)?))
    }

    /// Any value. The content of a string and the digits of a whole number go to `out`.
    pub fn value(&mut self, out: Option<&mut Vec<u8>>) -> Result<Kind, Bad> {
        match self.peek() {
            Some(b'{' | b'[') => self.nested(),
            _ => self.scalar(out),
        }
    }

    fn scalar(&mut self, out: Option<&mut Vec<u8>>) -> Result<Kind, Bad> {
        match self.peek() {
            Some(b'"') => self.string(out).map(|()| Kind::Text),
            Some(b'-' | b'0'..=b'9') => self.number(out),
            Some(b't') => self.word(b"true", Kind::Boolean),
            Some(b'f') => self.word(b"false", Kind::Boolean),
            Some(b'n') => self.word(b"null", Kind::Null),
            _ => Err(Bad),
        }
    }

    fn word(&mut self, word: &[u8], kind: Kind) -> Result<Kind, Bad> {
        if !self.text[self.place..].starts_with(word) {
            return Err(Bad);
        }
        self.place += word.len();
        Ok(kind)
    }

    fn number(&mut self, out: Option<&mut Vec<u8>>) -> Result<Kind, Bad> {
        let start = self.place;
        self.place += usize::from(self.at(b'-'));
        let leads_with_zero = self.at(b'0');
        let digits = self.digits();
        if digits == 0 || (leads_with_zero && digits > 1) {
            return Err(Bad);
        }
        let mut kind = Kind::Integer;
        if self.at(b'.') {
            kind = Kind::Float;
            self.place += 1;
            if self.digits() == 0 {
                return Err(Bad);
            }
        }
        if self.at(b'e') || self.at(b'E') {
            kind = Kind::Float;
            self.place += 1;
            self.place += usize::from(self.at(b'+') || self.at(b'-'));
            if self.digits() == 0 {
                return Err(Bad);
            }
        }
        if let (Kind::Integer, Some(out)) = (kind, out) {
            out.extend_from_slice(&self.text[start..self.place]);
        }
        Ok(kind)
    }

    fn at(&self, byte: u8) -> bool {
        self.text.get(self.place) == Some(&byte)
    }

    fn digits(&mut self) -> usize {
        let count = self.text[self.place..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.place += count;
        count
    }

    /// Passes over an array or an object without recursion. Deeper than 128 levels is an error.
    fn nested(&mut self) -> Result<Kind, Bad> {
        // A bit a level, the innermost lowest: whether it is an object.
        let (mut objects, mut depth) = (0_u128, 0_u32);
        loop {
            match self.peek() {
                Some(opening @ (b'{' | b'[')) => {
                    if depth == u128::BITS {
                        return Err(Bad);
                    }
                    self.place += 1;
                    (objects, depth) = ((objects << 1) | u128::from(opening == b'{'), depth + 1);
                    let is_empty = self.takes(if opening == b'{' { b'}' } else { b']' });
                    if !is_empty {
                        self.key_within(objects)?;
                        continue;
                    }
                    (objects, depth) = (objects >> 1, depth - 1);
                }
                _ => drop(self.scalar(None)?),
            }
            while depth > 0 && !self.takes(b',') {
                if !self.takes(if objects & 1 == 1 { b'}' } else { b']' }) {
                    return Err(Bad);
                }
                (objects, depth) = (objects >> 1, depth - 1);
            }
            if depth == 0 {
                return Ok(Kind::Nested);
            }
            self.key_within(objects)?;
        }
    }

    fn key_within(&mut self, objects: u128) -> Result<(), Bad> {
        if objects & 1 == 1 {
            self.string(None)?;
            return if self.takes(b':') { Ok(()) } else { Err(Bad) };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::Value;

    fn read(text: &[u8]) -> Result<(Kind, Vec<u8>), Bad> {
        let (mut lexer, mut out) = (Lexer::new(text), Vec::new());
        let kind = lexer.value(Some(&mut out))?;
        if lexer.ends() { Ok((kind, out)) } else { Err(Bad) }
    }

    #[rstest]
    #[case(r#""a\"\\\/\b\f\n\r\té""#, Kind::Text, "a\"\\/\u{8}\u{c}\n\r\té")]
    #[case(r#""\u00e9\ud83d\ude00\u0000""#, Kind::Text, "é😀\0")]
    #[case("123456789012345678901234567890", Kind::Integer, "123456789012345678901234567890")]
    #[case(" -0 ", Kind::Integer, "-0")]
    #[case("1.0", Kind::Float, "")]
    #[case("1e3", Kind::Float, "")]
    #[case("-0.5E-7", Kind::Float, "")]
    #[case("true", Kind::Boolean, "")]
    #[case("null", Kind::Null, "")]
    #[case(r#"[{"a":[]},{},[[1,"]"]]]"#, Kind::Nested, "")]
    fn tells_a_value_by_its_kind(#[case] text: &str, #[case] kind: Kind, #[case] content: &str) {
        assert_eq!(read(text.as_bytes()), Ok((kind, content.as_bytes().to_vec())));
    }

    #[rstest]
    #[case::lone_high_surrogate(r#""\ud83d""#)]
    #[case::lone_low_surrogate(r#""\ude00""#)]
    #[case::two_high_surrogates(r#""\ud83d\ud83d""#)]
    #[case::a_high_surrogate_and_a_letter(r#""\ud83d\ue000""#)]
    #[case::a_line_break_in_a_string("\"a\nb\"")]
    #[case::open_string("\"a")]
    #[case::leading_zero("01")]
    #[case::plus("+1")]
    #[case::bare_point("1.")]
    #[case::bare_exponent("1e")]
    #[case::hexadecimal("0x1f")]
    #[case::not_a_number("NaN")]
    #[case::trailing_comma("[1,]")]
    #[case::mismatched_brackets("[{]}")]
    #[case::single_quotes("{'a':1}")]
    #[case::two_values("1 2")]
    #[case::nothing("")]
    fn refuses_what_is_not_json(#[case] text: &str) {
        assert_eq!(read(text.as_bytes()), Err(Bad));
    }

    #[test]
    fn depth_costs_neither_stack_nor_memory() {
        assert!(read(format!("{}{}", "[".repeat(128), "]".repeat(128)).as_bytes()).is_ok());
        assert_eq!(read(format!("{}{}", "[".repeat(129), "]".repeat(129)).as_bytes()), Err(Bad));
        assert_eq!(read("{\"a\":[".repeat(1_000_000).as_bytes()), Err(Bad));
    }

    proptest! {
        /// The plain second implementation is serde_json.
        #[test]
        fn agrees_with_serde_json_on_what_is_json(text in r#"[\[\]{}",:\\u0-9eE.+\-dn trfalsé\n]{0,12}"#) {
            // It cannot read numbers beyond a double's range, which are JSON all the same.
            let expected = serde_json::from_str::<Value>(&text);
            prop_assume!(!expected.as_ref().is_err_and(|error| error.to_string().contains("out of range")));
            prop_assert_eq!(read(text.as_bytes()).is_ok(), expected.is_ok());
        }

        #[test]
        fn unescapes_as_serde_json_does(text in any::<String>(), ascii in any::<bool>()) {
            let mut json = serde_json::to_string(&text).unwrap();
            if ascii {
                json = json.encode_utf16().map(|unit| match char::from_u32(unit.into()) {
                    Some(letter) if letter.is_ascii() => letter.to_string(),
                    _ => format!("\\u{unit:04x}"),
                }).collect();
            }
            prop_assert_eq!(read(json.as_bytes()), Ok((Kind::Text, text.into_bytes())));
        }
    }
}
