//! Eviction: keeps the cached content within its limits, of each upstream and of all together.
//!
//! Whole manifests go, those first that were pushed and pulled longest ago. Their layers follow, unless
//! another manifest needs them. Pinned images, pushed images, and images that are being read or filled stay.
//! An evicted image is fetched again when it is pulled.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oci::{Digest, RepositoryName};
use store::metadata::collection::UsedManifest;
use tokio::sync::Notify;

use super::{Mirror, PushPolicy, Upstream};
use crate::{Error, JobKind};

/// The period of the comparison with the limits, besides the one after a fill.
const PERIOD: Duration = Duration::from_secs(60);
/// The pause after an eviction that found nothing to evict.
const PAUSE: Duration = Duration::from_secs(1);
/// The evictions with such a pause before the next one waits for [`PERIOD`].
const ATTEMPTS: u32 = 30;
/// The manifests and blobs of one step.
const STEP: usize = 64;

/// The room that is left below the limits.
pub(super) struct Room {
    /// Bytes until an eviction begins, as far as they are known.
    left: AtomicI64,
    exhausted: Notify,
}

impl Default for Room {
    fn default() -> Self {
        Self { left: AtomicI64::new(i64::MAX), exhausted: Notify::new() }
    }
}

/// Blobs that are being read, with the number of their readers.
pub(super) type Readers = Mutex<HashMap<(RepositoryName, Digest), usize>>;

/// Keeps a blob from being evicted while it is read.
pub struct InUse {
    mirror: Mirror,
    key: (RepositoryName, Digest),
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut readers = self.mirror.inner.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = readers.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                readers.remove(&self.key);
            }
        }
    }
}

impl Mirror {
    /// Keeps a blob from being evicted.
    pub(super) fn in_use(&self, repository: &RepositoryName, digest: &Digest) -> InUse {
        let key = (repository.clone(), *digest);
        let mut readers = self.inner.readers.lock().unwrap_or_else(PoisonError::into_inner);
        *readers.entry(key.clone()).or_default() += 1;
        InUse { mirror: self.clone(), key }
    }

    /// All content that is being read or filled.
    fn all_in_use(&self) -> HashSet<(RepositoryName, Digest)> {
        let readers = self.inner.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: HashSet<_> = readers.keys().cloned().collect();
        drop(readers);
        let fills = self.inner.fills.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(fills.keys().cloned());
        all
    }

    /// Records that content was stored. At the high mark, an eviction begins.
    pub(super) fn count_stored(&self, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let room = &self.inner.room;
        if room.left.fetch_sub(bytes, Ordering::Relaxed).saturating_sub(bytes) < 0 {
            room.exhausted.notify_one();
        }
    }

    /// The largest blob that fits into the cache of an upstream.
    pub(super) fn largest_blob(&self, upstream: &Upstream) -> Option<u64> {
        upstream.settings.max_bytes.into_iter().chain(self.upstreams.limits.max_bytes).min()
    }

    /// Starts to compare the cached content with the limits.
    pub(super) fn start_eviction(&self) {
        let is_limited = self.upstreams.all.iter().any(|upstream| upstream.settings.max_bytes.is_some());
        if is_limited || self.upstreams.limits.max_bytes.is_some() {
            let mirror = self.clone();
            self.spawn(async move { mirror.evict_periodically().await });
        }
    }

    async fn evict_periodically(&self) {
        let room = &self.inner.room;
        let job = self.inner.registry.job_metrics(JobKind::Eviction);
        let mut attempts = 0;
        loop {
            room.left.store(i64::MAX, Ordering::Relaxed);
            let left = match job.run(self.evict()).await {
                Ok(left) => left,
                Err(error) => {
                    tracing::warn!(%error, "cannot evict cached images; trying again");
                    0
                }
            };
            // Less the content that was stored meanwhile, which the eviction may not have seen.
            let used = i64::MAX.saturating_sub(left.max(0));
            let now_left = room.left.fetch_sub(used, Ordering::Relaxed).saturating_sub(used);
            if now_left > 0 {
                attempts = 0;
            } else {
                // Everything is in use, pinned or pushed. Content in use becomes free soon.
                tokio::time::sleep(PAUSE).await;
                attempts += 1;
                if attempts < ATTEMPTS {
                    continue;
                }
            }
            let _ = tokio::time::timeout(PERIOD, room.exhausted.notified()).await;
        }
    }

    /// Evicts from every upstream and from all together what exceeds the limits. Returns the bytes that are
    /// left until the next eviction.
    async fn evict(&self) -> Result<i64, Error> {
        let mut left = i64::MAX;
        let all = &self.upstreams.all;
        for upstream in all {
            if let Some(limit) = upstream.settings.max_bytes {
                left = left.min(self.evict_from(std::slice::from_ref(upstream), limit).await?);
            }
        }
        if let Some(limit) = self.upstreams.limits.max_bytes {
            left = left.min(self.evict_from(all, limit).await?);
        }
        Ok(left)
    }

