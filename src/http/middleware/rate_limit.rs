//! Rate limits: requests and bandwidth per client address and per account.
//!
//! Each limit is a token bucket, stored as the time at which it is full again (generic cell rate algorithm,
//! GCRA), so that no timer refills it. The table is a bounded cache: an evicted client starts with a full
//! bucket.
//!
//! The crate `governor` has the same algorithm. It keeps each client until its caller removes it, so clients
//! could fill the memory. It also refuses an amount above the burst, while bandwidth is charged after the
//! bytes have passed.

use std::convert::Infallible;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::time::{Instant, Sleep, sleep};

pub(crate) use crate::client_network::client_network;
use crate::config::Limits;
use crate::http::middleware::bucket::Bucket;

/// The capacity of the table, in clients.
const CLIENTS: usize = 65_536;

/// The burst: this much time's worth of requests may come at once, for pushes of many layers and starting
/// clusters.
const BURST: Duration = Duration::from_secs(10);
/// The minimum chunk, whatever the bandwidth limit.
const SMALLEST_CHUNK: usize = 4096;

const NANOSECONDS: u64 = 1_000_000_000;

/// The holder of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    /// A network, as [`client_network`] returns it.
    Address(IpAddr),
    /// The id of an account.
    Account(i64),
}

pub(crate) struct RateLimits {
    requests_per_address: Option<RateLimit>,
    requests_per_account: Option<RateLimit>,
    bandwidth_per_address: Option<Arc<RateLimit>>,
    bandwidth_per_account: Option<Arc<RateLimit>>,
}

impl RateLimits {
    pub(crate) fn new(limits: &Limits) -> Self {
        let requests = |rate: Option<usize>| RateLimit::new(rate.unwrap_or(0) as u64, BURST);
        let bandwidth =
            |rate: Option<u64>| RateLimit::new(rate.unwrap_or(0), Duration::from_secs(1)).map(Arc::new);
        Self {
            requests_per_address: requests(limits.requests_per_address),
            requests_per_account: requests(limits.requests_per_account),
            bandwidth_per_address: bandwidth(limits.bandwidth_per_address),
            bandwidth_per_account: bandwidth(limits.bandwidth_per_account),
        }
    }

    /// Charges a request.
    ///
    /// # Errors
    /// How long the client should wait before the next.
    pub(crate) fn request(&self, client: Client) -> Result<(), Duration> {
        let rate_limit = match client {
            Client::Address(_) => &self.requests_per_address,
            Client::Account(_) => &self.requests_per_account,
        };
        rate_limit.as_ref().map_or(Ok(()), |rate_limit| rate_limit.take(client))
    }

    /// Returns the bandwidth limits for the bodies of a client, if there are any.
    pub(crate) fn throttle(&self, address: IpAddr, account: Option<i64>) -> Option<Box<Throttle>> {
        let by_address =
            self.bandwidth_per_address.clone().map(|limit| (limit, Client::Address(client_network(address))));
        let account = account.map(Client::Account);
        let by_account = self.bandwidth_per_account.clone().zip(account);
        let shares: Vec<Share> = by_address
            .into_iter()
            .chain(by_account)
            .map(|(limit, client)| Share { bucket: limit.bucket(client), limit })
            .collect();
        (!shares.is_empty()).then(|| Box::new(Throttle { shares, timer: None }))
    }
}

/// The bandwidth limits of one body, shared with other transfers of the client.
pub(crate) struct Throttle {
    shares: Vec<Share>,
    timer: Option<Pin<Box<Sleep>>>,
}

struct Share {
    limit: Arc<RateLimit>,
    bucket: Arc<Bucket>,
}

impl Throttle {
    /// Ready when the next chunk may pass.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(timer) = &mut self.timer {
                ready!(timer.as_mut().poll(cx));
                self.timer = None;
            }
            let wait = self.shares.iter().map(|share| share.limit.wait(&share.bucket)).max();
            match wait {
                Some(wait) if !wait.is_zero() => self.timer = Some(Box::pin(sleep(wait))),
                _ => return Poll::Ready(()),
            }
        }
    }

    /// Returns the maximum chunk. Small chunks make a low rate steady.
    pub(crate) fn chunk_size(&self) -> usize {
        let slowest = self.shares.iter().map(|share| share.limit.rate.get()).min().unwrap_or(u64::MAX);
        usize::try_from(slowest / 8).unwrap_or(usize::MAX).max(SMALLEST_CHUNK)
    }

    /// Charges bytes that passed.
    pub(crate) fn passed(&self, bytes: usize) {
        for share in &self.shares {
            share.limit.spend(&share.bucket, bytes as u64);
        }
    }
}

