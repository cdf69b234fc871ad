//! SIGTERM and SIGINT. The first signal stops the run in order; if that takes too long for any reason, the process ends
//! anyway. The second signal ends the process at once.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use log::warn;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};

use crate::commands::exit::Exit;
use crate::commands::outcome::Stop;
use crate::retry::RateLimiter;

/// The longest time for a stopped run: 10 s for requests in flight, and then the report. The documentation promises
/// 12 s.
const AT_MOST: Duration = Duration::from_millis(11_500);

static STATE: Mutex<State> = Mutex::new(State { limiters: Vec::new(), heard: None });

struct State {
    /// Weak, because a signal after a run stops nothing.
    limiters: Vec<Weak<RateLimiter<Stop>>>,
    heard: Option<i32>,
}

/// Whether a signal has begun to end the run.
pub fn is_heard() -> bool {
    state().heard.is_some()
}

/// Lets a signal stop this limiter; at once, if there was one already.
pub fn stop_on_signal(limiter: &Arc<RateLimiter<Stop>>) -> io::Result<()> {
    let mut state = state();
    if state.limiters.is_empty() {
        listen()?;
    }
    state.limiters.push(Arc::downgrade(limiter));
    if let Some(signal) = state.heard {
        limiter.stop(reason(signal));
    }
    Ok(())
}

fn listen() -> io::Result<()> {
    let stopping = Arc::new(AtomicBool::new(false));
    for (signal, exit) in [(SIGINT, Exit::Interrupted), (SIGTERM, Exit::Terminated)] {
        // In this order: the first signal finds the flag unset, then sets it.
        flag::register_conditional_shutdown(signal, i32::from(exit.code()), Arc::clone(&stopping))?;
        flag::register(signal, Arc::clone(&stopping))?;
    }
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let Some(signal) = signals.forever().next() else { return };
        // On another thread, because a lock or a blocked output may block it.
        if thread::Builder::new().spawn(move || stop_all(signal)).is_ok() {
            thread::sleep(AT_MOST);
        }
        // No lock, destructor or flush here: each of them may block.
        low_level::exit(i32::from(reason(signal).exit().code()));
    })?;
    Ok(())
}

/// Stops the run first, because the log may block.
fn stop_all(signal: i32) {
    let running: Vec<_> = {
        let mut state = state();
        state.heard = Some(signal);
        state.limiters.iter().filter_map(Weak::upgrade).collect()
    };
    if running.is_empty() {
        return;
    }
    for limiter in running {
        limiter.stop(reason(signal));
    }
    let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
    warn!("{name}: stopping; requests in flight have 10 s to finish, a second signal ends the run at once");
}

fn reason(signal: i32) -> Stop {
    if signal == SIGINT { Stop::Interrupted } else { Stop::Terminated }
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for SIGINT or SIGTERM, unless there was one already.
pub fn wait_for_signal() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    if !is_heard() {
        signals.forever().next();
    }
    Ok(())
}
