//! Files: turns patterns into paths, and shows whether a file has changed since it was found.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use glob::MatchOptions;

use super::SourceError;

/// What makes a path a pattern.
const WILDCARDS: [char; 3] = ['*', '?', '['];

/// Shows whether a file was modified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The size.
    pub bytes: u64,
    modified: Option<SystemTime>,
    /// Device and inode: another file may have the same size and time.
    identity: (u64, u64),
}

impl Stamp {
    /// None for a pipe or a device (process substitution, /dev/stdin), which has no size or history.
    fn of(metadata: &Metadata) -> Option<Self> {
        let identity = (metadata.dev(), metadata.ino());
        metadata.is_file().then(|| Self { bytes: metadata.len(), modified: metadata.modified().ok(), identity })
    }
}

/// Remembers a file's state. By default it watches nothing.
#[derive(Clone, Debug, Default)]
pub struct Watch(Option<(PathBuf, Stamp)>);

impl Watch {
    /// An error if the file was replaced, has another size or modification time, or is gone.
    pub fn unmodified(&self) -> Result<(), SourceError> {
        let Some((path, before)) = &self.0 else { return Ok(()) };
        match std::fs::metadata(path) {
            Ok(now) if Stamp::of(&now) == Some(*before) => Ok(()),
            _ => Err(SourceError::Modified { path: path.clone() }),
        }
    }
}

/// The file's state now; an error if it cannot be an input.
pub fn stamp(path: &Path) -> Result<Option<Stamp>, SourceError> {
    let metadata = std::fs::metadata(path).map_err(|error| open_error(path, error))?;
    if metadata.is_dir() {
        return Err(open_error(path, io::ErrorKind::IsADirectory.into()));
    }
    Ok(Stamp::of(&metadata))
}

/// Opens a file. An error if its stamp has changed.
pub fn open(path: PathBuf, stamp: Option<Stamp>) -> Result<(File, Watch), SourceError> {
    let file = File::open(&path).map_err(|error| open_error(&path, error))?;
    let watch = Watch(stamp.map(|stamp| (path, stamp)));
    watch.unmodified()?;
    Ok((file, watch))
}

fn open_error(path: &Path, error: io::Error) -> SourceError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound => SourceError::NotFound { path, directory: working_directory() },
        _ => SourceError::Open { path, error },
    }
}

fn working_directory() -> PathBuf {
    std::env::current_dir().unwrap_or_default()
}

/// Returns the path itself if such a file exists, otherwise the files that match it as a pattern, sorted by name.
pub fn resolve(paths: &[PathBuf]) -> Result<Vec<PathBuf>, SourceError> {
    let mut files = Vec::new();
    for path in paths {
        let pattern = path.to_string_lossy();
        if path.symlink_metadata().is_ok() || !pattern.contains(WILDCARDS) {
            files.push(path.clone());
        } else {
            files.extend(matches(&pattern)?);
        }
    }
    let mut seen = HashSet::new();
    match files.iter().find(|path| !seen.insert(path.canonicalize().unwrap_or_else(|_| (*path).clone()))) {
        Some(path) => Err(SourceError::Twice { path: path.clone() }),
        None => Ok(files),
    }
}

fn matches(pattern: &str) -> Result<Vec<PathBuf>, SourceError> {
    // `require_literal_leading_dot` panics at a name that is not UTF-8.
    let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
    let named: Vec<_> = Path::new(pattern).components().filter(is_hidden).collect();
    let is_meant = |part: Component<'_>| {
        named.iter().any(|named| *named == part || named.as_os_str().to_string_lossy().contains(WILDCARDS))
    };
    let found = glob::glob_with(pattern, options)
        .map_err(|error| SourceError::Pattern { pattern: pattern.to_owned(), problem: error.msg })?;
    let unreadable = |error: glob::GlobError| SourceError::Open { path: error.path().to_owned(), error: error.into() };
    let is_shown = |path: &Path| path.components().filter(is_hidden).all(is_meant);
    let shown = found.filter(|found| is_shown(found.as_deref().unwrap_or_else(glob::GlobError::path)));
    let mut files = shown.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    files.sort();
    if files.is_empty() {
        return Err(SourceError::NoMatch { pattern: pattern.to_owned(), directory: working_directory() });
    }
    Ok(files)
}

