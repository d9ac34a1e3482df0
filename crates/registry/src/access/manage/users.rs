//! Users: listed, created, registered, changed and removed.

use std::time::Instant;

use accounts::AccountName;
use store::metadata::{
    AccountChange, AccountKind, AccountRecord, AddOutcome, ChangeOutcome, NewUser, PasswordHash,
    RemoveOutcome, Source,
};

use super::super::Password;
use super::{Manage, ManageError, is_in_person, must_be_short, not_found};

/// A change of a user. `None` leaves a value unchanged.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// A new password.
    pub password: Option<String>,
    /// Whether the user has all rights.
    pub administrator: Option<bool>,
    /// Whether sign-in is refused.
    pub disabled: Option<bool>,
    /// A text for other users.
    pub description: Option<String>,
}

impl Manage {
    /// Returns users by name, beginning after `after`. Non-administrators see themselves.
    pub async fn users(
        &self,
        after: Option<&AccountName>,
        limit: usize,
    ) -> Result<Vec<AccountRecord>, ManageError> {
        let metadata = self.metadata();
        if self.is_administrator() {
            return Ok(metadata.accounts(AccountKind::User, after, limit).await?);
        }
        let own = &self.own_account()?.name;
        if limit == 0 || after.is_some_and(|after| own <= after) {
            return Ok(Vec::new());
        }
        let own = metadata.account(own).await?;
        Ok(own.into_iter().filter(|account| account.kind == AccountKind::User).collect())
    }

    /// Returns a user.
    pub async fn user(&self, name: &AccountName) -> Result<AccountRecord, ManageError> {
        if !self.is_administrator() && self.own_account()?.name != *name {
            return Err(not_found("user", name));
        }
        self.find(name, AccountKind::User).await
    }

    /// Creates a user.
    pub async fn add_user(
        &self,
        name: &AccountName,
        password: String,
        administrator: bool,
        description: String,
    ) -> Result<AccountRecord, ManageError> {
        let created = async {
            self.may_give_access()?;
            self.must_be_administrator()?;
            self.create(name, password, administrator, description, false).await
        };
        let detail = administrator.then(|| "an administrator".to_owned());
        self.end("user.add", name, detail, created.await).await
    }

    /// Creates an account for the requester, if the operator allows self-registration.
    pub async fn register(&self, name: &AccountName, password: String) -> Result<AccountRecord, ManageError> {
        let created = async {
            self.must_be_open_for_registration()?;
            if !name.has_namespace() {
                return Err(ManageError::NameUnfit { name: name.clone(), what: "a user who registers" });
            }
            if let Some(address) = self.requester.address {
                let counted = self.accounts.inner.throttle.registration(address, Instant::now());
                counted.map_err(|too_many| ManageError::TooMany { retry_after: too_many.retry_after })?;
            }
            self.create(name, password, false, String::new(), true).await
        };
        self.end("user.register", name, None, created.await).await
    }

    /// Checks that self-registration is open.
    ///
    /// # Errors
    /// [`ManageError::RegistrationClosed`].
    pub fn must_be_open_for_registration(&self) -> Result<(), ManageError> {
        // The first account puts access control in force, which is the operator's decision.
        let is_open = self.accounts.settings().self_registration && self.accounts.in_force();
        if is_open { Ok(()) } else { Err(ManageError::RegistrationClosed) }
    }

    async fn create(
        &self,
        name: &AccountName,
        password: String,
        administrator: bool,
        description: String,
        only_unused_namespace: bool,
    ) -> Result<AccountRecord, ManageError> {
        must_be_short(&description)?;
        if name.is_robot() {
            return Err(ManageError::NameUnfit { name: name.clone(), what: "a user" });
        }
        self.must_not_be_reserved(name)?;
        let password = self.hash(password, name).await?;
        let user = NewUser {
            name: name.clone(),
            password: Some(password),
            administrator,
            description,
            source: Source::Own,
            only_unused_namespace,
        };
        match self.metadata().add_user(user).await? {
            AddOutcome::Added(account) => Ok(account),
            AddOutcome::NameTaken => Err(ManageError::NameTaken(name.clone())),
            AddOutcome::NamespaceInUse => Err(ManageError::NamespaceInUse(name.clone())),
            AddOutcome::NameUnfit | AddOutcome::OwnerUnknown => {
                Err(ManageError::NameUnfit { name: name.clone(), what: "a user" })
            }
        }
    }

