//! Guards that keep a push and a collection of the same content apart.
//!
//! A push takes a lease on content from before it is stored until it is linked. A collection announces the
//! content that it is about to delete, and leaves out leased content. Storing announced content waits until
//! its deletion has ended, and then stores it again.
//!
//! A pusher that was told that a blob or manifest exists will not send it again. So a HEAD request that
//! answers 200 takes a lease on the item of the repository until the manifest arrives that needs it, or the
//! lease expires. A collection announces the items that it is about to remove, and a HEAD request for one of
//! them answers 404.
//!
//! All of this is in memory: one process holds the lock of the directory, and no upload under way survives
//! it. A client may push its manifest after a restart, however. So a collection in the background removes no
//! item of before the start until the leases of the last process would have expired.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use oci::{Digest, RepositoryName};
use tokio::sync::Notify;

/// The time within which a pusher sends the manifest that needs an item.
const LEASE: Duration = Duration::from_secs(10 * 60);
/// The number of leased items at most. Beyond it, no item is collected until all leases have expired.
const CAPACITY: usize = 1 << 16;
/// Content of failed pushes that waits for the next collection.
const ABANDONED: usize = 10_000;

#[derive(Clone, Default)]
pub(crate) struct Guards {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    started: Started,
    hasher: RandomState,
    /// Wakes pushes that wait for the end of a deletion.
    deleted: Notify,
}

/// The time of the start. Leases of the last process are older.
struct Started(SystemTime);

impl Default for Started {
    fn default() -> Self {
        Self(SystemTime::now())
    }
}

#[derive(Default)]
struct State {
    /// The number of pushes that store content.
    stored: HashMap<Digest, usize>,
    /// Content that a collection deletes.
    deleting: HashSet<Digest>,
    /// Leased items by the hash of repository and digest. A collision only keeps an item longer.
    items: HashMap<u64, Lease>,
    /// Items that a collection removes.
    removing: HashSet<u64>,
    /// No item is collected before this time.
    hold: Option<Instant>,
    abandoned: Vec<Digest>,
}

struct Lease {
    /// The number of pushes that may need the item.
    count: usize,
    expires: Instant,
}

impl Guards {
    /// Takes a lease on content that is about to be stored. Waits while a collection deletes it.
    pub(crate) async fn store(&self, digest: &Digest) -> ContentLease {
        loop {
            let deleted = self.inner.deleted.notified();
            {
                let mut state = self.lock();
                if !state.deleting.contains(digest) {
                    *state.stored.entry(*digest).or_default() += 1;
                    return ContentLease { guards: self.clone(), digest: *digest, is_linked: false };
                }
            }
            deleted.await;
        }
    }

    /// Announces the deletion of content. Returns the part of it that is neither leased nor announced.
    pub(crate) fn delete<T>(&self, content: Vec<T>, digest: impl Fn(&T) -> Digest) -> (Deletion, Vec<T>) {
        let mut state = self.lock();
        let is_free = |one: &T| {
            let digest = digest(one);
            !state.stored.contains_key(&digest) && !state.deleting.contains(&digest)
        };
        let content: Vec<T> = content.into_iter().filter(is_free).collect();
        let digests: Vec<Digest> = content.iter().map(digest).collect();
        state.deleting.extend(&digests);
        (Deletion { guards: self.clone(), digests }, content)
    }

    /// Takes a lease on an item for a pusher. Returns `false` if a collection is removing it.
    pub(crate) fn lease(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        let key = self.key(repository, digest);
        let mut state = self.lock();
        if state.removing.contains(&key) {
            return false;
        }
        let now = Instant::now();
        if state.items.len() >= CAPACITY && !state.items.contains_key(&key) {
            state.items.retain(|_, lease| lease.expires > now);
            if state.items.len() >= CAPACITY {
                state.hold = Some(now + LEASE);
                return true;
            }
        }
        let lease = state.items.entry(key).or_insert(Lease { count: 0, expires: now });
        lease.count += 1;
        lease.expires = now + LEASE;
        true
    }

