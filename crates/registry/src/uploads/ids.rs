//! Upload ids. An empty upload exists only as its id.
//!
//! Most uploads of small content begin and end in two requests, and a database row for each begin would cost
//! a transaction. Instead the id holds its creation time and a MAC over repository, account and algorithm,
//! with a key that outlives the process. After a restart a valid id is an empty upload again. Clients cannot
//! forge ids.
//!
//! An id is a UUID of version 8 (RFC 9562 section 5.8). It has 32 bits of seconds since 1970, a counter of 28
//! bits, and 62 bits of HMAC-SHA-256 over these and the sealed values.
//!
//! The id does not show that its upload has ended; only the process that ended it remembers. After a restart
//! such an id is an empty upload until it expires, which gives its owner no more than a new upload would.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use accounts::AccountName;
use aws_lc_rs::hmac;
use oci::{Algorithm, RepositoryName};
use subtle::ConstantTimeEq;
use uuid::{Builder, Uuid};

const COUNTER: u32 = (1 << 28) - 1;

/// Issues ids, and verifies those of earlier processes.
pub(crate) struct UploadIds {
    key: hmac::Key,
    /// The start of this process in seconds since 1970.
    started: u32,
    /// The first value of the counter, random so that two processes in one second do not collide.
    first: u32,
    issued: AtomicU32,
    /// Ended uploads of earlier processes.
    ended: Mutex<HashSet<Uuid>>,
}

impl UploadIds {
    /// The secret belongs to the data directory, so all its processes share it.
    pub(crate) fn new(secret: &[u8]) -> Self {
        let [a, b, c, d, ..] = *Uuid::new_v4().as_bytes();
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            started: seconds(),
            first: u32::from_be_bytes([a, b, c, d]),
            issued: AtomicU32::new(0),
            ended: Mutex::default(),
        }
    }

    /// Issues an id for a new upload.
    pub(crate) fn issue(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        algorithm: Algorithm,
    ) -> Uuid {
        let number = self.first.wrapping_add(self.issued.fetch_add(1, Ordering::Relaxed));
        self.seal([seconds(), number & COUNTER], repository, account, algorithm)
    }

    /// Verifies an id of an earlier process and returns the algorithm of its upload. Returns `None` if the id
    /// is expired, ended, or not of this repository and account.
    pub(crate) fn verify(
        &self,
        id: Uuid,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        expiry: Duration,
    ) -> Option<Algorithm> {
        let [begun, number] = fields(id);
        if self.is_ours(id) || has_expired(id, expiry) || self.ended().contains(&id) {
            return None;
        }
        let is_sealed = |algorithm: &Algorithm| {
            let sealed = self.seal([begun, number], repository, account, *algorithm);
            sealed.as_bytes().ct_eq(id.as_bytes()).into()
        };
        [Algorithm::Sha256, Algorithm::Sha512].into_iter().find(is_sealed)
    }

    /// Records the end of an upload.
    pub(crate) fn end(&self, id: Uuid) {
        if !self.is_ours(id) {
            self.ended().insert(id);
        }
    }

    /// Forgets ended uploads whose ids have expired.
    pub(crate) fn forget_expired(&self, expiry: Duration) {
        self.ended().retain(|id| !has_expired(*id, expiry));
    }

    /// Whether this process issued the id.
    fn is_ours(&self, id: Uuid) -> bool {
        let [begun, number] = fields(id);
        begun >= self.started
            && number.wrapping_sub(self.first) & COUNTER < self.issued.load(Ordering::Relaxed)
    }

    fn ended(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seal(
        &self,
        [begun, number]: [u32; 2],
        repository: &RepositoryName,
        account: Option<&AccountName>,
        algorithm: Algorithm,
    ) -> Uuid {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&begun.to_be_bytes());
        // The version bits split the counter.
        let (high, low) = (number >> 12, number & 0xfff);
        id[4..8].copy_from_slice(&((high << 16) | low).to_be_bytes());
        let mut seal = hmac::Context::with_key(&self.key);
        seal.update(&id[..8]);
        // Zero bytes separate the values: no name contains one.
        for part in [algorithm.as_str(), repository.as_str()] {
            seal.update(part.as_bytes());
            seal.update(&[0]);
        }
        seal.update(account.map_or(&[0], |account| account.as_str().as_bytes()));
        id[8..].copy_from_slice(&seal.sign().as_ref()[..8]);
        Builder::from_custom_bytes(id).into_uuid()
    }
}

