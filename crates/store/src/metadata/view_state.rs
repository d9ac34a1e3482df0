//! State of the `repositories/` view: the stamps of its directories, and the paths that could not be adopted.

use std::collections::{HashMap, HashSet};

use oci::{Digest, RepositoryName, Tag};

use super::rows::outbox::{self, VIEW};
use super::sql::{Sql, params};
use super::writer::Durability;
use super::{
    Metadata, RepositoryLinks, TagsDirectory, UnwrittenTag, ViewItem, ViewProblem, ViewStamp, columns,
};
use crate::StoreError;

impl Metadata {
    /// The stamps of all directories by path.
    pub async fn view_stamps(&self) -> Result<HashMap<String, ViewStamp>, StoreError> {
        self.read(|sql| {
            let stamps = sql.all("SELECT directory, stamp FROM view_stamps", &[], |row| {
                Ok((row.get(0)?, ViewStamp(row.get(1)?)))
            })?;
            Ok(stamps.into_iter().collect())
        })
        .await
    }

    /// Forgets the state of the view, because its links are written anew.
    pub async fn forget_view(&self) -> Result<(), StoreError> {
        self.write(Durability::Disk, |sql| {
            sql.run("DELETE FROM view_stamps", &[])?;
            sql.run("DELETE FROM view_problems", &[])?;
            sql.run("DELETE FROM view_blocked", &[]).map(drop)
        })
        .await
    }

    /// The paths that could not be adopted, in their order.
    pub async fn view_problems(&self) -> Result<Vec<ViewProblem>, StoreError> {
        self.read(|sql| {
            sql.all("SELECT directory, path, problem FROM view_problems ORDER BY path, problem", &[], |row| {
                Ok(ViewProblem { directory: row.get(0)?, path: row.get(1)?, problem: row.get(2)? })
            })
        })
        .await
    }

    /// The number of entries of a repository's view that could not be adopted.
    pub async fn repository_problems(&self, repository: &RepositoryName) -> Result<u64, StoreError> {
        let name = repository.to_string();
        self.read(move |sql| problems_of(sql, &name)).await
    }

    /// The id of the database, and its last restoration if it was ever restored. Links that were complete for
    /// another state may be newer than the metadata.
    pub(crate) async fn restored_state(&self) -> Result<String, StoreError> {
        self.read(|sql| {
            let state =
                "SELECT id || CASE restoration WHEN '' THEN '' ELSE ' ' || restoration END FROM identity";
            let state = sql.first(state, &[], |row| row.get(0))?;
            state.ok_or_else(|| StoreError::Damaged("the database has no id".to_owned()))
        })
        .await
    }

    /// All links that a repository should have, with its pending items, from one snapshot.
    pub async fn repository_links(&self, repository: &RepositoryName) -> Result<RepositoryLinks, StoreError> {
        let repository = repository.clone();
        self.read(move |sql| {
            let layers: Vec<Digest> = sql.all(
                "SELECT b.digest FROM repositories r JOIN blob_links l ON l.repository = r.id
                 JOIN blobs b ON b.id = l.blob WHERE r.name = ?1",
                params![repository.as_str()],
                |row| columns::digest(row, 0),
            )?;
            let manifests: Vec<Digest> = sql.all(
                "SELECT b.digest FROM repositories r JOIN manifests m ON m.repository = r.id
                 JOIN blobs b ON b.id = m.blob WHERE r.name = ?1",
                params![repository.as_str()],
                |row| columns::digest(row, 0),
            )?;
            let tags: Vec<(Tag, Digest)> = sql.all(
                "SELECT t.name, b.digest FROM repositories r JOIN tags t ON t.repository = r.id
                 JOIN blobs b ON b.id = t.blob WHERE r.name = ?1",
                params![repository.as_str()],
                |row| Ok((columns::text(row, 0)?, columns::digest(row, 1)?)),
            )?;
            let mut unwritten: Vec<_> =
                sql.all(UNWRITTEN, params![VIEW, repository.as_str()], |row| outbox::changed_item(row, 0))?;
            let blocked: HashSet<ViewItem> = sql
                .all(
                    "SELECT kind, item FROM view_blocked WHERE repository = ?1",
                    params![repository.as_str()],
                    |row| outbox::blocked_item(row, 0),
                )?
                .into_iter()
                .collect();
            let mut unwritten_tags: HashMap<Tag, UnwrittenTag> = HashMap::new();
            sql.each(
                "SELECT tag, at, digest, previous FROM changes
                 WHERE id > (SELECT cursor FROM change_consumers WHERE name = ?1) AND for_view = 1
                   AND repository = ?2 AND tag IS NOT NULL",
                params![VIEW, repository.as_str()],
                |row| {
                    let (tag, at) = (columns::text(row, 0)?, columns::time(row, 1)?);
                    let unwritten = unwritten_tags
                        .entry(tag)
                        .or_insert_with(|| UnwrittenTag { at, targets: HashSet::new() });
                    unwritten.at = unwritten.at.max(at);
                    unwritten.targets.extend(columns::digest_or_null(row, 2)?);
                    unwritten.targets.extend(columns::digest_or_null(row, 3)?);
                    Ok(())
                },
            )?;
            // The link of a blocked tag has a target of an acknowledged change, which these changes do not
            // show.
            unwritten_tags.retain(|tag, _| !blocked.contains(&ViewItem::Tag(tag.clone())));
            unwritten.extend(blocked);
            let tags_directory = tags_directory(sql, repository.as_str())?;
            Ok(RepositoryLinks {
                unwritten_tags,
                tags_directory,
                layers: layers.into_iter().collect(),
                manifests: manifests.into_iter().collect(),
                tags: tags.into_iter().collect(),
                unwritten: unwritten.into_iter().collect::<HashSet<_>>(),
            })
        })
        .await
    }

