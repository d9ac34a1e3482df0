//! Operations of the check: the content to read, its progress, counters, and records of found files.

use std::time::SystemTime;

use oci::{Digest, RepositoryName};

use super::rows::{blobs, repositories};
use super::sql::{Row, params};
use super::writer::Durability;
use super::{Metadata, columns, search};
use crate::StoreError;

/// The progress of the check that reads all content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentCheck {
    /// The id of the last content that was read; 0 between two checks.
    pub cursor: i64,
    /// The number of bytes read so far.
    pub bytes: u64,
    /// The time of the last end. `None` before the first start of the server.
    pub ended_at: Option<SystemTime>,
}

/// Content that was stored, by an id that orders it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredContent {
    /// Ascends.
    pub id: i64,
    /// The digest.
    pub digest: Digest,
    /// The recorded size in bytes.
    pub size: u64,
}

/// A repository whose recorded number of manifests is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterDrift {
    /// The repository.
    pub repository: RepositoryName,
    /// The recorded number.
    pub recorded: i64,
    /// The number of its manifests.
    pub actual: i64,
}

impl Metadata {
    /// Returns the progress of the check that reads all content.
    pub async fn content_check(&self) -> Result<ContentCheck, StoreError> {
        let state = self.read(|sql| {
            sql.first("SELECT cursor, bytes, ended_at FROM content_check", &[], |row| {
                let ended_at = (row.get::<i64>(2)? > 0).then(|| columns::time(row, 2)).transpose()?;
                Ok(ContentCheck { cursor: row.get(0)?, bytes: columns::count(row, 1)?, ended_at })
            })
        });
        Ok(state.await?.unwrap_or(ContentCheck { cursor: 0, bytes: 0, ended_at: None }))
    }

    /// Saves the progress. The transaction is not synced: after a power failure some content is read again.
    pub async fn save_content_check(&self, cursor: i64, bytes: u64) -> Result<(), StoreError> {
        let bytes = columns::count_in(bytes)?;
        self.free(Durability::Process, move |sql| {
            sql.run("UPDATE content_check SET cursor = ?1, bytes = ?2", params![cursor, bytes])?;
            Ok(())
        })
        .await
    }

    /// Records the end of a check that has read all content.
    pub async fn end_content_check(&self) -> Result<(), StoreError> {
        self.free(Durability::Process, |sql| {
            sql.run(
                "UPDATE content_check SET cursor = 0, bytes = 0, ended_at = ?1",
                params![columns::now()],
            )?;
            Ok(())
        })
        .await
    }

    /// Returns stored content by id, after `after`.
    pub async fn stored_contents(&self, after: i64, limit: usize) -> Result<Vec<StoredContent>, StoreError> {
        self.read(move |sql| {
            sql.all(
                "SELECT id, digest, size FROM blobs WHERE id > ?1 AND size IS NOT NULL ORDER BY id LIMIT ?2",
                params![after, columns::limit_in(limit)],
                stored_content,
            )
        })
        .await
    }

    /// Returns stored content with a damage mark by id, after `after`.
    pub async fn damaged_contents(&self, after: i64, limit: usize) -> Result<Vec<StoredContent>, StoreError> {
        self.read(move |sql| {
            sql.all(
                "SELECT id, digest, size FROM blobs WHERE id > ?1 AND damaged = 1 AND size IS NOT NULL
                 ORDER BY id LIMIT ?2",
                params![after, columns::limit_in(limit)],
                stored_content,
            )
        })
        .await
    }

    /// Returns those of the digests that no record says are stored.
    pub async fn unrecorded(&self, digests: Vec<Digest>) -> Result<Vec<Digest>, StoreError> {
        self.read(move |sql| {
            let mut unrecorded = Vec::new();
            for digest in &digests {
                let known = "SELECT 1 FROM blobs WHERE digest = ?1 AND size IS NOT NULL";
                if !sql.exists(known, params![columns::key(digest)])? {
                    unrecorded.push(*digest);
                }
            }
            Ok(unrecorded)
        })
        .await
    }

    /// Records content whose file was found, so that it counts as unreferenced.
    pub async fn record_found(&self, found: Vec<(Digest, u64)>) -> Result<(), StoreError> {
        self.free(Durability::Process, move |sql| {
            found.iter().try_for_each(|(digest, size)| blobs::intern_found(sql, digest, *size).map(drop))
        })
        .await
    }

    /// Corrects the recorded size of content whose bytes are right, and clears its damage mark.
    pub async fn correct_size(&self, digest: &Digest, size: u64) -> Result<(), StoreError> {
        let digest = *digest;
        self.free(Durability::Disk, move |sql| blobs::intern_stored(sql, &digest, size).map(drop)).await
    }

