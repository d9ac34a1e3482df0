//! Sweeps the disk cache of a bucket: copies of content that the registry does not have any more.
//!
//! A deletion removes the copy of the server that makes it. Other servers find theirs here.

use std::time::Duration;

use crate::{Error, Registry};

/// The period of the sweep.
const PERIOD: Duration = Duration::from_secs(60 * 60);
/// Digests in one query.
const BATCH: usize = 500;

impl Registry {
    pub(crate) async fn sweep_blob_copies_in_background(&self) {
        let mut ticks = tokio::time::interval(PERIOD);
        loop {
            ticks.tick().await;
            match self.sweep_blob_copies().await {
                Ok(0) => {}
                Ok(copies) => tracing::info!(copies, "removed copies of deleted blobs"),
                Err(error) => tracing::warn!(%error, "cannot look for copies of deleted blobs"),
            }
        }
    }

    /// Removes the copies of deleted content, and returns their number.
    async fn sweep_blob_copies(&self) -> Result<usize, Error> {
        let mut removed = 0;
        for digests in self.inner.blobs.copies().chunks(BATCH) {
            let deleted = self.metadata.unrecorded(digests.to_vec()).await?;
            removed += deleted.len();
            self.inner.blobs.forget_copies(deleted).await;
        }
        Ok(removed)
    }
}
