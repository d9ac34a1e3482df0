//! Pull counters in memory.
//!
//! A cached tag or manifest holds its counter. A pull from the cache costs an atomic addition, and the time
//! of day. The first pull after a flush lists the counter as dirty. Pulls that miss the cache are aggregated
//! in a map.
//!
//! A HEAD request is a use: it advances the time of the last pull and not the number. An engine that has an
//! image asks for its tag by HEAD and sends no GET.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oci::{Digest, RepositoryName, Tag};
use store::metadata::PullCount;
use tokio::sync::Notify;

use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// The number of dirty counters after which a flush begins early: a bound on the memory.
const MAX_DIRTY: usize = 50_000;

/// The subject of a counter: a tag with its manifest, or a manifest by digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pulled {
    pub(crate) repository: RepositoryName,
    pub(crate) tag: Option<Tag>,
    pub(crate) digest: Digest,
}

/// The counter of a cache entry.
#[derive(Debug)]
pub(crate) struct PullCounter {
    pulled: Pulled,
    count: AtomicU64,
    /// The time of the last pull or use, in milliseconds since 1970.
    last: AtomicU64,
    is_dirty: AtomicBool,
}

/// Pulls that are not written yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unwritten {
    pub(crate) pulls: u64,
    /// In milliseconds since 1970.
    last: u64,
}

impl Unwritten {
    pub(crate) fn pulled_at(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.last)
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.pulls += other.pulls;
        self.last = self.last.max(other.last);
    }
}

/// All counters with unwritten pulls.
#[derive(Default)]
pub(crate) struct Pulls {
    dirty: Mutex<Dirty>,
    /// Notified when [`MAX_DIRTY`] is reached.
    pub(super) full: Notify,
}

#[derive(Default)]
struct Dirty {
    counters: Vec<Arc<PullCounter>>,
    /// Pulls without a cache entry.
    others: HashMap<Pulled, Unwritten>,
}

impl PullCounter {
    pub(crate) fn new(pulled: Pulled) -> Arc<Self> {
        let (count, last) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { pulled, count, last, is_dirty: AtomicBool::new(false) })
    }

    fn unwritten(&self) -> Unwritten {
        Unwritten { pulls: self.count.load(Ordering::Relaxed), last: self.last.load(Ordering::Relaxed) }
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Pulls {
    /// Counts a pull of a cache entry.
    pub(crate) fn count(&self, counter: &Arc<PullCounter>) {
        // Sequentially consistent, as the flush is: it sees the addition, or the counter is listed again.
        counter.count.fetch_add(1, Ordering::SeqCst);
        self.touch(counter);
    }

    /// Records a use of a cache entry that is no pull.
    pub(crate) fn touch(&self, counter: &Arc<PullCounter>) {
        counter.last.store(now(), Ordering::SeqCst);
        if !counter.is_dirty.load(Ordering::SeqCst) && !counter.is_dirty.swap(true, Ordering::SeqCst) {
            let mut dirty = self.lock();
            dirty.counters.push(Arc::clone(counter));
            self.announce(&dirty);
        }
    }

    /// Counts a pull without a cache entry.
    pub(crate) fn count_uncached(&self, pulled: Pulled) {
        self.add_uncached(pulled, 1);
    }

    /// Records a use without a cache entry that is no pull.
    pub(crate) fn touch_uncached(&self, pulled: Pulled) {
        self.add_uncached(pulled, 0);
    }

    fn add_uncached(&self, pulled: Pulled, pulls: u64) {
        let mut dirty = self.lock();
        dirty.others.entry(pulled).or_default().add(Unwritten { pulls, last: now() });
        self.announce(&dirty);
    }

    fn announce(&self, dirty: &Dirty) {
        if dirty.counters.len() + dirty.others.len() >= MAX_DIRTY {
            self.full.notify_one();
        }
    }

    /// The unwritten pulls of a repository.
    pub(crate) fn unwritten(&self, repository: &RepositoryName) -> HashMap<Pulled, Unwritten> {
        let mut unwritten: HashMap<Pulled, Unwritten> = HashMap::new();
        let dirty = self.lock();
        let counters = dirty.counters.iter().map(|counter| (&counter.pulled, counter.unwritten()));
        let others = dirty.others.iter().map(|(pulled, pulls)| (pulled, *pulls));
        for (pulled, pulls) in counters.chain(others).filter(|(pulled, _)| pulled.repository == *repository) {
            unwritten.entry(pulled.clone()).or_default().add(pulls);
        }
        unwritten
    }

    /// Takes all unwritten pulls.
    pub(crate) fn take(&self) -> HashMap<Pulled, Unwritten> {
        let Dirty { counters, others: mut taken } = mem::take(&mut *self.lock());
        for counter in counters {
            // A pull after this lists the counter again.
            counter.is_dirty.store(false, Ordering::SeqCst);
            let pulls = counter.count.swap(0, Ordering::SeqCst);
            let last = counter.last.load(Ordering::SeqCst);
            taken.entry(counter.pulled.clone()).or_default().add(Unwritten { pulls, last });
        }
        taken
    }

    /// Puts pulls back that could not be written.
    pub(super) fn put_back(&self, counts: &[PullCount]) {
        let mut dirty = self.lock();
        for count in counts {
            let since = count.pulled_at.duration_since(UNIX_EPOCH).unwrap_or_default();
            let last = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
            let pulled =
                Pulled { repository: count.repository.clone(), tag: count.tag.clone(), digest: count.digest };
            dirty.others.entry(pulled).or_default().add(Unwritten { pulls: count.pulls, last });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Dirty> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulled(tag: Option<&str>) -> Pulled {
        Pulled {
            repository: "team/app".parse().unwrap(),
            tag: tag.map(|tag| tag.parse().unwrap()),
            digest: oci::Algorithm::Sha256.digest(b"one"),
        }
    }

    #[test]
    fn counter_is_listed_once_between_flushes() {
        let pulls = Pulls::default();
        let counter = PullCounter::new(pulled(Some("latest")));
        for _ in 0..3 {
            pulls.count(&counter);
        }
        pulls.count_uncached(pulled(Some("latest")));
        pulls.count_uncached(pulled(None));
        assert_eq!(pulls.lock().counters.len(), 1);
        let shown = pulls.unwritten(&"team/app".parse().unwrap());
        assert_eq!((shown.len(), shown[&pulled(Some("latest"))].pulls), (2, 4));
        assert!(pulls.unwritten(&"team".parse().unwrap()).is_empty());
        let taken = pulls.take();
        assert_eq!(taken[&pulled(Some("latest"))].pulls, 4);
        assert!(taken[&pulled(None)].pulled_at() > UNIX_EPOCH);
        assert!(pulls.take().is_empty());
        pulls.count(&counter);
        assert_eq!(pulls.take()[&pulled(Some("latest"))].pulls, 1);
        for _ in 0..2 {
            pulls.touch(&counter);
        }
        let used = pulls.take()[&pulled(Some("latest"))];
        assert_eq!(used.pulls, 0);
        assert!(used.pulled_at() > UNIX_EPOCH);
    }

    #[test]
    fn concurrent_pulls_are_all_counted() {
        let pulls = Pulls::default();
        let counter = PullCounter::new(pulled(None));
        let total = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| pulls.count(&counter)));
            }
            for _ in 0..100 {
                total.fetch_add(pulls.take().values().map(|taken| taken.pulls).sum(), Ordering::Relaxed);
            }
        });
        total.fetch_add(pulls.take().values().map(|taken| taken.pulls).sum(), Ordering::Relaxed);
        assert_eq!(total.into_inner(), 40_000);
    }
}
