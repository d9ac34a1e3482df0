//! The uploads that are in memory between requests, and what is known of each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use accounts::AccountName;
use oci::{Algorithm, RepositoryName};
use store::Upload;
use tokio::sync::Mutex as TurnMutex;
use uuid::Uuid;

use super::ids::has_expired;

/// Uploads kept in memory between requests. Those beyond are written down and read from the metadata.
const LIVE: usize = 1024;

/// The uploads that are in memory.
#[derive(Default)]
pub(crate) struct OpenUploads {
    live: Mutex<HashMap<Uuid, Arc<OpenUpload>>>,
}

pub(super) struct OpenUpload {
    repository: RepositoryName,
    account: Option<AccountName>,
    /// Locked by whoever has the turn.
    pub(super) upload: Arc<TurnMutex<UploadState>>,
}

/// An upload while nobody has it, or as one finds it who comes after somebody who failed.
pub(super) enum UploadState {
    /// It took in nothing that counts, and is not written down.
    Begun(Algorithm),
    /// As it is written down.
    InMemory(Upload),
    /// It must be read from the metadata.
    Written,
    /// It is no more.
    Ended,
}

impl OpenUploads {
    fn live(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<OpenUpload>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, id: Uuid) -> Option<Arc<OpenUpload>> {
        self.live().get(&id).cloned()
    }

    /// The session of an upload, made if it is not in memory.
    pub(super) fn enter(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        id: Uuid,
        upload: UploadState,
    ) -> Arc<OpenUpload> {
        let mut live = self.live();
        Self::make_room(&mut live);
        let session = || OpenUpload {
            repository: repository.clone(),
            account: account.cloned(),
            upload: Arc::new(TurnMutex::new(upload)),
        };
        live.entry(id).or_insert_with(|| Arc::new(session())).clone()
    }

    /// Whether another may be in memory alone.
    pub(super) fn has_room(&self) -> bool {
        Self::make_room(&mut self.live())
    }

    fn make_room(live: &mut HashMap<Uuid, Arc<OpenUpload>>) -> bool {
        if live.len() >= LIVE {
            // Those that somebody has are held by more than this map.
            live.retain(|_, session| Arc::strong_count(session) > 1 || !session.is_written_down());
        }
        live.len() < LIVE
    }

    pub(super) fn leave(&self, id: Uuid) {
        self.live().remove(&id);
    }

    /// Ends those that took in nothing since they began, longer ago than `expiry`; how many.
    pub(super) fn expire(&self, expiry: Duration) -> usize {
        let mut live = self.live();
        let before = live.len();
        live.retain(|id, session| match session.upload.try_lock() {
            Ok(mut resting) if matches!(*resting, UploadState::Begun(_)) && has_expired(*id, expiry) => {
                // Who waits for a turn finds nothing any more.
                *resting = UploadState::Ended;
                false
            }
            _ => true,
        });
        before - live.len()
    }
}

impl OpenUpload {
    /// Whether the metadata has all there is to know, and nobody is at work on it.
    fn is_written_down(&self) -> bool {
        Arc::strong_count(&self.upload) == 1
            && self.upload.try_lock().is_ok_and(|resting| !matches!(*resting, UploadState::Begun(_)))
    }

    pub(super) fn is_of(&self, repository: &RepositoryName, account: Option<&AccountName>) -> bool {
        self.repository == *repository && self.account.as_ref() == account
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_took_in_nothing_for_long_are_forgotten_unless_somebody_is_at_work() {
        let open_uploads = OpenUploads::default();
        let app = "team/app".parse().unwrap();
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() - 100;
        let id = |number: u128| Uuid::from_u128((u128::from(since) << 96) | number);
        let begun = || UploadState::Begun(Algorithm::Sha256);
        let idle = open_uploads.enter(&app, None, id(1), begun());
        let busy = open_uploads.enter(&app, None, id(2), begun());
        let turn = busy.upload.try_lock().unwrap();
        open_uploads.enter(&app, None, id(3), UploadState::Written);
        assert_eq!(open_uploads.expire(Duration::from_secs(1_000)), 0);
        assert_eq!(open_uploads.expire(Duration::from_secs(50)), 1);
        assert!(matches!(*idle.upload.try_lock().unwrap(), UploadState::Ended));
        assert!(open_uploads.get(id(1)).is_none());
        drop(turn);
        assert_eq!(open_uploads.expire(Duration::from_secs(50)), 1);
        assert!(open_uploads.get(id(3)).is_some(), "that is for those who look through the metadata");
    }
}
