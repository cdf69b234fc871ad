//! Redacts identifiers in Braze's messages, which appear in the log and in errors. Pure.

use std::collections::HashSet;
use std::ops::Range;

use memchr::memmem::Finder;

use crate::http::shortened;
use crate::members::batch::Batch;
use crate::secret::encodings::written;
use crate::secret::{REDACTED, replaced};

const IDENTIFIER: &str = "[identifier]";
/// Identifiers of at least this many bytes are redacted everywhere. Shorter ones may occur in any text by chance, so
/// they are redacted only as whole words.
const LONG: usize = 4;
/// How much of a message is searched, in bytes.
const LOOKED_AT: usize = 2048;
/// Known messages of Braze. The word `array` in them is not an identifier.
const KNOWN: [&str; 15] = [
    "cohort_id must be a valid string",
    "cohort_changes must be an array of objects",
    "name must be a non-empty string",
    "created_at must be ISO-8601",
    "user_ids must be an array of strings",
    "device_ids must be an array of strings",
    "aliases must be an array of objects",
    "alias name must be a valid string",
    "Only 1,000 user_ids, device_ids, and aliases allowed per request",
    "Invalid Partner API key",
    "Invalid client secret",
    "Unauthorized access",
    "Not Found",
    "Resource locked",
    "no message",
];
/// A known message that ends with a redacted secret.
const NOT_ENABLED: &str = "Partner not enabled for client with client secret: ";

/// The beginning of a text, with every identifier of the batch redacted.
pub fn without_identifiers(text: &str, part: Option<&Batch>) -> String {
    let Some(part) = part.filter(|_| !is_known(text)) else { return shortened(text) };
    let seen = &text[..text.floor_char_boundary(LOOKED_AT)];
    let lower_case = seen.to_ascii_lowercase();
    let is_cut = seen.len() < text.len();
    let (mut places, mut longest) = (Vec::new(), 0);
    for identifier in distinct(part) {
        // It is longer than the text, and so are all its forms.
        if identifier.len() > seen.len() && !is_cut {
            continue;
        }
        for form in written(identifier) {
            longest = longest.max(form.len());
            places.extend(places_of(&form.to_ascii_lowercase(), &lower_case, text, identifier.len() >= LONG));
        }
    }
    // An identifier that begins after this may extend beyond the searched bytes.
    let clear = if is_cut { seen.floor_char_boundary(seen.len().saturating_sub(longest)) } else { seen.len() };
    let places =
        places.into_iter().filter(|place| place.start < clear).map(|place| place.start..place.end.min(clear)).collect();
    let shown = shortened(&replaced(&text[..clear], places, IDENTIFIER));
    if is_cut && !shown.ends_with('…') { shown + " …" } else { shown }
}

fn is_known(text: &str) -> bool {
    let said = text.split_once(": ").filter(|(status, _)| status.starts_with("status ")).map_or(text, |(_, said)| said);
    KNOWN.contains(&said) || said.strip_prefix(NOT_ENABLED) == Some(REDACTED)
}

fn distinct(part: &Batch) -> HashSet<&str> {
    let texts = part.identifiers().filter_map(|(_, bytes)| str::from_utf8(bytes).ok());
    texts.filter(|text| !text.is_empty()).collect()
}