/// Returns the creation time in seconds since 1970, and the counter.
fn fields(id: Uuid) -> [u32; 2] {
    let (begun, high, low, _) = id.as_fields();
    [begun, (u32::from(high) << 12) | (u32::from(low) & 0xfff)]
}

fn seconds() -> u32 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// Whether an id is older than `expiry`.
pub(crate) fn has_expired(id: Uuid, expiry: Duration) -> bool {
    u64::from(seconds().saturating_sub(fields(id)[0])) > expiry.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn names() -> (RepositoryName, RepositoryName, AccountName, AccountName) {
        let [app, other] = ["team/app", "team/app-x"].map(|name| name.parse().unwrap());
        let [ann, bob] = ["ann", "bob"].map(|name| name.parse().unwrap());
        (app, other, ann, bob)
    }

    #[test]
    fn id_is_valid_after_restart_for_its_owner_only() {
        let (app, other, ann, bob) = names();
        let (earlier, now) = (UploadIds::new(b"secret"), UploadIds::new(b"secret"));
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let id = earlier.issue(&app, Some(&ann), algorithm);
            assert_eq!(id.get_version_num(), 8);
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(now.verify(id, &app, Some(&ann), DAY), Some(algorithm));
            for (repository, account) in [(&other, Some(&ann)), (&app, Some(&bob)), (&app, None)] {
                assert_eq!(now.verify(id, repository, account, DAY), None);
            }
            assert_eq!(UploadIds::new(b"another").verify(id, &app, Some(&ann), DAY), None);
            let anonymous = earlier.issue(&app, None, algorithm);
            assert_eq!(now.verify(anonymous, &app, None, DAY), Some(algorithm));
            assert_eq!(now.verify(anonymous, &app, Some(&ann), DAY), None);
        }
    }

    #[test]
    fn altered_or_random_id_is_refused() {
        let (app, _, ann, _) = names();
        let (earlier, now) = (UploadIds::new(b"secret"), UploadIds::new(b"secret"));
        let id = earlier.issue(&app, Some(&ann), Algorithm::Sha256);
        for bit in 0..128 {
            let changed = Uuid::from_u128(id.as_u128() ^ (1 << bit));
            assert_eq!(now.verify(changed, &app, Some(&ann), DAY), None, "bit {bit}");
        }
        assert_eq!(now.verify(Uuid::new_v4(), &app, Some(&ann), DAY), None);
    }

    #[test]
    fn own_ids_are_distinct_and_not_verified() {
        let (app, ..) = names();
        let ids = UploadIds::new(b"secret");
        let given: Vec<Uuid> = (0..10_000).map(|_| ids.issue(&app, None, Algorithm::Sha256)).collect();
        assert!(given.iter().all(|id| ids.verify(*id, &app, None, DAY).is_none()));
        let distinct: std::collections::HashSet<&Uuid> = given.iter().collect();
        assert_eq!(distinct.len(), given.len());
    }

    #[test]
    fn ended_id_is_refused() {
        let (app, ..) = names();
        let (earlier, now) = (UploadIds::new(b"secret"), UploadIds::new(b"secret"));
        let id = earlier.issue(&app, None, Algorithm::Sha256);
        now.end(id);
        now.forget_expired(DAY);
        assert_eq!(now.verify(id, &app, None, DAY), None);
        now.end(now.issue(&app, None, Algorithm::Sha256));
        assert_eq!(now.ended().len(), 1, "own ids are not recorded");
        let old = earlier.seal([seconds() - 100, 1], &app, None, Algorithm::Sha256);
        now.end(old);
        now.forget_expired(Duration::from_secs(50));
        assert!(!now.ended().contains(&old));
    }

    #[test]
    fn id_expires() {
        let (app, ..) = names();
        let (earlier, now) = (UploadIds::new(b"secret"), UploadIds::new(b"secret"));
        let begun = seconds() - 100;
        let id = earlier.seal([begun, 1], &app, None, Algorithm::Sha256);
        assert_eq!(now.verify(id, &app, None, Duration::from_secs(90)), None);
        assert!(has_expired(id, Duration::from_secs(90)));
        assert!(now.verify(id, &app, None, Duration::from_secs(200)).is_some());
        assert!(!has_expired(id, Duration::from_secs(200)));
    }
}
