//! One worker. It sends one batch at a time, until Braze has acknowledged or refused every identifier, or the batch is
//! given up.

use std::borrow::Cow;
use std::time::Duration;

use log::{debug, warn};

use super::{DeliveryError, FirstCall, MAX_REFUSED_PARTS, Plan, Shared};
use crate::braze::{Refusal, Verdict, classify, meta};
use crate::delivery::failed_file::Failures;
use crate::http::Post;
use crate::members::batch::Batch;
use crate::retry::{self, CallError, GivenUp, RateLimiter, ResponseMeta};

/// The reason in the failed file for identifiers that were not acknowledged.
pub const NOT_SENT: &str = "undelivered: the run ended before it was acknowledged";
/// The most extra requests for splitting one batch.
const MAX_HALVING_REQUESTS: u32 = 200;

pub struct Worker<'a, S> {
    pub plan: &'a Plan,
    pub post: &'a dyn Post,
    pub limiter: &'a RateLimiter<S>,
    pub shared: &'a Shared,
    pub failures: &'a Failures,
}

impl<S: From<DeliveryError>> Worker<'_, S> {
    /// Sends the call without identifiers. Any failure stops the run.
    pub fn first_call(&self, call: &FirstCall) {
        let said = match self.send(&call.address, &call.body, None, false) {
            Ok(Verdict::Delivered) | Err(CallError::Stopped) => return,
            Ok(Verdict::Split(said)) => said,
            Err(CallError::GivenUp(reason)) => reason.into_said(),
        };
        self.limiter.stop(refused(Refusal::Request(said), &call.address).into());
    }

    /// Sends a batch. If Braze refuses something in it, it is halved until each refused identifier is alone. `body` is
    /// a buffer.
    pub fn deliver(&self, batch: &Batch, body: &mut Vec<u8>) {
        let mut parts = vec![Cow::Borrowed(batch)];
        let mut extra_requests = 0;
        while let Some(part) = parts.pop() {
            let is_half = extra_requests > 0;
            self.plan.bodies.write(&part, body);
            let count = part.len() as u64;
            match self.send(&self.plan.addresses.users, body, Some(&part), is_half) {
                Ok(Verdict::Delivered) => self.shared.counts().delivered += count,
                Ok(Verdict::Split(said)) if part.len() == 1 => self.refuse(&part, &said),
                Ok(Verdict::Split(said)) if extra_requests + 2 > MAX_HALVING_REQUESTS => {
                    warn!(
                        "{count} identifiers are not delivered: too many others of their batch were refused ({said})"
                    );
                    self.keep(&part, &format!("undelivered: too many others of its batch were refused ({said})"));
                }
                Ok(Verdict::Split(said)) => {
                    debug!("a batch of {count} identifiers is split: {said}");
                    extra_requests += 2;
                    let (left, right) = part.halves();
                    parts.extend([Cow::Owned(right), Cow::Owned(left)]);
                }
                Err(CallError::GivenUp(GivenUp::NotAcknowledged(said))) => self.refuse(&part, &said),
                Err(CallError::GivenUp(GivenUp::Failed(said))) => {
                    let failures = retry::MAX_FAILURES;
                    warn!("a batch of {count} identifiers is not delivered: it failed {failures} times ({said})");
                    self.keep(&part, &format!("undelivered: {said}"));
                }
                Err(CallError::Stopped) => {
                    parts.push(part);
                    for part in &parts {
                        self.keep(part, NOT_SENT);
                    }
                    break;
                }
            }
        }
    }

    fn refuse(&self, part: &Batch, said: &str) {
        let count = part.len() as u64;
        warn!("Braze refused {count} identifiers: {said}");
        self.shared.counts().refused += count;
        self.remember(part);
        self.keep(part, &format!("refused: {said}"));
    }

    /// Remembers the identifiers of a refused part, one each.
    fn remember(&self, part: &Batch) {
        let mut parts = self.shared.refused_parts();
        let room = MAX_REFUSED_PARTS.saturating_sub(parts.len());
        for (kind, identifier) in part.identifiers().take(room) {
            let mut one = Batch::alone(part.operation());
            one.push(kind, identifier);
            parts.push(one);
        }
    }

    /// Writes a part to the failed file. If that fails, the run ends.
    pub fn keep(&self, part: &Batch, reason: &str) {
        if let Err(error) = self.failures.take(part, reason) {
            self.limiter.stop(DeliveryError::CannotWrite(error).into());
        }
    }

    /// Sends the same bytes until the result is final. For half a batch, even the first try is a retry.
    fn send(&self, address: &str, body: &[u8], part: Option<&Batch>, is_half: bool) -> Result<Verdict, CallError> {
        let mut is_retry = is_half;
        retry::call(self.limiter, Duration::ZERO, || {
            let mut sent = self.shared.counts();
            sent.requests += 1;
            sent.retries += u64::from(is_retry);
            drop(sent);
            is_retry = true;
            let outcome = self.post.post(address, body);
            let meta = meta(&outcome);
            // Late calls without identifiers change no member.
            let meta = ResponseMeta { unanswered: part.and(meta.unanswered), ..meta };
            (meta, classify(&outcome, part).map_err(|failure| failure.map_error(|refusal| refused(refusal, address))))
        })
    }
}

fn refused(refusal: Refusal, address: &str) -> DeliveryError {
    DeliveryError::Refused { refusal, address: address.to_owned() }
}
