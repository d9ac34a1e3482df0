//! Grants: rights of subjects on repositories that match a pattern.

use oci::RepositoryName;

use super::super::Metadata;
use super::super::columns;
use super::super::sql::{Row, Sql, params};
use super::super::writer::Durability;
use super::{AccountKind, GrantFilter, GrantRecord, Limit, SetGrant, account_rows};
use crate::StoreError;
use accounts::{AccountName, Pattern, Rights, Subject, TeamName, lookup_keys};

/// A subject as it is stored: its kind and id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SubjectKey {
    pub(super) kind: i64,
    pub(super) id: i64,
}

impl SubjectKey {
    pub(super) const EVERYONE: Self = Self { kind: 0, id: 0 };
    pub(super) const ACCOUNTS: Self = Self { kind: 1, id: 0 };

    pub(super) const fn account(id: i64) -> Self {
        Self { kind: 2, id }
    }

    pub(super) const fn team(id: i64) -> Self {
        Self { kind: 3, id }
    }
}

impl Metadata {
    /// Sets the rights of a subject on a pattern, replacing those of an earlier grant. The limit counts the
    /// grants in the namespace of the pattern.
    ///
    /// # Errors
    /// [`StoreError::LimitReached`] for a new grant.
    pub async fn set_grant(
        &self,
        subject: &Subject,
        pattern: &Pattern,
        rights: Rights,
        limit: Option<Limit>,
    ) -> Result<SetGrant, StoreError> {
        let (subject, pattern) = (subject.clone(), pattern.clone());
        self.write(Durability::Disk, move |sql| {
            if rights.is_empty() {
                return Ok(SetGrant::NoRights);
            }
            let Some(key) = key_of(sql, &subject)? else { return Ok(SetGrant::SubjectUnknown) };
            let same = "SELECT 1 FROM grants WHERE subject_kind = ?1 AND subject = ?2 AND pattern = ?3";
            if let (Some(limit), Some(namespace)) = (limit, pattern.namespace())
                && !sql.exists(same, params![key.kind, key.id, pattern.as_str()])?
            {
                let count = "SELECT COUNT(*) FROM grants WHERE prefix >= ?1 AND prefix < ?2";
                limit.check(sql, count, params![format!("{namespace}/"), format!("{namespace}0")])?;
            }
            sql.run(
                "INSERT INTO grants (subject_kind, subject, pattern, prefix, rights, created_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (subject_kind, subject, pattern)
                 DO UPDATE SET rights = excluded.rights, created_at = excluded.created_at",
                params![key.kind, key.id, pattern.as_str(), pattern.prefix(), rights.bits(), columns::now()],
            )?;
            Ok(SetGrant::Set)
        })
        .await
    }

    /// Deletes the grant of a subject on a pattern. Returns `false` if there is none.
    pub async fn remove_grant(&self, subject: &Subject, pattern: &Pattern) -> Result<bool, StoreError> {
        let (subject, pattern) = (subject.clone(), pattern.clone());
        self.write(Durability::Disk, move |sql| {
            let Some(key) = key_of(sql, &subject)? else { return Ok(false) };
            let removed = sql.run(
                "DELETE FROM grants WHERE subject_kind = ?1 AND subject = ?2 AND pattern = ?3",
                params![key.kind, key.id, pattern.as_str()],
            )?;
            Ok(removed > 0)
        })
        .await
    }

    /// Returns grants by id, after `after`.
    pub async fn grants(
        &self,
        filter: GrantFilter,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<GrantRecord>, StoreError> {
        let after = after.unwrap_or(0);
        let page = columns::limit_in(limit);
        self.read(move |sql| match &filter {
            GrantFilter::All => sql.all(
                concat!(grant_columns!(), " WHERE g.id > ?1 ORDER BY g.id LIMIT ?2"),
                params![after, page],
                record,
            ),
            GrantFilter::Of(subject) => {
                let Some(key) = key_of(sql, subject)? else { return Ok(Vec::new()) };
                sql.all(
                    concat!(
                        grant_columns!(),
                        " WHERE g.subject_kind = ?1 AND g.subject = ?2 AND g.id > ?3 ORDER BY g.id LIMIT ?4"
                    ),
                    params![key.kind, key.id, after, page],
                    record,
                )
            }
            GrantFilter::Reaching(account) => sql.all(
                concat!(
                    grant_columns!(),
                    " WHERE g.id > ?2 AND (g.subject_kind IN (0, 1)
                        OR (g.subject_kind = 2 AND g.subject = (SELECT id FROM accounts WHERE name = ?1))
                        OR (g.subject_kind = 3 AND g.subject IN
                            (SELECT m.team FROM team_members m JOIN accounts u ON u.id = m.account WHERE u.name = ?1)))
                      ORDER BY g.id LIMIT ?3"
                ),
                params![account.as_str(), after, page],
                record,
            ),
            GrantFilter::On(repository) => on(sql, repository, after, limit),
            GrantFilter::Below(account) => {
                let Some(namespace) = account.namespace() else { return Ok(Vec::new()) };
                let begin = namespace.prefix();
                sql.all(
                    concat!(
                        grant_columns!(),
                        " WHERE g.prefix >= ?1 AND g.prefix < ?2 AND g.id > ?3 ORDER BY g.id LIMIT ?4"
                    ),
                    params![begin, format!("{account}0"), after, page],
                    record,
                )
            }
        })
        .await
    }
}

