//! Uploads in memory between requests, each with a lock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use accounts::AccountName;
use oci::{Algorithm, RepositoryName};
use store::Upload;
use tokio::sync::Mutex as AsyncMutex;
use uuid::Uuid;

use super::ids::has_expired;

/// The maximum number of uploads in memory. Others are stored in the metadata between requests.
const CAPACITY: usize = 1024;

#[derive(Default)]
pub(crate) struct OpenUploads {
    uploads: Mutex<HashMap<Uuid, Arc<OpenUpload>>>,
}

pub(super) struct OpenUpload {
    repository: RepositoryName,
    account: Option<AccountName>,
    /// Locked by the request that writes.
    pub(super) state: Arc<AsyncMutex<UploadState>>,
}

/// The state of an upload between requests.
pub(super) enum UploadState {
    /// Empty, and not in the metadata.
    Empty(Algorithm),
    /// Equal to the record in the metadata.
    InMemory(Upload),
    /// Only in the metadata.
    Stored,
    /// Finished, cancelled or expired.
    Ended,
}

impl OpenUploads {
    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<OpenUpload>>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, id: Uuid) -> Option<Arc<OpenUpload>> {
        self.lock().get(&id).cloned()
    }

    /// Returns the entry of an upload, which is inserted with `state` if it is missing.
    pub(super) fn get_or_insert(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        id: Uuid,
        state: UploadState,
    ) -> Arc<OpenUpload> {
        let mut uploads = self.lock();
        Self::make_room(&mut uploads);
        let upload = || OpenUpload {
            repository: repository.clone(),
            account: account.cloned(),
            state: Arc::new(AsyncMutex::new(state)),
        };
        uploads.entry(id).or_insert_with(|| Arc::new(upload())).clone()
    }

    /// Whether there is room for an upload that is only in memory.
    pub(super) fn has_room(&self) -> bool {
        Self::make_room(&mut self.lock())
    }

    fn make_room(uploads: &mut HashMap<Uuid, Arc<OpenUpload>>) -> bool {
        if uploads.len() >= CAPACITY {
            // Uploads in use have further references.
            uploads.retain(|_, upload| Arc::strong_count(upload) > 1 || !upload.is_stored());
        }
        uploads.len() < CAPACITY
    }

    pub(super) fn remove(&self, id: Uuid) {
        self.lock().remove(&id);
    }

    /// Ends empty uploads that are older than `expiry`, and returns their number.
    pub(super) fn expire(&self, expiry: Duration) -> usize {
        let mut uploads = self.lock();
        let before = uploads.len();
        uploads.retain(|id, upload| match upload.state.try_lock() {
            Ok(mut state) if matches!(*state, UploadState::Empty(_)) && has_expired(*id, expiry) => {
                // A request that waits for the lock finds the end.
                *state = UploadState::Ended;
                false
            }
            _ => true,
        });
        before - uploads.len()
    }
}

impl OpenUpload {
    /// Whether the metadata has the upload, and no request uses it.
    fn is_stored(&self) -> bool {
        Arc::strong_count(&self.state) == 1
            && self.state.try_lock().is_ok_and(|state| !matches!(*state, UploadState::Empty(_)))
    }

    pub(super) fn is_of(&self, repository: &RepositoryName, account: Option<&AccountName>) -> bool {
        self.repository == *repository && self.account.as_ref() == account
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_unlocked_uploads_expire() {
        let open_uploads = OpenUploads::default();
        let app = "team/app".parse().unwrap();
        let created = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() - 100;
        let id = |number: u128| Uuid::from_u128((u128::from(created) << 96) | number);
        let empty = || UploadState::Empty(Algorithm::Sha256);
        let idle = open_uploads.get_or_insert(&app, None, id(1), empty());
        let busy = open_uploads.get_or_insert(&app, None, id(2), empty());
        let lock = busy.state.try_lock().unwrap();
        open_uploads.get_or_insert(&app, None, id(3), UploadState::Stored);
        assert_eq!(open_uploads.expire(Duration::from_secs(1_000)), 0);
        assert_eq!(open_uploads.expire(Duration::from_secs(50)), 1);
        assert!(matches!(*idle.state.try_lock().unwrap(), UploadState::Ended));
        assert!(open_uploads.get(id(1)).is_none());
        drop(lock);
        assert_eq!(open_uploads.expire(Duration::from_secs(50)), 1);
        assert!(open_uploads.get(id(3)).is_some(), "stored uploads expire by the metadata");
    }
}
