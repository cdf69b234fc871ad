//! Credentials that cannot be printed, and the masking of them in every text that leaves the process.
//!
//! Braze's own answers can hold the client secret (its 401 for a partner that is not enabled echoes it), and a library's
//! error can hold a URL. So masking works by value, over the whole text, before anything shortens it.

use std::sync::{Mutex, PoisonError};

use secrecy::{ExposeSecret, SecretString};

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

/// Every written form of every secret, the longest first, so that no form is cut in two by a shorter one.
static FORMS: Mutex<Vec<String>> = Mutex::new(Vec::new());

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
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, others @ ..] = rest {
        let code = rest.get(1..3).filter(|_| *first == b'%').and_then(|digits| str::from_utf8(digits).ok());
        let decoded = code.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(decoded.unwrap_or(*first));
        rest = if decoded.is_some() { &rest[3..] } else { others };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Base64 as it stands in a header.
pub fn base64_with_padding(bytes: &[u8]) -> String {
    let mut text = base64(bytes, b'+', b'/');
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

/// Shorter ones are dummies such as `test`, which may stand in any path by chance.
const SHORTEST_THAT_IS_REFUSED: usize = 12;

/// Whether a text holds a credential that this process was given.
pub fn holds_a_secret(text: &str) -> bool {
    let forms = FORMS.lock().unwrap_or_else(PoisonError::into_inner);
    forms.iter().any(|form| form.len() >= SHORTEST_THAT_IS_REFUSED && text.contains(form.as_str()))
}

fn remember(secret: &str) {
    if secret.len() < SHORTEST {
        return;
    }
    let mut forms = FORMS.lock().unwrap_or_else(PoisonError::into_inner);
    for form in written_forms(secret) {
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
}

/// The text without any secret that this process was given, in none of its written forms.
pub fn masked(text: &str) -> String {
    let forms = FORMS.lock().unwrap_or_else(PoisonError::into_inner);
    mask(text, &forms)
}

fn mask(text: &str, forms: &[String]) -> String {
    forms.iter().fold(text.to_owned(), |text, form| {
        if text.contains(form.as_str()) { text.replace(form.as_str(), MASK) } else { text }
    })
}

/// The secret as it is, as JSON and URLs escape it, and in base64 (both alphabets, without the padding).
fn written_forms(secret: &str) -> Vec<String> {
    let json = serde_json::Value::from(secret).to_string();
    let standard = base64(secret.as_bytes(), b'+', b'/');
    let url_safe = base64(secret.as_bytes(), b'-', b'_');
    vec![
        secret.to_owned(),
        json.trim_matches('"').to_owned(),
        percent_encoded(secret, false),
        percent_encoded(secret, true),
        standard,
        url_safe,
    ]
}

fn percent_encoded(text: &str, lower_case: bool) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ if lower_case => format!("%{byte:02x}"),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Base64 without padding: enough to recognise a secret by, so no dependency for it.
fn base64(bytes: &[u8], char_62: u8, char_63: u8) -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for sextet in 0..=chunk.len() {
            let index = (group >> (18 - 6 * sextet)) & 63;
            let letter = match index {
                62 => char_62,
                63 => char_63,
                index => ALPHABET[index as usize],
            };
            text.push(char::from(letter));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_every_written_form() {
        let secret = "k\"ey/+ 1?>";
        let forms = written_forms(secret);
        for form in [
            secret,
            r#"k\"ey/+ 1?>"#,
            "k%22ey%2F%2B%201%3F%3E",
            "k%22ey%2f%2b%201%3f%3e",
            "ayJleS8rIDE/Pg",
            "ayJleS8rIDE_Pg",
        ] {
            let masked = mask(&format!("before {form} after"), &forms);
            assert_eq!(masked, format!("before {MASK} after"), "{form}");
        }
    }

    #[test]
    fn a_secret_shows_nothing_when_debugged_and_is_masked_from_then_on() {
        let secret = Secret::new("never-to-be-seen-4711".to_owned());
        assert!(!format!("{secret:?}").contains("4711"));
        assert_eq!(masked("key never-to-be-seen-4711!"), format!("key {MASK}!"));
    }

    #[test]
    fn the_password_in_an_address_is_masked_in_every_form_that_it_takes() {
        let forms: Vec<_> = passwords_in_address("http://me:p%40ss/w%3Ard@proxy.example:3128/")
            .iter()
            .flat_map(|password| written_forms(password))
            .collect();
        let header = base64_with_padding(b"me:p@ss/w:rd");
        for shown in ["http://me:p%40ss/w%3Ard@proxy.example", "p@ss/w:rd", header.as_str()] {
            let masked = mask(shown, &forms);
            assert!(masked.contains(MASK) && !masked.contains("ss/w"), "{masked}");
        }
        assert_eq!(base64_with_padding(b"ab"), "YWI=");
        assert!(passwords_in_address("http://proxy.example:3128").is_empty());
        assert!(passwords_in_address("http://token@proxy.example").contains(&"token:".to_owned()));
    }

    #[test]
    fn an_empty_secret_masks_nothing() {
        remember("");
        assert_eq!(masked("plain"), "plain");
    }
}
