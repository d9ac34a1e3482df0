//! Tag lookups: a bounded cache of the tags that clients have asked for by HEAD.
//!
//! docker and containerd resolve a tag by HEAD, and GET its manifest by digest. This cache tells which tag
//! such a pull belongs to.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use oci::{Digest, RepositoryName, Tag};

/// The time within which a client sends the GET.
const TTL: Duration = Duration::from_secs(60);
/// The number of lookups. When it is reached, all are dropped.
const CAPACITY: usize = 4096;

/// The lookups of all clients.
#[derive(Default)]
pub(crate) struct TagLookups {
    /// By the hash of client, repository and digest. A collision only counts a pull for another tag.
    lookups: Mutex<HashMap<u64, (Tag, Instant)>>,
    /// Spares pulls by digest the lock while no client sends HEAD requests.
    is_used: AtomicBool,
    hasher: RandomState,
}

impl TagLookups {
    /// Records that a client looked a tag up and found this manifest.
    pub(crate) fn record(&self, client: IpAddr, repository: &RepositoryName, tag: &Tag, digest: &Digest) {
        let key = self.hasher.hash_one((client, repository, digest));
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        if lookups.len() >= CAPACITY {
            lookups.clear();
        }
        lookups.insert(key, (tag.clone(), Instant::now()));
        self.is_used.store(true, Ordering::Relaxed);
    }

    /// Returns the tag that the client looked up before it asks for this manifest. Each lookup is good for
    /// one pull.
    pub(crate) fn take(&self, client: IpAddr, repository: &RepositoryName, digest: &Digest) -> Option<Tag> {
        if !self.is_used.load(Ordering::Relaxed) {
            return None;
        }
        let key = self.hasher.hash_one((client, repository, digest));
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        let (tag, at) = lookups.remove(&key)?;
        if lookups.is_empty() {
            self.is_used.store(false, Ordering::Relaxed);
        }
        (at.elapsed() < TTL).then_some(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookup_is_good_for_one_pull_of_its_client() {
        let lookups = TagLookups::default();
        let (repository, tag) = ("team/app".parse().unwrap(), Tag::latest());
        let digest = oci::Algorithm::Sha256.digest(b"one");
        let [one, two] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap());
        assert_eq!(lookups.take(one, &repository, &digest), None);
        lookups.record(one, &repository, &tag, &digest);
        assert_eq!(lookups.take(two, &repository, &digest), None);
        assert_eq!(lookups.take(one, &repository, &oci::Algorithm::Sha256.digest(b"two")), None);
        assert_eq!(lookups.take(one, &repository, &digest), Some(tag));
        assert_eq!(lookups.take(one, &repository, &digest), None);
    }

    #[test]
    fn lookups_are_bounded() {
        let lookups = TagLookups::default();
        let (repository, tag) = ("team/app".parse().unwrap(), Tag::latest());
        let digest = oci::Algorithm::Sha256.digest(b"one");
        for client in 0..10_000_u32 {
            lookups.record(IpAddr::from(client.to_be_bytes()), &repository, &tag, &digest);
        }
        assert!(lookups.lookups.lock().unwrap().len() <= CAPACITY);
    }
}
