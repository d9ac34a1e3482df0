//! Free space of a file system.

use std::io;
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
    /// Whether it is mounted read-only, or has become read-only after a fault.
    pub is_read_only: bool,
}

impl Space {
    /// Returns the space of the file system that holds `path`.
    ///
    /// # Errors
    /// Those of statvfs.
    pub fn of(path: &Path) -> io::Result<Self> {
        let status = rustix::fs::statvfs(path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(status.f_frsize);
        let is_read_only = status.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
        let free_inodes = (status.f_files > 0).then_some(status.f_favail);
        Ok(Self { free: bytes(status.f_bavail), total: bytes(status.f_blocks), free_inodes, is_read_only })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_that_of_the_file_system() {
        let space = Space::of(Path::new("/")).unwrap();
        assert!(space.total > 0 && space.free <= space.total);
        assert!(Space::of(Path::new("/no/such/path")).is_err());
    }
}
