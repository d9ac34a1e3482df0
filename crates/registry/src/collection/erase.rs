//! Erasure of content at once, such as a leaked secret: from repositories, trash, caches, the view and the
//! disk.

use std::time::Duration;

use oci::{Digest, RepositoryName, Tag};
use store::metadata::collection::DueContent;

use super::Pace;
use crate::{Error, Registry};

/// The result of an erasure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// The repositories that no longer hold the content.
    pub repositories: Vec<RepositoryName>,
    /// Repositories that still hold it, also in their trash.
    pub held_by: Vec<RepositoryName>,
    /// The tags that pointed to it, and are gone as well.
    pub tags: Vec<(RepositoryName, Tag)>,
    /// Whether its file is deleted.
    pub is_deleted: bool,
    /// Its size in bytes.
    pub bytes: u64,
}

impl Registry {
    /// Removes a manifest or blob from a repository at once, or from all of them, and deletes its file if no
    /// repository holds it. Content that belonged to a manifest alone goes with it. A repair does not bring
    /// it back, a push does.
    ///
    /// # Errors
    /// [`Error::ContentUnknown`] if the repository does not hold it, also not in its trash.
    pub async fn erase_content(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        everywhere: bool,
    ) -> Result<Erasure, Error> {
        let (registry, repository, digest) = (self.clone(), repository.clone(), *digest);
        self.detach(async move {
            let inner = &registry.inner;
            registry.check_place()?;
            // Waits for pushes of this content that are about to link it.
            let _deletion = loop {
                let (deletion, free) = inner.guards.delete(vec![digest], |one| *one);
                if !free.is_empty() {
                    break deletion;
                }
                drop(deletion);
                inner.guards.store(&digest).await.linked();
                tokio::time::sleep(Duration::from_millis(20)).await;
            };
            let erased = registry.metadata.erase(&repository, &digest, everywhere).await?;
            let Some(erased) = erased else {
                return Err(Error::ContentUnknown { digest, repository: Some(repository) });
            };
            let is_deleted = erased.content.is_some();
            if let Some(content) = erased.content {
                registry.delete_marked(content).await?;
            }
            drop(_deletion);
            registry.collect(Pace::Now, |_| true).await?;
            inner.background.view().drain().await?;
            Ok(Erasure {
                repositories: erased.repositories,
                held_by: erased.held_by,
                tags: erased.tags,
                is_deleted,
                bytes: erased.bytes,
            })
        })
        .await
    }

    async fn delete_marked(&self, content: DueContent) -> Result<(), Error> {
        self.inner.blobs.delete(&content.digest).await?;
        Ok(self.metadata.delete_content(vec![content]).await?)
    }
}
