//! Files of a disk cache: their limit, their places, and the right to read an object for others.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Metrics};
use oci::Digest;

use super::copies::{self, Copies, Stamp};
use crate::blobs::local::mappings::Mappings;
use crate::blobs::local::uploads::Uploads;
use crate::blocking::blocking;
use crate::{Space, StoreError};

/// The share of the cache, as a divisor, up to which a blob is small.
pub(super) const SMALL_SHARE: u64 = 64;
/// The share of the cache, as a divisor, that one copy takes at most.
const LARGEST_SHARE: u64 = 4;
/// The share of the disk, as a divisor, that copies leave free.
const FREE_SHARE: u64 = 20;
/// The time without copies after an error of the disk.
const PAUSE: Duration = Duration::from_secs(60);

/// The caches of this process. A server that changes its role opens its directory again, while requests still
/// read.
static OPEN: LazyLock<Mutex<Vec<Weak<DiskCache>>>> = LazyLock::new(Mutex::default);

pub(crate) struct DiskCache {
    pub(super) directory: PathBuf,
    /// The size in bytes.
    pub(super) limit: u64,
    copies: Mutex<Copies>,
    /// The time until which nothing is copied.
    paused: Mutex<Option<Instant>>,
    pub(super) mappings: Arc<Mappings>,
    pub(super) spool: Uploads,
    pub(super) metrics: CacheMetrics,
}

#[derive(Default)]
pub(super) struct CacheMetrics {
    pub(super) hits: Counter,
    pub(super) misses: Counter,
    pub(super) hit_bytes: Counter,
    pub(super) bytes: Gauge,
}

impl DiskCache {
    /// Opens the cache of a data directory. `None` if its limit is 0.
    pub(crate) fn open(directory: PathBuf, limit: u64) -> Option<Arc<Self>> {
        if limit == 0 {
            return None;
        }
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|cache| cache.strong_count() > 0);
        let same = |cache: &Arc<Self>| cache.directory == directory && cache.limit == limit;
        if let Some(cache) = open.iter().filter_map(Weak::upgrade).find(same) {
            return Some(cache);
        }
        let cache = Arc::new(Self {
            copies: Mutex::new(copies::read(&directory)),
            paused: Mutex::default(),
            mappings: Arc::default(),
            spool: Uploads::new(directory.clone()),
            metrics: CacheMetrics::default(),
            directory,
            limit,
        });
        // The limit may have been higher.
        drop(cache.make_room(0));
        open.push(Arc::downgrade(&cache));
        Some(cache)
    }

    pub(crate) fn register_metrics(&self, metrics: &mut Metrics) {
        let CacheMetrics { hits, misses, hit_bytes, bytes } = &self.metrics;
        let help = "Reads of blobs of a bucket that needed no request to it";
        metrics.add("blob_cache_hits", help, hits.clone());
        metrics.add("blob_cache_misses", "Reads of blobs of a bucket that asked it", misses.clone());
        metrics.add("blob_cache_hit_bytes", "Bytes that clients read without a request", hit_bytes.clone());
        metrics.add("blob_cache_bytes", "Size of the copies of blobs on the disk", bytes.clone());
    }

    /// The blobs that have copies.
    pub(crate) fn digests(&self) -> Vec<Digest> {
        self.lock().digests()
    }

    /// Removes the copy of a blob, also an unfinished one.
    pub(crate) async fn forget(self: &Arc<Self>, digest: &Digest) {
        let (cache, digest) = (self.clone(), *digest);
        let forgotten = blocking(move || {
            let is_there = cache.lock().forget(&digest);
            if is_there {
                cache.remove(&digest);
            }
            cache.measure();
            Ok(())
        });
        if let Err(error) = forgotten.await {
            tracing::warn!(%error, "cannot remove the copy of a blob");
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Copies> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn path(&self, digest: &Digest) -> PathBuf {
        copies::path(&self.directory, digest)
    }

    pub(super) fn measure(&self) {
        self.metrics.bytes.set(i64::try_from(self.lock().bytes()).unwrap_or(i64::MAX));
    }

    /// Removes the file of a copy. Blocks.
    pub(super) fn remove(&self, digest: &Digest) {
        let path = self.path(digest);
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %path.display(), "cannot remove the copy of a blob");
        }
        self.mappings.forget(digest);
    }

    /// Whether a blob of this size is copied, whose object is being read as a whole. `is_wanted`: others wait
    /// for it.
    pub(super) fn takes(&self, digest: &Digest, size: u64, is_wanted: bool) -> bool {
        let was_read = self.lock().note(digest);
        let is_small = size <= self.limit / SMALL_SHARE;
        let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        if paused.is_some_and(|until| until <= Instant::now()) {
            *paused = None;
        }
        paused.is_none() && size <= self.limit / LARGEST_SHARE && (is_small || is_wanted || was_read)
    }

    /// Copies nothing for a while.
    pub(super) fn pause(&self, error: &StoreError) {
        let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        if paused.is_none() {
            tracing::warn!(%error, "cannot copy a blob to the disk; blobs are read from the bucket");
        }
        *paused = Some(Instant::now() + PAUSE);
    }

    /// Evicts copies until `size` more bytes are within the limit. `None` if the disk has no room for them.
    /// Blocks.
    pub(super) fn make_room(self: &Arc<Self>, size: u64) -> Option<Room> {
        let evicted = self.lock().evict(self.limit, size)?;
        let room = Room { cache: self.clone(), size };
        for digest in &evicted {
            self.remove(digest);
        }
        self.measure();
        let has_room = |space: Space| space.free >= size.saturating_add(space.total / FREE_SHARE);
        Space::of(&self.directory).map_or(true, has_room).then_some(room)
    }

    /// Makes a verified file the copy of a blob, unless the blob was deleted meanwhile. Blocks.
    pub(super) fn publish(&self, file: &Path, ticket: &Ticket, size: u64) -> Result<(), StoreError> {
        let path = self.path(&ticket.digest);
        std::fs::rename(file, &path).map_err(|error| StoreError::io("rename", file, error))?;
        let metadata = std::fs::metadata(&path).map_err(|error| StoreError::io("read", &path, error))?;
        if metadata.len() != size
            || !self.lock().insert(&ticket.digest, ticket.id, size, Stamp::of(&metadata))
        {
            self.remove(&ticket.digest);
        }
        self.measure();
        Ok(())
    }
}

/// The bytes of copies that are being made.
pub(super) struct Room {
    cache: Arc<DiskCache>,
    size: u64,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.cache.lock().release(self.size);
    }
}

/// The right of one request to read an object for all that want it. Dropping it lets the others go on.
pub(super) struct Ticket {
    pub(super) cache: Arc<DiskCache>,
    pub(super) digest: Digest,
    pub(super) id: u64,
}

impl Ticket {
    pub(super) fn new(cache: &Arc<DiskCache>, digest: &Digest, id: u64) -> Self {
        Self { cache: cache.clone(), digest: *digest, id }
    }

    /// Whether other requests wait.
    pub(super) fn is_wanted(&self) -> bool {
        self.cache.lock().has_waiters(&self.digest, self.id)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.cache.lock().end(&self.digest, self.id);
    }
}
