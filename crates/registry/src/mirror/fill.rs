//! The state of a fill, which one task changes and all its readers watch.
//!
//! The latest bytes are also in memory, so that readers that keep up read no file. With
//! `scripts/bench-mirror` this takes 0.79 s of CPU rather than 1.97 for 20 readers of 100 MiB, and 2.2 s/GB
//! rather than 3.0 for one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use store::StoreError;
use store::blobs::UploadReader;
use tokio::sync::watch;

use super::error::MirrorError;

/// The size at which the oldest bytes leave the memory. They are in the file then.
const FULL: u64 = 2 << 20;
/// The bytes that stay in memory, for readers that are a little behind.
const KEPT: u64 = 1 << 20;

/// A blob that is being fetched.
pub(super) struct Fill {
    pub(super) progress: watch::Sender<Progress>,
    file: OnceLock<Arc<dyn UploadReader>>,
    latest: Mutex<Latest>,
}

/// The latest received bytes. Those before `start` are in the file.
#[derive(Default)]
struct Latest {
    start: u64,
    end: u64,
    /// Each piece with its offset.
    pieces: VecDeque<(u64, Bytes)>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// Whether the upstream has begun to send the blob.
    pub(super) is_begun: bool,
    /// The size of the blob, if it is known.
    pub(super) size: Option<u64>,
    /// The number of bytes that readers may have.
    pub(super) readable: u64,
    /// The size of the stored blob, or the reason of the failure.
    pub(super) end: Option<Result<u64, FillError>>,
}

/// Why a fill failed.
#[derive(Clone, Debug)]
pub(super) enum FillError {
    /// The blob cannot be had.
    Mirror(MirrorError),
    /// The bytes cannot be kept here, because the disk is full or broken. Readers go on without it.
    NotKept(String),
}

impl Fill {
    pub(super) fn new() -> Self {
        Self {
            progress: watch::Sender::new(Progress::default()),
            file: OnceLock::new(),
            latest: Mutex::default(),
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Adds received bytes.
    pub(super) fn add(&self, bytes: Bytes) {
        let mut latest = self.latest();
        let offset = latest.end;
        latest.end += bytes.len() as u64;
        if !bytes.is_empty() {
            latest.pieces.push_back((offset, bytes));
        }
    }

    /// Whether to save the received bytes, and then call [`Self::saved`].
    pub(super) fn is_full(&self) -> bool {
        let latest = self.latest();
        latest.end - latest.start > FULL
    }

    /// Takes the file that has all received bytes, and drops the oldest of them from memory.
    pub(super) fn saved(&self, file: Arc<dyn UploadReader>) {
        self.file.get_or_init(|| file);
        let mut latest = self.latest();
        while let Some((offset, piece)) = latest.pieces.front()
            && latest.end - offset - piece.len() as u64 >= KEPT
        {
            latest.start = offset + piece.len() as u64;
            latest.pieces.pop_front();
        }
    }

    /// The growing file, once bytes were saved.
    pub(super) fn file(&self) -> Option<Arc<dyn UploadReader>> {
        self.file.get().cloned()
    }

    /// Reads received bytes: at least one and at most `limit`. `None` if the blob was linked without a
    /// transfer.
    pub(super) async fn read_at(&self, offset: u64, limit: usize) -> Result<Option<Bytes>, StoreError> {
        if let Some(bytes) = self.latest().read_at(offset, limit) {
            return Ok(Some(bytes));
        }
        // The bytes before those in memory were saved.
        match self.file.get() {
            Some(file) => file.read_at(offset, limit).await.map(Some),
            None => Ok(None),
        }
    }

    fn latest(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Latest {
    /// Reads from the piece that has the byte at the offset. `None` if it is no longer here.
    fn read_at(&self, offset: u64, limit: usize) -> Option<Bytes> {
        let next = self.pieces.partition_point(|(start, _)| *start <= offset);
        let (start, piece) = self.pieces.get(next.checked_sub(1)?)?;
        let skipped = usize::try_from(offset - start).ok()?;
        let end = piece.len().min(skipped.saturating_add(limit));
        (skipped < end).then(|| piece.slice(skipped..end))
    }
}

#[cfg(test)]
mod tests {
    use oci::Algorithm;
    use store::blobs::BlobStore as _;
    use store::blobs::memory::MemoryBlobs;
    use uuid::Uuid;

    use super::*;

    fn byte(offset: u64) -> u8 {
        u8::try_from(offset % 251).unwrap()
    }

    #[tokio::test]
    async fn fill_reads_memory_and_then_its_file() {
        let fill = Fill::new();
        assert_eq!(fill.read_at(0, 10).await.unwrap(), None);
        let blobs = MemoryBlobs::default();
        let mut upload = blobs.begin(Uuid::new_v4(), Algorithm::Sha256).await.unwrap();
        let (piece, total) = (64 << 10, FULL + (64 << 10));
        for start in (0..total).step_by(piece) {
            assert!(!fill.is_full(), "{start}");
            let bytes: Bytes = (start..start + piece as u64).map(byte).collect();
            upload.write(bytes.clone()).await.unwrap();
            fill.add(bytes);
        }
        assert!(fill.is_full());
        upload.save().await.unwrap();
        fill.saved(blobs.read_upload(upload.id()).await.unwrap().unwrap().into());
        assert!(!fill.is_full());
        assert_eq!(fill.latest().start, total - KEPT);
        assert_eq!(fill.latest().read_at(total - KEPT - 1, 1), None);
        // Each offset is readable, whether it is in memory or in the file.
        let mut offset = 0;
        while offset < total {
            let bytes = fill.read_at(offset, 10_000).await.unwrap().unwrap();
            let end = offset + bytes.len() as u64;
            assert!(bytes.iter().copied().eq((offset..end).map(byte)), "{offset}");
            offset = end;
        }
        assert_eq!(offset, total);
    }
}
