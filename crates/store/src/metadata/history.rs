//! The history of tags: each creation, move and deletion, with its actor and reason.

use std::time::SystemTime;

use oci::{Digest, RepositoryName, Tag};

use super::sql::{Row, params};
use super::writer::Durability;
use super::{Metadata, columns};
use crate::StoreError;

/// A change of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Ascends with later changes.
    pub id: i64,
    /// The name of the tag.
    pub tag: Tag,
    /// The time of the change.
    pub at: SystemTime,
    /// The manifest before; `None` if the change created the tag.
    pub previous: Option<Digest>,
    /// The manifest after; `None` if the change deleted the tag.
    pub digest: Option<Digest>,
    /// The account, or the task of the server in parentheses; `None` for an anonymous client.
    pub account: Option<String>,
    /// The request in the logs.
    pub request_id: Option<String>,
    /// The reason, such as a retention rule.
    pub reason: Option<String>,
    /// The run of the retention.
    pub run: Option<String>,
}

impl Metadata {
    /// Returns the changes of a tag, or of all tags of a repository, the latest first, before the entry
    /// `before`.
    pub async fn tag_history(
        &self,
        repository: &RepositoryName,
        tag: Option<&Tag>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<HistoryEntry>, StoreError> {
        let (repository, tag, before) = (repository.clone(), tag.cloned(), before.unwrap_or(i64::MAX));
        self.read(move |sql| {
            let statement = match tag {
                Some(_) => {
                    "SELECT id, tag, at, previous, digest, account, request_id, reason, run FROM tag_history
                     WHERE repository = ?1 AND tag = ?4 AND id < ?2 ORDER BY id DESC LIMIT ?3"
                }
                None => {
                    "SELECT id, tag, at, previous, digest, account, request_id, reason, run FROM tag_history
                     WHERE repository = ?1 AND ?4 IS NULL AND id < ?2 ORDER BY id DESC LIMIT ?3"
                }
            };
            let (name, tag) = (repository.as_str(), tag.as_ref().map(Tag::as_str));
            sql.all(statement, params![name, before, columns::limit_in(limit), tag], entry)
        })
        .await
    }

    /// Deletes up to `limit` entries from before a time. Returns their number.
    pub async fn expire_history(&self, before: SystemTime, limit: usize) -> Result<usize, StoreError> {
        self.free(Durability::Process, move |sql| {
            sql.run(
                "DELETE FROM tag_history WHERE id IN (SELECT id FROM tag_history WHERE at < ?1 ORDER BY at LIMIT ?2)",
                params![columns::time_in(before), columns::limit_in(limit)],
            )
        })
        .await
    }
}

fn entry(row: &Row<'_>) -> Result<HistoryEntry, StoreError> {
    Ok(HistoryEntry {
        id: row.get(0)?,
        tag: columns::text(row, 1)?,
        at: columns::time(row, 2)?,
        previous: columns::digest_or_null(row, 3)?,
        digest: columns::digest_or_null(row, 4)?,
        account: row.get(5)?,
        request_id: row.get(6)?,
        reason: row.get(7)?,
        run: row.get(8)?,
    })
}
