//! Authorization: the rights of an account on a repository, and the repositories that it may list.
//!
//! A decision takes a few index lookups. Their number depends on the depth of the name and on the teams of
//! the account, not on the number of accounts and grants. Only the account's own grants whose literal prefix
//! fits are matched as patterns.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use oci::RepositoryName;

use super::super::Metadata;
use super::super::columns;
use super::super::sql::{Row, Sql, params};
use super::AccountKind;
use super::grants::SubjectKey;
use crate::StoreError;
use accounts::{AccountName, Pattern, Rights, Role, lookup_keys};

/// The number of keys of a name in one statement. Most names have no more.
const KEYS: usize = 4;

impl Metadata {
    /// Returns the rights of an account, or of an anonymous client, on a repository that need not exist.
    /// Administrators and the owner of the namespace have all rights. Others have those of their role in the
    /// owning organisation and of the grants to them, their teams, all accounts and everyone. A disabled or
    /// unknown account has none.
    pub async fn rights_of(
        &self,
        account: Option<i64>,
        repository: &RepositoryName,
    ) -> Result<Rights, StoreError> {
        let repository = repository.clone();
        let owner = repository.as_str().split('/').next().unwrap_or_default();
        let is_reserved = self.is_reserved_namespace(owner);
        self.read(move |sql| match account {
            None => granted(sql, None, &repository),
            Some(id) => match Holder::find(sql, id)? {
                Some(holder) if is_reserved && !holder.administrator => granted(sql, Some(id), &repository),
                Some(holder) => holder.rights(sql, &repository),
                None => Ok(Rights::NONE),
            },
        })
        .await
    }

    /// Sets the namespaces that no account owns, whatever its name: those of upstream registries.
    pub fn reserve_namespaces(&self, namespaces: HashSet<String>) {
        *self.inner.reserved.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(namespaces);
    }

    /// Whether no account owns a namespace.
    #[must_use]
    pub fn is_reserved_namespace(&self, namespace: &str) -> bool {
        self.reserved_namespaces().contains(namespace)
    }

    fn reserved_namespaces(&self) -> Arc<HashSet<String>> {
        self.inner.reserved.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the patterns of the repositories that an account, or an anonymous client, may pull. Patterns
    /// may overlap.
    pub async fn scopes_of(&self, account: Option<i64>) -> Result<Vec<Pattern>, StoreError> {
        let reserved = self.reserved_namespaces();
        self.read(move |sql| {
            let is_free = |owner: &AccountName| !reserved.contains(owner.as_str());
            let mut scopes = Vec::new();
            let mut add = |subject| patterns_of(sql, subject, &mut scopes);
            let Some(id) = account else {
                add(SubjectKey::EVERYONE)?;
                return Ok(scopes);
            };
            let Some(holder) = Holder::find(sql, id)? else { return Ok(scopes) };
            if holder.administrator {
                return Ok(vec![Pattern::everything()]);
            }
            add(SubjectKey::EVERYONE)?;
            add(SubjectKey::ACCOUNTS)?;
            add(SubjectKey::account(id))?;
            for team in sql.all(
                "SELECT team FROM team_members WHERE account = ?1 ORDER BY team",
                params![id],
                |row| row.get(0),
            )? {
                add(SubjectKey::team(team))?;
            }
            if holder.kind == AccountKind::User && is_free(&holder.name) {
                scopes.extend(holder.name.namespace());
            }
            let organisations: Vec<AccountName> = sql.all(
                "SELECT o.name FROM members m JOIN accounts o ON o.id = m.organisation WHERE m.account = ?1",
                params![id],
                |row| columns::text(row, 0),
            )?;
            let organisations = organisations.iter().filter(|name| is_free(name));
            scopes.extend(organisations.filter_map(AccountName::namespace));
            Ok(scopes)
        })
        .await
    }
}

/// An enabled account.
struct Holder {
    id: i64,
    name: AccountName,
    kind: AccountKind,
    administrator: bool,
}

impl Holder {
    /// Returns `None` if the account is unknown, or it or its owner is disabled.
    fn find(sql: Sql<'_>, id: i64) -> Result<Option<Self>, StoreError> {
        sql.first(
            "SELECT a.name, a.kind, a.administrator FROM accounts a LEFT JOIN accounts o ON o.id = a.owner
             WHERE a.id = ?1 AND a.disabled = 0 AND a.gone = 0
               AND COALESCE(o.disabled, 0) = 0 AND COALESCE(o.gone, 0) = 0",
            params![id],
            |row| {
                Ok(Self {
                    id,
                    name: columns::text(row, 0)?,
                    kind: columns::text(row, 1)?,
                    administrator: row.get(2)?,
                })
            },
        )
    }

