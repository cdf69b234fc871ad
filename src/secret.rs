//! Credentials that cannot be printed, and the masking of them in every text that leaves the process.
//!
//! Braze's own answers can hold the client secret (its 401 for a partner that is not enabled echoes it), and a library's
//! error can hold a URL. So masking works by value, over the whole text, before anything shortens it.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD as STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};

pub(crate) mod spelled;

/// What stands where a secret stood.
pub const MASK: &str = "[masked]";

/// A credential. It has no `Display`, and its `Debug` shows nothing.
#[derive(Clone, Debug)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes a credential in, and has it masked in every text from here on.
    pub fn new(value: String) -> Self {
        remember(&value);
        Self(SecretString::from(value))
    }

    /// The credential itself, for the body of a request and nothing else.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Every secret, with its encoded forms.
static SECRETS: Mutex<Vec<Forms>> = Mutex::new(Vec::new());

/// A shorter value is no credential, and to mask it would make every text unreadable.
const SHORTEST: usize = 4;

/// Has the values of these variables masked, whatever is done with them later.
pub fn remember_variables(names: &[&str]) {
    names.iter().filter_map(|name| std::env::var(name).ok()).for_each(|value| remember(value.trim()));
}

/// Has the passwords masked that these variables hold as part of an address, such as `http://user:password@proxy:3128`:
/// as they stand there, decoded, and together with the user, as they travel in a header.
pub fn remember_passwords_in_addresses(names: &[&str]) {
    for value in names.iter().filter_map(|name| std::env::var(name).ok()) {
        for password in passwords_in_address(&value) {
            remember(&password);
        }
    }
}

fn passwords_in_address(address: &str) -> Vec<String> {
    let authority = address.trim().split_once("://").map_or(address.trim(), |(_, rest)| rest);
    let Some((credentials, _)) = authority.rsplit_once('@') else { return Vec::new() };
    // Where there is no colon, the user alone is the credential.
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

/// Shorter ones are dummies such as `test`, which may stand in any path by chance.
const SHORTEST_THAT_IS_REFUSED: usize = 12;

/// Whether a text holds a credential that this process was given.
pub fn holds_a_secret(text: &str) -> bool {
    let secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut long_ones = secrets.iter().filter(|secret| secret.plain.len() >= SHORTEST_THAT_IS_REFUSED);
    long_ones.any(|secret| secret.is_in(text))
}

fn remember(secret: &str) {
    let mut secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    if secret.len() >= SHORTEST && secrets.iter().all(|known| known.plain != secret) {
        secrets.push(Forms::of(secret));
    }
}

/// The text without any secret that this process was given, in none of its written forms.
pub fn masked(text: &str) -> String {
    let secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    mask(text, &secrets)
}

fn mask(text: &str, secrets: &[Forms]) -> String {
    let mut hidden = vec![false; text.len()];
    for place in secrets.iter().flat_map(|secret| secret.places(text)) {
        hidden[place].fill(true);
    }
    let mut shown = String::new();
    for (place, letter) in text.char_indices() {
        if !hidden[place] {
            shown.push(letter);
        } else if place == 0 || !hidden[place - 1] {
            shown.push_str(MASK);
        }
    }
    shown
}

/// What a secret can look like.
struct Forms {
    /// Each letter of it may be spelled in several ways.
    plain: String,
    /// The whole of it may be encoded.
    encoded: Vec<String>,
}

impl Forms {
    fn of(secret: &str) -> Self {
        let hex = secret.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        let mut encoded = vec![hex.to_uppercase(), hex];
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            encoded.push(engine.encode(secret));
            encoded.extend((0..3).map(|before| within_base64(&engine, secret, before)));
        }
        encoded.retain(|form| form.len() >= SHORTEST);
        Self { plain: secret.to_owned(), encoded }
    }

    /// Where it stands in a text.
    fn places(&self, text: &str) -> Vec<Range<usize>> {
        let encoded = self.encoded.iter().flat_map(|form| text.match_indices(form));
        let encoded = encoded.map(|(start, found)| start..start + found.len());
        encoded.chain(spelled::places(text, &self.plain)).collect()
    }

    fn is_in(&self, text: &str) -> bool {
        !self.places(text).is_empty()
    }
}

