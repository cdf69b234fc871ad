//! Where the bytes come from: a file or standard input.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use thiserror::Error;

/// What is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Standard input.
    Stdin,
    /// A file, relative to the working directory.
    File(PathBuf),
}

impl Input {
    /// `-` is standard input, everything else a path.
    pub fn from_text(text: &str) -> Self {
        match text {
            "-" => Self::Stdin,
            path => Self::File(PathBuf::from(path)),
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => formatter.write_str("standard input"),
            Self::File(path) => write!(formatter, "{}", path.display()),
        }
    }
}

/// Why an input cannot be used at all.
#[derive(Debug, Error)]
pub enum SourceError {
    /// There is no such file.
    #[error("{} is not there (paths are relative to the working directory, here {})", .path.display(), .directory.display())]
    NotFound {
        /// As it was written.
        path: PathBuf,
        /// The working directory.
        directory: PathBuf,
    },
    /// It is there, but cannot be opened.
    #[error("{} cannot be opened: {error}", .path.display())]
    Open {
        /// As it was written.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It became another file, or another content, under our eyes.
    #[error("{} was modified while it was read: let the task that writes it end first", .path.display())]
    Modified {
        /// As it was written.
        path: PathBuf,
    },
}

/// An opened input. Reading it counts the bytes.
pub struct Source {
    reader: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
    file: Option<(PathBuf, Stamp)>,
}

/// What tells a file from a modified one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Source {
    /// Opens the input; reads nothing yet.
    pub fn open(input: &Input) -> Result<Self, SourceError> {
        match input {
            Input::Stdin => Ok(Self { reader: Box::new(io::stdin()), read: Arc::default(), file: None }),
            Input::File(path) => {
                let open_error = |error: io::Error| match error.kind() {
                    io::ErrorKind::NotFound => {
                        let directory = std::env::current_dir().unwrap_or_default();
                        SourceError::NotFound { path: path.clone(), directory }
                    }
                    _ => SourceError::Open { path: path.clone(), error },
                };
                let file = File::open(path).map_err(open_error)?;
                let metadata = file.metadata().map_err(open_error)?;
                if metadata.is_dir() {
                    return Err(open_error(io::ErrorKind::IsADirectory.into()));
                }
                // A pipe or a device (process substitution, /dev/stdin) has no size and no history.
                let stamp = metadata.is_file().then(|| (path.clone(), stamp(&metadata)));
                Ok(Self { reader: Box::new(file), read: Arc::default(), file: stamp })
            }
        }
    }

    /// The size in bytes, where it is known.
    pub fn size(&self) -> Option<u64> {
        self.file.as_ref().map(|(_, stamp)| stamp.bytes)
    }

    /// A counter of the bytes read so far.
    pub fn bytes_read(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read)
    }

    /// The watch that tells, at the end, whether the file is still the one that was opened.
    pub fn watch(&self) -> Watch {
        Watch(self.file.clone())
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Remembers how a file was when it was opened.
#[derive(Clone, Debug)]
pub struct Watch(Option<(PathBuf, Stamp)>);

impl Watch {
    /// An error where the file has another size or time of modification than when it was opened, or is gone.
    pub fn unmodified(&self) -> Result<(), SourceError> {
        let Some((path, before)) = &self.0 else { return Ok(()) };
        match path_stamp(path) {
            Ok(now) if now == *before => Ok(()),
            _ => Err(SourceError::Modified { path: path.clone() }),
        }
    }
}

fn path_stamp(path: &Path) -> io::Result<Stamp> {
    Ok(stamp(&std::fs::metadata(path)?))
}

fn stamp(metadata: &std::fs::Metadata) -> Stamp {
    Stamp { bytes: metadata.len(), modified: metadata.modified().ok() }
}
