//! Work that asks a server: a stop and the end of its time are heeded while it waits for an answer.

use std::panic::{self, AssertUnwindSafe};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};

use crate::commands::outcome::Stop;
use crate::http::{Http, Post};
use crate::retry::{RateLimiter, Stopped};

/// How often the time and a stop are checked.
const TICK: Duration = Duration::from_millis(100);

/// Does the work. An error is why the limiter was stopped, even if the work came to its end.
pub fn watched<T>(
    http: &Http,
    limiter: &RateLimiter<Stop>,
    work: impl FnOnce() -> Result<T, Stopped>,
) -> Result<T, Stop> {
    let result = panic::catch_unwind(AssertUnwindSafe(|| cutting(http, limiter, work)));
    match (limiter.take_stop(), result) {
        (Some(stop), _) => Err(stop),
        (None, Ok(Ok(done))) => Ok(done),
        (None, _) => Err(Stop::Defect("what asked a server panicked".to_owned())),
    }
}

/// Does the work on this thread. Meanwhile another one cuts what is in flight when the limiter is stopped.
pub fn cutting<T>(http: &Http, limiter: &RateLimiter<Stop>, work: impl FnOnce() -> T) -> T {
    thread::scope(|scope| {
        let (at_work, done) = bounded::<()>(0);
        scope.spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = done.recv_timeout(TICK) {
                limiter.check_limit();
                if limiter.is_stopped() {
                    http.cut();
                }
            }
        });
        let result = work();
        drop(at_work);
        result
    })
}
