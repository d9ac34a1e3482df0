//! Links of the `repositories/` view in a bucket, where distribution reads them.
//!
//! An object beside them names the database whose links are complete there, and its last restoration. Without
//! it, the links are compared with the metadata before they count.

use std::sync::Arc;

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use oci::Digest;

use super::bucket::Bucket;
use super::keys::Keys;
use crate::StoreError;
use crate::object_settings::ObjectSettings;

/// The links in a bucket. Paths are relative to `repositories/`.
pub(crate) struct BucketLinks {
    bucket: Arc<Bucket>,
    keys: Keys,
}

impl BucketLinks {
    /// Prepares the client. Sends no request.
    pub(crate) fn open(settings: &ObjectSettings) -> Result<Self, StoreError> {
        let bucket = Arc::new(Bucket::open(settings)?);
        let keys = Keys::new(bucket.prefix());
        Ok(Self { bucket, keys })
    }

    /// The place of the links, for messages.
    pub(crate) fn place(&self) -> String {
        self.bucket.name(&self.keys.repositories())
    }

    fn key(&self, path: &str) -> String {
        format!("{}{path}", self.keys.repositories())
    }

    /// Returns the digest in a link; `None` if the link is missing or damaged.
    pub(crate) async fn get(&self, path: &str) -> Result<Option<Digest>, StoreError> {
        let content = self.bucket.get(&self.key(path)).await?;
        Ok(content.and_then(|content| std::str::from_utf8(&content).ok()?.trim().parse().ok()))
    }

    pub(crate) async fn put(&self, path: &str, target: &Digest) -> Result<(), StoreError> {
        self.bucket.put(&self.key(path), vec![Bytes::from(target.to_string())]).await
    }

    pub(crate) async fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.bucket.delete(&self.key(path)).await
    }

    /// Removes all links below a directory.
    pub(crate) async fn remove_below(&self, directory: &str) -> Result<(), StoreError> {
        self.list(directory).try_for_each(|path| async move { self.remove(&path).await }).await
    }

    /// Lists the links below a directory; `""` for all.
    pub(crate) fn list(&self, directory: &str) -> BoxStream<'_, Result<String, StoreError>> {
        let mut prefix = self.key(directory);
        if !prefix.ends_with('/') {
            prefix.push('/');
        }
        let root = self.keys.repositories();
        let path = move |key: String| key.strip_prefix(&root).map(str::to_owned).unwrap_or(key);
        self.bucket.list(prefix).map_ok(move |(key, _)| path(key)).boxed()
    }

    /// Returns the state of the database whose links are complete.
    pub(crate) async fn complete_for(&self) -> Result<Option<String>, StoreError> {
        let state = self.bucket.get(&self.keys.complete_links()).await?;
        Ok(state.map(|state| String::from_utf8_lossy(&state).trim().to_owned()))
    }

    /// Records that the links of a database are complete.
    pub(crate) async fn set_complete(&self, state: &str) -> Result<(), StoreError> {
        self.bucket.put(&self.keys.complete_links(), vec![Bytes::from(format!("{state}\n"))]).await
    }

    /// Records that the links are no longer written.
    pub(crate) async fn set_incomplete(&self) -> Result<(), StoreError> {
        self.bucket.delete(&self.keys.complete_links()).await
    }
}
