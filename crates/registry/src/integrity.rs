//! Integrity: whether stored files match the metadata.
//!
//! Content whose file is missing or has another size, or that is marked as damaged, is absent to a push: HEAD of the
//! blob, and of each manifest that needs it, answers 404, a mount becomes an upload, and a manifest that needs it is
//! refused. The next push replaces the file and clears the mark. HEAD of a manifest includes its layers because clients
//! such as crane skip a push if the manifest exists.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::StreamExt;
use oci::{Digest, Digester, RepositoryName, TagOrDigest};
use store::StoreError;

use crate::cache::CachedManifest;
use crate::{Error, Registry};

/// Manifests that need more content than this are verified again by each HEAD request.
const MAX_REMEMBERED: usize = 256;

impl Registry {
    /// Whether all content of a cached manifest is known to be intact. For HEAD requests; does not wait.
    #[must_use]
    pub fn is_known_intact(&self, manifest: &CachedManifest) -> bool {
        let is_stored = |(digest, size): &(Digest, u64)| self.inner.blobs.stat_cached(digest) == Some(*size);
        manifest.intact.get().is_some_and(|intact| intact.iter().all(is_stored))
    }

    /// Like [`manifest`](Self::manifest), but only if all content that a pull needs is intact. For HEAD requests.
    ///
    /// # Errors
    /// Those of [`manifest`](Self::manifest), and [`Error::ManifestDamaged`].
    pub async fn intact_manifest(
        &self,
        repository: &RepositoryName,
        target: &TagOrDigest,
    ) -> Result<Arc<CachedManifest>, Error> {
        let manifest = self.manifest(repository, target).await?;
        let needed = self.needed_content(repository, &manifest.record.digest).await?;
        let sizes = self.inner.blobs.stat_many(needed.clone()).await?;
        let mut intact = Vec::with_capacity(needed.len());
        for digest in needed {
            let record = self.metadata.content_record(&digest).await?;
            let recorded = record.and_then(|record| record.size);
            let stored =
                sizes.get(&digest).copied().filter(|size| recorded.is_none_or(|recorded| recorded == *size));
            let (Some(size), false) = (stored, record.is_some_and(|record| record.is_damaged)) else {
                let problem = format!("the stored content of {digest} is missing or damaged");
                return Err(self.manifest_damaged(repository, &manifest.record.digest, &problem));
            };
            intact.push((digest, size));
        }
        if intact.len() <= MAX_REMEMBERED {
            // Another HEAD request may have set it.
            _ = manifest.intact.set(intact.into());
        }
        Ok(manifest)
    }

    /// The manifest itself, its required parts, and those of an index's manifests.
    async fn needed_content(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Vec<Digest>, StoreError> {
        let (mut needed, mut seen) = (vec![*digest], HashSet::from([*digest]));
        let mut manifests = vec![*digest];
        while let Some(manifest) = manifests.pop() {
            for part in self.metadata.manifest_parts(repository, &manifest).await? {
                if part.required && seen.insert(part.digest) {
                    needed.push(part.digest);
                    manifests.extend(part.is_manifest.then_some(part.digest));
                }
            }
        }
        Ok(needed)
    }

    /// The size of a stored file. Costs one stat, usually without a blocking thread.
    pub(crate) async fn stored_size(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        match self.inner.blobs.stat_cached(digest) {
            Some(size) => Ok(Some(size)),
            None => self.inner.blobs.stat(digest).await,
        }
    }

    /// Logs a damaged blob for the operator and returns the error for the client.
    pub(crate) fn blob_damaged(&self, repository: &RepositoryName, digest: &Digest, problem: &str) -> Error {
        tracing::error!(%repository, %digest, problem, "a blob is missing or damaged; push it again to restore it");
        Error::BlobDamaged { repository: repository.clone(), digest: *digest }
    }

    /// The same for a manifest or its parts.
    pub(crate) fn manifest_damaged(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        problem: &str,
    ) -> Error {
        tracing::error!(%repository, %digest, problem, "a manifest is missing or damaged; push it again to restore it");
        Error::ManifestDamaged { repository: repository.clone(), digest: *digest }
    }

    /// Sets or clears the damage mark of content.
    pub(crate) async fn mark_damaged(&self, digest: &Digest, is_damaged: bool) -> Result<(), StoreError> {
        if self.metadata.mark_damaged(digest, is_damaged).await? && is_damaged {
            tracing::error!(%digest, "the stored bytes do not have this digest; push the content again to restore it");
        }
        Ok(())
    }

    /// Reads content, verifies its digest and sets or clears its damage mark. `progress` receives the bytes read so far
    /// and stops the reading by returning `false`.
    pub(crate) async fn verify(
        &self,
        digest: &Digest,
        progress: impl Fn(u64) -> bool,
    ) -> Result<Verified, StoreError> {
        let mut verified = self.read_digest(digest, &progress).await?;
        if matches!(verified, Verified::Stored(actual) if actual != *digest) {
            // A concurrent push may have replaced the file.
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
        let mut chunks = blob.read(0..size);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            done += chunk.len() as u64;
            digester.update(&chunk);
            if !progress(done) {
                return Ok(Verified::Stopped);
            }
            // Hashing a chunk takes about 50 µs.
            tokio::task::yield_now().await;
        }
        Ok(Verified::Stored(digester.finish()))
    }
}

/// The result of a verification.
#[derive(Clone, Copy)]
pub(crate) enum Verified {
    Missing,
    /// The digest of the stored bytes.
    Stored(Digest),
    /// The caller stopped the reading.
    Stopped,
}
