//! Accounts of all kinds: create, change, find, remove; and operations on users.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

use oci::RepositoryName;

use super::super::Metadata;
use super::super::columns;
use super::super::sql::{Sql, params};
use super::super::webhooks;
use super::super::writer::Durability;
use super::account_rows::{New, account_columns, add, find, first_below, record};
use super::{
    AccountChange, AccountKind, AccountRecord, AddOutcome, ChangeOutcome, NewUser, RemoveOutcome, Source,
    SyncedFile, TokenKind, grants, tokens,
};
use crate::StoreError;
use accounts::{AccountName, Role};

impl Metadata {
    /// Creates a user and writes the accounts mark.
    pub async fn add_user(&self, user: NewUser) -> Result<AddOutcome, StoreError> {
        let mark = Arc::clone(&self.inner.accounts_mark);
        let added = self.write(Durability::Disk, move |sql| {
            if user.name.is_robot() {
                return Ok(AddOutcome::NameUnfit);
            }
            if user.only_unused_namespace && user.name.has_namespace() && leaves_something(sql, &user.name)? {
                return Ok(AddOutcome::NamespaceInUse);
            }
            let new = New {
                name: &user.name,
                kind: AccountKind::User,
                owner: None,
                password: user.password.as_ref(),
                source: user.source,
                administrator: user.administrator,
                description: &user.description,
            };
            let added = add(sql, &new)?;
            if matches!(added, AddOutcome::Added(_)) {
                mark.write()?;
            }
            Ok(added)
        });
        let added = added.await;
        self.close_accounts_mark(added.is_ok()).await?;
        added
    }

    /// Confirms the accounts mark after a commit. Removes a new one after a failure, because without an
    /// account it would keep an open registry from starting.
    async fn close_accounts_mark(&self, is_committed: bool) -> Result<(), StoreError> {
        let mark = Arc::clone(&self.inner.accounts_mark);
        if is_committed {
            mark.confirm();
            return Ok(());
        }
        self.write(Durability::Process, move |sql| if has_users(sql, None)? { Ok(()) } else { mark.revoke() })
            .await
    }

    /// Changes an account. A new password revokes its refresh tokens and sessions, and so does disabling it.
    pub async fn change_account(
        &self,
        name: &AccountName,
        change: AccountChange,
    ) -> Result<ChangeOutcome, StoreError> {
        let name = name.clone();
        self.write(Durability::Disk, move |sql| {
            let Some(before) = find(sql, &name)? else { return Ok(ChangeOutcome::NotFound) };
            let fits = match before.kind {
                AccountKind::User => true,
                AccountKind::Robot => change.password.is_none() && change.administrator.is_none(),
                AccountKind::Organisation => {
                    change.password.is_none() && change.administrator.is_none() && change.disabled.is_none()
                }
            };
            if !fits {
                return Ok(ChangeOutcome::NotOfThisKind);
            }
            if change.password.is_some() && before.source != Source::Own {
                return Ok(ChangeOutcome::PasswordElsewhere);
            }
            let ends = change.administrator == Some(false) || change.disabled == Some(true);
            if ends && is_last_administrator(sql, before.id)? {
                return Ok(ChangeOutcome::LastAdministrator);
            }
            if change.password.is_some() || change.disabled == Some(true) {
                tokens::revoke(sql, before.id, TokenKind::Refresh)?;
                tokens::revoke(sql, before.id, TokenKind::Session)?;
            }
            sql.run(
                "UPDATE accounts SET password = COALESCE(?2, password), description = COALESCE(?3, description),
                        administrator = COALESCE(?4, administrator), disabled = COALESCE(?5, disabled)
                 WHERE id = ?1",
                params![
                    before.id,
                    change.password.as_ref().map(|hash| &hash.0),
                    change.description,
                    change.administrator,
                    change.disabled
                ],
            )?;
            Ok(find(sql, &name)?.map_or(ChangeOutcome::NotFound, ChangeOutcome::Changed))
        })
        .await
    }

    /// Removes an account with its robots, tokens, memberships, teams, webhooks, and the grants to it and
    /// below its name. Its uploads lose their owner. `force` also removes an account that owns repositories,
    /// which stay, and the last user.
    pub async fn remove_account(&self, name: &AccountName, force: bool) -> Result<RemoveOutcome, StoreError> {
        let name = name.clone();
        self.write(Durability::Disk, move |sql| {
            let Some(account) = find(sql, &name)? else { return Ok(RemoveOutcome::NotFound) };
            if let Some(refusal) = why_not_remove(sql, &account, force)? {
                return Ok(refusal);
            }
            remove(sql, &account)?;
            Ok(RemoveOutcome::Removed)
        })
        .await
    }

