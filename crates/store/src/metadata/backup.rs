//! Backup of the database: snapshots while it is in use, and the preparation of a restored database.

use std::path::{Path, PathBuf};

use oci::Digest;

use super::connection::Connection;
use super::sql::params;
use super::{Metadata, StoredCounts, accounts, columns, commit_mark, migrations};
use crate::StoreError;
use crate::blocking::{Priority, blocking_at};

impl Metadata {
    /// Writes a consistent copy of the database to a new file. Writers go on meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Directory`] for a database in PostgreSQL, which has its own tools.
    pub async fn snapshot(&self, target: &Path) -> Result<(), StoreError> {
        let Some(file) = self.file() else {
            return Err(StoreError::Directory("the metadata are not in a file".to_owned()));
        };
        let (source, target) = (file.path.clone(), target.to_owned());
        blocking_at(Priority::Low, move || copy(&source, &target)).await
    }
}

fn copy(source: &Path, target: &Path) -> Result<(), StoreError> {
    super::create_private(target);
    Connection::reader(source)?.copy_to(target)?;
    std::fs::File::open(target)
        .and_then(|file| file.sync_all())
        .map_err(|error| StoreError::io("sync", target, error))
}

/// A database from a backup, before it takes its place.
pub(crate) struct RestoredDatabase {
    connection: Connection,
    path: PathBuf,
}

impl RestoredDatabase {
    /// Opens the database at `path`, checks every page and index of it, and migrates it.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::writer(path)?;
        let state = connection.sql().first("PRAGMA integrity_check(1)", &[], |row| row.get::<String>(0))?;
        match state.as_deref() {
            Some("ok") => {}
            state => {
                let state = state.unwrap_or("nothing");
                return Err(StoreError::Damaged(format!(
                    "the database of the backup: SQLite finds {state:?}"
                )));
            }
        }
        migrations::migrate(&connection, path)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Removes the state of the machine of the backup, and has the next start write all links. The directory
    /// `repositories/` is of another time, and its missing links would count as deletions of another program.
    /// Links in the bucket are compared with the metadata again. Other outbox consumers skip these changes,
    /// and those after the backup. Pending deliveries to webhooks are parked: the server of the backup has
    /// sent them, or still does.
    pub(crate) fn prepare(&self) -> Result<(), StoreError> {
        self.connection.script(
            "BEGIN IMMEDIATE;
             DELETE FROM uploads;
             DELETE FROM view_stamps;
             DELETE FROM view_problems;
             INSERT INTO changes (at, kind, repository, digest, for_view)
               SELECT 0, 'blob.linked', r.name, b.digest, 1
               FROM blob_links l JOIN repositories r ON r.id = l.repository JOIN blobs b ON b.id = l.blob;
             INSERT INTO changes (at, kind, repository, digest, for_view)
               SELECT 0, 'manifest.put', r.name, b.digest, 1
               FROM manifests m JOIN repositories r ON r.id = m.repository JOIN blobs b ON b.id = m.blob;
             INSERT INTO changes (at, kind, repository, tag, digest, for_view)
               SELECT 0, 'tag.moved', r.name, t.name, b.digest, 1
               FROM tags t JOIN repositories r ON r.id = t.repository JOIN blobs b ON b.id = t.blob;
             UPDATE change_consumers SET cursor = (SELECT COALESCE(MAX(id), cursor) FROM changes)
               WHERE name <> 'view';
             UPDATE identity SET restoration = lower(hex(randomblob(8)));
             UPDATE webhook_deliveries
               SET state = 'parked', answer = 'not sent: it waited when its backup was restored'
               WHERE state = 'pending';
             COMMIT",
        )
    }

    pub(crate) fn id(&self) -> Result<String, StoreError> {
        let id = self.connection.sql().first("SELECT id FROM identity", &[], |row| row.get(0))?;
        id.ok_or_else(|| StoreError::Damaged("the database of the backup has no id".to_owned()))
    }

    /// Whether it holds users.
    pub(crate) fn has_users(&self) -> Result<bool, StoreError> {
        accounts::any_users(self.connection.sql())
    }

    /// Numbers for the report.
    pub(crate) fn counts(&self) -> Result<StoredCounts, StoreError> {
        super::metrics::count_stored(self.connection.sql())
    }

    /// Calls `visit` with every blob that has to be in a file.
    pub(crate) fn each_blob(
        &self,
        mut visit: impl FnMut(Digest, u64) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut after = 0_i64;
        loop {
            let page: Vec<(i64, Digest, u64)> = self.connection.sql().all(
                "SELECT id, digest, size FROM blobs b WHERE id > ?1 AND size IS NOT NULL
                 AND NOT EXISTS (SELECT 1 FROM unsettled_contents c WHERE c.digest = b.digest)
                 ORDER BY id LIMIT 1000",
                params![after],
                |row| Ok((row.get(0)?, columns::digest(row, 1)?, columns::count(row, 2)?)),
            )?;
            let Some((last, ..)) = page.last() else { return Ok(()) };
            after = *last;
            for (_, digest, size) in page {
                visit(digest, size)?;
            }
        }
    }

    /// Whether it knows a blob.
    pub(crate) fn knows(&self, digest: &Digest) -> Result<bool, StoreError> {
        let found = "SELECT 1 FROM blobs WHERE digest = ?1 AND size IS NOT NULL";
        self.connection.sql().exists(found, params![columns::key(digest)])
    }

    /// Writes everything into the one file, and syncs it.
    pub(crate) fn close(self) -> Result<(), StoreError> {
        self.connection.script("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE")?;
        drop(self.connection);
        commit_mark::remove(&self.path)?;
        std::fs::File::open(&self.path)
            .and_then(|file| file.sync_all())
            .map_err(|error| StoreError::io("sync", &self.path, error))
    }
}

/// Writes the log of a database that no process uses into its file, so that the file alone is complete.
pub(crate) fn merge_log(path: &Path) -> Result<(), StoreError> {
    Connection::writer(path)?.script("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE")
}
