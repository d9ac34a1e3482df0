//! Uploads: blobs that clients are sending.
//!
//! An upload belongs to one repository and one account, or to anonymous clients; to all others it does not
//! exist. Between requests its state (offset and hash state) is in the metadata, so that it survives a
//! restart; a copy in memory saves the lookup. An empty upload is only its id, see `ids`. Requests to one
//! upload are serialized by a lock.
//!
//! - `lock`: the lock of an upload, and its state between requests.
//! - `receive`: reads a request body into an upload.
//! - `open_uploads`: uploads in memory.
//! - `expiry`: removes idle uploads.
//! - `unfinished`: their owners and bytes, for quotas.

mod expiry;
mod ids;
mod lock;
mod open_uploads;
mod receive;
mod unfinished;

use std::sync::Arc;

use accounts::AccountName;
use bytes::Bytes;
use futures_core::Stream;
use oci::{Algorithm, Digest, RepositoryName};
use store::StoreError;
use tracing::Instrument as _;
use uuid::Uuid;

pub(crate) use self::ids::UploadIds;
use self::lock::UploadLock;
pub(crate) use self::open_uploads::OpenUploads;
use self::open_uploads::UploadState;
pub(crate) use self::unfinished::Unfinished;
use self::unfinished::{Temporary, max_uploads};
use crate::blobs::blob_span;
use crate::{Error, ReceiveError, Registry};

/// Content up to this size in bytes is stored in the transaction that links it, and leaves no file behind.
const JOURNALED: u64 = 64 << 10;

/// The progress of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadStatus {
    /// The id in the URL.
    pub id: Uuid,
    /// The number of received bytes.
    pub offset: u64,
}

/// A Content-Range: both ends are inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRange {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last byte; not less than `first`.
    pub last: u64,
}

/// A request body as a stream of chunks.
pub trait Body: Stream<Item = Result<Bytes, ReceiveError>> + Send + Unpin + 'static {}
impl<S: Stream<Item = Result<Bytes, ReceiveError>> + Send + Unpin + 'static> Body for S {}

impl Registry {
    /// Begins an upload of the account, or of anonymous clients.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::QuotaExceeded`], [`Error::TooManyUploads`], or an error of the store.
    pub async fn begin_upload(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        algorithm: Algorithm,
    ) -> Result<UploadStatus, Error> {
        let inner = &self.inner;
        self.check_writable(0)?;
        self.check_quota(repository, None).await?;
        self.check_unfinished(repository, None).await?;
        if !inner.unfinished.has_room(account) {
            if let Some((id, repository)) = inner.unfinished.yielding(account) {
                self.expire_upload(&repository, id).await?;
            }
            if !inner.unfinished.has_room(account) {
                return Err(Error::TooManyUploads { account: account.cloned(), limit: max_uploads(account) });
            }
        }
        let id = inner.upload_ids.issue(repository, account, algorithm);
        if inner.open_uploads.has_room() {
            inner.open_uploads.get_or_insert(repository, account, id, UploadState::Empty(algorithm));
        } else {
            let state = inner.blobs.begin(id, algorithm).await?.save().await?;
            self.metadata.create_upload(repository, account, &state).await?;
        }
        inner.unfinished.entry(id, repository, account);
        Ok(UploadStatus { id, offset: 0 })
    }

    /// Returns the progress of an upload.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`], also for an upload of another repository or account.
    pub async fn upload_status(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        id: Uuid,
    ) -> Result<UploadStatus, Error> {
        let open = self.open_upload(repository, account, id).await?;
        let record = self.metadata.upload(repository, account, id).await?;
        let offset = match record {
            Some(record) => record.state.offset,
            // Neither stored nor ended: it is empty, or its first bytes are being received.
            None if self.inner.open_uploads.get(id).is_some_and(|current| Arc::ptr_eq(&current, &open)) => 0,
            None => return Err(Error::UploadUnknown(id)),
        };
        Ok(UploadStatus { id, offset })
    }

    /// Appends a chunk, or a body of any length without a range. Bytes received before a broken connection
    /// are kept.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] if the range does not begin where the upload ends,
    /// [`Error::ChunkLength`] if the chunk is not as long as its range, [`Error::BlobTooLarge`],
    /// [`Error::Receive`], [`Error::UploadUnknown`], [`Error::Full`].
    pub async fn append_upload(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        id: Uuid,
        range: Option<ChunkRange>,
        body: impl Body,
    ) -> Result<UploadStatus, Error> {
        let (registry, repository, account) = (self.clone(), repository.clone(), account.cloned());
        self.detach(async move {
            let lock = registry.lock_upload(&repository, account.as_ref(), id).await?;
            let start = lock.upload.offset();
            let (lock, received) =
                registry.receive_locked(&repository, account.as_ref(), lock, range, body).await?;
            let offset = lock.upload.offset();
            // Clients that send no chunks send all bytes in the first request, and end the upload with the
            // next.
            let is_chunk = range.is_some() || start > 0 || received.is_err();
            registry.save_upload(&repository, account.as_ref(), lock, is_chunk).await?;
            received.map(|()| UploadStatus { id, offset })
        })
        .await
    }

