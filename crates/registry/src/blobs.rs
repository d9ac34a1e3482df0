//! Blobs of a repository: stat, open, mount, delete.

use std::net::IpAddr;

use accounts::Visible;
use oci::{Digest, RepositoryName};
pub use store::Blob;
use store::StoreError;
use tracing::{Instrument as _, Span};

use crate::{Error, Registry};

/// The span of an operation on stored content.
pub(crate) fn blob_span(operation: &'static str) -> Span {
    tracing::trace_span!(target: "wharfinger::spans", "blob", otel.name = format!("blob.{operation}"))
}

const NO_FILE: &str = "its file is missing or unreadable";

impl Registry {
    /// Returns a blob of a repository, if it has at most `limit` bytes.
    ///
    /// # Errors
    /// As for [`Registry::blob_size`].
    pub async fn small_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        limit: u64,
    ) -> Result<Option<bytes::Bytes>, Error> {
        if self.blob_size(repository, digest).await? > limit {
            return Ok(None);
        }
        let content = self.inner.blobs.get_cached(digest).await?;
        content.map(Some).ok_or_else(|| self.blob_damaged(repository, digest, NO_FILE))
    }

    /// Returns the size of a blob in bytes. The repository must hold it, and its file must have the recorded
    /// size.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`], or [`Error::BlobDamaged`] if the file is missing, damaged or has another size.
    pub async fn blob_size(&self, repository: &RepositoryName, digest: &Digest) -> Result<u64, Error> {
        let recorded = self.recorded_size(repository, digest).await?;
        let stored = self.stored_size(digest).await?;
        self.check_size(repository, digest, recorded, stored).await
    }

    /// Like [`blob_size`](Self::blob_size), for a client that may push a manifest with this blob next: it is
    /// kept until then.
    ///
    /// # Errors
    /// The errors of [`blob_size`](Self::blob_size).
    pub async fn lease_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<u64, Error> {
        if !self.inner.guards.lease(repository, digest) {
            return Err(Error::BlobUnknown { repository: repository.clone(), digest: *digest });
        }
        let size = self.blob_size(repository, digest).await;
        if size.is_err() {
            self.inner.guards.release(repository, [digest]);
        }
        size
    }

    /// Returns the URL of a blob in the object store, if the client is to read it there.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`], [`Error::BlobDamaged`], or an error of the store.
    pub async fn blob_url(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        client: IpAddr,
    ) -> Result<Option<String>, Error> {
        if !self.policy().redirect.applies_to(client) {
            return Ok(None);
        }
        self.recorded_size(repository, digest).await?;
        Ok(self.inner.blobs.url(digest).await?)
    }

    /// Opens a blob for reading.
    ///
    /// # Errors
    /// The errors of [`blob_size`](Self::blob_size).
    pub async fn open_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Blob, Error> {
        let recorded = self.recorded_size(repository, digest).await?;
        let blob = match self.inner.blobs.open_cached(digest).instrument(blob_span("open")).await {
            Err(error @ StoreError::Io { .. }) => {
                return Err(self.blob_damaged(repository, digest, &error.to_string()));
            }
            blob => blob?,
        };
        let stored = blob.as_ref().map(|blob| blob.size);
        self.check_size(repository, digest, recorded, stored).await?;
        blob.ok_or_else(|| self.blob_damaged(repository, digest, NO_FILE))
    }

    /// The recorded size of a blob of the repository, from the cache or the store.
    async fn recorded_size(&self, repository: &RepositoryName, digest: &Digest) -> Result<u64, Error> {
        match self.inner.cache.blob(repository, digest) {
            Some(size) => Ok(size),
            None => self.read_recorded_size(repository, digest).await,
        }
    }

    async fn read_recorded_size(&self, repository: &RepositoryName, digest: &Digest) -> Result<u64, Error> {
        let inner = &self.inner;
        let ticket = inner.cache.ticket(repository);
        if let Some(size) = self.metadata.blob(repository, digest).await? {
            inner.cache.insert_blob(ticket, repository, *digest, size);
            return Ok(size);
        }
        if !self.metadata.blob_is_damaged(repository, digest).await? {
            return Err(Error::BlobUnknown { repository: repository.clone(), digest: *digest });
        }
        if self.is_restored(digest).await?
            && let Some(size) = self.metadata.blob(repository, digest).await?
        {
            return Ok(size);
        }
        Err(self.blob_damaged(repository, digest, "it is marked as damaged"))
    }

    /// Returns the size of a blob if its file has the recorded size.
    async fn check_size(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        recorded: u64,
        stored: Option<u64>,
    ) -> Result<u64, Error> {
        let Some(stored) = stored else { return Err(self.blob_damaged(repository, digest, NO_FILE)) };
        // The cached size may predate a replacement of the file.
        if stored == recorded || stored == self.read_recorded_size(repository, digest).await? {
            return Ok(stored);
        }
        Err(self.blob_damaged(repository, digest, &format!("its file has {stored} bytes, not {recorded}")))
    }

    /// Links a blob of one repository in another. Without `from`, any repository may be the source.
    ///
    /// Returns `None` if no visible source holds the blob, or if its file is missing or damaged. The client
    /// must then upload it, even if the registry has it elsewhere (CVE-2024-39897).
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn mount_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        from: Option<&RepositoryName>,
        visible: &Visible,
    ) -> Result<Option<u64>, Error> {
        let source = match from {
            Some(from) if visible.allows(from) => from.clone(),
            Some(_) => return Ok(None),
            None => match self.metadata.visible_source(digest, visible.clone()).await? {
                Some(source) => source,
                None => return Ok(None),
            },
        };
        let stored = match self.blob_size(&source, digest).await {
            Err(Error::BlobUnknown { .. } | Error::BlobDamaged { .. }) => return Ok(None),
            stored => stored?,
        };
        let size = self.metadata.mount_blob(repository, digest, stored, &source).await?;
        if size.is_some() {
            self.inner.guards.lease(repository, digest);
        }
        Ok(size)
    }

    /// Removes a blob from one repository.
    ///
    /// # Errors
    /// [`Error::DeleteDisabled`], [`Error::BlobUnknown`].
    pub async fn delete_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<(), Error> {
        if !self.inner.policy.load().delete {
            return Err(Error::DeleteDisabled);
        }
        let (registry, repository, digest) = (self.clone(), repository.clone(), *digest);
        self.detach(async move {
            if registry.metadata.unlink_blob(&repository, &digest).await? {
                registry.inner.schedule.deleted();
                Ok(())
            } else {
                Err(Error::BlobUnknown { repository, digest })
            }
        })
        .await
    }
}
