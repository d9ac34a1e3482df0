//! Quarantine: damaged content that a repair moved to `wharfinger/quarantine/` of the bucket. The server
//! never deletes it there.
//!
//! The key has the digest that the content should have, and the first characters of the digest that it has:
//! `sha256-<expected>.<actual>`. So a blob that lay under the name of another one is found again.

use futures_util::TryStreamExt as _;
use oci::Digest;

use super::place::ObjectBlobs;
use crate::StoreError;

/// The characters of the actual digest in a key.
const SHORT: usize = 16;

impl ObjectBlobs {
    /// Moves damaged content aside, unless its bytes have the digest. Returns its URL there.
    pub(super) async fn move_aside(&self, digest: &Digest) -> Result<Option<String>, StoreError> {
        let key = self.keys.blob(digest);
        let before = self.stamp_of(&key).await?;
        let Some((actual, size)) = self.hash(&key, digest.algorithm()).await? else { return Ok(None) };
        if actual == *digest {
            return Ok(None);
        }
        let (algorithm, hex) = (digest.algorithm(), digest.hex());
        let to = format!("{}{algorithm}-{hex}.{}", self.keys.quarantine(), &actual.hex()[..SHORT]);
        self.copy(&key, &to, size).await?;
        // A push may have replaced the object in between.
        if self.stamp_of(&key).await? != before {
            return Ok(None);
        }
        self.bucket.delete(&key).await?;
        Ok(Some(self.bucket.name(&to)))
    }

    /// Stores content of the quarantine again that has this digest. Returns its size.
    pub(super) async fn put_back(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        let marker = format!(".{}", &digest.hex()[..SHORT]);
        let mut listed = self.bucket.list(self.keys.quarantine());
        while let Some((key, size)) = listed.try_next().await? {
            if key.ends_with(&marker)
                && self.hash(&key, digest.algorithm()).await?.is_some_and(|(actual, _)| actual == *digest)
            {
                self.copy(&key, &self.keys.blob(digest), size).await?;
                self.bucket.delete(&key).await?;
                return Ok(Some(size));
            }
        }
        Ok(None)
    }

    /// The ETag and the time of an object, which a new object of this key does not have.
    async fn stamp_of(&self, key: &str) -> Result<Option<(Option<String>, i64)>, StoreError> {
        Ok(self.bucket.stat(key).await?.map(|object| (object.etag, object.modified)))
    }
}
