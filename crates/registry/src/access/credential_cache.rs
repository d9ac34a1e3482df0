//! Credential cache: verified `Authorization` headers, so that a password is not hashed for each request.
//!
//! The key is a keyed hash (SipHash-2-4, 128 bits) of the whole header, with a random key for each process:
//! memory holds no password, and a client cannot produce collisions. An entry is valid until its TTL ends or
//! accounts change. After a change it is verified again, which costs a query, and a hash only if the password
//! has changed.

use std::hash::Hasher as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use quick_cache::sync::{Cache, DefaultLifecycle, PlaceholderGuard};
use quick_cache::{DefaultHashBuilder, UnitWeighter};
use siphasher::sip128::{Hasher128 as _, SipHasher24};

use super::identity::Identity;
use super::login_throttle::Network;

/// The capacity of the cache.
const ENTRIES: usize = 16_384;

/// The keyed hash of a header and the client's network.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct HeaderKey(u128);

/// Verified credentials.
#[derive(Clone)]
pub(super) struct Entry {
    pub identity: Identity,
    /// The generation of accounts at the time of the verification.
    pub generation: u64,
    /// The end of the TTL.
    pub until: Instant,
}

pub(super) struct CredentialCache {
    hasher: SipHasher24,
    entries: Cache<HeaderKey, Arc<Entry>>,
}

/// The result of a lookup.
pub(super) enum Lookup<'a> {
    Hit(Identity),
    /// A miss, or an entry that is outdated by a change of accounts. Requests with the same header wait until
    /// the slot is filled or dropped, so that a password on many connections is hashed once.
    Stale(Option<Arc<Entry>>, Slot<'a>),
}

/// The exclusive right to fill the entry of a header.
pub(super) struct Slot<'a>(
    PlaceholderGuard<
        'a,
        HeaderKey,
        Arc<Entry>,
        UnitWeighter,
        DefaultHashBuilder,
        DefaultLifecycle<HeaderKey, Arc<Entry>>,
    >,
);

impl Slot<'_> {
    pub(super) fn insert(self, entry: Entry) {
        // Fails if the placeholder was evicted meanwhile.
        let _ = self.0.insert(Arc::new(entry));
    }
}

impl CredentialCache {
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        let mut key = [0; 16];
        getrandom::fill(&mut key)?;
        Ok(Self { hasher: SipHasher24::new_with_key(&key), entries: Cache::new(ENTRIES) })
    }

    /// Returns the key of a header and the client's network. The network is part of the key: otherwise a
    /// throttled client could still tell a cached right password from a wrong one.
    pub(super) fn key(&self, header: &[u8], from: IpAddr) -> HeaderKey {
        let mut hasher = self.hasher;
        hasher.write_u128(Network::from(from).bits());
        hasher.write(header);
        HeaderKey(hasher.finish128().as_u128())
    }

    /// Returns a keyed fingerprint of a stored password.
    pub(super) fn fingerprint(&self, password: &[u8]) -> u64 {
        let mut hasher = self.hasher;
        // No header has this prefix.
        hasher.write(b"\0password\0");
        hasher.write(password);
        hasher.finish128().h1
    }

    /// The identity of a valid entry.
    pub(super) fn current(&self, key: HeaderKey, generation: u64, now: Instant) -> Option<Identity> {
        let entry = self.entries.get(&key)?;
        (entry.generation == generation && entry.until > now).then(|| entry.identity.clone())
    }

    /// Looks up a header. Waits while another request verifies the same header.
    pub(super) async fn lookup(&self, key: HeaderKey, generation: u64) -> Lookup<'_> {
        let mut earlier = None;
        loop {
            match self.entries.get_value_or_guard_async(&key).await {
                Ok(entry) if entry.generation == generation && entry.until > Instant::now() => {
                    return Lookup::Hit(entry.identity.clone());
                }
                Ok(entry) => {
                    // A placeholder can only take an empty place.
                    self.entries.remove_if(&key, |cached| Arc::ptr_eq(cached, &entry));
                    earlier = (entry.until > Instant::now()).then_some(entry);
                }
                Err(slot) => return Lookup::Stale(earlier, Slot(slot)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entry(generation: u64, ttl: Duration) -> Entry {
        Entry { identity: Identity::Operator, generation, until: Instant::now() + ttl }
    }

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const LONG: Duration = Duration::from_secs(600);

    async fn insert(cache: &CredentialCache, key: HeaderKey, entry: Entry) {
        match cache.lookup(key, entry.generation).await {
            Lookup::Stale(_, slot) => slot.insert(entry),
            Lookup::Hit(_) => panic!("the entry exists already"),
        }
    }

    #[tokio::test]
    async fn entry_is_valid_until_ttl_or_change() {
        let cache = CredentialCache::new().unwrap();
        let key = cache.key(b"Basic YW5uOnNlY3JldA==", HERE);
        let current = |generation, now| cache.current(key, generation, now).is_some();
        let now = Instant::now();
        assert!(!current(1, now));
        insert(&cache, key, entry(1, LONG)).await;
        assert!(current(1, now));
        assert!(!current(2, now), "accounts have changed");
        assert!(!current(1, now + LONG + Duration::from_secs(1)), "the TTL has ended");
        assert!(cache.current(cache.key(b"Basic YW5uOnNlY3JldB==", HERE), 1, now).is_none());
    }

    #[tokio::test]
    async fn outdated_entry_is_returned_for_verification() {
        let cache = CredentialCache::new().unwrap();
        let key = cache.key(b"Basic x", HERE);
        insert(&cache, key, entry(1, LONG)).await;
        let Lookup::Stale(Some(earlier), slot) = cache.lookup(key, 2).await else {
            panic!("the outdated entry is not returned")
        };
        assert_eq!(earlier.generation, 1);
        slot.insert(entry(2, LONG));
        assert!(matches!(cache.lookup(key, 2).await, Lookup::Hit(_)));

        let expired = cache.key(b"Basic y", HERE);
        insert(&cache, expired, entry(2, Duration::ZERO)).await;
        assert!(
            matches!(cache.lookup(expired, 2).await, Lookup::Stale(None, _)),
            "an expired entry is not returned"
        );
    }

    #[tokio::test]
    async fn concurrent_lookups_wait_for_one_verification() {
        let cache = CredentialCache::new().unwrap();
        let key = cache.key(b"Basic x", HERE);
        let Lookup::Stale(_, slot) = cache.lookup(key, 1).await else { panic!("the cache is empty") };
        let mut waiting = Box::pin(cache.lookup(key, 1));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        slot.insert(entry(1, LONG));
        assert!(matches!(waiting.await, Lookup::Hit(_)));

        let key = cache.key(b"Basic wrong", HERE);
        let Lookup::Stale(_, slot) = cache.lookup(key, 1).await else { panic!("the cache is empty") };
        let waiting = cache.lookup(key, 1);
        drop(slot);
        assert!(matches!(waiting.await, Lookup::Stale(None, _)), "a refusal is not cached");
    }

    #[test]
    fn header_keys_differ_by_process_and_network() {
        let (one, two) = (CredentialCache::new().unwrap(), CredentialCache::new().unwrap());
        assert!(one.key(b"Basic x", HERE) == one.key(b"Basic x", HERE));
        assert!(one.key(b"Basic x", HERE) != two.key(b"Basic x", HERE));
        assert!(one.key(b"Basic x", HERE) != one.key(b"Basic x", "192.0.2.1".parse().unwrap()));
    }
}
