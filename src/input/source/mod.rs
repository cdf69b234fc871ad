//! The sources of bytes: files, one after the other, standard input, or a fetched result; compressed or not.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

pub mod compressed;
pub mod fetched;
pub mod files;
pub mod interrupt;

use crate::input::first_of;
use crate::input::formats::format::FormatHint;
use fetched::{Fetched, KeptReader};
use files::{Stamp, Watch};
use interrupt::{IsStopped, Polled};

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Standard input.
    Stdin,
    /// Paths and patterns, relative to the working directory, read as one input.
    Files(Vec<PathBuf>),
    /// A fetched result, in a file without a name.
    Fetched(Fetched),
}

impl Input {
    /// `-` is standard input, everything else a path or a pattern.
    pub fn from_text(text: &str) -> Self {
        match text {
            "-" => Self::Stdin,
            path => Self::Files(vec![PathBuf::from(path)]),
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => formatter.write_str("standard input"),
            Self::Fetched(fetched) => formatter.write_str(&fetched.name),
            Self::Files(paths) => {
                formatter.write_str(&first_of(paths.iter().map(|path| path.display().to_string()), 3))
            }
        }
    }
}

/// Why an input cannot be used at all.
#[derive(Debug, Error)]
pub enum SourceError {
    /// There is no such file.
    #[error("{} does not exist (paths are relative to the working directory, here {})", .path.display(), .directory.display())]
    NotFound {
        /// As written.
        path: PathBuf,
        /// The working directory.
        directory: PathBuf,
    },
    /// No file matches this pattern.
    #[error(
        "{pattern} matches no file (patterns are relative to the working directory, here {})", .directory.display()
    )]
    NoMatch {
        /// As written.
        pattern: String,
        /// The working directory.
        directory: PathBuf,
    },
    /// The pattern is invalid.
    #[error(
        "{pattern} is neither a file nor a valid pattern ({problem}): use one such as part-*.csv, or the path of a file"
    )]
    Pattern {
        /// As written.
        pattern: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A file would be read twice.
    #[error("{} is named twice, by two entries or patterns of input: remove one of them", .path.display())]
    Twice {
        /// Its path.
        path: PathBuf,
    },
    /// It exists, but cannot be opened.
    #[error("{} cannot be opened: {error}. Check the path, and that this user may read it", .path.display())]
    Open {
        /// As written.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// A pipe must be kept for the later passes, but cannot be.
    #[error(
        "is read twice, but cannot be kept in a temporary file for that ({0}): set TMPDIR to a folder with free space"
    )]
    Spool(io::Error),
    /// It was replaced or written to while it was read.
    #[error("{} changed while it was read: wait until the task that writes it has ended, then run the upload again", .path.display())]
    Modified {
        /// As written.
        path: PathBuf,
    },
}

/// One opened source.
pub struct Source {
    /// For messages. Its ending may show the format.
    pub name: String,
    /// Format and columns, as far as they are known.
    pub format_hint: FormatHint,
    bytes: Box<dyn Read + Send>,
    /// Keeps what is read, for a later pass.
    keep: Option<Arc<File>>,
    read: Arc<AtomicU64>,
    /// Shows whether the file was modified since it was found.
    pub watch: Watch,
    is_stopped: IsStopped,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if (self.is_stopped)() {
                return Err(io::Error::other("the run was stopped"));
            }
            match self.bytes.read(buffer) {
                // Some decoders cannot continue after it.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(count) => {
                    if let Some(file) = &self.keep {
                        let kept = file.as_ref().write_all(&buffer[..count]);
                        kept.map_err(|error| io::Error::other(SourceError::Spool(error)))?;
                    }
                    self.read.fetch_add(count as u64, Ordering::Relaxed);
                    return Ok(count);
                }
            }
        }
    }
}

/// The sources of one pass, read one after the other. A file is opened when it is its turn.
pub struct Sources {
    name: String,
    format_hint: FormatHint,
    size: Option<u64>,
    /// How many passes remain, including this one.
    passes: u64,
    read: Arc<AtomicU64>,
    waiting: VecDeque<Waiting>,
    is_stopped: IsStopped,
}

struct Waiting {
    name: String,
    origin: Origin,
    keep: Option<Arc<File>>,
}

