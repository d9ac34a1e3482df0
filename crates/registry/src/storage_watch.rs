//! Watch of the storage: logs when another program moves the content or the database away from under the server, and
//! when the object store does not answer.
//!
//! Each write checks the same before it is acknowledged. The watch tells the operator before the next write fails.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use store::StoreError;

use crate::Registry;

/// The poll interval.
const PERIOD: Duration = Duration::from_secs(5);

/// The last answer of an object store, if it was an error.
#[derive(Default)]
pub(crate) struct BlobStoreError(Mutex<Option<StoreError>>);

impl Registry {
    /// Whether the object store answered when it was last asked.
    ///
    /// # Errors
    /// Its error.
    pub(crate) fn check_blob_store(&self) -> Result<(), StoreError> {
        match &*self.inner.blob_store_error.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(StoreError::ObjectStore { action, what, reason }) => {
                Err(StoreError::ObjectStore { action, what: what.clone(), reason: reason.clone() })
            }
            Some(StoreError::ContentGone(place)) => Err(StoreError::ContentGone(place.clone())),
            _ => Ok(()),
        }
    }

    /// Whether the content is in its place, before a write. An object store that does not answer fails the write itself.
    pub(crate) fn check_place(&self) -> Result<(), StoreError> {
        self.inner.content.check()?;
        match self.check_blob_store() {
            Err(error @ StoreError::ContentGone(_)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Asks the object store, and logs each change. Never returns.
    pub(crate) async fn watch_blob_store(&self) {
        let mut ticks = tokio::time::interval(PERIOD);
        loop {
            ticks.tick().await;
            let error = self.inner.blobs.ready().await.err();
            if let Some(error) = &error
                && self.check_blob_store().is_ok()
            {
                tracing::error!(%error, "the object store cannot be used: requests that need it get 503, and /readyz fails");
            }
            if error.is_none() && self.check_blob_store().is_err() {
                tracing::info!("the object store can be used again");
            }
            *self.inner.blob_store_error.0.lock().unwrap_or_else(PoisonError::into_inner) = error;
        }
    }

    /// Whether content and database are where they were at the start. Costs a few stats.
    pub(crate) fn check_storage(&self) -> Result<(), StoreError> {
        self.inner.content.check()?;
        self.metadata.check_files()
    }

    /// Logs each change of [`check_storage`](Self::check_storage). Never returns.
    pub(crate) async fn watch_storage(&self) {
        let mut ticks = tokio::time::interval(PERIOD);
        let mut is_gone = false;
        loop {
            ticks.tick().await;
            match self.check_storage() {
                Err(error) if !is_gone => {
                    is_gone = true;
                    tracing::error!(%error, "the storage is not in its place: writes get 503, and /readyz fails");
                }
                Ok(()) if is_gone => {
                    is_gone = false;
                    tracing::info!("the storage is in its place again");
                }
                _ => {}
            }
        }
    }
}
