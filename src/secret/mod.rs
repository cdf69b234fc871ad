//! In: keys, and text that leaves the process. Out: the text without the keys. It never prints.
//!
//! Braze's answers can contain the client secret (the 401 for a partner that is not enabled repeats it), and a
//! library's error can contain a URL. So the whole text is searched for the values before it is cut.

use std::fmt;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aho_corasick::Input;
use aho_corasick::automaton::Automaton;
use aho_corasick::nfa::contiguous::NFA;
use percent_encoding::percent_decode_str;

pub(crate) mod encodings;

/// Replaces a secret.
pub const REDACTED: &str = "[redacted]";

/// A credential. It has no `Display`, and its `Debug` shows nothing.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// A credential. From now on it is redacted in every text.
    pub fn new(value: String) -> Self {
        remember(&value);
        Self(value)
    }

    /// The credential itself, only for a request's body or header.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(REDACTED)
    }
}

static KNOWN: Mutex<Known> = Mutex::new(Known { secrets: Vec::new(), search: None });

struct Known {
    secrets: Vec<String>,
    /// Made when it is needed, because that takes most of the time of a start.
    search: Option<Search>,
}

impl Known {
    /// The search for all secrets; none if it cannot run.
    fn search(&mut self) -> Option<&Search> {
        if self.search.is_none() {
            self.search = Search::of(&self.secrets);
        }
        self.search.as_ref()
    }
}

/// The shortest value that is redacted, in bytes. Redacting shorter ones, which are no credentials, would make every
/// text unreadable.
const SHORTEST: usize = 4;

/// Redacts the values of these variables from now on.
pub fn remember_variables(names: &[&str]) {
    names.iter().filter_map(|name| std::env::var(name).ok()).for_each(|value| remember(value.trim()));
}

/// Redacts the passwords of addresses in these variables, such as `http://user:password@proxy:3128`: as written,
/// decoded, and together with the user, as in a header.
pub fn remember_passwords_in_addresses(names: &[&str]) {
    let addresses = names.iter().filter_map(|name| std::env::var(name).ok());
    addresses.flat_map(|address| passwords_in_address(&address)).for_each(|password| remember(&password));
}

fn passwords_in_address(address: &str) -> Vec<String> {
    let authority = address.trim().split_once("://").map_or(address.trim(), |(_, rest)| rest);
    let Some((credentials, _)) = authority.rsplit_once('@') else { return Vec::new() };
    // Without a colon, the user is the credential.
    let password = credentials.split_once(':').map_or(credentials, |(_, password)| password);
    [password, credentials]
        .into_iter()
        .flat_map(|text| [text.to_owned(), percent_decoded(text)])
        .chain([percent_decoded(credentials) + if credentials.contains(':') { "" } else { ":" }])
        .collect()
}

fn percent_decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Shorter values, in bytes, are dummies such as `test`, which may be in any path by chance.
const SHORTEST_THAT_IS_REFUSED: usize = 12;

/// Whether a text contains a credential of this process.
pub fn holds_a_secret(text: &str) -> bool {
    let is_long = |(length, _)| length >= SHORTEST_THAT_IS_REFUSED;
    known().search().is_some_and(|search| search.matches(text).any(is_long))
}

fn remember(secret: &str) {
    let mut known = known();
    if secret.len() >= SHORTEST && known.secrets.iter().all(|known| known != secret) {
        known.secrets.push(secret.to_owned());
        known.search = None;
    }
}

fn known() -> MutexGuard<'static, Known> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The text without the secrets of this process, in all their forms.
pub fn redacted(text: &str) -> String {
    // Without a search nothing can be shown.
    known().search().map_or_else(|| REDACTED.to_owned(), |search| search.redacted(text))
}

/// One search for all forms of all secrets, in either case: hexadecimal digits come in both.
struct Search {
    automaton: NFA,
    /// The length of each pattern's secret, in bytes.
    lengths: Vec<usize>,
}

impl Search {
    fn of(secrets: &[String]) -> Option<Self> {
        let forms = secrets.iter().flat_map(|secret| {
            let forms = encodings::written(secret).into_iter().chain(encodings::encoded(secret));
            forms.filter(|form| form.len() >= SHORTEST).map(|form| (secret.len(), form))
        });
        let (lengths, patterns): (Vec<_>, Vec<_>) = forms.unzip();
        // A DFA takes 200 KB instead of 25, and milliseconds to build.
        let automaton = NFA::builder().ascii_case_insensitive(true).build(&patterns).ok()?;
        // One that cannot search is none: then nothing is shown.
        automaton.try_find_overlapping_iter(Input::new("")).ok()?;
        Some(Self { automaton, lengths })
    }

    /// The place of each secret, and its length.
    fn matches(&self, text: &str) -> impl Iterator<Item = (usize, Range<usize>)> {
        // `of` has tried that it does not fail.
        self.automaton
            .try_find_overlapping_iter(Input::new(text))
            .into_iter()
            .flatten()
            .map(|found| (self.lengths[found.pattern().as_usize()], found.range()))
    }

