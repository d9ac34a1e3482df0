//! Expiry of idle uploads, and the removal of leftovers of ended uploads from a bucket.

use std::collections::HashSet;
use std::time::Duration;

use oci::RepositoryName;
use uuid::Uuid;

use super::open_uploads::UploadState;
use crate::{Error, JobKind, Registry};

/// The period of the search for leftovers. One search removes what the search before has found, so no request may
/// take longer.
const LEFTOVERS_PERIOD: Duration = Duration::from_secs(24 * 60 * 60);

impl Registry {
    /// Removes uploads without new bytes for [`Policy::upload_expiry`](crate::Policy). Returns their number.
    pub(crate) async fn expire_uploads(&self) -> Result<usize, Error> {
        let Some(limit) = std::time::SystemTime::now().checked_sub(self.inner.policy.load().upload_expiry)
        else {
            return Ok(0);
        };
        self.inner.upload_ids.forget_expired(self.inner.policy.load().upload_expiry);
        self.inner.unfinished.expire(self.inner.policy.load().upload_expiry);
        let mut expired = self.inner.open_uploads.expire(self.inner.policy.load().upload_expiry);
        loop {
            let batch = self.metadata.expired_uploads(limit, 100).await?;
            let mut removed = 0;
            for record in &batch {
                removed += usize::from(self.expire_upload(&record.repository, record.state.id).await?);
            }
            expired += removed;
            if removed == 0 {
                return Ok(expired);
            }
        }
    }

    /// Removes an upload of any account, unless a request is writing to it.
    pub(super) async fn expire_upload(&self, repository: &RepositoryName, id: Uuid) -> Result<bool, Error> {
        let inner = &self.inner;
        let open = inner.open_uploads.get_or_insert(repository, None, id, UploadState::Stored);
        let Ok(mut state) = open.state.clone().try_lock_owned() else { return Ok(false) };
        let was_there = self.metadata.expire_upload(id).await;
        // A request that waits for the lock finds the end.
        self.end(id, &mut state);
        drop(state);
        let was_there = was_there?;
        inner.blobs.abort(id).await?;
        Ok(was_there)
    }

    /// Removes leftovers of ended uploads from the bucket. Never returns.
    pub(crate) async fn remove_leftovers_in_background(&self) {
        let job = self.job_metrics(JobKind::Leftovers);
        let mut ticks = tokio::time::interval(LEFTOVERS_PERIOD);
        loop {
            ticks.tick().await;
            match job.run(self.remove_leftovers()).await {
                Ok(0) => {}
                Ok(removed) => tracing::info!(removed, "removed leftovers of ended uploads from the bucket"),
                Err(error) => {
                    tracing::warn!(%error, "cannot remove leftovers of ended uploads from the bucket")
                }
            }
        }
    }

    async fn remove_leftovers(&self) -> Result<usize, Error> {
        let unfinished = self.metadata.unfinished_uploads().await?;
        let known: HashSet<_> = unfinished.iter().map(|upload| upload.id).collect();
        Ok(self.inner.blobs.remove_leftovers(&known).await?)
    }
}
