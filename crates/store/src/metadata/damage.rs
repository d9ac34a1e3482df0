//! Damaged content: its stored bytes do not match its digest. And the images that need it.

use oci::{Digest, RepositoryName, Tag};

use super::rows::outbox::append;
use super::sql::{Sql, params};
use super::writer::Durability;
use super::{ChangeKind, Metadata, NewChange, columns};
use crate::StoreError;

/// The record of a content, independent of repositories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRecord {
    /// In bytes; `None` if it was never stored.
    pub size: Option<u64>,
    /// Whether the stored bytes do not match the digest.
    pub is_damaged: bool,
}

/// A repository that needs a content, and a tag that leads to it. Without a tag, only manifests pulled by
/// digest need it, or none.
pub type Affected = (RepositoryName, Option<Tag>);

impl Metadata {
    /// Returns the record of a content.
    pub async fn content_record(&self, digest: &Digest) -> Result<Option<ContentRecord>, StoreError> {
        let digest = *digest;
        self.read(move |sql| {
            sql.first(
                "SELECT size, damaged FROM blobs WHERE digest = ?1",
                params![columns::key(&digest)],
                |row| {
                    let size: Option<i64> = row.get(0)?;
                    let size = size.map(|_| columns::count(row, 0)).transpose()?;
                    Ok(ContentRecord { size, is_damaged: row.get(1)? })
                },
            )
        })
        .await
    }

    /// Whether a blob of this repository is marked as damaged.
    pub async fn blob_is_damaged(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, StoreError> {
        let (repository, digest) = (repository.clone(), *digest);
        self.read(move |sql| {
            sql.exists(
                "SELECT 1 FROM repositories r JOIN blobs b ON b.digest = ?2 AND b.damaged = 1
                 JOIN blob_links l ON l.repository = r.id AND l.blob = b.id
                 WHERE r.name = ?1",
                params![repository.as_str(), columns::key(&digest)],
            )
        })
        .await
    }

    /// Sets or clears the damage mark of a content. Returns whether that changed it. Storing the content
    /// again also clears it.
    pub async fn mark_damaged(&self, digest: &Digest, is_damaged: bool) -> Result<bool, StoreError> {
        let digest = *digest;
        self.free(Durability::Disk, move |sql| mark(sql, &digest, is_damaged)).await
    }

    /// Returns the repositories and tags that need a content, at most `limit` pairs, by name: all, or those
    /// of one repository.
    pub async fn affected(
        &self,
        digest: &Digest,
        repository: Option<&RepositoryName>,
        limit: usize,
    ) -> Result<Vec<Affected>, StoreError> {
        let (digest, repository) = (*digest, repository.cloned());
        self.read(move |sql| {
            sql.all(
                "WITH RECURSIVE needing (blob) AS (
                     SELECT id FROM blobs WHERE digest = ?1
                     UNION
                     SELECT p.manifest FROM needing n JOIN manifest_parts p ON p.blob = n.blob
                 ),
                 held (repository, tag) AS (
                     SELECT t.repository, t.name FROM needing n JOIN tags t ON t.blob = n.blob
                     UNION
                     SELECT l.repository, NULL FROM blobs b JOIN blob_links l ON l.blob = b.id WHERE b.digest = ?1
                     UNION
                     SELECT m.repository, NULL FROM needing n JOIN manifests m ON m.blob = n.blob
                 )
                 SELECT r.name, h.tag FROM held h JOIN repositories r ON r.id = h.repository
                 WHERE (?3 IS NULL OR r.name = ?3) AND (h.tag IS NOT NULL
                    OR NOT EXISTS (SELECT 1 FROM held o WHERE o.repository = h.repository AND o.tag IS NOT NULL))
                 ORDER BY r.name, h.tag LIMIT ?2",
                params![
                    columns::key(&digest),
                    columns::limit_in(limit),
                    repository.as_ref().map(RepositoryName::as_str)
                ],
                |row| {
                    Ok((columns::text(row, 0)?, columns::text_or_null(row, 1)?))
                },
            )
        })
        .await
    }
}