    /// Returns the repositories whose recorded number of manifests is wrong.
    pub async fn counter_drifts(&self) -> Result<Vec<CounterDrift>, StoreError> {
        self.read(|sql| {
            sql.all(
                "SELECT name, recorded, actual FROM (
                     SELECT r.name AS name, r.manifests AS recorded,
                            (SELECT COUNT(*) FROM manifests m WHERE m.repository = r.id) AS actual
                     FROM repositories r) AS counted
                 WHERE recorded <> actual ORDER BY name",
                &[],
                |row| {
                    let repository = columns::text(row, 0)?;
                    Ok(CounterDrift { repository, recorded: row.get(1)?, actual: row.get(2)? })
                },
            )
        })
        .await
    }

    /// Counts the manifests of a repository again, and updates the search index.
    pub async fn recount(&self, repository: &RepositoryName) -> Result<(), StoreError> {
        let repository = repository.clone();
        self.free(Durability::Disk, move |sql| {
            let Some(id) = repositories::find(sql, &repository)? else { return Ok(()) };
            let Some(before) = repositories::Indexed::read(sql, id)? else { return Ok(()) };
            sql.run(
                "UPDATE repositories SET is_sized = 0, manifests = (SELECT COUNT(*) FROM manifests m WHERE m.repository = ?1)
                 WHERE id = ?1",
                params![id],
            )?;
            let Some(after) = repositories::Indexed::read(sql, id)? else { return Ok(()) };
            match (before.manifests > 0, after.manifests > 0) {
                (false, true) => search::add(sql, id, &after.name, &after.description),
                (true, false) => search::remove(sql, id, &before.name, &before.description),
                _ => Ok(()),
            }
        })
        .await
    }
}

fn stored_content(row: &Row<'_>) -> Result<StoredContent, StoreError> {
    Ok(StoredContent { id: row.get(0)?, digest: columns::digest(row, 1)?, size: columns::count(row, 2)? })
}

#[cfg(test)]
mod tests {
    use accounts::Visible;

    use super::super::fixtures::{digest, empty, manifest, name, put};
    use super::super::sql::params;
    use super::super::writer::Durability;
    use super::CounterDrift;

    #[tokio::test]
    async fn drifted_counter_is_found_and_counted_again() {
        let (metadata, _directory) = empty();
        put(&metadata, manifest("app", "one")).await;
        put(&metadata, manifest("app", "two")).await;
        assert_eq!(metadata.counter_drifts().await.unwrap(), []);
        metadata
            .write(Durability::Disk, |sql| sql.run("UPDATE repositories SET manifests = 7", params![]))
            .await
            .unwrap();
        let drift = CounterDrift { repository: name("app"), recorded: 7, actual: 2 };
        assert_eq!(metadata.counter_drifts().await.unwrap(), [drift]);
        metadata.recount(&name("app")).await.unwrap();
        assert_eq!(metadata.counter_drifts().await.unwrap(), []);
        assert_eq!(metadata.catalog(&Visible::Everything, None, 10).await.unwrap(), [name("app")]);
    }

    #[tokio::test]
    async fn progress_of_the_content_check_is_kept() {
        let (metadata, _directory) = empty();
        let state = metadata.content_check().await.unwrap();
        assert_eq!((state.cursor, state.bytes, state.ended_at), (0, 0, None));
        metadata.save_content_check(5, 100).await.unwrap();
        let state = metadata.content_check().await.unwrap();
        assert_eq!((state.cursor, state.bytes), (5, 100));
        metadata.end_content_check().await.unwrap();
        let state = metadata.content_check().await.unwrap();
        assert!(state.cursor == 0 && state.ended_at.is_some());
    }

    #[tokio::test]
    async fn found_files_become_unreferenced_content() {
        let (metadata, _directory) = empty();
        metadata.link_blob(&name("app"), &digest("linked"), 5).await.unwrap();
        let found = vec![digest("linked"), digest("orphan")];
        assert_eq!(metadata.unrecorded(found).await.unwrap(), [digest("orphan")]);
        metadata.record_found(vec![(digest("orphan"), 9)]).await.unwrap();
        assert_eq!(metadata.unrecorded(vec![digest("orphan")]).await.unwrap(), []);
        assert_eq!(
            metadata.usage(&Visible::Everything).await.unwrap().unreferenced_bytes,
            14,
            "no image needs them"
        );
        let stored = metadata.stored_contents(0, 10).await.unwrap();
        assert_eq!(stored.iter().map(|content| content.size).collect::<Vec<_>>(), [5, 9]);
        assert_eq!(metadata.stored_contents(stored[0].id, 10).await.unwrap(), stored[1..]);
        assert_eq!(metadata.damaged_contents(0, 10).await.unwrap(), []);
        metadata.mark_damaged(&digest("orphan"), true).await.unwrap();
        assert_eq!(metadata.damaged_contents(0, 10).await.unwrap(), stored[1..]);
        assert_eq!(metadata.damaged_contents(stored[1].id, 10).await.unwrap(), []);
    }
}
