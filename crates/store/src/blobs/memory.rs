//! Blob store in memory, for tests. It has the contract of every backend, and its content ends with the
//! process.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use oci::{Algorithm, Digest, Digester};
use uuid::Uuid;

use super::{Blob, BlobStore, BlobWriter, Stored, Upload, UploadReader, UploadState, check_digest};
use crate::StoreError;

/// Blobs in memory. All clones share their content.
#[derive(Clone, Default)]
pub struct MemoryBlobs(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    blobs: HashMap<Digest, Bytes>,
    uploads: HashMap<Uuid, Saved>,
    writers: u64,
}

/// The saved bytes of an upload, and the number of its only valid writer.
struct Saved {
    content: Arc<Mutex<Vec<u8>>>,
    writer: u64,
}

/// A writer of one upload.
struct MemoryWriter {
    store: MemoryBlobs,
    id: Uuid,
    number: u64,
    content: Vec<u8>,
    digester: Digester,
}

impl MemoryBlobs {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self, id: Uuid, content: Vec<u8>, digester: Digester) -> Upload {
        let mut state = self.lock();
        state.writers += 1;
        let number = state.writers;
        state.uploads.entry(id).or_insert_with(|| Saved { content: Arc::default(), writer: 0 }).writer =
            number;
        Box::new(MemoryWriter { store: self.clone(), id, number, content, digester })
    }
}

impl MemoryWriter {
    /// Returns the locked state, if this is the valid writer of the upload.
    fn lock(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.store.lock();
        if state.uploads.get(&self.id).is_some_and(|saved| saved.writer == self.number) {
            return Ok(state);
        }
        let source =
            io::Error::new(io::ErrorKind::ResourceBusy, "the upload has ended or has another writer");
        Err(StoreError::io("write", format!("upload {}", self.id), source))
    }
}

fn locked(content: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    content.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the saved bytes of an upload.
struct MemoryReader(Arc<Mutex<Vec<u8>>>);

#[async_trait]
impl UploadReader for MemoryReader {
    async fn read_at(&self, offset: u64, limit: usize) -> Result<Bytes, StoreError> {
        let content = locked(&self.0);
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let end = start.saturating_add(limit).min(content.len());
        Ok(Bytes::copy_from_slice(&content[start..end]))
    }
}

#[async_trait]
impl BlobWriter for MemoryWriter {
    fn id(&self) -> Uuid {
        self.id
    }

    fn offset(&self) -> u64 {
        self.content.len() as u64
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        drop(self.lock()?);
        self.content.extend_from_slice(&bytes);
        self.digester.update(&bytes);
        Ok(())
    }

    async fn save(&mut self) -> Result<UploadState, StoreError> {
        let state = self.lock()?;
        if let Some(saved) = state.uploads.get(&self.id) {
            locked(&saved.content).clone_from(&self.content);
        }
        drop(state);
        Ok(UploadState {
            id: self.id,
            offset: self.offset(),
            algorithm: self.digester.algorithm(),
            hash_state: self.digester.save(),
            backend: String::new(),
            is_shared: false,
        })
    }

    async fn commit(self: Box<Self>, digest: &Digest) -> Result<Stored, StoreError> {
        self.lock()?.uploads.remove(&self.id);
        let size = self.offset();
        check_digest(digest, digest.algorithm().digest(&self.content))?;
        self.store.lock().blobs.insert(*digest, self.content.into());
        Ok(size.into())
    }
}

#[async_trait]
impl BlobStore for MemoryBlobs {
    async fn stat(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        Ok(self.stat_cached(digest))
    }

    fn stat_cached(&self, digest: &Digest) -> Option<u64> {
        self.lock().blobs.get(digest).map(|content| content.len() as u64)
    }

    async fn stat_many(&self, digests: Vec<Digest>) -> Result<HashMap<Digest, u64>, StoreError> {
        Ok(digests.into_iter().filter_map(|digest| Some((digest, self.stat_cached(&digest)?))).collect())
    }

    async fn open(&self, digest: &Digest) -> Result<Option<Blob>, StoreError> {
        Ok(self.lock().blobs.get(digest).cloned().map(Blob::in_memory))
    }

    async fn get(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError> {
        Ok(self.lock().blobs.get(digest).cloned())
    }

    async fn put(&self, digest: &Digest, content: Bytes) -> Result<Stored, StoreError> {
        check_digest(digest, digest.algorithm().digest(&content))?;
        let size = content.len() as u64;
        self.lock().blobs.insert(*digest, content);
        Ok(size.into())
    }

    async fn begin(&self, id: Uuid, algorithm: Algorithm) -> Result<Upload, StoreError> {
        Ok(self.writer(id, Vec::new(), Digester::new(algorithm)))
    }

    async fn resume(&self, state: &UploadState) -> Result<Upload, StoreError> {
        let UploadState { id, offset, .. } = *state;
        let digester = super::resume_digester(state)?;
        let mut content =
            self.lock().uploads.get(&id).map(|saved| locked(&saved.content).clone()).unwrap_or_default();
        let left = content.len() as u64;
        if left < offset {
            return Err(StoreError::UploadLost { id, offset, left });
        }
        content.truncate(usize::try_from(offset).unwrap_or(usize::MAX));
        Ok(self.writer(id, content, digester))
    }

    async fn read_upload(&self, id: Uuid) -> Result<Option<Box<dyn UploadReader>>, StoreError> {
        let content = self.lock().uploads.get(&id).map(|saved| saved.content.clone());
        Ok(content.map(|content| Box::new(MemoryReader(content)) as Box<dyn UploadReader>))
    }

    async fn abort(&self, id: Uuid) -> Result<(), StoreError> {
        self.lock().uploads.remove(&id);
        Ok(())
    }

    async fn remove_stale_uploads(&self, known: &HashSet<Uuid>) -> Result<usize, StoreError> {
        let uploads = &mut self.lock().uploads;
        let before = uploads.len();
        uploads.retain(|id, _| known.contains(id));
        Ok(before - uploads.len())
    }

    async fn delete(&self, digest: &Digest) -> Result<bool, StoreError> {
        Ok(self.lock().blobs.remove(digest).is_some())
    }

    fn list(&self) -> BoxStream<'_, Result<(Digest, u64), StoreError>> {
        let blobs: Vec<_> =
            self.lock().blobs.iter().map(|(digest, content)| Ok((*digest, content.len() as u64))).collect();
        Box::pin(futures_util::stream::iter(blobs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::contract::{Backend, contract_tests};

    impl Backend for MemoryBlobs {
        fn new() -> Self {
            Self::default()
        }

        fn store(&self) -> Arc<dyn BlobStore> {
            Arc::new(self.clone())
        }
    }

    contract_tests!(MemoryBlobs);
}
