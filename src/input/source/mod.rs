//! Where the bytes come from: files, one after the other, standard input, or what was fetched; compressed or not.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

pub mod compressed;
pub mod fetched;
pub mod files;
pub mod interrupt;
pub mod spool;

use crate::input::formats::format::FormatHint;
use fetched::Fetched;
use files::{Stamp, Watch};
use interrupt::{IsStopped, Pipe};
use spool::{SpoolReader, TeeReader};

/// What is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Standard input.
    Stdin,
    /// Paths and patterns, relative to the working directory, read as one input.
    Files(Vec<PathBuf>),
    /// What was fetched and has no name any more. It can be opened as often as one likes.
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

    /// The files that are meant, with every pattern replaced by what it matches. None where there are no names.
    pub fn files(&self) -> Result<Vec<PathBuf>, SourceError> {
        match self {
            Self::Stdin | Self::Fetched(_) => Ok(Vec::new()),
            Self::Files(paths) => files::resolve(paths),
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 3;
        match self {
            Self::Stdin => formatter.write_str("standard input"),
            Self::Fetched(fetched) => formatter.write_str(fetched.name()),
            Self::Files(paths) => {
                let shown: Vec<_> = paths.iter().take(SHOWN).map(|path| path.display().to_string()).collect();
                formatter.write_str(&shown.join(", "))?;
                match paths.len().saturating_sub(SHOWN) {
                    0 => Ok(()),
                    more => write!(formatter, " and {more} more"),
                }
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
        /// As it was written.
        path: PathBuf,
        /// The working directory.
        directory: PathBuf,
    },
    /// No file has a name of this pattern.
    #[error(
        "{pattern} matches no file (patterns are relative to the working directory, here {})", .directory.display()
    )]
    NoMatch {
        /// As it was written.
        pattern: String,
        /// The working directory.
        directory: PathBuf,
    },
    /// A pattern that is none.
    #[error(
        "{pattern} is neither a file nor a valid pattern ({problem}): use one such as part-*.csv, or the path of a file"
    )]
    Pattern {
        /// As it was written.
        pattern: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A file would be read twice.
    #[error("{} is named twice, by two entries or patterns of input: remove one of them", .path.display())]
    Twice {
        /// As it was found.
        path: PathBuf,
    },
    /// It is there, but cannot be opened.
    #[error("{} cannot be opened: {error}", .path.display())]
    Open {
        /// As it was written.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// What can be read only once cannot be kept for the later passes.
    #[error(
        "cannot be kept for its second pass, because no temporary file can be created ({0}): set TMPDIR to a folder with free space"
    )]
    Spool(io::Error),
    /// It became another file, or another content, under our eyes.
    #[error("{} was modified while it was read: wait for the task that writes it, then run it again", .path.display())]
    Modified {
        /// As it was written.
        path: PathBuf,
    },
}

/// One input as the reader takes it: bytes from somewhere, and what is known of their rows beforehand.
pub struct Source {
    /// For messages. Its end may tell the format.
    pub name: String,
    /// Format and columns, as far as they are known.
    pub format_hint: FormatHint,
    bytes: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
    watch: Watch,
    is_stopped: IsStopped,
}

impl Source {
    /// From bytes that come from anywhere.
    pub fn new(name: String, format_hint: FormatHint, bytes: Box<dyn Read + Send>) -> Self {
        Self { name, format_hint, bytes, read: Arc::default(), watch: Watch::nothing(), is_stopped: interrupt::never() }
    }

    /// The same, which keeps what it reads.
    fn keeping(self, spool: Arc<File>) -> Self {
        Self { bytes: Box::new(TeeReader { bytes: self.bytes, spool }), ..self }
    }

    /// The watch that tells, at the end, whether the file is still the one that was looked at first.
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if (self.is_stopped)() {
                return Err(interrupt::stopped());
            }
            match self.bytes.read(buffer) {
                // Not every decoder goes on behind it.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(count) => {
                    self.read.fetch_add(count as u64, Ordering::Relaxed);
                    return Ok(count);
                }
            }
        }
    }
}

