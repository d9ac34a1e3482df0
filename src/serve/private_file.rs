//! Files that only their owner reads, such as backups.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Creates a file that only its owner reads.
///
/// # Errors
/// Those of the system.
pub fn create_private(path: &Path) -> io::Result<File> {
    File::options().write(true).read(true).create(true).truncate(true).mode(0o600).open(path)
}
