//! Reads that can be broken off.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Whether nothing more is to be read.
pub type IsStopped = Arc<dyn Fn() -> bool + Send + Sync>;

/// How long a read of a pipe is blind to a stop. Less than a stopped run waits for what was just read.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Of what is never stopped.
pub fn never() -> IsStopped {
    Arc::new(|| false)
}

/// What a read that was broken off ends with. Why it was is known to whoever stopped it.
pub fn stopped() -> io::Error {
    io::Error::other("the run was stopped")
}

/// A pipe, which may be silent for any time: a read of it ends when the run is stopped.
pub struct Pipe {
    /// What is read.
    pub file: File,
    /// Whether it is to be read on.
    pub is_stopped: IsStopped,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !(self.is_stopped)() {
            match poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&PATIENCE)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return self.file.read(buffer),
                Err(error) => return Err(error.into()),
            }
        }
        Err(stopped())
    }
}
