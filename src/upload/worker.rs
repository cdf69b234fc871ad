//! One worker: a batch at a time, until Braze has acknowledged or refused each identifier of it, or it is given up.

use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::time::Duration;

use log::{debug, warn};

use super::redact::without_identifiers;
use super::{Plan, Shared};
use crate::batch::Batch;
use crate::braze::{Refusal, Verdict, classify, hint};
use crate::failures::Failures;
use crate::gate::{Gate, Stopped};
use crate::http::Post;
use crate::pace::{Delay, Ended, Heard, Ticket};
use crate::retry;
use crate::stop::Stop;

/// Why an identifier is in the file of failures that nothing is known of.
pub const NOT_SENT: &str = "undelivered: the run ended before it was acknowledged";
/// Requests beyond the first that halving may cost a batch.
const MAX_HALVING_REQUESTS: u32 = 200;

#[derive(Clone, Copy)]
pub struct Worker<'a> {
    pub plan: &'a Plan,
    pub post: &'a dyn Post,
    pub gate: &'a Gate,
    pub shared: &'a Shared,
    pub failures: &'a Failures,
}

/// How one body ended.
#[derive(Debug)]
enum End {
    Delivered,
    Refused(String),
    Halve(String),
    GivenUp(String),
}

/// What happened to one body so far.
#[derive(Debug, Default)]
struct History {
    ticket: Ticket,
    heard: Heard,
    tries: u32,
    failures: u32,
    failures_while_others_got_through: u32,
    successes_seen: u64,
    garbage: u32,
    locks: u32,
    limits: u32,
    stale: bool,
    not_acknowledged: bool,
}

/// What to do after a try.
enum Next {
    /// Not before this time, which Braze may have named.
    Again {
        until: Duration,
        announced: bool,
    },
    End(End),
}

