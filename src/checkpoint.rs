//! What was delivered already, kept on disk: after a kill at any moment the next run sends again at most what was in flight.
//!
//! A checkpoint is a list of digests of delivered batches, a line each. A digest covers the scope (endpoint, partner, cohort,
//! operation, workflow session) and the batch's identifiers, so another cohort, another session or another input only means
//! that more is sent. No offsets, no fingerprint of the input. A line is written when Braze has acknowledged the whole
//! batch; a process kill needs no fsync. The file is removed when everything is delivered. A file of another kind is put
//! aside, never written over.

use std::collections::HashSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use log::{info, warn};
use ring::digest::{Context, SHA256};
use thiserror::Error;
use twox_hash::XxHash3_128;

use crate::batch::Batch;
use crate::operation::Operation;
use crate::place::{holds, must_be_regular, resolve};

const FIRST_LINE: &str = "td-braze-cohort checkpoint 2\n";
/// What the first line of every version begins with.
const ANY_VERSION: &str = "td-braze-cohort checkpoint ";
/// What a file of another kind is called, behind its name, once it is put aside.
const ASIDE: &str = ".foreign";
/// 32 hexadecimal digits and a line feed.
const LINE_BYTES: usize = 33;
/// A larger file is none of ours: this one is for 2,000 million identifiers.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Why there is no checkpoint.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// Another run has it.
    #[error("the checkpoint {} is in use by another run: let that one end, then run this again", .path.display())]
    InUse {
        /// As it was set.
        path: PathBuf,
    },
    /// It cannot be read or written.
    #[error("the checkpoint {} cannot be written: {error} (set checkpoint to a place that can be written, or leave it out)", .path.display())]
    Unwritable {
        /// As it was set.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Everything is delivered, and the file cannot be removed.
    #[error("everything was delivered, but the checkpoint {} cannot be removed: {error} (remove it yourself: the next run would not send again what it lists)", .path.display())]
    NotRemoved {
        /// As it was set.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// What a digest covers beside the identifiers.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Where to.
    pub endpoint: &'a str,
    /// The partner's segment.
    pub partner: &'a str,
    /// The cohort's identifier.
    pub cohort_id: &'a str,
    /// The workflow's session, which its retries and resumes keep; empty where there is none.
    pub session: &'a str,
    /// Labels of the aliases.
    pub aliases: &'a [String],
}

/// The digest of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(u128);

/// Knows what was delivered. Without a path it knows nothing.
pub struct Checkpoint(Option<Open>);

struct Open {
    /// As it was set.
    path: PathBuf,
    /// Where the links lead to.
    place: PathBuf,
    file: Mutex<Lines>,
    delivered: HashSet<Digest>,
    seeds: Seeds,
}

impl Checkpoint {
    /// Knows nothing and keeps nothing.
    pub fn none() -> Self {
        Self(None)
    }

    /// Opens the file, for this run alone, and reads what is there. What is no checkpoint of ours is put aside.
    pub fn begin(path: Option<&Path>, scope: Scope<'_>) -> Result<Self, CheckpointError> {
        let Some(path) = path else { return Ok(Self(None)) };
        let unwritable = |error| CheckpointError::Unwritable { path: path.to_owned(), error };
        let place = resolve(path).map_err(unwritable)?;
        loop {
            let file = open(&place).map_err(unwritable)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(CheckpointError::InUse { path: path.to_owned() }),
                Err(TryLockError::Error(error)) => return Err(unwritable(error)),
            }
            // The run before may have removed it between opening and locking; then this is the lock of nothing.
            if !holds(&place, &file).map_err(unwritable)? {
                continue;
            }
            if let Some((delivered, lines)) = read_and_mend(file, path, &place).map_err(unwritable)? {
                if !delivered.is_empty() {
                    info!("{} batches were delivered by an earlier run, as {} says", delivered.len(), path.display());
                }
                let (path, file) = (path.to_owned(), Mutex::new(lines));
                return Ok(Self(Some(Open { path, place, file, delivered, seeds: Seeds::of(scope) })));
            }
        }
    }

    /// The digest of a batch; none where nothing is kept.
    pub fn digest(&self, batch: &Batch) -> Option<Digest> {
        self.0.as_ref().map(|open| open.seeds.digest_of(batch))
    }

    /// Whether an earlier run has delivered it.
    pub fn has(&self, digest: &Digest) -> bool {
        self.0.as_ref().is_some_and(|open| open.delivered.contains(digest))
    }

    /// Braze has acknowledged the whole batch.
    pub fn keep(&self, digest: &Digest) -> Result<(), CheckpointError> {
        let Some(open) = &self.0 else { return Ok(()) };
        let mut lines = open.file.lock().unwrap_or_else(PoisonError::into_inner);
        lines.add(digest).map_err(|error| CheckpointError::Unwritable { path: open.path.clone(), error })
    }

    /// Everything is delivered: the next run starts from zero.
    pub fn remove(&self) -> Result<(), CheckpointError> {
        let Some(open) = &self.0 else { return Ok(()) };
        let lines = open.file.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever put another file there meanwhile wants to keep it.
        let removed = holds(&open.place, &lines.file)
            .and_then(|is_ours| if is_ours { std::fs::remove_file(&open.place) } else { Ok(()) });
        removed.map_err(|error| CheckpointError::NotRemoved { path: open.path.clone(), error })
    }
}

