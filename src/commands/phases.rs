//! The phases of an upload: the check of an input with both operations, its removals, its additions, and the waits between them.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};
use log::{info, warn};

use super::matching::Matching;
use crate::commands::outcome::Stop;
use crate::delivery::failed_file::Failures;
use crate::delivery::{self, Plan, Shared};
use crate::http::Post;
use crate::input::reader::passes::LaterPass;
use crate::input::reader::{Judged, Reader};
use crate::matching::Figures;
use crate::matching::sample::{Sample, Sampler};
use crate::report::PhaseReport;
use crate::report::progress::Progress;
use crate::retry::{Ending, RateLimiter, Stopped};
use crate::settings::Config;

/// How often progress is shown and a stop is checked while the input is judged.
const TICK: Duration = Duration::from_millis(100);

/// Reads all of the input before any of it is sent: what is to be sent, and samples to ask Braze about. The thread that reads is not
/// joined, because a read may never end. Once the limiter is stopped, nothing is found.
pub fn look_at(
    reader: Reader,
    mut sampler: Option<Sampler>,
    limiter: &Arc<RateLimiter<Stop>>,
    mut tick: impl FnMut(),
) -> (Judged, Result<Vec<Sample>, Stop>) {
    let (said, heard) = bounded(1);
    let reading = Arc::clone(limiter);
    thread::spawn(move || {
        let (judged, result) = reader.judge(|batch| {
            if let Some(sampler) = &mut sampler {
                sampler.take(batch);
            }
            !reading.is_stopped()
        });
        let found = result.map(|()| sampler.map_or_else(Vec::new, Sampler::finish));
        let _ = said.send((judged, found.map_err(Stop::Input)));
    });
    loop {
        match heard.recv_timeout(TICK) {
            Ok(found) => return found,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => limiter.stop(Stop::Defect("the reader panicked".to_owned())),
        }
        limiter.check_limit();
        if limiter.is_stopped() {
            return (Judged::default(), Ok(Vec::new()));
        }
        tick();
    }
}

/// What each pass of an upload needs.
pub struct Upload<'a> {
    pub config: &'a Config,
    pub plan: Plan,
    pub post: &'a dyn Post,
    pub limiter: &'a Arc<RateLimiter<Stop>>,
    pub shared: &'a Arc<Shared>,
    pub failures: &'a Arc<Failures>,
    pub progress: Progress,
    /// Asks Braze first which identifiers it knows.
    pub matching: Option<&'a Matching>,
    /// What Braze answered.
    pub matched: Option<Figures>,
}

impl Upload<'_> {
    /// The counts of all passes until now.
    pub fn so_far(&self) -> PhaseReport {
        PhaseReport { identifiers: self.shared.input().identifiers(), sent: self.shared.sent() }
    }

    /// Sends what `reader` reads.
    pub fn send(&mut self, reader: Reader) {
        let (shared, progress) = (self.shared, &mut self.progress);
        let mut tick = || progress.show(shared.sent());
        delivery::run(&self.plan, reader, self.post, self.limiter, shared, self.failures, &mut tick);
    }

    /// Waits until no unanswered request can take effect any more.
    pub fn settle(&mut self, ending: Ending) {
        let (mut is_said, progress) = (false, &mut self.progress);
        let show = |left: Duration| {
            if !is_said {
                let seconds = left.as_secs_f64();
                info!("a request was not answered and may still take effect: waiting {seconds:.0} s (grace)");
                is_said = true;
            }
            progress.show_wait(left);
        };
        // The limiter has the reason of a stop.
        let _: Result<(), Stopped> = self.limiter.settle(ending, self.config.delivery.grace, show);
    }

    /// Judges the input, then sends what `later` reads. Returns what was found.
    pub fn send_judged(&mut self, reader: Reader, later: LaterPass) -> Judged {
        let (judged, result) = self.judge(reader);
        match result.and_then(|()| Ok(later()?)) {
            // A stop makes reading fail, too, and nothing was found.
            _ if self.limiter.is_stopped() => {}
            Ok(reader) => self.send(reader),
            Err(stop) => {
                self.shared.input().clone_from(&judged.counts);
                self.limiter.stop(stop);
            }
        }
        judged
    }

    /// Judges the input, sends the removals, then the additions. Returns the counts of the removals.
    pub fn send_both(&mut self, reader: Reader, removals: LaterPass, additions: LaterPass) -> PhaseReport {
        let judged = self.send_judged(reader, removals);
        let so_far = self.so_far();
        // If nothing was sent, what was read includes the additions.
        let removals = PhaseReport { identifiers: so_far.identifiers.min(judged.removals), ..so_far };
        let undelivered = removals.undelivered();
        if undelivered > 0 && !self.limiter.is_stopped() {
            warn!("{undelivered} identifiers were not removed, so none are added");
            return removals;
        }
        if judged.additions > 0 {
            self.settle(Ending::Phase);
        }
        if !self.limiter.is_stopped() {
            self.plan.first_call = None;
            let counted = self.shared.input().clone();
            match additions() {
                Ok(reader) => self.send(reader.counting_on(counted)),
                Err(error) => self.limiter.stop(Stop::Input(error)),
            }
        }
        removals
    }

    /// Reads all of the input, and asks Braze about it if `min_match` is set, before any of it is sent. Returns what was
    /// found, and whether it may be sent.
    pub fn judge(&mut self, reader: Reader) -> (Judged, Result<(), Stop>) {
        let (shared, progress) = (self.shared, &mut self.progress);
        let tick = || progress.show(shared.sent());
        let (judged, samples) = look_at(reader, self.matching.map(Matching::sampler), self.limiter, tick);
        let result = samples.and_then(|samples| self.ask(samples));
        (judged, result)
    }

    fn ask(&mut self, samples: Vec<Sample>) -> Result<(), Stop> {
        let Some(matching) = self.matching.filter(|_| !self.limiter.is_stopped()) else { return Ok(()) };
        let (figures, too_few) = matching.judge(samples)?;
        self.matched = Some(figures);
        too_few.map_or(Ok(()), |error| Err(error.into()))
    }
}
