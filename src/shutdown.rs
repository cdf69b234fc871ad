//! SIGTERM and SIGINT. The first one stops the run in an orderly way, the second one ends the process now.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use log::warn;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use crate::exit::Exit;
use crate::gate::Gate;
use crate::stop::Stop;

/// From now on a signal stops the gate.
pub fn stop_on_signals(gate: &Arc<Gate>) -> io::Result<()> {
    let stopping = Arc::new(AtomicBool::new(false));
    for (signal, exit) in [(SIGINT, Exit::Interrupted), (SIGTERM, Exit::Terminated)] {
        // In this order: the first signal finds the flag unset and sets it.
        flag::register_conditional_shutdown(signal, i32::from(exit.code()), Arc::clone(&stopping))?;
        flag::register(signal, Arc::clone(&stopping))?;
    }
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let gate = Arc::clone(gate);
    thread::spawn(move || {
        for signal in signals.forever() {
            gate.stop(if signal == SIGINT { Stop::Interrupted } else { Stop::Terminated });
            // Afterwards, as the log may be slow.
            warn!(
                "{}: no request begins any more, and those in flight get 10 s; a second signal ends it now",
                if signal == SIGINT { "SIGINT" } else { "SIGTERM" }
            );
        }
    });
    Ok(())
}

/// Waits for the first of both signals.
pub fn wait_for_signal() -> io::Result<()> {
    Signals::new([SIGINT, SIGTERM])?.forever().next();
    Ok(())
}
