//! A token bucket of a rate limit, without a lock.

use crate::sync::atomic::{AtomicU64, Ordering};

/// The time at which the bucket is full. All times are in nanoseconds since one moment.
#[derive(Debug, Default)]
pub(crate) struct Bucket(AtomicU64);

impl Bucket {
    /// Takes a unit, which takes `cost` to refill, if the bucket has one. `depth` is the time to fill the
    /// bucket.
    ///
    /// # Errors
    /// The time until it has one.
    pub(crate) fn take(&self, now: u64, cost: u64, depth: u64) -> Result<(), u64> {
        let after = |full: u64| full.max(now).saturating_add(cost);
        // A full bucket always gives one unit, however slow the rate.
        let most = depth.max(cost);
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full| {
            Some(after(full)).filter(|full| full - now <= most)
        });
        taken.map(|_| ()).map_err(|full| (after(full) - now).saturating_sub(most))
    }

    /// Takes `cost`, even if the bucket has less.
    pub(crate) fn spend(&self, now: u64, cost: u64) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full| {
            Some(full.max(now).saturating_add(cost))
        });
    }

    /// Returns the time until the bucket is not overdrawn.
    pub(crate) fn wait(&self, now: u64, depth: u64) -> u64 {
        self.0.load(Ordering::Relaxed).saturating_sub(now).saturating_sub(depth)
    }
}
