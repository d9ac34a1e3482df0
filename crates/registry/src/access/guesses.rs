//! What guessing passwords costs: after so many wrong ones, the next are not even looked at.
//!
//! Counted are wrong passwords, by address (of IPv6 its network of 64 bits) and by account. Where
//! an account has signed in before from an address, only what comes for it from there counts: a
//! stranger who guesses locks nobody out of where they usually are, and neither does a neighbour
//! behind the same address. Each attempt is counted before it is looked at and taken back when it
//! was right, so that many at once are not many for one. Personal tokens and bearer tokens are not
//! counted: they cannot be guessed.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use quick_cache::unsync::Cache;
use store::accounts::AccountName;

/// Addresses, accounts, and pairs of them that are kept track of, each.
const ENTRIES: usize = 16_384;

/// How many wrong passwords may follow each other, and how long until one more may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuessLimit {
    /// At once.
    pub burst: u32,
    /// Until one more.
    pub every: Duration,
}

/// The limits on guessing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuessLimits {
    /// From one address, for all accounts together.
    pub address: GuessLimit,
    /// For one account, from all addresses together.
    pub account: GuessLimit,
    /// For one account from an address from which it has signed in.
    pub known: GuessLimit,
}

impl Default for GuessLimits {
    fn default() -> Self {
        let every = Duration::from_secs;
        Self {
            address: GuessLimit { burst: 50, every: every(6) },
            account: GuessLimit { burst: 20, every: every(30) },
            known: GuessLimit { burst: 20, every: every(10) },
        }
    }
}

/// An address, or the network of it that one customer has.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
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

/// When, at the rate of the limit, everything that was counted will have been forgotten.
type Settled = Instant;

pub(super) struct Guesses {
    limits: GuessLimits,
    counted: Mutex<Counted>,
}

struct Counted {
    addresses: Cache<Network, Settled>,
    accounts: Cache<AccountName, Settled>,
    known: Cache<(AccountName, Network), Settled>,
}

/// An attempt that has been counted.
pub(super) struct Attempt {
    account: AccountName,
    network: Network,
    was_known: bool,
}

/// Too many wrong passwords.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany {
    pub retry_after: Duration,
}

impl GuessLimit {
    /// Counts one more, unless that were too many.
    fn count(self, settled: Option<Settled>, now: Instant) -> Result<Settled, TooMany> {
        let settled = settled.map_or(now, |settled| settled.max(now));
        let room = self.every * self.burst.saturating_sub(1);
        match (settled - now).checked_sub(room) {
            None | Some(Duration::ZERO) => Ok(settled + self.every),
            Some(retry_after) => Err(TooMany { retry_after }),
        }
    }

    fn take_back(self, settled: Settled) -> Settled {
        settled.checked_sub(self.every).unwrap_or(settled)
    }
}

impl Guesses {
    pub(super) fn new(limits: GuessLimits) -> Self {
        let counted = Counted {
            addresses: Cache::new(ENTRIES),
            accounts: Cache::new(ENTRIES),
            known: Cache::new(ENTRIES),
        };
        Self { limits, counted: Mutex::new(counted) }
    }

    /// Counts an attempt, to be taken back if it is right.
    pub(super) fn attempt(
        &self,
        account: &AccountName,
        address: IpAddr,
        now: Instant,
    ) -> Result<Attempt, TooMany> {
        let network = Network::from(address);
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = (account.clone(), network);
        let known = counted.known.get(&pair).copied();
        if let Some(settled) = known {
            let settled = self.limits.known.count(Some(settled), now)?;
            counted.known.insert(pair, settled);
        } else {
            // Both are looked at before either is counted.
            let by_address = self.limits.address.count(counted.addresses.get(&network).copied(), now)?;
            let by_account = self.limits.account.count(counted.accounts.get(account).copied(), now)?;
            counted.addresses.insert(network, by_address);
            counted.accounts.insert(account.clone(), by_account);
        }
        Ok(Attempt { account: account.clone(), network, was_known: known.is_some() })
    }