/// The sources of a run, to be read one after the other. Files are opened when it is their turn.
pub struct Sources {
    name: String,
    format_hint: FormatHint,
    size: Option<u64>,
    read: Arc<AtomicU64>,
    waiting: VecDeque<Waiting>,
    is_stopped: IsStopped,
}

enum Waiting {
    Source(Source),
    File(PathBuf, Option<Stamp>),
    /// A pipe among the files, whose bytes are kept for the later passes.
    Pipe(PathBuf, Arc<File>),
    Fetched(Fetched),
}

impl Sources {
    /// Finds the files and looks at how they are now; opens nothing yet.
    pub fn find(input: &Input, format_hint: &FormatHint, is_stopped: &IsStopped) -> Result<Self, SourceError> {
        let is_stopped = Arc::clone(is_stopped);
        match input {
            Input::Stdin => {
                // Not through its buffer, so that whether there is more to read can be asked.
                let file = io::stdin().as_fd().try_clone_to_owned().map(File::from);
                let file = file.map_err(|error| SourceError::Open { path: PathBuf::from("-"), error })?;
                let pipe = Pipe { file, is_stopped: Arc::clone(&is_stopped) };
                let source = Source::new(input.to_string(), format_hint.clone(), Box::new(pipe));
                return Ok(Self { is_stopped, ..Self::one(source) });
            }
            Input::Fetched(fetched) => {
                let (name, size) = (fetched.name().to_owned(), Some(fetched.size()));
                let waiting = VecDeque::from([Waiting::Fetched(fetched.clone())]);
                return Ok(Self {
                    name,
                    format_hint: format_hint.clone(),
                    size,
                    read: Arc::default(),
                    waiting,
                    is_stopped,
                });
            }
            Input::Files(_) => {}
        }
        let files = input.files()?.into_iter().map(|path| {
            let stamp = files::stamp(&path)?;
            Ok((path, stamp))
        });
        let files = files.collect::<Result<Vec<_>, SourceError>>()?;
        let size = files.iter().map(|(_, stamp)| stamp.map(|stamp| stamp.bytes())).sum();
        let name = match files.as_slice() {
            [(path, _)] => path.display().to_string(),
            _ => format!("{input} ({} files)", files.len()),
        };
        let waiting = files.into_iter().map(|(path, stamp)| Waiting::File(path, stamp)).collect();
        Ok(Self { name, format_hint: format_hint.clone(), size, read: Arc::default(), waiting, is_stopped })
    }

    /// This one alone.
    pub fn one(source: Source) -> Self {
        let (name, format_hint, read) = (source.name.clone(), source.format_hint.clone(), Arc::clone(&source.read));
        let is_stopped = Arc::clone(&source.is_stopped);
        Self { name, format_hint, size: None, read, waiting: VecDeque::from([Waiting::Source(source)]), is_stopped }
    }

