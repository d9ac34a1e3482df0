//! Uploads in progress: their offsets and hash states, so that they resume after a restart of the server.
//!
//! Neither the bytes of an upload nor its row are synced before it ends: both survive the process, not the
//! machine. After a power failure a row could promise bytes that are lost. So each row has the boot id of the
//! machine, and opening the database deletes rows of earlier boots.
//!
//! Rows of several servers have no boot id: another server goes on with an upload whose bytes are in the
//! bucket. Such a state is synced.

use std::time::SystemTime;

use oci::RepositoryName;
use uuid::Uuid;

use super::rows::outbox::append;
use super::sql::{Row, Sql, params};
use super::writer::Durability;
use super::{ChangeKind, Metadata, NewChange, UnfinishedUpload, UploadRecord, columns};
use crate::StoreError;
use crate::blobs::UploadState;
use accounts::AccountName;

impl Metadata {
    /// Inserts an upload of an account, or of an anonymous client.
    pub async fn create_upload(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        state: &UploadState,
    ) -> Result<(), StoreError> {
        let (repository, state, boot) = (repository.clone(), state.clone(), self.boot());
        let account = account.cloned();
        self.write(durability(&state), move |sql| {
            sql.send(
                "INSERT INTO uploads
                    (id, repository, received, algorithm, hash_state, boot, updated_at, account, backend)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                params![
                    state.id.to_string(),
                    repository.as_str(),
                    columns::count_in(state.offset)?,
                    state.algorithm.as_str(),
                    state.hash_state,
                    boot,
                    columns::now(),
                    account.as_ref().map(AccountName::as_str),
                    state.backend,
                ],
            )
        })
        .await
    }

    /// Saves the state of an upload. Returns `false` if it was cancelled, has expired, or belongs to another
    /// repository or account.
    pub async fn save_upload(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        state: &UploadState,
    ) -> Result<bool, StoreError> {
        let (repository, state, account) = (repository.clone(), state.clone(), account.cloned());
        self.write(durability(&state), move |sql| {
            let saved = sql.run(
                "UPDATE uploads SET received = ?3, hash_state = ?4, updated_at = ?5, backend = ?7
                 WHERE id = ?1 AND repository = ?2 AND account IS NOT DISTINCT FROM ?6",
                params![
                    state.id.to_string(),
                    repository.as_str(),
                    columns::count_in(state.offset)?,
                    state.hash_state,
                    columns::now(),
                    account.as_ref().map(AccountName::as_str),
                    state.backend,
                ],
            )?;
            Ok(saved > 0)
        })
        .await
    }

    /// Deletes an upload. Returns `false` if the account has no such upload in this repository.
    pub async fn delete_upload(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        id: Uuid,
    ) -> Result<bool, StoreError> {
        let (repository, account) = (repository.clone(), account.cloned());
        self.free(Durability::Process, move |sql| delete(sql, &repository, account.as_ref(), id)).await
    }

    /// Deletes an expired upload of any account. Returns `false` if it does not exist.
    pub async fn expire_upload(&self, id: Uuid) -> Result<bool, StoreError> {
        self.free(Durability::Process, move |sql| {
            let repository = sql.first(
                "DELETE FROM uploads WHERE id = ?1 RETURNING repository",
                params![id.to_string()],
                |row| columns::text(row, 0),
            )?;
            let Some(repository) = repository else { return Ok(false) };
            let detail = serde_json::json!({ "upload": id.to_string() });
            append(sql, NewChange::of(ChangeKind::UploadExpired, &repository).detail(detail))?;
            Ok(true)
        })
        .await
    }

    /// Returns an upload of this account in this repository.
    pub async fn upload(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        id: Uuid,
    ) -> Result<Option<UploadRecord>, StoreError> {
        let (repository, account) = (repository.clone(), account.cloned());
        self.read(move |sql| {
            sql.first(
                "SELECT id, repository, received, algorithm, hash_state, backend FROM uploads
                 WHERE id = ?1 AND repository = ?2 AND account IS NOT DISTINCT FROM ?3",
                params![id.to_string(), repository.as_str(), account.as_ref().map(AccountName::as_str)],
                record,
            )
        })
        .await
    }

    /// Returns uploads last saved before `older_than`, the oldest first.
    pub async fn expired_uploads(
        &self,
        older_than: SystemTime,
        limit: usize,
    ) -> Result<Vec<UploadRecord>, StoreError> {
        self.read(move |sql| {
            sql.all(
                "SELECT id, repository, received, algorithm, hash_state, backend FROM uploads
                 WHERE updated_at < ?1 ORDER BY updated_at LIMIT ?2",
                params![columns::time_in(older_than), columns::limit_in(limit)],
                record,
            )
        })
        .await
    }

    /// The key that seals the ids of uploads: 32 random bytes that never change.
    pub async fn upload_secret(&self) -> Result<Vec<u8>, StoreError> {
        let secret =
            self.read(|sql| sql.first("SELECT secret FROM upload_secret", &[], |row| row.get(0))).await?;
        secret.ok_or_else(|| {
            StoreError::Damaged("the database has no secret for the ids of uploads".to_owned())
        })
    }

    /// Forgets all uploads: their bytes are in another blob store.
    pub async fn forget_uploads(&self) -> Result<(), StoreError> {
        self.free(Durability::Disk, |sql| sql.run("DELETE FROM uploads", &[]).map(drop)).await
    }

