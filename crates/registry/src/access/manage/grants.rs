//! Grants: listed, set and removed.

use accounts::{AccountName, Pattern, Right, Rights, Role, Subject};
use oci::RepositoryName;
use store::metadata::{GrantFilter, GrantRecord, Limit, SetGrant};

use super::{Manage, ManageError, must_be_matchable, not_found};

/// The maximum number of grants on repositories of an owner. Each visible list evaluates all of them.
/// Administrators may make more.
const MAX_GRANTS: usize = 1_000;

/// The filter of a list of grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Grants {
    /// All; for non-administrators, the grants below their own name.
    #[default]
    All,
    /// Grants to exactly this subject.
    To(Subject),
    /// Grants whose pattern matches this repository.
    On(RepositoryName),
    /// Grants that reach only repositories below this name.
    Below(AccountName),
    /// Grants to this user or robot, to its teams, to all accounts and to everyone.
    Reaching(AccountName),
}

impl Manage {
    /// Returns grants in the order of their ids, beginning after `after`.
    pub async fn grants(
        &self,
        which: Grants,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<GrantRecord>, ManageError> {
        let filter = match which {
            Grants::All if self.is_administrator() => GrantFilter::All,
            Grants::All => GrantFilter::Below(self.own_account()?.name.clone()),
            Grants::To(subject) => {
                self.must_see_grants_to(&subject).await?;
                GrantFilter::Of(subject)
            }
            Grants::Reaching(account) => {
                self.must_see_grants_to(&Subject::Account(account.clone())).await?;
                GrantFilter::Reaching(account)
            }
            Grants::On(repository) => {
                self.must_administer(&repository).await?;
                GrantFilter::On(repository)
            }
            Grants::Below(name) => {
                self.must_own(name.as_str()).await?;
                GrantFilter::Below(name)
            }
        };
        Ok(self.metadata().grants(filter, after, limit).await?)
    }

    /// Grants a subject these rights, replacing an earlier grant with the same pattern.
    pub async fn set_grant(
        &self,
        subject: &Subject,
        pattern: &Pattern,
        rights: Rights,
    ) -> Result<(), ManageError> {
        let set = async {
            self.may_give_access()?;
            self.must_own_pattern(pattern).await?;
            must_be_matchable(pattern)?;
            self.must_know(subject).await?;
            let limit = Limit { what: "grants in this namespace", most: MAX_GRANTS };
            let limit = Some(limit).filter(|_| !self.is_administrator());
            match self.metadata().set_grant(subject, pattern, rights, limit).await? {
                SetGrant::Set => Ok(()),
                SetGrant::SubjectUnknown => Err(ManageError::SubjectUnknown(subject.clone())),
                SetGrant::NoRights => Err(ManageError::NoRights),
            }
        };
        let set = set.await;
        self.end("grant.set", pattern, Some(format!("{subject}: {rights}")), set).await
    }

    /// Checks that the requester may learn whether a subject exists. The robots and teams of others look
    /// absent, so that a grant does not serve to guess their names.
    async fn must_know(&self, subject: &Subject) -> Result<(), ManageError> {
        let owner = match subject {
            Subject::Team(organisation, _) => organisation.clone(),
            Subject::Account(name) => match name.robot() {
                Some((owner, _)) => owner,
                None => return Ok(()),
            },
            Subject::Everyone | Subject::Accounts => return Ok(()),
        };
        if self.is(&owner) || self.role_in(&owner).await?.is_some() {
            return Ok(());
        }
        Err(ManageError::SubjectUnknown(subject.clone()))
    }

    /// Removes a grant.
    pub async fn remove_grant(&self, subject: &Subject, pattern: &Pattern) -> Result<(), ManageError> {
        let removed = async {
            self.must_own_pattern(pattern).await?;
            if self.metadata().remove_grant(subject, pattern).await? {
                return Ok(());
            }
            Err(not_found("grant", format!("to {subject} on {pattern}")))
        };
        let removed = removed.await;
        self.end("grant.remove", pattern, Some(subject.to_string()), removed).await
    }

    /// Checks that the requester may administer all repositories of a pattern.
    pub(super) async fn must_own_pattern(&self, pattern: &Pattern) -> Result<(), ManageError> {
        if self.is_administrator() {
            return Ok(());
        }
        if pattern.is_exact()
            && let Ok(repository) = pattern.as_str().parse()
        {
            return self.must_administer(&repository).await;
        }
        match pattern.namespace() {
            Some(namespace) => self.must_own(namespace).await,
            None => {
                self.own_account()?;
                Err(ManageError::Denied("only an administrator may grant rights beyond one namespace"))
            }
        }
    }

    /// Checks that the requester owns a namespace, directly or as an owner of the organisation.
    async fn must_own(&self, namespace: &str) -> Result<(), ManageError> {
        if self.is_administrator() {
            return Ok(());
        }
        let own = self.own_account()?;
        if self.metadata().is_reserved_namespace(namespace) {
            return Err(ManageError::Denied(
                "only an administrator may do this below the name of an upstream",
            ));
        }
        if own.name.as_str() == namespace {
            return Ok(());
        }
        let name: AccountName = namespace.parse()?;
        match self.role_in(&name).await? {
            Some(Role::Owner) => Ok(()),
            _ => Err(ManageError::Denied("only the owner of all these repositories may do this")),
        }
    }

    /// Checks that the requester may administer a repository, which need not exist.
    pub(super) async fn must_administer(&self, repository: &RepositoryName) -> Result<(), ManageError> {
        if self.is_administrator() {
            return Ok(());
        }
        self.own_account()?;
        let rights = self.accounts.rights(&self.requester.identity, repository).await?;
        if rights.allow(Right::Administer) {
            return Ok(());
        }
        Err(ManageError::Denied("this needs the right to administer the repository"))
    }

    /// Checks that the requester may list the grants to a subject.
    async fn must_see_grants_to(&self, subject: &Subject) -> Result<(), ManageError> {
        if self.is_administrator() {
            return Ok(());
        }
        let own = self.own_account()?;
        let allowed = match subject {
            Subject::Account(name) if own.name == *name => true,
            Subject::Account(name) => match name.robot() {
                Some((owner, _)) => owner == own.name || self.role_in(&owner).await? == Some(Role::Owner),
                None => false,
            },
            Subject::Team(organisation, _) => self.role_in(organisation).await? == Some(Role::Owner),
            Subject::Everyone | Subject::Accounts => false,
        };
        if allowed { Ok(()) } else { Err(ManageError::Denied("only an administrator may do this")) }
    }
}
