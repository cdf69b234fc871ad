//! The identifiers that did not arrive, in a file that `upload` takes as it is: one identifier a line, in its own column,
//! with the reason in a column that no upload reads.
//!
//! It is written beside its place and moved there at the end, readable by its owner alone, so what stands there is always a
//! whole one. A file of another kind is never overwritten.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use csv::{Terminator, Writer, WriterBuilder};
use tempfile::NamedTempFile;
use thiserror::Error;

use crate::batch::Batch;
use crate::identifier::{DEVICE_IDS, Kind, USER_IDS};

/// The column that says why.
const REASON: &str = "reason";

/// The file cannot be written.
#[derive(Debug, Error)]
#[error("the failed_file {} cannot be written: {error}", .path.display())]
pub struct FailuresError {
    /// As it was set.
    pub path: PathBuf,
    /// What the system said.
    pub error: io::Error,
}

/// Takes what did not arrive. Without a path it takes nothing.
pub struct Failures(Option<Place>);

struct Place {
    path: PathBuf,
    header: Vec<String>,
    /// None once it is in its place.
    open: Mutex<Option<Open>>,
}

struct Open {
    writer: Writer<NamedTempFile>,
    written: u64,
}

impl Failures {
    /// Takes nothing.
    pub fn none() -> Self {
        Self(None)
    }

    /// Begins the file, so that a place that cannot be written is found out before the first request.
    pub fn begin(path: Option<&Path>, aliases: &[String]) -> Result<Self, FailuresError> {
        let Some(path) = path else { return Ok(Self(None)) };
        let mut header = vec![USER_IDS.to_owned(), DEVICE_IDS.to_owned()];
        header.extend_from_slice(aliases);
        let is_taken = aliases.iter().any(|label| label == REASON);
        header.push(if is_taken { format!("failure_{REASON}") } else { REASON.to_owned() });
        let open = begin_at(path, &header).map_err(|error| FailuresError { path: path.to_owned(), error })?;
        Ok(Self(Some(Place { path: path.to_owned(), header, open: Mutex::new(Some(open)) })))
    }

    /// Takes the identifiers of a batch.
    pub fn take(&self, batch: &Batch, reason: &str) -> Result<(), FailuresError> {
        let Some(place) = &self.0 else { return Ok(()) };
        match place.lock().as_mut() {
            Some(open) => place.write(open, batch, reason).map_err(|error| place.error(error.into())),
            None => Ok(()),
        }
    }

    /// Puts the file in its place and says how many identifiers are in it. Where there are none, an earlier file of ours is
    /// taken away.
    pub fn finish(&self) -> Result<Option<(PathBuf, u64)>, FailuresError> {
        let Some(place) = &self.0 else { return Ok(None) };
        let Some(open) = place.lock().take() else { return Ok(None) };
        let (path, written) = (place.path.clone(), open.written);
        let failed = |error| place.error(error);
        let file = open.writer.into_inner().map_err(|error| failed(io::Error::other(error.error().to_string())))?;
        if written > 0 {
            file.persist(&path).map_err(|error| failed(error.error))?;
            return Ok(Some((path, written)));
        }
        if is_ours(&path) {
            std::fs::remove_file(&path).map_err(failed)?;
        }
        Ok(None)
    }
}

impl Place {
    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, error: io::Error) -> FailuresError {
        FailuresError { path: self.path.clone(), error }
    }

    fn write(&self, open: &mut Open, batch: &Batch, reason: &str) -> csv::Result<()> {
        let last = self.header.len() - 1;
        for (kind, identifier) in batch.identifiers() {
            let column = match kind {
                Kind::UserId => 0,
                Kind::DeviceId => 1,
                Kind::Alias(place) => 2 + usize::from(place),
            };
            for place in 0..last {
                open.writer.write_field(if place == column { identifier } else { b"" })?;
            }
            open.writer.write_field(reason)?;
            open.writer.write_record(None::<&[u8]>)?;
            open.written += 1;
        }
        Ok(open.writer.flush()?)
    }
}

fn begin_at(path: &Path, header: &[String]) -> io::Result<Open> {
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if path.metadata().is_ok_and(|metadata| metadata.len() > 0) && !is_ours(path) {
        return Err(io::Error::other("there is a file that is not of this kind; it is not overwritten"));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::Builder::new().prefix(".td-braze-cohort-failed-").tempfile_in(folder)?;
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(file);
    writer.write_record(header)?;
    writer.flush()?;
    Ok(Open { writer, written: 0 })
}

/// Whether the file at this place begins as one of ours does.
fn is_ours(path: &Path) -> bool {
    let mut first = String::new();
    let begins = format!("{USER_IDS},{DEVICE_IDS},");
    let read = File::open(path).and_then(|file| BufReader::new(io::Read::take(file, 64 * 1024)).read_line(&mut first));
    read.is_ok() && first.starts_with(&begins) && first.trim_end().ends_with(REASON)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        let mut batch = Batch::new();
        batch.push(Kind::UserId, b"u,1");
        batch.push(Kind::Alias(1), "\"ü\"".as_bytes());
        batch.push(Kind::DeviceId, b"d1");
        batch
    }

    fn labels() -> Vec<String> {
        vec!["email".to_owned(), "phone".to_owned()]
    }

    #[test]
    fn each_identifier_stands_in_its_own_column_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("failed.csv");
        let failures = Failures::begin(Some(&path), &labels()).unwrap();
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
    fn a_run_without_failures_takes_an_earlier_file_away_but_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, other) = (folder.path().join("failed.csv"), folder.path().join("other.csv"));
        std::fs::write(&ours, "user_ids,device_ids,reason\r\nu1,,x\r\n").unwrap();
        std::fs::write(&other, "user_ids\r\nu1\r\n").unwrap();
        assert_eq!(Failures::begin(Some(&ours), &[]).unwrap().finish().unwrap(), None);
        assert!(Failures::begin(Some(&other), &[]).is_err());
        assert!(!ours.exists() && other.exists());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_found_out_at_once() {
        assert!(Failures::begin(Some(Path::new("/no/such/folder/failed.csv")), &[]).is_err());
    }
}
