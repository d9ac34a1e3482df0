//! Uploads: blobs on their way in.
//!
//! An upload belongs to one repository and one account, or to nobody in particular; for everybody
//! else it does not exist. Between requests it is written down in the metadata (how
//! far it came, and the state of its hash), so that it goes on after a restart; the copy in memory
//! only saves looking it up. One that took in nothing is not written down: its id is enough (see
//! `ids`). While a request writes to it, others wait for their turn.
//!
//! Receiving overlaps with hashing and writing, which the store does in the background.

mod ids;
mod open_uploads;

use std::sync::Arc;
use std::time::Duration;

use accounts::AccountName;
use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt;
use oci::{Algorithm, Digest, RepositoryName};
use store::{StoreError, Upload};
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

pub(crate) use self::ids::UploadIds;
pub(crate) use self::open_uploads::OpenUploads;
use self::open_uploads::{OpenUpload, UploadState};
use crate::detach::detach;
use crate::{Error, ReceiveError, Registry};

/// How long a request waits for another that writes to the same upload, which is most often the
/// rest of a torn connection.
const TURN: Duration = Duration::from_secs(5);

/// How far an upload came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadStatus {
    /// Names the upload.
    pub id: Uuid,
    /// How many bytes were taken in.
    pub offset: u64,
}

/// Where a chunk belongs, as a Content-Range says: both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRange {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last byte; not less than `first`.
    pub last: u64,
}

/// The body of a request, piece by piece.
pub trait Body: Stream<Item = Result<Bytes, ReceiveError>> + Send + Unpin + 'static {}
impl<S: Stream<Item = Result<Bytes, ReceiveError>> + Send + Unpin + 'static> Body for S {}

/// The right to write to an upload.
struct Turn {
    upload: Upload,
    slot: OwnedMutexGuard<UploadState>,
}

impl Registry {
    /// Begins an upload, which belongs to the account, or to nobody in particular.
    ///
    /// # Errors
    /// [`Error::Full`], or those of the store.
    pub async fn begin_upload(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        algorithm: Algorithm,
    ) -> Result<UploadStatus, Error> {
        let inner = &self.inner;
        inner.content.check()?;
        let id = inner.upload_ids.give(repository, account, algorithm);
        if inner.open_uploads.has_room() {
            inner.open_uploads.enter(repository, account, id, UploadState::Begun(algorithm));
        } else {
            let state = inner.blobs.begin(id, algorithm).await?.save().await?;
            inner.metadata.create_upload(repository, account, &state).await?;
        }
        Ok(UploadStatus { id, offset: 0 })
    }

    /// How far an upload came.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`], also for an upload of another repository or account.
    pub async fn upload_status(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        id: Uuid,
    ) -> Result<UploadStatus, Error> {
        let session = self.session(repository, account, id).await?;
        let record = self.inner.metadata.upload(repository, account, id).await?;
        let offset = match record {
            Some(record) => record.state.offset,
            // Not written down and not ended: the first bytes are on their way, if any.
            None if self.inner.open_uploads.get(id).is_some_and(|now| Arc::ptr_eq(&now, &session)) => 0,
            None => return Err(Error::UploadUnknown(id)),
        };
        Ok(UploadStatus { id, offset })
    }

