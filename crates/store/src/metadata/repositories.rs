//! Repositories: that they are there, lists of them, and their end.

use oci::RepositoryName;
use rusqlite::{Row, params};

use super::sql::Sql;
use super::view_changes::note;
use super::writer::Durability;
use super::{Metadata, RepositoryRecord, ViewItem, columns, search};
use crate::StoreError;

impl Metadata {
    /// Whether there is such a repository: one that holds at least a blob or a manifest.
    pub async fn repository_exists(&self, repository: &RepositoryName) -> Result<bool, StoreError> {
        let repository = repository.clone();
        self.read(move |sql| Ok(find(sql, &repository)?.is_some())).await
    }

    /// The repositories that hold at least one manifest, in the order of their bytes, from the one
    /// after `after`.
    pub async fn catalog(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RepositoryName>, StoreError> {
        let after = after.unwrap_or_default().to_owned();
        self.read(move |sql| {
            sql.all(
                "SELECT name FROM repositories WHERE manifests > 0 AND name > ?1 ORDER BY name LIMIT ?2",
                params![after, columns::limit_in(limit)],
                |row| columns::text(row, 0),
            )
        })
        .await
    }

    /// All repositories, also those without a manifest, in the order of their bytes, from the one
    /// after `after`.
    pub async fn repositories(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RepositoryRecord>, StoreError> {
        let after = after.unwrap_or_default().to_owned();
        self.read(move |sql| {
            sql.all(
                concat!(
                    repository_columns!(),
                    " FROM repositories r WHERE r.name > ?1 ORDER BY r.name LIMIT ?2"
                ),
                params![after, columns::limit_in(limit)],
                record,
            )
        })
        .await
    }

    /// A repository as lists show it.
    pub async fn repository(
        &self,
        repository: &RepositoryName,
    ) -> Result<Option<RepositoryRecord>, StoreError> {
        let repository = repository.clone();
        self.read(move |sql| {
            sql.first(
                concat!(repository_columns!(), " FROM repositories r WHERE r.name = ?1"),
                params![repository.as_str()],
                record,
            )
        })
        .await
    }

    /// Whether there is no repository at all.
    pub async fn is_empty(&self) -> Result<bool, StoreError> {
        self.read(|sql| Ok(!sql.exists("SELECT 1 FROM repositories LIMIT 1", ())?)).await
    }

    /// Gives a repository another description. `false` if it is not there.
    pub async fn set_description(
        &self,
        repository: &RepositoryName,
        description: String,
    ) -> Result<bool, StoreError> {
        let repository = repository.clone();
        self.write(Durability::Disk, move |sql| {
            let Some(id) = find(sql, &repository)? else { return Ok(false) };
            describe(sql, id, &description)?;
            Ok(true)
        })
        .await
    }

    /// Deletes a repository with its tags, manifests and links. `false` if it was not there.
    pub async fn delete_repository(&self, repository: &RepositoryName) -> Result<bool, StoreError> {
        let repository = repository.clone();
        self.write(Durability::Disk, move |sql| {
            let Some(id) = find(sql, &repository)? else { return Ok(false) };
            sql.run(
                "DELETE FROM manifest_parts
                 WHERE manifest IN (SELECT m.blob FROM manifests m WHERE m.repository = ?1)
                   AND NOT EXISTS (SELECT 1 FROM manifests o
                                   WHERE o.blob = manifest_parts.manifest AND o.repository <> ?1)",
                params![id],
            )?;
            remove(sql, &repository, id)?;
            Ok(true)
        })
        .await
    }
}

/// The columns that [`record`] reads, of a repository `r`.
macro_rules! repository_columns {
    () => {
        "SELECT r.name, r.description, r.manifests, r.updated_at,
                (SELECT COUNT(*) FROM tags t WHERE t.repository = r.id AND t.hidden = 0),
                (SELECT COALESCE(SUM(b.size), 0) FROM blobs b
                 WHERE b.id IN (SELECT l.blob FROM blob_links l WHERE l.repository = r.id
                                UNION SELECT m.blob FROM manifests m WHERE m.repository = r.id))"
    };
}
use repository_columns;

fn record(row: &Row<'_>) -> rusqlite::Result<RepositoryRecord> {
    Ok(RepositoryRecord {
        name: columns::text(row, 0)?,
        description: row.get(1)?,
        manifests: columns::count(row, 2)?,
        updated_at: columns::time(row, 3)?,
        tags: columns::count(row, 4)?,
        bytes: columns::count(row, 5)?,
    })
}

/// The id of a repository.
pub(super) fn find(sql: Sql<'_>, repository: &RepositoryName) -> Result<Option<i64>, StoreError> {
    sql.first("SELECT id FROM repositories WHERE name = ?1", params![repository.as_str()], |row| row.get(0))
}

/// The id of a repository, which is made if it is not there.
pub(super) fn find_or_make(sql: Sql<'_>, repository: &RepositoryName) -> Result<i64, StoreError> {
    if let Some(id) = find(sql, repository)? {
        return Ok(id);
    }
    let made = sql.first(
        "INSERT INTO repositories (name, updated_at) VALUES (?1, ?2) RETURNING id",
        params![repository.as_str(), columns::now()],
        |row| row.get(0),
    )?;
    made.ok_or_else(|| StoreError::Damaged(format!("the repository {repository} could not be made")))
}

/// Notes that something came into the repository just now.
pub(super) fn touch(sql: Sql<'_>, id: i64) -> Result<(), StoreError> {
    sql.run("UPDATE repositories SET updated_at = ?2 WHERE id = ?1", params![id, columns::now()])?;
    Ok(())
}

/// Changes the description, unless it is what it was.
pub(super) fn describe(sql: Sql<'_>, id: i64, description: &str) -> Result<(), StoreError> {
    let Some(before) = Indexed::read(sql, id)? else { return Ok(()) };
    if before.description == description {
        return Ok(());
    }
    sql.run("UPDATE repositories SET description = ?2 WHERE id = ?1", params![id, description])?;
    if before.manifests > 0 {
        search::redescribe(sql, id, &before.name, &before.description, description)?;
    }
    Ok(())
}

/// Counts a manifest that came in. The first one makes the repository be found.
pub(super) fn add_manifest(sql: Sql<'_>, id: i64) -> Result<(), StoreError> {
    sql.run("UPDATE repositories SET manifests = manifests + 1 WHERE id = ?1", params![id])?;
    match Indexed::read(sql, id)? {
        Some(now) if now.manifests == 1 => search::add(sql, id, &now.name, &now.description),
        _ => Ok(()),
    }
}

/// Counts a manifest that went. After the last one the repository is found no more.
pub(super) fn remove_manifest(sql: Sql<'_>, id: i64) -> Result<(), StoreError> {
    sql.run("UPDATE repositories SET manifests = manifests - 1 WHERE id = ?1", params![id])?;
    match Indexed::read(sql, id)? {
        Some(now) if now.manifests == 0 => search::remove(sql, id, &now.name, &now.description),
        _ => Ok(()),
    }
}

/// By what a repository is found in a search, which it is while it holds manifests.
struct Indexed {
    name: String,
    description: String,
    manifests: i64,
}

impl Indexed {
    fn read(sql: Sql<'_>, id: i64) -> Result<Option<Self>, StoreError> {
        sql.first("SELECT name, description, manifests FROM repositories WHERE id = ?1", params![id], |row| {
            Ok(Self { name: row.get(0)?, description: row.get(1)?, manifests: row.get(2)? })
        })
    }
}

/// Removes a repository that holds nothing any more. An empty name in lists helps nobody.
pub(super) fn remove_if_empty(sql: Sql<'_>, repository: &RepositoryName, id: i64) -> Result<(), StoreError> {
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
    sql.run("DELETE FROM repositories WHERE id = ?1", params![id])?;
    note(sql, repository, &ViewItem::Repository)
}
