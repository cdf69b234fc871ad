//! Answers a GET with the page, or the JSON behind it. Changes nothing.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use ring::digest::{SHA256, digest};
use serde_json::json;

use super::http::{Answer, NOT_FOUND, Request};
use super::service::State;
use super::store::Page;

const MAX_LIMIT: usize = 1_000;

const HTML: &str = include_str!("page.html");

/// Only the page's own script and styles run, and they can ask only this server.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        hash("<script>", "</script>"),
        hash("<style>", "</style>")
    )
});

/// The hash of the text between two marks, as a policy needs it.
fn hash(start: &str, end: &str) -> String {
    let after = HTML.split_once(start).map_or("", |(_, after)| after);
    let content = after.split_once(end).map_or("", |(content, _)| content);
    format!("sha256-{}", STANDARD.encode(digest(&SHA256, content.as_bytes())))
}

/// Answers a GET. No answer may be cached, framed, or used by a page of another origin.
pub fn answer(request: &Request, state: &State) -> Answer {
    let mut answer = look(request, state).unwrap_or_else(|| NOT_FOUND.into());
    let headers = [
        ("Cache-Control", "no-store"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"),
    ];
    answer.headers.extend(headers.map(|(name, value)| (name, value.to_owned())));
    answer
}

/// `None` if it is not found.
fn look(request: &Request, state: &State) -> Option<Answer> {
    let parameter = |name: &str| {
        let value = request.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
        decoded(&value.replace('+', " "))
    };
    // Anything but a number is ignored.
    let number = |name| parameter(name)?.parse::<usize>().ok();
    let page = Page { offset: number("offset").unwrap_or(0), limit: number("limit").map(|limit| limit.min(MAX_LIMIT)) };
    let segments: Vec<&str> = request.path.split('/').skip(1).collect();
    Some(match segments[..] {
        [""] => {
            let html = ("Content-Type", "text/html; charset=utf-8".to_owned());
            let headers = vec![html, ("Content-Security-Policy", POLICY.clone())];
            Answer { status: 200, headers, body: HTML.as_bytes().to_vec() }
        }
        ["cohorts"] => Answer::json(200, &state.store.cohorts(page)),
        ["cohorts", id] => Answer::json(200, &state.store.cohort(&decoded(id)?, page)?),
        ["requests"] => {
            let requests: Vec<_> = page.of(state.recent.iter()).collect();
            Answer::json(200, &json!({ "total": state.requests, "requests": requests }))
        }
        ["search"] => Answer::json(200, &state.store.search(&parameter("identifier")?)),
        ["stats"] => Answer::json(200, &state.stats),
        _ => return None,
    })
}

fn decoded(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().map(String::from).ok()
}