/// The places of this form in `lower_case`, the beginning of `text`, including overlapping ones.
///
/// Each form gets its own search. Building one search for a thousand identifiers takes longer than a thousand searches
/// in a text this short.
fn places_of(form: &str, lower_case: &str, text: &str, is_long: bool) -> Vec<Range<usize>> {
    let finder = Finder::new(form);
    let (mut places, mut from) = (Vec::new(), 0);
    while let Some(found) = finder.find(&lower_case.as_bytes()[from..]) {
        let (start, end) = (from + found, from + found + form.len());
        let is_word =
            || !text[..start].ends_with(char::is_alphanumeric) && !text[end..].starts_with(char::is_alphanumeric);
        if is_long || is_word() {
            places.push(start..end);
        }
        from = start + 1;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::identifier::Kind;
    use crate::members::operation::Operation;
    use rstest::rstest;
    use std::time::{Duration, Instant};

    fn batch(identifiers: &[&str]) -> Batch {
        let mut batch = Batch::new(Operation::Add);
        for identifier in identifiers {
            batch.push(Kind::UserId, identifier.as_bytes());
        }
        batch
    }

    #[rstest]
    #[case::words("user_ids u7 are not valid: a", "user_ids [identifier] are not valid: [identifier]")]
    #[case::quoted("\"zoë@example.com\"", "\"[identifier]\"")]
    #[case::url("id=zo%C3%AB%40example.com&x", "id=[identifier]&x")]
    #[case::url_in_lower_case("id=zo%c3%ab%40example.com&x", "id=[identifier]&x")]
    #[case::json(r#"say \"hi\", a"#, "[identifier], [identifier]")]
    #[case::within_a_word("xlonger-idx", "x[identifier]x")]
    #[case::in_other_letters("LONGER-ID and Longer-Id, A", "[identifier] and [identifier], [identifier]")]
    #[case::by_chance("invalid", "invalid")]
    #[case::known("Invalid client secret", "Invalid client secret")]
    #[case::known_with_status(
        "status 400: user_ids must be an array of strings",
        "status 400: user_ids must be an array of strings"
    )]
    #[case::known_and_more(
        "user_ids must be an array of strings: u7",
        "user_ids must be an [identifier] of strings: [identifier]"
    )]
    #[case::not_enabled(
        "Partner not enabled for client with client secret: [redacted]",
        "Partner not enabled for client with client secret: [redacted]"
    )]
    fn what_braze_says_is_shown_without_identifiers(#[case] said: &str, #[case] shown: &str) {
        let part =
            batch(&["u7", "a", "zoë@example.com", "i", "say \"hi\"", "longer-id", "array", "client", "u7", "secret"]);
        assert_eq!(without_identifiers(said, Some(&part)), shown);
        assert_eq!(without_identifiers(said, None), said);
    }

    #[rstest]
    #[case(5, 1024)]
    #[case(9, 512)]
    #[case(14, 300)]
    fn no_half_of_a_long_identifier_is_left_however_often_it_is_repeated(#[case] times: usize, #[case] length: usize) {
        let identifier: String = "zz-id-".chars().cycle().take(length).collect();
        let said = format!("status 400: bad: {}", vec![identifier.as_str(); times].join(" "));
        let shown = without_identifiers(&said, Some(&batch(&[&identifier])));
        assert!(!shown.contains("zz"), "{shown}");
        assert!(shown.chars().count() <= 220, "{shown}");
    }

    #[rstest]
    #[case::of_each_other(&["abcdef", "defghi"], "x abcdefghi y")]
    #[case::of_themselves(&["abab"], "x ababab y")]
    fn identifiers_that_overlap_leave_nothing(#[case] identifiers: &[&str], #[case] said: &str) {
        assert_eq!(without_identifiers(said, Some(&batch(identifiers))), "x [identifier] y");
    }

    #[test]
    fn nothing_is_shown_if_an_identifier_may_go_on_after_the_searched_bytes() {
        let identifier = "é".repeat(512);
        let said = format!("bad: {}{}", "\\u00e9".repeat(500), "x".repeat(100));
        assert_eq!(without_identifiers(&said, Some(&batch(&[&identifier]))), " …");
    }

    #[rstest]
    #[case::usual(36, ", ")]
    #[case::longest(1024, ", ")]
    #[case::one_after_the_other(36, "")]
    #[case::longest_one_after_the_other(1024, "")]
    fn a_message_that_repeats_the_batch_costs_milliseconds(#[case] length: usize, #[case] between: &str) {
        let identifiers: Vec<_> = (0..1000).map(|number| format!("{number:0>length$}")).collect();
        let part = batch(&identifiers.iter().map(String::as_str).collect::<Vec<_>>());
        let said = identifiers.join(between).chars().take(60_000).collect::<String>();
        let began = Instant::now();
        let shown = without_identifiers(&said, Some(&part));
        // It once took hours. A busy machine may take a thousand times the milliseconds.
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert!(!shown.contains('0'), "{shown}");
    }
}
