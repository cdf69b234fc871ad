//! A request -> its answer: the gate, the rules and the store put together, with everything counted.

use std::num::NonZeroU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use percent_encoding::percent_decode_str;
use serde_json::json;

use super::answer::Answer;
use super::export;
use super::http::Head;
use super::limit::{RateLimit, RateWindow, Standing};
use super::refusal::Refusal;
use super::rules::{self, Credentials};
use super::stats::{Recorder, Stats};
use super::store::{Change, CohortView, Operation, Store};

/// What the service accepts and how it behaves.
pub struct Settings {
    pub credentials: Credentials,
    pub rest_api_key: String,
    pub partner: Option<String>,
    pub latency: Duration,
    pub fail_every: Option<NonZeroU64>,
    pub rate_limit: Option<RateLimit>,
    pub store: Store,
}

/// Braze's side of the cohort API, without a socket.
pub struct Service {
    credentials: Credentials,
    rest_api_key: String,
    partner: Option<String>,
    latency: Duration,
    started: Instant,
    gate: Mutex<Gate>,
    store: Mutex<Store>,
    recorder: Recorder,
}

/// What an API request has to pass before anyone looks at it.
struct Gate {
    window: Option<RateWindow>,
    fail_every: Option<NonZeroU64>,
    /// Requests within the rate limit.
    passed: u64,
}

impl Gate {
    /// Whether the request is let through, and what the `X-RateLimit` headers say.
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

/// What a method and a path ask for.
#[derive(Debug, PartialEq, Eq)]
enum Route {
    /// `POST /partners/{partner}/cohorts`: creates or renames a cohort.
    Naming,
    /// `POST /partners/{partner}/cohorts/users`: adds and removes members.
    Users,
    /// `POST /users/export/ids`: whether users are known.
    Export,
    /// `GET /cohorts`: all cohorts, without their members.
    Cohorts,
    /// `GET /cohorts/ID`: one cohort with its members.
    Cohort(String),
    /// `GET /stats`: what was counted.
    Stats,
}

/// Finds the route. If `partner` is set, the path of any other partner is not found.
fn route(method: &str, path: &str, partner: Option<&str>) -> Result<Route, Refusal> {
    let decoded = |segment: &str| percent_decode_str(segment).decode_utf8().map(String::from).ok();
    let serves = |segment: &str| match partner {
        None => !segment.is_empty(),
        Some(partner) => decoded(segment).as_deref() == Some(partner),
    };
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let (allow, route) = match segments[..] {
        ["partners", name, "cohorts"] if serves(name) => ("POST", Route::Naming),
        ["partners", name, "cohorts", "users"] if serves(name) => ("POST", Route::Users),
        ["users", "export", "ids"] => ("POST", Route::Export),
        ["cohorts"] => ("GET", Route::Cohorts),
        ["cohorts", id] => ("GET", Route::Cohort(decoded(id).ok_or(Refusal::NotFound)?)),
        ["stats"] => ("GET", Route::Stats),
        _ => return Err(Refusal::NotFound),
    };
    if method == allow { Ok(route) } else { Err(Refusal::MethodNotAllowed { allow }) }
}

impl Service {
    /// A service that has seen no request yet.
    pub fn new(settings: Settings) -> Self {
        let window = settings.rate_limit.map(RateWindow::new);
        Self {
            credentials: settings.credentials,
            rest_api_key: settings.rest_api_key,
            partner: settings.partner,
            latency: settings.latency,
            started: Instant::now(),
            gate: Mutex::new(Gate { window, fail_every: settings.fail_every, passed: 0 }),
            store: Mutex::new(settings.store),
            recorder: Recorder::default(),
        }
    }

    /// Answers one request. A GET is a look inside: it passes no gate and is not counted.
    ///
    /// `pause` waits out the latency. A request is applied before it, so a client that gives up has been heard nevertheless.
    pub fn answer(&self, head: &Head, body: &[u8], pause: impl FnOnce(Duration)) -> Answer {
        let route = route(&head.method, &head.path, self.partner.as_deref());
        if head.method == "GET" {
            return route.map_or_else(Answer::from, |route| self.inspect(&route));
        }
        let _in_flight = self.recorder.enter();
        self.recorder.count(|stats| match route {
            Ok(Route::Naming) => stats.naming_requests += 1,
            Ok(Route::Users) => stats.users_requests += 1,
            _ => {}
        });
        let (passed, standing) = lock(&self.gate).pass(self.started.elapsed());
        let applied = passed.and(route).and_then(|route| self.apply(&route, head, body));
        let mut answer = applied.unwrap_or_else(Answer::from);
        answer.headers.extend(standing.into_iter().flat_map(rate_limit_headers));
        self.recorder.count(|stats| stats.count_answer(answer.status));
        pause(self.latency);
        answer
    }

    /// Counts a new connection.
    pub fn count_connection(&self) {
        self.recorder.count(|stats| stats.connections += 1);
    }

    /// Counts the answer to something that could not be read as a request.
    pub fn count_unreadable(&self, status: u16) {
        self.recorder.count(|stats| stats.count_answer(status));
    }

    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        self.recorder.stats()
    }

    /// The cohort with this ID.
    pub fn cohort(&self, id: &str) -> Option<CohortView> {
        lock(&self.store).cohort(id)
    }

    fn apply(&self, route: &Route, head: &Head, body: &[u8]) -> Result<Answer, Refusal> {
        if !head.is_json {
            return Err(Refusal::ContentType);
        }
        let document = serde_json::from_slice(body).map_err(|_| Refusal::InvalidJson)?;
        match route {
            Route::Naming => lock(&self.store).name(&rules::naming(&document, &self.credentials)?),
            Route::Users => {
                let users = rules::users(&document, &self.credentials)?;
                lock(&self.store).apply(&users);
                let (added, removed) = count(&users.changes);
                self.recorder.count(|stats| stats.count_batch(added, removed));
            }
            Route::Export => {
                export::check_key(head.bearer.as_deref(), &self.rest_api_key, &self.credentials)?;
                return export::answer(&document, lock(&self.store).known());
            }
            Route::Cohorts | Route::Cohort(_) | Route::Stats => return Err(Refusal::NotFound),
        }
        Ok(Answer::message(201, "success"))
    }

    fn inspect(&self, route: &Route) -> Answer {
        match route {
            Route::Cohorts => Answer::json(200, &json!({ "cohorts": lock(&self.store).cohorts() })),
            Route::Cohort(id) => {
                self.cohort(id).map_or_else(|| Refusal::NotFound.into(), |cohort| Answer::json(200, &cohort))
            }
            Route::Stats => Answer::json(200, &self.stats()),
            Route::Naming | Route::Users | Route::Export => Refusal::MethodNotAllowed { allow: "POST" }.into(),
        }
    }
}

/// Identifiers to add and to remove.
fn count(changes: &[Change]) -> (u32, u32) {
    let of = |operation| changes.iter().filter(|change| change.operation == operation).count();
    let bounded = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    (bounded(of(Operation::Add)), bounded(of(Operation::Remove)))
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
