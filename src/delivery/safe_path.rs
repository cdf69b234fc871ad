//! Files are written only to a new path or over a regular file. Renaming a file to `/dev/null`, or removing
//! `/dev/null`, would take the device away from the whole machine.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

/// The number of links that Linux follows.
const MAX_LINKS: usize = 40;

/// The target of a path through links, which stay as they are.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    match path.metadata() {
        Ok(metadata) => must_be_regular(&metadata)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut resolved = path.to_owned();
    for _ in 0..MAX_LINKS {
        match resolved.read_link() {
            Ok(target) => resolved = folder_of(&resolved).join(target),
            Err(_) => return Ok(resolved),
        }
    }
    Err(io::Error::other("too many links"))
}

/// Fails for anything but a regular file.
pub fn must_be_regular(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() {
        Ok(())
    } else if metadata.is_dir() {
        Err(io::ErrorKind::IsADirectory.into())
    } else {
        Err(io::Error::other("it is a device, pipe or socket, not a regular file"))
    }
}

/// The folder of the last part of a path.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::os::unix::fs::symlink;

    #[rstest]
    #[case::device("/dev/null")]
    #[case::folder("/dev")]
    #[case::under_a_file("/dev/null/x")]
    fn only_regular_files_are_taken(#[case] path: &str) {
        assert!(resolve(Path::new(path)).is_err());
    }

    #[test]
    fn links_are_followed_also_to_where_nothing_is_yet() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        symlink("second", at("first")).unwrap();
        symlink("file", at("second")).unwrap();
        assert_eq!(resolve(&at("first")).unwrap(), at("file"));
        assert_eq!(resolve(&at("file")).unwrap(), at("file"));
        symlink("/dev/null", at("file")).unwrap();
        assert!(resolve(&at("first")).is_err());
        symlink("round", at("round")).unwrap();
        assert!(resolve(&at("round")).is_err());
    }
}
