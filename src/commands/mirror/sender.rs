//! Sends a mirror's changes in the way of an upload, and looks at the state meanwhile.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};

use crate::braze::Refusal;
use crate::commands::outcome::Stop;
use crate::commands::phases::Upload;
use crate::commands::pipeline::sources;
use crate::delivery;
use crate::input::columns::Names;
use crate::input::error::InputError;
use crate::input::reader::{Limits, Pass, Reader};
use crate::input::{MaxRejected, ReadableInput};
use crate::members::batch::{Batch, CAPACITY};
use crate::members::operation::Operation;
use crate::mirror::error::MirrorError;
use crate::mirror::run::Conclusion;
use crate::mirror::treasure_data::ChangedRows;
use crate::mirror::warehouse::{Changes, Look, Refused, Sender, Settled};
use crate::retry::RateLimiter;

/// How many looks are made in the time that one of them allows.
const LOOKS: u32 = 4;
/// A look that shows nothing usable is repeated after this.
const UNCLEAR_AGAIN: Duration = Duration::from_secs(1);

/// After the first run, fewer additions than these are not judged by `min_match`: a few new users that Braze does not
/// know yet would keep the cohort from changing.
const FEWEST_ASKED: u64 = 100;

/// Sends changes in the way of an upload. Returns why it stopped, if it did.
pub struct BrazeSender<'a> {
    /// The means.
    pub upload: Upload<'a>,
    /// The names of the columns of the changes.
    pub names: &'a Names,
    /// For how long a look allows requests.
    pub request_timeout: Duration,
}

/// The error of a run: the first reason to stop.
pub type Stopped = Box<Stop>;

impl Sender<ChangedRows> for BrazeSender<'_> {
    type Error = Stopped;

    fn send(
        &mut self,
        operation: Operation,
        rows: &ChangedRows,
        look: &mut dyn FnMut() -> Result<Look, Stopped>,
    ) -> Result<Settled, Stopped> {
        let limiter = Arc::clone(self.upload.limiter);
        let (before, refused_before) = (self.upload.so_far().undelivered(), self.upload.shared.refused_parts().len());
        limiter.permit_until(Duration::ZERO);
        let mut eyes = Eyes { limiter: &limiter, every: self.request_timeout / LOOKS, is_taken_over: false };
        // Nothing is read before the first look.
        let first = eyes.look(look)?;
        if !eyes.is_taken_over {
            let reader = self.open(operation, &rows.input, rows.input.expected_rows).map_err(Stop::Input)?;
            let upload = &mut self.upload;
            thread::scope(|scope| {
                let (at_work, done) = bounded::<()>(0);
                scope.spawn(move || {
                    upload.send(reader);
                    drop(at_work);
                });
                eyes.watch(first, &done, look);
            });
            self.upload.plan.first_call = None;
        }
        if let Some(stop) = limiter.take_stop().filter(|_| !eyes.is_taken_over) {
            return Err(Box::new(stop));
        }
        Ok(Settled {
            refused: self.upload.shared.refused_parts().iter().skip(refused_before).flat_map(refused).collect(),
            undelivered: self.upload.so_far().undelivered() - before,
            // By the clock that counts sleep, and rather too late than too early.
            unanswered: limiter.last_unanswered().map(|last| last + limiter.with_sleep().saturating_sub(limiter.now())),
            is_taken_over: eyes.is_taken_over,
        })
    }
}

impl BrazeSender<'_> {
    /// Tries what can be tried before the state says that a run is at work: on a first run the call without changes, and what
    /// `min_match` requires.
    pub fn prepare(&mut self, changes: &Changes<ChangedRows>, is_first: bool) -> Result<(), Stopped> {
        if is_first {
            self.try_call_without_changes()?;
        }
        if is_first || changes.counts.additions >= FEWEST_ASKED { self.ask(&changes.rows) } else { Ok(()) }
    }

    /// Makes the call without changes that `check` relies on.
    fn try_call_without_changes(&self) -> Result<(), Stopped> {
        let upload = &self.upload;
        delivery::call_without_changes(&upload.plan, upload.post, upload.limiter, upload.shared);
        match upload.limiter.take_stop() {
            None => Ok(()),
            Some(Stop::Refused { refusal: Refusal::Request(said), .. }) => {
                Err(Box::new(MirrorError::CallWithoutChanges { said }.into()))
            }
            Some(stop) => Err(Box::new(stop)),
        }
    }

    /// Asks Braze which of the added identifiers it knows, if the settings require that.
    fn ask(&mut self, rows: &ChangedRows) -> Result<(), Stopped> {
        if self.upload.matching.is_some() {
            let reader = self.open(Operation::Add, &rows.input, None).map_err(Stop::Input)?;
            self.upload.judge(reader).1?;
        }
        self.upload.limiter.take_stop().map_or(Ok(()), |stop| Err(Box::new(stop)))
    }

    /// The rows of one operation. The warehouse has applied the rules for identifiers, so a cell that is rejected here would be a
    /// defect. Rows are counted from the removals on, so `expected_rows` applies to both passes together.
    fn open(
        &self,
        operation: Operation,
        rows: &ReadableInput,
        expected_rows: Option<u64>,
    ) -> Result<Reader, InputError> {
        let limits = Limits { expected_rows, max_rejected: MaxRejected::Count(0), batch_size: CAPACITY };
        let pass = match operation {
            Operation::Remove => Pass::Removals,
            Operation::Add => Pass::Additions,
        };
        let counted = self.upload.shared.input().clone();
        let sources = sources(rows, self.upload.limiter)?;
        Ok(Reader::new(sources, self.names, limits, pass)?.counting_on(counted))
    }
}

/// Looks at the tables while requests are sent.
struct Eyes<'a> {
    limiter: &'a RateLimiter<Stop>,
    every: Duration,
    is_taken_over: bool,
}

impl Eyes<'_> {
    /// Looks once; returns when to look again.
    fn look(&mut self, look: &mut dyn FnMut() -> Result<Look, Stopped>) -> Result<Duration, Stopped> {
        match look()? {
            Look::Until(until) => self.limiter.permit_until(until),
            Look::Unclear => return Ok(self.every.min(UNCLEAR_AGAIN)),
            Look::TakenOver => {
                self.is_taken_over = true;
                self.limiter.stop(Stop::Mirror(Conclusion::TakenOver));
            }
        }
        Ok(self.every)
    }

    /// Looks until everything is sent. A look that fails stops it.
    fn watch(
        &mut self,
        first: Duration,
        done: &crossbeam_channel::Receiver<()>,
        look: &mut dyn FnMut() -> Result<Look, Stopped>,
    ) {
        let mut pause = first;
        while let Err(RecvTimeoutError::Timeout) = done.recv_timeout(pause) {
            if self.limiter.is_stopped() {
                continue;
            }
            match self.look(look) {
                Ok(next) => pause = next,
                Err(stop) => self.limiter.stop(*stop),
            }
        }
    }
}

fn refused(part: &Batch) -> impl Iterator<Item = Refused> {
    let operation = part.operation();
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    part.identifiers().map(move |(kind, value)| Refused { operation, kind, value: text(value) })
}
