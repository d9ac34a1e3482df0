//! Rows of the history of tags: each move and deletion, with its actor.

use oci::{Digest, RepositoryName, Tag};

use super::super::columns;
use super::super::sql::{Sql, params};
use crate::StoreError;

/// Records that a tag points to `digest` and pointed to `previous` before. `None` stands for a tag that does
/// not exist.
pub(in crate::metadata) fn record(
    sql: Sql<'_>,
    repository: &RepositoryName,
    tag: &Tag,
    previous: Option<&Digest>,
    digest: Option<&Digest>,
    at: i64,
) -> Result<(), StoreError> {
    let actor = sql.actor();
    sql.send(
        "INSERT INTO tag_history (repository, tag, at, previous, digest, account, request_id, reason, run)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            repository.as_str(),
            tag.as_str(),
            at,
            previous.map(columns::key),
            digest.map(columns::key),
            actor.and_then(|actor| actor.account.as_deref()),
            actor.and_then(|actor| actor.request_id.as_deref()),
            actor.and_then(|actor| actor.reason.as_deref()),
            actor.and_then(|actor| actor.run.as_deref()),
        ],
    )
}
