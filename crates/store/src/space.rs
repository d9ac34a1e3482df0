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
}

impl Space {
    /// Returns the space of the file system that holds `path`.
    ///
    /// # Errors
    /// Those of statvfs.
    pub fn of(path: &Path) -> io::Result<Self> {
        let status = rustix::fs::statvfs(path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(status.f_frsize);
        Ok(Self { free: bytes(status.f_bavail), total: bytes(status.f_blocks) })
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