    /// What is read, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many are still to be read.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether all of them were.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The size of all files in bytes, where it is known.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// A counter of the bytes read so far, as they are in the files.
    pub fn bytes_read(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read)
    }

    /// Opens the next one.
    pub fn open_next(&mut self) -> Option<Result<Source, SourceError>> {
        let source = match self.waiting.pop_front()? {
            Waiting::Source(source) => Ok(source),
            Waiting::File(path, stamp) => self.open_file(path, stamp),
            Waiting::Fetched(fetched) => {
                let bytes = Box::new(fetched.open());
                Ok(Source::new(fetched.name().to_owned(), self.format_hint.clone(), bytes))
            }
            Waiting::Pipe(path, spool) => self.open_file(path, None).map(|source| source.keeping(spool)),
        };
        let (read, is_stopped) = (Arc::clone(&self.read), Arc::clone(&self.is_stopped));
        Some(source.map(|source| Source { read, is_stopped, ..source }))
    }

    /// A file that was as the stamp says; without one it is a pipe.
    fn open_file(&self, path: PathBuf, stamp: Option<Stamp>) -> Result<Source, SourceError> {
        let (name, hint) = (path.display().to_string(), self.format_hint.clone());
        let (file, watch) = files::open(path, stamp)?;
        let bytes: Box<dyn Read + Send> = match stamp {
            Some(_) => Box::new(file),
            None => Box::new(Pipe { file, is_stopped: Arc::clone(&self.is_stopped) }),
        };
        Ok(Source { watch, ..Source::new(name, hint, bytes) })
    }

    /// The same sources for so many passes. Files and what was fetched are opened for each; what can be read only once is kept by
    /// the first pass, in a file without a name.
    pub fn repeated<const N: usize>(self) -> Result<[Self; N], SourceError> {
        let mut passes = [const { VecDeque::new() }; N];
        let kept = |name: String, format_hint: FormatHint, spool: &Arc<File>| {
            Waiting::Source(Source::new(name, format_hint, Box::new(SpoolReader::new(Arc::clone(spool)))))
        };
        for waiting in self.waiting {
            match waiting {
                Waiting::File(path, stamp @ Some(_)) => {
                    for pass in &mut passes {
                        pass.push_back(Waiting::File(path.clone(), stamp));
                    }
                }
                Waiting::Fetched(fetched) => {
                    for pass in &mut passes {
                        pass.push_back(Waiting::Fetched(fetched.clone()));
                    }
                }
                Waiting::File(path, None) | Waiting::Pipe(path, _) => {
                    let spool = spool::new().map_err(SourceError::Spool)?;
                    for pass in &mut passes[1..] {
                        pass.push_back(kept(path.display().to_string(), self.format_hint.clone(), &spool));
                    }
                    passes[0].push_back(Waiting::Pipe(path, spool));
                }
                Waiting::Source(source) => {
                    let spool = spool::new().map_err(SourceError::Spool)?;
                    for pass in &mut passes[1..] {
                        pass.push_back(kept(source.name.clone(), source.format_hint.clone(), &spool));
                    }
                    passes[0].push_back(Waiting::Source(source.keeping(spool)));
                }
            }
        }
        let size = self.size.map(|size| size * N as u64);
        Ok(passes.map(|waiting| Self {
            name: self.name.clone(),
            format_hint: self.format_hint.clone(),
            size,
            read: Arc::clone(&self.read),
            waiting,
            is_stopped: Arc::clone(&self.is_stopped),
        }))
    }

    /// Opens those that are still to be read, for a look at how they begin. What cannot be opened twice is left out.
    pub fn ahead(&self) -> impl Iterator<Item = Result<Source, SourceError>> {
        self.waiting.iter().filter_map(|waiting| match waiting {
            Waiting::File(path, stamp @ Some(_)) => {
                let source = self.open_file(path.clone(), *stamp);
                Some(source.map(|source| Source { is_stopped: Arc::clone(&self.is_stopped), ..source }))
            }
            Waiting::File(_, None) | Waiting::Pipe(..) | Waiting::Fetched(_) | Waiting::Source(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

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
        assert_eq!((sources.size(), sources.len()), (Some(packed.len() as u64 + 5), 2));

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
        assert!(sources.is_empty());
    }

    #[test]
    fn what_was_fetched_can_be_opened_again_while_it_is_read() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"some rows").unwrap();
        let input = Input::Fetched(Fetched::new("job 7", file, 9));
        let [mut one, mut other, _] =
            Sources::find(&input, &FormatHint::default(), &interrupt::never()).unwrap().repeated::<3>().unwrap();
        assert_eq!((one.name(), one.size(), one.len()), ("job 7", Some(27), 1));
        let (mut first, mut again) = (one.open_next().unwrap().unwrap(), other.open_next().unwrap().unwrap());
        first.read_exact(&mut [0; 5]).unwrap();
        assert_eq!(io::read_to_string(&mut again).unwrap(), "some rows");
        assert_eq!(io::read_to_string(&mut first).unwrap(), "rows");
        assert_eq!(one.bytes_read().load(Ordering::Relaxed), 18);
    }

    #[test]
    fn a_long_list_of_files_is_named_by_its_first_ones() {
        let files = Input::Files(["a", "b", "c", "d", "e"].map(PathBuf::from).to_vec());
        assert_eq!(files.to_string(), "a, b, c and 2 more");
        assert_eq!(Input::from_text("-"), Input::Stdin);
    }
}
