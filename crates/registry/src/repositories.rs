//! Deletion of whole repositories: a job of many small transactions, so that pushes elsewhere do not wait for it.

use oci::RepositoryName;
use store::metadata::{Job, JobStep};

use crate::detach::detach;
use crate::{Error, Registry};

impl Registry {
    /// Deletes a repository with its tags, its manifests and its hold on blobs. Returns when it is done. If the process
    /// ends before, the next one finishes it.
    ///
    /// # Errors
    /// [`Error::DeleteDisabled`], [`Error::NameUnknown`], [`Error::NotAdopted`].
    pub async fn delete_repository(&self, repository: &RepositoryName) -> Result<(), Error> {
        if !self.inner.policy.delete {
            return Err(Error::DeleteDisabled);
        }
        // An image that was not understood keeps its layers. registry:2 still serves it.
        let problems = self.inner.metadata.repository_problems(repository).await?;
        if problems > 0 {
            return Err(Error::NotAdopted { repository: repository.clone(), problems });
        }
        let (registry, repository) = (self.clone(), repository.clone());
        detach(async move {
            let begun = registry.inner.metadata.begin_deletion(&repository).await?;
            let Some(job) = begun else { return Err(Error::NameUnknown(repository)) };
            registry.delete_to_the_end(&job).await
        })
        .await
    }

    /// Finishes the deletions that an earlier process began.
    pub(crate) async fn resume_deletions(&self) -> Result<(), Error> {
        for job in self.inner.metadata.deletions().await? {
            tracing::info!(repository = %job.repository, deleted = job.progress, "resuming the deletion of a repository");
            self.delete_to_the_end(&job).await?;
        }
        Ok(())
    }

    async fn delete_to_the_end(&self, job: &Job) -> Result<(), Error> {
        let inner = &self.inner;
        loop {
            let step = inner.metadata.delete_step(job).await;
            // After an error as well: it may have come after the commit.
            inner.cache.repository_deleted(&job.repository);
            if step? == JobStep::Done {
                inner.background.wake_view();
                return Ok(());
            }
        }
    }
}
