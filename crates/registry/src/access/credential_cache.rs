//! Credentials that were found right a moment ago, so that a password is not hashed with each
//! request.
//!
//! They are kept under a keyed hash (SipHash-2-4, 128 bits) of the whole `Authorization` header,
//! with a key that is made when the process starts: neither can a password be read from memory, nor
//! can two headers be made that meet. An entry holds until its time is over, and as it is only while
//! nothing about accounts has changed; after a change it is looked at anew, which costs a query
//! and no hash unless it was the password that changed.

use std::hash::Hasher as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use quick_cache::sync::{Cache, DefaultLifecycle, PlaceholderGuard};
use quick_cache::{DefaultHashBuilder, UnitWeighter};
use siphasher::sip128::{Hasher128 as _, SipHasher24};

use super::identity::Identity;
use super::login_throttle::Network;

/// How many are remembered.
const ENTRIES: usize = 16_384;

/// What stands for a header.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct HeaderKey(u128);

/// Credentials that were found right.
#[derive(Clone)]
pub(super) struct Entry {
    pub identity: Identity,
    /// What was known about accounts when they were found right.
    pub generation: u64,
    /// When it is over.
    pub until: Instant,
}

pub(super) struct CredentialCache {
    hasher: SipHasher24,
    entries: Cache<HeaderKey, Arc<Entry>>,
}

/// What is known of a header.
pub(super) enum Lookup<'a> {
    /// Who sent it, and nothing has changed since.
    Hit(Identity),
    /// Perhaps who sent it before something changed. Others who come with the same header wait until
    /// the turn is over, so that one password that many connections send at once is hashed once.
    Stale(Option<Arc<Entry>>, Turn<'a>),
}

/// The right to say what is known of a header.
pub(super) struct Turn<'a>(
    PlaceholderGuard<
        'a,
        HeaderKey,
        Arc<Entry>,
        UnitWeighter,
        DefaultHashBuilder,
        DefaultLifecycle<HeaderKey, Arc<Entry>>,
    >,
);

impl Turn<'_> {
    pub(super) fn remember(self, entry: Entry) {
        // It fails if the entry was thrown out meanwhile: then it is not remembered.
        let _ = self.0.insert(Arc::new(entry));
    }
}