    fn redacted(&self, text: &str) -> String {
        replaced(text, self.matches(text).map(|(_, span)| span).collect(), REDACTED)
    }
}

/// The text with these places replaced; overlapping or touching ones are replaced together.
pub(crate) fn replaced(text: &str, mut spans: Vec<Range<usize>>, by: &str) -> String {
    spans.sort_unstable_by_key(|span| span.start);
    let (mut shown, mut end) = (String::new(), None);
    for span in spans {
        if end.is_none_or(|end| span.start > end) {
            shown.push_str(&text[end.unwrap_or(0)..span.start]);
            shown.push_str(by);
        }
        end = end.max(Some(span.end));
    }
    shown + &text[end.unwrap_or(0)..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
    use rstest::rstest;

    const SECRET: &str = "k\"ey/+ 1?>ü";

    fn search(secrets: &[&str]) -> Search {
        Search::of(&secrets.iter().map(|secret| (*secret).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[rstest]
    #[case::as_it_is("k\"ey/+ 1?>ü")]
    #[case::json(r#"k\"ey/+ 1?>ü"#)]
    #[case::json_with_escaped_slashes(r#"k\"ey\/+ 1?>ü"#)]
    #[case::json_in_ascii(r#"k\"ey/+ 1?>\u00fc"#)]
    #[case::json_in_ascii_in_upper_case(r#"k\"ey\/+ 1?>\u00FC"#)]
    #[case::json_for_a_page(r#"k\"ey/+ 1?\u003eü"#)]
    #[case::json_in_letters_and_digits(r"k\u0022ey\u002f\u002b\u00201\u003f\u003e\u00fc")]
    #[case::url("k%22ey%2F%2B%201%3F%3E%C3%BC")]
    #[case::url_in_lower_case("k%22ey%2f%2b%201%3f%3e%c3%bc")]
    #[case::form("k%22ey%2F%2B+1%3F%3E%C3%BC")]
    #[case::hex("6b2265792f2b20313f3ec3bc")]
    #[case::hex_in_upper_case("6B2265792F2B20313F3EC3BC")]
    #[case::base64("ayJleS8rIDE/PsO8")]
    #[case::base64_for_urls("ayJleS8rIDE_PsO8")]
    fn every_written_form_is_redacted(#[case] form: &str) {
        let redacted = search(&[SECRET]).redacted(&format!("before {form} after"));
        assert_eq!(redacted, format!("before {REDACTED} after"));
    }

    #[rstest]
    fn what_is_encoded_with_something_around_it_is_redacted(
        #[values("", "u", "us", "user:", "user2:")] before: &str,
        #[values("", "x", "xy", "xyz")] behind: &str,
        #[values("never-to-be-seen", "?>?>~~ü-12345", "0123456789abcde")] secret: &str,
    ) {
        let all = format!("{before}{secret}{behind}");
        for text in [BASE64_STANDARD.encode(&all), BASE64_URL_SAFE.encode(&all)] {
            let redacted = search(&[secret]).redacted(&text);
            // What is left decodes to the surrounding text, and some bits of the secret's first and last byte.
            let left = redacted.replace(REDACTED, "").len();
            assert!(
                redacted.contains(REDACTED) && left * 6 / 8 <= before.len() + behind.len() + 4,
                "{text}: {redacted}"
            );
        }
    }

    #[test]
    fn secrets_that_overlap_leave_nothing_of_each_other() {
        let search = search(&["abcdefgh", "efghijkl", "abcd"]);
        assert_eq!(search.redacted("1 abcdefghijkl 2 abcdx"), format!("1 {REDACTED} 2 {REDACTED}x"));
    }

    #[test]
    fn a_secret_shows_nothing_when_debugged_and_is_redacted_from_then_on() {
        let secret = Secret::new("never-to-be-seen-4711".to_owned());
        assert!(!format!("{secret:?}").contains("4711"));
        assert_eq!(redacted("key never-to-be-seen-4711!"), format!("key {REDACTED}!"));
        assert!(holds_a_secret("x=never%2Dto%2Dbe%2Dseen%2D4711") && !holds_a_secret("never-to-be-seen-4712"));
    }

    #[test]
    fn the_password_in_an_address_is_redacted_in_every_form_that_it_takes() {
        let passwords = passwords_in_address("http://me:p%40ss/w%3Ard@proxy.example:3128/");
        let search = Search::of(&passwords).unwrap();
        let header = BASE64_STANDARD.encode("me:p@ss/w:rd");
        for shown in ["http://me:p%40ss/w%3Ard@proxy.example", "p@ss/w:rd", header.as_str()] {
            let redacted = search.redacted(shown);
            assert!(redacted.contains(REDACTED) && !redacted.contains("ss/w"), "{redacted}");
        }
        assert!(passwords_in_address("http://proxy.example:3128").is_empty());
        assert!(passwords_in_address("http://token@proxy.example").contains(&"token:".to_owned()));
    }

    #[test]
    fn an_empty_secret_redacts_nothing() {
        remember("");
        assert_eq!(redacted("plain"), "plain");
    }
}
