//! Blobs: the configs and layers of repositories.

use oci::{Digest, RepositoryName};
use uuid::Uuid;

use super::rows::blobs::{id_of, link, linked, unlink};
use super::rows::quotas::within;
use super::rows::repositories::find;
use super::rows::{tags, trash};
use super::sql::{Sql, params};
use super::writer::Durability;
use super::{Metadata, columns, journaled, uploads};
use crate::StoreError;
use crate::blobs::Stored;
use accounts::{AccountName, Visible};

/// The number of holders of a blob that are checked for visibility when a client mounts it without a source:
/// a bound on the cost.
const SOURCES: usize = 1_000;

impl Metadata {
    /// Returns the size of a config or layer of this repository. Manifests and damaged blobs do not count.
    pub async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<u64>, StoreError> {
        let (repository, digest) = (repository.clone(), *digest);
        self.read(move |sql| linked(sql, &repository, &digest)).await
    }

    /// Returns the configs and layers of a repository, by digest after `after`.
    pub async fn repository_blobs(
        &self,
        repository: &RepositoryName,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<Digest>, StoreError> {
        let (repository, after) = (repository.clone(), after.copied());
        self.read(move |sql| {
            sql.all(
                "SELECT b.digest FROM repositories r
                 JOIN blob_links l ON l.repository = r.id
                 JOIN blobs b ON b.id = l.blob
                 WHERE r.name = ?1 AND (?2 IS NULL OR b.digest > ?2) ORDER BY b.digest LIMIT ?3",
                params![repository.as_str(), after.as_ref().map(columns::key), columns::limit_in(limit)],
                |row| columns::digest(row, 0),
            )
        })
        .await
    }

    /// Returns the oldest repository below `prefix`, such as `docker.io/`, that holds this blob, with the
    /// blob's size.
    pub async fn blob_source(
        &self,
        prefix: &str,
        digest: &Digest,
    ) -> Result<Option<(RepositoryName, u64)>, StoreError> {
        let (digest, prefix) = (*digest, prefix.to_owned());
        self.read(move |sql| {
            sql.first(
                "SELECT r.name, COALESCE(b.size, 0) FROM blobs b
                 JOIN blob_links l ON l.blob = b.id JOIN repositories r ON r.id = l.repository
                 WHERE b.digest = ?1 AND substr(r.name, 1, length(?2)) = ?2 ORDER BY l.repository LIMIT 1",
                params![columns::key(&digest), prefix.as_str()],
                |row| Ok((columns::text(row, 0)?, columns::count(row, 1)?)),
            )
        })
        .await
    }

    /// Links a blob that was just stored, creates the repository if needed, and journals content that the
    /// blob store did not sync. Corrects a recorded size and clears a recorded damage.
    pub async fn link_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        stored: impl Into<Stored>,
    ) -> Result<(), StoreError> {
        let (repository, digest, stored) = (repository.clone(), *digest, stored.into());
        self.write(Durability::Disk, move |sql| {
            journaled::keep(sql, &digest, stored.journaled.as_deref())?;
            within(sql, &repository, || link(sql, &repository, &digest, stored.size))
        })
        .await
    }

