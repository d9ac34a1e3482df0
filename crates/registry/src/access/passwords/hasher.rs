//! The password hasher: a bounded pool, because each hash takes milliseconds of CPU and 19 MiB by design.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use super::{Password, StoredPassword};

/// Hashes computed at the same time.
const CONCURRENCY: usize = 2;
/// Requests that may wait for a hash. The last of them waits about two seconds.
pub(super) const MAX_WAITING: usize = 128;

/// Computes hashes on blocking threads, with bounded concurrency and a bounded queue.
pub(in crate::access) struct Hasher {
    pub(super) permits: Semaphore,
    waiting: AtomicUsize,
    /// Hashes computed so far, for tests.
    count: Arc<AtomicU64>,
}

/// The queue is full.
#[derive(Debug)]
pub(in crate::access) struct Busy;

impl Hasher {
    pub(in crate::access) fn new() -> Self {
        Self { permits: Semaphore::new(CONCURRENCY), waiting: AtomicUsize::new(0), count: Arc::default() }
    }

    /// Hashes a new password.
    pub(in crate::access) async fn hash(&self, password: Password) -> Result<StoredPassword, Busy> {
        // Fails without random numbers or memory; a retry may succeed.
        self.run(move || StoredPassword::hash(&password)).await?.map_err(|error| {
            tracing::error!(%error, "cannot hash a password");
            Busy
        })
    }

    /// Whether the password matches the stored hash.
    pub(in crate::access) async fn matches(
        &self,
        stored: StoredPassword,
        password: Password,
    ) -> Result<bool, Busy> {
        self.run(move || stored.matches(&password)).await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let _waiting = Waiting::enter(&self.waiting).ok_or(Busy)?;
        let _permit = self.permits.acquire().await.map_err(|_| Busy)?;
        self.count.fetch_add(1, Ordering::Relaxed);
        tokio::task::spawn_blocking(work).await.map_err(|_| Busy)
    }

    #[cfg(test)]
    pub(in crate::access) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// Counts a request as waiting until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Option<Self> {
        let entered = Self(count);
        (count.fetch_add(1, Ordering::Relaxed) < MAX_WAITING).then_some(entered)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
