//! Usage: how much space the registry takes, and which repository takes it.

use oci::RepositoryName;
use rusqlite::params;

use super::{Metadata, RepositoryUsage, Usage, columns};
use crate::StoreError;

impl Metadata {
    /// Space used by the whole registry. Looks at every blob: for a person who asks, not for a
    /// request that comes often.
    pub async fn usage(&self) -> Result<Usage, StoreError> {
        self.read(|sql| {
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

    /// Space that each repository takes, in the order of their names, from the one after `after`.
    pub async fn repository_usage(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RepositoryUsage>, StoreError> {
        let after = after.unwrap_or_default().to_owned();
        self.read(move |sql| {
            sql.all(
                concat!(usage_columns!(), "r.name > ?1 ORDER BY r.name LIMIT ?2"),
                params![after, columns::limit_in(limit)],
                record,
            )
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

fn record(row: &rusqlite::Row<'_>) -> rusqlite::Result<RepositoryUsage> {
    Ok(RepositoryUsage {
        name: columns::text(row, 0)?,
        bytes: columns::count(row, 1)?,
        own_bytes: columns::count(row, 2)?,
    })
}
