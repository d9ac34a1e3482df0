//! Connection limits, in all and for each client network.
//!
//! At a limit, the connections that were idle for longest are evicted (LRU). A connection without a request
//! in progress is idle, so that clients which send nothing keep no one out.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use metrics::Gauge;
use tokio::sync::Notify;

use crate::client_network::client_network;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// The minimum time between two warnings.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);
/// The share of connections that one scan evicts, as a divisor.
const EVICTED_SHARE: usize = 64;
/// The number of evicted connections that may still be open above the limit.
fn slack(limit: usize) -> usize {
    limit / 8 + 16
}

/// The value of `idle_since` while a request is under way.
const BUSY: u64 = u64::MAX;

/// The open connections of one listener. Clones share the table.
#[derive(Clone)]
pub(crate) struct ConnectionTable(Arc<Shared>);

struct Shared {
    /// The setting that names the port, for the log.
    port: &'static str,
    limit: AtomicUsize,
    per_network: AtomicUsize,
    begun: Instant,
    state: Mutex<State>,
    /// Notified when a connection ends, or becomes idle while a client waits for room.
    room: Notify,
    is_awaited: AtomicBool,
    /// The number of open connections, for metrics.
    open: Gauge,
}

#[derive(Default)]
struct State {
    slots: HashMap<u64, Arc<Slot>>,
    networks: HashMap<IpAddr, usize>,
    next: u64,
    /// The number of evicted connections that are still open.
    leaving: usize,
    reported: Option<Instant>,
}

/// The place of a connection in the table.
pub(crate) struct Slot {
    network: IpAddr,
    /// Milliseconds since the table was made, or [`BUSY`].
    idle_since: AtomicU64,
    is_evicted: AtomicBool,
    evict: Notify,
    table: Arc<Shared>,
}

/// A held place. Dropping it frees the place.
pub(crate) struct Held {
    id: u64,
    slot: Arc<Slot>,
}

/// The client's network is at its limit, and none of its connections is idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NetworkFull;

impl ConnectionTable {
    /// Makes a table of `limit` connections to the port that a setting names. A client network may have
    /// `per_network`. `open` counts them.
    pub(crate) fn new(port: &'static str, limit: usize, per_network: usize, open: Gauge) -> Self {
        Self(Arc::new(Shared {
            port,
            limit: AtomicUsize::new(limit),
            per_network: AtomicUsize::new(per_network),
            begun: Instant::now(),
            state: Mutex::default(),
            room: Notify::new(),
            is_awaited: AtomicBool::new(false),
            open,
        }))
    }

    /// Changes the limits. Open connections stay.
    pub(crate) fn set_limits(&self, limit: usize, per_network: usize) {
        self.0.limit.store(limit, Ordering::Relaxed);
        self.0.per_network.store(per_network, Ordering::Relaxed);
        self.0.room.notify_waiters();
    }

    /// Evicts a share of the idle connections, because the process has no file descriptor left.
    pub(crate) fn evict_idle(&self) {
        let mut state = self.0.state();
        let most = (state.slots.len() / EVICTED_SHARE).max(1);
        state.evict(None, most);
    }

    /// Takes a place. Waits while all connections are busy. `is_proxy` exempts a trusted proxy from the
    /// network's limit.
    pub(crate) async fn enter(&self, client: IpAddr, is_proxy: bool) -> Result<Held, NetworkFull> {
        let network = client_network(client);
        loop {
            // Registered before the check, so that no notification is missed.
            let room = self.0.room.notified();
            if let Some(entered) = self.0.try_enter(network, is_proxy) {
                return entered;
            }
            room.await;
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(BUSY - 1)
    }

    /// Returns `None` if all connections are busy.
    fn try_enter(self: &Arc<Self>, network: IpAddr, is_proxy: bool) -> Option<Result<Held, NetworkFull>> {
        let (limit, per_network) =
            (self.limit.load(Ordering::Relaxed), self.per_network.load(Ordering::Relaxed));
        let mut state = self.state();
        let of_network = state.networks.get(&network).copied().unwrap_or(0);
        if !is_proxy && of_network >= per_network {
            let evicted = state.evict(Some(network), 1);
            if state.may_report() {
                tracing::warn!(
                    port = self.port,
                    %network,
                    connections = of_network,
                    "a client network has as many connections as it may (limits.connections_per_address): its longest \
                     idle ones are closed, and further ones while none is idle"
                );
            }
            if evicted == 0 {
                return Some(Err(NetworkFull));
            }
        } else if state.slots.len() >= limit.saturating_add(slack(limit)) {
            self.is_awaited.store(true, Ordering::SeqCst);
            return None;
        } else if state.slots.len() - state.leaving >= limit {
            let (largest, of_largest) = state
                .networks
                .iter()
                .max_by_key(|(_, count)| **count)
                .map(|(name, count)| (*name, *count))?;
            let most = (limit / EVICTED_SHARE).max(1);
            let mut evicted = state.evict(Some(largest), most);
            if evicted == 0 {
                evicted = state.evict(None, most);
            }
            if state.may_report() {
                tracing::warn!(
                    port = self.port,
                    connections = state.slots.len(),
                    largest_network = %largest,
                    of_largest,
                    closed = evicted,
                    "as many connections are open as may be (limits.connections): the longest idle ones are closed, and \
                     further ones wait while none is idle"
                );
            }
            if evicted == 0 {
                self.is_awaited.store(true, Ordering::SeqCst);
                // A connection may have become idle since the check.
                if state.evict(None, 1) == 0 {
                    return None;
                }
            }
        }
        self.is_awaited.store(false, Ordering::SeqCst);
        Some(Ok(self.insert(&mut state, network)))
    }

    fn insert(self: &Arc<Self>, state: &mut State, network: IpAddr) -> Held {
        let slot = Arc::new(Slot {
            network,
            idle_since: AtomicU64::new(self.now()),
            is_evicted: AtomicBool::new(false),
            evict: Notify::new(),
            table: self.clone(),
        });
        let id = state.next;
        state.next += 1;
        state.slots.insert(id, slot.clone());
        *state.networks.entry(network).or_default() += 1;
        self.open.inc();
        Held { id, slot }
    }
}

impl State {
    /// Evicts up to `most` idle connections of one network or of all, the longest idle first.
    fn evict(&mut self, network: Option<IpAddr>, most: usize) -> usize {
        let mut idle: Vec<(u64, &Arc<Slot>)> = self
            .slots
            .values()
            .filter(|slot| network.is_none_or(|network| slot.network == network))
            .filter(|slot| !slot.is_evicted.load(Ordering::Relaxed))
            .map(|slot| (slot.idle_since.load(Ordering::SeqCst), slot))
            .filter(|(since, _)| *since != BUSY)
            .collect();
        if idle.len() > most {
            idle.select_nth_unstable_by_key(most - 1, |(since, _)| *since);
            idle.truncate(most);
        }
        for (_, slot) in &idle {
            slot.is_evicted.store(true, Ordering::Relaxed);
            slot.evict.notify_one();
        }
        self.leaving += idle.len();
        idle.len()
    }