/// The buckets of one limit.
struct RateLimit {
    /// Units per second.
    rate: NonZeroU64,
    /// The time to fill a bucket.
    depth: Duration,
    begun: Instant,
    buckets: Cache<Client, Arc<Bucket>>,
}

impl RateLimit {
    /// Makes a limit of `rate` units per second, with bursts of `depth`. Returns `None` if the rate is 0.
    fn new(rate: u64, depth: Duration) -> Option<Self> {
        let rate = NonZeroU64::new(rate)?;
        Some(Self { rate, depth, begun: Instant::now(), buckets: Cache::new(CLIENTS) })
    }

    fn bucket(&self, client: Client) -> Arc<Bucket> {
        let Ok(bucket) = self.buckets.get_or_insert_with(&client, || Ok::<_, Infallible>(Arc::default()));
        bucket
    }

    /// Returns the time in which the bucket gains `amount`, in nanoseconds.
    fn cost(&self, amount: u64) -> u64 {
        let cost = u128::from(amount) * u128::from(NANOSECONDS) / u128::from(self.rate.get());
        u64::try_from(cost).unwrap_or(u64::MAX)
    }

    fn now(&self) -> u64 {
        nanoseconds(self.begun.elapsed())
    }

    /// Takes one unit, if the bucket has one.
    ///
    /// # Errors
    /// How long to wait until there is one in it.
    fn take(&self, client: Client) -> Result<(), Duration> {
        let taken = self.bucket(client).take(self.now(), self.cost(1), nanoseconds(self.depth));
        taken.map_err(Duration::from_nanos)
    }

    /// Takes `amount`, even if the bucket has less.
    fn spend(&self, bucket: &Bucket, amount: u64) {
        bucket.spend(self.now(), self.cost(amount));
    }

    /// Returns the time until the bucket has a unit.
    fn wait(&self, bucket: &Bucket) -> Duration {
        Duration::from_nanos(bucket.wait(self.now(), nanoseconds(self.depth)))
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn burst_is_followed_by_the_rate() {
        let rate_limit = RateLimit::new(10, Duration::from_secs(2)).unwrap();
        let taken = |client: i64| rate_limit.take(Client::Account(client));
        for _ in 0..20 {
            assert_eq!(taken(1), Ok(()));
        }
        assert_eq!(taken(1), Err(Duration::from_millis(100)));
        assert_eq!(taken(2), Ok(()), "each has a bucket of its own");
        advance(Duration::from_millis(250)).await;
        assert_eq!((taken(1), taken(1)), (Ok(()), Ok(())));
        assert_eq!(taken(1), Err(Duration::from_millis(50)));
        advance(Duration::from_secs(3600)).await;
        let after_an_hour = (0..100).filter(|_| taken(1).is_ok()).count();
        assert_eq!(after_an_hour, 20, "a bucket is never more than full");
    }

    #[tokio::test(start_paused = true)]
    async fn spent_bandwidth_delays_the_next_chunk() {
        let rate_limit = RateLimit::new(1000, Duration::from_secs(1)).unwrap();
        let bucket = rate_limit.bucket(Client::Account(1));
        rate_limit.spend(&bucket, 500);
        assert_eq!(rate_limit.wait(&bucket), Duration::ZERO);
        rate_limit.spend(&bucket, 10_000);
        assert_eq!(rate_limit.wait(&bucket), Duration::from_millis(9500));
        advance(Duration::from_millis(9000)).await;
        assert_eq!(rate_limit.wait(&bucket), Duration::from_millis(500));
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_of_one_client_share_the_limit() {
        let limits = Limits { bandwidth_per_account: Some(80_000), ..Limits::default() };
        let rate_limits = RateLimits::new(&limits);
        let address = IpAddr::from([192, 0, 2, 1]);
        assert!(rate_limits.throttle(address, None).is_none());
        let mut paces = [1, 1].map(|account| rate_limits.throttle(address, Some(account)).unwrap());
        assert_eq!(paces[0].chunk_size(), 10_000);
        let begun = Instant::now();
        for _ in 0..50 {
            for throttle in &mut paces {
                std::future::poll_fn(|cx| throttle.poll_ready(cx)).await;
                throttle.passed(10_000);
            }
        }
        // A million bytes, less the second's worth that a full bucket has.
        let seconds = begun.elapsed().as_secs_f64();
        assert!((11.0..12.0).contains(&seconds), "{seconds}");
    }

    #[test]
    fn rate_zero_is_no_limit() {
        assert!(RateLimit::new(0, Duration::ZERO).is_none());
    }
}
