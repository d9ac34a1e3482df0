//! Uploads: how far each has come, so that it can go on after a restart of the server.
//!
//! The bytes of an upload are not synced until it ends, and neither are these rows: they outlive
//! the process, not the machine. After a crash of the machine a row might tell of bytes that never
//! reached the disk. So each row has the boot of the machine under which it was written, and those
//! of an earlier boot are dropped when the database is opened; the client begins again.

use std::fs;
use std::time::SystemTime;

use oci::RepositoryName;
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::sql::Sql;
use super::writer::Durability;
use super::{Metadata, UploadRecord, columns};
use crate::StoreError;
use crate::blobs::UploadState;

impl Metadata {
    /// Writes down an upload that has begun.
    pub async fn create_upload(
        &self,
        repository: &RepositoryName,
        state: &UploadState,
    ) -> Result<(), StoreError> {
        let (repository, state, boot) = (repository.clone(), state.clone(), self.boot());
        self.write(Durability::Process, move |sql| {
            sql.run(
                "INSERT INTO uploads (id, repository, received, algorithm, hash_state, boot, updated_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    state.id.to_string(),
                    repository.as_str(),
                    columns::count_in(state.offset)?,
                    state.algorithm.as_str(),
                    state.hash_state,
                    boot,
                    columns::now(),
                ],
            )?;
            Ok(())
        })
        .await
    }

    /// Writes down how far an upload has come. `false` if it is not there any more: it was
    /// cancelled, has expired, or belongs to another repository.
    pub async fn save_upload(
        &self,
        repository: &RepositoryName,
        state: &UploadState,
    ) -> Result<bool, StoreError> {
        let (repository, state) = (repository.clone(), state.clone());
        self.write(Durability::Process, move |sql| {
            let saved = sql.run(
                "UPDATE uploads SET received = ?3, hash_state = ?4, updated_at = ?5
                 WHERE id = ?1 AND repository = ?2",
                params![
                    state.id.to_string(),
                    repository.as_str(),
                    columns::count_in(state.offset)?,
                    state.hash_state,
                    columns::now(),
                ],
            )?;
            Ok(saved > 0)
        })
        .await
    }

    /// Forgets an upload. `false` if this repository has no such upload.
    pub async fn delete_upload(&self, repository: &RepositoryName, id: Uuid) -> Result<bool, StoreError> {
        let repository = repository.clone();
        self.write(Durability::Process, move |sql| forget(sql, &repository, id)).await
    }

    /// An upload of this repository. The id of another repository's upload is none of this one's.
    pub async fn upload(
        &self,
        repository: &RepositoryName,
        id: Uuid,
    ) -> Result<Option<UploadRecord>, StoreError> {
        let repository = repository.clone();
        self.read(move |sql| {
            sql.first(
                "SELECT id, repository, received, algorithm, hash_state FROM uploads
                 WHERE id = ?1 AND repository = ?2",
                params![id.to_string(), repository.as_str()],
                record,
            )
        })
        .await
    }

    /// Uploads for which nothing was written down since `older_than`, the oldest first.
    pub async fn expired_uploads(
        &self,
        older_than: SystemTime,
        limit: usize,
    ) -> Result<Vec<UploadRecord>, StoreError> {
        self.read(move |sql| {
            sql.all(
                "SELECT id, repository, received, algorithm, hash_state FROM uploads
                 WHERE updated_at < ?1 ORDER BY updated_at LIMIT ?2",
                params![columns::time_in(older_than), columns::limit_in(limit)],
                record,
            )
        })
        .await
    }

    /// The ids of all uploads. What the blob store has of any other upload can be dropped.
    pub async fn list_uploads(&self) -> Result<Vec<Uuid>, StoreError> {
        self.read(|sql| sql.all("SELECT id FROM uploads ORDER BY id", (), |row| columns::text(row, 0))).await
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<UploadRecord> {
    Ok(UploadRecord {
        repository: columns::text(row, 1)?,
        state: UploadState {
            id: columns::text(row, 0)?,
            offset: columns::count(row, 2)?,
            algorithm: columns::text(row, 3)?,
            hash_state: row.get(4)?,
        },
    })
}

/// Forgets an upload of this repository; `false` if there is none.
pub(super) fn forget(sql: Sql<'_>, repository: &RepositoryName, id: Uuid) -> Result<bool, StoreError> {
    let forgotten = sql.run(
        "DELETE FROM uploads WHERE id = ?1 AND repository = ?2",
        params![id.to_string(), repository.as_str()],
    )?;
    Ok(forgotten > 0)
}

/// Names the boot of the machine that it runs since.
pub(super) fn this_boot() -> String {
    // Where the system does not tell, no two processes share a boot: uploads then end with the
    // process, which is the safe side.
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_or_else(|_| Uuid::new_v4().to_string(), |id| id.trim().to_owned())
}

/// Forgets the uploads of other boots; how many.
pub(super) fn forget_other_boots(connection: &Connection, boot: &str) -> Result<usize, StoreError> {
    Ok(connection.execute("DELETE FROM uploads WHERE boot <> ?1", params![boot])?)
}
