//! Deletion of several tags at once.

use oci::{RepositoryName, Tag};
use store::metadata::TagDeletion;

use crate::{Error, Registry};

impl Registry {
    /// Deletes tags in one transaction. Their manifests stay. A tag that a rule keeps does not keep the
    /// others. Returns the result of each, in the order of `tags`.
    ///
    /// # Errors
    /// [`Error::DeleteDisabled`], [`Error::NameUnknown`].
    pub async fn delete_tags(
        &self,
        repository: &RepositoryName,
        tags: Vec<Tag>,
    ) -> Result<Vec<(Tag, TagDeletion)>, Error> {
        if !self.inner.policy.load().delete {
            return Err(Error::DeleteDisabled);
        }
        let deletion = {
            let (registry, repository) = (self.clone(), repository.clone());
            async move { Ok(registry.metadata.delete_tags(&repository, tags).await?) }
        };
        let Some(results) = self.detach(deletion).await? else {
            return Err(Error::NameUnknown(repository.clone()));
        };
        if results.iter().any(|(_, result)| matches!(result, TagDeletion::Deleted(_))) {
            self.inner.schedule.deleted();
        }
        Ok(results)
    }
}
