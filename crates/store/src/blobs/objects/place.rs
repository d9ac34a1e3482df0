//! The place of the blobs: the bucket and its keys, the sizes of parts, and the multipart uploads in
//! progress.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use oci::{Algorithm, Digest, Digester};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex as AsyncMutex, OnceCell, Semaphore};
use uuid::Uuid;

use super::bucket::{Bucket, Leftover};
use super::cache::DiskCache;
use super::keys::Keys;
use super::lease::Lease;
use crate::StoreError;
use crate::blob_place::CACHE;
use crate::blobs::Blob;
use crate::blobs::local::uploads::Uploads;
use crate::object_settings::ObjectSettings;

/// Parts in memory at a time, over all uploads.
const PARTS_IN_MEMORY: usize = 16;

/// Blobs in a bucket.
#[derive(Clone)]
pub(in crate::blobs) struct ObjectBlobs {
    pub(super) bucket: Arc<Bucket>,
    pub(super) keys: Keys,
    pub(super) uploads: Arc<Uploads>,
    pub(super) limits: Limits,
    pub(super) memory: Arc<Semaphore>,
    /// The multipart uploads that this process has begun or continued.
    pub(super) open: Arc<Mutex<HashMap<Uuid, Target>>>,
    pub(super) lease: Arc<Lease>,
    /// The leftovers that the last search has found.
    pub(super) leftovers: Arc<AsyncMutex<HashSet<Leftover>>>,
    /// Whether another server takes the place of this one when it ends.
    pub(super) is_shared: bool,
    pub(super) spool_name: Arc<OnceCell<String>>,
    /// `None` if no copies are kept.
    pub(super) cache: Option<Arc<DiskCache>>,
}

/// The interval between renewals of the lease where another server waits for it. The lease is looked at each
/// 5 s.
const SHARED_RENEWAL: Duration = Duration::from_secs(5);

/// Sizes of parts and the interval of the lease, which tests lower.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// The size of a part in bytes. All parts but the last have one size, because some servers require it.
    pub(super) part: u64,
    /// The number of parts from which on a part is four times as large, so that 10,000 parts hold 531 GiB.
    pub(super) equal_parts: u64,
    /// The largest object that one request copies.
    pub(super) copy: u64,
    /// The size of a copied part.
    pub(super) copy_part: u64,
    /// The interval between renewals of the lease.
    pub(super) renewal: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            part: 16 << 20,
            equal_parts: 2000,
            copy: 5 << 30,
            copy_part: 512 << 20,
            renewal: Duration::from_secs(15),
        }
    }
}

impl Limits {
    /// The offset of a part in its upload.
    pub(super) fn begin(&self, index: usize) -> u64 {
        let index = index as u64;
        let larger = index.saturating_sub(self.equal_parts);
        (index - larger) * self.part + larger * 4 * self.part
    }
}

impl ObjectBlobs {
    /// Opens the bucket. `is_shared`: another server waits to take the place of this one.
    pub(in crate::blobs) fn open(
        settings: &ObjectSettings,
        uploads: PathBuf,
        is_shared: bool,
    ) -> Result<Self, StoreError> {
        let renewal = if is_shared { SHARED_RENEWAL } else { Limits::default().renewal };
        let bucket = Arc::new(Bucket::open(settings)?);
        let keys = Keys::new(bucket.prefix());
        Ok(Self {
            lease: Arc::new(Lease::new(bucket.clone(), keys.clone(), uploads.with_file_name("instance"))),
            cache: DiskCache::open(uploads.with_file_name(CACHE), settings.cache),
            keys,
            bucket,
            uploads: Arc::new(Uploads::spool(uploads)),
            limits: Limits { renewal, ..Limits::default() },
            memory: Arc::new(Semaphore::new(PARTS_IN_MEMORY)),
            open: Arc::default(),
            leftovers: Arc::default(),
            is_shared,
            spool_name: Arc::default(),
        })
    }

    pub(super) fn multipart(&self) -> MutexGuard<'_, HashMap<Uuid, Target>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Aborts the multipart upload of an upload, if there is one.
    pub(super) async fn abort_multipart(&self, id: Uuid) -> Result<(), StoreError> {
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

    /// Removes the copy of a blob.
    pub(super) async fn forget_copy(&self, digest: &Digest) {
        if let Some(cache) = &self.cache {
            cache.forget(digest).await;
        }
    }

    /// Copies an object of `size` bytes inside the store.
    pub(super) async fn copy(&self, from: &str, to: &str, size: u64) -> Result<(), StoreError> {
        if size <= self.limits.copy || !self.bucket.copies_in_parts() {
            return self.bucket.copy(from, to).await;
        }
        self.bucket.copy_in_parts(from, to, size, self.limits.copy_part).await
    }

    /// Hashes a stored object; `None` if it is absent.
    pub(super) async fn hash(
        &self,
        key: &str,
        algorithm: Algorithm,
    ) -> Result<Option<(Digest, u64)>, StoreError> {
        let Some((size, object)) = self.bucket.open_object(key.to_owned()).await? else { return Ok(None) };
        let mut pieces = Blob::new(size, Box::new(object)).read(0..size);
        let mut digester = Digester::new(algorithm);
        while let Some(piece) = pieces.try_next().await? {
            digester.update(&piece);
        }
        Ok(Some((digester.finish(), size)))
    }
}

/// The multipart upload of an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Target {
    pub(super) key: String,
    pub(super) id: String,
}