impl CredentialCache {
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        let mut key = [0; 16];
        getrandom::fill(&mut key)?;
        Ok(Self { hasher: SipHasher24::new_with_key(&key), entries: Cache::new(ENTRIES) })
    }

    /// A header, as it comes from somewhere. From elsewhere it is another: were it not, whoever guesses
    /// passwords and is no longer heard would still be told which one is right.
    pub(super) fn key(&self, header: &[u8], from: IpAddr) -> HeaderKey {
        let mut hasher = self.hasher;
        hasher.write_u128(Network::from(from).bits());
        hasher.write(header);
        HeaderKey(hasher.finish128().as_u128())
    }

    /// Stands for a password in memory.
    pub(super) fn fingerprint(&self, password: &[u8]) -> u64 {
        let mut hasher = self.hasher;
        // No header begins so.
        hasher.write(b"\0password\0");
        hasher.write(password);
        hasher.finish128().h1
    }

    /// Who sent such a header a moment ago, if nothing has changed since.
    pub(super) fn current(&self, key: HeaderKey, generation: u64, now: Instant) -> Option<Identity> {
        let entry = self.entries.get(&key)?;
        (entry.generation == generation && entry.until > now).then(|| entry.identity.clone())
    }

    /// What is known of a header, once nobody else is finding out about it.
    pub(super) async fn known(&self, key: HeaderKey, generation: u64) -> Lookup<'_> {
        let mut earlier = None;
        loop {
            match self.entries.get_value_or_guard_async(&key).await {
                Ok(entry) if entry.generation == generation && entry.until > Instant::now() => {
                    return Lookup::Hit(entry.identity.clone());
                }
                Ok(entry) => {
                    // Taken out, so that there is a turn to be had.
                    self.entries.remove_if(&key, |found| Arc::ptr_eq(found, &entry));
                    earlier = (entry.until > Instant::now()).then_some(entry);
                }
                Err(turn) => return Lookup::Stale(earlier, Turn(turn)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entry(generation: u64, lasts: Duration) -> Entry {
        Entry { identity: Identity::Operator, generation, until: Instant::now() + lasts }
    }

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const LONG: Duration = Duration::from_secs(600);

    async fn remember(credential_cache: &CredentialCache, key: HeaderKey, entry: Entry) {
        match credential_cache.known(key, entry.generation).await {
            Lookup::Stale(_, turn) => turn.remember(entry),
            Lookup::Hit(_) => panic!("it is known already"),
        }
    }

    #[tokio::test]
    async fn an_entry_is_current_until_its_time_is_over_or_something_changes() {
        let credential_cache = CredentialCache::new().unwrap();
        let key = credential_cache.key(b"Basic YW5uOnNlY3JldA==", HERE);
        let current = |generation, now| credential_cache.current(key, generation, now).is_some();
        let now = Instant::now();
        assert!(!current(1, now));
        remember(&credential_cache, key, entry(1, LONG)).await;
        assert!(current(1, now));
        assert!(!current(2, now), "something has changed");
        assert!(!current(1, now + LONG + Duration::from_secs(1)), "it is over");
        assert!(
            credential_cache.current(credential_cache.key(b"Basic YW5uOnNlY3JldB==", HERE), 1, now).is_none()
        );
    }

    #[tokio::test]
    async fn after_a_change_the_entry_is_handed_over_to_be_looked_at_anew() {
        let credential_cache = CredentialCache::new().unwrap();
        let key = credential_cache.key(b"Basic x", HERE);
        remember(&credential_cache, key, entry(1, LONG)).await;
        let Lookup::Stale(Some(earlier), turn) = credential_cache.known(key, 2).await else {
            panic!("not handed over")
        };
        assert_eq!(earlier.generation, 1);
        turn.remember(entry(2, LONG));
        assert!(matches!(credential_cache.known(key, 2).await, Lookup::Hit(_)));

        let over = credential_cache.key(b"Basic y", HERE);
        remember(&credential_cache, over, entry(2, Duration::ZERO)).await;
        assert!(
            matches!(credential_cache.known(over, 2).await, Lookup::Stale(None, _)),
            "what is over is not"
        );
    }

    #[tokio::test]
    async fn one_finds_out_while_the_others_wait() {
        let credential_cache = CredentialCache::new().unwrap();
        let key = credential_cache.key(b"Basic x", HERE);
        let Lookup::Stale(_, turn) = credential_cache.known(key, 1).await else {
            panic!("nothing is known yet")
        };
        let mut waiting = Box::pin(credential_cache.known(key, 1));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        turn.remember(entry(1, LONG));
        assert!(matches!(waiting.await, Lookup::Hit(_)));

        let key = credential_cache.key(b"Basic wrong", HERE);
        let Lookup::Stale(_, turn) = credential_cache.known(key, 1).await else {
            panic!("nothing is known yet")
        };
        let waiting = credential_cache.known(key, 1);
        drop(turn);
        assert!(matches!(waiting.await, Lookup::Stale(None, _)), "a refusal is not remembered");
    }

    #[test]
    fn two_processes_hash_the_same_header_differently() {
        let (one, two) = (CredentialCache::new().unwrap(), CredentialCache::new().unwrap());
        assert!(one.key(b"Basic x", HERE) == one.key(b"Basic x", HERE));
        assert!(one.key(b"Basic x", HERE) != two.key(b"Basic x", HERE));
        assert!(one.key(b"Basic x", HERE) != one.key(b"Basic x", "192.0.2.1".parse().unwrap()));
    }
}
