//! The retention rules of users and organisations.

use accounts::{AccountName, Role};

use super::{Manage, ManageError, not_found};
use crate::Registry;

impl Manage {
    /// Checks that the requester manages the repositories of `owner`: as an administrator, as this user, or
    /// as an owner of this organisation.
    ///
    /// # Errors
    /// [`ManageError::SignIn`], [`ManageError::NotFound`], [`ManageError::Denied`].
    pub async fn must_own_account(&self, owner: &AccountName) -> Result<(), ManageError> {
        let is_reserved = self.metadata().is_reserved_namespace(owner.as_str());
        if is_reserved && !self.is_administrator() {
            return Err(ManageError::Denied(
                "only an administrator may do this below the name of an upstream",
            ));
        }
        if self.is_administrator() || self.is(owner) || self.role_in(owner).await? == Some(Role::Owner) {
            return Ok(());
        }
        Err(not_found("account", owner))
    }

    /// Sets the retention rules of an owner, which the caller has checked. `None` removes them.
    ///
    /// # Errors
    /// Those of [`must_own_account`](Self::must_own_account) and of the store.
    pub async fn set_retention(
        &self,
        registry: &Registry,
        owner: &AccountName,
        rules: Option<String>,
    ) -> Result<(), ManageError> {
        let outcome = async {
            self.may_give_access()?;
            self.must_own_account(owner).await?;
            registry.set_owner_retention(owner, rules.clone()).await.map_err(ManageError::from)
        };
        let outcome = outcome.await;
        self.end("retention.rules", owner, rules, outcome).await
    }
}
