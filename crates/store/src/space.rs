//! Free space of a file system.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// The space of a file system in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// The space that this process may use.
    pub free: u64,
    /// The size of the file system.
    pub total: u64,
    /// The number of files that can be created; `None` if the file system has no limit.
    pub free_inodes: Option<u64>,
}

impl Space {
    /// Returns the space of the file system that holds `path`.
    ///
    /// # Errors
    /// The errors of statvfs.
    pub fn of(path: &Path) -> io::Result<Self> {
        let status = rustix::fs::statvfs(path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(status.f_frsize);
        let free_inodes = (status.f_files > 0).then_some(status.f_favail);
        Ok(Self { free: bytes(status.f_bavail), total: bytes(status.f_blocks), free_inodes })
    }
}

/// Returns whether the file system of an existing file is mounted read-only, or has become read-only after a
/// fault.
///
/// Since Linux 6.15, ext4 does not mark the file system or the mount after a fault, so statvfs does not show
/// it. Writes are refused, also an empty one, which changes nothing. Closing a file frees the locks of this
/// process on it, so it must not be a database.
pub(crate) fn is_read_only(file: &Path) -> bool {
    let written = File::options().write(true).open(file).and_then(|mut file| file.write(&[]));
    written.is_err_and(|error| error.kind() == io::ErrorKind::ReadOnlyFilesystem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_disk_is_not_read_only() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "kept").unwrap();
        assert!(!is_read_only(&file));
        assert_eq!(std::fs::read(&file).unwrap(), b"kept");
        assert!(!is_read_only(&directory.path().join("absent")));
    }

    #[test]
    fn space_is_that_of_the_file_system() {
        let space = Space::of(Path::new("/")).unwrap();
        assert!(space.total > 0 && space.free <= space.total);
        Space::of(Path::new("/no/such/path")).unwrap_err();
    }
}
