//! The writer of one upload to a file.
//!
//! An upload of up to [`SMALL`] bytes stays in memory, and commit journals it.

use async_trait::async_trait;
use bytes::Bytes;
use oci::{Digest, Digester};
use uuid::Uuid;

use super::FileBlobs;
use super::layout::SMALL;
use crate::StoreError;
use crate::blobs::local::spool::Spool;
use crate::blobs::{BlobWriter, Stored, Upload, UploadState, check_digest};
use crate::blocking::{Priority, blocking};

/// From this size on, an upload runs at low priority beside other large ones: it takes seconds in any case.
const LARGE: u64 = 8 << 20;

/// The writer of one upload.
pub(super) struct FileWriter {
    blobs: FileBlobs,
    spool: Spool,
}

impl FileWriter {
    pub(super) fn open(blobs: &FileBlobs, id: Uuid, offset: u64, digester: Digester) -> Upload {
        let spool = Spool::new(blobs.uploads.open(id), offset, digester);
        Box::new(Self { blobs: blobs.clone(), spool })
    }
}

#[async_trait]
impl BlobWriter for FileWriter {
    fn id(&self) -> Uuid {
        self.spool.upload.id()
    }

    fn offset(&self) -> u64 {
        self.spool.offset
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.spool.add(bytes);
        while self.spool.is_full() {
            let written = self.spool.written().await?;
            let upload = &self.spool.upload;
            let lock = upload.lock().await?;
            let is_slow = written.offset >= LARGE && self.blobs.uploads.is_one_of_several_large(upload);
            let priority = if is_slow { Priority::Low } else { Priority::Ordinary };
            self.spool.write(written, lock, priority);
        }
        Ok(())
    }

    async fn save(&mut self) -> Result<UploadState, StoreError> {
        let mut written = self.spool.written().await?;
        if self.spool.is_empty() {
            self.spool.take_rest();
        } else {
            let lock = self.spool.upload.lock().await?;
            (written, _) = self.spool.write_rest(written, lock).await?;
        }
        Ok(self.spool.saved(written, String::new(), false))
    }

    async fn commit(mut self: Box<Self>, digest: &Digest) -> Result<Stored, StoreError> {
        let written = self.spool.written().await?;
        let lock = self.spool.upload.lock().await?;
        let Self { blobs, mut spool } = *self;
        let (digest, pieces) = (*digest, spool.take_rest());
        if written.offset == 0 && spool.offset <= SMALL {
            drop(lock);
            let content = Bytes::from(pieces.concat());
            check_digest(&digest, digest.algorithm().digest(&content))?;
            return blobs.put_small(&digest, content).await;
        }
        let (layout, mappings, upload) = (blobs.layout.clone(), blobs.mappings.clone(), spool.upload.clone());
        let stored = blocking(move || {
            let written = upload.append(written, &pieces)?;
            let committed = layout.commit(&upload, written, &digest);
            mappings.release(&digest);
            drop(lock);
            committed
        })
        .await?;
        blobs.sync_name(digest, stored).await
    }
}
