//! Manifests of upstreams: by tag with revalidation, by digest from the cache for ever.
//!
//! A tag is served without a question while it is fresh. Later, a HEAD asks for its digest, because Docker
//! Hub counts GETs alone; a GET follows if the digest is new. Nothing is kept or served whose digest was not
//! verified.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use oci::{Digest, Kind, Manifest, RepositoryName, Tag, TagOrDigest};
use store::metadata::{ManifestRecord, Part, PutManifest};
use upstream::ManifestHead;

use super::served::{ServedManifest, Source, StaleReason, TagOutcome};
use super::tag_state::TagState;
use super::{ABSENT_TTL, Mirror, MirrorError, PushPolicy, Upstream, WhenUnavailable};
use crate::access::{AuditEvent, AuditOutcome};
use crate::manifests::StoredManifest;
use crate::{Error, Registry, description};

/// The minimum time between two log lines about the same stale tag.
const LOG_AGAIN: Duration = Duration::from_secs(5 * 60);

/// A tag in the cache.
enum TagLookup {
    /// The answer needs no request.
    Fresh(ServedManifest),
    /// The upstream must be asked. This manifest is kept.
    Stale(Option<Arc<StoredManifest>>),
}

impl Mirror {
    /// Returns a cached manifest that needs no revalidation, without waiting. After `None` it may still
    /// exist.
    #[must_use]
    pub fn cached_manifest(
        &self,
        repository: &RepositoryName,
        target: &TagOrDigest,
    ) -> Option<Arc<StoredManifest>> {
        let upstream = self.upstream_of(repository)?;
        if !upstream.allows(repository) {
            return None;
        }
        let manifest = self.inner.registry.cached_manifest(repository, target)?;
        if let TagOrDigest::Tag(tag) = target {
            let state = self.inner.tags.get(&(repository.clone(), tag.clone()))?;
            let is_current = state.digest == Some(manifest.record.digest);
            if !is_current || state.checked.elapsed() >= upstream.settings.fresh {
                return None;
            }
        }
        upstream.counters.hits.fetch_add(1, Ordering::Relaxed);
        Some(manifest)
    }

    /// Returns a manifest from the cache, or from the upstream if the caller may fill.
    ///
    /// # Errors
    /// [`MirrorError`].
    pub async fn manifest(
        &self,
        repository: &RepositoryName,
        target: &TagOrDigest,
        may_fill: bool,
    ) -> Result<ServedManifest, MirrorError> {
        let upstream = self.upstream_of(repository).ok_or_else(|| unknown(repository, target))?.clone();
        upstream.check_allowed(repository)?;
        let served = match target {
            TagOrDigest::Digest(digest) => {
                self.manifest_by_digest(&upstream, repository, digest, may_fill).await?
            }
            TagOrDigest::Tag(tag) => self.manifest_by_tag(&upstream, repository, tag, may_fill).await?,
        };
        match served.source {
            Source::Hit | Source::Revalidated => upstream.counters.hits.fetch_add(1, Ordering::Relaxed),
            Source::Stale(_) => upstream.counters.stale.fetch_add(1, Ordering::Relaxed),
            Source::Fetched => upstream.counters.misses.fetch_add(1, Ordering::Relaxed),
        };
        Ok(served)
    }

    /// By digest, the upstream is never asked about a manifest that is kept.
    async fn manifest_by_digest(
        &self,
        upstream: &Arc<Upstream>,
        repository: &RepositoryName,
        digest: &Digest,
        may_fill: bool,
    ) -> Result<ServedManifest, MirrorError> {
        let target = TagOrDigest::Digest(*digest);
        if let Some(manifest) = self.kept(repository, &target).await? {
            return Ok(ServedManifest { manifest, source: Source::Hit });
        }
        if self.is_known_absent(repository, digest) {
            return Err(absent(upstream, repository, &target));
        }
        check_fill(upstream, repository, may_fill)?;
        let key = (repository.clone(), *digest);
        let operation = || {
            let (mirror, upstream, repository, digest) =
                (self.clone(), upstream.clone(), repository.clone(), *digest);
            async move {
                let target = TagOrDigest::Digest(digest);
                // Another flight may have landed since the caller looked.
                if let Some(manifest) = mirror.kept(&repository, &target).await? {
                    return Ok(ServedManifest { manifest, source: Source::Hit });
                }
                match mirror.fetch(&upstream, &repository, &target, Some(digest)).await? {
                    Some(fetched) => {
                        let manifest = mirror.keep(&upstream, &repository, fetched, None).await?;
                        Ok(ServedManifest { manifest, source: Source::Fetched })
                    }
                    None => {
                        mirror.inner.absent.insert((repository.clone(), digest), Instant::now());
                        Err(absent(&upstream, &repository, &target))
                    }
                }
            }
        };
        self.inner.manifest_flights.join(key, operation).await.unwrap_or_else(|| Err(panicked(upstream)))
    }

