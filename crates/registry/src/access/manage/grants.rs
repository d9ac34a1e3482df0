//! Grants.

use accounts::{AccountName, Pattern, Right, Rights, Role, Subject};
use oci::RepositoryName;
use store::metadata::{GrantFilter, GrantRecord, SetGrant};

use super::{Manage, ManageError, fitting, not_found};

/// Which grants are to be listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Grants {
    /// All; for who is no administrator, those on what they own.
    #[default]
    All,
    /// Those to this subject itself.
    To(Subject),
    /// Those that give somebody something on this repository.
    On(RepositoryName),
    /// Those on repositories below this name alone.
    Below(AccountName),
}

impl Manage {
    /// Grants in the order of their numbers, from the one after `after`.
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
                self.may_list_grants_to(&subject).await?;
                GrantFilter::Of(subject)
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

    /// Gives a subject these rights on these repositories, in place of those that the same grant
    /// gave before.
    pub async fn set_grant(
        &self,
        subject: &Subject,
        pattern: &Pattern,
        rights: Rights,
    ) -> Result<(), ManageError> {
        let set = async {
            self.may_grant(pattern).await?;
            fitting(pattern)?;
            match self.metadata().set_grant(subject, pattern, rights).await? {
                SetGrant::Set => Ok(()),
                SetGrant::SubjectUnknown => Err(ManageError::SubjectUnknown(subject.clone())),
                SetGrant::NoRights => Err(ManageError::NoRights),
            }
        };
        let set = set.await;
        self.end("grant.set", pattern, Some(format!("{subject}: {rights}")), set).await
    }

    /// Takes back a grant.
    pub async fn remove_grant(&self, subject: &Subject, pattern: &Pattern) -> Result<(), ManageError> {
        let removed = async {
            self.may_grant(pattern).await?;
            if self.metadata().remove_grant(subject, pattern).await? {
                return Ok(());
            }
            Err(not_found("grant", format!("to {subject} on {pattern}")))
        };
        let removed = removed.await;
        self.end("grant.remove", pattern, Some(subject.to_string()), removed).await
    }

    /// Whether the asker may say who may do what with all repositories of a pattern.
    async fn may_grant(&self, pattern: &Pattern) -> Result<(), ManageError> {
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
                Err(ManageError::Denied("only an administrator may grant what reaches beyond one name"))
            }
        }
    }

    /// The asker must be the owner of what lies below a name, or an owner of the organisation.
    async fn must_own(&self, namespace: &str) -> Result<(), ManageError> {
        if self.is_administrator() {
            return Ok(());
        }
        let own = self.own_account()?;
        if own.name.as_str() == namespace {
            return Ok(());
        }
        let name: AccountName = namespace.parse()?;
        match self.role_in(&name).await? {
            Some(Role::Owner) => Ok(()),
            _ => Err(ManageError::Denied("only who owns all these repositories may do this")),
        }
    }

    /// The asker must be allowed to administer a repository, whether it is there or not.
    async fn must_administer(&self, repository: &RepositoryName) -> Result<(), ManageError> {
        if self.is_administrator() {
            return Ok(());
        }
        self.own_account()?;
        let rights = self.accounts.rights(&self.asker.identity, repository).await?;
        if rights.allow(Right::Administer) {
            return Ok(());
        }
        Err(ManageError::Denied("only who may administer this repository may do this"))
    }

    /// Whether the asker may know what a subject was granted.
    async fn may_list_grants_to(&self, subject: &Subject) -> Result<(), ManageError> {
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
