//! What somebody may do with a repository, and which repositories they may know of.
//!
//! The store says what an account may; here that is remembered until anything about accounts
//! changes, and a token's own limits are taken into account. A request for a manifest in memory
//! is decided without waiting and without allocating.

use std::hash::Hash;

use accounts::{Right, Rights, Visible};
use oci::RepositoryName;
use quick_cache::Equivalent;
use quick_cache::sync::Cache;

use super::{Accounts, Identity, TokenScope};
use crate::Error;

/// Decisions that are remembered.
const DECISIONS: usize = 65_536;
/// Accounts whose lists are remembered.
const LISTS: usize = 4096;
/// Stands for nobody among the numbers of accounts, which begin at 1.
const NOBODY: i64 = 0;

/// How a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is carried out.
    Allowed,
    /// The account may, but the bearer token that was sent is not for this. Another can be had.
    OutOfScope,
    /// Not allowed on a repository that may be known of.
    Denied,
    /// The repository is as if it did not exist.
    Hidden,
}

/// Remembered decisions, each with the generation under which it was made.
pub(super) struct PermissionCache {
    rights: Cache<(i64, RepositoryName), (u64, Rights)>,
    visible: Cache<i64, (u64, Visible)>,
}

/// A key by reference, so that a look-up clones nothing.
#[derive(Hash)]
struct Key<'a>(i64, &'a RepositoryName);

impl Equivalent<(i64, RepositoryName)> for Key<'_> {
    fn equivalent(&self, key: &(i64, RepositoryName)) -> bool {
        self.0 == key.0 && *self.1 == key.1
    }
}

impl PermissionCache {
    pub(super) fn new() -> Self {
        Self { rights: Cache::new(DECISIONS), visible: Cache::new(LISTS) }
    }
}

fn number(identity: &Identity) -> i64 {
    identity.account().map_or(NOBODY, |account| account.id)
}

/// What the token allows of what the account may.
fn within(rights: Rights, scope: Option<&TokenScope>, repository: &RepositoryName) -> Rights {
    scope.map_or(rights, |scope| rights.intersection(scope.rights(repository)))
}

impl Accounts {
    /// Whether this is allowed, if that can be said without waiting. Neither waits nor allocates.
    #[must_use]
    pub fn decided(&self, identity: &Identity, repository: &RepositoryName, right: Right) -> Option<bool> {
        let rights = self.decided_rights(identity, repository)?;
        Some(within(rights, identity.scope(), repository).allow(right))
    }

    /// What the account may do whatever its token says, if that can be said without waiting.
    fn decided_rights(&self, identity: &Identity, repository: &RepositoryName) -> Option<Rights> {
        if matches!(identity, Identity::Operator) || !self.in_force() {
            return Some(Rights::ALL);
        }
        let (generation, rights) =
            self.inner.permission_cache.rights.get(&Key(number(identity), repository))?;
        (generation == self.generation()).then_some(rights)
    }

    async fn account_rights(
        &self,
        identity: &Identity,
        repository: &RepositoryName,
    ) -> Result<Rights, Error> {
        if let Some(rights) = self.decided_rights(identity, repository) {
            return Ok(rights);
        }
        // Before the store is asked: a change that comes meanwhile makes the answer an old one.
        let generation = self.generation();
        let account = identity.account().map(|account| account.id);
        let granted = self.inner.metadata.rights_of(account, repository).await?;
        let rights = self.inner.admissions.rights(identity, repository, granted);
        let key = (number(identity), repository.clone());
        self.inner.permission_cache.rights.insert(key, (generation, rights));
        Ok(rights)
    }

    /// What somebody may do with a repository, whether it is there or not.
    ///
    /// # Errors
    /// Only those of the store.
    pub async fn rights(&self, identity: &Identity, repository: &RepositoryName) -> Result<Rights, Error> {
        let rights = self.account_rights(identity, repository).await?;
        Ok(within(rights, identity.scope(), repository))
    }

    /// Whether somebody may do this with a repository.
    ///
    /// # Errors
    /// Only those of the store.
    pub async fn may(
        &self,
        identity: &Identity,
        repository: &RepositoryName,
        right: Right,
    ) -> Result<bool, Error> {
        Ok(self.rights(identity, repository).await?.allow(right))
    }

    /// How a request that needs this right is answered.
    ///
    /// # Errors
    /// Only those of the store.
    pub async fn verdict(
        &self,
        identity: &Identity,
        repository: &RepositoryName,
        right: Right,
    ) -> Result<Verdict, Error> {
        let all = self.account_rights(identity, repository).await?;
        let allowed = within(all, identity.scope(), repository);
        Ok(if allowed.allow(right) {
            Verdict::Allowed
        } else if identity.is_bearer() && all.allow(right) {
            Verdict::OutOfScope
        } else if allowed.allow(Right::Pull) || (identity.is_bearer() && all.allow(Right::Pull)) {
            Verdict::Denied
        } else {
            Verdict::Hidden
        })
    }

    /// The repositories that somebody may pull: those from which blobs can be mounted.
    ///
    /// # Errors
    /// Only those of the store.
    pub async fn visible(&self, identity: &Identity) -> Result<Visible, Error> {
        let all = self.account_visible(identity).await?;
        Ok(match identity.scope() {
            None => all,
            Some(TokenScope::Personal { rights, patterns }) => {
                if rights.is_some_and(|rights| !rights.allow(Right::Pull)) {
                    return Ok(Visible::nothing());
                }
                patterns.as_ref().map_or_else(|| all.clone(), |patterns| all.restricted_to(patterns))
            }
            Some(scope @ TokenScope::Bearer { repositories, .. }) => {
                let pulled = repositories.iter().filter(|(name, _)| scope.rights(name).allow(Right::Pull));
                let pulled: Vec<_> = pulled.map(|(name, _)| name.into()).collect();
                all.restricted_to(&pulled)
            }
        })
    }

    /// The repositories that lists and searches show to somebody. `None` for a bearer token that
    /// is not for lists: another can be had, for `registry:catalog:*`.
    ///
    /// # Errors
    /// Only those of the store.
    pub async fn listed(&self, identity: &Identity) -> Result<Option<Visible>, Error> {
        match identity.scope() {
            Some(TokenScope::Bearer { catalog: false, .. }) => Ok(None),
            Some(TokenScope::Bearer { catalog: true, patterns, .. }) => {
                let all = self.account_visible(identity).await?;
                Ok(Some(
                    patterns.as_ref().map_or_else(|| all.clone(), |patterns| all.restricted_to(patterns)),
                ))
            }
            _ => self.visible(identity).await.map(Some),
        }
    }

    async fn account_visible(&self, identity: &Identity) -> Result<Visible, Error> {
        if matches!(identity, Identity::Operator) || !self.in_force() {
            return Ok(Visible::Everything);
        }
        let generation = self.generation();
        let number = number(identity);
        if let Some((made, visible)) = self.inner.permission_cache.visible.get(&number)
            && made == generation
        {
            return Ok(visible);
        }
        let account = identity.account().map(|account| account.id);
        let granted = Visible::only(self.inner.metadata.scopes_of(account).await?);
        let visible = self.inner.admissions.visible(identity, granted);
        self.inner.permission_cache.visible.insert(number, (generation, visible.clone()));
        Ok(visible)
    }
}
