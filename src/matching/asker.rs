//! Asks Braze about samples, one request after the other.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::sample::Sample;
use super::variant::Variant;
use super::{Asked, Figures, KindFigures, MatchError};
use crate::braze::export::{self, Found, MAX_ANSWER_BYTES, capacity};
use crate::braze::{Refusal, Verdict, classify, meta, unintelligible};
use crate::http::endpoint::Endpoint;
use crate::http::header::AUTHORIZATION;
use crate::http::{Answer, Ask, Call, HeaderMap, HeaderValue, Http, HttpError};
use crate::members::batch::Batch;
use crate::members::identifier::Kind;
use crate::members::operation::Operation;
use crate::retry::{self, CallError, Failure, GivenUp, RateLimiter, Stopped};
use crate::secret::Secret;

/// The most requests in one run.
pub const MAX_REQUESTS: u32 = 200;

/// Asks one workspace.
pub struct Asker<'a, S> {
    http: &'a Http,
    limiter: &'a RateLimiter<S>,
    address: String,
    headers: HeaderMap,
    labels: &'a [String],
    requests: u32,
}

impl<'a, S: From<MatchError>> Asker<'a, S> {
    /// With this key, about aliases with these labels. If it ends early, the limiter has the reason.
    pub fn new(
        http: &'a Http,
        limiter: &'a RateLimiter<S>,
        endpoint: &Endpoint,
        key: &Secret,
        labels: &'a [String],
    ) -> Self {
        let mut headers = HeaderMap::new();
        // If no header can hold the key, Braze gets none, and refuses it as wrong.
        if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", key.expose())) {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Self { http, limiter, address: export::address(endpoint), headers, labels, requests: 0 }
    }

    /// Asks about external IDs and aliases, then about devices, with at most [`MAX_REQUESTS`] requests.
    pub fn ask(&mut self, mut samples: Vec<Sample>) -> Result<Asked, Stopped> {
        samples.sort_by_key(|sample| sample.kind == Kind::DeviceId);
        let (mut kinds, mut unknown) = (Vec::new(), Vec::new());
        for sample in samples {
            let found = self.ask_all(sample.kind, &sample.identifiers, u32::MAX)?;
            kinds.push(KindFigures::new(&sample, self.labels, &found));
            let misses = sample.identifiers.into_iter().zip(found).filter(|(_, found)| *found == Found::Unknown);
            unknown.push(misses.map(|(identifier, _)| identifier).collect());
        }
        Ok(Asked { figures: Figures { kinds, requests: self.requests }, unknown })
    }

    /// Asks about other spellings of the unknown identifiers. For each kind it makes no more requests than before.
    pub fn explain(&mut self, asked: &mut Asked) -> Result<(), Stopped> {
        for (figures, unknown) in asked.figures.kinds.iter_mut().zip(&asked.unknown) {
            let kind = figures.kind;
            let misses: Vec<_> = unknown.iter().map(|identifier| variants(kind, identifier)).collect();
            let mut seen = HashSet::new();
            let texts = misses.iter().flatten().map(|(_, text)| text).filter(|text| seen.insert(*text));
            let texts: Vec<Box<[u8]>> = texts.cloned().collect();
            let requests = figures.asked().div_ceil(u32::try_from(capacity(kind)).unwrap_or(1));
            let found = self.ask_all(kind, &texts, requests)?;
            let found: HashMap<_, _> = texts.iter().zip(found).collect();
            for miss in &misses {
                figures.asked_again += u32::from(miss.iter().all(|(_, text)| found.contains_key(text)));
            }
            for variant in Variant::ALL {
                let exists = |miss: &&Vec<(Variant, Box<[u8]>)>| {
                    miss.iter().any(|(other, text)| *other == variant && found.get(text) == Some(&Found::Known))
                };
                let count = misses.iter().filter(exists).fold(0, |count, _| count + 1);
                figures.exist.extend((count > 0).then_some((variant, count)));
            }
        }
        asked.figures.requests = self.requests;
        Ok(())
    }

    /// Asks about the first identifiers, with at most this many requests.
    fn ask_all(&mut self, kind: Kind, identifiers: &[Box<[u8]>], requests: u32) -> Result<Vec<Found>, Stopped> {
        let mut found = Vec::new();
        for (part, _) in identifiers.chunks(capacity(kind)).zip(0..requests) {
            if self.requests >= MAX_REQUESTS {
                break;
            }
            let mut batch = Batch::new(Operation::Add);
            for identifier in part {
                batch.push(kind, identifier);
            }
            found.extend(self.ask_one(&batch)?);
        }
        Ok(found)
    }

    fn ask_one(&mut self, batch: &Batch) -> Result<Vec<Found>, Stopped> {
        let body = export::body(batch, self.labels);
        let result = retry::call(self.limiter, Duration::ZERO, || {
            self.requests += 1;
            let stream = self.http.ask(&self.address, &self.headers, Call::Json(&body));
            let outcome = stream.and_then(|stream| stream.into_answer(MAX_ANSWER_BYTES));
            (meta(&outcome), end_of_try(&outcome, batch, self.labels, &self.address))
        });
        let error = match result {
            Ok(found) => return Ok(found),
            Err(CallError::Stopped) => return Err(Stopped),
            Err(CallError::GivenUp(GivenUp::Failed(said))) => MatchError::GivenUp { said },
            Err(CallError::GivenUp(GivenUp::NotAcknowledged(said))) => refused(Refusal::Request(said), &self.address),
        };
        self.limiter.stop(error.into());
        Err(Stopped)
    }
}

fn variants(kind: Kind, identifier: &[u8]) -> Vec<(Variant, Box<[u8]>)> {
    let text = String::from_utf8_lossy(identifier);
    let written = |variant: Variant| Some((variant, variant.of(kind, &text)?.into_bytes().into_boxed_slice()));
    Variant::ALL.into_iter().filter_map(written).collect()
}

/// What an answer, or its absence, means for the identifiers or for the next try.
fn end_of_try(
    outcome: &Result<Answer, HttpError>,
    batch: &Batch,
    labels: &[String],
    address: &str,
) -> Result<Vec<Found>, Failure<MatchError>> {
    let found = match classify(outcome, Some(batch)) {
        Ok(Verdict::Delivered) => {
            let found = outcome.as_ref().ok().and_then(|answer| export::found(answer, batch, labels));
            found.ok_or_else(|| unintelligible("the answer does not list the users that Braze knows".to_owned()))
        }
        Ok(Verdict::Split(said)) => Err(Failure::Final(Refusal::Request(said))),
        Err(failure) => Err(failure),
    };
    found.map_err(|failure| failure.map_error(|refusal| refused(refusal, address)))
}

fn refused(refusal: Refusal, address: &str) -> MatchError {
    match refusal {
        Refusal::Credentials(said) => MatchError::Key { said },
        refusal => MatchError::Refused { refusal, address: address.to_owned() },
    }
}