    /// Evicts content of some upstreams if it exceeds the high mark of a limit, down to the low mark.
    async fn evict_from(&self, upstreams: &[Arc<Upstream>], limit: u64) -> Result<i64, Error> {
        let registry = &self.inner.registry;
        let metadata = &registry.metadata;
        let limits = &self.upstreams.limits;
        let mark =
            |share: u16| u64::try_from(u128::from(limit) * u128::from(share) / 10_000).unwrap_or(limit);
        let (high, low) = (mark(limits.high_mark), mark(limits.low_mark));
        let names: Vec<&str> = upstreams.iter().map(|upstream| upstream.name()).collect();
        let room =
            |usage: u64| i64::try_from(high).unwrap_or(i64::MAX) - i64::try_from(usage).unwrap_or(i64::MAX);
        let mut usage = metadata.usage_below(&names).await?.bytes;
        if usage <= high {
            return Ok(room(usage));
        }
        let before = usage;
        registry.flush_pulls().await?;
        self.evict_unneeded_blobs(upstreams).await?;
        usage = metadata.usage_below(&names).await?.bytes;
        let mut after = None;
        let mut evicted = 0;
        while usage > low {
            let oldest = metadata.least_used_below(&names, after, STEP).await?;
            if oldest.is_empty() {
                break;
            }
            let chosen = self.choose(oldest, usage - low, &mut after).await?;
            if chosen.is_empty() {
                continue;
            }
            evicted += chosen.len();
            registry.evict_content(chosen).await?;
            usage = metadata.usage_below(&names).await?.bytes;
        }
        let freed = before.saturating_sub(usage);
        tracing::info!(
            upstreams = names.join(","),
            manifests = evicted,
            freed,
            kept = usage,
            limit,
            "evicted cached images"
        );
        Ok(room(usage))
    }

    /// Chooses manifests whose content has the wanted size, from the oldest on, and moves the cursor behind
    /// them.
    async fn choose(
        &self,
        oldest: Vec<UsedManifest>,
        wanted: u64,
        cursor: &mut Option<(i64, i64, i64)>,
    ) -> Result<Vec<(RepositoryName, Digest)>, Error> {
        let in_use = self.all_in_use();
        let busy: HashSet<&RepositoryName> = in_use.iter().map(|(repository, _)| repository).collect();
        let (mut chosen, mut bytes) = (Vec::new(), 0);
        for UsedManifest { repository, digest, bytes: size, position } in oldest {
            if bytes >= wanted {
                break;
            }
            *cursor = Some(position);
            if self.upstream_of(&repository).is_some_and(|upstream| upstream.is_pinned(&repository)) {
                continue;
            }
            if busy.contains(&repository) {
                let needed = self.inner.registry.metadata.needed_by(&repository, &digest).await?;
                if needed.into_iter().any(|digest| in_use.contains(&(repository.clone(), digest))) {
                    continue;
                }
            }
            bytes += size;
            chosen.push((repository, digest));
        }
        Ok(chosen)
    }

    /// Evicts blobs whose manifest was evicted while they arrived.
    async fn evict_unneeded_blobs(&self, upstreams: &[Arc<Upstream>]) -> Result<(), Error> {
        // A push puts its blobs before its manifest.
        let without_pushes = upstreams.iter().filter(|upstream| upstream.settings.push == PushPolicy::Refuse);
        let names: Vec<&str> = without_pushes.map(|upstream| upstream.name()).collect();
        loop {
            let blobs = self.inner.registry.metadata.unneeded_blobs_below(&names, STEP).await?;
            let in_use = self.all_in_use();
            let is_free = |blob: &(RepositoryName, Digest)| {
                let is_pinned = self.upstream_of(&blob.0).is_some_and(|upstream| upstream.is_pinned(&blob.0));
                !is_pinned && !in_use.contains(blob)
            };
            let is_last = blobs.len() < STEP;
            let free: Vec<_> = blobs.into_iter().filter(is_free).collect();
            // If only a part is free, the rest waits for the next eviction.
            if free.is_empty() {
                return Ok(());
            }
            self.inner.registry.evict_content(free).await?;
            if is_last {
                return Ok(());
            }
        }
    }
}

impl Upstream {
    /// Whether the operator pinned a repository.
    fn is_pinned(&self, repository: &RepositoryName) -> bool {
        let path = self.path(repository).and_then(|path| path.parse::<RepositoryName>().ok());
        path.is_some_and(|path| self.settings.keep.iter().any(|pattern| pattern.matches(&path)))
    }
}