    async fn manifest_by_tag(
        &self,
        upstream: &Arc<Upstream>,
        repository: &RepositoryName,
        tag: &Tag,
        may_fill: bool,
    ) -> Result<ServedManifest, MirrorError> {
        let kept = match self.look_up(upstream, repository, tag).await? {
            TagLookup::Fresh(served) => return Ok(served),
            TagLookup::Stale(kept) => kept,
        };
        if !may_fill {
            // A caller that may not fill must not cause requests either, so the age of the tag does not
            // matter.
            return match kept {
                Some(manifest) => Ok(ServedManifest { manifest, source: Source::Hit }),
                None => Err(may_not_fill(upstream, repository)),
            };
        }
        let operation = || {
            let (mirror, upstream, repository, tag) =
                (self.clone(), upstream.clone(), repository.clone(), tag.clone());
            async move {
                // Another flight may have landed since the caller looked.
                match mirror.look_up(&upstream, &repository, &tag).await? {
                    TagLookup::Fresh(served) => Ok(served),
                    TagLookup::Stale(kept) => mirror.revalidate(&upstream, &repository, &tag, kept).await,
                }
            }
        };
        let key = (repository.clone(), tag.clone());
        self.inner.tag_flights.join(key, operation).await.unwrap_or_else(|| Err(panicked(upstream)))
    }

