//! The page: one file, which asks for the JSON of `inspect` and shows it.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

use super::answer::Answer;

const HTML: &str = include_str!("page.html");

/// Only the script and the styles of the page itself run, and only this server is asked.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        hash("<script>", "</script>"),
        hash("<style>", "</style>")
    )
});

/// The page with its policy.
pub fn answer() -> Answer {
    let headers =
        vec![("Content-Type", "text/html; charset=utf-8".to_owned()), ("Content-Security-Policy", POLICY.clone())];
    Answer { status: 200, headers, body: HTML.as_bytes().to_vec() }
}

/// The hash of the text between two marks, in the form of a policy.
fn hash(start: &str, end: &str) -> String {
    let after = HTML.split_once(start).map_or("", |(_, after)| after);
    let content = after.split_once(end).map_or("", |(content, _)| content);
    format!("sha256-{}", STANDARD.encode(digest(&SHA256, content.as_bytes())))
}
