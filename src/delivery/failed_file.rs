//! Writes the undelivered identifiers to a file that `upload` takes as it is: a line for each, in its column. The
//! reason is in a column that no upload reads.
//!
//! It is written under another name in the same folder, readable by its owner only, and renamed at the end, so it is
//! always complete. Only a file of ours is overwritten.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use csv::{Terminator, Writer, WriterBuilder};
use tempfile::NamedTempFile;
use thiserror::Error;

use crate::delivery::safe_path::{folder_of, must_be_regular, resolve};
use crate::input::columns::Names;
use crate::input::formats::format::Format;
use crate::members::batch::Batch;
use crate::members::identifier::{COLUMNS, Kind};

const REASON: &str = "reason";
/// For an alias with the name of that column.
const OTHER_REASON: &str = "failure_reason";
/// The prefix of the temporary name.
const HALF_WRITTEN: &str = ".failed_file.";

/// The file cannot be written.
#[derive(Debug, Error)]
#[error("the {name} {} cannot be written: {error} (set {name} to a writable path, or leave it out)", .path.display())]
pub struct FailuresError {
    /// The setting or flag that names it.
    pub name: &'static str,
    /// As set.
    pub path: PathBuf,
    /// The system's error.
    pub error: io::Error,
}

/// The setting that names it.
pub const FAILED_FILE: &str = "failed_file";

/// Takes the identifiers that were not delivered. Without a path it ignores them.
pub struct Failures(Option<Destination>);

struct Destination {
    name: &'static str,
    path: PathBuf,
    /// The file itself, after links.
    target: PathBuf,
    /// The number of aliases.
    aliases: usize,
    /// The operation is the last column but one.
    has_operation: bool,
    state: Mutex<FileState>,
}

enum FileState {
    Open(Box<OpenFile>),
    /// It could not be written completely, and was deleted.
    Broken(io::ErrorKind, String),
    /// It was renamed.
    Finished,
}

struct OpenFile {
    writer: Writer<NamedTempFile>,
    written: u64,
}

impl Failures {
    /// Ignores everything.
    pub fn none() -> Self {
        Self(None)
    }

    /// Begins the file, so that an unwritable path shows before the first request.
    pub fn begin(path: Option<&Path>, names: &Names) -> Result<Self, FailuresError> {
        Self::begin_as(FAILED_FILE, path, names)
    }

    /// The same for the path of another setting or flag.
    pub fn begin_as(name: &'static str, path: Option<&Path>, names: &Names) -> Result<Self, FailuresError> {
        let Some(path) = path else { return Ok(Self(None)) };
        let mut header: Vec<_> = names.outputs().into_iter().chain(names.operation.clone()).collect();
        let is_taken = header.iter().any(|name| name == REASON);
        header.push(if is_taken { OTHER_REASON } else { REASON }.to_owned());
        let begun = resolve(path).and_then(|target| Ok((begin_at(&target, &header)?, target)));
        let (open, target) = begun.map_err(|error| FailuresError { name, path: path.to_owned(), error })?;
        Ok(Self(Some(Destination {
            name,
            path: path.to_owned(),
            target,
            aliases: names.aliases.len(),
            has_operation: names.operation.is_some(),
            state: Mutex::new(FileState::Open(Box::new(open))),
        })))
    }

    /// Whether it has taken nothing, without an error.
    pub fn is_empty(&self) -> bool {
        let is_empty = |state: &FileState| matches!(state, FileState::Open(open) if open.written == 0);
        self.0.as_ref().is_none_or(|destination| is_empty(&destination.lock()))
    }

    /// Takes the identifiers of a batch. After the first error it takes nothing.
    pub fn take(&self, batch: &Batch, reason: &str) -> Result<(), FailuresError> {
        let Some(destination) = &self.0 else { return Ok(()) };
        let mut state = destination.lock();
        let FileState::Open(open) = &mut *state else { return Ok(()) };
        destination.write(open, batch, reason).map_err(|error| {
            let error = io::Error::from(error);
            *state = FileState::Broken(error.kind(), error.to_string());
            destination.error(error)
        })
    }

    /// Renames the file to its path, and returns its number of identifiers. If it has none, an earlier file of ours is
    /// removed.
    pub fn finish(&self) -> Result<Option<(PathBuf, u64)>, FailuresError> {
        let Some(destination) = &self.0 else { return Ok(None) };
        let state = std::mem::replace(&mut *destination.lock(), FileState::Finished);
        let open = match state {
            FileState::Open(open) => open,
            FileState::Broken(kind, said) => return Err(destination.error(io::Error::new(kind, said))),
            FileState::Finished => return Ok(None),
        };
        let written = open.written;
        destination.put(*open).map_err(|error| destination.error(error))?;
        Ok((written > 0).then(|| (destination.path.clone(), written)))
    }
}

impl Destination {
    fn lock(&self) -> MutexGuard<'_, FileState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, error: io::Error) -> FailuresError {
        FailuresError { name: self.name, path: self.path.clone(), error }
    }

    fn write(&self, open: &mut OpenFile, batch: &Batch, reason: &str) -> csv::Result<()> {
        for (kind, identifier) in batch.identifiers() {
            for column in Kind::all(self.aliases) {
                open.writer.write_field(if column == kind { identifier } else { b"" })?;
            }
            if self.has_operation {
                open.writer.write_field(batch.operation().as_str())?;
            }
            open.writer.write_field(reason)?;
            open.writer.write_record(None::<&[u8]>)?;
            open.written += 1;
        }
        Ok(open.writer.flush()?)
    }

    fn put(&self, open: OpenFile) -> io::Result<()> {
        let file = open.writer.into_inner().map_err(|error| io::Error::other(error.error().to_string()))?;
        if open.written > 0 {
            // Checked again, because hours may have passed since the beginning.
            must_be_free(&self.target)?;
            file.persist(&self.target).map_err(|error| error.error)?;
        } else if is_ours(&self.target) {
            std::fs::remove_file(&self.target)?;
        }
        Ok(())
    }
}

