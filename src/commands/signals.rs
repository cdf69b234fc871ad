//! SIGTERM and SIGINT. The first one stops the run in an orderly way, and ends the process if that takes too long, whatever blocks
//! it; the second one ends the process now.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use log::warn;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};

use crate::commands::exit::Exit;
use crate::commands::outcome::Stop;
use crate::retry::RateLimiter;

/// How long a stopped run may take: 10 s for requests in flight, and its report. Below the 12 s that are promised.
const AT_MOST: Duration = Duration::from_millis(11_500);

/// Whether a signal was heard.
static HEARD: AtomicBool = AtomicBool::new(false);

/// Whether a signal has begun to end the run.
pub fn is_heard() -> bool {
    HEARD.load(Ordering::Relaxed)
}

/// What a signal stops.
#[derive(Default)]
pub struct Shutdown {
    is_listening: bool,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    limiters: Vec<Arc<RateLimiter<Stop>>>,
    /// The signal.
    heard: Option<i32>,
}

impl Shutdown {
    /// From now on a signal stops this limiter too; at once, where there was one already.
    pub fn stop(&mut self, limiter: &Arc<RateLimiter<Stop>>) -> io::Result<()> {
        if !self.is_listening {
            listen(&self.state)?;
            self.is_listening = true;
        }
        let mut state = lock(&self.state);
        state.limiters.push(Arc::clone(limiter));
        if let Some(signal) = state.heard {
            limiter.stop(reason(signal));
        }
        Ok(())
    }
}

impl Drop for Shutdown {
    /// The run is over: there is nothing left to stop.
    fn drop(&mut self) {
        lock(&self.state).limiters.clear();
    }
}

fn listen(state: &Arc<Mutex<State>>) -> io::Result<()> {
    let stopping = Arc::new(AtomicBool::new(false));
    for (signal, exit) in [(SIGINT, Exit::Interrupted), (SIGTERM, Exit::Terminated)] {
        // In this order: the first signal finds the flag unset and sets it.
        flag::register_conditional_shutdown(signal, i32::from(exit.code()), Arc::clone(&stopping))?;
        flag::register(signal, Arc::clone(&stopping))?;
    }
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let state = Arc::clone(state);
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let Some(signal) = signals.forever().next() else { return };
        // The work is another thread's, as it may be blocked by a lock or by an output that nobody reads.
        if thread::Builder::new().spawn(move || stop_all(&state, signal)).is_ok() {
            thread::sleep(AT_MOST);
        }
        // Without a lock, a destructor or a flush, each of which may be what blocks.
        low_level::exit(i32::from(reason(signal).exit().code()));
    })?;
    Ok(())
}

/// Stops the run, and only then says so: the log may be blocked.
fn stop_all(state: &Mutex<State>, signal: i32) {
    {
        HEARD.store(true, Ordering::Relaxed);
        let mut state = lock(state);
        state.heard = Some(signal);
        if state.limiters.is_empty() {
            return;
        }
        state.limiters.iter().for_each(|limiter| limiter.stop(reason(signal)));
    }
    let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
    warn!("{name}: stopping; requests in flight have 10 s to finish, a second signal ends the run at once");
}

fn reason(signal: i32) -> Stop {
    if signal == SIGINT { Stop::Interrupted } else { Stop::Terminated }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for the first of both signals, unless a run has heard one already.
pub fn wait_for_signal() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    if !is_heard() {
        signals.forever().next();
    }
    Ok(())
}
