//! What Braze says goes into the log and into messages, and Braze may repeat an identifier in it. Pure.

use crate::batch::Batch;
use crate::secret::spelled;

/// What stands where an identifier stood.
const HIDDEN: &str = "[identifier]";
/// From so many bytes on an identifier is hidden wherever it stands; a shorter one only where it is a word of its own, as
/// it may stand in any text by chance.
const LONG: usize = 4;
/// So much of what was said is searched, in bytes; what is shown of it is far less.
const SEARCHED: usize = 4096;

/// The text without any identifier of the batch that it is about, however its letters are escaped.
pub fn without_identifiers(text: &str, part: Option<&Batch>) -> String {
    let text = &text[..text.floor_char_boundary(SEARCHED)];
    let mut hidden = vec![false; text.len()];
    let identifiers = part.into_iter().flat_map(Batch::identifiers);
    for identifier in identifiers.filter_map(|(_, bytes)| std::str::from_utf8(bytes).ok()) {
        for found in spelled::places(text, identifier) {
            let is_part_of_a_word = text[..found.start].ends_with(char::is_alphanumeric)
                || text[found.end..].starts_with(char::is_alphanumeric);
            if identifier.len() >= LONG || !is_part_of_a_word {
                hidden[found].fill(true);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identifier::Kind;
    use crate::operation::Operation;
    use rstest::rstest;

    #[rstest]
    #[case("user_ids u7 are not valid: a", "user_ids [identifier] are not valid: [identifier]")]
    #[case("\"zoë@example.com\"", "\"[identifier]\"")]
    #[case("id=zo%C3%AB%40example.com&x", "id=[identifier]&x")]
    #[case(r#"say \"hi\", a"#, "[identifier], [identifier]")]
    #[case("xlonger-idx", "x[identifier]x")]
    #[case("invalid", "invalid")]
    fn what_braze_says_is_shown_without_identifiers(#[case] said: &str, #[case] shown: &str) {
        let mut batch = Batch::new(Operation::Add);
        for identifier in ["u7", "a", "zoë@example.com", "i", "say \"hi\"", "longer-id"] {
            batch.push(Kind::UserId, identifier.as_bytes());
        }
        assert_eq!(without_identifiers(said, Some(&batch)), shown);
        assert_eq!(without_identifiers(said, None), said);
    }
}
