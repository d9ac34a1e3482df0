//! Erasure of content, with its audit entry.

use super::{Manage, ManageError};
use crate::Error;
use crate::collection::Erasure;

impl Manage {
    /// Checks that the requester may collect garbage: an administrator, or everyone in a registry without
    /// accounts, where everyone may delete.
    ///
    /// # Errors
    /// [`ManageError::SignIn`], [`ManageError::Denied`].
    pub fn may_collect(&self) -> Result<(), ManageError> {
        if self.accounts.in_force() { self.must_be_administrator() } else { Ok(()) }
    }

    /// Runs `erase` for an administrator, and records it. `object` is the repository and the digest.
    ///
    /// # Errors
    /// [`ManageError::Denied`] for other accounts, and those of `erase`.
    pub async fn erase(
        &self,
        object: &str,
        everywhere: bool,
        erase: impl Future<Output = Result<Erasure, Error>>,
    ) -> Result<Erasure, ManageError> {
        let outcome = match self.may_collect() {
            Ok(()) => erase.await.map_err(ManageError::from),
            Err(error) => Err(error),
        };
        let detail = outcome.as_ref().ok().map(|erased| {
            let names: Vec<&str> = erased.repositories.iter().map(oci::RepositoryName::as_str).collect();
            format!("erased{} from {}", if everywhere { " everywhere" } else { "" }, names.join(", "))
        });
        self.end("content.erase", object, detail, outcome).await
    }
}
