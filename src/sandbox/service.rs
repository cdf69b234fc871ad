//! Turns a request into its answer: limits, rules and store in this order, all counted.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::Options;
use super::export;
use super::http::{Answer, NOT_FOUND, Refusal, Request};
use super::inspect;
use super::limit::RateWindow;
use super::rules;
use super::stats::{RequestRecord, Stats};
use super::store::{Identifier, Operation, Store, keep};
use super::users::KnownUsers;

const RECENT_REQUESTS: usize = 1_000;
const ONLY_POST: Refusal = Refusal(405, "Method Not Allowed");
const HOST: Refusal = Refusal(403, "the Host header must be a loopback name, such as 127.0.0.1");

/// Braze's side of the cohort API, without a socket.
pub struct Service {
    options: Options,
    started: Instant,
    state: Mutex<State>,
}

/// What all connections share.
pub struct State {
    pub store: Store,
    pub stats: Stats,
    /// API requests so far.
    pub requests: u64,
    /// The last 1,000 of them, the newest first.
    pub recent: VecDeque<RequestRecord>,
    in_flight: u64,
    window: Option<RateWindow>,
    /// Requests within the rate limit.
    passed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    /// `POST /partners/{partner}/cohorts`: creates or renames a cohort.
    Naming,
    /// `POST /partners/{partner}/cohorts/users`: adds and removes members.
    Users,
    /// `POST /users/export/ids`: shows whether users are known.
    Export,
}

/// The endpoint of a path, and its partner. If `wanted` is set, paths of other partners are not found.
fn endpoint(path: &str, wanted: Option<&str>) -> Option<(Endpoint, String)> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let (partner, endpoint) = match segments[..] {
        ["partners", partner, "cohorts"] => (partner, Endpoint::Naming),
        ["partners", partner, "cohorts", "users"] => (partner, Endpoint::Users),
        ["users", "export", "ids"] => return Some((Endpoint::Export, String::new())),
        _ => return None,
    };
    let partner = percent_decode_str(partner).decode_utf8().ok()?.into_owned();
    let is_served = wanted.map_or(!partner.is_empty(), |wanted| wanted == partner);
    is_served.then_some((endpoint, partner))
}

impl Service {
    /// A service before its first request.
    pub fn new(options: Options, known: Option<KnownUsers>) -> Self {
        let state = State {
            store: Store::new(known),
            stats: Stats::default(),
            requests: 0,
            recent: VecDeque::new(),
            in_flight: 0,
            window: options.rate_limit.map(RateWindow::new),
            passed: 0,
        };
        Self { options, started: Instant::now(), state: Mutex::new(state) }
    }

    /// The state. It is consistent at every moment, so a lock poisoned by a panic can still be used.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request. A GET is for the page, so it is neither limited nor counted.
    ///
    /// The latency comes after the request was applied, so a request takes effect even if its client gave up.
    pub fn answer(&self, request: &Request) -> Answer {
        let (options, found) = (&self.options, endpoint(&request.path, self.options.partner.as_deref()));
        if request.method == "GET" {
            return match (found, options.page, request.is_loopback_host) {
                (Some(_), ..) => ONLY_POST.into(),
                (_, false, _) => NOT_FOUND.into(),
                (.., false) => HOST.into(),
                _ => inspect::answer(request, &self.lock()),
            };
        }
        let found = match found {
            // Another site's name can point to this machine, and its page knows the default keys of `sandbox`.
            _ if options.page && !request.is_loopback_host => Err(HOST),
            None => Err(NOT_FOUND),
            Some(_) if request.method != "POST" => Err(ONLY_POST),
            Some(found) => Ok(found),
        };
        let answer = self.lock().answer(self.started.elapsed(), request, found, options);
        thread::sleep(options.latency);
        self.lock().in_flight -= 1;
        answer
    }
}

impl State {
    #[expect(clippy::disallowed_methods, reason = "X-RateLimit-Reset is of the wall clock")]
    fn answer(
        &mut self,
        now: Duration,
        request: &Request,
        found: Result<(Endpoint, String), Refusal>,
        options: &Options,
    ) -> Answer {
        self.requests += 1;
        self.in_flight += 1;
        let stats = &mut self.stats;
        stats.max_in_flight = stats.max_in_flight.max(self.in_flight);
        match found {
            Ok((Endpoint::Naming, _)) => stats.naming_requests += 1,
            Ok((Endpoint::Users, _)) => stats.users_requests += 1,
            Ok((Endpoint::Export, _)) | Err(_) => {}
        }
        let mut record = RequestRecord {
            request: self.requests,
            seconds: now.as_secs_f64(),
            method: request.method.clone(),
            path: request.path.clone(),
            bytes: request.body.len(),
            message: "success",
            ..RequestRecord::default()
        };
        let epoch = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let (is_allowed, headers) = self.window.as_mut().map(|window| window.admit(now, epoch)).unzip();
        let applied = self
            .pass(is_allowed != Some(false), options)
            .and(found)
            .and_then(|(endpoint, partner)| self.apply(endpoint, &partner, request, options, &mut record));
        let mut answer = match applied {
            Ok(body) => Answer::json(201, &body),
            Err(refusal) => {
                record.message = refusal.1;
                refusal.into()
            }
        };
        answer.headers.extend(headers.into_iter().flatten());
        record.status = answer.status;
        *self.stats.statuses.entry(record.status).or_default() += 1;
        keep(&mut self.recent, record, RECENT_REQUESTS);
        answer
    }

    /// Refuses a request by the limit or `fail_every`, before its content is looked at.
    fn pass(&mut self, is_allowed: bool, options: &Options) -> Result<(), Refusal> {
        if !is_allowed {
            return Err(Refusal(429, "Rate limit exceeded"));
        }
        self.passed += 1;
        let fails = options.fail_every.is_some_and(|every| self.passed.is_multiple_of(every.get()));
        if fails { Err(Refusal(503, "Service Unavailable")) } else { Ok(()) }
    }

    /// Returns the body of the answer.
    fn apply(
        &mut self,
        endpoint: Endpoint,
        partner: &str,
        request: &Request,
        options: &Options,
        record: &mut RequestRecord,
    ) -> Result<Value, Refusal> {
        if !request.is_json {
            return Err(Refusal(400, "Content-Type must be application/json"));
        }
        let document = serde_json::from_slice(&request.body).map_err(|_| Refusal(400, "invalid JSON"))?;
        match endpoint {
            Endpoint::Naming => {
                let naming = rules::naming(&document, options)?;
                record.cohort_id = Some(naming.cohort_id.clone());
                self.store.name(partner, naming);
            }
            Endpoint::Users => {
                let users = rules::users(&document, options)?;
                let is_added = |change: &&(Operation, Identifier)| change.0 == Operation::Add;
                record.add = users.changes.iter().filter(is_added).count();
                record.remove = users.changes.len() - record.add;
                self.stats.batch_sizes.push(users.changes.len());
                self.stats.identifiers_added += record.add as u64;
                self.stats.identifiers_removed += record.remove as u64;
                record.cohort_id = Some(users.cohort_id.clone());
                self.store.apply(partner, record.request, users);
            }
            Endpoint::Export => {
                let question = rules::question(&document, request.bearer.as_deref(), options)?;
                return Ok(export::answer(&question, self.store.known.as_ref()));
            }
        }
        Ok(json!({ "message": "success" }))
    }
}

#[cfg(test)]
mod tests;
