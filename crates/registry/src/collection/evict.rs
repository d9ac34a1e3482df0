//! Eviction of content that can be fetched again: many manifests and blobs at once, with one collection.

use accounts::Actor;
use oci::{Digest, RepositoryName};

use crate::{Error, Registry};

impl Registry {
    /// Removes manifests and blobs from their repositories, and what belonged to them alone. Content that a
    /// push or a fill is about to link stays. Open readers of a deleted file read on.
    ///
    /// # Errors
    /// The errors of the store.
    pub(crate) async fn evict_content(&self, content: Vec<(RepositoryName, Digest)>) -> Result<(), Error> {
        let registry = self.acting_as(Actor::task("cache eviction"));
        self.detach(async move {
            let inner = &registry.inner;
            registry.check_place()?;
            let (deletion, free) = inner.guards.delete(content, |(_, digest)| *digest);
            let due = registry.metadata.evict(free).await?;
            for content in &due {
                inner.blobs.delete(&content.digest).await?;
            }
            registry.metadata.delete_content(due).await?;
            drop(deletion);
            registry.reclaim().await
        })
        .await
    }
}