enum Origin {
    /// Can be read only once.
    Bytes(Box<dyn Read + Send>),
    /// Without a stamp it is a pipe, which can be read only once.
    File(PathBuf, Option<Stamp>),
    Kept(Arc<File>),
}

impl Waiting {
    fn new(name: String, origin: Origin) -> Self {
        Self { name, origin, keep: None }
    }

    fn again(&mut self) -> io::Result<Self> {
        let origin = match (&self.origin, &self.keep) {
            (Origin::File(path, stamp @ Some(_)), _) => Origin::File(path.clone(), *stamp),
            (Origin::Kept(file), _) | (_, Some(file)) => Origin::Kept(Arc::clone(file)),
            (Origin::File(_, None) | Origin::Bytes(_), None) => {
                let file = Arc::new(tempfile::tempfile()?);
                self.keep = Some(Arc::clone(&file));
                Origin::Kept(file)
            }
        };
        Ok(Self::new(self.name.clone(), origin))
    }
}

impl Sources {
    /// Finds the files and takes their stamps. Opens nothing yet.
    pub fn find(input: &Input, format_hint: &FormatHint, is_stopped: &IsStopped) -> Result<Self, SourceError> {
        let mut name = input.to_string();
        let only = |origin| VecDeque::from([Waiting::new(name.clone(), origin)]);
        let (waiting, size) = match input {
            Input::Stdin => {
                // Not through its buffer, so that poll sees all remaining bytes.
                let file = io::stdin().as_fd().try_clone_to_owned().map(File::from);
                let file = file.map_err(|error| SourceError::Open { path: PathBuf::from("-"), error })?;
                (only(Origin::Bytes(Box::new(Polled(file)))), None)
            }
            Input::Fetched(fetched) => (only(Origin::Kept(Arc::clone(&fetched.file))), Some(fetched.size)),
            Input::Files(paths) => {
                let files = files::resolve(paths)?.into_iter().map(|path| Ok((files::stamp(&path)?, path)));
                let files = files.collect::<Result<Vec<_>, SourceError>>()?;
                name = match files.as_slice() {
                    [(_, path)] => path.display().to_string(),
                    _ => format!("{input} ({} files)", files.len()),
                };
                let size = files.iter().map(|(stamp, _)| stamp.map(|stamp| stamp.bytes)).sum();
                let waiting =
                    |(stamp, path): (_, PathBuf)| Waiting::new(path.display().to_string(), Origin::File(path, stamp));
                (files.into_iter().map(waiting).collect(), size)
            }
        };
        let (format_hint, is_stopped) = (format_hint.clone(), Arc::clone(is_stopped));
        Ok(Self { name, format_hint, size, passes: 1, read: Arc::default(), waiting, is_stopped })
    }

    /// Bytes from anywhere, as the only source.
    pub fn of_bytes(name: &str, format_hint: FormatHint, bytes: Box<dyn Read + Send>) -> Self {
        let waiting = VecDeque::from([Waiting::new(name.to_owned(), Origin::Bytes(bytes))]);
        let (name, is_stopped) = (name.to_owned(), interrupt::never());
        Self { name, format_hint, size: None, passes: 1, read: Arc::default(), waiting, is_stopped }
    }

    /// What is read, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether more than one is still to be read.
    pub fn are_several(&self) -> bool {
        self.waiting.len() > 1
    }

    /// The size of all files in bytes, multiplied by the number of passes; if it is known.
    pub fn size(&self) -> Option<u64> {
        self.size.map(|size| size * self.passes)
    }

