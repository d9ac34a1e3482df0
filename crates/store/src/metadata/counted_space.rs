//! The counted space: of everything, and of the repositories of each owner. Counts take long, so a background
//! task makes them after changes, and pages read the last ones.

use super::sql::{Row, Sql, params};
use super::usage::{usage_of_everything, usage_of_some};
use super::writer::Durability;
use super::{Metadata, OwnerUsage, Usage, columns};
use crate::StoreError;
use accounts::Visible;

/// The row of everything. No owner has an empty name.
const EVERYTHING: &str = "";

impl Metadata {
    /// Returns the counted space of everything, or `None` before the first count.
    pub async fn counted_usage(&self) -> Result<Option<Usage>, StoreError> {
        self.read(|sql| {
            sql.first(
                "SELECT repositories, blobs, bytes, unreferenced FROM space
                 WHERE owner = ?1 AND counted_at IS NOT NULL",
                params![EVERYTHING],
                |row| {
                    Ok(Usage {
                        repositories: columns::count(row, 0)?,
                        blobs: columns::count(row, 1)?,
                        bytes: columns::count(row, 2)?,
                        unreferenced_bytes: columns::count(row, 3)?,
                    })
                },
            )
        })
        .await
    }

    /// Returns the counted space of owners, by name after `after`.
    pub async fn counted_owners(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<OwnerUsage>, StoreError> {
        let after = after.unwrap_or(EVERYTHING).to_owned();
        self.read(move |sql| {
            sql.all(
                "SELECT owner, repositories, bytes FROM space
                 WHERE owner > ?1 AND counted_at IS NOT NULL ORDER BY owner LIMIT ?2",
                params![after, columns::limit_in(limit)],
                |row| {
                    Ok(OwnerUsage {
                        owner: row.get(0)?,
                        repositories: columns::count(row, 1)?,
                        bytes: columns::count(row, 2)?,
                    })
                },
            )
        })
        .await
    }

    /// Returns the owners whose space has changed since it was counted, after `after`. The empty one is
    /// everything.
    pub async fn changed_space(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, StoreError> {
        let after = after.map(str::to_owned);
        self.read(move |sql| sql.all(CHANGED, params![after, columns::limit_in(limit)], |row| row.get(0)))
            .await
    }

    /// Notes that something may have changed that belongs to no repository.
    pub async fn note_space_change(&self) -> Result<(), StoreError> {
        self.write(Durability::Process, |sql| note(sql, EVERYTHING)).await
    }

    /// Counts the space of an owner, or of everything. A change in the meantime stays noted.
    pub async fn count_space(&self, owner: &str) -> Result<(), StoreError> {
        let name = owner.to_owned();
        let counted = self.read(move |sql| {
            let changes = "SELECT changes FROM space WHERE owner = ?1";
            let changes: Option<i64> = sql.first(changes, params![name], |row| row.get(0))?;
            let below = format!("{name}/**").parse().map(|pattern| Visible::only([pattern]));
            let usage = match below {
                _ if name == EVERYTHING => usage_of_everything(sql)?,
                Ok(Visible::Only(below)) => usage_of_some(sql, &below)?,
                _ => Usage::default(),
            };
            Ok((changes.unwrap_or(0), usage))
        });
        let (changes, usage) = counted.await?;
        let owner = owner.to_owned();
        self.write(Durability::Process, move |sql| {
            sql.run(
                "UPDATE space SET repositories = ?2, blobs = ?3, bytes = ?4, unreferenced = ?5,
                                  changes = changes - ?6, counted_at = ?7 WHERE owner = ?1",
                params![
                    owner,
                    columns::count_in(usage.repositories)?,
                    columns::count_in(usage.blobs)?,
                    columns::count_in(usage.bytes)?,
                    columns::count_in(usage.unreferenced_bytes)?,
                    changes,
                    columns::now(),
                ],
            )?;
            sql.run(
                "DELETE FROM space WHERE owner = ?1 AND owner <> ?2 AND repositories = 0 AND changes = 0",
                params![owner, EVERYTHING],
            )?;
            Ok(())
        })
        .await
    }
}

const CHANGED: &str =
    "SELECT owner FROM space WHERE changes > 0 AND (?1 IS NULL OR owner > ?1) ORDER BY owner LIMIT ?2";

/// Notes that the space of an owner has changed.
pub(super) fn note(sql: Sql<'_>, owner: &str) -> Result<(), StoreError> {
    sql.run(
        "INSERT INTO space (owner) VALUES (?1) ON CONFLICT (owner) DO UPDATE SET changes = space.changes + 1",
        params![owner],
    )?;
    Ok(())
}

/// Notes that the spaces of everything and of the owners of some repositories have changed.
pub(super) fn note_repositories(sql: Sql<'_>, ids: impl Iterator<Item = i64>) -> Result<(), StoreError> {
    let mut owners = std::collections::BTreeSet::from([EVERYTHING.to_owned()]);
    for id in ids {
        let name = "SELECT name FROM repositories WHERE id = ?1";
        let name = sql.first(name, params![id], |row: &Row<'_>| row.get::<String>(0))?;
        owners.extend(name.and_then(|name| Some(name.split_once('/')?.0.to_owned())));
    }
    owners.iter().try_for_each(|owner| note(sql, owner))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{digest, empty, layer, manifest, name, plan, put};
    use super::*;

    async fn push(metadata: &Metadata, repository: &str, size: u64) {
        metadata.link_blob(&name(repository), &digest(repository), size).await.unwrap();
        let mut image = manifest(repository, &format!("m {repository}"));
        image.parts = vec![layer(repository)];
        put(metadata, image).await;
    }

    /// Counts as the background task does.
    async fn count(metadata: &Metadata) {
        while metadata.size_repositories(2).await.unwrap() > 0 {}
        for owner in metadata.changed_space(None, 100).await.unwrap() {
            metadata.count_space(&owner).await.unwrap();
        }
        assert!(metadata.changed_space(None, 100).await.unwrap().is_empty());
    }

    async fn owners(metadata: &Metadata) -> Vec<(String, u64, u64)> {
        let owners = metadata.counted_owners(None, 10).await.unwrap();
        owners.into_iter().map(|usage| (usage.owner, usage.repositories, usage.bytes)).collect()
    }

    #[tokio::test]
    async fn counted_space_follows_changes() {
        let (metadata, _directory) = empty();
        assert_eq!(metadata.counted_usage().await.unwrap(), None);
        for (repository, size) in [("a/one", 100), ("a/two", 200), ("b/one", 400), ("plain", 800)] {
            push(&metadata, repository, size).await;
        }
        count(&metadata).await;
        assert_eq!(owners(&metadata).await, [("a".to_owned(), 2, 320), ("b".to_owned(), 1, 410)]);
        let exact = metadata.usage(&Visible::Everything).await.unwrap();
        assert_eq!(metadata.counted_usage().await.unwrap(), Some(exact));
        push(&metadata, "a/three", 1_000).await;
        assert!(metadata.delete_repository(&name("b/one")).await.unwrap());
        count(&metadata).await;
        assert_eq!(owners(&metadata).await, [("a".to_owned(), 3, 1_330)]);
        let exact = metadata.usage(&Visible::Everything).await.unwrap();
        assert_eq!(metadata.counted_usage().await.unwrap(), Some(exact));
        let after = metadata.counted_owners(Some("a"), 10).await.unwrap();
        assert!(after.is_empty(), "{after:?}");
    }

    #[tokio::test]
    async fn changes_during_a_count_stay_noted() {
        let (metadata, _directory) = empty();
        push(&metadata, "a/one", 100).await;
        count(&metadata).await;
        metadata.note_space_change().await.unwrap();
        metadata.note_space_change().await.unwrap();
        metadata.count_space("").await.unwrap();
        assert!(metadata.changed_space(None, 9).await.unwrap().is_empty());
        let steps = plan(CHANGED, 2).await;
        assert!(steps[0].contains("space_changed"), "{steps:?}");
    }
}
