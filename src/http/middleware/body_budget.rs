//! Memory budget for request bodies that are read whole: manifests, forms, JSON.
//!
//! A body is charged with its length before it is read. While the budget is spent, the request waits and its body stays
//! in the network (backpressure); a request that waits for too long is answered 503. Bodies that are streamed, such as
//! blobs, need no budget.
//!
//! Small bodies have a budget of their own, so that ordinary pushes go on while large manifests fill the other one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::config::Limits;
use crate::http::middleware::rate_limit::Client;

/// A body of up to this size is a small one. Nearly all manifests are.
const SMALL: u64 = 64 << 10;
/// The share of the budget that one client may have.
const CLIENT_SHARE: u64 = 4;
/// The budget of small bodies, as a share of that of large ones.
const SMALL_SHARE: u64 = 4;
/// What is counted: so many bytes.
const UNIT: u64 = 1 << 10;
/// How long a request waits for room.
const WAIT: Duration = Duration::from_secs(10);
/// When a client that found no room should come back.
pub(crate) const RETRY: Duration = Duration::from_secs(5);
/// How often at most it is logged that there is no room.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);
/// Clients that are kept before those without a body are removed.
const CLIENTS: usize = 1024;

/// The budget of a server.
pub(crate) struct BodyBudget {
    small: Pool,
    large: Pool,
    reported: Mutex<Option<Instant>>,
}

/// There was no room in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

/// Room for one body, until it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    _client: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

/// The budget of one kind of body.
struct Pool {
    all: Arc<Semaphore>,
    per_client: usize,
    clients: Mutex<HashMap<Client, Weak<Semaphore>>>,
}

impl BodyBudget {
    /// A budget of `limits.body_memory`, or of one manifest if that is larger.
    pub(crate) fn new(limits: &Limits) -> Self {
        let largest = limits.manifest_bytes as u64;
        let all = limits.body_memory.max(largest);
        let small = (all / SMALL_SHARE).max(SMALL);
        Self {
            small: Pool::new(small, (small / CLIENT_SHARE).max(SMALL)),
            large: Pool::new(all, (all / CLIENT_SHARE).max(largest)),
            reported: Mutex::default(),
        }
    }

    /// Takes room for a body of this length, and waits for it.
    pub(crate) async fn charge(&self, client: Client, bytes: u64) -> Result<Charge, NoRoom> {
        let pool = if bytes <= SMALL { &self.small } else { &self.large };
        match tokio::time::timeout(WAIT, pool.take(client, bytes)).await {
            Ok(Ok(charge)) => Ok(charge),
            _ => {
                self.report(client);
                Err(NoRoom)
            }
        }
    }

    fn report(&self, client: Client) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.is_none_or(|reported| reported.elapsed() >= REPORT_INTERVAL) {
            *reported = Some(Instant::now());
            tracing::warn!(
                ?client,
                "requests are answered 503, because their bodies found no room in limits.body_memory"
            );
        }
    }
}

impl Pool {
    fn new(all: u64, per_client: u64) -> Self {
        Self {
            all: Arc::new(Semaphore::new(units(all) as usize)),
            per_client: units(per_client) as usize,
            clients: Mutex::default(),
        }
    }

    async fn take(&self, client: Client, bytes: u64) -> Result<Charge, AcquireError> {
        let units = units(bytes);
        // First the client's own, so that a client which waits for itself takes nothing from others.
        let own = self.client(client).acquire_many_owned(units).await?;
        let all = self.all.clone().acquire_many_owned(units).await?;
        Ok(Charge { _client: own, _all: all })
    }

    fn client(&self, client: Client) -> Arc<Semaphore> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = clients.get(&client).and_then(Weak::upgrade) {
            return own;
        }
        if clients.len() >= CLIENTS {
            clients.retain(|_, own| own.strong_count() > 0);
        }
        let own = Arc::new(Semaphore::new(self.per_client));
        clients.insert(client, Arc::downgrade(&own));
        own
    }
}

/// Bytes in whole units, as many as a semaphore can count.
fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX >> 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn budget() -> BodyBudget {
        BodyBudget::new(&Limits { body_memory: 32 * MIB, ..Limits::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_has_a_share_of_the_budget() {
        let budget = budget();
        let held = budget.charge(Client::Account(1), 8 * MIB).await.unwrap();
        assert_eq!(budget.charge(Client::Account(1), 8 * MIB).await.unwrap_err(), NoRoom);
        let other = budget.charge(Client::Account(2), 8 * MIB).await;
        assert!(other.is_ok());
        drop(held);
        assert!(budget.charge(Client::Account(1), 8 * MIB).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn small_bodies_pass_while_large_ones_wait() {
        let budget = budget();
        let mut held = Vec::new();
        for account in 0..4 {
            held.push(budget.charge(Client::Account(account), 8 * MIB).await.unwrap());
        }
        assert!(budget.charge(Client::Account(9), 8 * MIB).await.is_err());
        assert!(budget.charge(Client::Account(0), 2000).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_body_is_let_in_when_room_is_given_back() {
        let budget = Arc::new(budget());
        let held = budget.charge(Client::Account(1), 8 * MIB).await.unwrap();
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.charge(Client::Account(1), MIB).await.is_ok() }
        });
        tokio::time::sleep(WAIT / 2).await;
        drop(held);
        assert!(waiting.await.unwrap());
    }
}
