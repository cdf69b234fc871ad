//! A text that somebody has escaped, letter by letter: JSON, URLs, forms, HTML, in any mixture. Pure.

use std::ops::Range;

/// Each place in `text` where `secret` stands, however its letters are spelled.
pub fn places(text: &str, secret: &str) -> Vec<Range<usize>> {
    let letters: Vec<Letter> = secret.chars().map(Letter::new).collect();
    let starts = text.char_indices().map(|(start, _)| start);
    starts.filter_map(|start| Some(start..end_of(&text.as_bytes()[start..], &letters)? + start)).collect()
}

/// The length of what spells `secret` at the beginning of a text, if anything does.
pub fn length_at(text: &str, secret: &str) -> Option<usize> {
    let (bytes, first) = (text.as_bytes(), secret.chars().next()?);
    // Nearly always the first letter tells; what may be an escape has to be looked at.
    let may_begin = text.starts_with(first) || bytes.first().is_some_and(|byte| b"\\%&+".contains(byte));
    if !may_begin {
        return None;
    }
    let letters: Vec<Letter> = secret.chars().map(Letter::new).collect();
    end_of(bytes, &letters)
}

/// The length of what spells these letters at the beginning of a text. One letter can be spelled like the beginning of
/// another one's spelling (`%` and `%25`), so all ends are followed.
fn end_of(text: &[u8], letters: &[Letter]) -> Option<usize> {
    let mut ends = vec![0];
    for letter in letters {
        let mut next: Vec<usize> =
            ends.iter().flat_map(|end| letter.lengths(&text[*end..]).map(move |length| end + length)).collect();
        next.sort_unstable();
        next.dedup();
        if next.is_empty() {
            return None;
        }
        ends = next;
    }
    ends.pop()
}

/// One letter with the spellings that do not depend on the case of digits.
struct Letter {
    /// As it is, JSON's short form, HTML's name.
    exact: Vec<String>,
    /// In hexadecimal or decimal digits.
    numeric: Vec<String>,
}

impl Letter {
    fn new(letter: char) -> Self {
        let mut exact = vec![letter.to_string()];
        exact.extend(short_forms(letter).iter().map(|form| (*form).to_owned()));
        let code = u32::from(letter);
        let utf16 =
            letter.encode_utf16(&mut [0; 2]).iter().fold(String::new(), |text, unit| format!("{text}\\u{unit:04x}"));
        let url =
            letter.encode_utf8(&mut [0; 4]).bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02x}"));
        Self { exact, numeric: vec![utf16, url, format!("&#{code};"), format!("&#x{code:x};")] }
    }

    /// How many bytes of the text spell it, by each spelling that fits.
    fn lengths(&self, text: &[u8]) -> impl Iterator<Item = usize> {
        let exact = self.exact.iter().filter(|form| text.starts_with(form.as_bytes()));
        let numeric = self.numeric.iter().filter(|form| {
            text.get(..form.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(form.as_bytes()))
        });
        exact.chain(numeric).map(String::len)
    }
}

fn short_forms(letter: char) -> &'static [&'static str] {
    match letter {
        '"' => &["\\\"", "&quot;"],
        '\\' => &["\\\\"],
        '/' => &["\\/"],
        '\t' => &["\\t"],
        ' ' => &["+"],
        '&' => &["&amp;"],
        '<' => &["&lt;"],
        '>' => &["&gt;"],
        '\'' => &["\\'", "&apos;"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::plain("a%25b", "a%25b", 1)]
    #[case::url("a%2525b", "a%25b", 1)]
    #[case::mixed(r"\u0061%25\/&amp; a%/&", "a%/&", 2)]
    #[case::beyond_16_bits(r"x\ud83d\udE00y x%f0%9F%98%80y", "x😀y", 2)]
    #[case::backslashes(r"\\\\", r"\\", 3)]
    #[case::another("a%2", "a%25b", 0)]
    #[case::cut(r"\u006", "a", 0)]
    #[case::in_the_midst_of_letters("üaü", "a", 1)]
    fn finds_each_place(#[case] text: &str, #[case] secret: &str, #[case] count: usize) {
        assert_eq!(places(text, secret).len(), count, "{:?}", places(text, secret));
    }

    #[test]
    fn many_ways_to_spell_cost_no_more_than_few() {
        let text = r"\".repeat(60);
        assert!(places(&format!("{text}x"), &format!("{}y", r"\".repeat(50))).is_empty());
    }
}
