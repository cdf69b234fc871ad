//! SIGTERM and SIGINT. The first one stops the run in an orderly way, the second one ends the process now.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use log::warn;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use crate::exit::Exit;
use crate::gate::Gate;
use crate::stop::Stop;

/// What a signal stops.
#[derive(Default)]
pub struct Shutdown {
    is_listening: bool,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    gates: Vec<Arc<Gate>>,
    /// The first signal.
    heard: Option<i32>,
}

impl Shutdown {
    /// From now on a signal stops this gate too; at once, where there was one already.
    pub fn stop(&mut self, gate: &Arc<Gate>) -> io::Result<()> {
        if !self.is_listening {
            listen(&self.state)?;
            self.is_listening = true;
        }
        let mut state = lock(&self.state);
        state.gates.push(Arc::clone(gate));
        if let Some(signal) = state.heard {
            gate.stop(reason(signal));
        }
        Ok(())
    }

    /// Does what the first SIGTERM does, when it is called.
    pub fn terminator(&self) -> impl FnOnce() + Send + use<> {
        let state = Arc::clone(&self.state);
        move || hear(&state, SIGTERM)
    }

    /// Why the run has to end, where there was a signal.
    pub fn reason(&self) -> Option<Stop> {
        lock(&self.state).heard.map(reason)
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
    thread::spawn(move || {
        for signal in signals.forever() {
            hear(&state, signal);
            // Afterwards, as the log may be slow.
            warn!(
                "{}: no request begins any more, and those in flight get 10 s; a second signal ends it now",
                if signal == SIGINT { "SIGINT" } else { "SIGTERM" }
            );
        }
    });
    Ok(())
}

fn hear(state: &Mutex<State>, signal: i32) {
    let mut state = lock(state);
    state.heard.get_or_insert(signal);
    state.gates.iter().for_each(|gate| gate.stop(reason(signal)));
}

fn reason(signal: i32) -> Stop {
    if signal == SIGINT { Stop::Interrupted } else { Stop::Terminated }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for the first of both signals.
pub fn wait_for_signal() -> io::Result<()> {
    Signals::new([SIGINT, SIGTERM])?.forever().next();
    Ok(())
}
