//! What Braze says goes into the log and into messages, and Braze may repeat an identifier in it. Pure.

use crate::batch::Batch;
use crate::secret::spelled;

/// What stands where an identifier stood.
const HIDDEN: &str = "[identifier]";
/// From so many bytes on an identifier is hidden wherever it stands; a shorter one only where it is a word of its own, as
/// it may stand in any text by chance.
const LONG: usize = 4;
/// Letters of what was said that are shown: enough to know it by.
const SHOWN: usize = 200;

/// The beginning of a text without any identifier of the batch that it is about, however its letters are escaped. It is looked
/// at only as far as it is shown, and each identifier as far as it goes, so half of one is never left.
pub fn shown_without_identifiers(text: &str, part: Option<&Batch>) -> String {
    let identifiers: Vec<&str> = part
        .into_iter()
        .flat_map(Batch::identifiers)
        .filter_map(|(_, bytes)| std::str::from_utf8(bytes).ok())
        .collect();
    let (mut shown, mut letters, mut place) = (String::new(), 0, 0);
    while place < text.len() && letters < SHOWN {
        let end = end_of_identifiers(text, place, &identifiers);
        if end > place {
            if !shown.ends_with(HIDDEN) {
                shown.push_str(HIDDEN);
                letters += HIDDEN.len();
            }
            place = end;
        } else if let Some(letter) = text[place..].chars().next() {
            shown.push(letter);
            letters += 1;
            place += letter.len_utf8();
        }
    }
    if place < text.len() {
        shown.push_str(" …");
    }
    shown
}

/// Where those identifiers end that begin at this place, or within one that does; the place itself where there are none.
fn end_of_identifiers(text: &str, start: usize, identifiers: &[&str]) -> usize {
    let (mut place, mut end) = (start, start);
    loop {
        let here = identifiers.iter().filter_map(|identifier| end_of(text, place, identifier)).max();
        end = end.max(here.unwrap_or(start));
        place += text[place..].chars().next().map_or(1, char::len_utf8);
        if place >= end {
            return end;
        }
    }
}

fn end_of(text: &str, start: usize, identifier: &str) -> Option<usize> {
    let end = start + spelled::length_at(&text[start..], identifier)?;
    let is_part_of_a_word =
        text[..start].ends_with(char::is_alphanumeric) || text[end..].starts_with(char::is_alphanumeric);
    (identifier.len() >= LONG || !is_part_of_a_word).then_some(end)
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
        assert_eq!(shown_without_identifiers(said, Some(&batch)), shown);
        assert_eq!(shown_without_identifiers(said, None), said);
    }

    #[rstest]
    #[case(5, 1024)]
    #[case(9, 512)]
    #[case(14, 300)]
    fn no_half_of_a_long_identifier_is_left_however_often_it_is_repeated(#[case] times: usize, #[case] length: usize) {
        let identifier: String = "zz-id-".chars().cycle().take(length).collect();
        let mut batch = Batch::new(Operation::Add);
        batch.push(Kind::UserId, identifier.as_bytes());
        let said = format!("status 400: bad: {}", vec![identifier.as_str(); times].join(" "));
        let shown = shown_without_identifiers(&said, Some(&batch));
        assert!(!shown.contains("zz"), "{shown}");
        assert!(shown.chars().count() <= SHOWN + 20, "{shown}");
    }

    #[test]
    fn identifiers_that_overlap_leave_nothing_of_each_other() {
        let mut batch = Batch::new(Operation::Add);
        batch.push(Kind::UserId, b"abcdef");
        batch.push(Kind::UserId, b"defghi");
        assert_eq!(shown_without_identifiers("x abcdefghi y", Some(&batch)), "x [identifier] y");
    }
}
