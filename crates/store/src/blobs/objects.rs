//! Blobs in a bucket, in distribution's layout: `<prefix>docker/registry/v2/blobs/sha256/ab/<hex>/data`.
//!
//! An upload is received into a sparse file of the data directory and leaves it in parts of [`Limits::part`] bytes, as
//! a multipart upload. So memory and disk hold two parts of it, and a restart loses nothing that was saved. Content of
//! up to one part becomes an object with one request. Larger content with a known digest goes to its final key; other
//! content goes to a key of the upload, from where commit copies it inside the store.
//!
//! - `bucket`: the requests.
//! - `keys`: the layout.
//! - `writer`: an upload.
//! - `quarantine`: damaged content.

mod bucket;
mod keys;
mod quarantine;
pub(super) mod settings;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use oci::{Algorithm, Digest, Digester};
use tokio::sync::Semaphore;
use uuid::Uuid;

use self::bucket::Bucket;
use self::keys::Keys;
use self::settings::ObjectSettings;
use self::writer::{ObjectWriter, Saved, Target};
use super::files::upload_reader::FileReader;
use super::files::uploads::Uploads;
use super::{
    Blob, BlobStore, Stamp, Stored, Upload, UploadReader, UploadState, check_digest, resume_digester,
};
use crate::StoreError;
use crate::blocking::blocking;

/// Concurrent requests of one operation.
const CONCURRENCY: usize = 16;
/// Objects up to this size are read into memory when they are opened, which frees the connection.
const SMALL: u64 = 64 << 10;
/// Parts in memory at a time, over all uploads.
const PARTS_IN_MEMORY: usize = 16;

/// Blobs in a bucket.
#[derive(Clone)]
pub(super) struct ObjectBlobs {
    bucket: Arc<Bucket>,
    keys: Keys,
    uploads: Arc<Uploads>,
    limits: Limits,
    memory: Arc<Semaphore>,
    /// The multipart uploads that this process has begun or continued.
    multipart: Arc<Mutex<HashMap<Uuid, Target>>>,
}

/// Sizes of parts, which tests lower.
#[derive(Clone, Copy)]
struct Limits {
    /// The size of a part in bytes. All parts but the last have one size, because some servers require it.
    part: u64,
    /// The number of parts from which on a part is four times as large, so that 10,000 parts hold 544 GiB.
    equal_parts: u64,
    /// The largest object that one request copies.
    copy: u64,
    /// The size of a copied part.
    copy_part: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { part: 16 << 20, equal_parts: 2000, copy: 5 << 30, copy_part: 512 << 20 }
    }
}

impl Limits {
    /// The offset of a part in its upload.
    fn begin(&self, index: usize) -> u64 {
        let index = index as u64;
        let larger = index.saturating_sub(self.equal_parts);
        (index - larger) * self.part + larger * 4 * self.part
    }
}

impl ObjectBlobs {
    pub(super) fn open(settings: &ObjectSettings, uploads: PathBuf) -> Result<Self, StoreError> {
        let bucket = Bucket::open(settings)?;
        Ok(Self {
            keys: Keys::new(bucket.prefix()),
            bucket: Arc::new(bucket),
            uploads: Arc::new(Uploads::spool(uploads)),
            limits: Limits::default(),
            memory: Arc::new(Semaphore::new(PARTS_IN_MEMORY)),
            multipart: Arc::default(),
        })
    }

    fn multipart(&self) -> MutexGuard<'_, HashMap<Uuid, Target>> {
        self.multipart.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Aborts the multipart upload of an upload, if there is one.
    async fn abort_multipart(&self, id: Uuid) -> Result<(), StoreError> {
        let known = self.multipart().remove(&id);
        if let Some(Target { key, id }) = known {
            return self.bucket.abort(&key, &id).await;
        }
        // Perhaps an earlier process has begun it.
        for unfinished in self.bucket.unfinished(&self.keys.upload(id)).await? {
            self.bucket.abort(&unfinished.key, &unfinished.id).await?;
        }
        Ok(())
    }

    /// Copies an object of `size` bytes inside the store.
    async fn copy(&self, from: &str, to: &str, size: u64) -> Result<(), StoreError> {
        if size <= self.limits.copy {
            return self.bucket.copy(from, to).await;
        }
        self.bucket.copy_in_parts(from, to, size, self.limits.copy_part).await
    }

    /// Hashes a stored object; `None` if it is absent.
    async fn hash(&self, key: &str, algorithm: Algorithm) -> Result<Option<(Digest, u64)>, StoreError> {
        let Some((size, object)) = self.bucket.open_object(key.to_owned()).await? else { return Ok(None) };
        let mut pieces = Blob::new(size, Box::new(object)).read(0..size);
        let mut digester = Digester::new(algorithm);
        while let Some(piece) = pieces.try_next().await? {
            digester.update(&piece);
        }
        Ok(Some((digester.finish(), size)))
    }
}

#[async_trait]
impl BlobStore for ObjectBlobs {
    async fn stat(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        Ok(self.bucket.stat(&self.keys.blob(digest)).await?.map(|object| object.size))
    }

