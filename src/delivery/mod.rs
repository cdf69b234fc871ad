//! In: a reader of batches. Out: requests to Braze, counts, the failed file. It never decides what an answer means (`braze`), or
//! when to try again (`retry`).
//!
//! One reader, a short queue of batches, and `thread_count` workers in a separate rayon pool.
//!
//! ```text
//! reader (a thread) ──> queue ──> workers (rayon) ──> Braze
//!    │ what was read                 │ what was sent
//!    └──────────> Shared <───────────┘ <── progress (this thread, now and then)
//! ```
//! The queue holds as many batches as there are workers, 16 at most, so memory does not grow with the input.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::braze::body::BodyWriter;
use crate::braze::{Addresses, Refusal};
use crate::delivery::counts::DeliveryCounts;
use crate::delivery::failed_file::{Failures, FailuresError};
use crate::http::Post;
use crate::input::counters::InputCounts;
use crate::input::error::InputError;
use crate::input::reader::Reader;
use crate::members::batch::Batch;
use crate::retry::RateLimiter;

pub mod counts;
pub mod failed_file;
pub mod safe_path;
mod worker;

use worker::Worker;

/// The most batches that wait. To read one takes a thousandth of the time of a request.
const MAX_QUEUE: usize = 16;
/// The most refused identifiers that are kept for the state of a mirror.
const MAX_REFUSED_PARTS: usize = 1001;
/// How long requests in flight may take after the run is stopped.
const LAST_ANSWERS: Duration = Duration::from_secs(10);
/// How long a stopped run waits for the reader to hand over what it has just read.
const LAST_ROWS: Duration = Duration::from_millis(500);
/// How often an idle worker checks for a stop.
const PATIENCE: Duration = Duration::from_millis(50);
/// How often progress is shown.
const TICK: Duration = Duration::from_millis(200);

/// How the members are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Requests at once.
    pub thread_count: usize,
    /// The file for identifiers that were not delivered.
    pub failed_file: Option<PathBuf>,
    /// The longest time without a successful request.
    pub max_outage: Duration,
    /// How long the run may take.
    pub max_duration: Duration,
    /// How long an unanswered request may still take effect.
    pub grace: Duration,
    /// The most refused identifiers in a run that ends well.
    pub max_refused: u64,
    /// The limit for sending a request, and again for its answer.
    pub request_timeout: Duration,
    /// Requests in any hour.
    pub max_requests_per_hour: u64,
}

/// Why an upload cannot go on.
#[derive(Debug)]
pub enum DeliveryError {
    /// The input.
    Input(Box<InputError>),
    /// Braze, or something in front of it, refused for good.
    Refused {
        /// The reason.
        refusal: Refusal,
        /// The address that was called.
        address: String,
    },
    /// The failed file cannot be written.
    CannotWrite(FailuresError),
    /// A defect of ours.
    Defect(String),
}

/// The common part of all requests of a run.
pub struct Plan {
    /// The addresses of the calls.
    pub addresses: Addresses,
    /// Writes the bodies.
    pub bodies: BodyWriter,
    /// Requests at once.
    pub thread_count: usize,
    /// The call without identifiers that comes first; none in a second pass.
    pub first_call: Option<FirstCall>,
}

impl Plan {
    /// A call that changes nothing. Braze checks the credentials and the cohort's ID all the same.
    pub fn call_without_changes(&self) -> FirstCall {
        FirstCall { address: self.addresses.users.clone(), body: self.bodies.no_changes() }
    }
}

/// It shows whether the credentials are right before any identifier is sent.
pub struct FirstCall {
    /// Its address.
    pub address: String,
    /// Its body.
    pub body: Vec<u8>,
}

/// The counts that the threads of a run share.
#[derive(Default)]
pub struct Shared {
    input: Mutex<InputCounts>,
    /// Held while the batches of the latest count are handed over.
    handing: Mutex<()>,
    /// Nothing more is counted or handed over. Changes only while `handing` is held.
    is_over: AtomicBool,
    sent: Mutex<DeliveryCounts>,
    /// One identifier each.
    refused_parts: Mutex<Vec<Batch>>,
}

impl Shared {
    /// Nothing read, nothing sent.
    pub fn new(aliases: usize) -> Self {
        Self { input: Mutex::new(InputCounts::new(aliases)), ..Self::default() }
    }

    /// What was read, up to the latest full batch.
    pub fn input(&self) -> MutexGuard<'_, InputCounts> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first refused identifiers, one in each batch.
    pub fn refused_parts(&self) -> MutexGuard<'_, Vec<Batch>> {
        self.refused_parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was sent.
    pub fn sent(&self) -> DeliveryCounts {
        *self.counts()
    }