    fn rights(&self, sql: Sql<'_>, repository: &RepositoryName) -> Result<Rights, StoreError> {
        let is_owner = self.kind == AccountKind::User && self.name.owns(repository);
        if self.administrator || is_owner {
            return Ok(Rights::ALL);
        }
        let role = role_in_owner(sql, self.id, repository)?.map_or(Rights::NONE, Role::rights);
        if role == Rights::ALL {
            return Ok(role);
        }
        Ok(role.union(granted(sql, Some(self.id), repository)?))
    }
}

/// The role of an account in the organisation that owns the repository.
fn role_in_owner(
    sql: Sql<'_>,
    account: i64,
    repository: &RepositoryName,
) -> Result<Option<Role>, StoreError> {
    let Some((owner, _)) = repository.as_str().split_once('/') else { return Ok(None) };
    sql.first(
        "SELECT m.role FROM accounts o JOIN members m ON m.organisation = o.id AND m.account = ?2
         WHERE o.name = ?1",
        params![owner, account],
        |row| columns::text(row, 0),
    )
}

/// The rights granted on a repository to everyone, and for an account also to all accounts, to it and to its
/// teams.
fn granted(sql: Sql<'_>, account: Option<i64>, repository: &RepositoryName) -> Result<Rights, StoreError> {
    let mut rights = Rights::NONE;
    let keys: Vec<&str> = lookup_keys(repository).collect();
    for keys in keys.chunks(KEYS) {
        // The last key fills up an incomplete set.
        let key = |at: usize| keys[at.min(keys.len() - 1)];
        let [a, b, c, d] = [key(0), key(1), key(2), key(3)];
        let mut look = |row: &Row<'_>| {
            let pattern: Pattern = columns::text(row, 0)?;
            if pattern.matches(repository) {
                rights = rights.union(columns::rights(row, 1)?);
            }
            Ok(())
        };
        match account {
            Some(account) => sql.each(OF_ACCOUNT, params![a, b, c, d, account], &mut look)?,
            None => sql.each(OF_EVERYONE, params![a, b, c, d], &mut look)?,
        }
    }
    Ok(rights)
}

const OF_EVERYONE: &str = "SELECT pattern, rights FROM grants
     WHERE subject_kind = 0 AND subject = 0 AND prefix IN (?1, ?2, ?3, ?4)";

const OF_ACCOUNT: &str = "SELECT pattern, rights FROM grants
     WHERE subject_kind = 0 AND subject = 0 AND prefix IN (?1, ?2, ?3, ?4)
     UNION ALL
     SELECT pattern, rights FROM grants
     WHERE subject_kind = 1 AND subject = 0 AND prefix IN (?1, ?2, ?3, ?4)
     UNION ALL
     SELECT pattern, rights FROM grants
     WHERE subject_kind = 2 AND subject = ?5 AND prefix IN (?1, ?2, ?3, ?4)
     UNION ALL
     SELECT g.pattern, g.rights FROM team_members t
     JOIN grants g ON g.subject_kind = 3 AND g.subject = t.team AND g.prefix IN (?1, ?2, ?3, ?4)
     WHERE t.account = ?5";

fn patterns_of(sql: Sql<'_>, subject: SubjectKey, patterns: &mut Vec<Pattern>) -> Result<(), StoreError> {
    sql.each(
        "SELECT pattern FROM grants WHERE subject_kind = ?1 AND subject = ?2",
        params![subject.kind, subject.id],
        |row| {
            patterns.push(columns::text(row, 0)?);
            Ok(())
        },
    )
}
