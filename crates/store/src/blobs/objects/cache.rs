//! Disk cache of the blobs of a bucket: whole copies in `cache/` of the data directory, evicted by their last use (LRU).
//!
//! - A copy gets its name once it has the digest of its blob. Nothing is synced: copies of an earlier process are hashed
//!   before their first use. Later, another inode, size or time of change means that another program has touched the file.
//!   Then it is removed, and the bucket is read.
//! - Requests for one blob at a time share one request to the bucket: `fill` writes the answer to a file, which all of them
//!   read meanwhile.
//! - Small blobs are copied when they are first read. Larger ones are copied once others have read them as well, so that
//!   one pull of a large image does not evict what many clients need.
//! - A copy leaves a twentieth of the disk free. After an error of the disk, nothing is copied for a minute, and the
//!   bucket is read.

mod copies;
mod fill;

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use metrics::{Counter, Gauge, Metrics};
use oci::Digest;
use uuid::Uuid;

use self::copies::{Copies, Found, Stamp};
use self::fill::{Fill, FillReader};
use super::SMALL;
use super::bucket::OpenObject;
use super::place::ObjectBlobs;
use crate::StoreError;
use crate::blobs::files::hash_file;
use crate::blobs::files::mapped_reader::OpenFile;
use crate::blobs::files::mappings::Mappings;
use crate::blobs::files::uploads::Uploads;
use crate::blobs::{Blob, Content, OpenBlob};
use crate::blocking::blocking;
use crate::{Space, permissions, regular_file};

/// The share of the cache, as a divisor, up to which a blob is small.
const SMALL_SHARE: u64 = 64;
/// The share of the cache, as a divisor, that one copy takes at most.
const LARGEST_SHARE: u64 = 4;
/// The share of the disk, as a divisor, that copies leave free.
const FREE_SHARE: u64 = 20;
/// The attempts of a request to use a copy.
const MOST_TURNS: u32 = 5;
/// The time without copies after an error of the disk.
const PAUSE: Duration = Duration::from_secs(60);

/// The caches of this process. A server that changes its role opens its directory again, while requests still read.
static OPEN: LazyLock<Mutex<Vec<Weak<DiskCache>>>> = LazyLock::new(Mutex::default);

/// A disk cache.
pub(super) struct DiskCache {
    directory: PathBuf,
    /// The size in bytes.
    limit: u64,
    copies: Mutex<Copies>,
    /// The time until which nothing is copied.
    paused: Mutex<Option<Instant>>,
    mappings: Arc<Mappings>,
    spool: Uploads,
    metrics: CacheMetrics,
}

/// The metrics of the cache.
#[derive(Default)]
struct CacheMetrics {
    hits: Counter,
    misses: Counter,
    hit_bytes: Counter,
    bytes: Gauge,
}

