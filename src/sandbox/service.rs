//! A request -> its answer: the gate, the rules and the store put together, with everything counted.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use super::answer::Answer;
use super::faults::{Fault, FaultPlan};
use super::http::Head;
use super::json::Object;
use super::limit::{RateLimit, RateWindow, Standing};
use super::refusal::Refusal;
use super::route::{Call, Inspection, Route, route};
use super::rules::{self, Credentials};
use super::stats::{Recorder, Stats};
use super::store::{Change, CohortView, Operation, Store};

/// What the service accepts and how it behaves.
pub struct Settings {
    pub credentials: Credentials,
    pub partner: Option<String>,
    pub latency: Duration,
    pub faults: FaultPlan,
    pub rate_limit: Option<RateLimit>,
    pub store: Store,
}

/// Braze's side of the cohort API, without a socket.
pub struct Service {
    credentials: Credentials,
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
    faults: FaultPlan,
}

impl Gate {
    fn pass(&mut self, now: Duration) -> Admission {
        let standing = self.window.as_mut().map(|window| window.admit(now));
        match standing {
            Some(Standing { admitted: false, .. }) => Admission { standing, is_limited: true, fault: None },
            _ => Admission { standing, is_limited: false, fault: self.faults.next() },
        }
    }
}

/// What was decided about a request by its head alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Admission {
    standing: Option<Standing>,
    is_limited: bool,
    /// How it goes wrong, if it does.
    pub fault: Option<Fault>,
}

impl Service {
    /// A service that has seen no request yet.
    pub fn new(settings: Settings) -> Self {
        let gate = Gate { window: settings.rate_limit.map(RateWindow::new), faults: settings.faults };
        Self {
            credentials: settings.credentials,
            partner: settings.partner,
            latency: settings.latency,
            started: Instant::now(),
            gate: Mutex::new(gate),
            store: Mutex::new(settings.store),
            recorder: Recorder::default(),
        }
    }

    /// Decides what becomes of a request, before its body is read. A GET is a look inside: it passes no gate and is not
    /// counted.
    pub fn admit(&self, head: &Head) -> Admission {
        if head.method == "GET" {
            return Admission::default();
        }
        let route = route(&head.method, &head.path, self.partner.as_deref());
        let admission = lock(&self.gate).pass(self.started.elapsed());
        self.recorder.count(|stats| {
            match route {
                Ok(Route::Api(Call::Naming)) => stats.naming_requests += 1,
                Ok(Route::Api(Call::Users)) => stats.users_requests += 1,
                Ok(Route::Inspect(_)) | Err(_) => {}
            }
            if let Some(fault) = admission.fault {
                *stats.faults.entry(fault.name()).or_default() += 1;
            }
        });
        admission
    }

    /// Answers one request that was admitted so.
    ///
    /// `pause` waits out the latency. A request is applied before it, so a client that gives up has been heard nevertheless.
    pub fn answer(&self, head: &Head, body: &[u8], admission: Admission, pause: impl FnOnce(Duration)) -> Answer {
        let route = route(&head.method, &head.path, self.partner.as_deref());
        if head.method == "GET" {
            return route.map_or_else(Answer::from, |route| self.inspect(&route));
        }
        let _in_flight = self.recorder.enter();
        let applied = match admission.fault {
            _ if admission.is_limited => Err(Refusal::RateLimited),
            Some(Fault::Unavailable) => Err(Refusal::Unavailable),
            Some(fault) if !fault.is_applied() => Ok(()),
            _ => route.and_then(|route| self.apply(&route, head, body)),
        };
        let mut answer = applied.map_or_else(Answer::from, |()| Answer::message(201, "success"));
        answer.headers.extend(admission.standing.into_iter().flat_map(rate_limit_headers));
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

    fn apply(&self, route: &Route, head: &Head, body: &[u8]) -> Result<(), Refusal> {
        let Route::Api(call) = route else {
            return Err(Refusal::NotFound);
        };
        if !head.is_json {
            return Err(Refusal::ContentType);
        }
        let document = Object::parse(body).ok_or(Refusal::InvalidJson)?;
        match call {
            Call::Naming => lock(&self.store).name(&rules::naming(&document, &self.credentials)?),
            Call::Users => {
                let users = rules::users(&document, &self.credentials)?;
                lock(&self.store).apply(&users);
                let (added, removed) = count(&users.changes);
                self.recorder.count(|stats| stats.count_batch(added, removed));
            }
        }
        Ok(())
    }

    fn inspect(&self, route: &Route) -> Answer {
        match route {
            Route::Inspect(Inspection::Cohorts) => {
                let cohorts = lock(&self.store).cohorts();
                Answer::json(200, &json!({ "cohorts": cohorts }))
            }
            Route::Inspect(Inspection::Cohort(id)) => match self.cohort(id) {
                Some(cohort) => Answer::json(200, &cohort),
                None => Refusal::NotFound.into(),
            },
            Route::Inspect(Inspection::Stats) => Answer::json(200, &self.stats()),
            Route::Api(_) => Refusal::MethodNotAllowed { allow: "POST" }.into(),
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
