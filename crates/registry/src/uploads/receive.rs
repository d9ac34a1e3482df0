//! Reads a request body into an upload.
//!
//! Receiving overlaps with hashing and writing, which the store does on blocking threads.

use accounts::AccountName;
use futures_util::StreamExt;
use oci::RepositoryName;
use store::Upload;
use store::metadata::QuotaExcess;
use tracing::Instrument as _;

use super::lock::UploadLock;
use super::{Body, ChunkRange};
use crate::blobs::blob_span;
use crate::{Error, Registry};

/// The number of received bytes between two looks at the free space.
const SPACE_CHECK: u64 = 4 << 20;

impl Registry {
    /// The number of bytes that the quotas of the repository leave to an upload, with the error beyond it.
    pub(super) async fn upload_limit(
        &self,
        repository: &RepositoryName,
    ) -> Result<Option<(u64, QuotaExcess)>, Error> {
        self.quota_left(repository).await
    }

    /// Receives a body into a locked upload, like [`receive`](Self::receive). After an outer error the upload
    /// has its last stored progress.
    pub(super) async fn receive_locked(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        lock: UploadLock,
        range: Option<ChunkRange>,
        body: impl Body,
    ) -> Result<(UploadLock, Result<(), Error>), Error> {
        let UploadLock { upload, state } = lock;
        let id = upload.id();
        let start = upload.offset();
        let limit = self.upload_limit(repository).await?;
        let received = self.receive(upload, (repository, account), range, body, limit);
        let error = match received.instrument(blob_span("receive")).await {
            // A chunk with a wrong length is discarded as a whole.
            Ok((_, Err(error @ Error::ChunkLength { .. }))) => error,
            // It can never be finished, and its bytes would count towards the quota until they expire.
            Ok((upload, Err(error @ Error::QuotaExceeded(_)))) => {
                self.discard(repository, account, UploadLock { upload, state }).await?;
                return Err(error);
            }
            Ok((upload, received)) => return Ok((UploadLock { upload, state }, received)),
            Err(error) => error,
        };
        self.inner.unfinished.entry(id, repository, account).set_bytes(start);
        Err(self.abandon(repository, account, id, state, error).await)
    }

    /// Receives a body into an upload. Returns the upload with the bytes received so far, and the result of
    /// the body. After an outer error, one of the store, the upload has its last stored progress.
    pub(super) async fn receive(
        &self,
        mut upload: Upload,
        (repository, account): (&RepositoryName, Option<&AccountName>),
        range: Option<ChunkRange>,
        mut body: impl Body,
        quota: Option<(u64, QuotaExcess)>,
    ) -> Result<(Upload, Result<(), Error>), Error> {
        let (start, id) = (upload.offset(), upload.id());
        if let Some(range) = range
            && range.first != start
        {
            let error = Error::OutOfOrder { id: upload.id(), offset: start };
            return Ok((upload, Err(error)));
        }
        let expected = range.map(|range| range.last - range.first + 1);
        let mut received: u64 = 0;
        let unfinished = self.inner.unfinished.entry(id, repository, account);
        while let Some(chunk) = body.next().await {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => return Ok((upload, Err(error.into()))),
            };
            let before = received;
            received += chunk.len() as u64;
            if quota.is_some()
                && (before == 0 || before / SPACE_CHECK != received / SPACE_CHECK)
                && let Err(error) = self.check_unfinished(repository, Some(id)).await
            {
                return Ok((upload, Err(error)));
            }
            if let Some((left, excess)) = &quota
                && start + received > *left
            {
                return Ok((upload, Err(self.quota_exceeded(excess.clone()).await)));
            }
            if before / SPACE_CHECK != received / SPACE_CHECK
                && let Err(error) = self.check_reserve(0)
            {
                return Ok((upload, Err(error)));
            }
            if let Some(limit) = self.inner.policy.load().blob_bytes
                && start + received > limit
            {
                return Ok((upload, Err(Error::BlobTooLarge { limit })));
            }
            if let Some(expected) = expected
                && received > expected
            {
                return Ok((upload, Err(Error::ChunkLength { expected, actual: received })));
            }
            upload.write(chunk).await?;
            unfinished.set_bytes(start + received);
        }
        let outcome = match expected {
            Some(expected) if expected != received => Err(Error::ChunkLength { expected, actual: received }),
            _ => Ok(()),
        };
        Ok((upload, outcome))
    }
}