    async fn stat_many(&self, digests: Vec<Digest>) -> Result<HashMap<Digest, u64>, StoreError> {
        let sizes = futures_util::stream::iter(digests)
            .map(|digest| async move { Ok::<_, StoreError>((digest, self.stat(&digest).await?)) })
            .buffer_unordered(CONCURRENCY);
        sizes
            .try_filter_map(|(digest, size)| std::future::ready(Ok(size.map(|size| (digest, size)))))
            .try_collect()
            .await
    }

    async fn open(&self, digest: &Digest) -> Result<Option<Blob>, StoreError> {
        let Some((size, object)) = self.bucket.open_object(self.keys.blob(digest)).await? else {
            return Ok(None);
        };
        let blob = Blob::new(size, Box::new(object));
        if size > SMALL {
            return Ok(Some(blob));
        }
        let pieces: Vec<Bytes> = blob.read(0..size).try_collect().await?;
        Ok(Some(Blob::in_memory(pieces.concat().into())))
    }

    async fn get(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError> {
        self.bucket.get(&self.keys.blob(digest)).await
    }

    async fn put(&self, digest: &Digest, content: Bytes) -> Result<Stored, StoreError> {
        let (claimed, size) = (*digest, content.len() as u64);
        let content = blocking(move || {
            check_digest(&claimed, claimed.algorithm().digest(&content))?;
            Ok(content)
        })
        .await?;
        self.bucket.put(&self.keys.blob(digest), vec![content]).await?;
        Ok(size.into())
    }

    async fn begin(&self, id: Uuid, algorithm: Algorithm) -> Result<Upload, StoreError> {
        Ok(ObjectWriter::begin(self, id, Digester::new(algorithm)))
    }

    async fn begin_known(&self, id: Uuid, digest: &Digest, readable: bool) -> Result<Upload, StoreError> {
        Ok(ObjectWriter::begin_known(self, id, digest, readable))
    }

    async fn resume(&self, state: &UploadState) -> Result<Upload, StoreError> {
        let saved = Saved::parse(state)?;
        Ok(ObjectWriter::resume(self, state, resume_digester(state)?, saved))
    }

    async fn read_upload(&self, id: Uuid) -> Result<Option<Box<dyn UploadReader>>, StoreError> {
        let path = self.uploads.path(id);
        blocking(move || Ok(FileReader::open(path)?.map(|reader| Box::new(reader) as Box<dyn UploadReader>)))
            .await
    }

    async fn abort(&self, id: Uuid) -> Result<(), StoreError> {
        let uploads = self.uploads.clone();
        let lock = uploads.lock_last(id).await;
        blocking(move || uploads.remove(id)).await?;
        let aborted = self.abort_multipart(id).await;
        drop(lock);
        aborted
    }

    async fn remove_stale_uploads(&self, known: &HashSet<Uuid>) -> Result<usize, StoreError> {
        let (uploads, ids) = (self.uploads.clone(), known.clone());
        let mut removed = blocking(move || uploads.remove_stale(&ids)).await?;
        let is_known = |key: &str| self.keys.upload_id(key).is_some_and(|id| known.contains(&id));
        for prefix in [self.keys.uploads(), self.keys.blobs()] {
            for unfinished in self.bucket.unfinished(&prefix).await? {
                if !is_known(&unfinished.key) {
                    self.bucket.abort(&unfinished.key, &unfinished.id).await?;
                    removed += 1;
                }
            }
        }
        // Complete uploads that a crash kept from their final keys.
        let mut complete = self.bucket.list(self.keys.uploads());
        while let Some((key, _)) = complete.try_next().await? {
            if !is_known(&key) {
                self.bucket.delete(&key).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    async fn delete(&self, digest: &Digest) -> Result<bool, StoreError> {
        // The answer to a deletion does not tell.
        let key = self.keys.blob(digest);
        let existed = self.bucket.stat(&key).await?.is_some();
        if existed {
            self.bucket.delete(&key).await?;
        }
        Ok(existed)
    }

    async fn stamp(&self, digest: &Digest) -> Result<Option<Stamp>, StoreError> {
        let object = self.bucket.stat(&self.keys.blob(digest)).await?;
        Ok(object.map(|object| {
            let mut hasher = DefaultHasher::new();
            object.etag.hash(&mut hasher);
            Stamp([hasher.finish(), object.size, object.modified.cast_unsigned(), 0])
        }))
    }

    async fn quarantine(&self, digest: &Digest) -> Result<Option<String>, StoreError> {
        self.move_aside(digest).await
    }

    async fn recover(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        self.put_back(digest).await
    }

    fn list(&self) -> BoxStream<'_, Result<(Digest, u64), StoreError>> {
        let objects = self.bucket.list(self.keys.blobs());
        Box::pin(objects.try_filter_map(|(key, size)| {
            std::future::ready(Ok(self.keys.digest(&key).map(|digest| (digest, size))))
        }))
    }
}
