//! Deletion of whole repositories: a job of small transactions, so that other pushes do not wait. And the way
//! back.

use oci::{Digest, RepositoryName, TagOrDigest};
use store::metadata::{DeletedManifest, Job, JobStep, Restored};

use crate::listing::Page;
use crate::{Error, JobKind, Registry};

impl Registry {
    /// Deletes a repository with its tags, manifests and blob links, and waits for the end. After a crash,
    /// the next start resumes the deletion.
    ///
    /// # Errors
    /// [`Error::DeleteDisabled`], [`Error::NameUnknown`], [`Error::NotAdopted`].
    pub async fn delete_repository(&self, repository: &RepositoryName) -> Result<(), Error> {
        if !self.inner.policy.load().delete {
            return Err(Error::DeleteDisabled);
        }
        let (registry, repository) = (self.clone(), repository.clone());
        self.detach(async move {
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

    /// Restores a deleted manifest with its children, its layers, its tags, and the referrers that were
    /// deleted with it. A tag that exists stays as it is. First ends a running deletion of the repository.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`] if it was not deleted, or its grace period is over.
    pub async fn restore_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Restored, Error> {
        let (registry, repository, digest) = (self.clone(), repository.clone(), *digest);
        self.detach(async move {
            let metadata = &registry.metadata;
            for job in metadata.deletions().await?.iter().filter(|job| job.repository == repository) {
                registry.run_deletion(job).await?;
            }
            let restored = metadata.restore_manifest(&repository, &digest).await?;
            let target = TagOrDigest::Digest(digest);
            restored.ok_or(Error::ManifestUnknown { repository, target })
        })
        .await
    }

    /// Whether a repository exists.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn has_repository(&self, repository: &RepositoryName) -> Result<bool, Error> {
        Ok(self.metadata.repository_exists(repository).await?)
    }

    /// Returns the deleted manifests of a repository that can be restored, the last deleted first, with ids
    /// below `before`.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn trash_of(
        &self,
        repository: &RepositoryName,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<DeletedManifest>, Error> {
        let deleted = self.metadata.deleted_manifests(Some(repository), None, before, limit + 1).await?;
        Ok(Page::cut(deleted, limit))
    }

    /// Resumes the deletions of an earlier process.
    pub(crate) async fn resume_deletions(&self) -> Result<(), Error> {
        for job in self.metadata.deletions().await? {
            tracing::info!(repository = %job.repository, deleted = job.progress, "resuming the deletion of a repository");
            self.run_deletion(&job).await?;
        }
        Ok(())
    }

    pub(crate) async fn run_deletion(&self, job: &Job) -> Result<(), Error> {
        let metrics = self.job_metrics(JobKind::RepositoryDeletion);
        let ended = metrics.run(self.run_steps(job, &metrics)).await;
        self.inner.schedule.deleted();
        ended
    }

    async fn run_steps(&self, job: &Job, metrics: &metrics::Job) -> Result<(), Error> {
        while let JobStep::Continues { progress } = self.metadata.delete_step(job).await? {
            metrics.progress(progress);
        }
        Ok(())
    }
}
