//! Permission cache: the rights of an account on a repository, and the repositories that it may list.
//!
//! Rights come from the store and are cached until accounts, tokens or grants change. The scope of a token
//! restricts them on each request. A cache hit neither waits nor allocates.

use std::hash::Hash;

use accounts::{AccountName, Right, Rights, Visible};
use oci::RepositoryName;
use quick_cache::Equivalent;
use quick_cache::sync::Cache;
use store::metadata::AccountRecord;

use super::{Accounts, Identity, TokenScope};
use crate::Error;

/// Cached pairs of account and repository.
const RIGHTS: usize = 65_536;
/// Accounts with a cached list.
const LISTS: usize = 4096;
/// The key of anonymous requests. Account ids begin at 1.
const ANONYMOUS: i64 = 0;

/// The result of an authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// The identity has the right.
    Allowed,
    /// The account has the right, but the bearer token does not include it. The client may request another
    /// token.
    OutOfScope,
    /// The identity may pull, so the refusal reveals nothing.
    Denied,
    /// The identity may not know of the repository: answer as if it did not exist.
    Hidden,
}

/// Each entry holds the generation of accounts for which it is valid.
pub(super) struct PermissionCache {
    rights: Cache<(i64, RepositoryName), (u64, Rights)>,
    visible: Cache<i64, (u64, Visible)>,
}

/// A borrowed key, so that a lookup clones nothing.
#[derive(Hash)]
struct Key<'a>(i64, &'a RepositoryName);

impl Equivalent<(i64, RepositoryName)> for Key<'_> {
    fn equivalent(&self, key: &(i64, RepositoryName)) -> bool {
        self.0 == key.0 && *self.1 == key.1
    }
}

impl PermissionCache {
    pub(super) fn new() -> Self {
        Self { rights: Cache::new(RIGHTS), visible: Cache::new(LISTS) }
    }
}

fn cache_key(identity: &Identity) -> i64 {
    identity.account().map_or(ANONYMOUS, |account| account.id)
}

/// Restricts the rights of the account to the scope of the token.
fn within(rights: Rights, scope: Option<&TokenScope>, repository: &RepositoryName) -> Rights {
    scope.map_or(rights, |scope| rights.intersection(scope.rights(repository)))
}

impl Accounts {
    /// The cached permission; `None` on a miss. Neither waits nor allocates.
    #[must_use]
    pub fn is_allowed_cached(
        &self,
        identity: &Identity,
        repository: &RepositoryName,
        right: Right,
    ) -> Option<bool> {
        let rights = self.cached_rights(identity, repository)?;
        Some(within(rights, identity.scope(), repository).allow(right))
    }

    /// The cached rights of the account, without the scope of its token.
    fn cached_rights(&self, identity: &Identity, repository: &RepositoryName) -> Option<Rights> {
        if matches!(identity, Identity::Operator) || !self.in_force() {
            return Some(Rights::ALL);
        }
        let (generation, rights) =
            self.inner.permission_cache.rights.get(&Key(cache_key(identity), repository))?;
        (generation == self.generation()).then_some(rights)
    }

    async fn account_rights(
        &self,
        identity: &Identity,
        repository: &RepositoryName,
    ) -> Result<Rights, Error> {
        if let Some(rights) = self.cached_rights(identity, repository) {
            return Ok(rights);
        }
        // Read before the query: a concurrent change then makes the entry stale.
        let generation = self.generation();
        let account = identity.account().map(|account| account.id);
        let granted = self.inner.metadata.rights_of(account, repository).await?;
        let rights = self.inner.location_rules.rights(identity, repository, granted);
        let key = (cache_key(identity), repository.clone());
        self.inner.permission_cache.rights.insert(key, (generation, rights));
        Ok(rights)
    }

    /// The rights of an identity on a repository, which need not exist.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn rights(&self, identity: &Identity, repository: &RepositoryName) -> Result<Rights, Error> {
        let rights = self.account_rights(identity, repository).await?;
        Ok(within(rights, identity.scope(), repository))
    }

    /// The rights of an account that did not sign in: none if it is disabled.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub(crate) async fn rights_of(
        &self,
        account: &AccountRecord,
        repository: &RepositoryName,
    ) -> Result<Rights, Error> {
        if account.disabled {
            return Ok(Rights::NONE);
        }
        self.rights(&Identity::of(account), repository).await
    }

    /// Whether an account may be told of the events of a repository by its webhook: it may pull and
    /// administer it.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub(crate) async fn may_watch(&self, account: &str, repository: &RepositoryName) -> Result<bool, Error> {
        let Ok(name) = account.parse::<AccountName>() else { return Ok(false) };
        let Some(account) = self.inner.metadata.account(&name).await? else { return Ok(false) };
        let rights = self.rights_of(&account, repository).await?;
        Ok(rights.allow(Right::Pull) && rights.allow(Right::Administer))
    }

    /// Whether the identity has a right on a repository.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn is_allowed(
        &self,
        identity: &Identity,
        repository: &RepositoryName,
        right: Right,
    ) -> Result<bool, Error> {
        Ok(self.rights(identity, repository).await?.allow(right))
    }

    /// Whether the account may have the registry fetch from an upstream. The scope of a bearer token does not
    /// count, because clients cannot ask for this right; the rights of a personal token do.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn may_fill(&self, identity: &Identity, repository: &RepositoryName) -> Result<bool, Error> {
        let rights = self.account_rights(identity, repository).await?;
        let rights = match identity.scope() {
            Some(scope @ TokenScope::Personal { .. }) => within(rights, Some(scope), repository),
            _ => rights,
        };
        Ok(rights.allow(Right::Fill))
    }

    /// Authorizes a request that needs this right.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn permission(
        &self,
        identity: &Identity,
        repository: &RepositoryName,
        right: Right,
    ) -> Result<Permission, Error> {
        let all = self.account_rights(identity, repository).await?;
        let allowed = within(all, identity.scope(), repository);
        let widest = identity.scope().map_or(all, |scope| all.intersection(scope.widest(repository)));
        Ok(if allowed.allow(right) {
            Permission::Allowed
        } else if identity.is_bearer() && widest.allow(right) {
            Permission::OutOfScope
        } else if allowed.allow(Right::Pull) || (identity.is_bearer() && widest.allow(Right::Pull)) {
            Permission::Denied
        } else {
            Permission::Hidden
        })
    }

    /// The repositories that the identity may pull, which are the possible sources of a mount.
    ///
    /// # Errors
    /// Only the errors of the store.
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

    /// The repositories that lists and searches show. `None` for a bearer token without `registry:catalog:*`.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn listable(&self, identity: &Identity) -> Result<Option<Visible>, Error> {
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
        let key = cache_key(identity);
        if let Some((cached_at, visible)) = self.inner.permission_cache.visible.get(&key)
            && cached_at == generation
        {
            return Ok(visible);
        }
        let account = identity.account().map(|account| account.id);
        let granted = Visible::only(self.inner.metadata.scopes_of(account).await?);
        let visible = self.inner.location_rules.visible(identity, granted);
        self.inner.permission_cache.visible.insert(key, (generation, visible.clone()));
        Ok(visible)
    }
}
