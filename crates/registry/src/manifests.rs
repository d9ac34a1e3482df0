//! Manifests of a repository: pull, push, delete.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use oci::{Descriptor, Digest, Kind, Manifest, MediaType, RepositoryName, Tag, TagOrDigest};
use store::StoreError;
use store::metadata::{ManifestDetails, ManifestRecord, Part, PutManifest, PutOutcome};

pub use crate::cache::CachedManifest as StoredManifest;
use crate::check::ReadLimit;
use crate::integrity::Verified;
use crate::pulls::{PullCounter, Pulled};
use crate::{Error, Inner, Policy, Registry, description};

/// The maximum number of parts of a manifest: a bound on the transaction that stores it, and so on the wait
/// of others. Known images have at most a few hundred.
const MAX_PARTS: usize = 10_000;

/// A push of a manifest.
#[derive(Clone, Debug)]
pub struct Push {
    /// The repository, which is created if it does not exist.
    pub repository: RepositoryName,
    /// The tag or digest in the URL. The content must have the digest.
    pub target: TagOrDigest,
    /// The media type in the request header.
    pub content_type: Option<MediaType>,
    /// The body of the request.
    pub content: Bytes,
    /// Additional tags.
    pub tags: Vec<Tag>,
}

/// The result of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The digest of the manifest.
    pub digest: Digest,
    /// The digest of its subject. The registry lists it among the referrers of the subject.
    pub subject: Option<Digest>,
}

impl Registry {
    /// Returns a manifest with its bytes.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`], [`Error::NameUnknown`], [`Error::ManifestDamaged`].
    pub async fn manifest(
        &self,
        repository: &RepositoryName,
        target: &TagOrDigest,
    ) -> Result<Arc<StoredManifest>, Error> {
        match self.cached_manifest(repository, target) {
            Some(manifest) => Ok(manifest),
            None => self.read_manifest(repository, target).await,
        }
    }

    /// Returns a cached manifest, without waiting.
    #[must_use]
    pub fn cached_manifest(
        &self,
        repository: &RepositoryName,
        target: &TagOrDigest,
    ) -> Option<Arc<StoredManifest>> {
        let cache = &self.inner.cache;
        let digest = match target {
            TagOrDigest::Tag(tag) => cache.tag(repository, tag)?.digest,
            TagOrDigest::Digest(digest) => *digest,
        };
        let cached = cache.manifest(repository, &digest)?;
        self.inner.metrics.cache_hits.inc();
        Some(cached)
    }

    /// Like [`manifest`](Self::manifest), and counts a pull of a client.
    ///
    /// # Errors
    /// The errors of [`manifest`](Self::manifest).
    pub async fn pull_manifest(
        &self,
        client: IpAddr,
        repository: &RepositoryName,
        target: &TagOrDigest,
    ) -> Result<Arc<StoredManifest>, Error> {
        if let Some(manifest) = self.pull_cached_manifest(client, repository, target) {
            return Ok(manifest);
        }
        let manifest = self.read_manifest(repository, target).await?;
        self.count_uncached_pull(client, repository, target, &manifest);
        Ok(manifest)
    }

    /// Like [`cached_manifest`](Self::cached_manifest), and counts a pull of a client.
    #[must_use]
    pub fn pull_cached_manifest(
        &self,
        client: IpAddr,
        repository: &RepositoryName,
        target: &TagOrDigest,
    ) -> Option<Arc<StoredManifest>> {
        let Inner { cache, pulls, metrics, tag_lookups, .. } = &*self.inner;
        let manifest = match target {
            TagOrDigest::Tag(tag) => {
                let tag = cache.tag(repository, tag)?;
                let manifest = cache.manifest(repository, &tag.digest)?;
                pulls.count(&tag.pulls);
                manifest
            }
            TagOrDigest::Digest(digest) => {
                let manifest = cache.manifest(repository, digest)?;
                match tag_lookups.take(client, repository, digest) {
                    Some(tag) => {
                        match cache.tag(repository, &tag).filter(|cached| cached.digest == *digest) {
                            Some(cached) => pulls.count(&cached.pulls),
                            None => pulls.count_uncached(pulled(repository, Some(tag), *digest)),
                        }
                    }
                    None => pulls.count(by_digest(repository, &manifest)),
                }
                manifest
            }
        };
        metrics.cache_hits.inc();
        Some(manifest)
    }

