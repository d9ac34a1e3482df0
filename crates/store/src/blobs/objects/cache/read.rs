//! Reads a blob through a disk cache: its copy, the copy that is being made, or the object, which is copied.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use metrics::Counter;
use oci::{Digest, Digester};
use tokio::sync::watch;
use uuid::Uuid;

use super::super::bucket::{Bucket, OpenObject, SMALL};
use super::copies::{Found, Stamp};
use super::disk::{DiskCache, Room, SMALL_SHARE, Ticket};
use super::fill::{Fill, FillReader, Progress, damaged};
use crate::blobs::local::hash;
use crate::blobs::local::mapped_reader::OpenFile;
use crate::blobs::local::spool::Spool;
use crate::blobs::{Blob, Content, OpenBlob};
use crate::blocking::{Priority, blocking};
use crate::{StoreError, permissions, regular_file};

/// The attempts of a request to use a copy.
const MOST_TURNS: u32 = 5;
/// The wait for a request that opens the object. Its client may not read.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

impl DiskCache {
    /// Opens a blob: its copy, or the object, which is copied if the cache takes it.
    pub(crate) async fn open_blob(
        self: &Arc<Self>,
        bucket: &Arc<Bucket>,
        key: String,
        digest: &Digest,
    ) -> Result<Option<Blob>, StoreError> {
        let (mut has_waited, mut turns) = (false, 0);
        let ticket = loop {
            turns += 1;
            // The copy is changed all the time, or the system has no threads to read it.
            if turns > MOST_TURNS {
                self.metrics.misses.inc();
                return bucket.open_blob(key).await;
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
                    let size = fill.size;
                    let reader = FillReader::new(fill, bucket.clone(), key);
                    return Ok(Some(self.counted(Blob::new(size, Box::new(reader)))));
                }
                // The first request reads a part, or content that is not cached. The others do not wait.
                Found::Opening(_) if has_waited => {
                    self.metrics.misses.inc();
                    return bucket.open_blob(key).await;
                }
                Found::Opening(mut end) => {
                    has_waited = true;
                    // An error is the end as well.
                    let _ = tokio::time::timeout(LONGEST_WAIT, end.changed()).await;
                }
                Found::Nothing(id) => break Ticket::new(self, digest, id),
            }
        };
        self.metrics.misses.inc();
        let Some((size, object)) = bucket.open_object(key.clone()).await? else { return Ok(None) };
        if size > SMALL {
            let miss = Miss { cache: self.clone(), ticket, size, object, key, bucket: bucket.clone() };
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
                let actual = hash(&file, &digest)?;
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

/// A blob without a copy, whose object is open.
struct Miss {
    cache: Arc<DiskCache>,
    ticket: Ticket,
    size: u64,
    object: OpenObject,
    key: String,
    bucket: Arc<Bucket>,
}

impl OpenBlob for Miss {
    fn read(self: Box<Self>, range: std::ops::Range<u64>) -> BoxStream<'static, Result<Bytes, StoreError>> {
        let Self { cache, ticket, size, object, key, bucket } = *self;
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
            let fill = begin(ticket, room, size, object);
            let reader = FillReader::new(fill, bucket, key);
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

/// Starts to copy an open object.
fn begin(ticket: Ticket, room: Room, size: u64, object: OpenObject) -> Arc<Fill> {
    let file = ticket.cache.spool.open(Uuid::new_v4());
    let fill = Arc::new(Fill::new(file, size));
    ticket.cache.lock().fill(&ticket.digest, ticket.id, &fill);
    let task = Task { fill: fill.clone(), ticket, _room: room };
    let readers = fill.progress.subscribe();
    tokio::spawn(async move {
        let ran = task.run(object, readers).await;
        if let Err(error) = &ran {
            tracing::debug!(%error, "the copy of a blob is not made");
        }
        if let Err(error @ (StoreError::Io { .. } | StoreError::Full { .. })) = &ran {
            task.ticket.cache.pause(error);
        }
        task.end(ran.is_ok()).await;
    });
    fill
}

struct Task {
    fill: Arc<Fill>,
    ticket: Ticket,
    _room: Room,
}

impl Task {
    /// `first` keeps the fill alive until its first reader has begun.
    async fn run(&self, object: OpenObject, first: watch::Receiver<Progress>) -> Result<(), StoreError> {
        let Self { fill, ticket, .. } = self;
        let mut first = Some(first);
        let is_small = fill.size <= ticket.cache.limit / SMALL_SHARE;
        let mut spool = Spool::new(fill.file.clone(), 0, Digester::new(ticket.digest.algorithm()));
        let mut pieces = Box::new(object).read(0..fill.size);
        while let Some(piece) = pieces.try_next().await? {
            spool.add(piece);
            while spool.is_full() {
                let written = spool.written().await?;
                if written.offset > 0 {
                    fill.progress.send_replace(Progress::Bytes(written.offset));
                    first = None;
                }
                if first.is_none() && fill.progress.receiver_count() == 0 && !is_small {
                    return Err(StoreError::Closed);
                }
                let lock = fill.file.lock().await?;
                spool.write(written, lock, Priority::Ordinary);
            }
        }
        let written = spool.written().await?;
        let lock = fill.file.lock().await?;
        let (written, _lock) = spool.write_rest(written, lock).await?;
        if written.offset != fill.size {
            return Err(StoreError::Damaged(format!(
                "{} ends after {} bytes",
                ticket.digest, written.offset
            )));
        }
        let actual = blocking(move || Ok(written.digester.finish())).await?;
        if actual != ticket.digest {
            tracing::error!(digest = %ticket.digest, %actual, "the bucket has other bytes under a digest");
            fill.progress.send_replace(Progress::Damaged);
            return Err(damaged(&ticket.digest.to_string()));
        }
        fill.progress.send_replace(Progress::Whole);
        Ok(())
    }

    /// Makes the file a copy, or removes it.
    async fn end(self, is_whole: bool) {
        let published = blocking(move || {
            // Its end removes the file, unless it has another name.
            let task = self;
            if !is_whole {
                return Ok(());
            }
            task.ticket.cache.publish(task.fill.file.path(), &task.ticket, task.fill.size)
        });
        if let Err(error) = published.await {
            tracing::warn!(%error, "cannot keep the copy of a blob");
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.fill.progress.send_if_modified(|progress| {
            let has_failed = matches!(progress, Progress::Bytes(_));
            if has_failed {
                *progress = Progress::Failed;
            }
            has_failed
        });
        let _ = std::fs::remove_file(self.fill.file.path());
    }
}
