//! Watch of the storage: logs when another program moves the content or the database away from under the
//! server, and when the object store does not answer.
//!
//! Each write checks the same before it is acknowledged (`storage_state`). The watch tells the operator
//! before the next write fails.

use std::time::Duration;

use crate::Registry;

/// The poll interval.
const PERIOD: Duration = Duration::from_secs(5);

impl Registry {
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
            self.set_blob_store_error(error);
        }
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
