//! Permissions of the files and directories that are made here: the owner writes, the group reads, others have no
//! access. Files that another registry made keep theirs.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Mode of a file before the umask.
pub(crate) const FILE: u32 = 0o640;
/// Mode of a directory before the umask.
const DIRECTORY: u32 = 0o750;

/// Makes a file that must not exist yet, for writing.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(FILE).open(path)
}

/// Writes a file, which is made if it is not there.
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(FILE).open(path)?.write_all(content)
}

/// Makes a directory. Its parent must exist.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(DIRECTORY).create(path)
}

/// Makes a directory and its parents, as far as they are missing.
pub(crate) fn create_dir_all(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY).create(path)
}