    /// Whether all tags of a repository are among `names`.
    pub async fn has_tags_among(
        &self,
        repository: &RepositoryName,
        names: HashSet<Tag>,
    ) -> Result<bool, StoreError> {
        let repository = repository.clone();
        self.read(move |sql| {
            let mut has_all = true;
            sql.each_while(TAGS_OF, params![repository.as_str()], |row| {
                has_all = names.contains(&columns::text::<Tag>(row, 0)?);
                Ok(has_all)
            })?;
            Ok(has_all)
        })
        .await
    }

    /// The identity of a repository's tags directory when it last held all tags.
    pub async fn tags_directory(
        &self,
        repository: &RepositoryName,
    ) -> Result<Option<TagsDirectory>, StoreError> {
        let repository = repository.clone();
        self.read(move |sql| tags_directory(sql, repository.as_str())).await
    }

    /// Records tags directories that hold all tags of their repository. The transaction is not synced: an
    /// older identity deletes nothing.
    pub async fn record_tags_directories(
        &self,
        directories: Vec<(RepositoryName, TagsDirectory)>,
    ) -> Result<(), StoreError> {
        if directories.is_empty() {
            return Ok(());
        }
        self.write(Durability::Process, move |sql| {
            directories.iter().try_for_each(|(repository, directory)| {
                set_tags_directory(sql, repository.as_str(), directory)
            })
        })
        .await
    }

    /// The repositories with tags that the view has not written yet.
    pub async fn repositories_with_unwritten_tags(&self) -> Result<Vec<RepositoryName>, StoreError> {
        self.read(|sql| {
            sql.all(
                "SELECT DISTINCT repository FROM changes
                 WHERE id > (SELECT cursor FROM change_consumers WHERE name = ?1) AND for_view = 1
                   AND repository IS NOT NULL AND tag IS NOT NULL",
                params![VIEW],
                |row| columns::text(row, 0),
            )
        })
        .await
    }

