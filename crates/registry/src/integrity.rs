//! Integrity: whether stored files match the metadata.
//!
//! Content whose file is missing or has another size, or that is marked as damaged, is absent to a push: HEAD
//! of the blob, and of each manifest that needs it, answers 404, a mount becomes an upload, and a manifest
//! that needs it is refused. The next push replaces the file and clears the mark. HEAD of a manifest includes
//! its layers because clients such as crane skip a push if the manifest exists.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use oci::{Digest, Digester, RepositoryName, TagOrDigest};
use store::StoreError;
use store::blobs::Stamp;
use store::metadata::{ChangeKind, NewChange};

use crate::cache::CachedManifest;
use crate::check::ReadLimit;
use crate::{Error, Registry};

/// Manifests that need more content than this are verified again by each HEAD request.
const MAX_REMEMBERED: usize = 256;
/// The number of parts after which no other manifest of an index is verified: an index may list 10,000
/// manifests with as many layers each. Damage behind this number is found by a check, and by a pull.
const MAX_PARTS: usize = 20_000;

impl Registry {
    /// Whether all content of a cached manifest is known to be intact. For HEAD requests; does not wait.
    #[must_use]
    pub fn is_known_intact(
        &self,
        repository: &RepositoryName,
        target: &TagOrDigest,
        manifest: &CachedManifest,
    ) -> bool {
        let is_stored = |(digest, size): &(Digest, u64)| self.inner.blobs.stat_cached(digest) == Some(*size);
        manifest.intact.get().is_some_and(|intact| intact.iter().all(is_stored))
            && self.lease_manifest(repository, target)
    }

    /// Like [`manifest`](Self::manifest), but only if all content that a pull needs is intact. For HEAD
    /// requests.
    ///
    /// # Errors
    /// The errors of [`manifest`](Self::manifest), and [`Error::ManifestDamaged`].
    pub async fn intact_manifest(
        &self,
        repository: &RepositoryName,
        target: &TagOrDigest,
    ) -> Result<Arc<CachedManifest>, Error> {
        if !self.lease_manifest(repository, target) {
            return Err(Error::ManifestUnknown { repository: repository.clone(), target: target.clone() });
        }
        let intact = self.verify_manifest(repository, target).await;
        if let (Err(_), TagOrDigest::Digest(digest)) = (&intact, target) {
            self.inner.guards.release(repository, [digest]);
        }
        intact
    }

    /// Keeps a manifest that a pusher asks for by digest until the index that lists it arrives. Returns
    /// `false` if a collection is removing it.
    fn lease_manifest(&self, repository: &RepositoryName, target: &TagOrDigest) -> bool {
        match target {
            TagOrDigest::Tag(_) => true,
            TagOrDigest::Digest(digest) => self.inner.guards.lease(repository, digest),
        }
    }

