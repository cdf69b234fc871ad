//! The forms in which a server or a library may repeat a text. Pure.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD as STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// RFC 3986 leaves these as they are.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// `encodeURIComponent` leaves these as they are.
const COMPONENT: &AsciiSet = &UNRESERVED.remove(b'!').remove(b'*').remove(b'\'').remove(b'(').remove(b')');

/// The text itself, in JSON, and in URLs and forms. Hexadecimal digits may be in either case.
pub fn written(text: &str) -> Vec<String> {
    // Most texts look the same in all forms.
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return vec![text.to_owned()];
    }
    let quoted = Value::from(text).to_string();
    let quoted = &quoted[1..quoted.len() - 1];
    let ascii = unicode_escaped(quoted, |letter| !letter.is_ascii());
    let mut forms = vec![
        text.to_owned(),
        quoted.to_owned(),
        quoted.replace('/', "\\/"),
        ascii.replace('/', "\\/"),
        ascii,
        // As JSON in a web page.
        unicode_escaped(quoted, |letter| matches!(letter, '<' | '>' | '&')),
        unicode_escaped(text, |letter| !letter.is_ascii_alphanumeric()),
    ];
    for set in [NON_ALPHANUMERIC, UNRESERVED, COMPONENT] {
        let url = utf8_percent_encode(text, set).to_string();
        forms.extend([url.replace("%20", "+"), url]);
    }
    forms.sort_unstable();
    forms.dedup();
    forms
}

/// Its hexadecimal digits, and base64.
pub fn encoded(text: &str) -> Vec<String> {
    let mut forms = vec![text.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))];
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        forms.push(engine.encode(text));
        forms.extend((0..3).map(|before| within_base64(&engine, text, before)));
    }
    forms
}

fn unicode_escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        if is_escaped(letter) {
            escaped.extend(letter.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            escaped.push(letter);
        }
    }
    escaped
}

/// The part of a longer base64 text that depends only on `text`, if `before` bytes precede it in its group of three.
/// Basic authentication, for example, encodes `user:key` as one text.
fn within_base64(engine: &impl Engine, text: &str, before: usize) -> String {
    let all = engine.encode([&[0; 2][..before], text.as_bytes()].concat());
    let from = (before * 8).div_ceil(6);
    let to = (before + text.len()) * 8 / 6;
    all[from..to].to_owned()
}