    /// Checks that the name is none of an upstream registry.
    pub(super) fn must_not_be_reserved(&self, name: &AccountName) -> Result<(), ManageError> {
        if self.metadata().is_reserved_namespace(name.as_str()) {
            return Err(ManageError::NameReserved(name.clone()));
        }
        Ok(())
    }

    async fn hash(&self, password: String, name: &AccountName) -> Result<PasswordHash, ManageError> {
        let password = Password::new(password, name.as_str())?;
        Ok(self.accounts.hash_password(password).await?)
    }

    /// Changes a user. Users may change their own description, and their own password after a sign-in with
    /// the old one. All other changes need an administrator.
    pub async fn change_user(
        &self,
        name: &AccountName,
        change: UserChange,
    ) -> Result<AccountRecord, ManageError> {
        let mut changes = Vec::new();
        changes.extend(change.password.as_ref().map(|_| "another password"));
        changes.extend(
            change.administrator.map(|yes| if yes { "an administrator" } else { "no administrator" }),
        );
        changes.extend(change.disabled.map(|yes| if yes { "disabled" } else { "enabled" }));
        changes.extend(change.description.as_ref().map(|_| "another description"));
        let changed = async {
            self.may_give_access()?;
            self.must_be_allowed_to_change(name, &change)?;
            self.find(name, AccountKind::User).await?;
            if let Some(description) = &change.description {
                must_be_short(description)?;
            }
            let password = match change.password {
                Some(password) => Some(self.hash(password, name).await?),
                None => None,
            };
            self.change_account(
                name,
                AccountChange {
                    password,
                    administrator: change.administrator,
                    disabled: change.disabled,
                    description: change.description,
                },
            )
            .await
        };
        let changed = changed.await;
        self.end("user.change", name, Some(changes.join(", ")), changed).await
    }

    fn must_be_allowed_to_change(&self, name: &AccountName, change: &UserChange) -> Result<(), ManageError> {
        if self.is_administrator() {
            return Ok(());
        }
        let own = self.own_account()?;
        if own.name != *name {
            return Err(not_found("user", name));
        }
        if change.administrator.is_some() || change.disabled.is_some() {
            return Err(ManageError::Denied("only an administrator may do this"));
        }
        if change.password.is_some() && !is_in_person(own) {
            return Err(ManageError::Denied("sign in with the old password to change it"));
        }
        Ok(())
    }

    /// Changes an account. The caller has checked its kind.
    pub(super) async fn change_account(
        &self,
        name: &AccountName,
        change: AccountChange,
    ) -> Result<AccountRecord, ManageError> {
        match self.metadata().change_account(name, change).await? {
            ChangeOutcome::Changed(account) => Ok(account),
            ChangeOutcome::NotFound => Err(not_found("account", name)),
            ChangeOutcome::NotOfThisKind => Err(ManageError::NotOfThisKind(name.clone())),
            ChangeOutcome::LastAdministrator => Err(ManageError::LastAdministrator),
            ChangeOutcome::PasswordElsewhere => Err(ManageError::PasswordElsewhere(name.clone())),
        }
    }

    /// Removes a user with its tokens and grants. With `force`, the user may own repositories, which stay.
    pub async fn remove_user(&self, name: &AccountName, force: bool) -> Result<(), ManageError> {
        let removed = async {
            self.must_be_administrator()?;
            self.find(name, AccountKind::User).await?;
            let file = self.accounts.inner.htpasswd.as_ref();
            if file.is_some_and(|file| file.users().password(name).is_some()) {
                return Err(ManageError::InTheFile(name.clone()));
            }
            self.remove_account(name, force).await
        };
        let detail = force.then(|| "forced".to_owned());
        self.end("user.remove", name, detail, removed.await).await
    }

    /// Removes an account. The caller has checked its kind.
    pub(super) async fn remove_account(&self, name: &AccountName, force: bool) -> Result<(), ManageError> {
        match self.metadata().remove_account(name, force).await? {
            RemoveOutcome::Removed => Ok(()),
            RemoveOutcome::NotFound => Err(not_found("account", name)),
            RemoveOutcome::LastAdministrator => Err(ManageError::LastAdministrator),
            RemoveOutcome::LastUser => Err(ManageError::LastUser),
            RemoveOutcome::LastOwner(organisations) => {
                let names: Vec<String> = organisations.iter().map(ToString::to_string).collect();
                Err(ManageError::LastOwner { user: name.clone(), organisations: names.join(", ") })
            }
            RemoveOutcome::HasRepositories(repository) => {
                Err(ManageError::HasRepositories { name: name.clone(), repository })
            }
        }
    }
}
