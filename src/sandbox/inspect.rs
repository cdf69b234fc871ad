//! A GET -> the page, or the JSON behind it. Nothing here changes anything.

use std::sync::Mutex;

use percent_encoding::percent_decode_str;
use serde_json::json;

use super::answer::Answer;
use super::http::Head;
use super::page;
use super::recent::Page;
use super::refusal::Refusal;
use super::service::lock;
use super::stats::Recorder;
use super::store::Store;

/// The largest `limit`.
const MAX_LIMIT: usize = 1_000;

/// Answers a GET. No answer may be cached, framed, or used by a page of another origin.
pub fn answer(head: &Head, store: &Mutex<Store>, recorder: &Recorder) -> Answer {
    let mut answer = look(head, store, recorder).unwrap_or_else(|| Refusal::NotFound.into());
    let headers = [
        ("Cache-Control", "no-store"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"),
    ];
    answer.headers.extend(headers.map(|(name, value)| (name, value.to_owned())));
    answer
}

/// `None` is not found.
fn look(head: &Head, store: &Mutex<Store>, recorder: &Recorder) -> Option<Answer> {
    let page = page(&head.query);
    let segments: Vec<&str> = head.path.split('/').skip(1).collect();
    Some(match segments[..] {
        [""] => page::answer(),
        ["cohorts"] => Answer::json(200, &lock(store).cohorts(page)),
        ["cohorts", id] => {
            let id = percent_decode_str(id).decode_utf8().ok()?;
            let cohort = lock(store).cohort(&id, page)?;
            Answer::json(200, &cohort)
        }
        ["requests"] => {
            let recording = recorder.lock();
            let requests: Vec<_> = page.of(recording.recent.iter()).collect();
            Answer::json(200, &json!({ "total": recording.requests, "requests": requests }))
        }
        ["search"] => {
            let text = parameter(&head.query, "identifier")?;
            let store = lock(store);
            let (cohorts, unmatched) = (store.memberships(&text), store.unmatched(&text));
            Answer::json(200, &json!({ "identifier": text, "cohorts": cohorts, "unmatched": unmatched }))
        }
        ["stats"] => {
            let mut stats = recorder.lock().stats.clone();
            stats.batch_sizes.truncate(page.limit.unwrap_or(usize::MAX));
            Answer::json(200, &stats)
        }
        _ => return None,
    })
}

/// `offset=100&limit=50`; anything but a number is ignored.
fn page(query: &str) -> Page {
    let number = |name| parameter(query, name)?.parse::<usize>().ok();
    Page { offset: number("offset").unwrap_or(0), limit: number("limit").map(|limit| limit.min(MAX_LIMIT)) }
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?.replace('+', " ");
    percent_decode_str(&value).decode_utf8().map(String::from).ok()
}