/// The file, which ends with a whole line.
struct Lines {
    file: File,
    bytes: u64,
}

impl Lines {
    fn add(&mut self, digest: &Digest) -> io::Result<()> {
        let line = format!("{:032x}\n", digest.0);
        // One write a line, so that a kill leaves whole lines and one torn one at most.
        self.file.write_all(line.as_bytes()).inspect_err(|_| {
            // On a full disk half a line is written, behind which no other would be read.
            let _ = self.file.set_len(self.bytes).and_then(|()| self.file.seek(SeekFrom::Start(self.bytes)));
        })?;
        self.bytes += line.len() as u64;
        Ok(())
    }
}

fn open(place: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(place)?;
    must_be_regular(&file.metadata()?)?;
    Ok(file)
}

/// The digests in the file, and the file with a whole line at its end, behind which the next one goes; none where it was of
/// another kind and is put aside.
fn read_and_mend(mut file: File, path: &Path, place: &Path) -> io::Result<Option<(HashSet<Digest>, Lines)>> {
    let mut text = Vec::new();
    (&file).take(MAX_FILE_BYTES).read_to_end(&mut text)?;
    let (digests, whole) = parse(&text);
    if whole == 0 && !is_ours(&text) {
        put_aside(path, place)?;
        return Ok(None);
    }
    if whole < text.len() {
        warn!(
            "{} {}",
            path.display(),
            if whole == 0 {
                "is no checkpoint of this version and is started anew"
            } else {
                "has a torn end, which is ignored"
            }
        );
    }
    file.set_len(whole as u64)?;
    file.seek(SeekFrom::Start(whole as u64))?;
    let mut bytes = whole as u64;
    if whole == 0 {
        file.write_all(FIRST_LINE.as_bytes())?;
        bytes = FIRST_LINE.len() as u64;
    }
    Ok(Some((digests, Lines { file, bytes })))
}

/// Whether nobody but us can have written this: another version, the beginning of a first line, or the zeros that a lost
/// power supply leaves.
fn is_ours(text: &[u8]) -> bool {
    text.starts_with(ANY_VERSION.as_bytes())
        || FIRST_LINE.as_bytes().starts_with(text)
        || text.iter().all(|byte| *byte == 0)
}

fn put_aside(path: &Path, place: &Path) -> io::Result<()> {
    let mut aside = place.as_os_str().to_owned();
    aside.push(ASIDE);
    let aside = PathBuf::from(aside);
    if aside.symlink_metadata().is_ok() {
        let problem = format!("it is no checkpoint, and {} is there already: move one of them", aside.display());
        return Err(io::Error::other(problem));
    }
    std::fs::rename(place, &aside)?;
    warn!(
        "{} is no checkpoint of this version: it is kept as {}, and a new one is started",
        path.display(),
        aside.display()
    );
    Ok(())
}

/// The digests up to the first line that is none, and the bytes up to there; no bytes where the first line is not ours.
fn parse(text: &[u8]) -> (HashSet<Digest>, usize) {
    let Some(lines) = text.strip_prefix(FIRST_LINE.as_bytes()) else { return (HashSet::new(), 0) };
    let digests: Vec<Digest> = lines
        .chunks(LINE_BYTES)
        .map_while(|line| {
            let (digits, end) = line.split_last_chunk::<1>()?;
            let is_whole = line.len() == LINE_BYTES && end == b"\n" && digits.iter().all(u8::is_ascii_hexdigit);
            is_whole.then(|| u128::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok().map(Digest)).flatten()
        })
        .collect();
    let whole = FIRST_LINE.len() + digests.len() * LINE_BYTES;
    (digests.into_iter().collect(), whole)
}

/// What the digests begin with: the scope, for each operation.
struct Seeds {
    add: u64,
    remove: u64,
}

impl Seeds {
    fn of(scope: Scope<'_>) -> Self {
        let Scope { endpoint, partner, cohort_id, session, aliases } = scope;
        let of = |operation: Operation| {
            let mut context = Context::new(&SHA256);
            let texts = [endpoint, partner, cohort_id, session].into_iter().chain(aliases.iter().map(String::as_str));
            for text in texts.chain([operation.as_str()]) {
                // With its length first, so that no two lists of texts run together to the same bytes.
                context.update(&(text.len() as u64).to_be_bytes());
                context.update(text.as_bytes());
            }
            context.finish().as_ref().iter().take(8).fold(0, |seed, byte| (seed << 8) | u64::from(*byte))
        };
        Self { add: of(Operation::Add), remove: of(Operation::Remove) }
    }

