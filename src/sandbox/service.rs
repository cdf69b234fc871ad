//! A request -> its answer: limits, rules and store in this order, with everything counted.

use std::num::NonZeroU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use percent_encoding::percent_decode_str;

use super::Options;
use super::answer::Answer;
use super::export;
use super::http::Head;
use super::inspect;
use super::limit::{RateWindow, Standing};
use super::recent::{Page, shortened};
use super::refusal::Refusal;
use super::rules;
use super::stats::{Recorder, RequestRecord};
use super::store::{Operation, Store};
use super::users::KnownUsers;
use super::views::CohortView;

/// Braze's side of the cohort API, without a socket.
pub struct Service {
    options: Options,
    gate: Mutex<Gate>,
    store: Mutex<Store>,
    pub recorder: Recorder,
}

/// Decides which API requests fail before they are read.
struct Gate {
    window: Option<RateWindow>,
    fail_every: Option<NonZeroU64>,
    /// Requests within the rate limit.
    passed: u64,
}

impl Gate {
    /// Whether the request is allowed, and the values of the `X-RateLimit` headers.
    fn pass(&mut self, now: Duration) -> (Result<(), Refusal>, Option<Standing>) {
        let standing = self.window.as_mut().map(|window| window.admit(now));
        if standing.is_some_and(|standing| !standing.admitted) {
            return (Err(Refusal::RateLimited), standing);
        }
        self.passed += 1;
        let fails = self.fail_every.is_some_and(|every| self.passed.is_multiple_of(every.get()));
        (if fails { Err(Refusal::Unavailable) } else { Ok(()) }, standing)
    }
}

/// A call of Braze's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    /// `POST /partners/{partner}/cohorts`: creates or renames a cohort.
    Naming,
    /// `POST /partners/{partner}/cohorts/users`: adds and removes members.
    Users,
    /// `POST /users/export/ids`: tells whether users are known.
    Export,
}

/// The call of a path, and its partner. If `wanted` is set, the path of any other partner is not found.
fn call(path: &str, wanted: Option<&str>) -> Option<(Call, String)> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let (partner, call) = match segments[..] {
        ["partners", partner, "cohorts"] => (partner, Call::Naming),
        ["partners", partner, "cohorts", "users"] => (partner, Call::Users),
        ["users", "export", "ids"] => return Some((Call::Export, String::new())),
        _ => return None,
    };
    let partner = percent_decode_str(partner).decode_utf8().ok()?.into_owned();
    let is_served = wanted.map_or(!partner.is_empty(), |wanted| wanted == partner);
    is_served.then_some((call, partner))
}

impl Service {
    /// A service that has seen no request yet.
    pub fn new(options: Options, known: Option<KnownUsers>) -> Self {
        let window = options.rate_limit.map(RateWindow::new);
        let gate = Mutex::new(Gate { window, fail_every: options.fail_every, passed: 0 });
        Self { options, gate, store: Mutex::new(Store::new(known)), recorder: Recorder::new() }
    }

    /// Answers one request. A GET is for the page: no limit holds for it, and it is not counted.
    ///
    /// `pause` waits for the latency, after the request was applied. So a request takes effect even if its client gave up.
    pub fn answer(&self, head: &Head, body: &[u8], pause: impl FnOnce(Duration)) -> Answer {
        let call = call(&head.path, self.options.partner.as_deref());
        if head.method == "GET" {
            return self.look(head, call.is_some());
        }
        // Another site's name can point to this machine, and its page knows the default keys of `sandbox`.
        let is_strange = self.options.page && !head.is_loopback_host;
        let call = if is_strange { Err(Refusal::Host) } else { call.ok_or(Refusal::NotFound) };
        let call = if head.method == "POST" { call } else { call.and(Err(Refusal::OnlyPost)) };
        let mut record = self.recorder.enter(&head.method, &head.path, body.len());
        match call {
            Ok((Call::Naming, _)) => self.recorder.lock().stats.naming_requests += 1,
            Ok((Call::Users, _)) => self.recorder.lock().stats.users_requests += 1,
            Ok((Call::Export, _)) | Err(_) => {}
        }
        let (passed, standing) = lock(&self.gate).pass(self.recorder.elapsed());
        let applied = passed.and(call).and_then(|(call, partner)| self.apply(call, &partner, head, body, &mut record));
        record.message = applied.as_ref().map_or_else(ToString::to_string, |_| "success".to_owned());
        let mut answer = applied.unwrap_or_else(Answer::from);
        answer.headers.extend(standing.into_iter().flat_map(rate_limit_headers));
        record.status = answer.status;
        self.recorder.answered(record);
        pause(self.options.latency);
        self.recorder.leave();
        answer
    }

    fn look(&self, head: &Head, is_call: bool) -> Answer {
        match (is_call, self.options.page, head.is_loopback_host) {
            (true, ..) => Refusal::OnlyPost.into(),
            (_, false, _) => Refusal::NotFound.into(),
            (.., false) => Refusal::Host.into(),
            _ => inspect::answer(head, &self.store, &self.recorder),
        }
    }

    /// Counts the answer to something that could not be read as a request.
    pub fn count_unreadable(&self, status: u16, message: &str) {
        let record = self.recorder.enter("", "", 0);
        self.recorder.answered(RequestRecord { status, message: message.to_owned(), ..record });
        self.recorder.leave();
    }

    /// The cohort with this ID.
    pub fn cohort(&self, id: &str) -> Option<CohortView> {
        lock(&self.store).cohort(id, Page::ALL)
    }

    fn apply(
        &self,
        call: Call,
        partner: &str,
        head: &Head,
        body: &[u8],
        record: &mut RequestRecord,
    ) -> Result<Answer, Refusal> {
        if !head.is_json {
            return Err(Refusal::ContentType);
        }
        let document = serde_json::from_slice(body).map_err(|_| Refusal::InvalidJson)?;
        let cohort_id = match call {
            Call::Naming => {
                let naming = rules::naming(&document, &self.options)?;
                lock(&self.store).name(partner, &naming);
                naming.cohort_id
            }
            Call::Users => {
                let users = rules::users(&document, &self.options)?;
                lock(&self.store).apply(partner, record.request, &users);
                for change in &users.changes {
                    match change.operation {
                        Operation::Add => record.add += 1,
                        Operation::Remove => record.remove += 1,
                    }
                }
                self.recorder.lock().stats.count_batch(record.add, record.remove);
                users.cohort_id
            }
            Call::Export => {
                export::check_key(head.bearer.as_deref(), &self.options)?;
                return export::answer(&document, lock(&self.store).known.as_ref());
            }
        };
        record.cohort_id = Some(shortened(cohort_id));
        Ok(Answer::message(201, "success"))
    }
}

#[expect(clippy::disallowed_methods, reason = "X-RateLimit-Reset is of the wall clock")]
fn rate_limit_headers(standing: Standing) -> [(&'static str, String); 3] {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    [
        ("X-RateLimit-Limit", standing.limit.to_string()),
        ("X-RateLimit-Remaining", standing.remaining.to_string()),
        ("X-RateLimit-Reset", standing.reset_at(now).to_string()),
    ]
}

/// The data is consistent at every moment, so a lock that a panic has poisoned can still be used.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