pub(super) fn mark(sql: Sql<'_>, digest: &Digest, is_damaged: bool) -> Result<bool, StoreError> {
    let changed = sql.run(
        "UPDATE blobs SET damaged = ?2 WHERE digest = ?1 AND damaged <> ?2",
        params![columns::key(digest), is_damaged],
    )?;
    if changed > 0 {
        let kind = if is_damaged { ChangeKind::ContentDamaged } else { ChangeKind::ContentRepaired };
        append(sql, NewChange::new(kind).digest(*digest))?;
    }
    Ok(changed > 0)
}

#[cfg(test)]
mod tests {
    use super::super::Part;
    use super::super::fixtures::{child, digest, empty, layer, manifest, name, put, tag, tagged};
    use super::ContentRecord;

    #[tokio::test]
    async fn damaged_blob_is_absent_until_stored_again() {
        let (metadata, _directory) = empty();
        let (app, other, blob) = (name("app"), name("other"), digest("layer"));
        metadata.link_blob(&app, &blob, 100).await.unwrap();
        assert!(metadata.mark_damaged(&blob, true).await.unwrap());
        assert!(!metadata.mark_damaged(&blob, true).await.unwrap());

        assert_eq!(metadata.blob(&app, &blob).await.unwrap(), None);
        assert!(metadata.blob_is_damaged(&app, &blob).await.unwrap());
        assert!(!metadata.blob_is_damaged(&other, &blob).await.unwrap());
        let mounted = metadata.mount_blob(&other, &blob, 100, &app).await.unwrap();
        assert_eq!(mounted, None);
        let mut image = manifest("app", "image");
        image.parts = vec![layer("layer")];
        let outcome = metadata.put_manifest(image.clone()).await.unwrap();
        assert_eq!(outcome, super::super::PutOutcome::Missing(vec![blob]));

        // A push to any repository repairs it for all.
        metadata.link_blob(&other, &blob, 100).await.unwrap();
        assert_eq!(metadata.blob(&app, &blob).await.unwrap(), Some(100));
        put(&metadata, image).await;
        let record = ContentRecord { size: Some(100), is_damaged: false };
        assert_eq!(metadata.content_record(&blob).await.unwrap(), Some(record));
    }

    #[tokio::test]
    async fn affected_names_repositories_and_tags() {
        let (metadata, _directory) = empty();
        for repository in ["b/app", "a/app", "c/untagged", "d/blob-only"] {
            metadata.link_blob(&name(repository), &digest("layer"), 100).await.unwrap();
        }
        let image = |repository: &str, tags: &[&str]| {
            let mut image = tagged(repository, "image", tags);
            image.parts = vec![layer("layer"), Part { required: false, ..layer("elsewhere") }];
            image
        };
        put(&metadata, image("b/app", &["2", "1"])).await;
        put(&metadata, image("a/app", &[])).await;
        put(&metadata, image("c/untagged", &[])).await;
        let mut index = tagged("a/app", "index", &["multi"]);
        index.parts = vec![child("image")];
        put(&metadata, index).await;
        put(&metadata, tagged("b/app", "unrelated", &["3"])).await;

        let all = [
            (name("a/app"), Some(tag("multi"))),
            (name("b/app"), Some(tag("1"))),
            (name("b/app"), Some(tag("2"))),
            (name("c/untagged"), None),
            (name("d/blob-only"), None),
        ];
        assert_eq!(metadata.affected(&digest("layer"), None, 100).await.unwrap(), all);
        assert_eq!(metadata.affected(&digest("layer"), None, 2).await.unwrap(), all[..2]);
        assert_eq!(metadata.affected(&digest("absent"), None, 100).await.unwrap(), []);
    }
}
