//! Rows of repositories, with their count of manifests and their entries in the search index.

use oci::RepositoryName;

use super::super::collection::forget_repository;
use super::super::sql::{Sql, params};
use super::super::{ChangeKind, NewChange, columns, search};
use super::outbox::append;
use super::quotas;
use crate::StoreError;

/// The id of a repository.
pub(in crate::metadata) fn find(
    sql: Sql<'_>,
    repository: &RepositoryName,
) -> Result<Option<i64>, StoreError> {
    sql.first("SELECT id FROM repositories WHERE name = ?1", params![repository.as_str()], |row| row.get(0))
}

/// The id of a repository, which is created if it does not exist.
pub(in crate::metadata) fn find_or_create(
    sql: Sql<'_>,
    repository: &RepositoryName,
) -> Result<i64, StoreError> {
    find_or_create_at(sql, repository, columns::now())
}

/// As [`find_or_create`], with the time of change of a created repository.
pub(in crate::metadata) fn find_or_create_at(
    sql: Sql<'_>,
    repository: &RepositoryName,
    at: i64,
) -> Result<i64, StoreError> {
    if let Some(id) = find(sql, repository)? {
        return Ok(id);
    }
    let made = sql.first(
        "INSERT INTO repositories (name, updated_at) VALUES (?1, ?2) RETURNING id",
        params![repository.as_str(), at],
        |row| row.get(0),
    )?;
    let id = made
        .ok_or_else(|| StoreError::Damaged(format!("the repository {repository} could not be inserted")))?;
    quotas::join(sql, repository, id)?;
    Ok(id)
}

/// Records the time of a push to the repository.
pub(in crate::metadata) fn touch(sql: Sql<'_>, id: i64, at: i64) -> Result<(), StoreError> {
    sql.send("UPDATE repositories SET updated_at = ?2 WHERE id = ?1 AND updated_at < ?2", params![id, at])
}

/// Updates the description and the search index, if it differs.
pub(in crate::metadata) fn describe(sql: Sql<'_>, id: i64, description: &str) -> Result<(), StoreError> {
    let Some(before) = Indexed::read(sql, id)? else { return Ok(()) };
    if before.description == description {
        return Ok(());
    }
    sql.send("UPDATE repositories SET description = ?2 WHERE id = ?1", params![id, description])?;
    if before.manifests > 0 {
        search::redescribe(sql, id, &before.name, &before.description, description)?;
    }
    Ok(())
}

/// Counts a new manifest. The first one adds the repository to the search index.
pub(in crate::metadata) fn add_manifest(sql: Sql<'_>, id: i64) -> Result<(), StoreError> {
    sql.send("UPDATE repositories SET manifests = manifests + 1, is_sized = 0 WHERE id = ?1", params![id])?;
    match Indexed::read(sql, id)? {
        Some(now) if now.manifests == 1 => search::add(sql, id, &now.name, &now.description),
        _ => Ok(()),
    }
}

/// Counts deleted manifests. The last one removes the repository from the search index.
pub(in crate::metadata) fn remove_manifests(sql: Sql<'_>, id: i64, count: usize) -> Result<(), StoreError> {
    if count == 0 {
        return Ok(());
    }
    let count = columns::limit_in(count);
    sql.send(
        "UPDATE repositories SET manifests = manifests - ?2, is_sized = 0 WHERE id = ?1",
        params![id, count],
    )?;
    match Indexed::read(sql, id)? {
        Some(now) if now.manifests == 0 => search::remove(sql, id, &now.name, &now.description),
        _ => Ok(()),
    }
}

/// Has the sizes of the repositories counted again whose manifests name a blob.
pub(in crate::metadata) fn resize_holders(sql: Sql<'_>, blob: i64) -> Result<(), StoreError> {
    sql.send(
        "UPDATE repositories SET is_sized = 0 WHERE is_sized = 1 AND id IN
            (SELECT m.repository FROM manifest_parts p JOIN manifests m ON m.blob = p.manifest WHERE p.blob = ?1)",
        params![blob],
    )
}

/// Has the size of a repository counted again after a link of this blob has come or gone, if an image of it
/// may lack the blob. Needed blobs count with their manifests.
pub(in crate::metadata) fn resize_for_link(sql: Sql<'_>, id: i64, blob: i64) -> Result<(), StoreError> {
    sql.send(
        "UPDATE repositories SET is_sized = 0 WHERE id = ?1 AND is_sized = 1 AND EXISTS
            (SELECT 1 FROM manifest_parts p JOIN manifests m ON m.repository = ?1 AND m.blob = p.manifest
             WHERE p.blob = ?2 AND p.required = 0)",
        params![id, blob],
    )
}

/// Deletes the descriptors of a manifest that no repository and no trash holds. Returns their number.
pub(in crate::metadata) fn delete_parts(sql: Sql<'_>, manifest: i64) -> Result<usize, StoreError> {
    sql.run(
        "DELETE FROM manifest_parts WHERE manifest = ?1
           AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.blob = ?1)
           AND NOT EXISTS (SELECT 1 FROM deleted_manifests d WHERE d.blob = ?1)",
        params![manifest],
    )
}

/// The columns that the search index depends on.
pub(in crate::metadata) struct Indexed {
    pub(in crate::metadata) name: String,
    pub(in crate::metadata) description: String,
    pub(in crate::metadata) manifests: i64,
}

impl Indexed {
    pub(in crate::metadata) fn read(sql: Sql<'_>, id: i64) -> Result<Option<Self>, StoreError> {
        sql.first("SELECT name, description, manifests FROM repositories WHERE id = ?1", params![id], |row| {
            Ok(Self { name: row.get(0)?, description: row.get(1)?, manifests: row.get(2)? })
        })
    }
}

/// Deletes a repository without manifests and blobs.
pub(in crate::metadata) fn remove_if_empty(
    sql: Sql<'_>,
    repository: &RepositoryName,
    id: i64,
) -> Result<(), StoreError> {
    let holds_something = sql.exists(
        "SELECT 1 FROM manifests WHERE repository = ?1
         UNION ALL SELECT 1 FROM blob_links WHERE repository = ?1 LIMIT 1",
        params![id],
    )?;
    if holds_something { Ok(()) } else { remove(sql, repository, id) }
}

fn remove(sql: Sql<'_>, repository: &RepositoryName, id: i64) -> Result<(), StoreError> {
    if let Some(before) = Indexed::read(sql, id)?
        && before.manifests > 0
    {
        search::remove(sql, id, &before.name, &before.description)?;
    }
    sql.send("DELETE FROM repositories WHERE id = ?1", params![id])?;
    forget_repository(sql, id)?;
    append(sql, NewChange::of(ChangeKind::RepositoryDeleted, repository).for_view(true))
}
