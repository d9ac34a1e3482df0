//! Login throttle: a rate limit on wrong passwords, by pair of account and client network.
//!
//! A pair over its limit is delayed, and refused only if too many attempts wait. An attacker therefore locks
//! nobody out: the owner's network is another pair. A second limit counts all accounts of a network, against
//! one password tried on many names. It only delays, and only accounts that have not signed in from that
//! network. Each attempt counts before its password is verified and is refunded if the password is right, so
//! that parallel attempts all count.
//!
//! Bearer and personal tokens cannot be guessed. Wrong ones are limited by network to protect the audit log
//! and the database. Valid ones are never delayed.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use accounts::AccountName;
use quick_cache::unsync::Cache;

/// The capacity of each LRU map.
const ENTRIES: usize = 16_384;
/// The maximum number of delayed attempts of one network.
const WAITING: usize = 16;
/// The retry interval of a network with [`WAITING`] delayed attempts.
const RETRY_WHEN_FULL: Duration = Duration::from_secs(1);

/// A rate limit: `burst` events at once, and then one in each interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// The number of events allowed at once.
    pub burst: u32,
    /// The interval after which one more event is allowed.
    pub every: Duration,
}

/// The rate limits on sign-in and registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleLimits {
    /// Wrong passwords for one account from one network.
    pub pair: RateLimit,
    /// Wrong passwords from one network for accounts that have not signed in from it.
    pub network: RateLimit,
    /// Wrong tokens from one network.
    pub tokens: RateLimit,
    /// Registrations from one network.
    pub registrations: RateLimit,
    /// The maximum delay of an attempt. Docker gives up after 15 s.
    pub longest_wait: Duration,
}

impl Default for ThrottleLimits {
    fn default() -> Self {
        let limit = |burst, seconds| RateLimit { burst, every: Duration::from_secs(seconds) };
        Self {
            pair: limit(10, 10),
            network: limit(100, 1),
            tokens: limit(200, 1),
            registrations: limit(5, 600),
            longest_wait: Duration::from_secs(10),
        }
    }
}

/// The client's network: an IPv4 address, or the /64 of an IPv6 address, because one client usually owns the
/// whole prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Network(u128);

impl Network {
    pub(super) const fn bits(self) -> u128 {
        self.0
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(u128::from(address.to_bits())),
            IpAddr::V6(address) => Self(address.to_bits() >> 64 << 64),
        }
    }
}

/// The theoretical arrival time of the generic cell rate algorithm: when all counted events have drained.
type ArrivalTime = Instant;

/// Too many wrong passwords, tokens or registrations.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany {
    pub retry_after: Duration,
}

impl RateLimit {
    /// Counts one event. Returns the new state, and the time by which the event exceeds the limit.
    fn count(self, drained: Option<ArrivalTime>, now: Instant) -> (ArrivalTime, Duration) {
        let drained = drained.map_or(now, |drained| drained.max(now));
        let room = self.every * self.burst.saturating_sub(1);
        (drained + self.every, (drained - now).saturating_sub(room))
    }

    fn refund(self, drained: ArrivalTime) -> ArrivalTime {
        drained.checked_sub(self.every).unwrap_or(drained)
    }
}

#[derive(Clone, Copy)]
struct Pair {
    drained: ArrivalTime,
    /// Whether the account has signed in from this network.
    is_known: bool,
}

struct OfNetwork {
    drained: ArrivalTime,
    waiting: Arc<AtomicUsize>,
}

struct Counted {
    pairs: Cache<(AccountName, Network), Pair>,
    networks: Cache<Network, OfNetwork>,
    tokens: Cache<Network, ArrivalTime>,
    registrations: Cache<Network, ArrivalTime>,
}

pub(super) struct LoginThrottle {
    limits: ThrottleLimits,
    counted: Mutex<Counted>,
}

pub(super) struct Attempt {
    account: AccountName,
    network: Network,
    was_known: bool,
    /// The delay before the password is verified.
    pub wait: Duration,
    /// Counts as a delayed attempt of the network until it is dropped.
    _waiting: Option<Waiting>,
}

struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl LoginThrottle {
    pub(super) fn new(limits: ThrottleLimits) -> Self {
        let counted = Counted {
            pairs: Cache::new(ENTRIES),
            networks: Cache::new(ENTRIES),
            tokens: Cache::new(ENTRIES),
            registrations: Cache::new(ENTRIES),
        };
        Self { limits, counted: Mutex::new(counted) }
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an attempt to sign in with a password.
    ///
    /// # Errors
    /// If too many attempts wait already.
    pub(super) fn attempt(
        &self,
        account: &AccountName,
        address: IpAddr,
        now: Instant,
    ) -> Result<Attempt, TooMany> {
        let network = Network::from(address);
        let key = (account.clone(), network);
        let mut counted = self.counted();
        let before = counted.pairs.get(&key).copied();
        let was_known = before.is_some_and(|pair| pair.is_known);
        let (drained, over) = self.limits.pair.count(before.map(|pair| pair.drained), now);
        if let Some(retry_after) = over.checked_sub(self.limits.longest_wait).filter(|time| !time.is_zero()) {
            return Err(TooMany { retry_after });
        }
        let mut wait = over;
        let mut waiting = None;
        if !was_known {
            let before = counted.networks.get(&network);
            let (drained, over) = self.limits.network.count(before.map(|network| network.drained), now);
            let places = before.map(|network| network.waiting.clone()).unwrap_or_default();
            if !over.is_zero() {
                let place = Waiting(places.clone());
                if places.fetch_add(1, Ordering::Relaxed) >= WAITING {
                    return Err(TooMany { retry_after: RETRY_WHEN_FULL });
                }
                waiting = Some(place);
                wait = wait.max(over.min(self.limits.longest_wait));
            }
            // Caps the backlog, so that a network recovers as soon as the guessing stops.
            let room = self.limits.network.every * self.limits.network.burst;
            let drained = drained.min(now + room + self.limits.longest_wait);
            counted.networks.insert(network, OfNetwork { drained, waiting: places });
        }
        counted.pairs.insert(key, Pair { drained, is_known: was_known });
        Ok(Attempt { account: account.clone(), network, was_known, wait, _waiting: waiting })
    }

    /// Refunds an attempt whose password was right or was not verified.
    pub(super) fn refund(&self, attempt: &Attempt) {
        let mut counted = self.counted();
        if let Some(mut pair) = counted.pairs.get_mut(&(attempt.account.clone(), attempt.network)) {
            pair.drained = self.limits.pair.refund(pair.drained);
        }
        if !attempt.was_known
            && let Some(mut network) = counted.networks.get_mut(&attempt.network)
        {
            network.drained = self.limits.network.refund(network.drained);
        }
    }

    /// Refunds a successful attempt. From now on the account is known from this network.
    pub(super) fn succeeded(&self, attempt: &Attempt) {
        self.refund(attempt);
        let key = (attempt.account.clone(), attempt.network);
        if let Some(mut pair) = self.counted().pairs.get_mut(&key) {
            pair.is_known = true;
        }
    }

    /// Counts a wrong token.
    pub(super) fn wrong_token(&self, address: IpAddr, now: Instant) -> Result<(), TooMany> {
        count_in(&mut self.counted().tokens, self.limits.tokens, address, now)
    }

    /// Counts a registration.
    pub(super) fn registration(&self, address: IpAddr, now: Instant) -> Result<(), TooMany> {
        count_in(&mut self.counted().registrations, self.limits.registrations, address, now)
    }
}

/// Counts an event that is refused instead of delayed. Refused events do not count.
fn count_in(
    counted: &mut Cache<Network, ArrivalTime>,
    limit: RateLimit,
    address: IpAddr,
    now: Instant,
) -> Result<(), TooMany> {
    let network = Network::from(address);
    let (drained, over) = limit.count(counted.get(&network).copied(), now);
    if !over.is_zero() {
        return Err(TooMany { retry_after: over });
    }
    counted.insert(network, drained);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const LIMITS: ThrottleLimits = ThrottleLimits {
        pair: RateLimit { burst: 3, every: seconds(10) },
        network: RateLimit { burst: 6, every: seconds(5) },
        tokens: RateLimit { burst: 2, every: seconds(5) },
        registrations: RateLimit { burst: 1, every: seconds(60) },
        longest_wait: seconds(20),
    };

    fn name(name: &str) -> AccountName {
        name.parse().unwrap()
    }

    fn ip(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    /// The delays of `count` simultaneous attempts in seconds; `None` for a refused one.
    fn waits(
        throttle: &LoginThrottle,
        account: &str,
        address: &str,
        now: Instant,
        count: usize,
    ) -> Vec<Option<u64>> {
        let attempts: Vec<_> =
            (0..count).map(|_| throttle.attempt(&name(account), ip(address), now)).collect();
        attempts.iter().map(|attempt| attempt.as_ref().ok().map(|attempt| attempt.wait.as_secs())).collect()
    }

    #[test]
    fn pair_over_its_limit_waits_and_is_then_refused() {
        let throttle = LoginThrottle::new(LIMITS);
        let now = Instant::now();
        let expected = [Some(0), Some(0), Some(0), Some(10), Some(20), None, None];
        assert_eq!(waits(&throttle, "ann", "10.0.0.1", now, 7), expected);
        let refused = throttle.attempt(&name("ann"), ip("10.0.0.1"), now).err();
        assert_eq!(refused, Some(TooMany { retry_after: seconds(10) }));
        assert_eq!(
            waits(&throttle, "ann", "10.0.0.1", now + seconds(300), 4),
            [Some(0), Some(0), Some(0), Some(10)]
        );
    }

    #[test]
    fn guesses_do_not_delay_owner_in_other_network() {
        let throttle = LoginThrottle::new(LIMITS);
        let now = Instant::now();
        for stranger in ["10.9.9.9", "10.9.9.8", "2001:db8::1"] {
            while throttle.attempt(&name("ann"), ip(stranger), now).is_ok() {}
        }
        assert_eq!(waits(&throttle, "ann", "10.0.0.1", now, 1), [Some(0)]);
        assert_eq!(waits(&throttle, "ann", "2001:db8::2:3:4:5", now, 1), [None], "the same network");
        assert_eq!(waits(&throttle, "ann", "2001:db8:0:1::1", now, 1), [Some(0)]);
        assert_eq!(Network::from(ip("::ffff:10.0.0.1")), Network::from(ip("10.0.0.1")));
    }

    #[test]
    fn network_with_many_wrong_names_is_delayed_only() {
        let throttle = LoginThrottle::new(LIMITS);
        let now = Instant::now();
        let attempt = throttle.attempt(&name("ann"), ip("10.0.0.1"), now).unwrap();
        throttle.succeeded(&attempt);
        for index in 0..50 {
            let attempt = throttle.attempt(&name(&format!("user{index}")), ip("10.0.0.1"), now);
            assert!(attempt.is_ok_and(|attempt| attempt.wait <= LIMITS.longest_wait), "{index}");
        }
        assert_eq!(
            waits(&throttle, "ann", "10.0.0.1", now, 1),
            [Some(0)],
            "ann has signed in from this network"
        );
        let bob = throttle.attempt(&name("bob"), ip("10.0.0.1"), now).unwrap();
        assert_eq!(bob.wait, LIMITS.longest_wait);
        assert_eq!(waits(&throttle, "carl", "10.0.0.1", now + seconds(51), 1), [Some(0)]);
    }

    #[test]
    fn network_has_a_bounded_number_of_waiting_attempts() {
        let throttle = LoginThrottle::new(LIMITS);
        let now = Instant::now();
        let attempt = |index: usize| throttle.attempt(&name(&format!("user{index}")), ip("10.0.0.1"), now);
        let mut attempts: Vec<_> = (0..6 + WAITING).map(|index| attempt(index).unwrap()).collect();
        assert_eq!(attempt(1000).err(), Some(TooMany { retry_after: RETRY_WHEN_FULL }));
        attempts.pop();
        attempt(1001).unwrap();
    }

    #[test]
    fn right_passwords_are_not_counted() {
        let throttle = LoginThrottle::new(LIMITS);
        let now = Instant::now();
        for round in 0..20 {
            for (account, address) in [("ann", "10.0.0.1".to_owned()), ("bob", format!("10.0.1.{round}"))] {
                let attempt = throttle.attempt(&name(account), ip(&address), now).unwrap();
                assert_eq!(attempt.wait, Duration::ZERO);
                throttle.succeeded(&attempt);
            }
        }
    }

    #[test]
    fn wrong_tokens_are_refused_by_network() {
        let throttle = LoginThrottle::new(LIMITS);
        let now = Instant::now();
        throttle.wrong_token(ip("10.0.0.1"), now).unwrap();
        throttle.wrong_token(ip("10.0.0.1"), now).unwrap();
        assert_eq!(throttle.wrong_token(ip("10.0.0.1"), now), Err(TooMany { retry_after: seconds(5) }));
        throttle.wrong_token(ip("10.0.0.2"), now).unwrap();
        throttle.wrong_token(ip("10.0.0.1"), now + seconds(5)).unwrap();
        throttle.registration(ip("10.0.0.1"), now).unwrap();
        assert_eq!(throttle.registration(ip("10.0.0.1"), now), Err(TooMany { retry_after: seconds(60) }));
    }

    #[test]
    fn memory_stays_bounded_under_a_flood() {
        let throttle = LoginThrottle::new(ThrottleLimits::default());
        let now = Instant::now();
        for index in 0..3 * u32::try_from(ENTRIES).unwrap() {
            let address = IpAddr::from(index.to_be_bytes());
            throttle.attempt(&name(&format!("user{index}")), address, now).unwrap();
        }
        let counted = throttle.counted();
        assert!(counted.pairs.len() <= ENTRIES && counted.networks.len() <= ENTRIES);
    }
}
