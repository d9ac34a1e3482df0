//! Blobs: which repository holds which config or layer.

use oci::{Digest, RepositoryName};
use uuid::Uuid;

use super::rows::blobs::{link, linked, unlink};
use super::sql::params;
use super::writer::Durability;
use super::{Metadata, columns, journaled, uploads};
use crate::StoreError;
use crate::blobs::Stored;
use accounts::{AccountName, Visible};

/// So many repositories that hold a blob are asked for one that is visible, when a client does not
/// say from where to mount: a bound on what it costs to find none.
const SOURCES: usize = 1_000;

impl Metadata {
    /// The size of a blob, if this repository holds it as a config or layer. Another repository's
    /// blob is not here, and neither is a manifest nor a blob that is known to be damaged.
    pub async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<u64>, StoreError> {
        let (repository, digest) = (repository.clone(), *digest);
        self.read(move |sql| linked(sql, &repository, &digest)).await
    }

    /// The configs and layers that a repository holds, in the order of their digests, from the one
    /// after `after`.
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

    /// A repository that holds this blob, and the blob's size. With several, the first in the order
    /// of their making.
    pub async fn blob_source(&self, digest: &Digest) -> Result<Option<(RepositoryName, u64)>, StoreError> {
        let digest = *digest;
        self.read(move |sql| {
            sql.first(
                "SELECT r.name, COALESCE(b.size, 0) FROM blobs b
                 JOIN blob_links l ON l.blob = b.id JOIN repositories r ON r.id = l.repository
                 WHERE b.digest = ?1 ORDER BY l.repository LIMIT 1",
                params![columns::key(&digest)],
                |row| Ok((columns::text(row, 0)?, columns::count(row, 1)?)),
            )
        })
        .await
    }

    /// Puts a blob into a repository, which is made if it is not there. The blob was stored just now; what the blob
    /// store left unsettled is kept. A record of another size, or of damage, is corrected.
    pub async fn link_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        stored: impl Into<Stored>,
    ) -> Result<(), StoreError> {
        let (repository, digest, stored) = (repository.clone(), *digest, stored.into());
        self.write(Durability::Disk, move |sql| {
            journaled::keep(sql, &digest, stored.journaled.as_deref())?;
            link(sql, &repository, &digest, stored.size)
        })
        .await
    }

    /// Puts a blob into a repository and forgets the upload as which it came, in one step.
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
            uploads::forget(sql, &repository, account.as_ref(), upload)?;
            journaled::keep(sql, &digest, stored.journaled.as_deref())?;
            link(sql, &repository, &digest, stored.size)
        })
        .await
    }

    /// Puts a blob that `from` holds into `repository` as well. Returns its size, or `None`, and nothing was changed, if
    /// `from` does not hold it with the size `stored` of its file.
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
                link(sql, &repository, &digest, size)?;
            }
            Ok(size)
        })
        .await
    }

    /// A visible repository that holds this blob, of the first [`SOURCES`] that do: a blob in very many repositories may
    /// not be found although one of them is visible. Then it must be uploaded.
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

    /// Takes a blob out of a repository; others keep theirs. `false` if it was not in it.
    pub async fn unlink_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, StoreError> {
        let (repository, digest) = (repository.clone(), *digest);
        self.write(Durability::Disk, move |sql| unlink(sql, &repository, &digest)).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::ViewItem;
    use super::super::fixtures::{digest, empty, layer, manifest, name, notes, put};
    use super::super::uploads::tests::state;
    use accounts::Visible;

    #[tokio::test]
    async fn a_blob_is_in_the_repository_that_it_was_linked_in_and_in_no_other() {
        let (metadata, _directory) = empty();
        let (app, other, blob) = (name("team/app"), name("team/other"), digest("layer"));
        metadata.link_blob(&app, &blob, 7).await.unwrap();
        metadata.link_blob(&other, &digest("another"), 1).await.unwrap();

        assert_eq!(metadata.blob(&app, &blob).await.unwrap(), Some(7));
        assert_eq!(metadata.blob(&other, &blob).await.unwrap(), None);
        assert_eq!(metadata.blob(&name("team/ap"), &blob).await.unwrap(), None);
        assert!(metadata.repository_exists(&app).await.unwrap());
        assert_eq!(notes(&metadata).await, [ViewItem::Layer(blob), ViewItem::Layer(digest("another"))]);

        metadata.link_blob(&app, &blob, 7).await.unwrap();
        assert_eq!(notes(&metadata).await, [], "linking again changes nothing");
    }

    #[tokio::test]
    async fn a_manifest_is_no_blob_of_its_repository() {
        let (metadata, _directory) = empty();
        put(&metadata, manifest("app", "m")).await;
        assert_eq!(metadata.blob(&name("app"), &digest("m")).await.unwrap(), None);
        assert_eq!(metadata.blob_source(&digest("m")).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_blob_is_mounted_from_where_it_is_and_not_from_where_it_is_not() {
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
        assert_eq!(metadata.blob_source(&blob).await.unwrap(), Some((source.clone(), 7)));
        let found = metadata.visible_source(&blob, Visible::Everything).await.unwrap();
        assert_eq!(found, Some(source));
    }

    #[tokio::test]
    async fn a_blob_is_unlinked_in_one_repository_only() {
        let (metadata, _directory) = empty();
        let (app, other, blob) = (name("app"), name("other"), digest("layer"));
        metadata.link_blob(&app, &blob, 7).await.unwrap();
        metadata.link_blob(&other, &blob, 7).await.unwrap();
        notes(&metadata).await;

        assert!(metadata.unlink_blob(&app, &blob).await.unwrap());
        assert!(!metadata.unlink_blob(&app, &blob).await.unwrap());
        assert_eq!(metadata.blob(&app, &blob).await.unwrap(), None);
        assert_eq!(metadata.blob(&other, &blob).await.unwrap(), Some(7));
        assert!(!metadata.repository_exists(&app).await.unwrap(), "it was the last thing in it");
        assert_eq!(notes(&metadata).await, [ViewItem::Layer(blob), ViewItem::Repository]);

        assert!(metadata.unlink_blob(&other, &blob).await.unwrap());
        assert_eq!(metadata.usage(&Visible::Everything).await.unwrap().unreferenced_bytes, 7);
    }

    #[tokio::test]
    async fn the_size_is_the_one_of_the_content_and_not_what_a_manifest_claims() {
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
    async fn an_upload_ends_where_its_blob_begins() {
        let (metadata, _directory) = empty();
        let (app, blob, upload) = (name("app"), digest("layer"), state(7));
        metadata.create_upload(&app, None, &upload).await.unwrap();
        metadata.link_uploaded_blob(&app, &blob, 7, None, upload.id).await.unwrap();
        assert_eq!(metadata.upload(&app, None, upload.id).await.unwrap(), None);
        assert_eq!(metadata.blob(&app, &blob).await.unwrap(), Some(7));
    }
}
