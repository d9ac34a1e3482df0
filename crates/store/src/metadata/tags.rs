//! Tags: names that point to manifests of their repository.

use oci::{Digest, RepositoryName, Tag};
use rusqlite::{Row, params};

use super::repositories::{find, touch};
use super::sql::Sql;
use super::view_changes::note;
use super::writer::Durability;
use super::{Metadata, TagRecord, ViewItem, columns, manifests};
use crate::StoreError;

impl Metadata {
    /// The tags of a repository in the order of their bytes, from the one after `after`; `None` if
    /// there is no such repository. Referrers fallback tags are left out.
    pub async fn tags(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<Vec<Tag>>, StoreError> {
        let (repository, after) = (repository.clone(), after.unwrap_or_default().to_owned());
        self.read(move |sql| {
            let Some(id) = find(sql, &repository)? else { return Ok(None) };
            let tags = sql.all(
                "SELECT name FROM tags
                 WHERE repository = ?1 AND hidden = 0 AND name > ?2 ORDER BY name LIMIT ?3",
                params![id, after, columns::limit_in(limit)],
                |row| columns::text(row, 0),
            )?;
            Ok(Some(tags))
        })
        .await
    }

    /// The tags of a repository with what they point to, in the order of their bytes, from the one
    /// after `after`; `None` if there is no such repository.
    pub async fn tag_records(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
        include_hidden: bool,
    ) -> Result<Option<Vec<TagRecord>>, StoreError> {
        let (repository, after) = (repository.clone(), after.unwrap_or_default().to_owned());
        self.read(move |sql| {
            let Some(id) = find(sql, &repository)? else { return Ok(None) };
            let records = sql.all(
                "SELECT t.name, t.updated_at, b.digest, m.media_type, COALESCE(b.size, 0) FROM tags t
                 JOIN manifests m ON m.repository = t.repository AND m.blob = t.blob
                 JOIN blobs b ON b.id = t.blob
                 WHERE t.repository = ?1 AND t.name > ?2 AND t.hidden <= ?4 ORDER BY t.name LIMIT ?3",
                params![id, after, columns::limit_in(limit), i64::from(include_hidden)],
                record,
            )?;
            Ok(Some(records))
        })
        .await
    }

    /// Points a tag to a manifest that is in the repository. `false`, and nothing was changed, if
    /// the manifest is not.
    pub async fn put_tag(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        tag: &Tag,
    ) -> Result<bool, StoreError> {
        let (repository, digest, tag) = (repository.clone(), *digest, tag.clone());
        self.write(Durability::Disk, move |sql| {
            let Some(id) = find(sql, &repository)? else { return Ok(false) };
            let Some((blob, is_index)) = manifests::find(sql, id, &digest)? else { return Ok(false) };
            if point(sql, id, &tag, blob, is_index)? {
                note(sql, &repository, &ViewItem::Tag(tag))?;
            }
            touch(sql, id)?;
            Ok(true)
        })
        .await
    }

    /// Deletes a tag, and nothing but the tag. `false` if it was not there.
    pub async fn delete_tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<bool, StoreError> {
        let (repository, tag) = (repository.clone(), tag.clone());
        self.write(Durability::Disk, move |sql| {
            let Some(id) = find(sql, &repository)? else { return Ok(false) };
            let deleted =
                sql.run("DELETE FROM tags WHERE repository = ?1 AND name = ?2", params![id, tag.as_str()])?;
            if deleted > 0 {
                note(sql, &repository, &ViewItem::Tag(tag))?;
            }
            Ok(deleted > 0)
        })
        .await
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<TagRecord> {
    Ok(TagRecord {
        tag: columns::text(row, 0)?,
        updated_at: columns::time(row, 1)?,
        manifest: columns::manifest(row, 2)?,
    })
}

/// Points a tag to the manifest with the id `blob`; whether it pointed elsewhere before.
pub(super) fn point(
    sql: Sql<'_>,
    repository: i64,
    tag: &Tag,
    blob: i64,
    is_index: bool,
) -> Result<bool, StoreError> {
    let before: Option<i64> = sql.first(
        "SELECT blob FROM tags WHERE repository = ?1 AND name = ?2",
        params![repository, tag.as_str()],
        |row| row.get(0),
    )?;
    // Anything may be tagged in the spelling of a fallback tag; only an index can be one.
    let hidden = is_index && tag.is_referrers_tag();
    sql.run(
        "INSERT INTO tags (repository, name, blob, hidden, updated_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (repository, name) DO UPDATE
         SET blob = excluded.blob, hidden = excluded.hidden, updated_at = excluded.updated_at",
        params![repository, tag.as_str(), blob, i64::from(hidden), columns::now()],
    )?;
    Ok(before != Some(blob))
}

/// The tags that point to the manifest with the id `blob`.
pub(super) fn pointing_to(sql: Sql<'_>, repository: i64, blob: i64) -> Result<Vec<Tag>, StoreError> {
    sql.all("SELECT name FROM tags WHERE repository = ?1 AND blob = ?2", params![repository, blob], |row| {
        columns::text(row, 0)
    })
}
