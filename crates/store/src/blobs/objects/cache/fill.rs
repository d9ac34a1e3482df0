//! Fills a disk cache: one request to the bucket for all readers of a blob.
//!
//! A task writes the object to a file and hashes it. Each reader reads the file at its own offset. The last
//! byte waits for the verified digest. If the bucket or the disk fails, each reader asks the bucket for the
//! rest.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::sync::watch;

use super::super::bucket::Bucket;
use crate::StoreError;
use crate::blobs::OpenBlob;
use crate::blobs::local::uploads::OpenUpload;
use crate::blocking::blocking;

/// The bytes that a reader reads at a time.
const PIECE: u64 = 256 << 10;

/// A copy that is being made.
pub(super) struct Fill {
    pub(super) file: Arc<OpenUpload>,
    pub(super) size: u64,
    pub(super) progress: watch::Sender<Progress>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
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
    pub(super) fn new(file: Arc<OpenUpload>, size: u64) -> Self {
        Self { file, size, progress: watch::Sender::new(Progress::Bytes(0)) }
    }
}

pub(super) fn damaged(name: &str) -> StoreError {
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