fn is_hidden(part: &Component<'_>) -> bool {
    matches!(part, Component::Normal(name) if name.as_encoded_bytes().starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    fn resolved(written: &[&str]) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b-2.csv", "b-10.csv", "b-1.csv", ".b-0.csv", "star-*.csv", "star-1.csv", "[x].csv"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        std::fs::create_dir(folder.path().join("d-1.csv")).unwrap();
        std::fs::write(folder.path().join(OsStr::from_bytes(b"b-\xff.csv")), "").unwrap();
        let paths: Vec<_> = written.iter().map(|name| folder.path().join(name)).collect();
        let name = |path: PathBuf| path.strip_prefix(folder.path()).unwrap().display().to_string();
        match resolve(&paths) {
            Ok(files) => Ok(files.into_iter().map(name).collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[rstest]
    #[case::by_name(&["b-*.csv"], &["b-1.csv", "b-10.csv", "b-2.csv"])]
    #[case::in_the_order_written(&["b-2.csv", "b-1?.csv"], &["b-2.csv", "b-10.csv"])]
    #[case::a_star_in_a_name(&["star-*.csv"], &["star-*.csv"])]
    #[case::brackets_in_a_name(&["[x].csv"], &["[x].csv"])]
    #[case::brackets(&["b-[12].csv"], &["b-1.csv", "b-2.csv"])]
    #[case::hidden(&[".b*"], &[".b-0.csv"])]
    #[case::a_folder_is_an_error_when_it_is_opened(&["d-*.csv"], &["d-1.csv"])]
    #[case::not_there(&["c.csv"], &["c.csv"])]
    fn a_path_is_a_file_or_a_pattern(#[case] written: &[&str], #[case] expected: &[&str]) {
        assert_eq!(resolved(written).unwrap(), expected);
    }

    #[rstest]
    #[case::no_match(&["c-*.csv"], "c-*.csv matches no file")]
    #[case::no_pattern(&["c-[.csv"], "a valid pattern")]
    #[case::overlap(&["b-1.csv", "b-*.csv"], "named twice")]
    fn what_names_no_file_or_one_twice_is_an_error(#[case] written: &[&str], #[case] message: &str) {
        let error = resolved(written).unwrap_err();
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn a_file_that_grew_or_is_gone_was_modified() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, "a").unwrap();
        let before = stamp(&path).unwrap();
        let watch = open(path.clone(), before).unwrap().1;
        assert!(watch.unmodified().is_ok());
        std::fs::write(&path, "ab").unwrap();
        assert!(matches!(watch.unmodified(), Err(SourceError::Modified { .. })));
        assert!(open(path.clone(), before).is_err());
        std::fs::remove_file(&path).unwrap();
        assert!(watch.unmodified().is_err());
    }

    #[test]
    fn a_file_that_replaces_one_of_the_same_size_and_time_is_noticed_before_the_second_pass() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other] = ["a.csv", "b.csv"].map(|name| folder.path().join(name));
        std::fs::write(&path, "user_ids\nu1\n").unwrap();
        let stamp_of = |path: &Path| stamp(path).unwrap();
        let before = stamp_of(&path);
        assert!(open(path.clone(), before).unwrap().1.unmodified().is_ok(), "the first pass");
        std::fs::write(&other, "user_ids\nu2\n").unwrap();
        let modified = before.unwrap().modified.unwrap();
        File::options().write(true).open(&other).unwrap().set_modified(modified).unwrap();
        std::fs::rename(&other, &path).unwrap();
        let now = stamp_of(&path).unwrap();
        assert_eq!((now.bytes, now.modified), (before.unwrap().bytes, Some(modified)));
        assert!(matches!(open(path, before), Err(SourceError::Modified { .. })));
    }
}
