//! Organisations, their members and their teams.

use accounts::{AccountName, Role, TeamName};
use store::metadata::{
    AccountChange, AccountKind, AccountRecord, AddOutcome, MemberOutcome, MemberRecord, TeamOutcome,
    TeamRecord,
};

use super::{Manage, ManageError, must_be_short, not_found};

impl Manage {
    /// Returns organisations by name, beginning after `after`. Non-administrators see those of their
    /// memberships.
    pub async fn organisations(
        &self,
        after: Option<&AccountName>,
        limit: usize,
    ) -> Result<Vec<AccountRecord>, ManageError> {
        let metadata = self.metadata();
        if self.is_administrator() {
            return Ok(metadata.accounts(AccountKind::Organisation, after, limit).await?);
        }
        Ok(metadata.organisations_of(self.own_account()?.id, after, limit).await?)
    }

    /// Returns an organisation, for members and administrators.
    pub async fn organisation(&self, name: &AccountName) -> Result<AccountRecord, ManageError> {
        self.must_be_member(name).await?;
        self.find(name, AccountKind::Organisation).await
    }

    /// Creates an organisation. Its first owner is `owner`, or the requester.
    pub async fn add_organisation(
        &self,
        name: &AccountName,
        owner: Option<&AccountName>,
        description: String,
    ) -> Result<AccountRecord, ManageError> {
        let created = async {
            self.may_give_access()?;
            self.must_be_administrator()?;
            must_be_short(&description)?;
            self.must_not_be_reserved(name)?;
            let own = self.requester.identity.name();
            let owner = owner
                .or(own)
                .ok_or(ManageError::Denied("an organisation needs an owner: name an existing user"))?;
            match self.metadata().add_organisation(name, owner, description).await? {
                AddOutcome::Added(account) => Ok(account),
                AddOutcome::NameTaken => Err(ManageError::NameTaken(name.clone())),
                AddOutcome::OwnerUnknown => Err(ManageError::OwnerUnknown(owner.to_string())),
                AddOutcome::NamespaceInUse => Err(ManageError::NamespaceInUse(name.clone())),
                AddOutcome::NameUnfit => {
                    Err(ManageError::NameUnfit { name: name.clone(), what: "an organisation" })
                }
            }
        };
        let detail = owner.map(|owner| format!("owner: {owner}"));
        self.end("organisation.add", name, detail, created.await).await
    }

    /// Changes the description of an organisation.
    pub async fn describe_organisation(
        &self,
        name: &AccountName,
        description: String,
    ) -> Result<AccountRecord, ManageError> {
        let changed = async {
            self.must_be_owner(name).await?;
            self.find(name, AccountKind::Organisation).await?;
            must_be_short(&description)?;
            let change = AccountChange { description: Some(description), ..AccountChange::default() };
            self.change_account(name, change).await
        };
        self.end("organisation.change", name, None, changed.await).await
    }

    /// Removes an organisation with its teams and robots. With `force`, it may own repositories, which stay.
    pub async fn remove_organisation(&self, name: &AccountName, force: bool) -> Result<(), ManageError> {
        let removed = async {
            self.must_be_owner(name).await?;
            self.find(name, AccountKind::Organisation).await?;
            self.remove_account(name, force).await
        };
        let detail = force.then(|| "forced".to_owned());
        self.end("organisation.remove", name, detail, removed.await).await
    }

    /// Returns members by name, beginning after `after`.
    pub async fn members(
        &self,
        organisation: &AccountName,
        after: Option<&AccountName>,
        limit: usize,
    ) -> Result<Vec<MemberRecord>, ManageError> {
        self.organisation(organisation).await?;
        Ok(self.metadata().members(organisation, after, limit).await?)
    }

    /// Returns the memberships of a user, for the user and for administrators.
    pub async fn memberships(&self, user: &AccountName) -> Result<Vec<MemberRecord>, ManageError> {
        if !self.is_administrator() && !self.is(user) {
            return Err(not_found("user", user));
        }
        Ok(self.metadata().memberships(user).await?)
    }

    /// Adds a member, or changes the role of a member.
    pub async fn set_member(
        &self,
        organisation: &AccountName,
        user: &AccountName,
        role: Role,
    ) -> Result<(), ManageError> {
        let set = async {
            self.may_give_access()?;
            self.must_be_owner(organisation).await?;
            let outcome = self.metadata().set_member(organisation, user, role).await?;
            membership_result(outcome, user, "organisation", organisation)
        };
        let set = set.await;
        self.end("member.set", organisation, Some(format!("{user}: {role}")), set).await
    }

