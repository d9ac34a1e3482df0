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

/// The maximum number of unfinished uploads of an account. Clients send a few at a time, and leave one behind for each
/// broken connection.
pub(super) const MAX_UPLOADS: usize = 1_000;

/// All unfinished uploads, in memory or in the metadata.
pub(crate) struct Unfinished {
    uploads: Mutex<Uploads>,
}

#[derive(Default)]
struct Uploads {
    entries: HashMap<Uuid, Arc<Entry>>,
    /// The number of uploads of each account.
    counts: HashMap<AccountName, usize>,
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
            if let Some(account) = account {
                *self.counts.entry(account.clone()).or_default() += 1;
            }
            let (repository, account) = (repository.clone(), account.cloned());
            Arc::new(Entry { repository, account, bytes: AtomicU64::new(0) })
        })
    }

    fn remove(&mut self, id: Uuid) {
        let Some(entry) = self.entries.remove(&id) else { return };
        let Some(account) = &entry.account else { return };
        if let Some(count) = self.counts.get_mut(account) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(account);
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

    /// Whether an account may begin another upload. Anonymous clients may.
    pub(super) fn has_room(&self, account: Option<&AccountName>) -> bool {
        account.is_none_or(|account| self.lock().counts.get(account).is_none_or(|count| *count < MAX_UPLOADS))
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
        let ids: Vec<Uuid> = (0..MAX_UPLOADS).map(|_| Uuid::new_v4()).collect();
        for id in &ids {
            assert!(unfinished.has_room(Some(&ann)));
            unfinished.entry(*id, &app, Some(&ann));
            unfinished.entry(Uuid::new_v4(), &app, None);
        }
        unfinished.entry(ids[0], &app, Some(&ann)).set_bytes(7);
        assert!(!unfinished.has_room(Some(&ann)));
        assert!(unfinished.has_room(Some(&bob)) && unfinished.has_room(None));
        assert_eq!(unfinished.others(None), [(app.clone(), 7)]);
        assert_eq!(unfinished.others(Some(ids[0])), []);
        unfinished.remove(ids[1]);
        unfinished.remove(ids[1]);
        assert!(unfinished.has_room(Some(&ann)));
    }
}
