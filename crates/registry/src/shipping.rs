//! Shipping of the database to the bucket of the blobs: at a start, at an interval or with each commit, and
//! at the end.

use std::sync::Arc;
use std::time::Duration;

use store::shipping::{self, Shipping};
use store::{BlobStore, Directory, Metadata, StoreError};

use crate::{JobKind, Policy, Registry};

/// The time for the last snapshot. Service managers kill the process after 10 s.
const LAST: Duration = Duration::from_secs(4);

/// The interval of the rest if each commit is shipped: counts of pulls, and snapshots.
const REST: Duration = Duration::from_secs(10);

/// Restores the newest snapshot of the bucket into an empty data directory.
pub(crate) async fn restore(directory: &Directory, blobs: &dyn BlobStore) -> Result<(), StoreError> {
    if let Some(made_at) = shipping::restore_if_empty(directory, blobs).await? {
        tracing::warn!(
            made_at,
            "restored the metadata from the bucket; changes that were not shipped are lost"
        );
    }
    Ok(())
}

/// Begins to ship, before the first request. `None` if the policy does not want it. The caller has the lease
/// of the bucket.
pub(crate) async fn open(
    directory: &Directory,
    metadata: &Metadata,
    blobs: Arc<dyn BlobStore>,
    policy: &Policy,
) -> Result<Option<Shipping>, StoreError> {
    let Some(interval) = policy.ship_metadata else {
        shipping::forget(directory, metadata.id()).await?;
        return Ok(None);
    };
    let shipping = Shipping::open(directory, blobs, interval)?;
    // From here on, the directory that made the last snapshot is refused.
    shipping.begin(metadata).await?;
    Ok(Some(shipping))
}

impl Registry {
    /// Ships at an interval. Never returns.
    pub(crate) async fn ship_in_background(&self, interval: Duration) {
        let interval = if interval.is_zero() { REST } else { interval };
        let job = self.job_metrics(JobKind::Shipping);
        let mut has_failed = false;
        loop {
            tokio::time::sleep(interval).await;
            match job.run(self.ship()).await {
                Ok(()) if has_failed => {
                    has_failed = false;
                    tracing::info!("the metadata are shipped to the bucket again");
                }
                Err(error) if !has_failed => {
                    has_failed = true;
                    tracing::error!(%error, "cannot ship the metadata to the bucket; trying again");
                }
                _ => {}
            }
        }
    }

    /// Ships the last changes, before the registry is closed.
    pub(crate) async fn ship_last(&self) {
        match tokio::time::timeout(LAST, self.ship()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last changes were not shipped to the bucket"),
            Err(_) => tracing::warn!("the last changes were not shipped to the bucket: it took too long"),
        }
    }

    async fn ship(&self) -> Result<(), StoreError> {
        match &self.inner.shipping {
            // The registry is moving, or has moved: its snapshots are those of the new place.
            Some(_) if self.metadata.is_frozen() => Ok(()),
            Some(shipping) => shipping.ship(&self.metadata).await,
            None => Ok(()),
        }
    }
}
