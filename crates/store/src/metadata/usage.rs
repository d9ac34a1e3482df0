//! Usage: how much space the registry takes, and which repository takes it.

use std::collections::HashSet;

use oci::RepositoryName;
use rusqlite::params;

use super::sql::Sql;
use super::visible::{Among, walk};
use super::{Metadata, RepositoryUsage, Usage, columns};
use crate::StoreError;
use crate::accounts::{Selection, Visible};

impl Metadata {
    /// Space used by all visible repositories together, and if everything is visible by what no
    /// repository holds. Looks at every blob of them: for a person who asks, not for a request
    /// that comes often.
    pub async fn usage(&self, visible: &Visible) -> Result<Usage, StoreError> {
        let visible = visible.clone();
        self.read(move |sql| {
            if let Visible::Only(visible) = &visible {
                return usage_of_some(sql, visible);
            }
            let usage = sql.first(
                "SELECT (SELECT COUNT(*) FROM repositories WHERE manifests > 0),
                        COUNT(*), COALESCE(SUM(b.size), 0),
                        COALESCE(SUM(CASE
                            WHEN EXISTS (SELECT 1 FROM blob_links l WHERE l.blob = b.id) THEN 0
                            WHEN EXISTS (SELECT 1 FROM manifests m WHERE m.blob = b.id) THEN 0
                            ELSE b.size END), 0)
                 FROM blobs b WHERE b.size IS NOT NULL",
                (),
                |row| {
                    Ok(Usage {
                        repositories: columns::count(row, 0)?,
                        blobs: columns::count(row, 1)?,
                        bytes: columns::count(row, 2)?,
                        unreferenced_bytes: columns::count(row, 3)?,
                    })
                },
            )?;
            Ok(usage.unwrap_or_default())
        })
        .await
    }

    /// Space that each visible repository takes, in the order of their names, from the one after
    /// `after`. If not everything is visible, `own_bytes` is what no visible repository holds too:
    /// otherwise it would tell of what others have.
    pub async fn repository_usage(
        &self,
        visible: &Visible,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RepositoryUsage>, StoreError> {
        let (visible, after) = (visible.clone(), after.unwrap_or_default().to_owned());
        self.read(move |sql| match &visible {
            Visible::Everything => sql.all(
                concat!(usage_columns!(), "r.name > ?1 ORDER BY r.name LIMIT ?2"),
                params![after, columns::limit_in(limit)],
                record,
            ),
            Visible::Only(visible) => {
                let mut usages = Vec::new();
                if limit > 0 {
                    walk(sql, Among::All, visible, &after, usize::MAX, |id, name| {
                        usages.push(usage_among(sql, visible, id, name)?);
                        Ok(usages.len() < limit)
                    })?;
                }
                Ok(usages)
            }
        })
        .await
    }

    /// Space that one repository takes; `None` if it is not there.
    pub async fn usage_of(&self, repository: &RepositoryName) -> Result<Option<RepositoryUsage>, StoreError> {
        let repository = repository.clone();
        self.read(move |sql| {
            sql.first(concat!(usage_columns!(), "r.name = ?1"), params![repository.as_str()], record)
        })
        .await
    }
}

/// What [`record`] reads, up to the condition on the repository `r`.
macro_rules! usage_columns {
    () => {
        "SELECT r.name,
                (SELECT COALESCE(SUM(b.size), 0) FROM blobs b
                 WHERE b.id IN (SELECT l.blob FROM blob_links l WHERE l.repository = r.id
                                UNION SELECT m.blob FROM manifests m WHERE m.repository = r.id)),
                (SELECT COALESCE(SUM(b.size), 0) FROM blobs b
                 WHERE b.id IN (SELECT l.blob FROM blob_links l WHERE l.repository = r.id
                                UNION SELECT m.blob FROM manifests m WHERE m.repository = r.id)
                   AND NOT EXISTS (SELECT 1 FROM blob_links o WHERE o.blob = b.id AND o.repository <> r.id)
                   AND NOT EXISTS (SELECT 1 FROM manifests o WHERE o.blob = b.id AND o.repository <> r.id))
         FROM repositories r WHERE "
    };
}
use usage_columns;

/// So many repositories that hold a blob are asked for one that is visible; a blob that is in more
/// is taken for one's own if none of those is.
const HOLDERS: usize = 1_000;

/// The blobs and manifests of a repository, each once, with their sizes.
const CONTENT: &str = "SELECT b.id, COALESCE(b.size, 0) FROM blobs b
     WHERE b.id IN (SELECT l.blob FROM blob_links l WHERE l.repository = ?1
                    UNION SELECT m.blob FROM manifests m WHERE m.repository = ?1)";

fn usage_of_some(sql: Sql<'_>, visible: &Selection) -> Result<Usage, StoreError> {
    let mut usage = Usage::default();
    let mut seen = HashSet::new();
    walk(sql, Among::All, visible, "", usize::MAX, |id, _| {
        sql.each(CONTENT, params![id], |row| {
            if seen.insert(row.get::<_, i64>(0)?) {
                usage.blobs += 1;
                usage.bytes += columns::count(row, 1)?;
            }
            Ok(())
        })?;
        Ok(true)
    })?;
    walk(sql, Among::Listed, visible, "", usize::MAX, |_, _| {
        usage.repositories += 1;
        Ok(true)
    })?;
    Ok(usage)
}

fn usage_among(
    sql: Sql<'_>,
    visible: &Selection,
    id: i64,
    name: RepositoryName,
) -> Result<RepositoryUsage, StoreError> {
    let content: Vec<(i64, u64)> =
        sql.all(CONTENT, params![id], |row| Ok((row.get(0)?, columns::count(row, 1)?)))?;
    let mut usage = RepositoryUsage { name, bytes: 0, own_bytes: 0 };
    for (blob, size) in content {
        usage.bytes += size;
        let mut is_shared = false;
        sql.each_while(
            "SELECT r.name FROM (
                SELECT repository FROM blob_links WHERE blob = ?1
                UNION ALL SELECT repository FROM manifests WHERE blob = ?1 LIMIT ?3) AS h
             JOIN repositories r ON r.id = h.repository WHERE r.id <> ?2",
            params![blob, id, columns::limit_in(HOLDERS)],
            |row| {
                is_shared = visible.allows(&columns::text(row, 0)?);
                Ok(!is_shared)
            },
        )?;
        if !is_shared {
            usage.own_bytes += size;
        }
    }
    Ok(usage)
}

fn record(row: &rusqlite::Row<'_>) -> rusqlite::Result<RepositoryUsage> {
    Ok(RepositoryUsage {
        name: columns::text(row, 0)?,
        bytes: columns::count(row, 1)?,
        own_bytes: columns::count(row, 2)?,
    })
}