    fn may_report(&mut self) -> bool {
        let may = self.reported.is_none_or(|reported| reported.elapsed() >= REPORT_INTERVAL);
        if may {
            self.reported = Some(Instant::now());
        }
        may
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("network", &self.network).finish_non_exhaustive()
    }
}

impl Slot {
    pub(crate) fn set_busy(&self) {
        self.idle_since.store(BUSY, Ordering::SeqCst);
    }

    pub(crate) fn set_idle(&self) {
        self.idle_since.store(self.table.now(), Ordering::SeqCst);
        if self.table.is_awaited.load(Ordering::SeqCst) {
            self.table.room.notify_waiters();
        }
    }

    /// Waits for eviction.
    pub(crate) async fn evicted(&self) {
        self.evict.notified().await;
    }
}

impl Held {
    pub(crate) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let table = &self.slot.table;
        let mut state = table.state();
        state.slots.remove(&self.id);
        table.open.dec();
        if self.slot.is_evicted.load(Ordering::Relaxed) {
            state.leaving -= 1;
        }
        let network = self.slot.network;
        if let Some(count) = state.networks.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                state.networks.remove(&network);
            }
        }
        drop(state);
        table.room.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn enter(table: &ConnectionTable, client: IpAddr) -> Option<Result<Held, NetworkFull>> {
        table.enter(client, false).now_or_never()
    }

    fn entered(table: &ConnectionTable, client: IpAddr) -> Held {
        enter(table, client).expect("there is room").expect("the network has room")
    }

    fn is_evicted(held: &Held) -> bool {
        held.slot().is_evicted.load(Ordering::Relaxed)
    }

    #[test]
    fn longest_idle_of_the_largest_network_makes_room() {
        let table = ConnectionTable::new("listen", 3, 3, Gauge::default());
        let (first, second, other) = (entered(&table, A), entered(&table, A), entered(&table, B));
        second.slot().idle_since.store(5, Ordering::SeqCst);
        first.slot().idle_since.store(9, Ordering::SeqCst);
        other.slot().idle_since.store(0, Ordering::SeqCst);
        let _fourth = entered(&table, B);
        assert_eq!([&first, &second, &other].map(is_evicted), [false, true, false]);
    }

    #[tokio::test]
    async fn busy_connections_are_waited_for() {
        let table = ConnectionTable::new("listen", 2, 2, Gauge::default());
        let (first, second) = (entered(&table, A), entered(&table, B));
        first.slot().set_busy();
        second.slot().set_busy();
        assert!(enter(&table, B).is_none());
        let waiting = tokio::spawn({
            let table = table.clone();
            async move { table.enter(B, false).await.is_ok() }
        });
        tokio::task::yield_now().await;
        second.slot().set_idle();
        assert!(waiting.await.unwrap());
        assert_eq!((is_evicted(&first), is_evicted(&second)), (false, true));
    }

    #[test]
    fn full_network_does_not_block_others() {
        let table = ConnectionTable::new("listen", 4, 2, Gauge::default());
        let (first, second) = (entered(&table, A), entered(&table, A));
        first.slot().set_busy();
        second.slot().set_busy();
        assert_eq!(enter(&table, A).map(|entered| entered.is_err()), Some(true));
        let _other = entered(&table, B);
        let proxy = table.enter(A, true).now_or_never();
        assert!(proxy.is_some_and(|entered| entered.is_ok()));
        second.slot().set_idle();
        let _third = entered(&table, A);
        assert!(is_evicted(&second));
    }

    #[test]
    fn place_is_free_after_the_end() {
        let table = ConnectionTable::new("listen", 1, 1, Gauge::default());
        for _ in 0..3 {
            let held = entered(&table, A);
            held.slot().set_busy();
            assert_eq!(enter(&table, A).map(|entered| entered.is_err()), Some(true));
        }
        assert!(table.0.state().networks.is_empty());
    }
}
