//! The ids of uploads, which for those that took in nothing yet are all there is.
//!
//! Most uploads of small content are begun and ended by two requests in a row. Writing down that one
//! has begun would cost a transaction. So the id itself says when that was, and is sealed, with a key
//! that outlives the process, for the repository, the account and the algorithm: after a restart,
//! the id that a client was told is known again for what it is, an upload of theirs that took in
//! nothing. An id that nobody was told cannot be made up.
//!
//! An id is a UUID of version 8 (RFC 9562 section 5.8): 32 bits of seconds since 1970, a counter of
//! 28 bits, and 62 bits of HMAC-SHA-256 over those and what they are sealed for.
//!
//! What an id cannot say is that its upload has ended. The process in which it ended knows. After a
//! restart it stands for an empty upload again until it expires, which is no more than its owner
//! would get by beginning another.

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

/// Gives out ids, and knows those that an earlier process gave out.
pub(crate) struct UploadIds {
    key: hmac::Key,
    /// When this process began to give out ids, in seconds since 1970.
    began: u32,
    /// The first number of the counter: not 0, so that two processes have different ones.
    first: u32,
    given: AtomicU32,
    /// Those of earlier processes that have ended since.
    ended: Mutex<HashSet<Uuid>>,
}

impl UploadIds {
    /// With the secret that all processes on one data directory share.
    pub(crate) fn new(secret: &[u8]) -> Self {
        let [a, b, c, d, ..] = *Uuid::new_v4().as_bytes();
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            began: seconds(),
            first: u32::from_be_bytes([a, b, c, d]),
            given: AtomicU32::new(0),
            ended: Mutex::default(),
        }
    }

    /// An id for an upload that begins now.
    pub(crate) fn give(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        algorithm: Algorithm,
    ) -> Uuid {
        let number = self.first.wrapping_add(self.given.fetch_add(1, Ordering::Relaxed));
        self.seal([seconds(), number & COUNTER], repository, account, algorithm)
    }

    /// The algorithm of an upload that an earlier process began with this id not longer ago than
    /// `expiry`; `None` if none did so for this repository and account, or it has ended since.
    pub(crate) fn recognise(
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

    /// Has an upload known to have ended.
    pub(crate) fn end(&self, id: Uuid) {
        if !self.is_ours(id) {
            self.ended().insert(id);
        }
    }

    /// Forgets what is not recognised any more anyway.
    pub(crate) fn forget_expired(&self, expiry: Duration) {
        self.ended().retain(|id| !has_expired(*id, expiry));
    }

    /// Whether this process gave it out.
    fn is_ours(&self, id: Uuid) -> bool {
        let [begun, number] = fields(id);
        begun >= self.began && number.wrapping_sub(self.first) & COUNTER < self.given.load(Ordering::Relaxed)
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
        // The version comes in the middle of the counter.
        let (high, low) = (number >> 12, number & 0xfff);
        id[4..8].copy_from_slice(&((high << 16) | low).to_be_bytes());
        let mut seal = hmac::Context::with_key(&self.key);
        seal.update(&id[..8]);
        // No name has a byte 0; without an account there is one more.
        for part in [algorithm.as_str(), repository.as_str()] {
            seal.update(part.as_bytes());
            seal.update(&[0]);
        }
        seal.update(account.map_or(&[0], |account| account.as_str().as_bytes()));
        id[8..].copy_from_slice(&seal.sign().as_ref()[..8]);
        Builder::from_custom_bytes(id).into_uuid()
    }
}

/// When an upload with such an id began, in seconds since 1970, and its number.
fn fields(id: Uuid) -> [u32; 2] {
    let (begun, high, low, _) = id.as_fields();
    [begun, (u32::from(high) << 12) | (u32::from(low) & 0xfff)]
}

fn seconds() -> u32 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// Whether an upload that took in nothing began longer ago than `expiry`.
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
    fn another_process_knows_an_id_for_what_it_is_and_for_nobody_else() {
        let (app, other, ann, bob) = names();
        let (earlier, now) = (UploadIds::new(b"secret"), UploadIds::new(b"secret"));
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let id = earlier.give(&app, Some(&ann), algorithm);
            assert_eq!(id.get_version_num(), 8);
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(now.recognise(id, &app, Some(&ann), DAY), Some(algorithm));
            for (repository, account) in [(&other, Some(&ann)), (&app, Some(&bob)), (&app, None)] {
                assert_eq!(now.recognise(id, repository, account, DAY), None);
            }
            assert_eq!(UploadIds::new(b"another").recognise(id, &app, Some(&ann), DAY), None);
            let nobodys = earlier.give(&app, None, algorithm);
            assert_eq!(now.recognise(nobodys, &app, None, DAY), Some(algorithm));
            assert_eq!(now.recognise(nobodys, &app, Some(&ann), DAY), None);
        }
    }

    #[test]
    fn what_is_changed_or_made_up_is_no_id() {
        let (app, _, ann, _) = names();
        let (earlier, now) = (UploadIds::new(b"secret"), UploadIds::new(b"secret"));
        let id = earlier.give(&app, Some(&ann), Algorithm::Sha256);
        for bit in 0..128 {
            let changed = Uuid::from_u128(id.as_u128() ^ (1 << bit));
            assert_eq!(now.recognise(changed, &app, Some(&ann), DAY), None, "bit {bit}");
        }
        assert_eq!(now.recognise(Uuid::new_v4(), &app, Some(&ann), DAY), None);
    }

    #[test]
    fn what_a_process_gave_out_itself_it_need_not_recognise() {
        let (app, ..) = names();
        let ids = UploadIds::new(b"secret");
        let given: Vec<Uuid> = (0..10_000).map(|_| ids.give(&app, None, Algorithm::Sha256)).collect();
        assert!(given.iter().all(|id| ids.recognise(*id, &app, None, DAY).is_none()));
        let distinct: std::collections::HashSet<&Uuid> = given.iter().collect();
        assert_eq!(distinct.len(), given.len());
    }

    #[test]
    fn what_has_ended_is_not_recognised_again() {
        let (app, ..) = names();
        let (earlier, now) = (UploadIds::new(b"secret"), UploadIds::new(b"secret"));
        let id = earlier.give(&app, None, Algorithm::Sha256);
        now.end(id);
        now.forget_expired(DAY);
        assert_eq!(now.recognise(id, &app, None, DAY), None);
        now.end(now.give(&app, None, Algorithm::Sha256));
        assert_eq!(now.ended().len(), 1, "its own it need not note");
        let old = earlier.seal([seconds() - 100, 1], &app, None, Algorithm::Sha256);
        now.end(old);
        now.forget_expired(Duration::from_secs(50));
        assert!(!now.ended().contains(&old));
    }

    #[test]
    fn an_id_expires() {
        let (app, ..) = names();
        let (earlier, now) = (UploadIds::new(b"secret"), UploadIds::new(b"secret"));
        let begun = seconds() - 100;
        let id = earlier.seal([begun, 1], &app, None, Algorithm::Sha256);
        assert_eq!(now.recognise(id, &app, None, Duration::from_secs(90)), None);
        assert!(has_expired(id, Duration::from_secs(90)));
        assert!(now.recognise(id, &app, None, Duration::from_secs(200)).is_some());
        assert!(!has_expired(id, Duration::from_secs(200)));
    }
}