    /// Counts a pull of a manifest that was found in another way.
    pub fn count_pull(
        &self,
        client: IpAddr,
        repository: &RepositoryName,
        target: &TagOrDigest,
        manifest: &StoredManifest,
    ) {
        if self.pull_cached_manifest(client, repository, target).is_none() {
            self.count_uncached_pull(client, repository, target, manifest);
        }
    }

    fn count_uncached_pull(
        &self,
        client: IpAddr,
        repository: &RepositoryName,
        target: &TagOrDigest,
        manifest: &StoredManifest,
    ) {
        let tag = match target {
            TagOrDigest::Tag(tag) => Some(tag.clone()),
            TagOrDigest::Digest(digest) => self.inner.tag_lookups.take(client, repository, digest),
        };
        self.inner.pulls.count_uncached(pulled(repository, tag, manifest.record.digest));
    }

    /// Records that a client found a manifest by HEAD: a use, and no pull. If the client then pulls the
    /// manifest by its digest, this counts as a pull of the tag.
    pub fn record_lookup(
        &self,
        client: IpAddr,
        repository: &RepositoryName,
        target: &TagOrDigest,
        manifest: &StoredManifest,
    ) {
        let Inner { cache, pulls, tag_lookups, .. } = &*self.inner;
        let digest = manifest.record.digest;
        match target {
            TagOrDigest::Tag(tag) => {
                tag_lookups.record(client, repository, tag, &digest);
                match cache.tag(repository, tag).filter(|cached| cached.digest == digest) {
                    Some(cached) => pulls.touch(&cached.pulls),
                    None => pulls.touch_uncached(pulled(repository, Some(tag.clone()), digest)),
                }
            }
            TagOrDigest::Digest(digest) => match cache.manifest(repository, digest) {
                Some(cached) => pulls.touch(by_digest(repository, &cached)),
                None => pulls.touch_uncached(pulled(repository, None, *digest)),
            },
        }
    }

    /// Returns a manifest with its tags and pulls.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`], [`Error::NameUnknown`].
    pub async fn manifest_details(
        &self,
        repository: &RepositoryName,
        target: &TagOrDigest,
    ) -> Result<ManifestDetails, Error> {
        let metadata = &self.metadata;
        let Some(mut details) = metadata.manifest_details(repository, target).await? else {
            return Err(self.manifest_unknown(repository, target).await?);
        };
        for (pulled, unwritten) in self.inner.pulls.unwritten(repository) {
            if pulled.digest == details.manifest.digest {
                details.pulls += unwritten.pulls;
                details.pulled_at = details.pulled_at.max(Some(unwritten.pulled_at()));
            }
        }
        Ok(details)
    }

    /// The error for a manifest that the repository lacks.
    async fn manifest_unknown(
        &self,
        repository: &RepositoryName,
        target: &TagOrDigest,
    ) -> Result<Error, Error> {
        Ok(if self.metadata.repository_exists(repository).await? {
            Error::ManifestUnknown { repository: repository.clone(), target: target.clone() }
        } else {
            Error::NameUnknown(repository.clone())
        })
    }

    async fn read_manifest(
        &self,
        repository: &RepositoryName,
        target: &TagOrDigest,
    ) -> Result<Arc<StoredManifest>, Error> {
        let inner = &self.inner;
        inner.metrics.cache_misses.inc();
        let ticket = inner.cache.ticket(repository);
        let Some(record) = self.metadata.manifest(repository, target).await? else {
            return Err(self.manifest_unknown(repository, target).await?);
        };
        let manifest = match inner.cache.manifest(repository, &record.digest) {
            Some(manifest) => manifest,
            None => {
                let content = self.manifest_content(repository, &record.digest).await?;
                let manifest = Arc::new(StoredManifest::new(record, content));
                inner.cache.insert_manifest(ticket, repository, &manifest);
                manifest
            }
        };
        if let TagOrDigest::Tag(tag) = target {
            inner.cache.insert_tag(ticket, repository, tag, manifest.record.digest);
        }
        Ok(manifest)
    }