    /// Returns an account by its name.
    pub async fn account(&self, name: &AccountName) -> Result<Option<AccountRecord>, StoreError> {
        let name = name.clone();
        self.read(move |sql| find(sql, &name)).await
    }

    /// Returns an account by its id.
    pub async fn account_by_id(&self, id: i64) -> Result<Option<AccountRecord>, StoreError> {
        self.read(move |sql| sql.first(concat!(account_columns!(), " WHERE a.id = ?1"), params![id], record))
            .await
    }

    /// Returns the accounts of a kind, by name after `after`.
    pub async fn accounts(
        &self,
        kind: AccountKind,
        after: Option<&AccountName>,
        limit: usize,
    ) -> Result<Vec<AccountRecord>, StoreError> {
        let after = after.map(|name| name.as_str().to_owned()).unwrap_or_default();
        self.read(move |sql| {
            sql.all(
                concat!(account_columns!(), " WHERE a.kind = ?1 AND a.name > ?2 ORDER BY a.name LIMIT ?3"),
                params![kind.as_str(), after, columns::limit_in(limit)],
                record,
            )
        })
        .await
    }

    /// Whether there is a user, disabled or not. Then the registry requires accounts.
    pub async fn has_users(&self) -> Result<bool, StoreError> {
        self.read(|sql| has_users(sql, None)).await
    }

    /// The number of users, disabled ones included.
    pub async fn count_users(&self) -> Result<u64, StoreError> {
        let count = self
            .read(|sql| {
                sql.first(
                    "SELECT COUNT(*) FROM accounts WHERE kind = ?1",
                    params![AccountKind::User.as_str()],
                    |row| columns::count(row, 0),
                )
            })
            .await?;
        Ok(count.unwrap_or(0))
    }

    /// Returns a repository below `name/`, if the namespace has one.
    pub async fn namespace_in_use(&self, name: &AccountName) -> Result<Option<RepositoryName>, StoreError> {
        let name = name.clone();
        self.read(move |sql| if name.has_namespace() { first_below(sql, &name) } else { Ok(None) }).await
    }

