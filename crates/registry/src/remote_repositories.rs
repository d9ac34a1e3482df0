//! Repositories whose content is elsewhere, as a gateway has them: known by name, so that lists and searches find them.

use oci::RepositoryName;

use crate::{Error, Registry};

impl Registry {
    /// Takes note of repositories that hold an image elsewhere, each with a description if it has a new one.
    ///
    /// # Errors
    /// Only those of the store.
    pub async fn learn_repositories(
        &self,
        repositories: Vec<(RepositoryName, Option<String>)>,
    ) -> Result<(), Error> {
        Ok(self.inner.metadata.learn_repositories(repositories).await?)
    }

    /// The names of all repositories, in the order of their bytes, those after `after`: for the gateway itself, not
    /// for anyone who asks it.
    ///
    /// # Errors
    /// Only those of the store.
    pub async fn known_repositories(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RepositoryName>, Error> {
        Ok(self.inner.metadata.known_repositories(after, limit).await?)
    }

    /// Forgets repositories that are not elsewhere any more.
    ///
    /// # Errors
    /// Only those of the store.
    pub async fn forget_repositories(&self, repositories: Vec<RepositoryName>) -> Result<(), Error> {
        Ok(self.inner.metadata.forget_repositories(repositories).await?)
    }
}