    fn counts(&self) -> MutexGuard<'_, DeliveryCounts> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the call that changes nothing. The reason of a failure is in the limiter.
pub fn call_without_changes<S: From<DeliveryError>>(
    plan: &Plan,
    post: &dyn Post,
    limiter: &RateLimiter<S>,
    shared: &Shared,
) {
    let worker = Worker { plan, post, limiter, shared, failures: &Failures::none() };
    worker.first_call(&plan.call_without_changes());
}

/// Runs the upload to its end, or until the limiter is stopped. The reason of a stop is in the limiter.
pub fn run<S: From<DeliveryError> + Send + 'static>(
    plan: &Plan,
    reader: Reader,
    post: &dyn Post,
    limiter: &Arc<RateLimiter<S>>,
    shared: &Arc<Shared>,
    failures: &Arc<Failures>,
    tick: &mut dyn FnMut(),
) {
    let (batches, queue) = bounded(plan.thread_count.min(MAX_QUEUE));
    // Used batches go back to the reader, as their memory is expensive to get.
    let (back, used) = bounded(plan.thread_count);
    // Not joined: a read that never ends must not keep a stopped run alive.
    let end_of_input = start_reader(reader, batches, used, shared, limiter, failures);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(plan.thread_count)
        .thread_name(|number| format!("worker-{number}"))
        .build();
    let pool = match pool {
        Ok(pool) => pool,
        Err(error) => {
            return limiter
                .stop(DeliveryError::Defect(format!("the worker threads cannot be started: {error}")).into());
        }
    };
    let worker = &Worker { plan, post, limiter, shared, failures };
    let left_over = queue.clone();
    pool.in_place_scope(|scope| {
        let (at_work, all_done) = bounded::<()>(0);
        scope.spawn(move |scope| {
            let present = limiter.attend();
            if let Some(call) = &plan.first_call {
                guarded(limiter, || worker.first_call(call));
            }
            for _ in 0..plan.thread_count {
                let (queue, back, at_work) = (queue.clone(), back.clone(), at_work.clone());
                let present = limiter.attend();
                scope.spawn(move |_| {
                    guarded(limiter, || work(worker, &queue, &back));
                    drop((present, at_work));
                });
            }
            drop(present);
        });
        supervise(&all_done, post, limiter, tick);
    });
    if limiter.is_stopped() {
        keep_left_over(worker, &left_over, shared);
    } else if end_of_input.recv().is_err() && !limiter.is_stopped() {
        limiter.stop(DeliveryError::Defect("the reader panicked".to_owned()).into());
    }
}

/// Keeps what was read before the stop and is not sent any more. A reader that has just read some rows hands them over. One that
/// is stuck in its input is not waited for: what it reads later is neither counted nor kept.
fn keep_left_over<S: From<DeliveryError>>(worker: &Worker<'_, S>, queue: &Receiver<Batch>, shared: &Shared) {
    let keep = |batch: Batch| worker.keep(&batch, worker::NOT_SENT);
    loop {
        while let Ok(batch) = queue.recv_timeout(LAST_ROWS) {
            keep(batch);
        }
        // The reader may wait for room in the queue while it hands over.
        let handing = shared.handing.try_lock();
        if !matches!(handing, Err(TryLockError::WouldBlock)) {
            shared.is_over.store(true, Ordering::Relaxed);
            break;
        }
    }
    queue.try_iter().for_each(keep);
}

/// Starts the reader, which sends a message at the end of the input. A channel that closes without one means a panic, or an error
/// that has stopped the run.
fn start_reader<S: From<DeliveryError> + Send + 'static>(
    reader: Reader,
    batches: Sender<Batch>,
    used: Receiver<Batch>,
    shared: &Arc<Shared>,
    limiter: &Arc<RateLimiter<S>>,
    failures: &Arc<Failures>,
) -> Receiver<()> {
    let (said, end_of_input) = bounded(1);
    let (shared, limiter, failures) = (Arc::clone(shared), Arc::clone(limiter), Arc::clone(failures));
    thread::spawn(move || {
        let is_over = || shared.is_over.load(Ordering::Relaxed);
        let publish = |counts: &InputCounts| {
            let handing = shared.handing.lock().unwrap_or_else(PoisonError::into_inner);
            if !is_over() {
                shared.input().clone_from(counts);
            }
            handing
        };
        let leave = |batch: &Batch| {
            if !is_over()
                && let Err(error) = failures.take(batch, worker::NOT_SENT)
            {
                limiter.stop(DeliveryError::CannotWrite(error).into());
            }
        };
        // A batch after the stop is kept, not sent, and no further one is read.
        let take = |batch| !is_over() && batches.send(batch).is_ok() && !limiter.is_stopped();
        match reader.read(publish, || used.try_recv().ok(), take, leave) {
            Ok(()) => drop(said.send(())),
            Err(error) => limiter.stop(DeliveryError::Input(Box::new(error)).into()),
        }
        drop(batches);
    });
    end_of_input
}

/// Stops the run on a panic, so that it does not hang. Returns whether there was none.
fn guarded<S: From<DeliveryError>>(limiter: &RateLimiter<S>, work: impl FnOnce()) -> bool {
    let result = catch_unwind(AssertUnwindSafe(work));
    if result.is_err() {
        limiter.stop(DeliveryError::Defect("a worker panicked".to_owned()).into());
    }
    result.is_ok()
}

/// Takes batches until there are none, or the run is stopped.
fn work<S: From<DeliveryError>>(worker: &Worker<'_, S>, queue: &Receiver<Batch>, back: &Sender<Batch>) {
    let mut body = Vec::new();
    while !worker.limiter.is_stopped() {
        match queue.recv_timeout(PATIENCE) {
            Ok(mut batch) => {
                let is_whole = guarded(worker.limiter, || worker.deliver(&batch, &mut body));
                if !is_whole {
                    worker.keep(&batch, worker::NOT_SENT);
                }
                batch.clear();
                // If there are enough, it is freed.
                drop(back.try_send(batch));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Waits for the workers, shows progress, and cuts requests that take too long after a stop.
fn supervise<S>(all_done: &Receiver<()>, post: &dyn Post, limiter: &RateLimiter<S>, tick: &mut dyn FnMut()) {
    let mut stopped_at = None;
    loop {
        match all_done.recv_timeout(TICK) {
            Err(RecvTimeoutError::Disconnected) => return,
            Ok(()) | Err(RecvTimeoutError::Timeout) => tick(),
        }
        limiter.check_limit();
        if limiter.is_stopped() {
            let since = *stopped_at.get_or_insert_with(|| limiter.now());
            if limiter.now().saturating_sub(since) >= LAST_ANSWERS {
                post.cut();
            }
        }
    }
}
