//! The retention rules of all repositories, and of users and organisations for their own.

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

    /// Checks that the requester may see and set the retention rules of an owner, or those of all
    /// repositories.
    ///
    /// # Errors
    /// Those of [`must_own_account`](Self::must_own_account) and of
    /// [`must_be_administrator`](Self::must_be_administrator).
    pub async fn must_rule(&self, owner: Option<&AccountName>) -> Result<(), ManageError> {
        match owner {
            Some(owner) => self.must_own_account(owner).await,
            None => self.must_be_administrator(),
        }
    }

    /// Sets the retention rules of an owner, or those of all repositories, which the caller has checked.
    /// `None` removes them.
    ///
    /// # Errors
    /// Those of [`must_rule`](Self::must_rule) and of the store.
    pub async fn set_retention(
        &self,
        registry: &Registry,
        owner: Option<&AccountName>,
        rules: Option<String>,
    ) -> Result<(), ManageError> {
        let outcome = async {
            self.may_give_access()?;
            self.must_rule(owner).await?;
            registry.set_stored_retention(owner, rules.clone()).await.map_err(ManageError::from)
        };
        let outcome = outcome.await;
        let object = owner.map_or("**", AccountName::as_str);
        self.end("retention.rules", object, rules, outcome).await
    }
}