    /// Ends one lease on each of these items, because a manifest holds them now.
    pub(crate) fn release<'a>(
        &self,
        repository: &RepositoryName,
        digests: impl IntoIterator<Item = &'a Digest>,
    ) {
        let mut state = self.lock();
        if state.items.is_empty() {
            return;
        }
        for digest in digests {
            let key = self.key(repository, digest);
            if let Some(lease) = state.items.get_mut(&key) {
                lease.count -= 1;
                if lease.count == 0 {
                    state.items.remove(&key);
                }
            }
        }
    }

    /// Announces the removal of items. Returns the part of them that is not leased.
    pub(crate) fn remove<T>(
        &self,
        items: Vec<T>,
        item: impl Fn(&T) -> (&RepositoryName, &Digest),
    ) -> (Removal, Vec<T>) {
        let now = Instant::now();
        let mut state = self.lock();
        if state.hold.is_some_and(|hold| hold > now) {
            return (Removal { guards: self.clone(), keys: Vec::new() }, Vec::new());
        }
        let (mut keys, mut free) = (Vec::new(), Vec::new());
        for one in items {
            let (repository, digest) = item(&one);
            let key = self.key(repository, digest);
            if state.items.get(&key).is_none_or(|lease| lease.expires <= now) {
                state.items.remove(&key);
                keys.push(key);
                free.push(one);
            }
        }
        state.removing.extend(&keys);
        (Removal { guards: self.clone(), keys }, free)
    }

    /// Whether a collection would leave an item now.
    pub(crate) fn is_leased(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        let (now, state) = (Instant::now(), self.lock());
        state.hold.is_some_and(|hold| hold > now)
            || state.items.get(&self.key(repository, digest)).is_some_and(|lease| lease.expires > now)
    }

    /// The time of the start.
    pub(crate) fn started(&self) -> SystemTime {
        self.inner.started.0
    }

    /// The time for which leases of the last process may be in force; `None` if they have expired.
    pub(crate) fn lost_leases(&self) -> Option<Duration> {
        let since = SystemTime::now().duration_since(self.inner.started.0);
        // After the clock was set back, no time is known.
        since.ok().and_then(|since| LEASE.checked_sub(since)).filter(|rest| !rest.is_zero())
    }

    /// Takes the content of pushes that failed after it was stored.
    pub(crate) fn take_abandoned(&self) -> Vec<Digest> {
        std::mem::take(&mut self.lock().abandoned)
    }

    fn key(&self, repository: &RepositoryName, digest: &Digest) -> u64 {
        self.inner.hasher.hash_one((repository, digest))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic leaves no change incomplete.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lease on content that is being stored.
pub(crate) struct ContentLease {
    guards: Guards,
    digest: Digest,
    is_linked: bool,
}

impl ContentLease {
    /// Ends the lease after the content was linked.
    pub(crate) fn linked(mut self) {
        self.is_linked = true;
    }
}

impl Drop for ContentLease {
    fn drop(&mut self) {
        let mut state = self.guards.lock();
        if let Some(count) = state.stored.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                state.stored.remove(&self.digest);
            }
        }
        if !self.is_linked && state.abandoned.len() < ABANDONED {
            state.abandoned.push(self.digest);
        }
    }
}

/// The deletion of content in progress.
pub(crate) struct Deletion {
    guards: Guards,
    digests: Vec<Digest>,
}

impl Drop for Deletion {
    fn drop(&mut self) {
        let mut state = self.guards.lock();
        for digest in &self.digests {
            state.deleting.remove(digest);
        }
        drop(state);
        self.guards.inner.deleted.notify_waiters();
    }
}

/// The removal of items in progress.
pub(crate) struct Removal {
    guards: Guards,
    keys: Vec<u64>,
}

impl Drop for Removal {
    fn drop(&mut self) {
        let mut state = self.guards.lock();
        for key in &self.keys {
            state.removing.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use oci::Algorithm;

    use super::*;

    fn digest(content: &str) -> Digest {
        Algorithm::Sha256.digest(content.as_bytes())
    }

    #[test]
    fn stored_content_is_not_deleted() {
        let guards = Guards::default();
        let (a, b) = (digest("a"), digest("b"));
        let lease = guards.store(&a).now_or_never().expect("nothing deletes it");
        let (deletion, free) = guards.delete(vec![digest("a"), digest("b")], |one| *one);
        assert_eq!(free, [digest("b")]);
        let mut waiting = Box::pin(guards.store(&b));
        assert!((&mut waiting).now_or_never().is_none(), "it is being deleted");
        drop(deletion);
        let other = waiting.now_or_never().expect("the deletion has ended");
        lease.linked();
        drop(other);
        assert_eq!(guards.take_abandoned(), [digest("b")]);
        assert_eq!(guards.delete(vec![digest("a")], |one| *one).1.len(), 1);
    }

    #[test]
    fn leased_item_is_not_removed() {
        let (guards, app) = (Guards::default(), "app".parse::<RepositoryName>().unwrap());
        let blob = digest("a");
        let remove = |guards: &Guards| guards.remove(vec![(app.clone(), blob)], |one| (&one.0, &one.1));
        assert!(guards.lease(&app, &blob));
        assert!(guards.lease(&app, &blob));
        guards.release(&app, [&blob]);
        assert!(remove(&guards).1.is_empty(), "another push needs it");
        guards.release(&app, [&blob]);
        let (removal, free) = remove(&guards);
        assert_eq!(free, [(app.clone(), blob)]);
        assert!(!guards.lease(&app, &blob), "it is being removed");
        assert!(guards.lease(&"other".parse().unwrap(), &blob));
        drop(removal);
        assert!(guards.lease(&app, &blob));
    }

    #[test]
    fn too_many_leases_hold_every_item() {
        let (guards, app) = (Guards::default(), "app".parse::<RepositoryName>().unwrap());
        for number in 0..=CAPACITY {
            assert!(guards.lease(&app, &digest(&number.to_string())));
        }
        assert!(guards.remove(vec![(app, digest("other"))], |one| (&one.0, &one.1)).1.is_empty());
    }
}