    /// Links an uploaded blob and deletes its upload in one transaction.
    pub async fn link_uploaded_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        stored: impl Into<Stored>,
        account: Option<&AccountName>,
        upload: Uuid,
    ) -> Result<(), StoreError> {
        let (repository, digest, stored) = (repository.clone(), *digest, stored.into());
        let account = account.cloned();
        self.write(Durability::Disk, move |sql| {
            uploads::delete(sql, &repository, account.as_ref(), upload)?;
            journaled::keep(sql, &digest, stored.journaled.as_deref())?;
            within(sql, &repository, || link(sql, &repository, &digest, stored.size))
        })
        .await
    }

    /// Links a blob of `from` in `repository` too, and returns its size. Returns `None` and changes nothing
    /// unless `from` holds it with the size `stored` of its file.
    pub async fn mount_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        stored: u64,
        from: &RepositoryName,
    ) -> Result<Option<u64>, StoreError> {
        let (repository, digest, from) = (repository.clone(), *digest, from.clone());
        self.write(Durability::Disk, move |sql| {
            let size = linked(sql, &from, &digest)?.filter(|size| *size == stored);
            if let Some(size) = size {
                within(sql, &repository, || link(sql, &repository, &digest, size))?;
            }
            Ok(size)
        })
        .await
    }

    /// Returns a visible repository that holds this blob, among the first [`SOURCES`] holders. Otherwise the
    /// client uploads the blob.
    pub async fn visible_source(
        &self,
        digest: &Digest,
        visible: Visible,
    ) -> Result<Option<RepositoryName>, StoreError> {
        let digest = *digest;
        self.read(move |sql| {
            let mut source = None;
            sql.each_while(
                "SELECT r.name FROM blobs b
                 JOIN blob_links l ON l.blob = b.id JOIN repositories r ON r.id = l.repository
                 WHERE b.digest = ?1 ORDER BY l.repository LIMIT ?2",
                params![columns::key(&digest), columns::limit_in(SOURCES)],
                |row| {
                    source = Some(columns::text(row, 0)?).filter(|name| visible.allows(name));
                    Ok(source.is_none())
                },
            )?;
            Ok(source)
        })
        .await
    }

    /// Unlinks a blob from a repository; others keep it. Returns `false` if it was not linked.
    ///
    /// The trash keeps its content if an image of the repository needs it, also a deleted one. Otherwise
    /// there is nothing to restore, and a client could fill the disk beside its quota.
    pub async fn unlink_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, StoreError> {
        let (repository, digest) = (repository.clone(), *digest);
        self.free(Durability::Disk, move |sql| {
            if let (Some(id), Some(blob)) = (find(sql, &repository)?, id_of(sql, &digest)?) {
                tags::check_part_removal(sql, &repository, id, blob)?;
                if is_part(sql, &repository, id, blob)? {
                    trash::keep_link(sql, id, blob, columns::now())?;
                }
            }
            unlink(sql, &repository, &digest)
        })
        .await
    }
}

/// Whether a manifest of a repository or of its trash lists a blob.
fn is_part(sql: Sql<'_>, repository: &RepositoryName, id: i64, blob: i64) -> Result<bool, StoreError> {
    sql.exists(
        "SELECT 1 FROM manifest_parts p JOIN manifests m ON m.repository = ?2 AND m.blob = p.manifest
         WHERE p.blob = ?3
         UNION ALL
         SELECT 1 FROM manifest_parts p JOIN deleted_manifests d ON d.repository = ?1 AND d.blob = p.manifest
         WHERE p.blob = ?3",
        params![repository.as_str(), id, blob],
    )
}

#[cfg(test)]
mod tests {
    use super::super::ViewItem;
    use super::super::fixtures::{acknowledged_items, digest, empty, layer, manifest, name, put};
    use super::super::uploads::tests::state;
    use accounts::Visible;

    #[tokio::test]
    async fn blob_is_linked_in_one_repository() {
        let (metadata, _directory) = empty();
        let (app, other, blob) = (name("team/app"), name("team/other"), digest("layer"));
        metadata.link_blob(&app, &blob, 7).await.unwrap();
        metadata.link_blob(&other, &digest("another"), 1).await.unwrap();

        assert_eq!(metadata.blob(&app, &blob).await.unwrap(), Some(7));
        assert_eq!(metadata.blob(&other, &blob).await.unwrap(), None);
        assert_eq!(metadata.blob(&name("team/ap"), &blob).await.unwrap(), None);
        assert!(metadata.repository_exists(&app).await.unwrap());
        assert_eq!(
            acknowledged_items(&metadata).await,
            [ViewItem::Layer(blob), ViewItem::Layer(digest("another"))]
        );

        metadata.link_blob(&app, &blob, 7).await.unwrap();
        assert_eq!(acknowledged_items(&metadata).await, [], "linking again changes nothing");
    }