    /// Takes in a chunk, or with no range whatever comes. What arrived before a connection broke is kept.
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
        detach(async move {
            let turn = registry.take_turn(&repository, account.as_ref(), id).await?;
            let (turn, received) =
                registry.receive_in_turn(&repository, account.as_ref(), turn, range, body).await?;
            let offset = turn.upload.offset();
            registry.write_down(&repository, account.as_ref(), turn).await?;
            received.map(|()| UploadStatus { id, offset })
        })
        .await
    }

    /// Takes in the last bytes, if any, and makes the blob: durable and part of the repository.
    /// Returns its size in bytes.
    ///
    /// # Errors
    /// Those of [`Registry::append_upload`], and [`Error::DigestMismatch`], which ends the upload.
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
        detach(async move {
            registry.inner.content.check()?;
            let turn = registry.take_turn(&repository, account.as_ref(), id).await?;
            let (turn, received) =
                registry.receive_in_turn(&repository, account.as_ref(), turn, range, body).await?;
            if let Err(error) = received {
                registry.write_down(&repository, account.as_ref(), turn).await?;
                return Err(error);
            }
            let is_written = turn.is_written();
            let Turn { upload, mut slot } = turn;
            let inner = &registry.inner;
            let committed = upload.commit(&digest).await;
            let stored = match committed {
                Ok(stored) => stored,
                Err(mismatch @ StoreError::DigestMismatch { .. }) => {
                    if is_written {
                        inner.metadata.delete_upload(&repository, account.as_ref(), id).await?;
                    }
                    registry.end(id, &mut slot);
                    return Err(mismatch.into());
                }
                Err(error) => {
                    return Err(registry.failed(&repository, account.as_ref(), id, slot, error.into()).await);
                }
            };
            let size = stored.size;
            if is_written {
                inner.metadata.link_uploaded_blob(&repository, &digest, stored, account.as_ref(), id).await?;
            } else {
                inner.metadata.link_blob(&repository, &digest, stored).await?;
            }
            registry.end(id, &mut slot);
            inner.background.wake_view();
            Ok(size)
        })
        .await
    }

    /// Takes in a whole blob in one request. Returns its size in bytes.
    ///
    /// # Errors
    /// Those of [`Registry::finish_upload`].
    pub async fn upload_blob(
        &self,
        repository: &RepositoryName,
        digest: Digest,
        body: impl Body,
    ) -> Result<u64, Error> {
        let (registry, repository) = (self.clone(), repository.clone());
        detach(async move {
            let inner = &registry.inner;
            inner.content.check()?;
            // Nobody else knows this upload, so it is not written down: if the process dies, its
            // file is swept away at the next start.
            let id = Uuid::new_v4();
            let upload = inner.blobs.begin(id, digest.algorithm()).await?;
            let stored = async {
                let (upload, received) = registry.receive(upload, None, body).await?;
                received?;
                Ok(upload.commit(&digest).await?)
            };
            match stored.await {
                Ok(stored) => {
                    let size = stored.size;
                    inner.metadata.link_blob(&repository, &digest, stored).await?;
                    inner.background.wake_view();
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

    /// Forgets an upload and what it took in.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`], [`Error::UploadBusy`].
    pub async fn cancel_upload(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        id: Uuid,
    ) -> Result<(), Error> {
        let mut turn = self.take_turn(repository, account, id).await?;
        if turn.is_written() {
            self.inner.metadata.delete_upload(repository, account, id).await?;
        }
        self.end(id, &mut turn.slot);
        drop(turn);
        Ok(self.inner.blobs.abort(id).await?)
    }

    /// Forgets the uploads that took in nothing for the time that the policy allows. Returns how many.
    pub(crate) async fn expire_uploads(&self) -> Result<usize, Error> {
        let Some(limit) = std::time::SystemTime::now().checked_sub(self.inner.policy.upload_expiry) else {
            return Ok(0);
        };
        self.inner.upload_ids.forget_expired(self.inner.policy.upload_expiry);
        let mut expired = self.inner.open_uploads.expire(self.inner.policy.upload_expiry);
        loop {
            let batch = self.inner.metadata.expired_uploads(limit, 100).await?;
            let mut gone = 0;
            for record in &batch {
                gone += usize::from(self.expire_upload(&record.repository, record.state.id).await?);
            }
            expired += gone;
            if gone == 0 {
                return Ok(expired);
            }
        }
    }

    /// Forgets an upload, whosever it is, unless somebody is writing to it.
    async fn expire_upload(&self, repository: &RepositoryName, id: Uuid) -> Result<bool, Error> {
        let inner = &self.inner;
        let session = inner.open_uploads.enter(repository, None, id, UploadState::Written);
        let Ok(mut slot) = session.upload.clone().try_lock_owned() else { return Ok(false) };
        let was_there = inner.metadata.expire_upload(id).await;
        // Who waits for a turn finds nothing any more.
        self.end(id, &mut slot);
        drop(slot);
        let was_there = was_there?;
        inner.blobs.abort(id).await?;
        Ok(was_there)
    }

    /// The session of an upload of this account in this repository, whether it was in memory or not.
    async fn session(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        id: Uuid,
    ) -> Result<Arc<OpenUpload>, Error> {
        let inner = &self.inner;
        let resting = match inner.open_uploads.get(id) {
            Some(session) if session.is_of(repository, account) => return Ok(session),
            Some(_) => return Err(Error::UploadUnknown(id)),
            // Asked before a session is made, so that made-up ids leave nothing behind.
            None if inner.metadata.upload(repository, account, id).await?.is_some() => UploadState::Written,
            None => {
                let expiry = inner.policy.upload_expiry;
                let recognised = inner.upload_ids.recognise(id, repository, account, expiry);
                UploadState::Begun(recognised.ok_or(Error::UploadUnknown(id))?)
            }
        };
        Ok(inner.open_uploads.enter(repository, account, id, resting))
    }

    async fn take_turn(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        id: Uuid,
    ) -> Result<Turn, Error> {
        let session = self.session(repository, account, id).await?;
        let slot = tokio::time::timeout(TURN, session.upload.clone().lock_owned());
        let mut slot = slot.await.map_err(|_| Error::UploadBusy(id))?;
        let upload = match std::mem::replace(&mut *slot, UploadState::Written) {
            UploadState::InMemory(upload) => upload,
            UploadState::Begun(algorithm) => {
                *slot = UploadState::Begun(algorithm);
                self.inner.blobs.begin(id, algorithm).await?
            }
            UploadState::Written => match self.inner.metadata.upload(repository, account, id).await? {
                Some(record) => self.inner.blobs.resume(&record.state).await?,
                None => {
                    self.end(id, &mut slot);
                    return Err(Error::UploadUnknown(id));
                }
            },
            UploadState::Ended => {
                *slot = UploadState::Ended;
                return Err(Error::UploadUnknown(id));
            }
        };
        Ok(Turn { upload, slot })
    }

    /// Writes down how far an upload came, and leaves it for the next request.
    async fn write_down(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        turn: Turn,
    ) -> Result<(), Error> {
        let is_written = turn.is_written();
        let Turn { mut upload, mut slot } = turn;
        if !is_written && upload.offset() == 0 {
            return Ok(());
        }
        let state = match upload.save().await {
            Ok(state) => state,
            Err(error) => {
                return Err(self.failed(repository, account, upload.id(), slot, error.into()).await);
            }
        };
        if is_written {
            self.inner.metadata.save_upload(repository, account, &state).await?;
        } else {
            self.inner.metadata.create_upload(repository, account, &state).await?;
        }
        *slot = UploadState::InMemory(upload);
        Ok(())
    }

    /// An upload is no more: neither for those who wait for their turn nor for those who come later.
    fn end(&self, id: Uuid, slot: &mut UploadState) {
        *slot = UploadState::Ended;
        self.inner.upload_ids.end(id);
        self.inner.open_uploads.leave(id);
    }

    /// Receives a body into the upload whose turn it is, as [`receive`](Self::receive) does. An outer error leaves the
    /// upload as it was last written down.
    async fn receive_in_turn(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        turn: Turn,
        range: Option<ChunkRange>,
        body: impl Body,
    ) -> Result<(Turn, Result<(), Error>), Error> {
        let Turn { upload, slot } = turn;
        let id = upload.id();
        match self.receive(upload, range, body).await {
            // None of the bytes of a chunk that is not as long as its range stay: the upload is as it was before.
            Ok((_, Err(error @ Error::ChunkLength { .. }))) => {
                Err(self.failed(repository, account, id, slot, error).await)
            }
            Ok((upload, received)) => Ok((Turn { upload, slot }, received)),
            Err(error) => Err(self.failed(repository, account, id, slot, error).await),
        }
    }

    /// The store failed. An upload that is not written down took in nothing then, so nothing of what
    /// it took in is kept either.
    /// One whose bytes are gone ends, so that the client begins another.
    async fn failed(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        id: Uuid,
        mut slot: OwnedMutexGuard<UploadState>,
        error: Error,
    ) -> Error {
        if let Error::Store(StoreError::UploadLost { .. }) = &error {
            tracing::warn!(%error, "an upload ends, because somebody removed or cut its file");
            let is_written = !matches!(*slot, UploadState::Begun(_));
            if is_written && let Err(also) = self.inner.metadata.delete_upload(repository, account, id).await
            {
                tracing::warn!(error = %also, "an upload whose file is gone could not be forgotten");
            }
            self.end(id, &mut slot);
            return Error::UploadUnknown(id);
        }
        if matches!(*slot, UploadState::Begun(_))
            && let Err(also) = self.inner.blobs.abort(id).await
        {
            tracing::warn!(error = %also, "what an upload took in in vain could not be removed");
        }
        error
    }

    /// Receives a body into an upload. Returns the upload with the bytes received so far, and the error of the body.
    /// The outer error is one of the store: the upload is then as it was last saved.
    async fn receive(
        &self,
        mut upload: Upload,
        range: Option<ChunkRange>,
        mut body: impl Body,
    ) -> Result<(Upload, Result<(), Error>), Error> {
        let start = upload.offset();
        if let Some(range) = range
            && range.first != start
        {
            let error = Error::OutOfOrder { id: upload.id(), offset: start };
            return Ok((upload, Err(error)));
        }
        let expected = range.map(|range| range.last - range.first + 1);
        let mut received: u64 = 0;
        while let Some(piece) = body.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => return Ok((upload, Err(error.into()))),
            };
            received += piece.len() as u64;
            if let Some(limit) = self.inner.policy.blob_bytes
                && start + received > limit
            {
                return Ok((upload, Err(Error::BlobTooLarge { limit })));
            }
            if let Some(expected) = expected
                && received > expected
            {
                return Ok((upload, Err(Error::ChunkLength { expected, actual: received })));
            }
            upload.write(piece).await?;
        }
        let outcome = match expected {
            Some(expected) if expected != received => Err(Error::ChunkLength { expected, actual: received }),
            _ => Ok(()),
        };
        Ok((upload, outcome))
    }
}

impl Turn {
    /// Whether the metadata knows the upload.
    fn is_written(&self) -> bool {
        !matches!(*self.slot, UploadState::Begun(_))
    }
}
