//! The lock of an upload: one request at a time writes to it.

use std::sync::Arc;
use std::time::Duration;

use accounts::AccountName;
use oci::RepositoryName;
use store::{StoreError, Upload};
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use super::open_uploads::{OpenUpload, UploadState};
use crate::{Error, Registry};

/// How long a request waits for the lock, which is often still held by the request of a broken connection.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Exclusive access to an upload.
pub(super) struct UploadLock {
    pub(super) upload: Upload,
    pub(super) state: OwnedMutexGuard<UploadState>,
}

impl Registry {
    /// Returns the entry of an upload of this account in this repository, from memory or the metadata.
    pub(super) async fn open_upload(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        id: Uuid,
    ) -> Result<Arc<OpenUpload>, Error> {
        let inner = &self.inner;
        let state = match inner.open_uploads.get(id) {
            Some(open) if open.is_of(repository, account) => return Ok(open),
            Some(_) => return Err(Error::UploadUnknown(id)),
            // Verified before an entry is inserted, so that invalid ids use no memory.
            None => match self.metadata.upload(repository, account, id).await? {
                Some(record) if inner.blobs.is_resumable(&record.state).await? => UploadState::Stored,
                // Another server had its bytes. It expires.
                Some(_) => return Err(Error::UploadUnknown(id)),
                None => {
                    let expiry = inner.policy.load().upload_expiry;
                    let algorithm = inner.upload_ids.verify(id, repository, account, expiry);
                    UploadState::Empty(algorithm.ok_or(Error::UploadUnknown(id))?)
                }
            },
        };
        Ok(inner.open_uploads.get_or_insert(repository, account, id, state))
    }

    /// Locks an upload and loads its state.
    pub(super) async fn lock_upload(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        id: Uuid,
    ) -> Result<UploadLock, Error> {
        let open = self.open_upload(repository, account, id).await?;
        let locked = tokio::time::timeout(LOCK_TIMEOUT, open.state.clone().lock_owned());
        let mut state = locked.await.map_err(|_| Error::UploadBusy(id))?;
        let upload = match std::mem::replace(&mut *state, UploadState::Stored) {
            UploadState::InMemory(upload) => upload,
            UploadState::Empty(algorithm) => {
                *state = UploadState::Empty(algorithm);
                self.inner.blobs.begin(id, algorithm).await?
            }
            UploadState::Stored => match self.metadata.upload(repository, account, id).await? {
                Some(record) => self.inner.blobs.resume(&record.state).await?,
                None => {
                    self.end(id, &mut state);
                    return Err(Error::UploadUnknown(id));
                }
            },
            UploadState::Ended => {
                *state = UploadState::Ended;
                return Err(Error::UploadUnknown(id));
            }
        };
        Ok(UploadLock { upload, state })
    }

    /// Stores the progress of an upload for the next request, and unlocks it. `is_chunk`: the client goes on
    /// with it at another server if this one ends.
    pub(super) async fn save_upload(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        lock: UploadLock,
        is_chunk: bool,
    ) -> Result<(), Error> {
        let is_stored = lock.is_stored();
        let UploadLock { mut upload, mut state } = lock;
        if !is_stored && upload.offset() == 0 {
            return Ok(());
        }
        let saved = if is_chunk { upload.save_for_others().await } else { upload.save().await };
        let progress = match saved {
            Ok(progress) => progress,
            Err(error) => {
                return Err(self.abandon(repository, account, upload.id(), state, error.into()).await);
            }
        };
        if is_stored {
            self.metadata.save_upload(repository, account, &progress).await?;
        } else {
            self.metadata.create_upload(repository, account, &progress).await?;
        }
        *state = UploadState::InMemory(upload);
        Ok(())
    }

    /// Ends an upload and removes its bytes.
    pub(super) async fn discard(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        mut lock: UploadLock,
    ) -> Result<(), Error> {
        let id = lock.upload.id();
        if lock.is_stored() {
            self.metadata.delete_upload(repository, account, id).await?;
        }
        self.end(id, &mut lock.state);
        drop(lock);
        Ok(self.inner.blobs.abort(id).await?)
    }

    /// Ends an upload for waiting and later requests.
    pub(super) fn end(&self, id: Uuid, state: &mut UploadState) {
        *state = UploadState::Ended;
        self.inner.upload_ids.end(id);
        self.inner.unfinished.remove(id);
        self.inner.open_uploads.remove(id);
    }

    /// Handles an error of the store. A stored upload stays at its last stored progress, and an empty one
    /// loses the received bytes. An upload whose file is gone ends, so that the client begins another.
    pub(super) async fn abandon(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        id: Uuid,
        mut state: OwnedMutexGuard<UploadState>,
        error: Error,
    ) -> Error {
        if let Error::Store(StoreError::UploadLost { .. }) = &error {
            tracing::warn!(%error, "an upload ends because its file was removed or truncated");
            let is_stored = !matches!(*state, UploadState::Empty(_));
            if is_stored && let Err(also) = self.metadata.delete_upload(repository, account, id).await {
                tracing::warn!(error = %also, "cannot delete the record of an upload whose file is gone");
            }
            self.end(id, &mut state);
            if let Err(also) = self.inner.blobs.abort(id).await {
                tracing::warn!(error = %also, "cannot remove the parts of an upload whose file is gone");
            }
            return Error::UploadUnknown(id);
        }
        if matches!(*state, UploadState::Empty(_))
            && let Err(also) = self.inner.blobs.abort(id).await
        {
            tracing::warn!(error = %also, "cannot remove the bytes of a failed upload");
        }
        error
    }
}

impl UploadLock {
    /// Whether the metadata has a record of the upload.
    pub(super) fn is_stored(&self) -> bool {
        !matches!(*self.state, UploadState::Empty(_))
    }
}
