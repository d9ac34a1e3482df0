//! Blobs in a bucket, in distribution's layout: `<prefix>docker/registry/v2/blobs/sha256/ab/<hex>/data`.
//!
//! An upload is received into a sparse file of the data directory and leaves it in parts of 16 MiB, as a
//! multipart upload. So memory holds two parts of it and the disk three, and a restart loses nothing that was
//! saved. Content of up to one part becomes an object with one request. Larger content with a known digest
//! goes to its final key; other content goes to a key of the upload, from where commit copies it inside the
//! store. With several servers, saved bytes that are in no part become objects, too.
//!
//! - `bucket`: the requests.
//! - `bucket_links`: the links of the `repositories/` view.
//! - `cache`: copies of blobs on the local disk.
//! - `client`: the HTTP client, without redirects and with rotated keys.
//! - `keys`: the layout.
//! - `service`: the clients of S3 and Azure.
//! - `links`: the links of distribution in a bucket that is adopted.
//! - `leftovers`: leftovers of ended uploads.
//! - `lease`: the server that uses the bucket.
//! - `place`: the state that the store and its writers share.
//! - `tail`: saved bytes of an upload that are in no part.
//! - `writer`: an upload.
//! - `quarantine`: damaged content.
//! - `snapshots`: snapshots of the metadata.

mod bucket;
pub(super) mod bucket_links;
mod cache;
mod client;
mod keys;
mod lease;
mod leftovers;
pub(super) mod links;
mod place;
mod quarantine;
mod service;
pub(super) mod snapshots;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use metrics::Metrics;
use oci::{Algorithm, Digest, Digester};
use uuid::Uuid;

pub(super) use self::place::ObjectBlobs;
use self::writer::{ObjectWriter, Saved};
use super::{
    Blob, BlobStore, Claim, Stamp, Stored, Upload, UploadReader, UploadState, check_digest, resume_digester,
};
use crate::StoreError;
use crate::blocking::blocking;

/// Concurrent requests of one operation.
const CONCURRENCY: usize = 16;

#[async_trait]
impl BlobStore for ObjectBlobs {
    async fn claim(&self, id: &str, claim: Claim) -> Result<(), StoreError> {
        let key = self.keys.identity();
        let place = self.bucket.name(self.bucket.prefix());
        let owner = self.bucket.get(&key).await?;
        let owner = owner.map(|owner| String::from_utf8_lossy(&owner).trim().to_owned());
        let is_claimed = owner.as_deref() == Some(id);
        let refused = match (owner, claim) {
            _ if is_claimed => None,
            (_, Claim::Rebuilt) => None,
            (Some(_), _) => Some(format!(
                "{place} holds the blobs of another database: restore that one from its backup, or set another prefix in \
                 blobs.url"
            )),
            (None, Claim::Existing) => Some(format!(
                "{place} is not the bucket of this database, or its {key} was removed: check blobs.url and blobs.endpoint"
            )),
            (None, Claim::New) => {
                let first = self.bucket.list(self.keys.content()).try_next().await?;
                first.map(|(found, _)| {
                    format!(
                        "{place} holds the content of another registry ({found}), and no repositories that can be adopted into \
                         this data directory: use a new data directory, or set an empty prefix in blobs.url"
                    )
                })
            }
        };
        if let Some(refused) = refused {
            return Err(StoreError::Directory(refused));
        }
        self.lease.take(self.limits.renewal).await?;
        if !is_claimed {
            self.bucket.put(&key, vec![Bytes::from(format!("{id}\n"))]).await?;
        }
        self.lease.database.get_or_init(|| id.to_owned());
        Ok(())
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.lease.keep(self.limits.renewal).await
    }

    async fn release(&self) -> Result<(), StoreError> {
        self.lease.release().await
    }

    async fn check_owner(&self, id: &str, is_expected: bool) -> Result<(), StoreError> {
        let key = self.keys.identity();
        let place = self.bucket.name(self.bucket.prefix());
        match self.bucket.get(&key).await? {
            Some(owner) if String::from_utf8_lossy(&owner).trim() == id => Ok(()),
            None if !is_expected => Ok(()),
            _ => Err(StoreError::Directory(format!(
                "{place} is not the bucket of this database: check blobs.url and blobs.endpoint"
            ))),
        }
    }

    async fn renewal(&self) -> Result<Option<Uuid>, StoreError> {
        self.lease.renewal().await
    }

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
        self.bucket.open_blob(self.keys.blob(digest)).await
    }

    async fn open_cached(&self, digest: &Digest) -> Result<Option<Blob>, StoreError> {
        match &self.cache {
            Some(cache) => cache.open_blob(&self.bucket, self.keys.blob(digest), digest).await,
            None => self.bucket.open_blob(self.keys.blob(digest)).await,
        }
    }

    fn copies(&self) -> Vec<Digest> {
        self.cache.as_ref().map(|cache| cache.digests()).unwrap_or_default()
    }

    async fn forget_copies(&self, digests: Vec<Digest>) {
        for digest in &digests {
            self.forget_copy(digest).await;
        }
    }

    fn register_metrics(&self, metrics: &mut Metrics) {
        if let Some(cache) = &self.cache {
            cache.register_metrics(metrics);
        }
    }

    async fn url(&self, digest: &Digest) -> Result<Option<String>, StoreError> {
        self.bucket.presign(&self.keys.blob(digest)).await.map(Some)
    }

    async fn get(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError> {
        self.bucket.get(&self.keys.blob(digest)).await
    }

    async fn get_cached(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError> {
        let Some(blob) = self.open_cached(digest).await? else { return Ok(None) };
        let size = blob.size;
        let pieces: Vec<Bytes> = blob.read(0..size).try_collect().await?;
        Ok(Some(pieces.concat().into()))
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

    async fn is_resumable(&self, state: &UploadState) -> Result<bool, StoreError> {
        Saved::parse(state)?.is_here(self, state.offset).await
    }

    async fn read_upload(&self, id: Uuid) -> Result<Option<Box<dyn UploadReader>>, StoreError> {
        self.uploads.read(id).await
    }

    async fn abort(&self, id: Uuid) -> Result<(), StoreError> {
        let uploads = self.uploads.clone();
        let lock = uploads.lock_last(id).await;
        blocking(move || uploads.remove(id)).await?;
        let aborted = self.abort_multipart(id).await;
        let deleted = if self.is_shared { self.delete_tail(id).await } else { Ok(()) };
        drop(lock);
        aborted.and(deleted)
    }

    async fn remove_stale_uploads(&self, known: &HashSet<Uuid>) -> Result<usize, StoreError> {
        let (uploads, ids) = (self.uploads.clone(), known.clone());
        let mut removed = blocking(move || uploads.remove_stale(&ids)).await?;
        for leftover in self.leftovers(known).await? {
            self.remove_leftover(&leftover).await?;
            removed += 1;
        }
        Ok(removed)
    }

    async fn remove_leftovers(&self, known: &HashSet<Uuid>) -> Result<usize, StoreError> {
        self.remove_old_leftovers(known).await
    }

    async fn delete(&self, digest: &Digest) -> Result<bool, StoreError> {
        self.lease.ensure(self.limits.renewal).await?;
        // The answer to a deletion does not tell.
        let key = self.keys.blob(digest);
        let existed = self.bucket.stat(&key).await?.is_some();
        if existed {
            self.bucket.delete(&key).await?;
        }
        self.forget_copy(digest).await;
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
        let moved = self.move_aside(digest).await;
        self.forget_copy(digest).await;
        moved
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