    /// Synchronises the users with all names of an htpasswd file: adds missing ones, disables those that left
    /// the file, and enables those that returned.
    pub async fn sync_file_users(&self, names: Vec<AccountName>) -> Result<SyncedFile, StoreError> {
        let mark = Arc::clone(&self.inner.accounts_mark);
        let synced = self.write(Durability::Disk, move |sql| {
            let mut synced = SyncedFile::default();
            let mut staying = HashSet::new();
            for name in &names {
                match find(sql, name)? {
                    Some(known) if known.kind == AccountKind::User && known.source == Source::File => {
                        staying.insert(known.id);
                    }
                    Some(_) => synced.taken.push(name.clone()),
                    None if name.is_robot() => synced.taken.push(name.clone()),
                    None => {
                        let new = New {
                            name,
                            kind: AccountKind::User,
                            owner: None,
                            password: None,
                            source: Source::File,
                            administrator: false,
                            description: "",
                        };
                        match add(sql, &new)? {
                            AddOutcome::Added(added) => {
                                mark.write()?;
                                staying.insert(added.id);
                                synced.changed += 1;
                                synced.made.push(name.clone());
                            }
                            _ => synced.other_case.push(name.clone()),
                        }
                    }
                }
            }
            let known: Vec<(i64, bool)> = sql.all(
                "SELECT id, gone FROM accounts WHERE kind = ?1 AND source = ?2",
                params![AccountKind::User.as_str(), Source::File.as_str()],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            for (id, was_gone) in known {
                let is_gone = !staying.contains(&id);
                if is_gone != was_gone {
                    sql.run("UPDATE accounts SET gone = ?2 WHERE id = ?1", params![id, is_gone])?;
                    synced.changed += 1;
                }
            }
            Ok(synced)
        });
        let synced = synced.await;
        self.close_accounts_mark(synced.is_ok()).await?;
        synced
    }

    /// Records when accounts last signed in. Skips unknown accounts.
    pub async fn touch_accounts(&self, seen: Vec<(i64, SystemTime)>) -> Result<(), StoreError> {
        self.write_anywhere(Durability::Process, move |sql| {
            for (id, at) in &seen {
                sql.run(
                    "UPDATE accounts SET last_seen_at = ?2
                     WHERE id = ?1 AND (last_seen_at IS NULL OR last_seen_at < ?2)",
                    params![id, columns::time_in(*at)],
                )?;
            }
            Ok(())
        })
        .await
    }
}

/// Whether a namespace has content, deleted content, grants or webhooks, perhaps of an earlier account of
/// this name.
fn leaves_something(sql: Sql<'_>, name: &AccountName) -> Result<bool, StoreError> {
    let is_used = sql.exists(
        "SELECT 1 FROM repositories WHERE name >= ?1 AND name < ?2
         UNION ALL SELECT 1 FROM deleted_manifests WHERE repository >= ?1 AND repository < ?2
         UNION ALL SELECT 1 FROM deleted_links WHERE repository >= ?1 AND repository < ?2
         UNION ALL SELECT 1 FROM tag_history WHERE repository >= ?1 AND repository < ?2
         UNION ALL SELECT 1 FROM grants WHERE prefix >= ?1 AND prefix < ?2
         LIMIT 1",
        params![format!("{name}/"), format!("{name}0")],
    )?;
    Ok(is_used || !webhooks::of_namespace(sql, name)?.is_empty())
}

/// Whether the database holds users.
pub(in super::super) fn any_users(sql: Sql<'_>) -> Result<bool, StoreError> {
    has_users(sql, None)
}

/// Whether there is a user other than `besides`.
fn has_users(sql: Sql<'_>, besides: Option<i64>) -> Result<bool, StoreError> {
    sql.exists(
        "SELECT 1 FROM accounts WHERE kind = ?1 AND (?2 IS NULL OR id <> ?2) LIMIT 1",
        params![AccountKind::User.as_str(), besides],
    )
}

/// Whether this is the only enabled administrator.
fn is_last_administrator(sql: Sql<'_>, id: i64) -> Result<bool, StoreError> {
    let administrators: Vec<i64> = sql.all(
        "SELECT id FROM accounts WHERE administrator = 1 AND disabled = 0 AND gone = 0 LIMIT 2",
        &[],
        |row| row.get(0),
    )?;
    Ok(administrators == [id])
}

fn why_not_remove(
    sql: Sql<'_>,
    account: &AccountRecord,
    force: bool,
) -> Result<Option<RemoveOutcome>, StoreError> {
    if account.kind == AccountKind::User {
        if is_last_administrator(sql, account.id)? {
            return Ok(Some(RemoveOutcome::LastAdministrator));
        }
        let owned: Vec<AccountName> = sql.all(
            "SELECT o.name FROM members m JOIN accounts o ON o.id = m.organisation
             WHERE m.account = ?1 AND m.role = ?2
               AND NOT EXISTS (SELECT 1 FROM members x
                               WHERE x.organisation = m.organisation AND x.role = ?2 AND x.account <> ?1)
             ORDER BY o.name",
            params![account.id, Role::Owner.as_str()],
            |row| columns::text(row, 0),
        )?;
        if !owned.is_empty() {
            return Ok(Some(RemoveOutcome::LastOwner(owned)));
        }
        if !force && !has_users(sql, Some(account.id))? {
            return Ok(Some(RemoveOutcome::LastUser));
        }
    }
    if !force && account.kind != AccountKind::Robot && account.name.has_namespace() {
        return Ok(first_below(sql, &account.name)?.map(RemoveOutcome::HasRepositories));
    }
    Ok(None)
}

fn remove(sql: Sql<'_>, account: &AccountRecord) -> Result<(), StoreError> {
    let robots: Vec<(i64, String)> =
        sql.all("SELECT id, name FROM accounts WHERE owner = ?1", params![account.id], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    for (id, name) in
        robots.iter().map(|(id, name)| (*id, name.as_str())).chain([(account.id, account.name.as_str())])
    {
        grants::delete_of_account(sql, id)?;
        webhooks::delete_made_by(sql, name)?;
        // A later account of the same name must not own them.
        sql.run("UPDATE uploads SET account = '' WHERE account = ?1", params![name])?;
    }
    grants::delete_of_teams(sql, account.id)?;
    if account.kind != AccountKind::Robot && account.name.has_namespace() {
        grants::delete_below(sql, &account.name)?;
    }
    webhooks::delete_of_account(sql, &account.name)?;
    // Foreign keys delete robots, tokens, memberships and teams.
    sql.run("DELETE FROM accounts WHERE id = ?1", params![account.id])?;
    Ok(())
}
