//! Rows of manifests: lookup and removal. `put_manifest` inserts them.

use oci::{Digest, RepositoryName};

use super::super::sql::{Sql, params};
use super::super::{ChangeKind, NewChange, collection, columns};
use super::outbox::append;
use super::{blobs, repositories, tags};
use crate::StoreError;

/// Deletes a manifest that another program has deleted from a repository, with its tags. Returns `false` if
/// it was not there.
pub(in crate::metadata) fn delete(
    sql: Sql<'_>,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<bool, StoreError> {
    let Some(id) = repositories::find(sql, repository)? else { return Ok(false) };
    let Some((blob, _)) = find(sql, id, digest)? else { return Ok(false) };
    collection::remove_manifest(sql, repository, id, blob)?;
    Ok(true)
}

/// Removes the row of a manifest with its tags. The caller counts it, and deletes its parts.
pub(in crate::metadata) fn remove(
    sql: Sql<'_>,
    repository: &RepositoryName,
    id: i64,
    blob: i64,
) -> Result<(), StoreError> {
    let digest = blobs::digest_of(sql, blob)?;
    for tag in tags::pointing_to(sql, id, blob)? {
        sql.check_deletion(repository, &tag)?;
        append(sql, tags::deleted_change(repository, &tag, digest))?;
    }
    append(sql, NewChange::of(ChangeKind::ManifestDeleted, repository).digest(digest).for_view(true))?;
    // Foreign keys delete its tags and its entry in the referrers index.
    sql.send("DELETE FROM manifests WHERE repository = ?1 AND blob = ?2", params![id, blob])
}

/// The id of a manifest of the repository, and whether it is an index.
pub(in crate::metadata) fn find(
    sql: Sql<'_>,
    repository: i64,
    digest: &Digest,
) -> Result<Option<(i64, bool)>, StoreError> {
    sql.first(
        "SELECT m.blob, m.is_index FROM blobs b JOIN manifests m ON m.repository = ?1 AND m.blob = b.id
         WHERE b.digest = ?2",
        params![repository, columns::key(digest)],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}