    /// The attempt was right, or was not looked at.
    pub(super) fn take_back(&self, attempt: &Attempt) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = &mut *counted;
        if attempt.was_known {
            if let Some(mut settled) = counted.known.get_mut(&(attempt.account.clone(), attempt.network)) {
                *settled = self.limits.known.take_back(*settled);
            }
            return;
        }
        if let Some(mut settled) = counted.addresses.get_mut(&attempt.network) {
            *settled = self.limits.address.take_back(*settled);
        }
        if let Some(mut settled) = counted.accounts.get_mut(&attempt.account) {
            *settled = self.limits.account.take_back(*settled);
        }
    }

    /// The attempt was right: from there the account is known from now on.
    pub(super) fn right(&self, attempt: &Attempt, now: Instant) {
        self.take_back(attempt);
        if !attempt.was_known {
            let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
            counted.known.insert((attempt.account.clone(), attempt.network), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: GuessLimits = GuessLimits {
        address: GuessLimit { burst: 6, every: Duration::from_secs(10) },
        account: GuessLimit { burst: 3, every: Duration::from_secs(30) },
        known: GuessLimit { burst: 2, every: Duration::from_secs(5) },
    };

    fn name(name: &str) -> AccountName {
        name.parse().unwrap()
    }

    fn ip(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    #[test]
    fn after_so_many_wrong_passwords_an_account_is_guessed_at_slowly() {
        let guesses = Guesses::new(LIMITS);
        let now = Instant::now();
        for address in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
            assert!(guesses.attempt(&name("ann"), ip(address), now).is_ok());
        }
        let refused = guesses.attempt(&name("ann"), ip("10.0.0.4"), now).err();
        assert_eq!(refused, Some(TooMany { retry_after: Duration::from_secs(30) }));
        assert!(guesses.attempt(&name("bob"), ip("10.0.0.4"), now).is_ok(), "others are not concerned");
        let later = now + Duration::from_secs(30);
        assert!(guesses.attempt(&name("ann"), ip("10.0.0.4"), later).is_ok());
        assert!(guesses.attempt(&name("ann"), ip("10.0.0.4"), later).is_err());
    }

    #[test]
    fn an_address_that_guesses_is_stopped_whatever_account_it_tries() {
        let guesses = Guesses::new(LIMITS);
        let now = Instant::now();
        for index in 0..6 {
            assert!(guesses.attempt(&name(&format!("user{index}")), ip("2001:db8::1"), now).is_ok());
        }
        assert!(guesses.attempt(&name("other"), ip("2001:db8::1"), now).is_err());
        assert!(guesses.attempt(&name("other"), ip("2001:db8::2:3:4:5"), now).is_err(), "the same network");
        assert!(guesses.attempt(&name("other"), ip("2001:db8:0:1::1"), now).is_ok(), "another network");
        assert!(guesses.attempt(&name("third"), ip("10.0.0.1"), now).is_ok());
        let mapped: IpAddr = ip("::ffff:10.0.0.1");
        assert!(Network::from(mapped) == Network::from(ip("10.0.0.1")));
    }

    #[test]
    fn a_stranger_locks_nobody_out_of_where_they_usually_are() {
        let guesses = Guesses::new(LIMITS);
        let now = Instant::now();
        let (home, elsewhere) = (ip("10.0.0.1"), ip("10.9.9.9"));
        let attempt = guesses.attempt(&name("ann"), home, now).unwrap();
        guesses.right(&attempt, now);
        while guesses.attempt(&name("ann"), elsewhere, now).is_ok() {}
        let attempt = guesses.attempt(&name("ann"), home, now).unwrap();
        guesses.right(&attempt, now);
        // A neighbour behind her address does not either.
        for index in 0.. {
            if guesses.attempt(&name(&format!("user{index}")), home, now).is_err() {
                break;
            }
        }
        assert!(guesses.attempt(&name("ann"), home, now).is_ok());
        // Yet guessing at her from there is limited as well.
        assert!(guesses.attempt(&name("ann"), home, now).is_ok());
        assert!(guesses.attempt(&name("ann"), home, now).is_err());
    }

    #[test]
    fn right_passwords_are_not_counted_however_many() {
        let guesses = Guesses::new(LIMITS);
        let now = Instant::now();
        for round in 0..20 {
            let attempt = guesses.attempt(&name("ann"), ip("10.0.0.1"), now).unwrap();
            guesses.right(&attempt, now);
            let attempt = guesses.attempt(&name("bob"), ip(&format!("10.0.1.{round}")), now).unwrap();
            guesses.right(&attempt, now);
        }
        assert!(guesses.attempt(&name("bob"), ip("10.0.2.1"), now).is_ok());
    }

    #[test]
    fn many_attempts_at_once_are_counted_before_any_is_answered() {
        let guesses = Guesses::new(LIMITS);
        let now = Instant::now();
        let attempts: Vec<_> =
            (0..50).filter_map(|_| guesses.attempt(&name("ann"), ip("10.0.0.1"), now).ok()).collect();
        assert_eq!(attempts.len(), 3);
    }

    #[test]
    fn a_flood_of_names_and_addresses_stays_in_bounds() {
        let guesses = Guesses::new(GuessLimits::default());
        let now = Instant::now();
        for index in 0..3 * u32::try_from(ENTRIES).unwrap() {
            let address = IpAddr::from(index.to_be_bytes());
            assert!(guesses.attempt(&name(&format!("user{index}")), address, now).is_ok());
        }
        let counted = guesses.counted.lock().unwrap();
        assert!(counted.addresses.len() <= ENTRIES && counted.accounts.len() <= ENTRIES);
    }
}
