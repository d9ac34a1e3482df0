//! The ledger of unfinished uploads: their owners and bytes, for quotas and for the limit on their number.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use accounts::AccountName;
use oci::RepositoryName;
use store::metadata::UnfinishedUpload;
use uuid::Uuid;

use super::ids::has_expired;

/// The maximum number of unfinished uploads of an account. Clients send a few at a time, and leave one behind
/// for each broken connection.
const MAX_UPLOADS: usize = 1_000;
/// The maximum number of all anonymous clients together.
const MAX_ANONYMOUS_UPLOADS: usize = 10_000;
/// At the maximum, the oldest upload that has begun before this time gives way to a new one. So
/// abandoned uploads do not lock out their owner until they expire.
const YIELDING_AGE: Duration = Duration::from_mins(10);

/// The maximum number of unfinished uploads of an account, or of anonymous clients.
pub(super) fn max_uploads(account: Option<&AccountName>) -> usize {
    if account.is_some() { MAX_UPLOADS } else { MAX_ANONYMOUS_UPLOADS }
}

/// All unfinished uploads, in memory or in the metadata.
pub(crate) struct Unfinished {
    uploads: Mutex<Uploads>,
}

#[derive(Default)]
struct Uploads {
    entries: HashMap<Uuid, Arc<Entry>>,
    /// The number of uploads of each account, and of anonymous clients.
    counts: HashMap<Option<AccountName>, usize>,
}

/// An unfinished upload.
pub(super) struct Entry {
    repository: RepositoryName,
    account: Option<AccountName>,
    bytes: AtomicU64,
}

impl Entry {
    /// Records the number of received bytes.
    pub(super) fn set_bytes(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}

impl Uploads {
    fn entry(&mut self, id: Uuid, repository: &RepositoryName, account: Option<&AccountName>) -> &Arc<Entry> {
        self.entries.entry(id).or_insert_with(|| {
            *self.counts.entry(account.cloned()).or_default() += 1;
            let (repository, account) = (repository.clone(), account.cloned());
            Arc::new(Entry { repository, account, bytes: AtomicU64::new(0) })
        })
    }

    fn remove(&mut self, id: Uuid) {
        let Some(entry) = self.entries.remove(&id) else { return };
        if let Some(count) = self.counts.get_mut(&entry.account) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&entry.account);
            }
        }
    }
}

impl Unfinished {
    /// Begins with the uploads of the metadata.
    pub(crate) fn new(stored: &[UnfinishedUpload]) -> Self {
        let mut uploads = Uploads::default();
        for upload in stored {
            uploads.entry(upload.id, &upload.repository, upload.account.as_ref()).set_bytes(upload.received);
        }
        Self { uploads: Mutex::new(uploads) }
    }

    fn lock(&self) -> MutexGuard<'_, Uploads> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an account, or an anonymous client, may begin another upload.
    pub(super) fn has_room(&self, account: Option<&AccountName>) -> bool {
        let maximum = max_uploads(account);
        self.lock().counts.get(&account.cloned()).is_none_or(|count| *count < maximum)
    }

    /// The oldest upload of an account, or of anonymous clients, that may give way to a new one.
    pub(super) fn yielding(&self, account: Option<&AccountName>) -> Option<(Uuid, RepositoryName)> {
        let uploads = self.lock();
        let own = uploads.entries.iter().filter(|(_, entry)| entry.account.as_ref() == account);
        // The ids begin with the time.
        let (id, entry) = own.min_by_key(|(id, _)| **id)?;
        has_expired(*id, YIELDING_AGE).then(|| (*id, entry.repository.clone()))
    }

    /// Returns the entry of an upload, which is inserted if it is missing.
    pub(super) fn entry(
        &self,
        id: Uuid,
        repository: &RepositoryName,
        account: Option<&AccountName>,
    ) -> Arc<Entry> {
        self.lock().entry(id, repository, account).clone()
    }

    pub(super) fn remove(&self, id: Uuid) {
        self.lock().remove(id);
    }

    /// Forgets empty uploads that are older than `expiry`. The metadata names the others.
    pub(super) fn expire(&self, expiry: Duration) {
        let mut uploads = self.lock();
        let empty = uploads.entries.iter().filter(|(_, entry)| entry.bytes.load(Ordering::Relaxed) == 0);
        let expired: Vec<Uuid> = empty.map(|(id, _)| *id).filter(|id| has_expired(*id, expiry)).collect();
        expired.into_iter().for_each(|id| uploads.remove(id));
    }

    /// The bytes of all uploads but one, with their repositories.
    pub(crate) fn others(&self, own: Option<Uuid>) -> Vec<(RepositoryName, u64)> {
        let uploads = self.lock();
        let others = uploads.entries.iter().filter(|(id, _)| Some(**id) != own);
        let bytes = others.map(|(_, entry)| (&entry.repository, entry.bytes.load(Ordering::Relaxed)));
        bytes.filter(|(_, bytes)| *bytes > 0).map(|(name, bytes)| (name.clone(), bytes)).collect()
    }
}

/// Removes an upload that one request receives as a whole when the request ends.
pub(super) struct Temporary<'a> {
    pub(super) unfinished: &'a Unfinished,
    pub(super) id: Uuid,
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        self.unfinished.remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_are_counted_for_each_account() {
        let unfinished = Unfinished::new(&[]);
        let app: RepositoryName = "team/app".parse().unwrap();
        let (ann, bob): (AccountName, AccountName) = ("ann".parse().unwrap(), "bob".parse().unwrap());
        // Of a time long ago, and of the end of the year 2105.
        let ids: Vec<Uuid> = (0..MAX_UPLOADS as u128).map(Uuid::from_u128).collect();
        let new = |number: usize| Uuid::from_u128(u128::MAX - number as u128);
        for id in &ids {
            assert!(unfinished.has_room(Some(&ann)));
            unfinished.entry(*id, &app, Some(&ann));
        }
        for number in 0..MAX_ANONYMOUS_UPLOADS {
            assert!(unfinished.has_room(None));
            unfinished.entry(new(number), &app, None);
        }
        assert!(!unfinished.has_room(None));
        assert_eq!(unfinished.yielding(None), None, "all of them are new");
        assert_eq!(unfinished.yielding(Some(&ann)), Some((ids[0], app.clone())));
        assert_eq!(unfinished.yielding(Some(&bob)), None);
        unfinished.entry(ids[0], &app, Some(&ann)).set_bytes(7);
        assert!(!unfinished.has_room(Some(&ann)));
        assert!(unfinished.has_room(Some(&bob)));
        assert_eq!(unfinished.others(None), [(app.clone(), 7)]);
        assert_eq!(unfinished.others(Some(ids[0])), []);
        unfinished.remove(ids[1]);
        unfinished.remove(ids[1]);
        assert!(unfinished.has_room(Some(&ann)));
    }
}
