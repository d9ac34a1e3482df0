//! Single flight: concurrent callers with the same key share one operation, which outlives them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tracing::Instrument as _;

type Running<K, V> = Arc<Mutex<HashMap<K, watch::Receiver<Option<V>>>>>;

/// Operations in progress by key.
pub(super) struct Flights<K, V>(Running<K, V>);

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// Removes the key when the operation ends, also by a panic.
struct Landing<K: Eq + Hash, V>(K, Running<K, V>);

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        lock(&self.1).remove(&self.0);
    }
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Joins the operation with this key, or starts it on a task. Returns `None` if it panicked.
    pub(super) async fn join<F>(&self, key: K, operation: impl FnOnce() -> F) -> Option<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut receiver = {
            let mut running = lock(&self.0);
            match running.get(&key) {
                Some(receiver) => receiver.clone(),
                None => {
                    let (sender, receiver) = watch::channel(None);
                    running.insert(key.clone(), receiver.clone());
                    let (operation, running) = (operation(), self.0.clone());
                    let work = async move {
                        let landing = Landing(key, running);
                        let value = operation.await;
                        // Removed first: a caller that finds the key must not get a value of the past.
                        drop(landing);
                        sender.send_replace(Some(value));
                    };
                    tokio::spawn(work.in_current_span());
                    receiver
                }
            }
        };
        receiver.wait_for(Option::is_some).await.ok().and_then(|value| value.clone())
    }
}

fn lock<K, V>(running: &Running<K, V>) -> MutexGuard<'_, HashMap<K, watch::Receiver<Option<V>>>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn concurrent_callers_share_one_operation() {
        let flights: Flights<&str, usize> = Flights::default();
        let started = Arc::new(AtomicUsize::new(0));
        let (go, going) = watch::channel(false);
        let operation = || {
            let (started, mut going) = (started.clone(), going.clone());
            async move {
                let number = started.fetch_add(1, Ordering::Relaxed);
                going.wait_for(|go| *go).await.unwrap();
                number
            }
        };
        let first = flights.join("a", operation);
        let second = flights.join("a", operation);
        let release = async { go.send_replace(true) };
        let (first, second, _) = tokio::join!(first, second, release);
        assert_eq!((first, second), (Some(0), Some(0)));
        assert_eq!(flights.join("a", operation).await, Some(1));
    }

    #[tokio::test]
    async fn operation_outlives_its_callers() {
        let flights: Flights<&str, usize> = Flights::default();
        let (go, mut going) = watch::channel(false);
        let (done, mut ended) = watch::channel(false);
        let caller = flights.join("a", || async move {
            going.wait_for(|go| *go).await.unwrap();
            done.send_replace(true);
            1
        });
        tokio::time::timeout(std::time::Duration::ZERO, caller).await.unwrap_err();
        go.send_replace(true);
        ended.wait_for(|done| *done).await.unwrap();
    }
}
