//! Rows of erasures: marks of content that was erased from a repository, until it is pushed again.

use std::time::SystemTime;

use oci::{Digest, RepositoryName};

use super::super::columns;
use super::super::sql::{Sql, params};
use crate::StoreError;

/// Tells that content was erased from a repository, and not pushed again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasureMark {
    /// The time of the erasure.
    pub at: SystemTime,
    /// The account that erased it; `None` for an anonymous client.
    pub account: Option<String>,
}

/// Records that the actor of the transaction erased content.
pub(in crate::metadata) fn record(
    sql: Sql<'_>,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<(), StoreError> {
    let account = sql.actor().and_then(|actor| actor.account.as_deref());
    sql.send(
        "INSERT INTO erasures (repository, digest, erased_at, account) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (repository, digest) DO UPDATE
         SET erased_at = excluded.erased_at, account = excluded.account",
        params![repository.as_str(), columns::key(digest), columns::now(), account],
    )
}

/// Ends the mark of content that is pushed again.
pub(in crate::metadata) fn end(
    sql: Sql<'_>,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<(), StoreError> {
    sql.send(
        "DELETE FROM erasures WHERE repository = ?1 AND digest = ?2",
        params![repository.as_str(), columns::key(digest)],
    )
}

pub(in crate::metadata) fn find(
    sql: Sql<'_>,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Option<ErasureMark>, StoreError> {
    sql.first(
        "SELECT erased_at, account FROM erasures WHERE repository = ?1 AND digest = ?2",
        params![repository.as_str(), columns::key(digest)],
        |row| Ok(ErasureMark { at: columns::time(row, 0)?, account: row.get(1)? }),
    )
}

/// Whether any content has a mark.
pub(in crate::metadata) fn any(sql: Sql<'_>) -> Result<bool, StoreError> {
    sql.exists("SELECT 1 FROM erasures LIMIT 1", &[])
}