/// The part of a longer base64 text that a secret alone decides, when so many bytes stand before it in a group of three:
/// `user:key` in one piece, as in a header of basic authentication.
fn within_base64(engine: &impl Engine, secret: &str, before: usize) -> String {
    let text = engine.encode([&[0; 2][..before], secret.as_bytes()].concat());
    let from = (before * 8).div_ceil(6);
    let to = (before + secret.len()) * 8 / 6;
    text[from..to].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
    use rstest::rstest;

    const SECRET: &str = "k\"ey/+ 1?>ü";

    #[rstest]
    #[case::as_it_is("k\"ey/+ 1?>ü")]
    #[case::json(r#"k\"ey/+ 1?>ü"#)]
    #[case::json_with_escaped_slashes(r#"k\"ey\/+ 1?>ü"#)]
    #[case::json_in_ascii(r#"k\"ey/+ 1?>\u00fc"#)]
    #[case::json_in_ascii_for_a_page(r"k\u0022ey\/\u002B 1?\u003e\u00FC")]
    #[case::url("k%22ey%2F%2B%201%3F%3E%C3%BC")]
    #[case::url_in_lower_case("k%22ey%2f%2b%201%3f%3e%c3%bc")]
    #[case::form("k%22ey%2F%2B+1%3F%3E%C3%BC")]
    #[case::html("k&quot;ey/+ 1?&gt;ü")]
    #[case::html_by_number("k&#34;ey&#x2F;+ 1?&#62;&#252;")]
    #[case::hex("6b2265792f2b20313f3ec3bc")]
    #[case::hex_in_upper_case("6B2265792F2B20313F3EC3BC")]
    #[case::base64("ayJleS8rIDE/PsO8")]
    #[case::base64_for_urls("ayJleS8rIDE_PsO8")]
    fn masks_every_written_form(#[case] form: &str) {
        let masked = mask(&format!("before {form} after"), &[Forms::of(SECRET)]);
        assert_eq!(masked, format!("before {MASK} after"));
    }

    #[rstest]
    fn masks_what_is_encoded_with_something_around_it(
        #[values("", "u", "us", "user:", "user2:")] before: &str,
        #[values("", "x", "xy", "xyz")] behind: &str,
        #[values("never-to-be-seen", "?>?>~~ü-12345", "0123456789abcde")] secret: &str,
    ) {
        let all = format!("{before}{secret}{behind}");
        for text in [BASE64_STANDARD.encode(&all), BASE64_URL_SAFE.encode(&all)] {
            let masked = mask(&text, &[Forms::of(secret)]);
            // What is left decodes to what stood around it, and to a bit of the secret's first and last byte.
            let left = masked.replace(MASK, "").len();
            assert!(masked.contains(MASK) && left * 6 / 8 <= before.len() + behind.len() + 4, "{text}: {masked}");
        }
    }

    #[test]
    fn secrets_that_overlap_leave_nothing_of_each_other() {
        let secrets = [Forms::of("abcdefgh"), Forms::of("efghijkl"), Forms::of("abcd")];
        assert_eq!(mask("1 abcdefghijkl 2 abcdx", &secrets), format!("1 {MASK} 2 {MASK}x"));
    }

    #[test]
    fn a_secret_shows_nothing_when_debugged_and_is_masked_from_then_on() {
        let secret = Secret::new("never-to-be-seen-4711".to_owned());
        assert!(!format!("{secret:?}").contains("4711"));
        assert_eq!(masked("key never-to-be-seen-4711!"), format!("key {MASK}!"));
        assert!(holds_a_secret("x=never%2Dto-be-seen-4711") && !holds_a_secret("never-to-be-seen-4712"));
    }

    #[test]
    fn the_password_in_an_address_is_masked_in_every_form_that_it_takes() {
        let passwords = passwords_in_address("http://me:p%40ss/w%3Ard@proxy.example:3128/");
        let forms: Vec<_> = passwords.iter().map(|password| Forms::of(password)).collect();
        let header = BASE64_STANDARD.encode("me:p@ss/w:rd");
        for shown in ["http://me:p%40ss/w%3Ard@proxy.example", "p@ss/w:rd", header.as_str()] {
            let masked = mask(shown, &forms);
            assert!(masked.contains(MASK) && !masked.contains("ss/w"), "{masked}");
        }
        assert!(passwords_in_address("http://proxy.example:3128").is_empty());
        assert!(passwords_in_address("http://token@proxy.example").contains(&"token:".to_owned()));
    }

    #[test]
    fn an_empty_secret_masks_nothing() {
        remember("");
        assert_eq!(masked("plain"), "plain");
    }
}