    /// The tag as the cache has it.
    async fn look_up(
        &self,
        upstream: &Arc<Upstream>,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<TagLookup, MirrorError> {
        let kept = self.kept(repository, &TagOrDigest::Tag(tag.clone())).await?;
        let state = self.tag_state(repository, tag).await?;
        let hit = |manifest: &Arc<StoredManifest>| {
            TagLookup::Fresh(ServedManifest { manifest: manifest.clone(), source: Source::Hit })
        };
        if let (Some(manifest), None, PushPolicy::Overlay) = (&kept, &state, upstream.settings.push) {
            return Ok(hit(manifest));
        }
        let fresh = upstream.settings.fresh;
        if let Some(state) = &state {
            let age = state.checked.elapsed();
            match (&kept, state.digest) {
                (Some(manifest), Some(digest)) if age < fresh && manifest.record.digest == digest => {
                    return Ok(hit(manifest));
                }
                (_, None) if age < fresh.min(ABSENT_TTL) => {
                    return self.gone(upstream, repository, tag, kept).await.map(TagLookup::Fresh);
                }
                _ => {}
            }
        }
        Ok(TagLookup::Stale(kept))
    }

    /// Asks the upstream about a tag.
    async fn revalidate(
        &self,
        upstream: &Arc<Upstream>,
        repository: &RepositoryName,
        tag: &Tag,
        kept: Option<Arc<StoredManifest>>,
    ) -> TagOutcome {
        let target = TagOrDigest::Tag(tag.clone());
        let path = upstream.path(repository).unwrap_or_default();
        let client = &upstream.settings.client;
        let mut head = ManifestHead::Untold;
        // Without a kept manifest, a GET alone answers everything, unless its digest may be too new.
        if kept.is_some() || !upstream.settings.quarantine.is_zero() {
            upstream.counters.revalidations.fetch_add(1, Ordering::Relaxed);
            head = match client.head_manifest(path, tag.as_str()).await {
                Ok(head) => head,
                Err(error) => {
                    let error = MirrorError::of_upstream(upstream.name(), &error);
                    return self.unavailable(upstream, repository, tag, kept, error).await;
                }
            };
        }
        match head {
            ManifestHead::Absent => {
                self.record(repository, tag, None).await?;
                self.gone(upstream, repository, tag, kept).await
            }
            ManifestHead::Digest(digest) => {
                let state = self.record(repository, tag, Some(digest)).await?;
                if let Some(manifest) = &kept
                    && manifest.record.digest == digest
                {
                    return Ok(ServedManifest { manifest: manifest.clone(), source: Source::Revalidated });
                }
                if let Some(refused) = self.quarantined(upstream, repository, tag, digest, &state) {
                    return self.quarantine(upstream, repository, tag, kept, refused).await;
                }
                let by_digest = TagOrDigest::Digest(digest);
                if self.kept(repository, &by_digest).await?.is_some()
                    && self.inner.registry.point_tag(repository, &digest, tag).await?
                    && let Some(manifest) = self.kept(repository, &by_digest).await?
                {
                    return Ok(ServedManifest { manifest, source: Source::Revalidated });
                }
                let fetched = self.fetch(upstream, repository, &by_digest, Some(digest)).await;
                self.take(upstream, repository, tag, kept, fetched).await
            }
            ManifestHead::Untold => {
                let fetched = self.fetch(upstream, repository, &target, None).await;
                if let Ok(Some(fetched)) = &fetched {
                    let state = self.record(repository, tag, Some(fetched.digest)).await?;
                    let refused = self.quarantined(upstream, repository, tag, fetched.digest, &state);
                    if let Some(refused) = refused {
                        return self.quarantine(upstream, repository, tag, kept, refused).await;
                    }
                }
                self.take(upstream, repository, tag, kept, fetched).await
            }
        }
    }

    /// Keeps a fetched manifest and points the tag to it.
    async fn take(
        &self,
        upstream: &Arc<Upstream>,
        repository: &RepositoryName,
        tag: &Tag,
        kept: Option<Arc<StoredManifest>>,
        fetched: Result<Option<Fetched>, MirrorError>,
    ) -> TagOutcome {
        let fetched = match fetched {
            Ok(Some(fetched)) => fetched,
            Ok(None) => {
                self.record(repository, tag, None).await?;
                return self.gone(upstream, repository, tag, kept).await;
            }
            Err(error @ MirrorError::Registry(_)) => return Err(error),
            Err(error) => return self.unavailable(upstream, repository, tag, kept, error).await,
        };
        let manifest = self.keep(upstream, repository, fetched, Some(tag)).await?;
        Ok(ServedManifest { manifest, source: Source::Fetched })
    }

    /// Gets a manifest from the upstream and verifies its digest. `None` if the upstream does not have it.
    async fn fetch(
        &self,
        upstream: &Upstream,
        repository: &RepositoryName,
        target: &TagOrDigest,
        expected: Option<Digest>,
    ) -> Result<Option<Fetched>, MirrorError> {
        let path = upstream.path(repository).unwrap_or_default();
        let limit = self.inner.registry.policy().manifest_bytes;
        let fetched = upstream.settings.client.get_manifest(path, &target.to_string(), limit).await;
        upstream.counters.fetches.fetch_add(1, Ordering::Relaxed);
        let fetched = fetched.map_err(|error| {
            let error = MirrorError::of_upstream(upstream.name(), &error);
            upstream.report_failure(repository, target, &error);
            error
        })?;
        let Some(fetched) = fetched else { return Ok(None) };
        let invalid = |reason: String| {
            tracing::warn!(%repository, %target, reason, "the upstream sent an invalid manifest; it is not kept");
            MirrorError::Invalid { upstream: upstream.name().to_owned(), reason }
        };
        // The digest in the header of the upstream detects bytes that changed in transit.
        let expected = expected.or(fetched.digest);
        let algorithm = expected.map_or(oci::Algorithm::Sha256, |digest| digest.algorithm());
        let digest = algorithm.digest(&fetched.content);
        if let Some(expected) = expected
            && digest != expected
        {
            return Err(invalid(format!("the manifest {expected} has the digest {digest}")));
        }
        let manifest = Manifest::parse(&fetched.content, fetched.media_type.as_ref())
            .map_err(|error| invalid(error.to_string()))?;
        upstream.counters.bytes.fetch_add(fetched.content.len() as u64, Ordering::Relaxed);
        Ok(Some(Fetched { digest, content: fetched.content, manifest }))
    }

    async fn keep(
        &self,
        upstream: &Arc<Upstream>,
        repository: &RepositoryName,
        fetched: Fetched,
        tag: Option<&Tag>,
    ) -> Result<Arc<StoredManifest>, MirrorError> {
        let is_index = fetched.manifest.kind == Kind::Index;
        let unkept = fetched.clone();
        let manifest = match self.inner.registry.keep_manifest(repository, fetched, tag).await {
            Ok(manifest) => manifest,
            Err(error @ Error::TagRefused { .. }) => return Err(error.into()),
            Err(error) => {
                // A full disk or a quota: the client gets it nevertheless.
                tracing::warn!(%repository, digest = %unkept.digest, %error, "a manifest cannot be kept; the client gets it straight from the upstream");
                return Ok(Arc::new(unkept.into_stored()));
            }
        };
        self.count_stored(manifest.record.size);
        if is_index && !upstream.settings.complete.is_empty() {
            self.complete_in_background(upstream.clone(), repository.clone(), manifest.clone());
        }
        Ok(manifest)
    }

    /// The manifest in the cache.
    pub(super) async fn kept(
        &self,
        repository: &RepositoryName,
        target: &TagOrDigest,
    ) -> Result<Option<Arc<StoredManifest>>, MirrorError> {
        match self.inner.registry.manifest(repository, target).await {
            Ok(manifest) => Ok(Some(manifest)),
            Err(error) if error.is_unknown() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn tag_state(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<TagState>, MirrorError> {
        let key = (repository.clone(), tag.clone());
        if let Some(state) = self.inner.tags.get(&key) {
            return Ok(Some(state));
        }
        let state = self.inner.registry.metadata.upstream_tag(repository, tag).await?;
        let state = state.as_ref().map(TagState::of);
        if let Some(state) = state {
            self.inner.tags.insert(key, state);
        }
        Ok(state)
    }

    /// Records the present answer of the upstream for a tag.
    async fn record(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: Option<Digest>,
    ) -> Result<TagState, MirrorError> {
        let metadata = &self.inner.registry.metadata;
        let recorded = match metadata.record_upstream_tag(repository, tag, digest).await {
            Ok(recorded) => TagState::of(&recorded),
            Err(error) => {
                // A full disk must not stop pulls. Only the start of a quarantine is lost with this process.
                tracing::warn!(%repository, %tag, %error, "cannot record the state of a tag; after a restart, the upstream is asked again");
                let before = self.tag_state(repository, tag).await?;
                let same = before.filter(|before| before.digest == digest);
                let first_seen = same.map_or_else(SystemTime::now, |before| before.first_seen);
                TagState { digest, first_seen, checked: Instant::now() }
            }
        };
        let state = TagState { checked: Instant::now(), ..recorded };
        self.inner.tags.insert((repository.clone(), tag.clone()), state);
        Ok(state)
    }

    pub(super) fn is_known_absent(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        let since = self.inner.absent.get(&(repository.clone(), *digest));
        since.is_some_and(|since| since.elapsed() < ABSENT_TTL)
    }

    /// Applies the policy for a tag that the upstream does not have.
    async fn gone(
        &self,
        upstream: &Upstream,
        repository: &RepositoryName,
        tag: &Tag,
        kept: Option<Arc<StoredManifest>>,
    ) -> TagOutcome {
        match (kept, upstream.settings.when_gone) {
            (Some(manifest), WhenUnavailable::Serve) => {
                self.report_stale(repository, tag, StaleReason::Gone).await;
                Ok(ServedManifest { manifest, source: Source::Stale(StaleReason::Gone) })
            }
            _ => Err(absent(upstream, repository, &TagOrDigest::Tag(tag.clone()))),
        }
    }

    /// Applies the policy for an upstream that gives no valid answer.
    async fn unavailable(
        &self,
        upstream: &Upstream,
        repository: &RepositoryName,
        tag: &Tag,
        kept: Option<Arc<StoredManifest>>,
        error: MirrorError,
    ) -> TagOutcome {
        let reason = match &error {
            MirrorError::Limited { .. } => StaleReason::Limited,
            _ => StaleReason::Down,
        };
        match (kept, upstream.settings.when_down) {
            (Some(manifest), WhenUnavailable::Serve) => {
                self.report_stale(repository, tag, reason).await;
                Ok(ServedManifest { manifest, source: Source::Stale(reason) })
            }
            _ => Err(error),
        }
    }

    /// Returns the refusal of a digest that is too new.
    fn quarantined(
        &self,
        upstream: &Upstream,
        repository: &RepositoryName,
        tag: &Tag,
        digest: Digest,
        state: &TagState,
    ) -> Option<MirrorError> {
        let until = state.first_seen.checked_add(upstream.settings.quarantine)?;
        (until > SystemTime::now()).then(|| MirrorError::Quarantined {
            upstream: upstream.name().to_owned(),
            repository: repository.clone(),
            tag: tag.clone(),
            digest,
            until,
        })
    }

    /// Serves the manifest before the one in quarantine.
    async fn quarantine(
        &self,
        _upstream: &Upstream,
        repository: &RepositoryName,
        tag: &Tag,
        kept: Option<Arc<StoredManifest>>,
        refused: MirrorError,
    ) -> TagOutcome {
        match kept {
            Some(manifest) => {
                self.report_stale(repository, tag, StaleReason::Quarantine).await;
                Ok(ServedManifest { manifest, source: Source::Stale(StaleReason::Quarantine) })
            }
            None => Err(refused),
        }
    }

    /// Writes a stale answer to the log and the audit log, once in a while for each tag.
    async fn report_stale(&self, repository: &RepositoryName, tag: &Tag, reason: StaleReason) {
        let key = (repository.clone(), tag.clone());
        if self.inner.logged.get(&key).is_some_and(|logged| logged.elapsed() < LOG_AGAIN) {
            return;
        }
        self.inner.logged.insert(key, Instant::now());
        let reason = reason.as_str();
        tracing::warn!(%repository, %tag, reason, "serving a tag from the cache, because the upstream does not confirm it");
        let accounts = self.inner.registry.accounts();
        if accounts.in_force() {
            let event = AuditEvent {
                account: None,
                address: None,
                action: "upstream.stale",
                object: Some(format!("{repository}:{tag}")),
                verdict: AuditOutcome::Allowed,
                status: None,
                request_id: None,
                detail: Some(reason.to_owned()),
            };
            accounts.record(event).await;
        }
    }
}

/// A manifest from an upstream, with its verified digest.
#[derive(Clone)]
pub(crate) struct Fetched {
    digest: Digest,
    content: bytes::Bytes,
    manifest: Manifest,
}

impl Fetched {
    fn into_stored(self) -> StoredManifest {
        let Self { digest, content, manifest } = self;
        let record = ManifestRecord { digest, media_type: manifest.media_type, size: content.len() as u64 };
        StoredManifest::new(record, content)
    }
}

impl Registry {
    /// Keeps a manifest of an upstream, whose parts may be fetched later.
    async fn keep_manifest(
        &self,
        repository: &RepositoryName,
        fetched: Fetched,
        tag: Option<&Tag>,
    ) -> Result<Arc<StoredManifest>, Error> {
        let inner = &self.inner;
        self.check_place()?;
        self.check_announced(repository, Some(fetched.content.len() as u64)).await?;
        let Fetched { digest, content, manifest } = fetched;
        let description = description::of(&manifest, &*inner.blobs).await?;
        let lease = inner.guards.store(&digest).await;
        let stored = inner.blobs.put(&digest, content.clone()).await?;
        let record =
            ManifestRecord { digest, media_type: manifest.media_type.clone(), size: content.len() as u64 };
        let children = manifest.manifests.iter().map(|child| (child, child.media_type.is_manifest()));
        let blobs = manifest.config.iter().chain(&manifest.layers).map(|blob| (blob, false));
        let parts = blobs.chain(children).map(|(part, is_manifest)| Part {
            digest: part.digest,
            size: part.size,
            is_manifest,
            required: false,
        });
        let tags: Vec<Tag> = tag.into_iter().cloned().collect();
        let put = PutManifest {
            repository: repository.clone(),
            manifest: record.clone(),
            journaled: stored.journaled,
            parts: parts.collect(),
            stored_sizes: None,
            artifact_type: manifest.artifact_type,
            annotations: manifest.annotations,
            subject: manifest.subject.as_ref().map(|subject| subject.digest),
            is_index: manifest.kind == Kind::Index,
            tags,
            description,
            is_fetched: true,
        };
        self.metadata.put_manifest(put).await?;
        lease.linked();
        let manifest = Arc::new(StoredManifest::new(record, content));
        Ok(manifest)
    }

    /// Points a tag to a manifest of the repository. Returns `false` if it is not there.
    async fn point_tag(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        tag: &Tag,
    ) -> Result<bool, Error> {
        Ok(self.metadata.put_tag(repository, digest, tag).await?)
    }
}

fn unknown(repository: &RepositoryName, target: &TagOrDigest) -> MirrorError {
    Error::ManifestUnknown { repository: repository.clone(), target: target.clone() }.into()
}

fn absent(upstream: &Upstream, repository: &RepositoryName, target: &TagOrDigest) -> MirrorError {
    MirrorError::ManifestAbsent {
        upstream: upstream.name().to_owned(),
        repository: repository.clone(),
        target: target.clone(),
    }
}

fn may_not_fill(upstream: &Upstream, repository: &RepositoryName) -> MirrorError {
    MirrorError::MayNotFill { upstream: upstream.name().to_owned(), repository: repository.clone() }
}

pub(super) fn check_fill(
    upstream: &Upstream,
    repository: &RepositoryName,
    may_fill: bool,
) -> Result<(), MirrorError> {
    if may_fill { Ok(()) } else { Err(may_not_fill(upstream, repository)) }
}

fn panicked(upstream: &Upstream) -> MirrorError {
    MirrorError::Down { upstream: upstream.name().to_owned(), reason: "the fetch has panicked".to_owned() }
}