    /// Reads and verifies the bytes of a manifest.
    async fn manifest_content(&self, repository: &RepositoryName, digest: &Digest) -> Result<Bytes, Error> {
        if let Some(shared) = self.inner.large_manifests.get(digest) {
            return Ok(shared);
        }
        let content = match self.inner.blobs.get_cached(digest).await {
            Ok(Some(content)) => content,
            Ok(None) => return Err(self.manifest_damaged(repository, digest, "its file is missing")),
            Err(error @ StoreError::Io { .. }) => {
                return Err(self.manifest_damaged(repository, digest, &error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        if digest.algorithm().digest(&content) != *digest {
            self.verify(digest, &ReadLimit::new(None), |_| true).await?;
            return Err(self.manifest_damaged(repository, digest, "its bytes have another digest"));
        }
        Ok(self.inner.large_manifests.share(digest, content))
    }

    /// Stores a manifest and its tags durably, or changes nothing.
    ///
    /// # Errors
    /// [`Error::ManifestInvalid`], [`Error::ManifestTooLarge`], [`Error::DigestMismatch`],
    /// [`Error::PartsMissing`], [`Error::PartSize`], [`Error::PartMediaType`], [`Error::TooManyParts`],
    /// [`Error::Full`].
    pub async fn put_manifest(&self, push: Push) -> Result<Pushed, Error> {
        let registry = self.clone();
        self.detach(async move { registry.store_manifest(push).await }).await
    }

    async fn store_manifest(&self, push: Push) -> Result<Pushed, Error> {
        let inner = &self.inner;
        let Push { repository, target, content_type, content, mut tags } = push;
        self.check_writable(content.len() as u64)?;
        let limit = inner.policy.load().manifest_bytes;
        if content.len() > limit {
            return Err(Error::ManifestTooLarge { limit });
        }
        let digest = match target {
            TagOrDigest::Tag(tag) => {
                tags.push(tag);
                oci::Algorithm::Sha256.digest(&content)
            }
            TagOrDigest::Digest(expected) => {
                let actual = expected.algorithm().digest(&content);
                if actual != expected {
                    return Err(Error::DigestMismatch { expected, actual });
                }
                actual
            }
        };
        let manifest = match Manifest::parse(&content, content_type.as_ref()) {
            Ok(manifest) => manifest,
            Err(error) => return self.tag_existing(&repository, digest, tags).await?.ok_or(error.into()),
        };
        let parts = parts(&manifest, &inner.policy.load());
        if parts.len() > MAX_PARTS {
            return Err(Error::TooManyParts { parts: parts.len() });
        }
        if let Err(error) = self.check_described(&repository, &manifest).await {
            return self.tag_existing(&repository, digest, tags).await?.ok_or(error);
        }
        let description = description::of(&manifest, &*inner.blobs).await?;
        let lease = inner.guards.store(&digest).await;
        let stored = inner.blobs.put(&digest, content.clone()).await?;
        let subject = manifest.subject.as_ref().map(|subject| subject.digest);
        let record =
            ManifestRecord { digest, media_type: manifest.media_type.clone(), size: content.len() as u64 };
        let named: HashSet<Digest> = parts.iter().map(|part| part.digest).collect();
        let is_unlisted = tags.is_empty() && subject.is_none();
        let stored_sizes = inner.blobs.stat_many(parts.iter().map(|part| part.digest).collect()).await?;
        let outcome = self
            .metadata
            .put_manifest(PutManifest {
                repository: repository.clone(),
                manifest: record,
                journaled: stored.journaled,
                parts,
                stored_sizes: Some(stored_sizes),
                artifact_type: manifest.artifact_type,
                annotations: manifest.annotations,
                subject,
                is_index: manifest.kind == Kind::Index,
                tags,
                description,
                is_fetched: false,
            })
            .await?;
        match outcome {
            PutOutcome::Missing(missing) => Err(Error::PartsMissing { repository, missing }),
            PutOutcome::WrongSize { digest, claimed, actual } => {
                // For adopted content, only the size of the file is recorded, and the file may be truncated.
                match self.verify(&digest, &ReadLimit::new(None), |_| true).await? {
                    Verified::Stored(stored) if stored == digest => {
                        Err(Error::PartSize { digest, claimed, actual })
                    }
                    _ => Err(Error::PartsMissing { repository, missing: vec![digest] }),
                }
            }
            PutOutcome::Stored => {
                lease.linked();
                inner.guards.release(&repository, named.iter().chain([&digest]));
                if is_unlisted {
                    // The index that lists it is still to come.
                    inner.guards.lease(&repository, &digest);
                }
                Ok(Pushed { digest, subject })
            }
        }
    }

    /// Refuses a manifest that describes a child or its subject in the same repository with another media
    /// type or size. Clients could not pull it.
    async fn check_described(&self, repository: &RepositoryName, manifest: &Manifest) -> Result<(), Error> {
        let children = manifest.manifests.iter().filter(|child| child.media_type.is_manifest());
        let described: Vec<&Descriptor> = children.chain(&manifest.subject).collect();
        if described.is_empty() {
            return Ok(());
        }
        let digests = described.iter().map(|descriptor| descriptor.digest).collect();
        let records = self.metadata.manifest_records(repository, digests).await?;
        for descriptor in described {
            let Some(record) = records.get(&descriptor.digest) else { continue };
            let digest = descriptor.digest;
            if descriptor.size != record.size {
                return Err(Error::PartSize { digest, claimed: descriptor.size, actual: record.size });
            }
            if descriptor.media_type.is_manifest() && descriptor.media_type != record.media_type {
                let (claimed, actual) = (descriptor.media_type.clone(), record.media_type.clone());
                return Err(Error::PartMediaType { digest, claimed, actual });
            }
        }
        Ok(())
    }

    /// Tags a manifest that the repository has. Adopted manifests may be of a kind that a push does not
    /// accept. Returns `None` if the repository lacks it.
    async fn tag_existing(
        &self,
        repository: &RepositoryName,
        digest: Digest,
        tags: Vec<Tag>,
    ) -> Result<Option<Pushed>, Error> {
        let stored = TagOrDigest::Digest(digest);
        if self.metadata.manifest(repository, &stored).await?.is_none() {
            return Ok(None);
        }
        for tag in &tags {
            if !self.metadata.put_tag(repository, &digest, tag).await? {
                return Ok(None);
            }
        }
        Ok(Some(Pushed { digest, subject: None }))
    }

    /// Deletes a manifest and its tags, or only a tag.
    ///
    /// # Errors
    /// [`Error::DeleteDisabled`], [`Error::ManifestUnknown`], [`Error::NameUnknown`].
    pub async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        target: &TagOrDigest,
    ) -> Result<(), Error> {
        if !self.inner.policy.load().delete {
            return Err(Error::DeleteDisabled);
        }
        let deletion = {
            let (registry, repository, target) = (self.clone(), repository.clone(), target.clone());
            async move {
                Ok(match &target {
                    TagOrDigest::Tag(tag) => registry.metadata.delete_tag(&repository, tag).await?,
                    TagOrDigest::Digest(digest) => {
                        registry.metadata.delete_manifest(&repository, digest).await?
                    }
                })
            }
        };
        if self.detach(deletion).await? {
            self.inner.schedule.deleted();
            return Ok(());
        }
        Err(self.manifest_unknown(repository, target).await?)
    }
}

fn pulled(repository: &RepositoryName, tag: Option<Tag>, digest: Digest) -> Pulled {
    Pulled { repository: repository.clone(), tag, digest }
}

/// The counter of pulls by digest.
fn by_digest<'a>(repository: &RepositoryName, manifest: &'a StoredManifest) -> &'a Arc<PullCounter> {
    manifest.pulls.get_or_init(|| PullCounter::new(pulled(repository, None, manifest.record.digest)))
}

/// Returns the parts of a manifest. The policy decides which are required.
fn parts(manifest: &Manifest, policy: &Policy) -> Vec<Part> {
    let is_strict = !policy.sparse_images;
    let layers = manifest.layers.iter().map(|layer| (layer, false, is_strict && !layer.may_be_elsewhere()));
    let config = manifest.config.iter().map(|config| (config, false, is_strict));
    // The build cache of older BuildKit versions is an index of blobs.
    let children = manifest
        .manifests
        .iter()
        .map(|child| (child, child.media_type.is_manifest(), !policy.sparse_indexes));
    config
        .chain(layers)
        .chain(children)
        .map(|(part, is_manifest, required)| Part {
            digest: part.digest,
            size: part.size,
            is_manifest,
            required,
        })
        .collect()
}
