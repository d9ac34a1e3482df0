//! Lists for people: repositories by last push, size or pulls, and namespaces.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::repositories::{record, repository_columns};
use super::sql::{Sql, params};
use super::visible::walk_rows;
use super::{Metadata, RepositoryRecord, columns};
use crate::StoreError;
use accounts::{Selection, Visible, first_after};

/// The rows of the index of all repositories that are filtered. If they hold too few visible ones, all
/// visible ones are read instead: an account that may pull a quarter of 100,000 repositories waits for 25,000
/// rows at most.
const FILTERED: usize = 4_000;
/// The number of lookups of a list of namespaces. A registry with many names without a slash needs one for
/// each.
const LOOKUPS: usize = 2_000;

/// An order of the list of repositories, the largest value first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepositoryOrder {
    /// By last push.
    Push,
    /// By size. It follows a push some seconds later.
    Size,
    /// By the number of pulls.
    Pulls,
}

/// A position in such a list: the value, and the id of the row.
pub type Position = (i64, i64);

struct Statements {
    /// A page of all repositories.
    page: &'static str,
    /// All repositories after a position, with their names.
    named: &'static str,
    /// Repositories by name, with the value.
    by_name: &'static str,
}

macro_rules! statements {
    ($column:literal) => {
        Statements {
            page: concat!(
                "SELECT ",
                $column,
                ", id FROM repositories WHERE manifests > 0 AND (",
                $column,
                ", id) < (?1, ?2)
                 ORDER BY ",
                $column,
                " DESC, id DESC LIMIT ?3"
            ),
            named: concat!(
                "SELECT ",
                $column,
                ", id, name FROM repositories
                 WHERE manifests > 0 AND (",
                $column,
                ", id) < (?1, ?2) ORDER BY ",
                $column,
                " DESC, id DESC"
            ),
            by_name: concat!(
                "SELECT name, id, ",
                $column,
                " FROM repositories
                 WHERE manifests > 0 AND name >= ?1 ORDER BY name LIMIT ?2"
            ),
        }
    };
}

impl RepositoryOrder {
    const fn statements(self) -> &'static Statements {
        match self {
            Self::Push => &statements!("updated_at"),
            Self::Size => &statements!("bytes"),
            Self::Pulls => &statements!("pulls"),
        }
    }
}

