//! What Braze says goes into the log and into messages, and Braze may repeat an identifier in it. Pure.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::batch::Batch;

/// What stands where an identifier stood.
const HIDDEN: &str = "[identifier]";
/// From so many bytes on an identifier is hidden wherever it stands; a shorter one only where it is a word of its own, as
/// it may stand in any text by chance.
const LONG: usize = 6;
/// What a URL leaves as it is.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The text without any identifier of the batch that it is about: as it is, as JSON and as URLs escape it.
pub fn without_identifiers(text: &str, part: Option<&Batch>) -> String {
    let mut hidden = vec![false; text.len()];
    let identifiers = part.into_iter().flat_map(Batch::identifiers);
    for identifier in identifiers.filter_map(|(_, bytes)| std::str::from_utf8(bytes).ok()) {
        for form in written_forms(identifier) {
            mark(text, &form, &mut hidden);
        }
    }
    let mut shown = String::new();
    for (place, letter) in text.char_indices() {
        if !hidden[place] {
            shown.push(letter);
        } else if place == 0 || !hidden[place - 1] {
            shown.push_str(HIDDEN);
        }
    }
    shown
}

/// The identifier, and where they differ from it, its escaped forms.
fn written_forms(identifier: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-._~".contains(letter);
    let escaped = (!identifier.chars().all(is_plain)).then(|| {
        let json = serde_json::Value::from(identifier).to_string();
        let url = utf8_percent_encode(identifier, ESCAPED).to_string();
        [json[1..json.len() - 1].to_owned(), url]
    });
    std::iter::once(Cow::Borrowed(identifier)).chain(escaped.into_iter().flatten().map(Cow::Owned))
}

fn mark(text: &str, form: &str, hidden: &mut [bool]) {
    for (start, found) in text.match_indices(form) {
        let end = start + found.len();
        let is_part_of_a_word =
            text[..start].ends_with(char::is_alphanumeric) || text[end..].starts_with(char::is_alphanumeric);
        if found.len() >= LONG || !is_part_of_a_word {
            hidden[start..end].fill(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identifier::Kind;
    use rstest::rstest;

    #[rstest]
    #[case("user_ids u7 are not valid: a", "user_ids [identifier] are not valid: [identifier]")]
    #[case("\"zoë@example.com\"", "\"[identifier]\"")]
    #[case("id=zo%C3%AB%40example.com&x", "id=[identifier]&x")]
    #[case(r#"say \"hi\", a"#, "[identifier], [identifier]")]
    #[case("xlonger-idx", "x[identifier]x")]
    #[case("invalid", "invalid")]
    fn what_braze_says_is_shown_without_identifiers(#[case] said: &str, #[case] shown: &str) {
        let mut batch = Batch::new();
        for identifier in ["u7", "a", "zoë@example.com", "i", "say \"hi\"", "longer-id"] {
            batch.push(Kind::UserId, identifier.as_bytes());
        }
        assert_eq!(without_identifiers(said, Some(&batch)), shown);
        assert_eq!(without_identifiers(said, None), said);
    }
}
