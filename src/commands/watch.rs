//! Work that asks a server, on a thread of its own: a stop and the end of its time are heeded while it waits for an answer.

use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use crate::commands::outcome::Stop;
use crate::http::{Http, Post};
use crate::retry::{RateLimiter, Stopped};

/// How often the time and a stop are looked at.
const TICK: Duration = Duration::from_millis(100);

/// Does the work, and calls `tick` meanwhile. What is in flight is cut when the limiter is stopped. An error says why it was stopped, whether the
/// work came to its end or not.
pub fn watched<T: Send>(
    http: &Http,
    limiter: &RateLimiter<Stop>,
    mut tick: impl FnMut(),
    work: impl FnOnce() -> Result<T, Stopped> + Send,
) -> Result<T, Stop> {
    let result = thread::scope(|scope| {
        let (at_work, done) = bounded::<()>(0);
        let worker = scope.spawn(move || {
            let result = work();
            drop(at_work);
            result
        });
        watch(http, limiter, &done, &mut tick);
        worker.join()
    });
    match (limiter.take_stop(), result) {
        (Some(stop), _) => Err(stop),
        (None, Ok(Ok(done))) => Ok(done),
        (None, _) => Err(Stop::Defect("a thread that asked a server panicked".to_owned())),
    }
}

/// Cuts what is in flight when the limiter is stopped, until the work is done.
fn watch(http: &Http, limiter: &RateLimiter<Stop>, done: &Receiver<()>, tick: &mut dyn FnMut()) {
    while let Err(RecvTimeoutError::Timeout) = done.recv_timeout(TICK) {
        tick();
        limiter.check_limit();
        if limiter.is_stopped() {
            http.cut();
        }
    }
}

/// Does the work on this thread. What is in flight is cut when the limiter is stopped.
pub fn cutting<T>(http: &Http, limiter: &RateLimiter<Stop>, work: impl FnOnce() -> T) -> T {
    thread::scope(|scope| {
        let (at_work, done) = bounded::<()>(0);
        scope.spawn(move || watch(http, limiter, &done, &mut || {}));
        let result = work();
        drop(at_work);
        result
    })
}