    pub(crate) async fn verify_manifest(
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
            let is_damaged =
                record.is_some_and(|record| record.is_damaged) && !self.is_restored(&digest).await?;
            let (Some(size), false) = (stored, is_damaged) else {
                let image = manifest.record.digest;
                if self.metadata.erasure(repository, &digest).await?.is_some() {
                    tracing::info!(%repository, %image, %digest, "an image lists erased content, and cannot be pulled");
                    return Err(Error::ManifestDamaged { repository: repository.clone(), digest: image });
                }
                let problem = format!("the stored content of {digest} is missing or damaged");
                return Err(self.manifest_damaged(repository, &image, &problem));
            };
            intact.push((digest, size));
        }
        if intact.len() <= MAX_REMEMBERED {
            // Another HEAD request may have set it.
            _ = manifest.intact.set(intact.into());
        }
        Ok(manifest)
    }

    /// The manifest itself, its required parts, and those of an index's manifests, as far as [`MAX_PARTS`].
    async fn needed_content(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Vec<Digest>, StoreError> {
        let (mut needed, mut seen) = (vec![*digest], HashSet::from([*digest]));
        let (mut manifests, mut read) = (VecDeque::from([*digest]), 0);
        while let Some(manifest) = manifests.pop_front().filter(|_| read < MAX_PARTS) {
            let parts = self.metadata.manifest_parts(repository, &manifest).await?;
            read += parts.len();
            for part in parts {
                if part.required && seen.insert(part.digest) {
                    needed.push(part.digest);
                    manifests.extend(part.is_manifest.then_some(part.digest));
                }
            }
        }
        Ok(needed)
    }

    /// The size of a stored file. Opens and closes it, usually without a blocking thread. A file that cannot
    /// be opened counts as missing, so that a push replaces it.
    pub(crate) async fn stored_size(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        if let Some(size) = self.inner.blobs.stat_cached(digest) {
            return Ok(Some(size));
        }
        match self.inner.blobs.stat(digest).await {
            Err(error @ StoreError::Io { .. }) => {
                tracing::error!(%error, %digest, "a blob is unreadable and counts as missing");
                Ok(None)
            }
            size => size,
        }
    }

    /// Verifies content with a damage mark again if its file has changed: a person may have restored it.
    /// Returns whether it is intact now.
    pub(crate) async fn is_restored(&self, digest: &Digest) -> Result<bool, Error> {
        let Some(stamp) = self.inner.blobs.stamp(digest).await? else { return Ok(false) };
        if !self.inner.verdicts.is_new(digest, stamp) {
            return Ok(false);
        }
        let (registry, digest) = (self.clone(), *digest);
        self.detach(async move {
            let verified = registry.verify(&digest, &ReadLimit::new(None), |_| true).await?;
            Ok(matches!(verified, Verified::Stored(actual) if actual == digest))
        })
        .await
    }

    /// Logs a damaged blob for the operator and returns the error for the client.
    pub(crate) fn blob_damaged(&self, repository: &RepositoryName, digest: &Digest, problem: &str) -> Error {
        tracing::error!(%repository, %digest, problem, "a blob is missing or damaged; push it again to restore it");
        self.report_damage(repository, digest, problem);
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
        self.report_damage(repository, digest, problem);
        Error::ManifestDamaged { repository: repository.clone(), digest: *digest }
    }

    /// Counts a request that met damage. The first one for some content is an event.
    fn report_damage(&self, repository: &RepositoryName, digest: &Digest, problem: &str) {
        self.inner.metrics.damaged_answers.inc();
        if self.inner.verdicts.is_first_report(digest) {
            let detail = serde_json::json!({ "fault": problem });
            self.note(NewChange::of(ChangeKind::CheckFinding, repository).digest(*digest).detail(detail));
        }
    }

    /// Sets or clears the damage mark of content.
    pub(crate) async fn mark_damaged(&self, digest: &Digest, is_damaged: bool) -> Result<(), StoreError> {
        if self.metadata.mark_damaged(digest, is_damaged).await? && is_damaged {
            tracing::error!(%digest, "the stored bytes do not have this digest; push the content again to restore it");
        }
        Ok(())
    }

    /// Reads content within a limit, verifies its digest and sets or clears its damage mark. `progress`
    /// receives the bytes read so far and stops the reading by returning `false`.
    pub(crate) async fn verify(
        &self,
        digest: &Digest,
        limit: &ReadLimit,
        progress: impl Fn(u64) -> bool + Send + Sync,
    ) -> Result<Verified, StoreError> {
        let mut verified = self.read_digest(digest, limit, &progress).await?;
        if matches!(verified, Verified::Stored(actual) if actual != *digest) {
            // A concurrent push may have replaced the file.
            verified = self.read_digest(digest, limit, &progress).await?;
        }
        if let Verified::Stored(actual) = verified {
            self.mark_damaged(digest, actual != *digest).await?;
        }
        Ok(verified)
    }

    async fn read_digest(
        &self,
        digest: &Digest,
        limit: &ReadLimit,
        progress: impl Fn(u64) -> bool + Send + Sync,
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
            limit.charge(chunk.len() as u64).await;
            // Hashing a chunk takes about 50 µs.
            tokio::task::yield_now().await;
        }
        Ok(Verified::Stored(digester.finish()))
    }
}

/// Damaged content that was verified or reported already.
#[derive(Default)]
pub(crate) struct Verdicts {
    stamps: Mutex<HashMap<Digest, Stamp>>,
    reported: Mutex<HashSet<Digest>>,
}

impl Verdicts {
    /// The number of entries. Beyond it, damaged content is verified and reported again.
    const MAX: usize = 1024;

    /// Records a stamp, and returns whether the file has to be verified.
    fn is_new(&self, digest: &Digest, stamp: Stamp) -> bool {
        let mut stamps = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        if stamps.len() >= Self::MAX {
            stamps.clear();
        }
        stamps.insert(*digest, stamp) != Some(stamp)
    }

    fn is_first_report(&self, digest: &Digest) -> bool {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.len() >= Self::MAX {
            reported.clear();
        }
        reported.insert(*digest)
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