    /// Removes a member. Members may remove themselves.
    pub async fn remove_member(
        &self,
        organisation: &AccountName,
        user: &AccountName,
    ) -> Result<(), ManageError> {
        let removed = async {
            if !self.is(user) {
                self.must_be_owner(organisation).await?;
            }
            let outcome = self.metadata().remove_member(organisation, user).await?;
            membership_result(outcome, user, "organisation", organisation)
        };
        let removed = removed.await;
        self.end("member.remove", organisation, Some(user.to_string()), removed).await
    }

    /// Returns teams by name, beginning after `after`.
    pub async fn teams(
        &self,
        organisation: &AccountName,
        after: Option<&TeamName>,
        limit: usize,
    ) -> Result<Vec<TeamRecord>, ManageError> {
        self.organisation(organisation).await?;
        Ok(self.metadata().teams(organisation, after, limit).await?)
    }

    /// Creates a team.
    pub async fn add_team(&self, organisation: &AccountName, team: &TeamName) -> Result<(), ManageError> {
        let object = format!("{organisation}/{team}");
        let created = async {
            self.may_give_access()?;
            self.must_be_owner(organisation).await?;
            match self.metadata().add_team(organisation, team).await? {
                TeamOutcome::Added => Ok(()),
                TeamOutcome::NotFound => Err(not_found("organisation", organisation)),
                TeamOutcome::NameTaken => Err(ManageError::TeamTaken(object.clone())),
            }
        };
        self.end("team.add", &object, None, created.await).await
    }

    /// Removes a team and the grants to it.
    pub async fn remove_team(&self, organisation: &AccountName, team: &TeamName) -> Result<(), ManageError> {
        let object = format!("{organisation}/{team}");
        let removed = async {
            self.must_be_owner(organisation).await?;
            if self.metadata().remove_team(organisation, team).await? {
                return Ok(());
            }
            Err(not_found("team", &object))
        };
        self.end("team.remove", &object, None, removed.await).await
    }

    /// Returns the members of a team by name, beginning after `after`.
    pub async fn team_members(
        &self,
        organisation: &AccountName,
        team: &TeamName,
        after: Option<&AccountName>,
        limit: usize,
    ) -> Result<Vec<AccountName>, ManageError> {
        self.organisation(organisation).await?;
        let members = self.metadata().team_members(organisation, team, after, limit).await?;
        members.ok_or_else(|| not_found("team", format!("{organisation}/{team}")))
    }

    /// Adds a member of the organisation to a team.
    pub async fn add_team_member(
        &self,
        organisation: &AccountName,
        team: &TeamName,
        user: &AccountName,
    ) -> Result<(), ManageError> {
        let object = format!("{organisation}/{team}");
        let added = async {
            self.may_give_access()?;
            self.must_be_owner(organisation).await?;
            match self.metadata().add_team_member(organisation, team, user).await? {
                MemberOutcome::AccountUnknown => {
                    Err(ManageError::NotAMember { user: user.clone(), of: organisation.to_string() })
                }
                outcome => membership_result(outcome, user, "team", &object),
            }
        };
        let added = added.await;
        self.end("team.member.add", &object, Some(user.to_string()), added).await
    }

    /// Removes a user from a team.
    pub async fn remove_team_member(
        &self,
        organisation: &AccountName,
        team: &TeamName,
        user: &AccountName,
    ) -> Result<(), ManageError> {
        let object = format!("{organisation}/{team}");
        let removed = async {
            self.must_be_owner(organisation).await?;
            let outcome = self.metadata().remove_team_member(organisation, team, user).await?;
            membership_result(outcome, user, "team", &object)
        };
        let removed = removed.await;
        self.end("team.member.remove", &object, Some(user.to_string()), removed).await
    }

    /// Returns the role of the requester. To non-members the organisation does not exist.
    async fn must_be_member(&self, organisation: &AccountName) -> Result<Role, ManageError> {
        self.role_in(organisation).await?.ok_or_else(|| not_found("organisation", organisation))
    }

    pub(super) async fn must_be_owner(&self, organisation: &AccountName) -> Result<(), ManageError> {
        match self.must_be_member(organisation).await? {
            Role::Owner => Ok(()),
            _ => Err(ManageError::Denied("only an owner of the organisation may do this")),
        }
    }
}

fn membership_result(
    outcome: MemberOutcome,
    user: &AccountName,
    what: &'static str,
    name: impl ToString,
) -> Result<(), ManageError> {
    match outcome {
        MemberOutcome::Changed => Ok(()),
        MemberOutcome::NotFound => Err(not_found(what, name)),
        MemberOutcome::AccountUnknown => Err(not_found("user", user)),
        MemberOutcome::LastOwner => {
            Err(ManageError::LastOwner { user: user.clone(), organisations: name.to_string() })
        }
    }
}
