//! The accounts mark: a file beside the database which says that this directory has had accounts.
//!
//! A lost database looks like a new one, and a registry without accounts is open to everyone. The mark outlives the
//! database, so that a start can tell the two apart.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::StoreError;

const NAME: &str = "accounts";
const TEXT: &[u8] =
    b"This directory has had accounts. Without this file, a lost database would be an open registry.\n";

#[derive(Debug)]
pub(super) struct AccountsMark {
    path: PathBuf,
    is_written: AtomicBool,
}

impl AccountsMark {
    pub(super) fn beside(database: &Path) -> Self {
        let path = database.with_file_name(NAME);
        let is_written = AtomicBool::new(path.exists());
        Self { path, is_written }
    }

    pub(super) fn is_written(&self) -> bool {
        self.is_written.load(Ordering::Acquire)
    }

    /// Makes the mark durable, before the first account is acknowledged.
    pub(super) fn write(&self) -> Result<(), StoreError> {
        if self.is_written() {
            return Ok(());
        }
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path);
        let written = made.and_then(|mut file| file.write_all(TEXT).and_then(|()| file.sync_all()));
        match written {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.map_err(|error| StoreError::io("write", &self.path, error))?,
        }
        let directory = self.path.parent().unwrap_or(Path::new("."));
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| StoreError::io("sync", directory, error))?;
        self.is_written.store(true, Ordering::Release);
        Ok(())
    }
}

/// Whether the directory of the database at `path` has had accounts, without opening the database.
pub(super) fn exists(path: &Path) -> bool {
    fs::exists(path.with_file_name(NAME)).unwrap_or(true)
}
