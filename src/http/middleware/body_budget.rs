//! Memory budget for request bodies that are read whole: manifests, forms, JSON.
//!
//! A body is charged with its length before it is read. While the budget is spent, the request waits and its
//! body stays in the network (backpressure); a request that waits for too long is answered 503. Bodies that
//! are streamed, such as blobs, need no budget.
//!
//! Small bodies have a budget of their own, so that ordinary pushes go on while large manifests fill the
//! other one. So do unverified clients, such as those that send the form of a sign-in: they cannot keep the
//! pushes of accounts from their memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::config::Limits;
use crate::http::middleware::rate_limit::Client;

/// The maximum size of a small body. Nearly all manifests are small.
const SMALL: u64 = 64 << 10;
/// The share of the budget that one client may have, as a divisor.
const CLIENT_SHARE: u64 = 4;
/// The budget of small bodies, as a divisor of the one for large bodies.
const SMALL_SHARE: u64 = 4;
/// The budget of unverified clients, as a divisor of the one for all others.
const UNVERIFIED_SHARE: u64 = 8;
/// The unit of the semaphores, in bytes.
const UNIT: u64 = 1 << 10;
const WAIT: Duration = Duration::from_secs(10);
/// The `Retry-After` of a 503.
pub(crate) const RETRY: Duration = Duration::from_secs(5);
/// The minimum time between two warnings.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);
/// The number of clients at which idle ones are removed.
const CLIENTS: usize = 1024;

pub(crate) struct BodyBudget {
    verified: Pools,
    unverified: Pools,
    reported: Mutex<Option<Instant>>,
}

/// The client that is charged for a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Payer {
    pub(crate) client: Client,
    /// Whether the client is anonymous at a registry that has accounts.
    pub(crate) is_unverified: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

/// The charge for one body. Dropping it frees the memory.
#[derive(Debug)]
pub(crate) struct Charge {
    _client: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

/// The budgets of small and of large bodies.
struct Pools {
    small: Pool,
    large: Pool,
}

/// The budget of small or large bodies.
struct Pool {
    all: Arc<Semaphore>,
    per_client: usize,
    clients: Mutex<HashMap<Client, Weak<Semaphore>>>,
}

impl BodyBudget {
    /// Makes a budget of `limits.body_memory`. Each part has room for at least one manifest.
    pub(crate) fn new(limits: &Limits) -> Self {
        let largest = limits.manifest_bytes as u64;
        Self {
            verified: Pools::new(limits.body_memory, largest),
            unverified: Pools::new(limits.body_memory / UNVERIFIED_SHARE, largest),
            reported: Mutex::default(),
        }
    }

    /// Charges a body of this length. Waits while the budget is spent.
    pub(crate) async fn charge(&self, payer: Payer, bytes: u64) -> Result<Charge, NoRoom> {
        let Payer { client, is_unverified } = payer;
        let pools = if is_unverified { &self.unverified } else { &self.verified };
        let pool = if bytes <= SMALL { &pools.small } else { &pools.large };
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

impl Pools {
    fn new(all: u64, largest: u64) -> Self {
        let all = all.max(largest);
        let small = (all / SMALL_SHARE).max(SMALL);
        Self {
            small: Pool::new(small, (small / CLIENT_SHARE).max(SMALL)),
            large: Pool::new(all, (all / CLIENT_SHARE).max(largest)),
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
        // The client's share first: a client over its share takes nothing from others.
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

/// Converts bytes to units, at most as many as a semaphore counts.
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

    fn account(id: i64) -> Payer {
        Payer { client: Client::Account(id), is_unverified: false }
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_has_a_share_of_the_budget() {
        let budget = budget();
        let held = budget.charge(account(1), 8 * MIB).await.unwrap();
        assert_eq!(budget.charge(account(1), 8 * MIB).await.unwrap_err(), NoRoom);
        let other = budget.charge(account(2), 8 * MIB).await;
        other.unwrap();
        drop(held);
        budget.charge(account(1), 8 * MIB).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn small_bodies_pass_while_large_ones_wait() {
        let budget = budget();
        let mut held = Vec::new();
        for id in 0..4 {
            held.push(budget.charge(account(id), 8 * MIB).await.unwrap());
        }
        budget.charge(account(9), 8 * MIB).await.unwrap_err();
        budget.charge(account(0), 2000).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_body_is_let_in_when_room_is_given_back() {
        let budget = Arc::new(budget());
        let held = budget.charge(account(1), 8 * MIB).await.unwrap();
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.charge(account(1), MIB).await.is_ok() }
        });
        tokio::time::sleep(WAIT / 2).await;
        drop(held);
        assert!(waiting.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn unverified_bodies_leave_room_to_accounts() {
        let budget = budget();
        let mut held = Vec::new();
        for host in 0..=u8::MAX {
            let client = Client::Address([192, 0, 2, host].into());
            for bytes in [SMALL, 8 * MIB] {
                held.extend(budget.charge(Payer { client, is_unverified: true }, bytes).await);
            }
        }
        assert!(held.len() < 40, "{} charges", held.len());
        for id in 0..4 {
            held.push(budget.charge(account(id), 8 * MIB).await.unwrap());
            held.push(budget.charge(account(id), SMALL).await.unwrap());
        }
    }
}
