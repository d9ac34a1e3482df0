//! The trash: manifests that a person or a retention rule deleted, until the grace period of the garbage
//! collection ends. It keeps their content alive, so that a deletion can be undone.

use std::time::SystemTime;

use oci::{Digest, RepositoryName, Tag};

use super::rows::quotas::within;
use super::rows::repositories::{find, remove_if_empty, remove_manifests};
use super::rows::{manifests, tags, trash};
use super::sql::{Sql, params};
use super::writer::Durability;
use super::{ManifestRecord, Metadata, columns};
use crate::StoreError;

pub use super::rows::trash::{Deletion, Restored};

/// A manifest in the trash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedManifest {
    /// Ascends with later deletions.
    pub id: i64,
    /// The repository, which may not exist any more.
    pub repository: RepositoryName,
    /// The manifest, without its bytes.
    pub manifest: ManifestRecord,
    /// The tags that were deleted with it.
    pub tags: Vec<Tag>,
    /// The time of the deletion.
    pub deleted_at: SystemTime,
    /// The account that deleted it; `None` for an anonymous client.
    pub account: Option<String>,
    /// The cause.
    pub deletion: Deletion,
}

impl Metadata {
    /// Moves a manifest and its tags to the trash, but not its parts. Returns `false` if it was not there.
    pub async fn discard_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        deletion: Deletion,
    ) -> Result<bool, StoreError> {
        let (repository, digest) = (repository.clone(), *digest);
        self.free(Durability::Disk, move |sql| {
            let Some(id) = find(sql, &repository)? else { return Ok(false) };
            let Some((blob, _)) = manifests::find(sql, id, &digest)? else { return Ok(false) };
            tags::check_part_removal(sql, &repository, id, blob)?;
            trash::discard(sql, &repository, id, blob, &deletion, None, columns::now())?;
            remove_manifests(sql, id, 1)?;
            remove_if_empty(sql, &repository, id)?;
            Ok(true)
        })
        .await
    }

    /// Restores a manifest from the trash with its children, its blob links, its tags, and the referrers that
    /// were deleted with it. A tag that exists stays as it is. Returns `None` if the trash does not hold it.
    pub async fn restore_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Restored>, StoreError> {
        let (repository, digest) = (repository.clone(), *digest);
        self.write(Durability::Disk, move |sql| {
            within(sql, &repository, || trash::restore(sql, &repository, &digest))
        })
        .await
    }

    /// Returns the deleted manifests of a repository or of a run, or all, the latest first, with ids below
    /// `before`.
    pub async fn deleted_manifests(
        &self,
        repository: Option<&RepositoryName>,
        run: Option<&str>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<DeletedManifest>, StoreError> {
        let before = before.unwrap_or(i64::MAX);
        let (repository, run) = (repository.cloned(), run.map(str::to_owned));
        self.read(move |sql| {
            let filter = match (&repository, &run) {
                (Some(_), _) => "d.repository = ?3 AND (?4 IS NULL OR d.run = ?4)",
                (None, Some(_)) => "d.run = ?4 AND ?3 IS NULL",
                (None, None) => "?3 IS NULL AND ?4 IS NULL",
            };
            let mut deleted = sql.all(
                &format!(
                    "SELECT d.id, d.repository, b.digest, d.media_type, COALESCE(b.size, 0), d.deleted_at, d.account,
                            d.reason, d.run
                     FROM deleted_manifests d JOIN blobs b ON b.id = d.blob
                     WHERE d.id < ?1 AND {filter} ORDER BY d.id DESC LIMIT ?2"
                ),
                params![before, columns::limit_in(limit), repository.as_ref().map(RepositoryName::as_str), run],
                |row| {
                    Ok(DeletedManifest {
                        id: row.get(0)?,
                        repository: columns::text(row, 1)?,
                        manifest: columns::manifest(row, 2)?,
                        tags: Vec::new(),
                        deleted_at: columns::time(row, 5)?,
                        account: row.get(6)?,
                        deletion: Deletion { reason: row.get(7)?, run: row.get(8)? },
                    })
                },
            )?;
            for entry in &mut deleted {
                entry.tags = tags_of(sql, &entry.repository, &entry.manifest.digest)?;
            }
            Ok(deleted)
        })
        .await
    }
}

