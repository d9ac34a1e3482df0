//! Small content that is acknowledged before its file is on the disk.
//!
//! A sync of a file, and of each directory that names it, costs more than all else about a small
//! push. So content that the blob store leaves unsettled is kept here, by the transaction that makes
//! it known, and that transaction's sync serves for both. It goes when the file is on the disk.

use oci::Digest;

use super::sql::{Sql, params};
use super::writer::Durability;
use super::{Metadata, columns};
use crate::StoreError;

/// Rows forgotten in one transaction: a bound on how long others wait for it.
const FORGOTTEN_AT_ONCE: usize = 128;

/// Content whose file may not be on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournaledContent {
    /// Its number. What comes in later has a greater one.
    pub number: i64,
    /// Its digest.
    pub digest: Digest,
    /// The content.
    pub content: Vec<u8>,
}

impl Metadata {
    /// Unsettled content in the order of its numbers, from the one after `after`.
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

    /// The greatest number of unsettled content; `None` if there is none.
    pub async fn newest_unsettled(&self) -> Result<Option<i64>, StoreError> {
        self.read(|sql| {
            sql.first("SELECT id FROM unsettled_contents ORDER BY id DESC LIMIT 1", &[], |row| row.get(0))
        })
        .await
    }

    /// Forgets the unsettled content up to this number, whose files are on the disk now. Returns how
    /// much there was. Not synced: what comes back after a power failure is restored once more.
    pub async fn flushed(&self, up_to: i64) -> Result<usize, StoreError> {
        let mut forgotten = 0;
        loop {
            let some = self
                .write(Durability::Process, move |sql| {
                    sql.run(
                        "DELETE FROM unsettled_contents WHERE id IN
                           (SELECT id FROM unsettled_contents WHERE id <= ?1 ORDER BY id LIMIT ?2)",
                        params![up_to, columns::limit_in(FORGOTTEN_AT_ONCE)],
                    )
                })
                .await?;
            forgotten += some;
            if some < FORGOTTEN_AT_ONCE {
                return Ok(forgotten);
            }
        }
    }
}

/// Keeps content, if there is any to keep. It gets a new number also if it is kept already: its
/// file may have been written anew since somebody began to make the old one durable.
pub(super) fn keep(sql: Sql<'_>, digest: &Digest, content: Option<&[u8]>) -> Result<(), StoreError> {
    if let Some(content) = content {
        sql.run("DELETE FROM unsettled_contents WHERE digest = ?1", params![columns::key(digest)])?;
        sql.run(
            "INSERT INTO unsettled_contents (digest, content) VALUES (?1, ?2)",
            params![columns::key(digest), content],
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::fixtures::{digest, empty, manifest, name, put};
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
    async fn content_is_kept_with_what_makes_it_known_until_it_is_settled_also_over_a_restart() {
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
        let metadata = Metadata::open(&directory.path().join("metadata.db")).unwrap();
        assert_eq!(kept(&metadata).await, ["config", "layer", "image"]);

        let first = metadata.journaled(0, 1).await.unwrap().remove(0);
        assert_eq!(first.digest, digest("config"));
        assert_eq!(metadata.flushed(first.number).await.unwrap(), 1);
        assert_eq!(kept(&metadata).await, ["layer", "image"]);
        let newest = metadata.newest_unsettled().await.unwrap().unwrap();
        assert_eq!(metadata.flushed(newest).await.unwrap(), 2);
        assert_eq!(metadata.newest_unsettled().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_refused_manifest_keeps_nothing() {
        let (metadata, _directory) = empty();
        let mut image = manifest("app", "image");
        image.parts = vec![super::super::fixtures::layer("absent")];
        image.journaled = Some(Bytes::from_static(b"image"));
        metadata.put_manifest(image).await.unwrap();
        assert_eq!(metadata.newest_unsettled().await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_comes_in_again_while_it_is_settled_stays() {
        let (metadata, _directory) = empty();
        for repository in ["a", "b"] {
            metadata.link_blob(&name(repository), &digest("same"), journaled("same")).await.unwrap();
        }
        assert_eq!(kept(&metadata).await, ["same"], "once for all who push it");
        let newest = metadata.newest_unsettled().await.unwrap().unwrap();
        metadata.link_blob(&name("c"), &digest("same"), journaled("same")).await.unwrap();
        assert_eq!(metadata.flushed(newest).await.unwrap(), 0);
        assert_eq!(kept(&metadata).await, ["same"]);
        // Also when nothing else is left from which to count on.
        let newest = metadata.newest_unsettled().await.unwrap().unwrap();
        assert_eq!(metadata.flushed(newest).await.unwrap(), 1);
        metadata.link_blob(&name("d"), &digest("same"), journaled("same")).await.unwrap();
        assert_eq!(metadata.flushed(newest).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn any_number_is_settled() {
        let (metadata, _directory) = empty();
        for n in 0..2 * super::FORGOTTEN_AT_ONCE {
            let content = n.to_string();
            metadata.link_blob(&name("app"), &digest(&content), journaled(&content)).await.unwrap();
        }
        let newest = metadata.newest_unsettled().await.unwrap().unwrap();
        assert_eq!(metadata.flushed(newest).await.unwrap(), 2 * super::FORGOTTEN_AT_ONCE);
        assert_eq!(metadata.newest_unsettled().await.unwrap(), None);
    }
}
