//! The accounts mark: files which say that a directory has had accounts.
//!
//! A lost database looks like a new one, and a registry without accounts is open to everyone. One mark lies
//! beside the database. A second one lies beside the content, because the content can be opened without our
//! own directory: from a copy, or by the path of its `v2` directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::{StoreError, durable};

const NAME: &str = "accounts";
/// The name beside the content. registry:2 ignores it.
const CONTENT_NAME: &str = ".wharfinger-accounts";
const TEXT: &[u8] =
    b"This directory has had accounts. Without this file, a lost database would be an open registry.\n";

#[derive(Debug)]
pub(crate) struct AccountsMark {
    paths: Mutex<Vec<PathBuf>>,
    is_written: AtomicBool,
    /// Whether the marks are those of a transaction that is not committed yet.
    is_pending: AtomicBool,
}

impl AccountsMark {
    pub(crate) fn beside(database: &Path) -> Self {
        let path = database.with_file_name(NAME);
        let is_written = AtomicBool::new(path.exists());
        Self { paths: Mutex::new(vec![path]), is_written, is_pending: AtomicBool::new(false) }
    }

    /// Keeps a second mark beside the content. If either mark is there, both are written.
    pub(crate) fn add_content(&self, content: &Path) -> Result<(), StoreError> {
        let path = content.join(CONTENT_NAME);
        let is_marked = self.is_written() || path.exists();
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).push(path);
        if is_marked { self.write_all() } else { Ok(()) }
    }

    pub(crate) fn is_written(&self) -> bool {
        self.is_written.load(Ordering::Acquire)
    }

    /// Makes the marks durable, before the first account is acknowledged.
    pub(crate) fn write(&self) -> Result<(), StoreError> {
        if self.is_written() {
            return Ok(());
        }
        self.is_pending.store(true, Ordering::Release);
        self.write_all()
    }

    /// Keeps the marks: the transaction of the first account is committed.
    pub(crate) fn confirm(&self) {
        self.is_pending.store(false, Ordering::Release);
    }

    /// Removes the marks of a transaction that failed.
    pub(crate) fn revoke(&self) -> Result<(), StoreError> {
        if !self.is_pending.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        paths.iter().try_for_each(|path| durable::remove(path))?;
        self.is_written.store(false, Ordering::Release);
        Ok(())
    }

    fn write_all(&self) -> Result<(), StoreError> {
        let paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        paths.iter().try_for_each(|path| write(path))?;
        self.is_written.store(true, Ordering::Release);
        Ok(())
    }
}

fn write(path: &Path) -> Result<(), StoreError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made.and_then(|mut file| file.write_all(TEXT).and_then(|()| file.sync_all())) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        other => other.map_err(|error| StoreError::io("write", path, error))?,
    }
    let directory = path.parent().unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| StoreError::io("sync", directory, error))
}

/// Whether a database in `own` or content in `content` has had accounts. Opens no database.
pub(crate) fn exists(own: &Path, content: &Path) -> io::Result<bool> {
    Ok(fs::exists(own.join(NAME))? || fs::exists(content.join(CONTENT_NAME))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_of_a_failed_transaction_is_removed() {
        let data = tempfile::tempdir().unwrap();
        let (own, content) = (data.path().join("own"), data.path().join("content"));
        fs::create_dir(&own).unwrap();
        fs::create_dir(&content).unwrap();
        let mark = AccountsMark::beside(&own.join("metadata.db"));
        mark.add_content(&content).unwrap();
        mark.write().unwrap();
        assert!(exists(&own, &content).unwrap());
        mark.revoke().unwrap();
        assert!(!exists(&own, &content).unwrap() && !mark.is_written());

        mark.write().unwrap();
        mark.confirm();
        mark.revoke().unwrap();
        assert!(mark.is_written(), "a confirmed mark stays");

        // Either mark is enough, and the other one is written again.
        fs::remove_file(own.join(NAME)).unwrap();
        assert!(exists(&own, &content).unwrap());
        AccountsMark::beside(&own.join("metadata.db")).add_content(&content).unwrap();
        assert!(own.join(NAME).exists());
    }
}
