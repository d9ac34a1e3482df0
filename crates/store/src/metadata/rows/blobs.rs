//! Rows of blobs and of their links in repositories.

use oci::{Digest, RepositoryName};
use serde_json::json;

use super::super::collection::{Candidate, add, end_lease};
use super::super::sql::{Sql, params};
use super::super::{ChangeKind, NewChange, columns};
use super::erasures;
use super::outbox::append;
use super::repositories::{find, find_or_create, remove_if_empty, resize_for_link, resize_holders, touch};
use crate::StoreError;

/// Unlinks a blob from a repository. Returns `false` if it was not linked.
pub(in crate::metadata) fn unlink(
    sql: Sql<'_>,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<bool, StoreError> {
    let Some(id) = find(sql, repository)? else { return Ok(false) };
    let unlinked = sql.run(
        "DELETE FROM blob_links
         WHERE repository = ?1 AND blob = (SELECT id FROM blobs WHERE digest = ?2)",
        params![id, columns::key(digest)],
    )?;
    if unlinked > 0 {
        if let Some(blob) = id_of(sql, digest)? {
            add(sql, Candidate::content(blob))?;
            resize_for_link(sql, id, blob)?;
        }
        append(sql, NewChange::of(ChangeKind::BlobUnlinked, repository).digest(*digest).for_view(true))?;
        remove_if_empty(sql, repository, id)?;
    }
    Ok(unlinked > 0)
}

pub(in crate::metadata) fn linked(
    sql: Sql<'_>,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Option<u64>, StoreError> {
    sql.first(
        "SELECT COALESCE(b.size, 0) FROM repositories r JOIN blobs b ON b.digest = ?2
         JOIN blob_links l ON l.repository = r.id AND l.blob = b.id
         WHERE r.name = ?1 AND b.damaged = 0",
        params![repository.as_str(), columns::key(digest)],
        |row| columns::count(row, 0),
    )
}

/// Links a blob that was just stored with this size.
pub(in crate::metadata) fn link(
    sql: Sql<'_>,
    repository: &RepositoryName,
    digest: &Digest,
    size: u64,
) -> Result<(), StoreError> {
    let id = find_or_create(sql, repository)?;
    let blob = intern_stored(sql, digest, size)?;
    let now = columns::now();
    end_lease(sql, digest)?;
    if link_in(sql, id, blob, now)? {
        erasures::end(sql, repository, digest)?;
        touch(sql, id, now)?;
        append(sql, linked_change(repository, *digest, size).for_view(true))?;
    }
    Ok(())
}

/// The change of a new link.
pub(in crate::metadata) fn linked_change(
    repository: &RepositoryName,
    digest: Digest,
    size: u64,
) -> NewChange {
    NewChange::of(ChangeKind::BlobLinked, repository).digest(digest).detail(json!({ "size": size }))
}

/// Links a blob by ids, or renews its link. Returns `false` if it was linked already.
pub(in crate::metadata) fn link_in(
    sql: Sql<'_>,
    repository: i64,
    blob: i64,
    at: i64,
) -> Result<bool, StoreError> {
    let linked = sql.run(
        "INSERT INTO blob_links (repository, blob, linked_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        params![repository, blob, at],
    )?;
    if linked == 0 {
        sql.send(
            "UPDATE blob_links SET linked_at = ?3 WHERE repository = ?1 AND blob = ?2 AND linked_at < ?3",
            params![repository, blob, at],
        )?;
        return Ok(false);
    }
    resize_for_link(sql, repository, blob)?;
    Ok(true)
}

/// The id of content that was just stored with this size. Corrects a recorded size and clears a recorded
/// damage.
pub(in crate::metadata) fn intern_stored(
    sql: Sql<'_>,
    digest: &Digest,
    size: u64,
) -> Result<i64, StoreError> {
    let size = columns::count_in(size)?;
    let known: Option<(i64, Option<i64>, bool, bool)> = sql.first(
        "SELECT id, size, damaged, deleting FROM blobs WHERE digest = ?1",
        params![columns::key(digest)],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
    )?;
    let Some((id, recorded, is_damaged, is_deleting)) = known else {
        return insert(sql, digest, Some(size));
    };
    if recorded != Some(size) || is_damaged || is_deleting {
        // A mark is left if the deletion of the file failed.
        sql.send("UPDATE blobs SET size = ?2, damaged = 0, deleting = 0 WHERE id = ?1", params![id, size])?;
        if recorded != Some(size) {
            resize_holders(sql, id)?;
        }
        if is_damaged {
            append(sql, NewChange::new(ChangeKind::ContentRepaired).digest(*digest))?;
        }
    }
    Ok(id)
}

/// The id of content whose file was found with this size. A recorded size stays, because it is verified and
/// the file may be truncated.
pub(in crate::metadata) fn intern_found(sql: Sql<'_>, digest: &Digest, size: u64) -> Result<i64, StoreError> {
    let size = columns::count_in(size)?;
    let known: Option<(i64, bool)> = sql.first(
        "SELECT id, size IS NULL FROM blobs WHERE digest = ?1",
        params![columns::key(digest)],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let Some((id, is_unknown)) = known else { return insert(sql, digest, Some(size)) };
    if is_unknown {
        sql.send("UPDATE blobs SET size = ?2 WHERE id = ?1", params![id, size])?;
    }
    Ok(id)
}

/// The id of content that a manifest names, stored or not.
pub(in crate::metadata) fn intern_named(sql: Sql<'_>, digest: &Digest) -> Result<i64, StoreError> {
    id_of(sql, digest)?.map_or_else(|| insert(sql, digest, None), Ok)
}

/// The id of content that is stored or named.
pub(in crate::metadata) fn id_of(sql: Sql<'_>, digest: &Digest) -> Result<Option<i64>, StoreError> {
    sql.first("SELECT id FROM blobs WHERE digest = ?1", params![columns::key(digest)], |row| row.get(0))
}

/// The digest of content by its id.
pub(in crate::metadata) fn digest_of(sql: Sql<'_>, blob: i64) -> Result<Digest, StoreError> {
    let digest =
        sql.first("SELECT digest FROM blobs WHERE id = ?1", params![blob], |row| columns::digest(row, 0))?;
    digest.ok_or_else(|| StoreError::Damaged(format!("content number {blob} has no digest")))
}

fn insert(sql: Sql<'_>, digest: &Digest, size: Option<i64>) -> Result<i64, StoreError> {
    let id = sql.first(
        "INSERT INTO blobs (digest, size) VALUES (?1, ?2) RETURNING id",
        params![columns::key(digest), size],
        |row| row.get(0),
    )?;
    id.ok_or_else(|| StoreError::Damaged(format!("{digest} could not be inserted")))
}