    /// Whether a manifest of the repository needs this blob.
    pub async fn is_needed(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, StoreError> {
        let (repository, digest) = (repository.clone(), *digest);
        self.read(move |sql| {
            sql.exists(
                "SELECT 1 FROM blobs b JOIN manifest_parts p ON p.blob = b.id
                 JOIN repositories r ON r.name = ?1
                 JOIN manifests m ON m.repository = r.id AND m.blob = p.manifest
                 WHERE b.digest = ?2",
                params![repository.as_str(), columns::key(&digest)],
            )
        })
        .await
    }
}

const UNWRITTEN: &str = "SELECT kind, tag, digest FROM changes
     WHERE id > (SELECT cursor FROM change_consumers WHERE name = ?1) AND for_view = 1 AND repository = ?2";

/// Without the outbox: a round asks about each new repository, and reading the outbox for each is quadratic.
const TAGS_OF: &str =
    "SELECT t.name FROM repositories r JOIN tags t ON t.repository = r.id WHERE r.name = ?1";

/// A stamp that is there already is not written, so that a check of an unchanged directory needs no free space.
pub(super) fn set_stamp(sql: Sql<'_>, directory: &str, stamp: &ViewStamp) -> Result<(), StoreError> {
    sql.run(
        "INSERT INTO view_stamps (directory, stamp) VALUES (?1, ?2)
         ON CONFLICT (directory) DO UPDATE SET stamp = excluded.stamp
         WHERE view_stamps.stamp IS DISTINCT FROM excluded.stamp",
        params![directory, stamp.0],
    )?;
    Ok(())
}

pub(super) fn set_tags_directory(
    sql: Sql<'_>,
    repository: &str,
    directory: &TagsDirectory,
) -> Result<(), StoreError> {
    // A directory with an empty stamp counts as changed.
    sql.run(
        "INSERT INTO view_stamps (directory, stamp, tags_directory) VALUES (?1, ?3, ?2)
         ON CONFLICT (directory) DO UPDATE SET tags_directory = excluded.tags_directory
         WHERE view_stamps.tags_directory IS DISTINCT FROM excluded.tags_directory",
        params![repository, directory.0, [0_u8; 0]],
    )?;
    Ok(())
}

fn tags_directory(sql: Sql<'_>, repository: &str) -> Result<Option<TagsDirectory>, StoreError> {
    sql.first(
        "SELECT tags_directory FROM view_stamps WHERE directory = ?1 AND tags_directory IS NOT NULL",
        params![repository],
        |row| Ok(TagsDirectory(row.get(0)?)),
    )
}

/// Replaces the problems of a directory. Returns whether their number changed.
pub(super) fn set_problems(
    sql: Sql<'_>,
    directory: &str,
    problems: &[(Vec<u8>, String)],
) -> Result<bool, StoreError> {
    let mut earlier: Vec<(Vec<u8>, String)> =
        sql.all("SELECT path, problem FROM view_problems WHERE directory = ?1", params![directory], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let mut present = problems.to_vec();
    earlier.sort_unstable();
    present.sort_unstable();
    if earlier == present {
        return Ok(false);
    }
    let removed = sql.run("DELETE FROM view_problems WHERE directory = ?1", params![directory])?;
    for (path, problem) in problems {
        sql.run(
            "INSERT INTO view_problems (directory, path, problem) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            params![directory, path, problem],
        )?;
    }
    Ok(removed != problems.len())
}

/// The number of entries of a repository's view that could not be adopted.
pub(super) fn problems_of(sql: Sql<'_>, repository: &str) -> Result<u64, StoreError> {
    // Components of names do not begin with an underscore. '`' is the character after it.
    let (first, end) = (format!("{repository}/_"), format!("{repository}/`"));
    let problems = sql.first(
        "SELECT COUNT(*) FROM view_problems WHERE directory = ?1 OR (directory >= ?2 AND directory < ?3)",
        params![repository, first, end],
        |row| columns::count(row, 0),
    )?;
    Ok(problems.unwrap_or(0))
}

/// Deletes the state of a directory and of those below it.
pub(super) fn delete(sql: Sql<'_>, directory: &str) -> Result<bool, StoreError> {
    // '0' is the character after '/'.
    let (first, end) = (format!("{directory}/"), format!("{directory}0"));
    let stamps = sql.run(
        "DELETE FROM view_stamps WHERE directory = ?1 OR (directory >= ?2 AND directory < ?3)",
        params![directory, first, end],
    )?;
    let problems = sql.run(
        "DELETE FROM view_problems WHERE directory = ?1 OR (directory >= ?2 AND directory < ?3)",
        params![directory, first, end],
    )?;
    Ok(stamps + problems > 0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::fixtures::{empty, name, plan, put, tag, tagged};

    #[tokio::test]
    async fn links_of_a_repository_need_its_changes_only() {
        let steps = plan(super::UNWRITTEN, 2).await;
        assert!(steps.iter().any(|step| step.contains("changes_of_repository")), "{steps:?}");
    }

    #[tokio::test]
    async fn tags_of_a_new_repository_need_no_outbox() {
        let (metadata, _directory) = empty();
        put(&metadata, tagged("app", "m", &["a", "b"])).await;
        let has = async |names: &[&str]| {
            let names: HashSet<_> = names.iter().map(|name| tag(name)).collect();
            metadata.has_tags_among(&name("app"), names).await.unwrap()
        };
        assert!(has(&["a", "b", "c"]).await);
        assert!(!has(&["a"]).await);
        let steps = plan(super::TAGS_OF, 1).await;
        assert!(
            steps.iter().all(|step| step.starts_with("SEARCH") && !step.contains("changes")),
            "{steps:?}"
        );
    }
}
