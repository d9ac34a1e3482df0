//! Usage: the space that images take, in total and by repository.
//!
//! The size of images (`ls`, `du`, `check`, the API) is that of their manifests and of the blobs that these
//! need, each digest counted once. A part that an image may lack, such as a layer of a cached image, counts
//! while its repository holds it. Unreferenced blobs are counted separately.

use std::collections::HashSet;

use oci::RepositoryName;

use super::sql::{Both, Row, Sql, params};
use super::visible::walk;
use super::{Metadata, OwnerUsage, RepositoryUsage, Usage, columns};
use crate::StoreError;
use accounts::{Selection, Visible};

impl Metadata {
    /// The space used by all visible repositories together, and by unreferenced blobs if everything is
    /// visible. Reads a row of every blob, so it is too slow for frequent requests.
    pub async fn usage(&self, visible: &Visible) -> Result<Usage, StoreError> {
        let visible = visible.clone();
        self.read(move |sql| match &visible {
            Visible::Only(visible) => usage_of_some(sql, visible),
            Visible::Everything => usage_of_everything(sql),
        })
        .await
    }

    /// The space of each visible repository, by name after `after`. With restricted visibility, `own_bytes`
    /// counts blobs that no visible repository shares, so that it reveals nothing of others.
    pub async fn repository_usage(
        &self,
        visible: &Visible,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RepositoryUsage>, StoreError> {
        let (visible, after) = (visible.clone(), after.unwrap_or_default().to_owned());
        self.read(move |sql| match &visible {
            Visible::Everything => sql.all(
                concat!(usage_columns!(), "r.manifests > 0 AND r.name > ?1 ORDER BY r.name LIMIT ?2"),
                params![after, columns::limit_in(limit)],
                record,
            ),
            Visible::Only(visible) => {
                let mut usages = Vec::new();
                if limit > 0 {
                    walk(sql, visible, &after, usize::MAX, |id, name| {
                        usages.push(usage_among(sql, visible, id, name)?);
                        Ok(usages.len() < limit)
                    })?;
                }
                Ok(usages)
            }
        })
        .await
    }

    /// The space of the visible repositories below each of the names, each digest counted once for a name.
    pub async fn owner_usage(
        &self,
        visible: &Visible,
        owners: Vec<String>,
    ) -> Result<Vec<OwnerUsage>, StoreError> {
        let visible = visible.clone();
        self.read(move |sql| {
            let mut usages = Vec::with_capacity(owners.len());
            for owner in &owners {
                let pattern = format!("{owner}/**").parse().map(|pattern| visible.restricted_to(&[pattern]));
                let usage = match pattern {
                    Ok(Visible::Only(below)) => usage_of_some(sql, &below)?,
                    _ => Usage::default(),
                };
                usages.push(OwnerUsage {
                    owner: owner.clone(),
                    repositories: usage.repositories,
                    bytes: usage.bytes,
                });
            }
            Ok(usages)
        })
        .await
    }

    /// The space of one repository.
    pub async fn usage_of(&self, repository: &RepositoryName) -> Result<Option<RepositoryUsage>, StoreError> {
        let repository = repository.clone();
        self.read(move |sql| {
            sql.first(concat!(usage_columns!(), "r.name = ?1"), params![repository.as_str()], record)
        })
        .await
    }
}

/// The condition on a part `p` of a manifest `$manifest`: a blob that the manifest needs, or one that its
/// repository holds.
macro_rules! counts {
    ($manifest:literal) => {
        concat!(
            "p.is_manifest = 0 AND (p.required = 1 OR EXISTS (SELECT 1 FROM blob_links l WHERE l.repository = ",
            $manifest,
            ".repository AND l.blob = p.blob))"
        )
    };
}

/// Selects the manifests of `$repository` and the blobs that they need, each once.
macro_rules! content_of {
    ($repository:literal) => {
        concat!(
            "SELECT m.blob FROM manifests m WHERE m.repository = ",
            $repository,
            " UNION SELECT p.blob FROM manifests m JOIN manifest_parts p ON p.manifest = m.blob
              WHERE ",
            $crate::metadata::usage::counts!("m"),
            " AND m.repository = ",
            $repository
        )
    };
}

/// Selects the columns of [`record`]; the condition on the repository `r` follows.
macro_rules! usage_columns {
    () => {
        concat!(
            "SELECT r.name,
                    (SELECT COALESCE(SUM(b.size), 0) FROM blobs b WHERE b.id IN (",
            content_of!("r.id"),
            ")),
                    (SELECT COALESCE(SUM(b.size), 0) FROM blobs b WHERE b.id IN (",
            content_of!("r.id"),
            ")
                       AND NOT EXISTS (SELECT 1 FROM manifests o WHERE o.blob = b.id AND o.repository <> r.id)
                       AND NOT EXISTS (SELECT 1 FROM manifest_parts p JOIN manifests o ON o.blob = p.manifest
                                       WHERE p.blob = b.id AND o.repository <> r.id AND ",
            counts!("o"),
            "))
             FROM repositories r WHERE "
        )
    };
}
use usage_columns;
pub(super) use {content_of, counts};

/// The number of holders of a blob that are checked for visibility. A blob with more holders, none of the
/// checked ones visible, counts as own.
const HOLDERS: usize = 1_000;

const CONTENT: &str =
    concat!("SELECT b.id, COALESCE(b.size, 0) FROM blobs b WHERE b.id IN (", content_of!("?1"), ")");

/// The ids of blobs that one statement looks at. PostgreSQL ends a statement after 30 s, and a blob takes
/// 0.05 ms.
const RANGE: i64 = 50_000;

/// Counts the blobs with ids after ?1, up to ?2. `$end` ends the inner query.
macro_rules! count_range {
    ($end:literal) => {
        concat!(
            "SELECT COALESCE(SUM(needed), 0), COALESCE(SUM(size * needed), 0), COALESCE(SUM(size * (1 - needed)), 0)
         FROM (SELECT b.size AS size,
                      CASE WHEN EXISTS (SELECT 1 FROM manifests m WHERE m.blob = b.id)
                      OR EXISTS (SELECT 1 FROM manifest_parts p JOIN manifests m ON m.blob = p.manifest
                                 WHERE p.blob = b.id AND ",
            counts!("m"),
            ")
                      THEN 1 ELSE 0 END AS needed
               FROM blobs b WHERE b.size IS NOT NULL AND b.id > ?1 AND b.id <= ?2",
            $end,
            ") AS b"
        )
    };
}

pub(super) fn usage_of_everything(sql: Sql<'_>) -> Result<Usage, StoreError> {
    let repositories = "SELECT COUNT(*) FROM repositories WHERE manifests > 0";
    let repositories = sql.first(repositories, &[], |row| columns::count(row, 0))?.unwrap_or(0);
    let last =
        sql.first("SELECT COALESCE(MAX(id), 0) FROM blobs", &[], |row| row.get::<i64>(0))?.unwrap_or(0);
    let mut usage = Usage { repositories, ..Usage::default() };
    // PostgreSQL would put the inner query in the place of each `needed`, and run it three times.
    let count = sql.either(Both { sqlite: count_range!(""), postgres: count_range!(" OFFSET 0") });
    let mut after = 0;
    while after < last {
        let end = after + RANGE;
        sql.each(count, params![after, end], |row| {
            usage.blobs += columns::count(row, 0)?;
            usage.bytes += columns::count(row, 1)?;
            usage.unreferenced_bytes += columns::count(row, 2)?;
            Ok(())
        })?;
        after = end;
    }
    Ok(usage)
}

pub(super) fn usage_of_some(sql: Sql<'_>, visible: &Selection) -> Result<Usage, StoreError> {
    let mut usage = Usage::default();
    let mut seen = HashSet::new();
    walk(sql, visible, "", usize::MAX, |id, _| {
        usage.repositories += 1;
        sql.each(CONTENT, params![id], |row| {
            if seen.insert(row.get::<i64>(0)?) {
                usage.blobs += 1;
                usage.bytes += columns::count(row, 1)?;
            }
            Ok(())
        })?;
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
            concat!(
                "SELECT r.name FROM (
                SELECT m.repository FROM manifests m WHERE m.blob = ?1
                UNION SELECT m.repository FROM manifest_parts p JOIN manifests m ON m.blob = p.manifest
                      WHERE p.blob = ?1 AND ",
                counts!("m"),
                " LIMIT ?3) AS h
             JOIN repositories r ON r.id = h.repository WHERE r.id <> ?2"
            ),
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

fn record(row: &Row<'_>) -> Result<RepositoryUsage, StoreError> {
    Ok(RepositoryUsage {
        name: columns::text(row, 0)?,
        bytes: columns::count(row, 1)?,
        own_bytes: columns::count(row, 2)?,
    })
}