impl DiskCache {
    /// Opens the cache of a data directory. `None` if its limit is 0.
    pub(super) fn open(directory: PathBuf, limit: u64) -> Option<Arc<Self>> {
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

    pub(super) fn register_metrics(&self, metrics: &mut Metrics) {
        let CacheMetrics { hits, misses, hit_bytes, bytes } = &self.metrics;
        let help = "Reads of blobs of a bucket that needed no request to it";
        metrics.add("blob_cache_hits", help, hits.clone());
        metrics.add("blob_cache_misses", "Reads of blobs of a bucket that asked it", misses.clone());
        metrics.add("blob_cache_hit_bytes", "Bytes that clients read without a request", hit_bytes.clone());
        metrics.add("blob_cache_bytes", "Size of the copies of blobs on the disk", bytes.clone());
    }

    /// Opens a blob: its copy, or the object, which is copied if the cache takes it.
    pub(super) async fn open_blob(
        self: &Arc<Self>,
        blobs: &ObjectBlobs,
        digest: &Digest,
    ) -> Result<Option<Blob>, StoreError> {
        let (mut has_waited, mut turns) = (false, 0);
        let ticket = loop {
            turns += 1;
            // The copy is changed all the time, or the system has no threads to read it.
            if turns > MOST_TURNS {
                self.metrics.misses.inc();
                return blobs.open_stored(digest).await;
            }
            let found = self.lock().find(digest);
            match found {
                Found::Copy(stamp) => {
                    if let Some(blob) = self.open_copy(digest, stamp).await {
                        self.metrics.hits.inc();
                        return Ok(Some(self.counted(blob)));
                    }
                }
                Found::Unverified(id) => self.verify(digest, Ticket::new(self, digest, id)).await,
                Found::Fill(fill) => {
                    self.metrics.hits.inc();
                    let size = fill.size();
                    let reader = FillReader::new(fill, blobs.bucket.clone(), blobs.keys.blob(digest));
                    return Ok(Some(self.counted(Blob::new(size, Box::new(reader)))));
                }
                // The first one reads a part, or what is not copied. The others do not wait for each other.
                Found::Opening(_) if has_waited => {
                    self.metrics.misses.inc();
                    return blobs.open_stored(digest).await;
                }
                Found::Opening(mut end) => {
                    has_waited = true;
                    // An error is the end as well.
                    let _ = end.changed().await;
                }
                Found::Nothing(id) => break Ticket::new(self, digest, id),
            }
        };
        self.metrics.misses.inc();
        let key = blobs.keys.blob(digest);
        let Some((size, object)) = blobs.bucket.open_object(key.clone()).await? else { return Ok(None) };
        if size > SMALL {
            let miss = Miss { cache: self.clone(), ticket, size, object, key, blobs: blobs.clone() };
            return Ok(Some(Blob::new(size, Box::new(miss))));
        }
        let pieces: Vec<Bytes> = Blob::new(size, Box::new(object)).read(0..size).try_collect().await?;
        let content: Bytes = pieces.concat().into();
        // Damaged content is for those who verify it.
        if digest.algorithm().digest(&content) == *digest {
            self.keep(ticket, content.clone()).await;
        }
        Ok(Some(Blob::in_memory(content)))
    }

    /// The blobs that have copies.
    pub(super) fn digests(&self) -> Vec<Digest> {
        self.lock().digests()
    }

    /// Removes the copy of a blob, and keeps none that is being made.
    pub(super) async fn forget(self: &Arc<Self>, digest: &Digest) {
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

    fn lock(&self) -> MutexGuard<'_, Copies> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        copies::path(&self.directory, digest)
    }

    fn measure(&self) {
        self.metrics.bytes.set(i64::try_from(self.lock().bytes()).unwrap_or(i64::MAX));
    }

    /// Removes the file of a copy. Blocks.
    fn remove(&self, digest: &Digest) {
        let path = self.path(digest);
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %path.display(), "cannot remove the copy of a blob");
        }
        self.mappings.forget(digest);
    }

    /// Opens a copy. `None` if its file is not the one that was verified; then it is removed.
    async fn open_copy(self: &Arc<Self>, digest: &Digest, stamp: Stamp) -> Option<Blob> {
        let (cache, digest) = (self.clone(), *digest);
        let opened = blocking(move || {
            let path = cache.path(&digest);
            let deletions = cache.mappings.deletions();
            let opened = regular_file::open(&path).and_then(|file| match file {
                Some(file) if Stamp::of(&file.metadata()?) == stamp => {
                    OpenFile::of_open(file, &path, &digest, (&cache.mappings, deletions))
                }
                _ => Ok(None),
            });
            if let Ok(Some(file)) = opened {
                return Ok(Some(file.into_blob()));
            }
            if cache.lock().forget_copy(&digest, Some(stamp)) {
                tracing::warn!(path = %path.display(), "the copy of a blob was changed or removed; the bucket is read");
                cache.remove(&digest);
                cache.measure();
            }
            Ok(None)
        });
        opened.await.unwrap_or(None)
    }

    /// Hashes a copy of an earlier process, and removes it if it is damaged.
    async fn verify(self: &Arc<Self>, digest: &Digest, ticket: Ticket) {
        let (cache, digest) = (self.clone(), *digest);
        // A panic drops the ticket, and the next request tries again.
        let _ = blocking(move || {
            let hashed = regular_file::open(&cache.path(&digest)).and_then(|file| {
                let Some(file) = file else { return Ok(None) };
                let before = Stamp::of(&file.metadata()?);
                let actual = hash_file(&file, &digest)?;
                let is_same = before == Stamp::of(&file.metadata()?);
                Ok((actual == digest && is_same).then_some(before))
            });
            match hashed {
                Ok(Some(stamp)) => cache.lock().verified(&digest, stamp),
                _ => {
                    if cache.lock().forget_copy(&digest, None) {
                        cache.remove(&digest);
                        cache.measure();
                    }
                }
            }
            drop(ticket);
            Ok(())
        })
        .await;
    }

    /// Whether a blob of this size is copied, whose object is being read as a whole. `is_wanted`: others wait for it.
    fn takes(&self, digest: &Digest, size: u64, is_wanted: bool) -> bool {
        let was_read = self.lock().note(digest);
        let is_small = size <= self.limit / SMALL_SHARE;
        let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        if paused.is_some_and(|until| until <= Instant::now()) {
            *paused = None;
        }
        paused.is_none() && size <= self.limit / LARGEST_SHARE && (is_small || is_wanted || was_read)
    }

    /// Copies nothing for a while.
    fn pause(&self, error: &StoreError) {
        let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        if paused.is_none() {
            tracing::warn!(%error, "cannot copy a blob to the disk; blobs are read from the bucket");
        }
        *paused = Some(Instant::now() + PAUSE);
    }

    /// Evicts copies until `size` more bytes are within the limit. `None` if the disk has no room for them. Blocks.
    fn make_room(self: &Arc<Self>, size: u64) -> Option<Room> {
        let evicted = self.lock().evict(self.limit, size)?;
        let room = Room { cache: self.clone(), size };
        for digest in &evicted {
            self.remove(digest);
        }
        self.measure();
        let has_room = |space: Space| space.free >= size.saturating_add(space.total / FREE_SHARE);
        Space::of(&self.directory).map_or(true, has_room).then_some(room)
    }

    /// Stores the verified bytes of a small blob as a copy.
    async fn keep(self: &Arc<Self>, ticket: Ticket, content: Bytes) {
        let size = content.len() as u64;
        if !self.takes(&ticket.digest, size, false) {
            return;
        }
        let cache = self.clone();
        let kept = blocking(move || {
            let Some(_room) = cache.make_room(size) else { return Ok(()) };
            let path = cache.directory.join(Uuid::new_v4().to_string());
            let kept = permissions::write(&path, &content)
                .map_err(|error| StoreError::io("write", &path, error))
                .and_then(|()| cache.publish(&path, &ticket, size));
            if kept.is_err() {
                // The first error is the cause.
                let _ = std::fs::remove_file(&path);
            }
            kept
        });
        if let Err(error) = kept.await {
            self.pause(&error);
        }
    }

    /// Makes a verified file the copy of a blob, unless the blob was deleted meanwhile. Blocks.
    fn publish(&self, file: &Path, ticket: &Ticket, size: u64) -> Result<(), StoreError> {
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

    /// The same blob, whose bytes count as read without a request.
    fn counted(&self, blob: Blob) -> Blob {
        let size = blob.size;
        if let Content::Memory(_) = blob.content {
            self.metrics.hit_bytes.inc_by(size);
            return blob;
        }
        Blob::new(size, Box::new(Counted { blob, bytes: self.metrics.hit_bytes.clone() }))
    }
}

