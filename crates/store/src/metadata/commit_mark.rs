//! The commit mark: a file beside the database with the sequence of its last commit.
//!
//! A database that lost its write-ahead log opens without an error in an older state. The mark detects that.
//! It holds the id of the database and its sequence: the sum of its AUTOINCREMENT counters, which every push,
//! deletion and audited action raises and nothing lowers.
//!
//! The mark may lag behind the database and never leads it: the writer writes it after the synced commit, and
//! does not sync the mark. So neither `kill -9` nor a power failure raises a false alarm, and after `kill -9`
//! it does not even lag.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::connection::Connection;
use crate::{StoreError, durable};

/// Selects the sequence of a database. Inside a transaction it includes the transaction's own changes.
pub(super) const SEQUENCE: &str = "SELECT COALESCE(SUM(seq), 0) FROM sqlite_sequence";

/// Writes the mark. Its length is fixed and fits into a disk sector, so that writes are atomic.
pub(super) struct CommitMark {
    path: PathBuf,
    id: String,
    file: Option<File>,
    has_failed: bool,
}

impl CommitMark {
    pub(super) fn new(path: &Path, id: String) -> Self {
        Self { path: beside(path), id, file: None, has_failed: false }
    }

    /// Records the sequence of a synced commit.
    ///
    /// # Errors
    /// If the file system has become read-only. When the journal of ext4 fails, Linux 6.18 reports success
    /// for a sync that it interrupts, so the commit may be lost.
    pub(super) fn write(&mut self, sequence: i64) -> Result<(), StoreError> {
        let text = format!("{} {sequence:020}\n", self.id);
        match self.open().and_then(|file| file.write_all_at(text.as_bytes(), 0)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => {
                return Err(StoreError::io("write", &self.path, error));
            }
            Err(error) => {
                if !std::mem::replace(&mut self.has_failed, true) {
                    // Only the check of a later start needs the mark.
                    tracing::warn!(%error, path = %self.path.display(), "the commit mark cannot be written");
                }
            }
        }
        Ok(())
    }

    fn open(&mut self) -> std::io::Result<&File> {
        if self.file.is_none() {
            let mut options = OpenOptions::new();
            self.file = Some(options.write(true).create(true).truncate(false).mode(0o600).open(&self.path)?);
        }
        self.file.as_ref().ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }
}

/// The path of the mark of a database.
pub(super) fn beside(database: &Path) -> PathBuf {
    durable::beside(database, ".mark")
}

/// Deletes the mark, so that the next start accepts the database at `path`.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    durable::remove(&beside(path))
}

/// Refuses a database that is older than its mark. `connection` is to the database at `path` before its
/// migration.
pub(super) fn compare(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let Some((marked_id, marked)) = read(&beside(path)) else { return Ok(()) };
    let has_table = "SELECT COUNT(*) = 2 FROM sqlite_schema WHERE name IN ('identity', 'sqlite_sequence')";
    let sql = connection.sql();
    let has_id: Option<bool> = sql.first(has_table, &[], |row| row.get(0))?;
    let state: Option<(String, i64)> = if has_id == Some(true) {
        sql.first(&format!("SELECT id, ({SEQUENCE}) FROM identity"), &[], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
    } else {
        None
    };
    let found = match state {
        Some((id, sequence)) if id == marked_id && sequence < marked => sequence,
        Some((id, _)) if id == marked_id => return Ok(()),
        Some(_) => {
            tracing::warn!(database = %path.display(), "the commit mark belongs to another database; using this one as it is");
            return Ok(());
        }
        // An empty file: the log held everything.
        None => 0,
    };
    Err(StoreError::Directory(format!(
        "the database {path} is older than its last commit: it is at change {found}, and its mark at {marked}, so that \
         acknowledged changes are missing. The usual reason is a copy without {path}-wal, or a restored backup. Restore \
         the missing file; or, to go on without these changes, start once with \
         `wharfinger serve --accept-older-database`",
        path = path.display(),
    )))
}

fn read(path: &Path) -> Option<(String, i64)> {
    let text = fs::read_to_string(path).ok()?;
    let (id, sequence) = text.trim_end().split_once(' ')?;
    Some((id.to_owned(), sequence.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::Metadata;
    use super::super::fixtures::{in_file, manifest, name, put};

    #[tokio::test]
    async fn database_without_its_log_is_refused() {
        let (metadata, directory) = in_file();
        put(&metadata, manifest("app", "one")).await;
        metadata.close().await;
        let path = directory.path().join("metadata.db");
        let metadata = Metadata::open(&path).unwrap();
        let copy = tempfile::tempdir().unwrap();
        let copied = copy.path().join("metadata.db");
        fs::copy(&path, &copied).unwrap();
        put(&metadata, manifest("app", "two")).await;
        fs::copy(directory.path().join("metadata.db.mark"), copy.path().join("metadata.db.mark")).unwrap();

        let refused = Metadata::open(&copied).err().unwrap().to_string();
        assert!(refused.contains("older than its last commit: it is at change 1"), "{refused}");
        Metadata::accept_older(&copied).unwrap();
        let older = Metadata::open(&copied).unwrap();
        assert_eq!(older.manifests(&name("app"), None, 10).await.unwrap().len(), 1);
        put(&older, manifest("app", "three")).await;
        older.close().await;
        Metadata::open(&copied).unwrap();
        metadata.close().await;
        Metadata::open(&path).unwrap();
    }

    #[tokio::test]
    async fn empty_database_with_a_mark_is_refused() {
        let (metadata, directory) = in_file();
        put(&metadata, manifest("app", "one")).await;
        metadata.close().await;
        let path = directory.path().join("metadata.db");
        fs::write(&path, "").unwrap();
        let refused = Metadata::open(&path).err().unwrap().to_string();
        assert!(refused.contains("older than its last commit"), "{refused}");
        let again = Metadata::open(&path).err().unwrap().to_string();
        assert!(again.contains("older than its last commit"), "{again}");
    }

    #[tokio::test]
    async fn database_with_its_log_opens_after_a_kill() {
        let (metadata, directory) = in_file();
        put(&metadata, manifest("app", "one")).await;
        // A killed process leaves the same files.
        let copy = tempfile::tempdir().unwrap();
        for file in fs::read_dir(directory.path()).unwrap().map(Result::unwrap) {
            fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        let copied = Metadata::open(&copy.path().join("metadata.db")).unwrap();
        assert_eq!(copied.manifests(&name("app"), None, 10).await.unwrap().len(), 1);
    }
}
