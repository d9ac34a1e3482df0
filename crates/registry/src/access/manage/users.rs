//! Users.

use std::time::Instant;

use accounts::AccountName;
use store::metadata::{
    AccountChange, AccountKind, AccountRecord, AddOutcome, ChangeOutcome, NewUser, PasswordHash,
    RemoveOutcome, Source,
};

use super::super::Password;
use super::{Manage, ManageError, checked, is_in_person, not_found};

/// What is to change about a user; `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// Another password.
    pub password: Option<String>,
    /// Whether they may do everything.
    pub administrator: Option<bool>,
    /// Whether they may do nothing.
    pub disabled: Option<bool>,
    /// What people should know of them.
    pub description: Option<String>,
}

impl Manage {
    /// Users in the order of their names, from the one after `after`. Who is no administrator finds
    /// nobody but themselves.
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

    /// A user.
    pub async fn user(&self, name: &AccountName) -> Result<AccountRecord, ManageError> {
        if !self.is_administrator() && self.own_account()?.name != *name {
            return Err(not_found("user", name));
        }
        self.find(name, AccountKind::User).await
    }

    /// Makes a user.
    pub async fn add_user(
        &self,
        name: &AccountName,
        password: String,
        administrator: bool,
        description: String,
    ) -> Result<AccountRecord, ManageError> {
        let made = async {
            self.must_be_administrator()?;
            self.make(name, password, administrator, description, false).await
        };
        let detail = administrator.then(|| "an administrator".to_owned());
        self.end("user.add", name, detail, made.await).await
    }

    /// Makes an account for whoever asks, if the operator allows that.
    pub async fn register(&self, name: &AccountName, password: String) -> Result<AccountRecord, ManageError> {
        let made = async {
            self.must_be_open_for_registration()?;
            if !name.has_namespace() {
                return Err(ManageError::NameUnfit { name: name.clone(), what: "a user who registers" });
            }
            if let Some(address) = self.asker.address {
                let counted = self.accounts.inner.throttle.registration(address, Instant::now());
                counted.map_err(|too_many| ManageError::TooMany { retry_after: too_many.retry_after })?;
            }
            self.make(name, password, false, String::new(), true).await
        };
        self.end("user.register", name, None, made.await).await
    }

    /// Refuses a registration before its body is read.
    ///
    /// # Errors
    /// [`ManageError::RegistrationClosed`].
    pub fn must_be_open_for_registration(&self) -> Result<(), ManageError> {
        // Without any account the first one closes the registry, which is not for anybody to do.
        let is_open = self.accounts.settings().self_registration && self.accounts.in_force();
        if is_open { Ok(()) } else { Err(ManageError::RegistrationClosed) }
    }

    async fn make(
        &self,
        name: &AccountName,
        password: String,
        administrator: bool,
        description: String,
        only_unused_namespace: bool,
    ) -> Result<AccountRecord, ManageError> {
        checked(&description)?;
        if name.is_robot() {
            return Err(ManageError::NameUnfit { name: name.clone(), what: "a user" });
        }
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

    async fn hash(&self, password: String, name: &AccountName) -> Result<PasswordHash, ManageError> {
        let password = Password::new(password, name.as_str())?;
        Ok(self.accounts.hash_password(password).await?)
    }

    /// Changes a user. Users change their own password, if they have just given the old one, and
    /// their own description; the rest is for administrators.
    pub async fn change_user(
        &self,
        name: &AccountName,
        change: UserChange,
    ) -> Result<AccountRecord, ManageError> {
        let mut said = Vec::new();
        said.extend(change.password.as_ref().map(|_| "another password"));
        said.extend(
            change.administrator.map(|yes| if yes { "an administrator" } else { "no administrator" }),
        );
        said.extend(change.disabled.map(|yes| if yes { "disabled" } else { "enabled" }));
        said.extend(change.description.as_ref().map(|_| "another description"));
        let changed = async {
            self.may_change_user(name, &change)?;
            self.find(name, AccountKind::User).await?;
            if let Some(description) = &change.description {
                checked(description)?;
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
        self.end("user.change", name, Some(said.join(", ")), changed).await
    }

    fn may_change_user(&self, name: &AccountName, change: &UserChange) -> Result<(), ManageError> {
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
            return Err(ManageError::Denied("sign in with the old password to give another one"));
        }
        Ok(())
    }

    /// Changes an account of which it is known that it is there, and of the right kind.
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

    /// Removes a user, with all that hangs on the account; with `force` also one who owns
    /// repositories, which stay.
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

    /// Removes an account of which it is known that it is there, and of the right kind.
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
