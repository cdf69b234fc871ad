//! The phases of an upload: judging an input with both operations, its removals, its additions, and the waits between them.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};
use log::{info, warn};

use crate::commands::outcome::Stop;
use crate::delivery::failed_file::Failures;
use crate::delivery::{self, Plan, Shared};
use crate::http::Post;
use crate::input::reader::passes::LaterPasses;
use crate::input::reader::{Judged, Reader};
use crate::report::PhaseReport;
use crate::report::progress::Progress;
use crate::retry::{Ending, RateLimiter, Stopped};
use crate::settings::Config;

/// How often progress and a stop are looked at while the input is judged.
const TICK: Duration = Duration::from_millis(100);

/// What each pass of an upload needs.
pub struct Upload<'a> {
    pub config: &'a Config,
    /// Nothing is sent, so nothing is limited.
    pub is_dry: bool,
    pub plan: Plan,
    pub post: &'a dyn Post,
    pub limiter: &'a Arc<RateLimiter<Stop>>,
    pub shared: &'a Arc<Shared>,
    pub failures: &'a Arc<Failures>,
    pub progress: Progress,
}

impl Upload<'_> {
    /// Sends what a reader brings.
    pub fn send(&mut self, reader: Reader) {
        let (shared, progress) = (self.shared, &mut self.progress);
        let mut tick = || progress.show(shared.sent());
        delivery::run(&self.plan, reader, self.post, self.limiter, shared, self.failures, &mut tick);
    }

    /// Waits until no request that was not answered can take effect any more.
    pub fn settle(&mut self, ending: Ending) {
        let (mut is_said, progress) = (false, &mut self.progress);
        let show = |left: Duration| {
            if !is_said {
                let seconds = left.as_secs_f64();
                info!("a request was not answered and may still take effect: the run waits {seconds:.0} s (grace)");
                is_said = true;
            }
            progress.show_wait(left);
        };
        // If it is stopped, why is in the limiter.
        let _: Result<(), Stopped> = self.limiter.settle(ending, self.config.delivery.grace, show);
    }

    /// Judges the input, and sends the removals, then the additions. Returns what belongs to the removals.
    pub fn send_both(&mut self, reader: Reader, later: LaterPasses) -> PhaseReport {
        let mut judged = Judged::default();
        match self.judge(reader).and_then(|found| {
            judged = found;
            Ok(later.removals.begin()?)
        }) {
            Ok(reader) if !self.limiter.is_stopped() => self.send(reader),
            Ok(_) => {}
            Err(stop) => self.limiter.stop(stop),
        }
        let removals = PhaseReport { identifiers: self.shared.input().identifiers(), sent: self.shared.sent() };
        let undelivered = removals.undelivered();
        if undelivered > 0 && !self.limiter.is_stopped() {
            warn!("{undelivered} identifiers are not removed, so nobody is added");
            return removals;
        }
        if judged.additions > 0 {
            self.settle(Ending::Phase);
        }
        if !self.limiter.is_stopped() {
            self.plan.first_call = None;
            let counted = self.shared.input().clone();
            match later.additions.begin() {
                Ok(reader) => self.send(reader.counting_on(counted)),
                Err(error) => self.limiter.stop(Stop::Input(error)),
            }
        }
        removals
    }

    /// Reads all of the input before anything of it is sent. On a thread that is not joined, as it may be stuck in a read that
    /// never ends.
    fn judge(&mut self, reader: Reader) -> Result<Judged, Stop> {
        let (said, heard) = bounded(1);
        let limiter = Arc::clone(self.limiter);
        thread::spawn(move || said.send(reader.judge(|| !limiter.is_stopped())));
        let judged = loop {
            match heard.recv_timeout(TICK) {
                Ok(judged) => break judged?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Stop::Defect("the reader panicked".to_owned())),
            }
            self.limiter.check_limit();
            if self.limiter.is_stopped() {
                break Judged::default();
            }
            self.progress.show(self.shared.sent());
        };
        let limits = self.config.input.removal_limits.filter(|_| !self.is_dry);
        limits.map_or(Ok(()), |limits| limits.check(judged.removals)).map_err(Stop::TooManyRemovals)?;
        Ok(judged)
    }
}