    #[tokio::test]
    async fn manifest_does_not_count_as_blob() {
        let (metadata, _directory) = empty();
        put(&metadata, manifest("app", "m")).await;
        assert_eq!(metadata.blob(&name("app"), &digest("m")).await.unwrap(), None);
        assert_eq!(metadata.blob_source("", &digest("m")).await.unwrap(), None);
    }

    #[tokio::test]
    async fn blob_is_mounted_from_its_holder_only() {
        let (metadata, _directory) = empty();
        let (source, target, blob) = (name("a/source"), name("b/target"), digest("layer"));
        metadata.link_blob(&source, &blob, 7).await.unwrap();

        let nowhere = name("no/where");
        assert_eq!(metadata.mount_blob(&target, &blob, 7, &nowhere).await.unwrap(), None);
        assert!(!metadata.repository_exists(&target).await.unwrap());
        assert_eq!(metadata.visible_source(&digest("absent"), Visible::Everything).await.unwrap(), None);

        assert_eq!(metadata.mount_blob(&target, &blob, 8, &source).await.unwrap(), None, "another size");
        assert_eq!(metadata.mount_blob(&target, &blob, 7, &source).await.unwrap(), Some(7));
        assert_eq!(metadata.blob(&target, &blob).await.unwrap(), Some(7));
        assert_eq!(metadata.blob_source("a/", &blob).await.unwrap(), Some((source.clone(), 7)));
        assert_eq!(metadata.blob_source("c/", &blob).await.unwrap(), None);
        let found = metadata.visible_source(&blob, Visible::Everything).await.unwrap();
        assert_eq!(found, Some(source));
    }

    #[tokio::test]
    async fn blob_is_unlinked_in_one_repository() {
        let (metadata, _directory) = empty();
        let (app, other, blob) = (name("app"), name("other"), digest("layer"));
        metadata.link_blob(&app, &blob, 7).await.unwrap();
        metadata.link_blob(&other, &blob, 7).await.unwrap();
        acknowledged_items(&metadata).await;

        assert!(metadata.unlink_blob(&app, &blob).await.unwrap());
        assert!(!metadata.unlink_blob(&app, &blob).await.unwrap());
        assert_eq!(metadata.blob(&app, &blob).await.unwrap(), None);
        assert_eq!(metadata.blob(&other, &blob).await.unwrap(), Some(7));
        assert!(!metadata.repository_exists(&app).await.unwrap(), "it was the last thing in it");
        assert_eq!(acknowledged_items(&metadata).await, [ViewItem::Layer(blob), ViewItem::Repository]);

        assert!(metadata.unlink_blob(&other, &blob).await.unwrap());
        assert_eq!(metadata.usage(&Visible::Everything).await.unwrap().unreferenced_bytes, 7);
    }

    #[tokio::test]
    async fn blob_size_is_that_of_its_content() {
        let (metadata, _directory) = empty();
        let mut claims = manifest("app", "m");
        claims.parts = vec![super::super::Part { required: false, ..layer("elsewhere") }];
        put(&metadata, claims).await;
        assert_eq!(
            metadata.usage(&Visible::Everything).await.unwrap().blobs,
            1,
            "what never came in takes no space"
        );

        metadata.link_blob(&name("app"), &digest("elsewhere"), 42).await.unwrap();
        assert_eq!(metadata.blob(&name("app"), &digest("elsewhere")).await.unwrap(), Some(42));
    }

    #[tokio::test]
    async fn linking_a_blob_deletes_its_upload() {
        let (metadata, _directory) = empty();
        let (app, blob, upload) = (name("app"), digest("layer"), state(7));
        metadata.create_upload(&app, None, &upload).await.unwrap();
        metadata.link_uploaded_blob(&app, &blob, 7, None, upload.id).await.unwrap();
        assert_eq!(metadata.upload(&app, None, upload.id).await.unwrap(), None);
        assert_eq!(metadata.blob(&app, &blob).await.unwrap(), Some(7));
    }
}
