//! Fills a disk cache: one request to the bucket for all readers of a blob.
//!
//! A task writes the object to a file and hashes it. Each reader reads the file at its own offset. The last byte waits for
//! the verified digest. If the bucket or the disk fails, each reader asks the bucket for the rest.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use oci::Digester;
use tokio::sync::watch;
use uuid::Uuid;

use super::super::bucket::{Bucket, OpenObject};
use super::{Room, SMALL_SHARE, Ticket};
use crate::StoreError;
use crate::blobs::OpenBlob;
use crate::blobs::files::spool::Spool;
use crate::blobs::files::uploads::OpenUpload;
use crate::blocking::{Priority, blocking};

/// The bytes that a reader reads at a time.
const PIECE: u64 = 256 << 10;

/// A copy that is being made.
pub(super) struct Fill {
    file: Arc<OpenUpload>,
    size: u64,
    progress: watch::Sender<Progress>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// This many bytes are in the file.
    Bytes(u64),
    /// All bytes are there, with the digest of the blob.
    Whole,
    /// All bytes were read, and have another digest.
    Damaged,
    /// The bucket or the disk failed.
    Failed,
}

impl Fill {
    /// Starts to copy an open object.
    pub(super) fn begin(ticket: Ticket, room: Room, size: u64, object: OpenObject) -> Arc<Self> {
        let file = ticket.cache.spool.open(Uuid::new_v4());
        let fill = Arc::new(Self { file, size, progress: watch::Sender::new(Progress::Bytes(0)) });
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

    pub(super) fn size(&self) -> u64 {
        self.size
    }
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

fn damaged(name: &str) -> StoreError {
    StoreError::Damaged(format!("the bucket has other bytes under {name}"))
}

/// A reader of a copy that is being made.
pub(super) struct FillReader {
    fill: Arc<Fill>,
    progress: watch::Receiver<Progress>,
    bucket: Arc<Bucket>,
    key: String,
}

impl FillReader {
    pub(super) fn new(fill: Arc<Fill>, bucket: Arc<Bucket>, key: String) -> Self {
        let progress = fill.progress.subscribe();
        Self { fill, progress, bucket, key }
    }

    /// Returns bytes from the start of `range`, or `None` to ask the bucket.
    async fn next(&mut self, range: &Range<u64>) -> Result<Option<Bytes>, StoreError> {
        loop {
            let progress = *self.progress.borrow_and_update();
            let there = match progress {
                // The last byte waits for the digest.
                Progress::Bytes(bytes) => bytes.min(self.fill.size - 1),
                Progress::Whole => self.fill.size,
                Progress::Damaged => return Err(damaged(&self.key)),
                Progress::Failed => return Ok(None),
            };
            if there > range.start {
                let part = range.start..there.min(range.end).min(range.start + PIECE);
                let file = self.fill.file.clone();
                // The file of a fill that has failed may be cut short.
                return Ok(blocking(move || file.read(part)).await.ok());
            }
            // The sender lives in the fill.
            if self.progress.changed().await.is_err() {
                return Ok(None);
            }
        }
    }
}

impl OpenBlob for FillReader {
    fn read(self: Box<Self>, range: Range<u64>) -> BoxStream<'static, Result<Bytes, StoreError>> {
        enum Source {
            File(Box<FillReader>),
            Bucket(BoxStream<'static, Result<Bytes, StoreError>>),
        }
        futures_util::stream::try_unfold((Source::File(self), range), |(mut source, mut rest)| async move {
            while !rest.is_empty() {
                source = match source {
                    Source::File(mut reader) => match reader.next(&rest).await? {
                        Some(bytes) => {
                            rest.start += bytes.len() as u64;
                            return Ok(Some((bytes, (Source::File(reader), rest))));
                        }
                        None => Source::Bucket(reader.bucket.read_range(reader.key.clone(), rest.clone())),
                    },
                    Source::Bucket(mut bytes) => {
                        let Some(piece) = bytes.try_next().await? else { return Ok(None) };
                        rest.start += piece.len() as u64;
                        return Ok(Some((piece, (Source::Bucket(bytes), rest))));
                    }
                };
            }
            Ok::<_, StoreError>(None)
        })
        .boxed()
    }
}