/// The bytes of copies that are being made.
struct Room {
    cache: Arc<DiskCache>,
    size: u64,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.cache.lock().release(self.size);
    }
}

/// The right of one request to read an object for all that want it. Dropping it lets the others go on.
struct Ticket {
    cache: Arc<DiskCache>,
    digest: Digest,
    id: u64,
}

impl Ticket {
    fn new(cache: &Arc<DiskCache>, digest: &Digest, id: u64) -> Self {
        Self { cache: cache.clone(), digest: *digest, id }
    }

    /// Whether other requests wait.
    fn is_wanted(&self) -> bool {
        self.cache.lock().has_waiters(&self.digest, self.id)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.cache.lock().end(&self.digest, self.id);
    }
}

/// A blob without a copy, whose object is open.
struct Miss {
    cache: Arc<DiskCache>,
    ticket: Ticket,
    size: u64,
    object: OpenObject,
    key: String,
    blobs: ObjectBlobs,
}

impl OpenBlob for Miss {
    fn read(self: Box<Self>, range: std::ops::Range<u64>) -> BoxStream<'static, Result<Bytes, StoreError>> {
        let Self { cache, ticket, size, object, key, blobs } = *self;
        if range != (0..size) || !cache.takes(&ticket.digest, size, ticket.is_wanted()) {
            drop(ticket);
            return Box::new(object).read(range);
        }
        let filled = async move {
            let room = {
                let cache = cache.clone();
                blocking(move || Ok(cache.make_room(size)))
            };
            let Ok(Some(room)) = room.await else {
                drop(ticket);
                return Ok(Box::new(object).read(range));
            };
            let fill = Fill::begin(ticket, room, size, object);
            let reader = FillReader::new(fill, blobs.bucket.clone(), key);
            Ok::<_, StoreError>(Box::new(reader).read(range))
        };
        futures_util::stream::once(filled).try_flatten().boxed()
    }
}

/// A blob whose read bytes are counted.
struct Counted {
    blob: Blob,
    bytes: Counter,
}

impl OpenBlob for Counted {
    fn read(self: Box<Self>, range: std::ops::Range<u64>) -> BoxStream<'static, Result<Bytes, StoreError>> {
        let Self { blob, bytes } = *self;
        bytes.inc_by(range.end - range.start);
        blob.read(range).boxed()
    }

    fn read_for_kernel(
        self: Box<Self>,
        range: std::ops::Range<u64>,
    ) -> BoxStream<'static, Result<Bytes, StoreError>> {
        let Self { blob, bytes } = *self;
        bytes.inc_by(range.end - range.start);
        blob.read_for_kernel(range).boxed()
    }
}
