//! The one switch that ends every wait of the sandbox.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Off until it is stopped, then stopped for good.
#[derive(Default)]
pub struct StopSignal {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl StopSignal {
    /// Wakes everyone who waits or pauses, now and later.
    pub fn stop(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Whether it was stopped.
    pub fn is_stopped(&self) -> bool {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks until it is stopped.
    pub fn wait(&self) {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let _stopped = self.changed.wait_while(stopped, |stopped| !*stopped).unwrap_or_else(PoisonError::into_inner);
    }

    /// Sleeps, but not past the stop.
    pub fn pause(&self, duration: Duration) {
        if duration.is_zero() {
            return;
        }
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let _stopped = self
            .changed
            .wait_timeout_while(stopped, duration, |stopped| !*stopped)
            .unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_pause_ends_with_the_stop() {
        let signal = StopSignal::default();
        let started = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| signal.pause(Duration::from_mins(1)));
            scope.spawn(|| signal.wait());
            signal.stop();
        });
        assert!(signal.is_stopped());
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}