impl Metadata {
    /// Returns repositories with the position of each, in an order, beginning after `after`.
    pub async fn repositories_by(
        &self,
        order: RepositoryOrder,
        visible: &Visible,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Vec<(Position, RepositoryRecord)>, StoreError> {
        let (visible, statements) = (visible.clone(), order.statements());
        let after = after.unwrap_or((i64::MAX, i64::MAX));
        self.read(move |sql| {
            let positions = match &visible {
                Visible::Everything => {
                    sql.all(statements.page, params![after.0, after.1, columns::limit_in(limit)], |row| {
                        Ok((row.get(0)?, row.get(1)?))
                    })?
                }
                Visible::Only(visible) => match filtered(sql, statements, visible, after, limit)? {
                    Some(positions) => positions,
                    None => sorted(sql, statements, visible, after, limit)?,
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

fn by_id(sql: Sql<'_>, id: i64) -> Result<Option<RepositoryRecord>, StoreError> {
    sql.first(concat!(repository_columns!(), " FROM repositories r WHERE r.id = ?1"), params![id], record)
}

/// Filters the first rows of the index of all repositories. Returns `None` if they do not fill the page.
fn filtered(
    sql: Sql<'_>,
    statements: &Statements,
    visible: &Selection,
    after: Position,
    limit: usize,
) -> Result<Option<Vec<Position>>, StoreError> {
    let (mut positions, mut read) = (Vec::new(), 0);
    sql.each_while(statements.named, params![after.0, after.1], |row| {
        read += 1;
        if positions.len() < limit && visible.allows_text(row.text(2)?) {
            positions.push((row.get(0)?, row.get(1)?));
        }
        Ok(positions.len() < limit && read < FILTERED)
    })?;
    let is_complete = positions.len() == limit || read < FILTERED;
    Ok(is_complete.then_some(positions))
}

/// Finds the greatest positions among all visible repositories.
fn sorted(
    sql: Sql<'_>,
    statements: &Statements,
    visible: &Selection,
    after: Position,
    limit: usize,
) -> Result<Vec<Position>, StoreError> {
    // The least of the greatest positions is on top.
    let mut greatest = BinaryHeap::with_capacity(limit + 1);
    walk_rows(sql, statements.by_name, visible, "", usize::MAX, |row, _| {
        let position: Position = (row.get(2)?, row.get(1)?);
        let is_full = greatest.len() == limit;
        if position < after && (!is_full || greatest.peek().is_some_and(|Reverse(least)| position > *least)) {
            greatest.push(Reverse(position));
            if is_full {
                greatest.pop();
            }
        }
        Ok(limit > 0)
    })?;
    Ok(greatest.into_sorted_vec().into_iter().map(|Reverse(position)| position).collect())
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{digest, empty, layer, manifest, name, plan, put};
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
                let page = metadata.repositories_by(RepositoryOrder::Push, &visible, after, 3).await.unwrap();
                let Some((last, _)) = page.last() else { break };
                after = Some(*last);
                names.extend(page.into_iter().map(|(_, record)| record.name));
            }
            assert_eq!(names, ["team/d", "c", "a", "b"].map(name));
        }
        let one = metadata.repositories_by(RepositoryOrder::Push, &only(&["a"]), None, 3).await.unwrap();
        assert_eq!(one.len(), 1);
    }

    #[tokio::test]
    async fn list_by_size_follows_pushes_and_deletions() {
        let (metadata, _directory) = empty();
        for (repository, size) in [("a", 300), ("b", 100), ("c", 200)] {
            metadata.link_blob(&name(repository), &digest(repository), size).await.unwrap();
            let mut image = manifest(repository, &format!("m {repository}"));
            image.parts = vec![layer(repository)];
            put(&metadata, image).await;
        }
        let by_size = async |visible: Visible| {
            while metadata.size_repositories(2).await.unwrap() > 0 {}
            let page = metadata.repositories_by(RepositoryOrder::Size, &visible, None, 9).await.unwrap();
            page.into_iter().map(|(_, record)| record.name.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(by_size(Visible::Everything).await, "a c b");
        assert_eq!(by_size(only(&["b", "c"])).await, "c b");
        metadata.link_blob(&name("b"), &digest("large"), 900).await.unwrap();
        let mut image = manifest("b", "large image");
        image.parts = vec![layer("large")];
        put(&metadata, image).await;
        assert_eq!(by_size(Visible::Everything).await, "b a c");
        metadata.delete_manifest(&name("b"), &digest("large image")).await.unwrap();
        assert_eq!(by_size(Visible::Everything).await, "a c b");
    }

    #[tokio::test]
    async fn sorted_lists_equal_filtered_ones() {
        let (metadata, _directory) = empty();
        for repository in ["b", "a", "c", "x/y"] {
            put(&metadata, manifest(repository, "m")).await;
        }
        let both = metadata.read(|sql| {
            let Visible::Only(visible) = only(&["?"]) else { panic!("it is everything") };
            let push = RepositoryOrder::Push.statements();
            let start = (i64::MAX, i64::MAX);
            Ok((filtered(sql, push, &visible, start, 9)?, sorted(sql, push, &visible, start, 9)?))
        });
        let (filtered, sorted) = both.await.unwrap();
        assert_eq!((filtered.as_ref(), sorted.len()), (Some(&sorted), 3));
    }

    #[tokio::test]
    async fn lists_in_an_order_read_its_index() {
        for (order, index) in [
            (RepositoryOrder::Push, "INDEX repositories_by_update"),
            (RepositoryOrder::Size, "INDEX repositories_by_size"),
            (RepositoryOrder::Pulls, "INDEX repositories_by_pulls"),
        ] {
            let Statements { page, named, by_name } = order.statements();
            for (statement, parameters, index) in
                [(page, 3, index), (named, 2, index), (by_name, 2, "INDEX repositories_listed")]
            {
                let steps = plan(statement, parameters).await;
                assert_eq!(steps.len(), 1);
                assert!(steps[0].contains(&format!("COVERING {index}")), "{steps:?}");
            }
        }
    }
}
