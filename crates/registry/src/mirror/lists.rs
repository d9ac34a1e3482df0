//! Tags and referrers of cached repositories: those of the upstream, merged with those that are kept here.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use oci::{Descriptor, Digest, Manifest, RepositoryName, Tag, TagOrDigest};

use super::{Mirror, MirrorError, Upstream};
use crate::tag_list::TagPage;

/// The tags that are read from an upstream. Longer lists are cut.
const MAX_TAGS: usize = 20_000;
/// The size limit of an index of referrers, in bytes.
const REFERRERS_BYTES: usize = 4 << 20;
/// The referrers that are read from here.
const MAX_REFERRERS: usize = 10_000;

/// A manifest that refers to another one.
pub type MergedReferrer = Descriptor;

impl Mirror {
    /// Lists the tags of the upstream and those that are kept, in byte order.
    ///
    /// # Errors
    /// [`MirrorError`] if the repository is not here and the upstream does not list it.
    pub async fn tags(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
        may_fill: bool,
    ) -> Result<TagPage, MirrorError> {
        Ok(TagPage::of(self.all_tags(repository, may_fill).await?, after, limit))
    }

    async fn all_tags(&self, repository: &RepositoryName, may_fill: bool) -> Result<Arc<[Tag]>, MirrorError> {
        let unknown = || crate::Error::NameUnknown(repository.clone());
        let upstream = self.upstream_of(repository).ok_or_else(unknown)?.clone();
        upstream.check_allowed(repository)?;
        let kept = match self.inner.registry.tags(repository, None, MAX_TAGS).await {
            Ok(page) => Some(page.to_vec()),
            Err(error) if error.is_unknown() => None,
            Err(error) => return Err(error.into()),
        };
        let cached = self.inner.tag_lists.get(repository);
        let is_fresh = |at: &Instant| at.elapsed() < upstream.settings.fresh;
        let theirs = match cached {
            Some((at, tags)) if is_fresh(&at) => Ok(tags),
            cached if may_fill => match self.fetch_tags(&upstream, repository).await {
                Ok(tags) => {
                    self.inner.tag_lists.insert(repository.clone(), (Instant::now(), tags.clone()));
                    Ok(tags)
                }
                Err(error) => cached.map(|(_, tags)| tags).ok_or(error),
            },
            cached => Ok(cached.and_then(|(_, tags)| tags)),
        };
        let theirs = match (theirs, &kept) {
            (Ok(theirs), _) => theirs,
            (Err(_), Some(_)) => None,
            (Err(error), None) => return Err(error),
        };
        match (theirs, kept) {
            (None, None) => Err(unknown().into()),
            (Some(theirs), None) => Ok(theirs),
            (theirs, Some(kept)) => {
                let all: BTreeSet<Tag> =
                    theirs.iter().flat_map(|tags| tags.iter().cloned()).chain(kept).collect();
                Ok(all.into_iter().collect())
            }
        }
    }

    async fn fetch_tags(
        &self,
        upstream: &Upstream,
        repository: &RepositoryName,
    ) -> Result<Option<Arc<[Tag]>>, MirrorError> {
        let path = upstream.path(repository).unwrap_or_default();
        let listed = upstream.settings.client.tags(path, MAX_TAGS).await;
        let listed = listed.map_err(|error| MirrorError::of_upstream(upstream.name(), &error))?;
        Ok(listed.map(|tags| {
            // Some registries list digests and null among the tags.
            let tags: BTreeSet<Tag> = tags.iter().filter_map(|tag| tag.parse().ok()).collect();
            tags.into_iter().collect()
        }))
    }

    /// Lists the referrers of the upstream and those that are kept, by digest.
    ///
    /// # Errors
    /// [`MirrorError`] of this registry; an upstream that does not answer adds nothing.
    pub async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        may_fill: bool,
    ) -> Result<Vec<MergedReferrer>, MirrorError> {
        let unknown = || crate::Error::NameUnknown(repository.clone());
        let upstream = self.upstream_of(repository).ok_or_else(unknown)?.clone();
        upstream.check_allowed(repository)?;
        let registry = &self.inner.registry;
        let kept = registry.referrers(repository, subject, artifact_type, None, MAX_REFERRERS).await;
        let kept = match kept {
            Ok(page) => page.items,
            Err(error) if error.is_unknown() => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let mut merged: Vec<Descriptor> = kept
            .into_iter()
            .map(|record| Descriptor {
                media_type: record.manifest.media_type,
                digest: record.manifest.digest,
                size: record.manifest.size,
                urls: Vec::new(),
                annotations: record.annotations,
                artifact_type: record.artifact_type,
            })
            .collect();
        let theirs = self.fetch_referrers(&upstream, repository, subject, may_fill).await;
        let matches = |descriptor: &Descriptor| {
            artifact_type.is_none_or(|wanted| descriptor.artifact_type.as_deref() == Some(wanted))
        };
        let known: BTreeSet<Digest> = merged.iter().map(|descriptor| descriptor.digest).collect();
        let is_new = |descriptor: &Descriptor| matches(descriptor) && !known.contains(&descriptor.digest);
        merged.extend(theirs.into_iter().filter(is_new));
        merged.sort_by_key(|descriptor| descriptor.digest);
        Ok(merged)
    }

    /// Returns the descriptors of the upstream's index of referrers, or of its fallback tag
    /// (distribution-spec, "Unavailable Referrers API").
    async fn fetch_referrers(
        &self,
        upstream: &Upstream,
        repository: &RepositoryName,
        subject: &Digest,
        may_fill: bool,
    ) -> Vec<Descriptor> {
        let key = (repository.clone(), *subject);
        let cached = self.inner.referrers.get(&key);
        if let Some((at, index)) = &cached
            && (at.elapsed() < upstream.settings.fresh || !may_fill)
        {
            return descriptors(index);
        }
        if !may_fill {
            return Vec::new();
        }
        let path = upstream.path(repository).unwrap_or_default();
        let index = match upstream.settings.client.referrers(path, subject, REFERRERS_BYTES).await {
            Ok(Some(index)) => Some(index),
            Ok(None) => Some(self.fallback_tag(repository, subject, may_fill).await.unwrap_or_default()),
            // GHCR redirects to a page on another host, which may not answer this registry.
            Err(_) => match cached {
                Some((_, index)) => Some(index),
                None => self.fallback_tag(repository, subject, may_fill).await,
            },
        };
        let Some(index) = index else { return Vec::new() };
        self.inner.referrers.insert(key, (Instant::now(), index.clone()));
        descriptors(&index)
    }

    /// The index in the tag that stands for the referrers, or `None` if there is none.
    async fn fallback_tag(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        may_fill: bool,
    ) -> Option<Bytes> {
        let tag: Tag = subject.referrers_tag().parse().ok()?;
        let served = self.manifest(repository, &TagOrDigest::Tag(tag), may_fill).await.ok()?;
        Some(served.manifest.content.clone())
    }
}

fn descriptors(index: &[u8]) -> Vec<Descriptor> {
    Manifest::parse(index, None).map(|manifest| manifest.manifests).unwrap_or_default()
}
