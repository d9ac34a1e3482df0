//! Integrity: whether the stored file of a blob or manifest is what the metadata records.
//!
//! Content whose file is missing or has another size, or that is marked as damaged in the metadata, is absent to a push:
//! HEAD answers 404, a mount becomes an upload, and a manifest that needs it is refused. The next push of the content
//! replaces the file and clears the mark.

use futures_util::StreamExt;
use oci::{Digest, Digester, RepositoryName};
use store::StoreError;

use crate::{Error, Registry};

impl Registry {
    /// The size of a stored file; `None` if there is none. Costs one stat, mostly without another thread.
    pub(crate) async fn stored_size(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        match self.inner.blobs.stat_cached(digest) {
            Some(size) => Ok(Some(size)),
            None => self.inner.blobs.stat(digest).await,
        }
    }

    /// The error for a blob whose file is not what is recorded, with a line in the log for the operator.
    pub(crate) fn blob_damaged(&self, repository: &RepositoryName, digest: &Digest, problem: &str) -> Error {
        tracing::error!(%repository, %digest, problem, "a blob is missing or damaged; push it again to restore it");
        Error::BlobDamaged { repository: repository.clone(), digest: *digest }
    }

    /// The same for a manifest.
    pub(crate) fn manifest_damaged(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        problem: &str,
    ) -> Error {
        tracing::error!(%repository, %digest, problem, "a manifest is missing or damaged; push it again to restore it");
        Error::ManifestDamaged { repository: repository.clone(), digest: *digest }
    }

    /// Marks content as damaged, or as sound, and removes what is cached of it.
    pub(crate) async fn mark_damaged(&self, digest: &Digest, is_damaged: bool) -> Result<(), StoreError> {
        if self.inner.metadata.mark_damaged(digest, is_damaged).await? {
            self.inner.cache.content_changed(digest);
            if is_damaged {
                tracing::error!(%digest, "the stored bytes do not have this digest; push the content again to restore it");
            }
        }
        Ok(())
    }

    /// Reads content and compares it with its digest. Sets or clears its mark. `progress` hears how many bytes are
    /// read, and ends the reading where it returns `false`.
    pub(crate) async fn verify(
        &self,
        digest: &Digest,
        progress: impl Fn(u64) -> bool,
    ) -> Result<Verified, StoreError> {
        let mut verified = self.read_digest(digest, &progress).await?;
        if matches!(verified, Verified::Stored(actual) if actual != *digest) {
            // A push may have replaced the file meanwhile.
            verified = self.read_digest(digest, &progress).await?;
        }
        if let Verified::Stored(actual) = verified {
            self.mark_damaged(digest, actual != *digest).await?;
        }
        Ok(verified)
    }

    async fn read_digest(
        &self,
        digest: &Digest,
        progress: impl Fn(u64) -> bool,
    ) -> Result<Verified, StoreError> {
        let Some(blob) = self.inner.blobs.open(digest).await? else { return Ok(Verified::Missing) };
        let mut digester = Digester::new(digest.algorithm());
        let (size, mut done) = (blob.size, 0);
        let mut pieces = blob.read(0..size);
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            done += piece.len() as u64;
            digester.update(&piece);
            if !progress(done) {
                return Ok(Verified::Stopped);
            }
            // A piece takes some 50 µs to hash.
            tokio::task::yield_now().await;
        }
        Ok(Verified::Stored(digester.finish()))
    }
}

/// The result of reading content.
#[derive(Clone, Copy)]
pub(crate) enum Verified {
    Missing,
    /// The digest of the stored bytes.
    Stored(Digest),
    /// The caller ended the reading.
    Stopped,
}
