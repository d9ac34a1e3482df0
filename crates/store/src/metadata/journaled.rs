//! Rows of the blob journal: small content that is acknowledged before its file is synced.
//!
//! Syncing a file and its directories costs more than the rest of a small push. So the transaction that links
//! small content also stores it here, and one sync serves both. A flush deletes the row after it synced the
//! file.

use std::collections::HashSet;
use std::sync::Arc;

use oci::Digest;

use super::sql::{Sql, params};
use super::writer::Durability;
use super::{Metadata, columns};
use crate::StoreError;

/// The number of rows deleted in one transaction: a bound on the wait of other operations.
const DELETE_BATCH: usize = 128;

/// Content whose file may not be synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournaledContent {
    /// Ascends with later content.
    pub number: i64,
    /// The digest of the content.
    pub digest: Digest,
    /// The bytes of the content.
    pub content: Vec<u8>,
}

impl Metadata {
    /// Returns journaled content by number, after `after`.
    pub async fn journaled(&self, after: i64, limit: usize) -> Result<Vec<JournaledContent>, StoreError> {
        self.read(move |sql| {
            sql.all(
                "SELECT id, digest, content FROM unsettled_contents WHERE id > ?1 ORDER BY id LIMIT ?2",
                params![after, columns::limit_in(limit)],
                |row| {
                    Ok(JournaledContent {
                        number: row.get(0)?,
                        digest: columns::digest(row, 1)?,
                        content: row.get(2)?,
                    })
                },
            )
        })
        .await
    }

    /// The greatest number of journaled content; `None` if the journal is empty.
    pub async fn newest_journaled(&self) -> Result<Option<i64>, StoreError> {
        self.read(|sql| {
            sql.first("SELECT id FROM unsettled_contents ORDER BY id DESC LIMIT 1", &[], |row| row.get(0))
        })
        .await
    }

    /// Deletes journaled content up to this number, whose files are synced, except the content `unwritten`.
    /// Returns its number. The transaction is not synced: after a power failure the content is restored
    /// again.
    pub async fn flushed(&self, up_to: i64, unwritten: &[Digest]) -> Result<usize, StoreError> {
        if !unwritten.is_empty() {
            return self.flushed_except(up_to, unwritten.iter().copied().collect()).await;
        }
        let mut deleted = 0;
        loop {
            let some = self
                .free(Durability::Process, move |sql| {
                    sql.run(
                        "DELETE FROM unsettled_contents WHERE id IN
                           (SELECT id FROM unsettled_contents WHERE id <= ?1 ORDER BY id LIMIT ?2)",
                        params![up_to, columns::limit_in(DELETE_BATCH)],
                    )
                })
                .await?;
            deleted += some;
            if some < DELETE_BATCH {
                return Ok(deleted);
            }
        }
    }

    async fn flushed_except(&self, up_to: i64, unwritten: HashSet<Digest>) -> Result<usize, StoreError> {
        let (unwritten, mut after, mut deleted) = (Arc::new(unwritten), 0, 0);
        loop {
            let unwritten = unwritten.clone();
            let (last, some) = self
                .free(Durability::Process, move |sql| {
                    let rows: Vec<(i64, Digest)> = sql.all(
                        "SELECT id, digest FROM unsettled_contents WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
                        params![after, up_to, columns::limit_in(DELETE_BATCH)],
                        |row| Ok((row.get(0)?, columns::digest(row, 1)?)),
                    )?;
                    let written = rows.iter().filter(|(_, digest)| !unwritten.contains(digest));
                    let mut deleted = 0;
                    for (id, _) in written {
                        deleted += sql.run("DELETE FROM unsettled_contents WHERE id = ?1", params![*id])?;
                    }
                    Ok((rows.last().map(|(id, _)| *id), deleted))
                })
                .await?;
            deleted += some;
            match last {
                Some(last) => after = last,
                None => return Ok(deleted),
            }
        }
    }
}

