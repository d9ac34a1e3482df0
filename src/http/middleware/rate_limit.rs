//! Allowances: how much each client may ask for in a time, counted by address and by account.
//!
//! Each is a bucket that fills at a steady rate, kept as the one number that says when it will be full (the generic
//! cell rate algorithm): nothing has to run for it. The table is bounded; a client that was not seen for long is
//! forgotten, and its bucket is full again, as it would be anyway.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::time::{Instant, Sleep, sleep};

use crate::config::Limits;

/// Clients that are kept in mind. Those beyond push out the ones that were not seen for longest.
const CLIENTS: usize = 65_536;

/// Requests come in bursts: a push of many layers, a cluster that starts. So many seconds' worth may come at once.
const BURST: Duration = Duration::from_secs(10);
/// A limit of bandwidth that is smaller than any sense still lets bytes pass by the kilobyte.
const SMALLEST_CHUNK: usize = 4096;

const NANOSECONDS: u64 = 1_000_000_000;

/// Whose allowance it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    /// That of an address, as [`client_network`] has it.
    Address(IpAddr),
    /// That of an account, by its id.
    Account(i64),
}

/// Every allowance that the operator set.
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

    /// Counts a request.
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

    /// The pace at which bodies go to and from a client; `None` if there is no limit.
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

/// What one body shares with the other transfers of the same client.
pub(crate) struct Throttle {
    shares: Vec<Share>,
    timer: Option<Pin<Box<Sleep>>>,
}

struct Share {
    limit: Arc<RateLimit>,
    bucket: Arc<Bucket>,
}

impl Throttle {
    /// Ready when something may pass.
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

    /// How many bytes may pass at once: so few that a slow pace is steady, and does not come in gulps.
    pub(crate) fn chunk_size(&self) -> usize {
        let slowest = self.shares.iter().map(|share| share.limit.rate.get()).min().unwrap_or(u64::MAX);
        usize::try_from(slowest / 8).unwrap_or(usize::MAX).max(SMALLEST_CHUNK)
    }

    /// Notes that so many bytes passed.
    pub(crate) fn passed(&self, bytes: usize) {
        for share in &self.shares {
            share.limit.spend(&share.bucket, bytes as u64);
        }
    }
}

/// One allowance for each client.
struct RateLimit {
    /// How many things a second; a table that bounds nothing is not made.
    rate: NonZeroU64,
    /// How long a bucket takes to fill.
    depth: Duration,
    begun: Instant,
    buckets: Cache<Client, Arc<Bucket>>,
}

/// When the bucket is full again, in nanoseconds since the table was made.
#[derive(Debug, Default)]
struct Bucket(AtomicU64);

impl RateLimit {
    /// `rate` things a second, and as many at once as come together in `depth`; `None` if the rate is 0.
    fn new(rate: u64, depth: Duration) -> Option<Self> {
        let rate = NonZeroU64::new(rate)?;
        Some(Self { rate, depth, begun: Instant::now(), buckets: Cache::new(CLIENTS) })
    }

    fn bucket(&self, client: Client) -> Arc<Bucket> {
        let Ok(bucket) = self.buckets.get_or_insert_with(&client, || Ok::<_, Infallible>(Arc::default()));
        bucket
    }

    /// How long filling the bucket with `amount` takes.
    fn cost(&self, amount: u64) -> u64 {
        let cost = u128::from(amount) * u128::from(NANOSECONDS) / u128::from(self.rate.get());
        u64::try_from(cost).unwrap_or(u64::MAX)
    }

    fn now(&self) -> u64 {
        nanoseconds(self.begun.elapsed())
    }

    /// Takes one thing out of a client's bucket, if it is in it.
    ///
    /// # Errors
    /// How long to wait until there is one in it.
    fn take(&self, client: Client) -> Result<(), Duration> {
        let (now, cost, depth) = (self.now(), self.cost(1), nanoseconds(self.depth));
        let bucket = self.bucket(client);
        let taken = bucket.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full| {
            let full = full.max(now).saturating_add(cost);
            // One alone is always taken from a full bucket, however slowly it fills.
            (full - now <= depth.max(cost)).then_some(full)
        });
        taken.map(|_| ()).map_err(|full| {
            let full = full.max(now).saturating_add(cost);
            Duration::from_nanos((full - now).saturating_sub(depth.max(cost)))
        })
    }

    /// Takes `amount` out of a bucket, whether it is in it or not.
    fn spend(&self, bucket: &Bucket, amount: u64) {
        let (now, cost) = (self.now(), self.cost(amount));
        // The closure never refuses.
        let _ = bucket.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full| {
            Some(full.max(now).saturating_add(cost))
        });
    }

    /// How long to wait until there is something in a bucket.
    fn wait(&self, bucket: &Bucket) -> Duration {
        let spent = bucket.0.load(Ordering::Relaxed).saturating_sub(self.now());
        Duration::from_nanos(spent.saturating_sub(nanoseconds(self.depth)))
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// An address as far as it says who someone is: who has an IPv6 address has, as a rule, all of its /64.
pub(crate) fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_are_taken_at_once_and_then_at_the_rate() {
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
    async fn what_is_spent_is_waited_for() {
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
    async fn bodies_of_one_client_share_the_pace() {
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
    fn no_rate_is_no_bound() {
        assert!(RateLimit::new(0, Duration::ZERO).is_none());
    }

    #[test]
    fn a_network_counts_as_one() {
        let same =
            |a: &str, b: &str| client_network(a.parse().unwrap()) == client_network(b.parse().unwrap());
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(same("::ffff:1.2.3.4", "1.2.3.4"));
        assert!(!same("1.2.3.4", "1.2.3.5"));
    }
}
