//! Spool of an upload: gathers received bytes, and hashes and writes full buffers to the file on another
//! thread.
//!
//! Receiving overlaps with writing: while one buffer is written, the next one fills. A thread is used only
//! while there is something to write. The writers of files and of buckets both receive into a spool.

use std::sync::Arc;

use bytes::Bytes;
use oci::Digester;

use super::upload_buffer::UploadBuffer;
use super::uploads::{OpenUpload, UploadLock, Written};
use crate::StoreError;
use crate::blobs::UploadState;
use crate::blocking::{Priority, Task, blocking, spawn_blocking_at};

/// The received bytes of one upload.
pub(in crate::blobs) struct Spool {
    pub(in crate::blobs) upload: Arc<OpenUpload>,
    /// The number of bytes accepted: written, in progress and buffered ones.
    pub(in crate::blobs) offset: u64,
    buffer: UploadBuffer,
    progress: Progress,
}

enum Progress {
    Idle(Box<Written>),
    Writing(Task<Written>),
    /// A write failed, or its future was dropped.
    Failed,
}

impl Spool {
    pub(in crate::blobs) fn new(upload: Arc<OpenUpload>, offset: u64, digester: Digester) -> Self {
        let written = Written { offset, saved: offset, digester };
        Self { upload, offset, buffer: UploadBuffer::default(), progress: Progress::Idle(Box::new(written)) }
    }

    /// Adds bytes. While the buffer is full afterwards, call [`write`](Self::write).
    pub(in crate::blobs) fn add(&mut self, bytes: Bytes) {
        self.offset += bytes.len() as u64;
        self.buffer.add(bytes);
    }

    pub(in crate::blobs) fn is_full(&self) -> bool {
        self.buffer.is_full()
    }

    pub(in crate::blobs) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Waits for the write in progress. Until [`write`](Self::write) or [`idle`](Self::idle), the spool
    /// counts as failed.
    pub(in crate::blobs) async fn written(&mut self) -> Result<Written, StoreError> {
        match std::mem::replace(&mut self.progress, Progress::Failed) {
            Progress::Idle(written) => Ok(*written),
            Progress::Writing(task) => task.join().await,
            Progress::Failed => Err(self.upload.has_failed()),
        }
    }

    /// Writes the full buffer in the background.
    pub(in crate::blobs) fn write(&mut self, written: Written, lock: UploadLock, priority: Priority) {
        let (upload, pieces) = (self.upload.clone(), self.buffer.take());
        self.progress = Progress::Writing(spawn_blocking_at(priority, move || {
            let appended = upload.append(written, &pieces);
            drop(lock);
            appended
        }));
    }

    /// Writes all buffered bytes, and waits for that.
    pub(in crate::blobs) async fn write_rest(
        &mut self,
        written: Written,
        lock: UploadLock,
    ) -> Result<(Written, UploadLock), StoreError> {
        let pieces = self.take_rest();
        if pieces.is_empty() {
            return Ok((written, lock));
        }
        let upload = self.upload.clone();
        blocking(move || Ok((upload.append(written, &pieces)?, lock))).await
    }

    /// Takes all buffered bytes. The buffer is dropped, so an idle upload holds no memory.
    pub(in crate::blobs) fn take_rest(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.buffer).into_pieces()
    }

    /// Keeps the state of the written bytes until the next write.
    pub(in crate::blobs) fn idle(&mut self, written: Written) {
        self.progress = Progress::Idle(Box::new(written));
    }

    /// Ends a save: the written bytes are saved. Returns the state to resume from.
    pub(in crate::blobs) fn saved(
        &mut self,
        mut written: Written,
        backend: String,
        is_shared: bool,
    ) -> UploadState {
        written.saved = written.offset;
        let state = UploadState {
            id: self.upload.id(),
            offset: written.offset,
            algorithm: written.digester.algorithm(),
            hash_state: written.digester.save(),
            backend,
            is_shared,
        };
        self.idle(written);
        state
    }
}