fn tags_of(sql: Sql<'_>, repository: &RepositoryName, digest: &Digest) -> Result<Vec<Tag>, StoreError> {
    sql.all(
        "SELECT t.name FROM blobs b JOIN deleted_tags t ON t.repository = ?1 AND t.blob = b.id
         WHERE b.digest = ?2 ORDER BY t.name",
        params![repository.as_str(), columns::key(digest)],
        |row| columns::text(row, 0),
    )
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{by_tag, child, digest, empty, layer, name, put, tag, tagged};
    use super::super::{JobStep, PutManifest, ViewItem};
    use super::*;

    async fn image(metadata: &Metadata, repository: &str, content: &str, tags: &[&str]) -> PutManifest {
        metadata.link_blob(&name(repository), &digest("layer"), 100).await.unwrap();
        let mut image = tagged(repository, content, tags);
        image.parts = vec![layer("layer")];
        put(metadata, image.clone()).await;
        image
    }

    #[tokio::test]
    async fn deleted_manifest_is_restored_with_its_tags() {
        let (metadata, _directory) = empty();
        let app = name("app");
        let image = image(&metadata, "app", "m", &["a", "b"]).await;
        let run = Deletion { reason: "rule 1".into(), run: Some("r1".into()) };
        assert!(metadata.discard_manifest(&app, &digest("m"), run.clone()).await.unwrap());
        assert!(!metadata.discard_manifest(&app, &digest("m"), run.clone()).await.unwrap());
        for (repository, run) in
            [(Some(&app), None), (None, Some("r1")), (None, None), (Some(&app), Some("r1"))]
        {
            let listed = metadata.deleted_manifests(repository, run, None, 9).await.unwrap();
            assert_eq!(listed.len(), 1, "{repository:?} {run:?}");
            assert_eq!(listed[0].manifest, image.manifest);
            assert_eq!(listed[0].tags, [tag("a"), tag("b")]);
        }
        assert!(metadata.deleted_manifests(None, Some("r2"), None, 9).await.unwrap().is_empty());
        put(&metadata, tagged("app", "other", &["b"])).await;

        let restored = metadata.restore_manifest(&app, &digest("m")).await.unwrap().unwrap();
        assert_eq!(restored, Restored { manifests: vec![digest("m")], tags: vec![tag("a")] });
        assert_eq!(metadata.restore_manifest(&app, &digest("m")).await.unwrap(), None);
        assert_eq!(metadata.manifest(&app, &by_tag("a")).await.unwrap(), Some(image.manifest.clone()));
        assert_eq!(metadata.manifest(&app, &by_tag("b")).await.unwrap().unwrap().digest, digest("other"));
        assert_eq!(metadata.manifest_parts(&app, &digest("m")).await.unwrap(), image.parts);
        assert_eq!(metadata.repository(&app).await.unwrap().unwrap().manifests, 2);
        assert!(metadata.deleted_manifests(None, None, None, 9).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn deleted_repository_is_restored_from_its_index() {
        let (metadata, _directory) = empty();
        let app = name("app");
        let image = image(&metadata, "app", "m", &["linux"]).await;
        let mut index = tagged("app", "index", &["latest", "1.0"]);
        index.parts = vec![child("m")];
        index.is_index = true;
        put(&metadata, index.clone()).await;
        for (signature, subject) in [("signature", "m"), ("deleted before", "index")] {
            let mut referrer = tagged("app", signature, &[]);
            referrer.subject = Some(digest(subject));
            put(&metadata, referrer).await;
        }
        metadata.set_description(&app, "an app".into()).await.unwrap();
        assert!(metadata.delete_manifest(&app, &digest("deleted before")).await.unwrap());
        let job = metadata.begin_deletion(&app).await.unwrap().unwrap();
        while metadata.delete_step(&job).await.unwrap() != JobStep::Done {}
        assert!(!metadata.repository_exists(&app).await.unwrap());
        metadata.view_written(metadata.changes().newest(), &[], &[], vec![]).await.unwrap();

        let restored = metadata.restore_manifest(&app, &digest("index")).await.unwrap().unwrap();
        assert_eq!(restored.manifests, ["index", "m", "signature"].map(digest));
        assert_eq!(restored.tags, ["1.0", "latest", "linux"].map(tag));
        assert_eq!(metadata.blob(&app, &digest("layer")).await.unwrap(), Some(100));
        assert_eq!(metadata.manifest_parts(&app, &digest("m")).await.unwrap(), image.parts);
        assert_eq!(metadata.referrers(&app, &digest("m"), None, None, 9).await.unwrap().0.len(), 1);
        assert!(metadata.referrers(&app, &digest("index"), None, None, 9).await.unwrap().0.is_empty());
        let record = metadata.repository(&app).await.unwrap().unwrap();
        assert_eq!((record.description.as_str(), record.manifests, record.tags), ("an app", 3, 3));
        let items: Vec<_> = metadata.view_changes(0, 99).await.unwrap().into_iter().map(|c| c.item).collect();
        assert!(items.contains(&ViewItem::Layer(digest("layer"))), "{items:?}");
        assert!(items.contains(&ViewItem::Tag(tag("latest"))), "{items:?}");
    }

    #[tokio::test]
    async fn pushed_manifest_leaves_the_trash() {
        let (metadata, _directory) = empty();
        image(&metadata, "app", "m", &["a"]).await;
        metadata.delete_manifest(&name("app"), &digest("m")).await.unwrap();
        image(&metadata, "app", "m", &[]).await;
        assert!(metadata.deleted_manifests(None, None, None, 9).await.unwrap().is_empty());
        assert_eq!(metadata.restore_manifest(&name("app"), &digest("m")).await.unwrap(), None);
    }
}
