//! Reads that can be interrupted.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Whether reading must stop.
pub type IsStopped = Arc<dyn Fn() -> bool + Send + Sync>;

/// Shorter than a stopped run waits for what was read last.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// For a run that is never stopped.
pub fn never() -> IsStopped {
    Arc::new(|| false)
}

/// A file or a pipe. A pipe may be silent for any time: after 100 ms a read ends with [`io::ErrorKind::Interrupted`].
pub struct Polled(pub File);

impl Read for Polled {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&PATIENCE))? {
            0 => Err(io::ErrorKind::Interrupted.into()),
            _ => self.0.read(buffer),
        }
    }
}