    /// 128 bits of XXH3, which nobody has to be kept from finding two batches for: whoever could choose all identifiers of a batch
    /// has no reason to. SHA-256 instead costs a third more CPU for the whole upload.
    fn digest_of(&self, batch: &Batch) -> Digest {
        let seed = match batch.operation() {
            Operation::Add => self.add,
            Operation::Remove => self.remove,
        };
        let mut hasher = XxHash3_128::with_seed(seed);
        hasher.write(batch.bytes());
        hasher.write(&batch.layout());
        Digest(hasher.finish_128())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identifier::Kind;
    use rstest::rstest;

    const SCOPE: Scope<'_> = Scope { endpoint: "https://e", partner: "p", cohort_id: "c", session: "s", aliases: &[] };

    fn batch(identifiers: &[&str]) -> Batch {
        let mut batch = Batch::new(Operation::Add);
        for identifier in identifiers {
            batch.push(Kind::UserId, identifier.as_bytes());
        }
        batch
    }

    fn begin(path: &Path) -> Checkpoint {
        Checkpoint::begin(Some(path), SCOPE).unwrap()
    }

    #[test]
    fn what_was_kept_is_known_to_the_next_run_until_everything_is_delivered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        let (one, other) = (batch(&["a", "b"]), batch(&["c"]));
        let first = begin(&path);
        let digest = first.digest(&one).unwrap();
        assert!(!first.has(&digest));
        first.keep(&digest).unwrap();
        drop(first);
        let second = begin(&path);
        assert!(second.has(&digest) && !second.has(&second.digest(&other).unwrap()));
        second.remove().unwrap();
        drop(second);
        assert!(!begin(&path).has(&digest));
    }

    #[rstest]
    #[case::another_cohort(Scope { cohort_id: "d", ..SCOPE })]
    #[case::another_session(Scope { session: "t", ..SCOPE })]
    #[case::texts_that_run_together(Scope { endpoint: "https://ep", partner: "", ..SCOPE })]
    fn a_digest_belongs_to_its_scope(#[case] scope: Scope<'_>) {
        let batch = batch(&["a"]);
        assert_ne!(Seeds::of(scope).digest_of(&batch), Seeds::of(SCOPE).digest_of(&batch));
    }

    #[test]
    fn identifiers_that_run_together_are_told_apart() {
        let of = |identifiers: &[&str]| Seeds::of(SCOPE).digest_of(&batch(identifiers));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["a", "b"]), of(&["b", "a"]));
    }

    #[test]
    fn a_second_run_does_not_get_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        let _first = begin(&path);
        assert!(matches!(Checkpoint::begin(Some(&path), SCOPE), Err(CheckpointError::InUse { .. })));
    }

    #[test]
    fn a_torn_line_is_ignored_and_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        let first = begin(&path);
        let (one, other) = (first.digest(&batch(&["a"])).unwrap(), first.digest(&batch(&["b"])).unwrap());
        first.keep(&one).unwrap();
        drop(first);
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(&format!("{:032x}", other.0).as_bytes()[..30]);
        std::fs::write(&path, text).unwrap();
        let second = begin(&path);
        assert!(second.has(&one) && !second.has(&other));
        second.keep(&other).unwrap();
        drop(second);
        let third = begin(&path);
        assert!(third.has(&one) && third.has(&other));
    }

    #[rstest]
    #[case::another_version("td-braze-cohort checkpoint 1\nabc\n")]
    #[case::torn_in_its_first_line("td-braze-coh")]
    #[case::zeros("\0\0\0\0")]
    #[case::empty("")]
    fn what_cannot_be_read_any_more_is_started_anew(#[case] text: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        std::fs::write(&path, text).unwrap();
        begin(&path);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), FIRST_LINE);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_of_another_kind_is_put_aside_and_never_lost() {
        let folder = tempfile::tempdir().unwrap();
        let (path, aside) = (folder.path().join("queries.sql"), folder.path().join("queries.sql.foreign"));
        std::fs::write(&path, "SELECT 1").unwrap();
        begin(&path).remove().unwrap();
        assert_eq!(std::fs::read_to_string(&aside).unwrap(), "SELECT 1");
        std::fs::write(&path, "SELECT 2").unwrap();
        let error = Checkpoint::begin(Some(&path), SCOPE).err().unwrap().to_string();
        assert!(error.contains("queries.sql.foreign is there already"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "SELECT 2");
    }

    #[test]
    fn a_device_stays_a_device() {
        let error = Checkpoint::begin(Some(Path::new("/dev/null")), SCOPE).err().unwrap().to_string();
        assert!(error.contains("/dev/null") && error.contains("no regular file"), "{error}");
    }

    #[test]
    fn a_link_stays_and_the_file_that_it_leads_to_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (link, file) = (folder.path().join("link"), folder.path().join("file"));
        std::os::unix::fs::symlink("file", &link).unwrap();
        let first = begin(&link);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), FIRST_LINE);
        first.remove().unwrap();
        assert!(link.is_symlink() && !file.exists());
    }

    #[test]
    fn another_file_that_was_put_there_meanwhile_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        let first = begin(&path);
        std::fs::remove_file(&path).unwrap();
        first.remove().unwrap();
        std::fs::write(&path, "somebody's").unwrap();
        first.remove().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "somebody's");
    }
}