    /// A counter of the bytes read from the files so far, in all passes.
    pub fn bytes_read(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read)
    }

    /// Opens the next source.
    pub fn open_next(&mut self) -> Option<Result<Source, SourceError>> {
        let waiting = self.waiting.pop_front()?;
        Some(self.open(waiting, Arc::clone(&self.read)))
    }

    /// Opens the remaining sources, to look at how they begin. Those that can be opened only once are left out.
    pub fn ahead(&self) -> impl Iterator<Item = Result<Source, SourceError>> {
        self.waiting.iter().filter_map(|Waiting { name, origin, .. }| {
            let Origin::File(path, stamp @ Some(_)) = origin else { return None };
            let waiting = Waiting::new(name.clone(), Origin::File(path.clone(), *stamp));
            Some(self.open(waiting, Arc::default()))
        })
    }

    fn open(&self, Waiting { name, origin, keep }: Waiting, read: Arc<AtomicU64>) -> Result<Source, SourceError> {
        let (bytes, watch): (Box<dyn Read + Send>, _) = match origin {
            Origin::Bytes(bytes) => (bytes, Watch::default()),
            Origin::Kept(file) => (Box::new(KeptReader { file, offset: 0 }), Watch::default()),
            Origin::File(path, stamp) => {
                let (file, watch) = files::open(path, stamp)?;
                (Box::new(Polled(file)), watch)
            }
        };
        let (format_hint, is_stopped) = (self.format_hint.clone(), Arc::clone(&self.is_stopped));
        Ok(Source { name, format_hint, bytes, keep, read, watch, is_stopped })
    }

    /// The same sources for a later pass. This pass keeps what can be read only once, in a file without a name.
    pub fn again(&mut self) -> Result<Self, SourceError> {
        let waiting = self.waiting.iter_mut().map(Waiting::again).collect::<io::Result<_>>();
        self.passes += 1;
        Ok(Self {
            name: self.name.clone(),
            format_hint: self.format_hint.clone(),
            size: self.size,
            passes: 1,
            read: Arc::clone(&self.read),
            waiting: waiting.map_err(SourceError::Spool)?,
            is_stopped: Arc::clone(&self.is_stopped),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_and_progress_are_of_all_files_together_as_they_are_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&[b'x'; 10_000]).unwrap();
        let packed = encoder.finish().unwrap();
        let paths = ["a", "b"].map(|name| folder.path().join(name));
        std::fs::write(&paths[0], &packed).unwrap();
        std::fs::write(&paths[1], "plain").unwrap();
        let mut sources =
            Sources::find(&Input::Files(paths.to_vec()), &FormatHint::default(), &interrupt::never()).unwrap();
        assert_eq!((sources.size(), sources.are_several()), (Some(packed.len() as u64 + 5), true));

        for source in sources.ahead() {
            io::copy(&mut source.unwrap(), &mut io::sink()).unwrap();
        }
        assert_eq!(sources.bytes_read().load(Ordering::Relaxed), 0, "a look ahead is no progress");
        let mut unpacked = 0;
        while let Some(source) = sources.open_next() {
            let mut content = compressed::Unpacked::new(source.unwrap()).unwrap();
            unpacked += io::copy(&mut content, &mut io::sink()).unwrap();
        }
        assert_eq!(unpacked, 10_005);
        assert_eq!(Some(sources.bytes_read().load(Ordering::Relaxed)), sources.size());
    }

    #[test]
    fn what_was_fetched_can_be_opened_again_while_it_is_read() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"some rows").unwrap();
        let input = Input::Fetched(Fetched::new("job 7", file, 9));
        let mut one = Sources::find(&input, &FormatHint::default(), &interrupt::never()).unwrap();
        let (mut other, _) = (one.again().unwrap(), one.again().unwrap());
        assert_eq!((one.name(), one.size(), one.are_several()), ("job 7", Some(27), false));
        let (mut first, mut again) = (one.open_next().unwrap().unwrap(), other.open_next().unwrap().unwrap());
        first.read_exact(&mut [0; 5]).unwrap();
        assert_eq!(io::read_to_string(&mut again).unwrap(), "some rows");
        assert_eq!(io::read_to_string(&mut first).unwrap(), "rows");
        assert_eq!(one.bytes_read().load(Ordering::Relaxed), 18);
    }

    #[test]
    fn what_can_be_read_only_once_is_kept_for_the_later_passes() {
        let mut first = Sources::of_bytes("it", FormatHint::default(), Box::new(b"user_ids\nu1\n".as_slice()));
        let later = [first.again().unwrap(), first.again().unwrap()];
        for mut pass in [first].into_iter().chain(later) {
            assert_eq!(io::read_to_string(pass.open_next().unwrap().unwrap()).unwrap(), "user_ids\nu1\n");
        }
    }

    #[test]
    fn a_long_list_of_files_is_named_by_its_first_ones() {
        let files = Input::Files(["a", "b", "c", "d", "e"].map(PathBuf::from).to_vec());
        assert_eq!(files.to_string(), "a, b, c and 2 more");
        assert_eq!(Input::from_text("-"), Input::Stdin);
    }
}
