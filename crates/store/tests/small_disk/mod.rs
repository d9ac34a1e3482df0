//! A small file system for tests of what happens at its limits. It takes the right to mount.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system in memory, gone when the value is.
pub(crate) struct SmallDisk {
    mount: PathBuf,
    _directory: Option<tempfile::TempDir>,
}

impl SmallDisk {
    /// Mounts it, with such options as `size=1m`.
    pub(crate) fn new(options: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mount = directory.path().join("disk");
        fs::create_dir(&mount).expect("a directory in it");
        let mut disk = Self::at(&mount, options);
        disk._directory = Some(directory);
        disk
    }

    /// Mounts it at an existing directory.
    #[allow(dead_code, reason = "not every suite that has this file needs it")]
    pub(crate) fn at(mount: &Path, options: &str) -> Self {
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(mount)
            .output()
            .expect("this test needs the command `mount`");
        assert!(
            output.status.success(),
            "this test mounts a small file system, for which it must run as root where mounting is allowed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Self { mount: mount.to_owned(), _directory: None }
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.mount
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, so that an open file of a failed test does not keep it.
        let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
    }
}