/// Selects the columns of [`record`] from a grant `g`, with the names of its subject.
macro_rules! grant_columns {
    () => {
        "SELECT g.id, g.subject_kind, a.name, o.name, t.name, g.pattern, g.rights, g.created_at
         FROM grants g
         LEFT JOIN accounts a ON g.subject_kind = 2 AND a.id = g.subject
         LEFT JOIN teams t ON g.subject_kind = 3 AND t.id = g.subject
         LEFT JOIN accounts o ON o.id = t.organisation"
    };
}
use grant_columns;

fn record(row: &Row<'_>) -> Result<GrantRecord, StoreError> {
    let subject = match row.get::<i64>(1)? {
        0 => Subject::Everyone,
        1 => Subject::Accounts,
        2 => Subject::Account(columns::text(row, 2)?),
        3 => Subject::Team(columns::text(row, 3)?, columns::text(row, 4)?),
        other => return Err(row.damaged(1, format_args!("unknown kind of subject {other}"))),
    };
    Ok(GrantRecord {
        id: row.get(0)?,
        subject,
        pattern: columns::text(row, 5)?,
        rights: columns::rights(row, 6)?,
        created_at: columns::time(row, 7)?,
    })
}

/// Returns the grants on one repository, found by each of its keys and merged.
fn on(
    sql: Sql<'_>,
    repository: &RepositoryName,
    after: i64,
    limit: usize,
) -> Result<Vec<GrantRecord>, StoreError> {
    let mut found = Vec::new();
    for key in lookup_keys(repository) {
        let mut at = after;
        let mut wanted = limit;
        while wanted > 0 {
            let batch = sql.all(
                concat!(grant_columns!(), " WHERE g.prefix = ?1 AND g.id > ?2 ORDER BY g.id LIMIT ?3"),
                params![key, at, columns::limit_in(limit)],
                record,
            )?;
            let is_last = batch.len() < limit;
            at = batch.last().map_or(at, |grant| grant.id);
            let matching = batch.into_iter().filter(|grant| grant.pattern.matches(repository)).take(wanted);
            let before = found.len();
            found.extend(matching);
            wanted -= found.len() - before;
            if is_last {
                break;
            }
        }
    }
    found.sort_unstable_by_key(|grant| grant.id);
    found.truncate(limit);
    Ok(found)
}

/// The key of a subject; `None` if it does not exist or is an organisation.
fn key_of(sql: Sql<'_>, subject: &Subject) -> Result<Option<SubjectKey>, StoreError> {
    Ok(match subject {
        Subject::Everyone => Some(SubjectKey::EVERYONE),
        Subject::Accounts => Some(SubjectKey::ACCOUNTS),
        Subject::Account(name) => account_rows::find(sql, name)?
            .filter(|account| account.kind != AccountKind::Organisation)
            .map(|account| SubjectKey::account(account.id)),
        Subject::Team(organisation, team) => team_id(sql, organisation, team)?.map(SubjectKey::team),
    })
}

pub(super) fn team_id(
    sql: Sql<'_>,
    organisation: &AccountName,
    team: &TeamName,
) -> Result<Option<i64>, StoreError> {
    sql.first(
        "SELECT t.id FROM accounts o JOIN teams t ON t.organisation = o.id WHERE o.name = ?1 AND t.name = ?2",
        params![organisation.as_str(), team.as_str()],
        |row| row.get(0),
    )
}

/// Deletes the grants to an account.
pub(super) fn delete_of_account(sql: Sql<'_>, account: i64) -> Result<(), StoreError> {
    delete(sql, SubjectKey::account(account))
}

/// Deletes the grants on repositories of a namespace, whose next owner has not made them.
pub(super) fn delete_below(sql: Sql<'_>, owner: &AccountName) -> Result<(), StoreError> {
    sql.run(
        "DELETE FROM grants WHERE prefix >= ?1 AND prefix < ?2",
        params![format!("{owner}/"), format!("{owner}0")],
    )?;
    Ok(())
}

/// Deletes the grants to all teams of an organisation.
pub(super) fn delete_of_teams(sql: Sql<'_>, organisation: i64) -> Result<(), StoreError> {
    let teams: Vec<i64> =
        sql.all("SELECT id FROM teams WHERE organisation = ?1", params![organisation], |row| row.get(0))?;
    teams.into_iter().try_for_each(|team| delete(sql, SubjectKey::team(team)))
}

/// Deletes the grants to a subject.
pub(super) fn delete(sql: Sql<'_>, subject: SubjectKey) -> Result<(), StoreError> {
    sql.run(
        "DELETE FROM grants WHERE subject_kind = ?1 AND subject = ?2",
        params![subject.kind, subject.id],
    )?;
    Ok(())
}