fn begin_at(target: &Path, header: &[String]) -> io::Result<OpenFile> {
    must_be_free(target)?;
    if Format::from_file_name(&target.to_string_lossy()).is_some_and(|format| format != Format::Csv) {
        return Err(io::Error::other("it is CSV, so its name must not have the ending of another format"));
    }
    // tempfile makes files that only their owner can read.
    let file = tempfile::Builder::new().prefix(HALF_WRITTEN).tempfile_in(folder_of(target))?;
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(file);
    writer.write_record(header)?;
    writer.flush()?;
    Ok(OpenFile { writer, written: 0 })
}

fn must_be_free(target: &Path) -> io::Result<()> {
    let Ok(metadata) = target.metadata() else { return Ok(()) };
    must_be_regular(&metadata)?;
    if metadata.len() > 0 && !is_ours(target) {
        return Err(io::Error::other("another file is there, which is not overwritten"));
    }
    Ok(())
}

fn is_ours(path: &Path) -> bool {
    let mut first = String::new();
    let begins = COLUMNS.map(|(_, name)| name).join(",") + ",";
    let read = File::open(path).and_then(|file| BufReader::new(io::Read::take(file, 64 * 1024)).read_line(&mut first));
    let last = first.trim_end().rsplit(',').next();
    read.is_ok() && first.starts_with(&begins) && last.is_some_and(|last| last == REASON || last == OTHER_REASON)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::operation::Operation;

    fn batch() -> Batch {
        let mut batch = Batch::new(Operation::Add);
        batch.push(Kind::UserId, b"u,1");
        batch.push(Kind::Alias(1), "\"ü\"".as_bytes());
        batch.push(Kind::DeviceId, b"d1");
        batch
    }

    fn names() -> Names {
        Names { aliases: vec!["email".to_owned(), "phone".to_owned()], ..Names::default() }
    }

    #[test]
    fn each_identifier_is_in_its_own_column_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("failed.csv");
        let failures = Failures::begin(Some(&path), &names()).unwrap();
        failures.take(&batch(), "refused: no").unwrap();
        assert!(!path.exists(), "it is in its place only when it is whole");
        assert_eq!(failures.finish().unwrap(), Some((path.clone(), 3)));
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.split("\r\n").collect();
        assert_eq!(
            lines,
            [
                "user_ids,device_ids,email,phone,reason",
                "\"u,1\",,,,refused: no",
                ",,,\"\"\"ü\"\"\",refused: no",
                ",d1,,,refused: no",
                ""
            ]
        );
    }

    #[test]
    fn a_run_without_failures_removes_an_earlier_file_but_not_a_foreign_one() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, other) = (folder.path().join("failed.csv"), folder.path().join("other.csv"));
        std::fs::write(&ours, "user_ids,device_ids,reason\r\nu1,,x\r\n").unwrap();
        for theirs in ["user_ids\r\nu1\r\n", "user_ids,device_ids,churn_reason\r\nu1,,x\r\n"] {
            std::fs::write(&other, theirs).unwrap();
            assert!(Failures::begin(Some(&other), &Names::default()).is_err());
        }
        assert_eq!(Failures::begin(Some(&ours), &Names::default()).unwrap().finish().unwrap(), None);
        assert!(!ours.exists() && other.exists());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_found_out_at_once() {
        assert!(Failures::begin(Some(Path::new("/no/such/folder/failed.csv")), &Names::default()).is_err());
    }

    #[test]
    fn a_link_stays_and_the_file_goes_where_it_leads() {
        let folder = tempfile::tempdir().unwrap();
        let (link, file) = (folder.path().join("link.csv"), folder.path().join("file.csv"));
        std::os::unix::fs::symlink("file.csv", &link).unwrap();
        for _ in 0..2 {
            let failures = Failures::begin(Some(&link), &names()).unwrap();
            failures.take(&batch(), "x").unwrap();
            assert_eq!(failures.finish().unwrap(), Some((link.clone(), 3)));
            assert!(link.is_symlink() && !file.is_symlink() && is_ours(&file));
        }
        Failures::begin(Some(&link), &names()).unwrap().finish().unwrap();
        assert!(link.is_symlink() && !file.exists());
    }

    #[test]
    fn a_device_stays_a_device() {
        let error = Failures::begin(Some(Path::new("/dev/null")), &Names::default()).err().unwrap().to_string();
        assert!(error.contains("/dev/null") && error.contains("not a regular file"), "{error}");
    }

    #[test]
    fn a_file_that_appeared_meanwhile_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("failed.csv");
        let failures = Failures::begin(Some(&path), &names()).unwrap();
        failures.take(&batch(), "x").unwrap();
        std::fs::write(&path, "somebody's").unwrap();
        assert!(failures.finish().is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "somebody's");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_name_as_long_as_names_may_be_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ä".repeat(127));
        let failures = Failures::begin(Some(&path), &names()).unwrap();
        failures.take(&batch(), "x").unwrap();
        assert_eq!(failures.finish().unwrap().map(|(_, count)| count), Some(3));
    }
}