    /// Appends the last bytes, if any, and commits the blob: durable and linked in the repository. Returns
    /// its size in bytes.
    ///
    /// # Errors
    /// The errors of [`Registry::append_upload`], and [`Error::DigestMismatch`], which ends the upload.
    pub async fn finish_upload(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        id: Uuid,
        range: Option<ChunkRange>,
        digest: Digest,
        body: impl Body,
    ) -> Result<u64, Error> {
        let (registry, repository, account) = (self.clone(), repository.clone(), account.cloned());
        self.detach(async move {
            registry.check_place()?;
            let lock = registry.lock_upload(&repository, account.as_ref(), id).await?;
            let (lock, received) =
                registry.receive_locked(&repository, account.as_ref(), lock, range, body).await?;
            if let Err(error) = received {
                registry.save_upload(&repository, account.as_ref(), lock, true).await?;
                return Err(error);
            }
            let is_stored = lock.is_stored();
            let UploadLock { upload, mut state } = lock;
            let inner = &registry.inner;
            let lease = inner.guards.store(&digest).await;
            let committed = match registry.lease_large(&digest, upload.offset()).await {
                Ok(()) => upload.commit(&digest).instrument(blob_span("commit")).await,
                Err(error) => Err(error),
            };
            let stored = match committed {
                Ok(stored) => stored,
                Err(mismatch @ StoreError::DigestMismatch { .. }) => {
                    if is_stored {
                        registry.metadata.delete_upload(&repository, account.as_ref(), id).await?;
                    }
                    registry.end(id, &mut state);
                    return Err(mismatch.into());
                }
                Err(error) => {
                    return Err(registry
                        .abandon(&repository, account.as_ref(), id, state, error.into())
                        .await);
                }
            };
            let size = stored.size;
            if is_stored {
                registry
                    .metadata
                    .link_uploaded_blob(&repository, &digest, stored, account.as_ref(), id)
                    .await?;
            } else {
                registry.metadata.link_blob(&repository, &digest, stored).await?;
            }
            lease.linked();
            inner.guards.lease(&repository, &digest);
            registry.end(id, &mut state);
            Ok(size)
        })
        .await
    }

    /// Receives a whole blob in one request. Returns its size in bytes.
    ///
    /// # Errors
    /// The errors of [`Registry::finish_upload`].
    pub async fn upload_blob(
        &self,
        repository: &RepositoryName,
        digest: Digest,
        body: impl Body,
    ) -> Result<u64, Error> {
        let (registry, repository) = (self.clone(), repository.clone());
        self.detach(async move {
            let inner = &registry.inner;
            registry.check_writable(0)?;
            let limit = registry.upload_limit(&repository).await?;
            // No other request knows this upload, so it has no record. After a crash, the next start removes
            // its file.
            let id = Uuid::new_v4();
            let _unfinished = Temporary { unfinished: &inner.unfinished, id };
            let upload = inner.blobs.begin_known(id, &digest, false).await?;
            let stored = async {
                let (upload, received) = registry
                    .receive(upload, (&repository, None), None, body, limit)
                    .instrument(blob_span("receive"))
                    .await?;
                received?;
                let lease = inner.guards.store(&digest).await;
                registry.lease_large(&digest, upload.offset()).await?;
                Ok((upload.commit(&digest).instrument(blob_span("commit")).await?, lease))
            };
            match stored.await {
                Ok((stored, lease)) => {
                    let size = stored.size;
                    registry.metadata.link_blob(&repository, &digest, stored).await?;
                    lease.linked();
                    inner.guards.lease(&repository, &digest);
                    Ok(size)
                }
                Err(error) => {
                    inner.blobs.abort(id).await?;
                    Err(error)
                }
            }
        })
        .await
    }

    /// Records a lease on content that gets a file of its own before it is linked.
    pub(crate) async fn lease_large(&self, digest: &Digest, bytes: u64) -> Result<(), StoreError> {
        // A bucket journals nothing.
        match bytes > JOURNALED || self.inner.directory.objects().is_some() {
            true => self.metadata.lease_blob(digest).await,
            false => Ok(()),
        }
    }

    /// Cancels an upload and removes its bytes.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`], [`Error::UploadBusy`].
    pub async fn cancel_upload(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        id: Uuid,
    ) -> Result<(), Error> {
        let lock = self.lock_upload(repository, account, id).await?;
        self.discard(repository, account, lock).await
    }
}