/// Journals content, if there is any. Content in the journal gets a new number, because its file may have
/// been written again since a flush began.
pub(super) fn keep(sql: Sql<'_>, digest: &Digest, content: Option<&[u8]>) -> Result<(), StoreError> {
    if let Some(content) = content {
        sql.record_journaled();
        sql.send("DELETE FROM unsettled_contents WHERE digest = ?1", params![columns::key(digest)])?;
        sql.send(
            "INSERT INTO unsettled_contents (digest, content) VALUES (?1, ?2)",
            params![columns::key(digest), content],
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::fixtures::{digest, empty, manifest, name, open, put};
    use super::super::{Metadata, PutManifest};
    use crate::blobs::Stored;

    fn journaled(content: &str) -> Stored {
        Stored { size: content.len() as u64, journaled: Some(Bytes::from(content.to_owned())) }
    }

    async fn kept(metadata: &Metadata) -> Vec<String> {
        let all = metadata.journaled(0, 1_000).await.unwrap();
        all.into_iter().map(|kept| String::from_utf8(kept.content).unwrap()).collect()
    }

    #[tokio::test]
    async fn journal_keeps_content_until_flushed() {
        let (metadata, directory) = empty();
        let app = name("app");
        metadata.link_blob(&app, &digest("config"), journaled("config")).await.unwrap();
        metadata
            .link_uploaded_blob(&app, &digest("layer"), journaled("layer"), None, uuid::Uuid::new_v4())
            .await
            .unwrap();
        metadata.link_blob(&app, &digest("large"), 1 << 30).await.unwrap();
        let image = manifest("app", "image");
        put(&metadata, PutManifest { journaled: Some(Bytes::from_static(b"image")), ..image }).await;
        metadata.close().await;
        let metadata = open(&directory);
        assert_eq!(kept(&metadata).await, ["config", "layer", "image"]);

        let first = metadata.journaled(0, 1).await.unwrap().remove(0);
        assert_eq!(first.digest, digest("config"));
        assert_eq!(metadata.flushed(first.number, &[]).await.unwrap(), 1);
        assert_eq!(kept(&metadata).await, ["layer", "image"]);
        let newest = metadata.newest_journaled().await.unwrap().unwrap();
        assert_eq!(metadata.flushed(newest, &[]).await.unwrap(), 2);
        assert_eq!(metadata.newest_journaled().await.unwrap(), None);
    }

    #[tokio::test]
    async fn refused_manifest_is_not_journaled() {
        let (metadata, _directory) = empty();
        let mut image = manifest("app", "image");
        image.parts = vec![super::super::fixtures::layer("absent")];
        image.journaled = Some(Bytes::from_static(b"image"));
        metadata.put_manifest(image).await.unwrap();
        assert_eq!(metadata.newest_journaled().await.unwrap(), None);
    }

    #[tokio::test]
    async fn content_pushed_during_a_flush_stays_journaled() {
        let (metadata, _directory) = empty();
        for repository in ["a", "b"] {
            metadata.link_blob(&name(repository), &digest("same"), journaled("same")).await.unwrap();
        }
        assert_eq!(kept(&metadata).await, ["same"], "once for all who push it");
        let newest = metadata.newest_journaled().await.unwrap().unwrap();
        metadata.link_blob(&name("c"), &digest("same"), journaled("same")).await.unwrap();
        assert_eq!(metadata.flushed(newest, &[]).await.unwrap(), 0);
        assert_eq!(kept(&metadata).await, ["same"]);
        // Also if the journal is empty.
        let newest = metadata.newest_journaled().await.unwrap().unwrap();
        assert_eq!(metadata.flushed(newest, &[]).await.unwrap(), 1);
        metadata.link_blob(&name("d"), &digest("same"), journaled("same")).await.unwrap();
        assert_eq!(metadata.flushed(newest, &[]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn flush_empties_a_long_journal() {
        let (metadata, _directory) = empty();
        for n in 0..2 * super::DELETE_BATCH {
            let content = n.to_string();
            metadata.link_blob(&name("app"), &digest(&content), journaled(&content)).await.unwrap();
        }
        let newest = metadata.newest_journaled().await.unwrap().unwrap();
        assert_eq!(metadata.flushed(newest, &[]).await.unwrap(), 2 * super::DELETE_BATCH);
        assert_eq!(metadata.newest_journaled().await.unwrap(), None);
    }
}
