//! Robots: accounts of programs, below a user or an organisation.

use accounts::AccountName;
use store::metadata::{AccountChange, AccountKind, AccountRecord, AddOutcome, Limit};

use super::super::{Secret, SecretKind};
use super::{MAX_CREDENTIALS, Manage, ManageError, must_be_short, not_found};

const A_ROBOT: &str = "a robot: write OWNER+NAME, such as acme+ci";

impl Manage {
    /// Returns robots by name, beginning after `after`: of `owner`, or all. Without `owner`,
    /// non-administrators see their own.
    pub async fn robots(
        &self,
        owner: Option<&AccountName>,
        after: Option<&AccountName>,
        limit: usize,
    ) -> Result<Vec<AccountRecord>, ManageError> {
        let own = match owner {
            Some(owner) => {
                self.must_own_robots_of(owner).await?;
                Some(owner)
            }
            None if self.is_administrator() => None,
            None => Some(&self.own_account()?.name),
        };
        Ok(self.metadata().robots(own, after, limit).await?)
    }

    /// Returns a robot.
    pub async fn robot(&self, name: &AccountName) -> Result<AccountRecord, ManageError> {
        self.must_own_robot(name).await?;
        self.find(name, AccountKind::Robot).await
    }

    /// Creates a robot. The secret cannot be read again.
    pub async fn add_robot(
        &self,
        name: &AccountName,
        description: String,
    ) -> Result<(AccountRecord, Secret), ManageError> {
        let created = async {
            let unfit = || ManageError::NameUnfit { name: name.clone(), what: A_ROBOT };
            self.may_give_access()?;
            if name.robot().is_none() {
                return Err(unfit());
            }
            let owner = self.must_own_robot(name).await?;
            must_be_short(&description)?;
            let limit = Limit { what: "robots", most: MAX_CREDENTIALS };
            let secret = Secret::new(SecretKind::Robot).map_err(ManageError::Random)?;
            match self.metadata().add_robot(name, secret.hash(), description, Some(limit)).await? {
                AddOutcome::Added(account) => Ok((account, secret)),
                AddOutcome::NameTaken | AddOutcome::NamespaceInUse => {
                    Err(ManageError::NameTaken(name.clone()))
                }
                AddOutcome::NameUnfit => Err(unfit()),
                AddOutcome::OwnerUnknown => Err(ManageError::OwnerUnknown(owner.to_string())),
            }
        };
        self.end("robot.add", name, None, created.await).await
    }

    /// Changes a robot; `None` leaves a value unchanged.
    pub async fn change_robot(
        &self,
        name: &AccountName,
        disabled: Option<bool>,
        description: Option<String>,
    ) -> Result<AccountRecord, ManageError> {
        let detail = disabled.map(|yes| if yes { "disabled" } else { "enabled" }.to_owned());
        let changed = async {
            self.may_give_access()?;
            self.robot(name).await?;
            must_be_short(description.as_deref().unwrap_or_default())?;
            self.change_account(name, AccountChange { disabled, description, ..AccountChange::default() })
                .await
        };
        self.end("robot.change", name, detail, changed.await).await
    }

    /// Replaces the secret of a robot. The old one stops working.
    pub async fn new_robot_secret(&self, name: &AccountName) -> Result<Secret, ManageError> {
        let created = async {
            self.may_give_access()?;
            self.robot(name).await?;
            let secret = Secret::new(SecretKind::Robot).map_err(ManageError::Random)?;
            if self.metadata().set_robot_secret(name, secret.hash()).await? {
                return Ok(secret);
            }
            Err(not_found("robot", name))
        };
        self.end("robot.secret", name, None, created.await).await
    }

    /// Removes a robot and the grants to it.
    pub async fn remove_robot(&self, name: &AccountName) -> Result<(), ManageError> {
        let removed = async {
            self.robot(name).await?;
            self.remove_account(name, false).await
        };
        self.end("robot.remove", name, None, removed.await).await
    }

    /// Returns the owner of a robot. The requester must be the owner, or an owner of the organisation.
    async fn must_own_robot(&self, name: &AccountName) -> Result<AccountName, ManageError> {
        let Some((owner, _)) = name.robot() else { return Err(not_found("robot", name)) };
        match self.must_own_robots_of(&owner).await {
            Ok(()) => Ok(owner),
            // Hides the names of robots that the requester may not manage.
            Err(ManageError::NotFound { .. }) => Err(not_found("robot", name)),
            Err(error) => Err(error),
        }
    }

    async fn must_own_robots_of(&self, owner: &AccountName) -> Result<(), ManageError> {
        if self.is_administrator() || self.is(owner) { Ok(()) } else { self.must_be_owner(owner).await }
    }
}
