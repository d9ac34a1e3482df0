//! Permissions of new files and directories: the owner writes, the group reads, others have no access. Files
//! of another registry keep theirs.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Mode of a file before the umask.
pub(crate) const FILE: u32 = 0o640;
/// Mode of a directory before the umask.
const DIRECTORY: u32 = 0o750;

/// Creates a new file for writing; an existing one is an error.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(FILE).open(path)
}

/// Creates a file for writing, or empties it.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(FILE).open(path)
}

/// Writes a file and creates it if necessary.
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(FILE).open(path)?.write_all(content)
}

/// Creates a directory in an existing one.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(DIRECTORY).create(path)
}

/// Creates a directory and its missing parents.
pub(crate) fn create_dir_all(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY).create(path)
}

/// Creates a directory and its missing parents below `root`, which must exist: a tree that was moved away is
/// not created again. Returns whether the directory is new.
///
/// Tries the innermost directory first, because its parents nearly always exist.
pub(crate) fn create_dir_below(root: &Path, directory: &Path) -> io::Result<bool> {
    match create_dir(directory) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound && root.is_dir() => {
            create_dir_all(directory).map(|()| true)
        }
        Err(error) => Err(error),
    }
}
