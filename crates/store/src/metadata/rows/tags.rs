//! Rows of tags: set, delete, and find by manifest.

use oci::{RepositoryName, Tag};

use super::super::sql::{Sql, params};
use super::super::{ViewItem, columns};
use super::outbox::enqueue;
use super::repositories::find;
use crate::StoreError;

/// Deletes a tag. Returns `false` if it was not there.
pub(in crate::metadata) fn delete(
    sql: Sql<'_>,
    repository: &RepositoryName,
    tag: &Tag,
) -> Result<bool, StoreError> {
    let Some(id) = find(sql, repository)? else { return Ok(false) };
    let deleted =
        sql.run("DELETE FROM tags WHERE repository = ?1 AND name = ?2", params![id, tag.as_str()])?;
    if deleted > 0 {
        enqueue(sql, repository, &ViewItem::Tag(tag.clone()))?;
    }
    Ok(deleted > 0)
}

/// Points a tag to the manifest with the id `blob`. Returns whether it pointed elsewhere before.
pub(in crate::metadata) fn point(
    sql: Sql<'_>,
    repository: i64,
    tag: &Tag,
    blob: i64,
    is_index: bool,
    at: i64,
) -> Result<bool, StoreError> {
    let before = target(sql, repository, tag)?;
    // A tag with the spelling of a fallback tag is one only if it points to an index.
    let hidden = is_index && tag.is_referrers_tag();
    sql.run(
        "INSERT INTO tags (repository, name, blob, hidden, updated_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (repository, name) DO UPDATE
         SET blob = excluded.blob, hidden = excluded.hidden, updated_at = excluded.updated_at",
        params![repository, tag.as_str(), blob, i64::from(hidden), at],
    )?;
    Ok(before != Some(blob))
}

/// The id of the manifest that a tag points to.
pub(in crate::metadata) fn target(
    sql: Sql<'_>,
    repository: i64,
    tag: &Tag,
) -> Result<Option<i64>, StoreError> {
    sql.first(
        "SELECT blob FROM tags WHERE repository = ?1 AND name = ?2",
        params![repository, tag.as_str()],
        |row| row.get(0),
    )
}

/// The tags that point to the manifest with the id `blob`.
pub(in crate::metadata) fn pointing_to(
    sql: Sql<'_>,
    repository: i64,
    blob: i64,
) -> Result<Vec<Tag>, StoreError> {
    sql.all("SELECT name FROM tags WHERE repository = ?1 AND blob = ?2", params![repository, blob], |row| {
        columns::text(row, 0)
    })
}
