//! Rows of the candidates for garbage collection.

use super::super::columns;
use super::super::sql::{Sql, params};
use crate::StoreError;

/// The kind of a candidate. It decides the period and the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::metadata) enum Kind {
    /// A manifest that lost its last holder by a deletion, at `since`.
    Deleted,
    /// A manifest without a tag, pushed or pulled at `since`.
    Untagged,
    /// A link of `since` that no manifest needs.
    Link,
    /// The link of a collected manifest that was pushed at `since`.
    ReleasedLink,
    /// Content whose last link was removed.
    Content,
    /// A file that had no record.
    Orphan,
}

impl Kind {
    pub(super) fn number(self) -> i64 {
        match self {
            Self::Deleted => 0,
            Self::Untagged => 1,
            Self::Link => 2,
            Self::ReleasedLink => 3,
            Self::Content => 4,
            Self::Orphan => 5,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::metadata) struct Candidate {
    pub(in crate::metadata) kind: Kind,
    /// 0 for content.
    pub(in crate::metadata) repository: i64,
    pub(in crate::metadata) blob: i64,
    /// The time from which its period counts.
    pub(in crate::metadata) since: i64,
}

impl Candidate {
    /// A candidate for the deletion of content.
    pub(in crate::metadata) fn content(blob: i64) -> Self {
        Self { kind: Kind::Content, repository: 0, blob, since: columns::now() }
    }
}

/// Inserts a candidate, or sets its time.
pub(in crate::metadata) fn add(sql: Sql<'_>, candidate: Candidate) -> Result<(), StoreError> {
    // A link is released by the latest of its manifests.
    let update = match candidate.kind {
        Kind::ReleasedLink => {
            "DO UPDATE SET since = excluded.since WHERE excluded.since > gc_candidates.since"
        }
        _ => "DO UPDATE SET since = excluded.since",
    };
    sql.send(
        &format!(
            "INSERT INTO gc_candidates (kind, repository, blob, since) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (kind, repository, blob) {update}"
        ),
        params![candidate.kind.number(), candidate.repository, candidate.blob, candidate.since],
    )
}

/// Inserts a candidate unless there is one.
pub(super) fn add_missing(sql: Sql<'_>, candidate: Candidate) -> Result<usize, StoreError> {
    sql.run(
        "INSERT INTO gc_candidates (kind, repository, blob, since) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        params![candidate.kind.number(), candidate.repository, candidate.blob, candidate.since],
    )
}

pub(super) fn delete(sql: Sql<'_>, candidate: &Candidate) -> Result<(), StoreError> {
    sql.send(
        "DELETE FROM gc_candidates WHERE kind = ?1 AND repository = ?2 AND blob = ?3",
        params![candidate.kind.number(), candidate.repository, candidate.blob],
    )
}

/// The time of a candidate.
pub(super) fn since(sql: Sql<'_>, kind: Kind, repository: i64, blob: i64) -> Result<Option<i64>, StoreError> {
    sql.first(
        "SELECT since FROM gc_candidates WHERE kind = ?1 AND repository = ?2 AND blob = ?3",
        params![kind.number(), repository, blob],
        |row| row.get(0),
    )
}

/// Deletes the candidates of a manifest, because a push or a tag holds it again.
pub(in crate::metadata) fn forget_manifest(
    sql: Sql<'_>,
    repository: i64,
    blob: i64,
) -> Result<(), StoreError> {
    sql.send(
        "DELETE FROM gc_candidates WHERE kind IN (0, 1) AND repository = ?1 AND blob = ?2",
        params![repository, blob],
    )
}

/// Deletes the candidates of a repository that does not exist any more, because its id may be used again.
pub(in crate::metadata) fn forget_repository(sql: Sql<'_>, repository: i64) -> Result<(), StoreError> {
    sql.send("DELETE FROM gc_candidates WHERE kind IN (0, 1, 2, 3) AND repository = ?1", params![repository])
}

/// The candidates of a kind up to the time `before`, after `after` in the order of time.
pub(super) fn due(
    sql: Sql<'_>,
    kind: Kind,
    before: i64,
    after: Option<&Candidate>,
    limit: usize,
) -> Result<Vec<Candidate>, StoreError> {
    let (since, repository, blob) =
        after.map_or((i64::MIN, 0, 0), |after| (after.since, after.repository, after.blob));
    sql.all(
        "SELECT repository, blob, since FROM gc_candidates
         WHERE kind = ?1 AND since <= ?2 AND (since, repository, blob) > (?3, ?4, ?5)
         ORDER BY since, repository, blob LIMIT ?6",
        params![kind.number(), before, since, repository, blob, columns::limit_in(limit)],
        |row| Ok(Candidate { kind, repository: row.get(0)?, blob: row.get(1)?, since: row.get(2)? }),
    )
}
