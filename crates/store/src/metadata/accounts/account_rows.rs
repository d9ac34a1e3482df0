//! Rows of accounts: users, organisations and robots.

use accounts::AccountName;
use oci::RepositoryName;

use super::super::sql::{Row, Sql, params};
use super::super::{collection, columns};
use super::{AccountKind, AccountRecord, AddOutcome, PasswordHash, Source};
use crate::StoreError;

/// Selects the columns of [`record`] from an account `a` and its owner `o`.
macro_rules! account_columns {
    () => {
        "SELECT a.id, a.name, a.kind, o.name, a.password, a.source, a.administrator,
                a.disabled = 1 OR a.gone = 1 OR COALESCE(o.disabled = 1 OR o.gone = 1, FALSE),
                a.description, a.created_at, a.last_seen_at
         FROM accounts a LEFT JOIN accounts o ON o.id = a.owner"
    };
}
pub(super) use account_columns;

pub(super) fn record(row: &Row<'_>) -> Result<AccountRecord, StoreError> {
    Ok(AccountRecord {
        id: row.get(0)?,
        name: columns::text(row, 1)?,
        kind: columns::text(row, 2)?,
        owner: columns::text_or_null(row, 3)?,
        password: row.get::<Option<String>>(4)?.map(PasswordHash),
        source: columns::text(row, 5)?,
        administrator: row.get(6)?,
        disabled: row.get(7)?,
        description: row.get(8)?,
        created_at: columns::time(row, 9)?,
        last_seen_at: columns::time_or_null(row, 10)?,
    })
}

/// An account to be inserted.
pub(super) struct New<'a> {
    pub(super) name: &'a AccountName,
    pub(super) kind: AccountKind,
    pub(super) owner: Option<i64>,
    pub(super) password: Option<&'a PasswordHash>,
    pub(super) source: Source,
    pub(super) administrator: bool,
    pub(super) description: &'a str,
}

/// Inserts an account, unless the name is taken, also in other case: people would take one for the other.
/// Purges deleted content below the name, which may be that of an earlier account.
pub(super) fn add(sql: Sql<'_>, new: &New<'_>) -> Result<AddOutcome, StoreError> {
    let taken = sql.first(SAME_NAME, params![new.name.as_str()], |row| row.get::<i64>(0))?;
    if taken.is_some() {
        return Ok(AddOutcome::NameTaken);
    }
    sql.run(
        "INSERT INTO accounts (name, kind, owner, password, source, administrator, description, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            new.name.as_str(),
            new.kind.as_str(),
            new.owner,
            new.password.map(|hash| &hash.0),
            new.source.as_str(),
            new.administrator,
            new.description,
            columns::now(),
        ],
    )?;
    if new.kind != AccountKind::Robot && new.name.has_namespace() && first_below(sql, new.name)?.is_none() {
        collection::purge_namespace(sql, new.name)?;
    }
    let made = find(sql, new.name)?;
    made.map(AddOutcome::Added)
        .ok_or_else(|| StoreError::Damaged(format!("the account {} could not be inserted", new.name)))
}

const SAME_NAME: &str = "SELECT id FROM accounts WHERE LOWER(name) = LOWER(?1) LIMIT 1";

/// Returns an account by its name.
pub(super) fn find(sql: Sql<'_>, name: &AccountName) -> Result<Option<AccountRecord>, StoreError> {
    sql.first(concat!(account_columns!(), " WHERE a.name = ?1"), params![name.as_str()], record)
}

/// Returns a repository of a namespace. `0` is the character after `/`.
pub(super) fn first_below(sql: Sql<'_>, name: &AccountName) -> Result<Option<RepositoryName>, StoreError> {
    sql.first(
        "SELECT name FROM repositories WHERE name >= ?1 AND name < ?2 ORDER BY name LIMIT 1",
        params![format!("{name}/"), format!("{name}0")],
        |row| columns::text(row, 0),
    )
}

/// Returns the id of an account of this kind.
pub(super) fn id_of(sql: Sql<'_>, name: &AccountName, kind: AccountKind) -> Result<Option<i64>, StoreError> {
    sql.first(
        "SELECT id FROM accounts WHERE name = ?1 AND kind = ?2",
        params![name.as_str(), kind.as_str()],
        |row| row.get(0),
    )
}
