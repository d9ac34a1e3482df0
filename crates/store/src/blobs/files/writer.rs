//! Writes one upload: buffers its bytes, and hashes and writes the full buffers on another thread.
//!
//! Receiving overlaps with writing: while one buffer is written, the next one fills. A thread is used only while
//! there is something to write. An upload of up to [`SMALL`] bytes stays in memory, and commit journals it.

use async_trait::async_trait;
use bytes::Bytes;
use oci::{Digest, Digester};
use std::sync::Arc;
use uuid::Uuid;

use super::FileBlobs;
use super::layout::SMALL;
use super::upload_buffer::UploadBuffer;
use super::uploads::{OpenUpload, Written};
use crate::StoreError;
use crate::blobs::{BlobWriter, Stored, Upload, UploadState, check_digest};
use crate::blocking::{Priority, Task, blocking, spawn_blocking_at};

/// From this size on, an upload runs at low priority beside other large ones: it takes seconds in any case.
const LARGE: u64 = 8 << 20;

/// The writer of one upload.
pub(super) struct FileWriter {
    blobs: FileBlobs,
    upload: Arc<OpenUpload>,
    /// The number of bytes accepted: written, in progress and buffered ones.
    offset: u64,
    buffer: UploadBuffer,
    progress: Progress,
}

enum Progress {
    Idle(Box<Written>),
    Writing(Task<Written>),
    /// A write failed, or its future was dropped.
    Failed,
}

impl FileWriter {
    pub(super) fn open(blobs: &FileBlobs, id: Uuid, offset: u64, digester: Digester) -> Upload {
        Box::new(Self {
            upload: blobs.uploads.open(id),
            blobs: blobs.clone(),
            offset,
            buffer: UploadBuffer::default(),
            progress: Progress::Idle(Box::new(Written { offset, saved: offset, digester })),
        })
    }

    /// Waits for the write in progress.
    async fn written(&mut self) -> Result<Written, StoreError> {
        match std::mem::replace(&mut self.progress, Progress::Failed) {
            Progress::Idle(written) => Ok(*written),
            Progress::Writing(task) => task.join().await,
            Progress::Failed => Err(self.upload.has_failed()),
        }
    }

    /// Writes the full buffer in the background.
    async fn write_buffer(&mut self) -> Result<(), StoreError> {
        let written = self.written().await?;
        let lock = self.upload.lock().await?;
        let pieces = self.buffer.take();
        let is_slow = written.offset >= LARGE && self.blobs.uploads.is_one_of_several_large(&self.upload);
        let priority = if is_slow { Priority::Low } else { Priority::Ordinary };
        let upload = self.upload.clone();
        self.progress = Progress::Writing(spawn_blocking_at(priority, move || {
            let appended = upload.append(written, &pieces);
            drop(lock);
            appended
        }));
        Ok(())
    }
}

#[async_trait]
impl BlobWriter for FileWriter {
    fn id(&self) -> Uuid {
        self.upload.id()
    }

    fn offset(&self) -> u64 {
        self.offset
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.offset += bytes.len() as u64;
        self.buffer.add(bytes);
        while self.buffer.is_full() {
            self.write_buffer().await?;
        }
        Ok(())
    }

    async fn save(&mut self) -> Result<UploadState, StoreError> {
        let mut written = self.written().await?;
        // Dropped afterwards: an idle upload holds no memory.
        let pieces = std::mem::take(&mut self.buffer).into_pieces();
        if !pieces.is_empty() {
            let lock = self.upload.lock().await?;
            let upload = self.upload.clone();
            written = blocking(move || {
                let appended = upload.append(written, &pieces);
                drop(lock);
                appended
            })
            .await?;
        }
        written.saved = written.offset;
        let state = UploadState {
            id: self.id(),
            offset: written.offset,
            algorithm: written.digester.algorithm(),
            hash_state: written.digester.save(),
            backend: String::new(),
        };
        self.progress = Progress::Idle(Box::new(written));
        Ok(state)
    }

    async fn commit(mut self: Box<Self>, digest: &Digest) -> Result<Stored, StoreError> {
        let written = self.written().await?;
        let lock = self.upload.lock().await?;
        let Self { blobs, upload, buffer, offset, .. } = *self;
        let (digest, pieces) = (*digest, buffer.into_pieces());
        if written.offset == 0 && offset <= SMALL {
            drop(lock);
            let content = Bytes::from(pieces.concat());
            check_digest(&digest, digest.algorithm().digest(&content))?;
            return blobs.put_small(&digest, content).await;
        }
        let (layout, mappings) = (blobs.layout.clone(), blobs.mappings.clone());
        let stored = blocking(move || {
            let written = upload.append(written, &pieces)?;
            let committed = upload.commit(written, &layout, &digest);
            mappings.release(&digest);
            drop(lock);
            committed
        })
        .await?;
        blobs.sync_name(digest, stored).await
    }
}
