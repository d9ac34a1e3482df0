//! Blobs of a repository: looked up, opened, mounted and removed.

use oci::{Digest, RepositoryName};
use store::accounts::Visible;
use store::{Blob, StoreError};

use crate::apart::apart;
use crate::{Error, Registry};

impl Registry {
    /// The size of a blob in bytes. A blob is told of only in a repository that holds it.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`] if the repository does not hold it.
    pub async fn blob_size(&self, repository: &RepositoryName, digest: &Digest) -> Result<u64, Error> {
        let inner = &self.inner;
        if let Some(size) = inner.cache.blob(repository, digest) {
            return Ok(size);
        }
        let ticket = inner.cache.ticket(repository);
        let size = inner
            .metadata
            .blob(repository, digest)
            .await?
            .ok_or_else(|| Error::BlobUnknown { repository: repository.clone(), digest: *digest })?;
        inner.cache.keep_blob(ticket, repository, *digest, size);
        Ok(size)
    }

    /// Opens a blob for reading.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`] if the repository does not hold it.
    pub async fn open_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Blob, Error> {
        self.blob_size(repository, digest).await?;
        let blob = self.inner.blobs.open(digest).await?;
        Ok(blob.ok_or_else(|| StoreError::Damaged(format!("blob {digest} of {repository} has no content")))?)
    }

    /// Makes a blob of one repository a blob of another, without moving a byte. Without `from`,
    /// any repository may be the source. `None` if no source that is visible to whoever asks holds
    /// it: then it must be uploaded, whether the registry has it or not (CVE-2024-39897).
    ///
    /// # Errors
    /// Only those of the store.
    pub async fn mount_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        from: Option<&RepositoryName>,
        visible: &Visible,
    ) -> Result<Option<u64>, Error> {
        let size = self.inner.metadata.mount_blob(repository, digest, from, visible).await?;
        if size.is_some() {
            self.inner.tasks.wake_view();
        }
        Ok(size)
    }

    /// Removes a blob from a repository, and only from there.
    ///
    /// # Errors
    /// [`Error::DeleteDisabled`], [`Error::BlobUnknown`].
    pub async fn delete_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<(), Error> {
        if !self.inner.policy.delete {
            return Err(Error::DeleteDisabled);
        }
        let (registry, repository, digest) = (self.clone(), repository.clone(), *digest);
        apart(async move {
            let inner = &registry.inner;
            let was_there = inner.metadata.unlink_blob(&repository, &digest).await?;
            inner.cache.blob_deleted(&repository, &digest);
            if !was_there {
                return Err(Error::BlobUnknown { repository, digest });
            }
            inner.tasks.wake_view();
            Ok(())
        })
        .await
    }
}
