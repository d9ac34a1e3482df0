//! Explains access: the rights of an account on a repository, and the reasons.

use accounts::{AccountName, Rights, Role, Subject};
use oci::RepositoryName;
use store::metadata::{AccountKind, AccountRecord, GrantFilter, GrantRecord};

use super::super::Identity;
use super::{Manage, ManageError, not_found};

/// The grants of a repository that are compared.
const GRANTS: usize = 1_000;
/// The members of a team that are compared.
const MEMBERS: usize = 10_000;

/// The rights of an account on a repository, with the reasons.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The rights in effect.
    pub rights: Rights,
    /// The facts that give them.
    pub reasons: Vec<Reason>,
}

/// A fact that gives rights, or takes all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The registry has no accounts, so that everyone may do everything.
    NoAccounts,
    /// The account is disabled.
    Disabled,
    /// The account is an administrator.
    Administrator,
    /// The repository is in the namespace of the account.
    Owner,
    /// The account is a member of the organisation that owns the repository.
    Member(AccountName, Role),
    /// A grant.
    Grant(GrantRecord),
    /// A rule of the operator for the location.
    Location(Rights),
}

impl Manage {
    /// Explains the rights of an account, or of an anonymous client. Administrators ask about all accounts,
    /// others about themselves and about repositories that they may administer.
    pub async fn explain(
        &self,
        account: Option<&AccountName>,
        repository: &RepositoryName,
    ) -> Result<Explanation, ManageError> {
        if !account.is_some_and(|account| self.is(account)) {
            self.must_administer(repository).await?;
        }
        if !self.accounts.in_force() {
            return Ok(Explanation { rights: Rights::ALL, reasons: vec![Reason::NoAccounts] });
        }
        let record = match account {
            Some(name) => match self.metadata().account(name).await? {
                Some(record) if record.kind != AccountKind::Organisation => Some(record),
                _ => return Err(not_found("account", name)),
            },
            None => None,
        };
        let rights = match &record {
            Some(record) => self.accounts.rights_of(record, repository).await?,
            None => self.accounts.rights(&Identity::Anonymous, repository).await?,
        };
        let mut reasons = Vec::new();
        if let Some(record) = &record {
            self.explain_account(record, repository, &mut reasons).await?;
        }
        for grant in self.metadata().grants(GrantFilter::On(repository.clone()), None, GRANTS).await? {
            if self.has(account, &grant.subject).await? {
                reasons.push(Reason::Grant(grant));
            }
        }
        let stored = self.metadata().rights_of(record.as_ref().map(|record| record.id), repository).await?;
        if !stored.include(rights) {
            reasons.push(Reason::Location(rights));
        }
        Ok(Explanation { rights, reasons })
    }

    async fn explain_account(
        &self,
        record: &AccountRecord,
        repository: &RepositoryName,
        reasons: &mut Vec<Reason>,
    ) -> Result<(), ManageError> {
        if record.disabled {
            reasons.push(Reason::Disabled);
        }
        if record.administrator {
            reasons.push(Reason::Administrator);
        }
        let namespace = repository.as_str().split('/').next().unwrap_or_default();
        if self.metadata().is_reserved_namespace(namespace) {
            return Ok(());
        }
        if record.kind == AccountKind::User && record.name.owns(repository) {
            reasons.push(Reason::Owner);
        }
        let owner = repository.as_str().split('/').next().unwrap_or_default().parse::<AccountName>();
        if let Ok(organisation) = owner
            && let Some(role) = self.metadata().role_of(&organisation, record.id).await?
        {
            reasons.push(Reason::Member(organisation, role));
        }
        Ok(())
    }

    /// Whether a grant to `subject` is one to the account.
    async fn has(&self, account: Option<&AccountName>, subject: &Subject) -> Result<bool, ManageError> {
        Ok(match (subject, account) {
            (Subject::Everyone, _) => true,
            (_, None) => false,
            (Subject::Accounts, Some(_)) => true,
            (Subject::Account(name), Some(account)) => name == account,
            (Subject::Team(organisation, team), Some(account)) => {
                let members = self.metadata().team_members(organisation, team, None, MEMBERS).await?;
                members.is_some_and(|members| members.contains(account))
            }
        })
    }
}
