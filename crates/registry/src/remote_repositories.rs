//! The catalog of a gateway: names of repositories whose content is on an upstream registry.

use oci::RepositoryName;

use crate::{Error, Registry};

impl Registry {
    /// Adds repositories, each with a new description if there is one.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn learn_repositories(
        &self,
        repositories: Vec<(RepositoryName, Option<String>)>,
    ) -> Result<(), Error> {
        Ok(self.metadata.learn_repositories(repositories).await?)
    }

    /// Returns all names in byte order, beginning after `after`. For the gateway itself: permissions do not
    /// apply.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn known_repositories(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RepositoryName>, Error> {
        Ok(self.metadata.known_repositories(after, limit).await?)
    }

    /// Removes repositories that the upstream no longer has.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn forget_repositories(&self, repositories: Vec<RepositoryName>) -> Result<(), Error> {
        Ok(self.metadata.forget_repositories(repositories).await?)
    }
}
