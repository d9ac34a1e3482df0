//! Watch of the storage: logs when another program moves the content or the database away from under the server.
//!
//! Each write checks the same before it is acknowledged. The watch tells the operator before the next write fails.

use std::time::Duration;

use store::StoreError;

use crate::Registry;

/// The poll interval.
const PERIOD: Duration = Duration::from_secs(5);

impl Registry {
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