    /// All uploads. The blob store can drop the bytes of any other.
    pub async fn unfinished_uploads(&self) -> Result<Vec<UnfinishedUpload>, StoreError> {
        self.read(|sql| {
            sql.all("SELECT id, repository, account, received FROM uploads ORDER BY id", &[], |row| {
                Ok(UnfinishedUpload {
                    id: columns::text(row, 0)?,
                    repository: columns::text(row, 1)?,
                    account: columns::text_or_null(row, 2)?,
                    received: columns::count(row, 3)?,
                })
            })
        })
        .await
    }
}

fn record(row: &Row<'_>) -> Result<UploadRecord, StoreError> {
    Ok(UploadRecord {
        repository: columns::text(row, 1)?,
        state: UploadState {
            id: columns::text(row, 0)?,
            offset: columns::count(row, 2)?,
            algorithm: columns::text(row, 3)?,
            hash_state: row.get(4)?,
            backend: row.get(5)?,
            is_shared: false,
        },
    })
}

/// Deletes an upload of this account in this repository. Returns `false` if there is none.
pub(super) fn delete(
    sql: Sql<'_>,
    repository: &RepositoryName,
    account: Option<&AccountName>,
    id: Uuid,
) -> Result<bool, StoreError> {
    let deleted = sql.run(
        "DELETE FROM uploads WHERE id = ?1 AND repository = ?2 AND account IS NOT DISTINCT FROM ?3",
        params![id.to_string(), repository.as_str(), account.map(AccountName::as_str)],
    )?;
    Ok(deleted > 0)
}

/// The boot id in the rows of several servers.
pub(super) const SHARED_BOOT: &str = "shared";

fn durability(state: &UploadState) -> Durability {
    if state.is_shared { Durability::Disk } else { Durability::Process }
}

/// Deletes the uploads of other boots. Returns their number.
pub(super) fn delete_other_boots(sql: Sql<'_>, boot: &str) -> Result<usize, StoreError> {
    sql.run("DELETE FROM uploads WHERE boot <> ?1", params![boot])
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::{Duration, SystemTime};

    use oci::Algorithm;
    use uuid::Uuid;

    use super::super::fixtures::{empty, name, open};
    use super::Durability;
    use crate::blobs::UploadState;

    pub(in super::super) fn state(offset: u64) -> UploadState {
        UploadState {
            id: Uuid::new_v4(),
            offset,
            algorithm: Algorithm::Sha512,
            hash_state: vec![1, 2, 3, 0],
            backend: "parts".to_owned(),
            is_shared: false,
        }
    }

    #[tokio::test]
    async fn upload_resumes_after_a_restart() {
        let (metadata, directory) = empty();
        let app = name("app");
        let mut upload = state(0);
        metadata.create_upload(&app, None, &upload).await.unwrap();
        upload.offset = 1 << 40;
        upload.hash_state = vec![9; 208];
        assert!(metadata.save_upload(&app, None, &upload).await.unwrap());
        assert!(!metadata.repository_exists(&app).await.unwrap(), "an upload makes no repository");

        metadata.close().await;
        let metadata = open(&directory);
        let found = metadata.upload(&app, None, upload.id).await.unwrap().unwrap();
        assert_eq!((found.repository, found.state), (app, upload.clone()));
        let unfinished = metadata.unfinished_uploads().await.unwrap();
        assert_eq!(unfinished.iter().map(|upload| upload.id).collect::<Vec<_>>(), [upload.id]);
    }

    #[tokio::test]
    async fn upload_is_absent_in_another_repository() {
        let (metadata, _directory) = empty();
        let (app, other, upload) = (name("app"), name("app/x"), state(5));
        metadata.create_upload(&app, None, &upload).await.unwrap();
        assert_eq!(metadata.upload(&other, None, upload.id).await.unwrap(), None);
        assert!(!metadata.save_upload(&other, None, &upload).await.unwrap());
        assert!(!metadata.delete_upload(&other, None, upload.id).await.unwrap());
        metadata
            .link_uploaded_blob(&other, &super::super::fixtures::digest("b"), 1, None, upload.id)
            .await
            .unwrap();
        assert!(metadata.upload(&app, None, upload.id).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn cancelled_upload_cannot_be_saved() {
        let (metadata, _directory) = empty();
        let (app, upload) = (name("app"), state(5));
        metadata.create_upload(&app, None, &upload).await.unwrap();
        assert!(metadata.delete_upload(&app, None, upload.id).await.unwrap());
        assert!(!metadata.delete_upload(&app, None, upload.id).await.unwrap());
        assert!(!metadata.save_upload(&app, None, &upload).await.unwrap());
        assert!(metadata.unfinished_uploads().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn uploads_expire_by_their_last_save() {
        let (metadata, _directory) = empty();
        let upload = state(5);
        metadata.create_upload(&name("app"), None, &upload).await.unwrap();
        let hour = Duration::from_secs(3_600);
        assert_eq!(metadata.expired_uploads(SystemTime::now() - hour, 10).await.unwrap(), []);
        let expired = metadata.expired_uploads(SystemTime::now() + hour, 10).await.unwrap();
        assert_eq!(expired.into_iter().map(|record| record.state).collect::<Vec<_>>(), [upload]);
        assert_eq!(metadata.expired_uploads(SystemTime::now() + hour, 0).await.unwrap(), []);
    }

    #[tokio::test]
    async fn upload_of_an_earlier_boot_is_deleted() {
        let (metadata, directory) = empty();
        let (app, upload) = (name("app"), state(5));
        metadata.create_upload(&app, None, &upload).await.unwrap();
        let earlier = metadata.write(Durability::Disk, |sql| {
            sql.run("UPDATE uploads SET boot = 'the one before'", &[])?;
            Ok(())
        });
        earlier.await.unwrap();
        metadata.close().await;
        let metadata = open(&directory);
        assert_eq!(metadata.upload(&app, None, upload.id).await.unwrap(), None);
    }
}
