//! Deletion of whole repositories: a job of small transactions, so that other pushes do not wait.

use oci::RepositoryName;
use store::metadata::{Job, JobStep};

use crate::detach::detach;
use crate::{Error, Registry};

impl Registry {
    /// Deletes a repository with its tags, manifests and blob links, and waits for the end. After a crash, the next start
    /// resumes the deletion.
    ///
    /// # Errors
    /// [`Error::DeleteDisabled`], [`Error::NameUnknown`], [`Error::NotAdopted`].
    pub async fn delete_repository(&self, repository: &RepositoryName) -> Result<(), Error> {
        if !self.inner.policy.delete {
            return Err(Error::DeleteDisabled);
        }
        let (registry, repository) = (self.clone(), repository.clone());
        detach(async move {
            // An image that was not understood keeps its layers. registry:2 still serves it.
            let problems = registry.metadata.repository_problems(&repository).await?;
            if problems > 0 {
                return Err(Error::NotAdopted { repository, problems });
            }
            let job = registry.metadata.begin_deletion(&repository).await?;
            let Some(job) = job else { return Err(Error::NameUnknown(repository)) };
            registry.run_deletion(&job).await
        })
        .await
    }

    /// Resumes the deletions of an earlier process.
    pub(crate) async fn resume_deletions(&self) -> Result<(), Error> {
        for job in self.metadata.deletions().await? {
            tracing::info!(repository = %job.repository, deleted = job.progress, "resuming the deletion of a repository");
            self.run_deletion(&job).await?;
        }
        Ok(())
    }

    async fn run_deletion(&self, job: &Job) -> Result<(), Error> {
        let inner = &self.inner;
        loop {
            let step = self.metadata.delete_step(job).await;
            // Also after an error, which may follow the commit.
            inner.cache.repository_deleted(&job.repository);
            if step? == JobStep::Done {
                inner.background.wake_view();
                return Ok(());
            }
        }
    }
}