impl Worker<'_> {
    /// The call without identifiers. Whatever keeps it from being delivered stops the run.
    pub fn first_call(&self) {
        let Some(call) = &self.plan.first_call else { return };
        let said = match self.send(&call.address, &call.body, None, false) {
            Ok(End::Delivered) | Err(Stopped) => return,
            Ok(End::Refused(said) | End::Halve(said) | End::GivenUp(said)) => said,
        };
        self.gate.stop(Stop::Refused { refusal: Refusal::Request(said), address: call.address.clone() });
    }

    /// Sends a batch. Where Braze refuses something in it, it is halved until what is refused is alone.
    /// `body` is room for its bytes, to be used again.
    pub fn deliver(&self, batch: &Batch, body: &mut Vec<u8>) {
        let mut parts = vec![Cow::Borrowed(batch)];
        let mut extra_requests = 0;
        while let Some(part) = parts.pop() {
            let is_half = extra_requests > 0;
            self.plan.bodies.write(&part, body);
            let count = part.len() as u64;
            match self.send(&self.plan.addresses.users, body, Some(&part), is_half) {
                Ok(End::Delivered) => {
                    self.shared.delivered.fetch_add(count, Ordering::Relaxed);
                }
                Ok(End::Refused(said)) => self.refuse(&part, &said),
                Ok(End::Halve(said)) if part.len() == 1 => self.refuse(&part, &said),
                Ok(End::Halve(said)) if extra_requests + 2 > MAX_HALVING_REQUESTS => {
                    warn!("{count} identifiers are given up: too many of their batch are refused ({said})");
                    self.keep(&part, &format!("undelivered: too many others of its batch were refused ({said})"));
                }
                Ok(End::Halve(said)) => {
                    debug!("a batch of {count} is halved: {said}");
                    extra_requests += 2;
                    let (left, right) = part.halves();
                    parts.extend([Cow::Owned(right), Cow::Owned(left)]);
                }
                Ok(End::GivenUp(said)) => {
                    if !self.gate.is_stopped() {
                        let failures = retry::MAX_FAILURES;
                        warn!("a batch of {count} identifiers is given up after {failures} failures ({said})");
                    }
                    self.keep(&part, &format!("undelivered: {said}"));
                }
                Err(Stopped) => {
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
        self.shared.refused.fetch_add(count, Ordering::Relaxed);
        self.keep(part, &format!("refused: {said}"));
    }

    /// Keeps what did not arrive for later. A file that cannot take it ends the run.
    pub fn keep(&self, part: &Batch, reason: &str) {
        if let Err(error) = self.failures.take(part, reason) {
            self.gate.stop(Stop::CannotWrite(error));
        }
    }

    /// Sends the same bytes until something final is known. The first try of a half is a retry already.
    fn send(&self, address: &str, body: &[u8], part: Option<&Batch>, is_half: bool) -> Result<End, Stopped> {
        let mut history = History::default();
        let mut delay = Delay::default();
        loop {
            history.ticket = self.gate.enter(delay)?;
            self.shared.requests.fetch_add(1, Ordering::Relaxed);
            if history.tries > 0 || is_half {
                self.shared.retries.fetch_add(1, Ordering::Relaxed);
            }
            history.tries += 1;
            let outcome = self.post.post(address, body);
            history.heard = outcome.as_ref().map_or(Heard::NOTHING, |answer| Heard {
                answered: true,
                standing: hint::standing(&answer.headers, hint::WallClock::now()),
            });
            let verdict = classify(&outcome).map_text(|text| without_identifiers(&text, part));
            match self.next(address, verdict, &mut history) {
                Next::Again { until, announced } => delay = Delay { until, since: self.gate.now(), announced },
                Next::End(end) => return Ok(end),
            }
        }
    }

    /// Tells the others how the latest try ended.
    fn leave(&self, history: &History, ended: Ended, failure: Option<&str>) -> u64 {
        self.gate.leave(history.ticket, ended, history.heard, failure)
    }

    /// Decides by what the answer means and what went before, and tells the others what they have to know.
    fn next(&self, address: &str, verdict: Verdict, history: &mut History) -> Next {
        let now = self.gate.now();
        let at_once = Next::Again { until: now, announced: false };
        if !matches!(verdict, Verdict::Garbage(_)) {
            history.garbage = 0;
        }
        // Whatever the others have to know is said before anything is logged, as the log may be slow.
        match verdict {
            Verdict::Delivered => self.settled(history, End::Delivered),
            Verdict::Halve(said) => self.settled(history, End::Halve(said)),
            Verdict::NotAcknowledged(said) if history.not_acknowledged => self.settled(history, End::Refused(said)),
            Verdict::NotAcknowledged(said) => {
                history.not_acknowledged = true;
                self.leave(history, Ended::Through, None);
                warn!("Braze answered without acknowledging ({said}); once more");
                at_once
            }
            Verdict::AgainAtOnce if !history.stale => {
                history.stale = true;
                self.leave(history, Ended::Unheard, None);
                at_once
            }
            Verdict::AgainAtOnce => self.failed("the idle connection was closed again", None, history),
            Verdict::Again(trouble, pause) => self.failed(&trouble, pause, history),
            Verdict::Garbage(trouble) => {
                history.garbage += 1;
                if history.garbage >= retry::MAX_GARBAGE {
                    self.refused_for_good(history, address, &Refusal::NotBraze(trouble))
                } else {
                    self.failed(&trouble, None, history)
                }
            }
            Verdict::Locked(pause) => self.locked(now, pause, history),
            Verdict::Limited(pause) => self.limited(now, pause, history),
            Verdict::Final(refusal) => self.refused_for_good(history, address, &refusal),
        }
    }

    fn settled(&self, history: &History, end: End) -> Next {
        self.leave(history, Ended::Through, None);
        Next::End(end)
    }

    fn refused_for_good(&self, history: &History, address: &str, refusal: &Refusal) -> Next {
        // Stopped before it is left, so that nobody else begins in between.
        self.gate.stop(Stop::Refused { refusal: refusal.clone(), address: address.to_owned() });
        self.leave(history, Ended::Through, None);
        Next::End(End::GivenUp("the run was stopped by Braze's answer".to_owned()))
    }

    fn locked(&self, now: Duration, pause: Option<Duration>, history: &mut History) -> Next {
        history.locks += 1;
        let delay = retry::locked_delay(history.locks, pause);
        let until = now + delay;
        self.leave(history, Ended::Locked(until), Some("the cohort is locked (423)"));
        warn!("the cohort is locked (423); again in {} s, one call at a time", delay.as_secs());
        Next::Again { until, announced: false }
    }

    fn limited(&self, now: Duration, pause: Option<Duration>, history: &mut History) -> Next {
        history.limits += 1;
        let announced = pause.is_some();
        let pause = pause.unwrap_or_else(|| retry::delay(history.limits, fastrand::f64()));
        let until = now + pause;
        self.leave(history, Ended::Limited { until, announced }, Some("rate limit (429)"));
        warn!("rate limit (429): all workers pause for {:.1} s", pause.as_secs_f64());
        Next::Again { until, announced }
    }

    fn failed(&self, trouble: &str, pause: Option<Duration>, history: &mut History) -> Next {
        history.failures += 1;
        let successes = self.leave(history, Ended::Failed, Some(trouble));
        if history.failures == 1 || successes > history.successes_seen {
            history.failures_while_others_got_through += 1;
        }
        history.successes_seen = successes;
        if history.failures_while_others_got_through >= retry::MAX_FAILURES {
            return Next::End(End::GivenUp(trouble.to_owned()));
        }
        let announced = pause.is_some();
        let delay = pause.unwrap_or_else(|| retry::delay(history.failures, fastrand::f64()));
        debug!("a request failed ({trouble}); again in {:.1} s", delay.as_secs_f64());
        Next::Again { until: self.gate.now() + delay, announced }
    }
}
