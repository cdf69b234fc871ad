//! The exit codes, for decisions in a workflow or by the person on call.

/// How the process ends. A number never gets a new meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything was delivered.
    Success = 0,
    /// A defect of this program.
    Defect = 1,
    /// Configuration or usage; nothing was sent.
    Usage = 2,
    /// The input cannot be used.
    Input = 3,
    /// Braze, or Treasure Data, refused the credentials.
    Credentials = 4,
    /// Braze or Treasure Data, or something in front of them, refused the call; the report counts what was delivered.
    Refused = 5,
    /// A safety limit stopped the run before anything was sent.
    SafetyLimit = 6,
    /// A file that must be written cannot be written.
    CannotWrite = 73,
    /// Not everything was delivered; try again later.
    TryAgain = 75,
    /// Stopped by SIGINT.
    Interrupted = 130,
    /// Stopped by SIGTERM.
    Terminated = 143,
}

impl Exit {
    /// The number that the process exits with.
    pub fn code(self) -> u8 {
        self as u8
    }
}
