//! Authorizes a request again when its body has arrived, if accounts have changed since its head.
//!
//! A client that held back the last bytes would otherwise act after its right was revoked.

use oci::RepositoryName;
use registry::access::{Accounts, Identity, Permission};
use tokio::task::JoinHandle;

use crate::http::endpoints::Requirement;

/// The authorization of a request, as it was when the head arrived.
pub(crate) struct Recheck {
    pub(crate) accounts: Accounts,
    /// The generation of the accounts before the authorization.
    pub(crate) generation: u64,
    pub(crate) identity: Identity,
    pub(crate) requirement: Requirement,
    pub(crate) repository: Option<RepositoryName>,
}

impl Recheck {
    /// Checks on a task whether the authorization still holds. `None` if no account, token or grant has changed.
    pub(crate) fn begin(self) -> Option<JoinHandle<bool>> {
        if self.accounts.generation() == self.generation {
            return None;
        }
        Some(tokio::spawn(async move {
            self.holds().await.unwrap_or_else(|error| {
                tracing::error!(%error, "cannot authorize a request again; refusing it");
                false
            })
        }))
    }

    async fn holds(&self) -> Result<bool, registry::Error> {
        if !self.accounts.still_holds(&self.identity).await? {
            return Ok(false);
        }
        match (self.requirement, &self.repository) {
            (Requirement::Repository(right), Some(repository)) => {
                let permission = self.accounts.permission(&self.identity, repository, right).await?;
                Ok(permission == Permission::Allowed)
            }
            _ => Ok(true),
        }
    }
}
