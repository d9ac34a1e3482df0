//! Manifests that are too large for the cache, shared by the requests that read them at the same time.
//!
//! Otherwise each of many slow readers would hold a copy of up to 4 MiB or more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use oci::Digest;

/// From this size on, manifests are shared.
const LARGE: usize = 64 << 10;

/// The large manifests that are being read.
#[derive(Default)]
pub(crate) struct LargeManifests(Mutex<HashMap<Digest, Weak<Shared>>>);

struct Shared(Bytes);

/// Keeps the content alive for one reader.
struct Reader(Arc<Shared>);

impl AsRef<[u8]> for Reader {
    fn as_ref(&self) -> &[u8] {
        &self.0.0
    }
}

impl LargeManifests {
    /// The content that another request reads.
    pub(crate) fn get(&self, digest: &Digest) -> Option<Bytes> {
        let shared = self.table().get(digest)?.upgrade()?;
        Some(Bytes::from_owner(Reader(shared)))
    }

    /// Shares the content with later requests, as long as one holds it. Small content is returned as it is.
    pub(crate) fn share(&self, digest: &Digest, content: Bytes) -> Bytes {
        if content.len() < LARGE {
            return content;
        }
        let mut table = self.table();
        let shared = table.get(digest).and_then(Weak::upgrade).unwrap_or_else(|| {
            table.retain(|_, shared| shared.strong_count() > 0);
            let shared = Arc::new(Shared(content));
            table.insert(*digest, Arc::downgrade(&shared));
            shared
        });
        Bytes::from_owner(Reader(shared))
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Digest, Weak<Shared>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_manifest_is_in_memory_once() {
        let manifests = LargeManifests::default();
        let content = Bytes::from(vec![7; LARGE]);
        let digest = oci::Algorithm::Sha256.digest(&content);
        assert_eq!(manifests.get(&digest), None);
        let first = manifests.share(&digest, content.clone());
        let second = manifests.share(&digest, content.slice(..).to_vec().into());
        assert_eq!(first, content);
        assert_eq!(first.as_ptr(), second.as_ptr());
        assert_eq!(manifests.get(&digest).unwrap().as_ptr(), first.as_ptr());
        drop((first, second));
        assert_eq!(manifests.get(&digest), None, "nobody reads it");
        let small = Bytes::from_static(b"{}");
        manifests.share(&digest, small.clone());
        assert_eq!(manifests.get(&digest), None);
    }
}
