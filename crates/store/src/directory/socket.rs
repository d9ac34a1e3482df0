//! The path of a Unix socket, within the length limit of the kernel.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use crate::StoreError;

/// The path of a Unix socket, within the length limit of the kernel.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    /// The open directory of a path through `/proc/self/fd`.
    _directory: Option<File>,
}

impl Socket {
    /// The longest path of a socket: `sun_path` has 108 bytes with the final zero (unix(7)).
    const MAX_LEN: usize = 107;

    pub(super) fn in_directory(directory: &Path, name: &str) -> Result<Self, StoreError> {
        let path = directory.join(name);
        if path.as_os_str().len() <= Self::MAX_LEN {
            return Ok(Self { path, _directory: None });
        }
        let opened = File::open(directory).map_err(|error| StoreError::io("open", directory, error))?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd())).join(name);
        Ok(Self { path, _directory: Some(opened) })
    }

    /// The path to bind or connect to; valid while this value exists.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
