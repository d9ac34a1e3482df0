//! Lists for people: repositories by their last push, and namespaces.

use super::repositories::{record, repository_columns};
use super::sql::{Sql, params};
use super::visible::{ScanEnd, walk};
use super::{Metadata, RepositoryRecord, columns};
use crate::StoreError;
use accounts::{Selection, Visible, first_after};

/// The number of visible repositories that are sorted in memory. With more, the index of all is filtered.
const SORTED: usize = 2_000;
/// The number of lookups of a list of namespaces. A registry with many names without a slash needs one for each.
const LOOKUPS: usize = 2_000;

/// The position of a repository in the list by last push: milliseconds since 1970, and the id of its row.
pub type PushPosition = (i64, i64);

impl Metadata {
    /// Returns repositories with the position of each, the last push first, beginning after `after`.
    pub async fn repositories_by_push(
        &self,
        visible: &Visible,
        after: Option<PushPosition>,
        limit: usize,
    ) -> Result<Vec<(PushPosition, RepositoryRecord)>, StoreError> {
        let visible = visible.clone();
        let (time, id) = after.unwrap_or((i64::MAX, i64::MAX));
        self.read(move |sql| {
            let positions = match &visible {
                Visible::Everything => {
                    sql.all(BY_PUSH, params![time, id, columns::limit_in(limit)], |row| {
                        Ok((row.get(0)?, row.get(1)?))
                    })?
                }
                Visible::Only(visible) => match sorted(sql, visible, (time, id), limit)? {
                    Some(positions) => positions,
                    None => filtered(sql, visible, (time, id), limit)?,
                },
            };
            let records = positions.into_iter().map(|position| Ok((position, by_id(sql, position.1)?)));
            let records: Vec<_> = records.collect::<Result<_, StoreError>>()?;
            Ok(records.into_iter().filter_map(|(position, record)| Some((position, record?))).collect())
        })
        .await
    }

    /// Returns the first components of names with several, in their order, beginning after `after`.
    pub async fn namespaces(
        &self,
        visible: &Visible,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let visible = visible.clone();
        let start = after.map_or_else(String::new, behind);
        self.read(move |sql| {
            let mut namespaces = Vec::new();
            let mut from = start.clone();
            for _ in 0..LOOKUPS {
                if namespaces.len() == limit {
                    break;
                }
                if let Visible::Only(some) = &visible {
                    match some.next(&from) {
                        Some(next) => from = next,
                        None => break,
                    }
                }
                let name: Option<oci::RepositoryName> =
                    sql.first(NEXT, params![from], |row| columns::text(row, 0))?;
                let Some(name) = name else { break };
                match name.as_str().split_once('/') {
                    Some((namespace, _)) if visible.allows(&name) => {
                        namespaces.push(namespace.to_owned());
                        from = behind(namespace);
                    }
                    _ => from = first_after(name.as_str()),
                }
            }
            Ok(namespaces)
        })
        .await
    }
}

/// Returns the first text after all names of a namespace: `0` follows `/`.
fn behind(namespace: &str) -> String {
    format!("{namespace}0")
}

const NEXT: &str = "SELECT name FROM repositories WHERE manifests > 0 AND name >= ?1 ORDER BY name LIMIT 1";

const BY_PUSH: &str = "SELECT updated_at, id FROM repositories
     WHERE manifests > 0 AND (updated_at, id) < (?1, ?2) ORDER BY updated_at DESC, id DESC LIMIT ?3";

const BY_PUSH_WITH_NAME: &str = "SELECT updated_at, id, name FROM repositories
     WHERE manifests > 0 AND (updated_at, id) < (?1, ?2) ORDER BY updated_at DESC, id DESC";

fn by_id(sql: Sql<'_>, id: i64) -> Result<Option<RepositoryRecord>, StoreError> {
    sql.first(concat!(repository_columns!(), " FROM repositories r WHERE r.id = ?1"), params![id], record)
}

/// Sorts the visible repositories. Returns `None` if there are more than [`SORTED`].
fn sorted(
    sql: Sql<'_>,
    visible: &Selection,
    after: PushPosition,
    limit: usize,
) -> Result<Option<Vec<PushPosition>>, StoreError> {
    let mut positions = Vec::new();
    let end = walk(sql, visible, "", SORTED, |id, _| {
        let time =
            sql.first("SELECT updated_at FROM repositories WHERE id = ?1", params![id], |row| row.get(0))?;
        positions.extend(time.map(|time: i64| (time, id)).filter(|position| *position < after));
        Ok(true)
    })?;
    if end == ScanEnd::LimitReached {
        return Ok(None);
    }
    positions.sort_unstable_by(|one, other| other.cmp(one));
    positions.truncate(limit);
    Ok(Some(positions))
}

fn filtered(
    sql: Sql<'_>,
    visible: &Selection,
    after: PushPosition,
    limit: usize,
) -> Result<Vec<PushPosition>, StoreError> {
    let mut positions = Vec::new();
    sql.each_while(BY_PUSH_WITH_NAME, params![after.0, after.1], |row| {
        if positions.len() < limit && visible.allows(&columns::text(row, 2)?) {
            positions.push((row.get(0)?, row.get(1)?));
        }
        Ok(positions.len() < limit)
    })?;
    Ok(positions)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{empty, manifest, name, plan, put};
    use super::super::visible::tests::only;
    use super::*;

    #[tokio::test]
    async fn namespaces_are_those_of_visible_repositories() {
        let (metadata, _directory) = empty();
        for repository in ["app", "team/a", "team/b", "team-x/a", "other/a/b", "zoo"] {
            put(&metadata, manifest(repository, "m")).await;
        }
        let all = metadata.namespaces(&Visible::Everything, None, 10).await.unwrap();
        assert_eq!(all, ["other", "team-x", "team"]);
        assert_eq!(metadata.namespaces(&Visible::Everything, Some("other"), 1).await.unwrap(), ["team-x"]);
        assert_eq!(metadata.namespaces(&only(&["team/b", "zoo"]), None, 10).await.unwrap(), ["team"]);
        assert!(metadata.namespaces(&Visible::nothing(), None, 10).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn list_by_push_has_the_newest_first() {
        let (metadata, _directory) = empty();
        for repository in ["b", "a", "c", "team/d"] {
            put(&metadata, manifest(repository, "m")).await;
        }
        for visible in [Visible::Everything, only(&["**"]), only(&["?", "team/*"])] {
            let mut names = Vec::new();
            let mut after = None;
            loop {
                let page = metadata.repositories_by_push(&visible, after, 3).await.unwrap();
                let Some((last, _)) = page.last() else { break };
                after = Some(*last);
                names.extend(page.into_iter().map(|(_, record)| record.name));
            }
            assert_eq!(names, ["team/d", "c", "a", "b"].map(name));
        }
        let one = metadata.repositories_by_push(&only(&["a"]), None, 3).await.unwrap();
        assert_eq!(one.len(), 1);
    }

    #[tokio::test]
    async fn list_by_push_reads_an_index() {
        let steps = plan(BY_PUSH, 3).await;
        assert_eq!(steps.len(), 1);
        assert!(steps[0].contains("INDEX repositories_by_update"), "{steps:?}");
    }
}
