//! Manifests of a repository: put, find, list, delete.

use std::collections::HashMap;
use std::sync::Arc;

use oci::{Digest, RepositoryName, TagOrDigest};

use super::rows::manifests::find;
use super::rows::outbox::append;
use super::rows::put_manifest::{check_parts, put_change, store};
use super::rows::quotas::within;
use super::rows::{repositories, tags};
use super::sql::params;
use super::writer::Durability;
use super::{
    Deletion, ManifestDetails, ManifestRecord, Metadata, Part, PutManifest, PutOutcome, columns, journaled,
};
use crate::StoreError;

/// A reader checks manifests with more parts than this before the writer does.
const MANY_PARTS: usize = 128;

impl Metadata {
    /// Returns the manifest of this repository with a tag or a digest.
    pub async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &TagOrDigest,
    ) -> Result<Option<ManifestRecord>, StoreError> {
        let (repository, reference) = (repository.clone(), reference.clone());
        self.read(move |sql| match &reference {
            TagOrDigest::Tag(tag) => sql.first(
                "SELECT b.digest, m.media_type, COALESCE(b.size, 0) FROM repositories r
                 JOIN tags t ON t.repository = r.id AND t.name = ?2
                 JOIN manifests m ON m.repository = r.id AND m.blob = t.blob
                 JOIN blobs b ON b.id = t.blob
                 WHERE r.name = ?1",
                params![repository.as_str(), tag.as_str()],
                |row| columns::manifest(row, 0),
            ),
            TagOrDigest::Digest(digest) => sql.first(
                "SELECT b.digest, m.media_type, COALESCE(b.size, 0) FROM repositories r
                 JOIN blobs b ON b.digest = ?2
                 JOIN manifests m ON m.repository = r.id AND m.blob = b.id
                 WHERE r.name = ?1",
                params![repository.as_str(), columns::key(digest)],
                |row| columns::manifest(row, 0),
            ),
        })
        .await
    }

    /// Returns a manifest of this repository with its tags and pulls.
    pub async fn manifest_details(
        &self,
        repository: &RepositoryName,
        reference: &TagOrDigest,
    ) -> Result<Option<ManifestDetails>, StoreError> {
        let (repository, reference) = (repository.clone(), reference.clone());
        self.read(move |sql| {
            let Some(id) = repositories::find(sql, &repository)? else { return Ok(None) };
            let blob = match &reference {
                TagOrDigest::Tag(tag) => tags::target(sql, id, tag)?,
                TagOrDigest::Digest(digest) => find(sql, id, digest)?.map(|(blob, _)| blob),
            };
            let Some(blob) = blob else { return Ok(None) };
            let mut tags = tags::pointing_to(sql, id, blob)?;
            tags.sort();
            sql.first(
                "SELECT b.digest, m.media_type, COALESCE(b.size, 0), m.pushed_at, m.pulls, m.pulled_at
                 FROM manifests m JOIN blobs b ON b.id = m.blob WHERE m.repository = ?1 AND m.blob = ?2",
                params![id, blob],
                |row| {
                    Ok(ManifestDetails {
                        manifest: columns::manifest(row, 0)?,
                        pushed_at: columns::time(row, 3)?,
                        pulls: columns::count(row, 4)?,
                        pulled_at: columns::time_or_null(row, 5)?,
                        tags: std::mem::take(&mut tags),
                    })
                },
            )
        })
        .await
    }

    /// Returns the records of those of the digests that are manifests of the repository.
    pub async fn manifest_records(
        &self,
        repository: &RepositoryName,
        digests: Vec<Digest>,
    ) -> Result<HashMap<Digest, ManifestRecord>, StoreError> {
        let repository = repository.clone();
        self.read(move |sql| {
            let mut records = HashMap::new();
            let Some(id) = repositories::find(sql, &repository)? else { return Ok(records) };
            for digest in &digests {
                let record = sql.first(
                    "SELECT b.digest, m.media_type, COALESCE(b.size, 0) FROM blobs b
                     JOIN manifests m ON m.repository = ?1 AND m.blob = b.id
                     WHERE b.digest = ?2",
                    params![id, columns::key(digest)],
                    |row| columns::manifest(row, 0),
                )?;
                records.extend(record.map(|record| (*digest, record)));
            }
            Ok(records)
        })
        .await
    }

    /// Returns the descriptors of a manifest in their order, none if the repository does not hold it.
    pub async fn manifest_parts(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Vec<Part>, StoreError> {
        let (repository, digest) = (repository.clone(), *digest);
        self.read(move |sql| {
            sql.all(
                "SELECT pb.digest, p.size, p.is_manifest, p.required FROM repositories r
                 JOIN blobs b ON b.digest = ?2
                 JOIN manifests m ON m.repository = r.id AND m.blob = b.id
                 JOIN manifest_parts p ON p.manifest = m.blob
                 JOIN blobs pb ON pb.id = p.blob
                 WHERE r.name = ?1 ORDER BY p.position",
                params![repository.as_str(), columns::key(&digest)],
                |row| {
                    Ok(Part {
                        digest: columns::digest(row, 0)?,
                        size: columns::count(row, 1)?,
                        is_manifest: row.get(2)?,
                        required: row.get(3)?,
                    })
                },
            )
        })
        .await
    }

    /// Returns the manifests of a repository, tagged or not, by digest after `after`.
    pub async fn manifests(
        &self,
        repository: &RepositoryName,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<ManifestRecord>, StoreError> {
        let (repository, after) = (repository.clone(), after.copied());
        self.read(move |sql| {
            sql.all(
                "SELECT b.digest, m.media_type, COALESCE(b.size, 0) FROM repositories r
                 JOIN manifests m ON m.repository = r.id
                 JOIN blobs b ON b.id = m.blob
                 WHERE r.name = ?1 AND (?2 IS NULL OR b.digest > ?2) ORDER BY b.digest LIMIT ?3",
                params![repository.as_str(), after.as_ref().map(columns::key), columns::limit_in(limit)],
                |row| columns::manifest(row, 0),
            )
        })
        .await
    }

    /// Puts a manifest into its repository and points its tags to it, or returns the required parts that the
    /// repository lacks.
    pub async fn put_manifest(&self, put: PutManifest) -> Result<PutOutcome, StoreError> {
        let put = Arc::new(put);
        if put.parts.len() > MANY_PARTS {
            // Refusing a manifest with many parts costs as much as a push, and must not block the writer.
            let put = Arc::clone(&put);
            if let Some(refused) = self.read(move |sql| check_parts(sql, &put)).await? {
                return Ok(refused);
            }
        }
        self.write(Durability::Disk, move |sql| {
            if let Some(refused) = check_parts(sql, &put)? {
                return Ok(refused);
            }
            journaled::keep(sql, &put.manifest.digest, put.journaled.as_deref())?;
            let stored = within(sql, &put.repository, || store(sql, &put, columns::now()))?;
            append(sql, put_change(&put).for_view(stored.is_new))?;
            for moved in stored.moved {
                append(sql, moved.for_view(true))?;
            }
            Ok(PutOutcome::Stored)
        })
        .await
    }

    /// Deletes a manifest from a repository with its tags, but not its parts. The trash keeps it until the
    /// grace period ends. Returns `false` if it was not there.
    pub async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, StoreError> {
        self.discard_manifest(repository, digest, Deletion::default()).await
    }
}

#[cfg(test)]
mod tests {
    use oci::{RepositoryName, TagOrDigest};

    use super::super::fixtures::{
        acknowledged_items, by_tag, child, digest, empty, layer, manifest, name, plan, put, tag, tagged,
    };
    use super::super::{Metadata, Part, PutOutcome, ViewItem};

    async fn found(metadata: &Metadata, repository: &RepositoryName, tag: &str) -> Option<oci::Digest> {
        metadata.manifest(repository, &by_tag(tag)).await.unwrap().map(|record| record.digest)
    }

    #[tokio::test]
    async fn manifest_is_found_by_tag_and_digest() {
        let (metadata, _directory) = empty();
        let image = tagged("app", "m", &["latest", "1.0"]);
        put(&metadata, image.clone()).await;
        for reference in [by_tag("latest"), by_tag("1.0"), TagOrDigest::Digest(digest("m"))] {
            let record = metadata.manifest(&name("app"), &reference).await.unwrap();
            assert_eq!(record, Some(image.manifest.clone()));
            assert_eq!(metadata.manifest(&name("app/x"), &reference).await.unwrap(), None);
        }
        assert_eq!(metadata.manifest(&name("app"), &by_tag("2.0")).await.unwrap(), None);
        assert_eq!(
            acknowledged_items(&metadata).await,
            [ViewItem::Revision(digest("m")), ViewItem::Tag(tag("latest")), ViewItem::Tag(tag("1.0"))]
        );
    }

    #[tokio::test]
    async fn moved_tag_keeps_the_old_manifest() {
        let (metadata, _directory) = empty();
        put(&metadata, tagged("app", "old", &["latest"])).await;
        put(&metadata, tagged("app", "new", &["latest"])).await;
        assert_eq!(found(&metadata, &name("app"), "latest").await, Some(digest("new")));
        let old = TagOrDigest::Digest(digest("old"));
        assert!(metadata.manifest(&name("app"), &old).await.unwrap().is_some());
        assert_eq!(metadata.tags(&name("app"), None, 10).await.unwrap().unwrap(), [tag("latest")]);
    }

    #[tokio::test]
    async fn missing_parts_are_named_in_order() {
        let (metadata, _directory) = empty();
        metadata.link_blob(&name("app"), &digest("here"), 100).await.unwrap();
        metadata.link_blob(&name("other"), &digest("only in other"), 100).await.unwrap();
        put(&metadata, manifest("other", "child in other")).await;
        acknowledged_items(&metadata).await;

        let mut image = tagged("app", "m", &["latest"]);
        image.parts = vec![
            layer("z"),
            layer("here"),
            layer("only in other"),
            child("child in other"),
            layer("a"),
            layer("z"),
            Part { required: false, ..layer("elsewhere") },
        ];
        let missing = ["z", "only in other", "child in other", "a"].map(digest).to_vec();
        assert_eq!(metadata.put_manifest(image.clone()).await.unwrap(), PutOutcome::Missing(missing));
        assert_eq!(found(&metadata, &name("app"), "latest").await, None);
        assert_eq!(acknowledged_items(&metadata).await, []);

        // The refused push creates no repository.
        image.repository = name("new");
        assert!(matches!(metadata.put_manifest(image.clone()).await.unwrap(), PutOutcome::Missing(_)));
        assert!(!metadata.repository_exists(&name("new")).await.unwrap());

        image.repository = name("app");
        for part in ["z", "a", "only in other"] {
            metadata.link_blob(&name("app"), &digest(part), 100).await.unwrap();
        }
        put(&metadata, manifest("app", "child in other")).await;
        put(&metadata, image.clone()).await;
        assert_eq!(metadata.manifest_parts(&name("app"), &digest("m")).await.unwrap(), image.parts);
    }

    #[tokio::test]
    async fn absent_parts_are_found_in_linear_time() {
        let (metadata, _directory) = empty();
        let mut index = manifest("app", "index");
        index.parts = (0..74_000).map(|n| child(&n.to_string())).collect();
        let names: Vec<_> = index.parts.iter().map(|part| part.digest).collect();
        // A quadratic check took minutes in a test build.
        assert_eq!(metadata.put_manifest(index).await.unwrap(), PutOutcome::Missing(names));
    }

    #[tokio::test]
    async fn blob_does_not_satisfy_a_manifest_part() {
        let (metadata, _directory) = empty();
        metadata.link_blob(&name("app"), &digest("blob"), 1).await.unwrap();
        put(&metadata, manifest("app", "manifest")).await;
        let mut index = manifest("app", "index");
        index.parts = vec![child("blob"), layer("manifest")];
        let missing = vec![digest("blob"), digest("manifest")];
        assert_eq!(metadata.put_manifest(index).await.unwrap(), PutOutcome::Missing(missing));
    }

    #[tokio::test]
    async fn manifest_deletion_keeps_parts_and_siblings() {
        let (metadata, _directory) = empty();
        let app = name("app");
        metadata.link_blob(&app, &digest("layer"), 100).await.unwrap();
        let mut image = tagged("app", "m", &["a", "b"]);
        image.parts = vec![layer("layer")];
        put(&metadata, image.clone()).await;
        put(&metadata, tagged("app", "sibling", &["c"])).await;
        image.repository = name("elsewhere");
        metadata.link_blob(&name("elsewhere"), &digest("layer"), 100).await.unwrap();
        put(&metadata, image.clone()).await;
        acknowledged_items(&metadata).await;

        assert!(metadata.delete_manifest(&app, &digest("m")).await.unwrap());
        assert!(!metadata.delete_manifest(&app, &digest("m")).await.unwrap());
        assert_eq!(
            acknowledged_items(&metadata).await,
            [ViewItem::Tag(tag("a")), ViewItem::Tag(tag("b")), ViewItem::Revision(digest("m"))]
        );
        assert_eq!(metadata.tags(&app, None, 10).await.unwrap().unwrap(), [tag("c")]);
        assert_eq!(metadata.blob(&app, &digest("layer")).await.unwrap(), Some(100));
        assert_eq!(metadata.manifest_parts(&app, &digest("m")).await.unwrap(), []);
        let remote_repositories = metadata.manifest_parts(&name("elsewhere"), &digest("m")).await.unwrap();
        assert_eq!(remote_repositories, image.parts, "another repository keeps its own");
    }

    /// Its tags and referrers are found by an index, also by the foreign keys, and not among all of the
    /// repository. A blob is found in the trash by an index.
    #[tokio::test]
    async fn deletion_reads_no_other_rows_of_the_repository() {
        let steps = plan("DELETE FROM manifests WHERE repository = ?1 AND blob = ?2", 2).await;
        for table in ["tags", "referrers"] {
            let by_blob = format!("SEARCH {table} USING INDEX {table}_by_blob (repository=? AND blob=?)");
            assert!(steps.contains(&by_blob), "{steps:?}");
        }
        let steps = plan("DELETE FROM blobs WHERE id = ?1", 1).await;
        assert!(steps.iter().all(|step| step.starts_with("SEARCH")), "{steps:?}");
    }

    #[tokio::test]
    async fn last_manifest_deletes_the_empty_repository() {
        let (metadata, _directory) = empty();
        put(&metadata, tagged("app", "m", &["latest"])).await;
        metadata.delete_manifest(&name("app"), &digest("m")).await.unwrap();
        assert!(!metadata.repository_exists(&name("app")).await.unwrap());
        assert_eq!(acknowledged_items(&metadata).await.last(), Some(&ViewItem::Repository));
        // A later push creates it again.
        put(&metadata, tagged("app", "m", &["latest"])).await;
        assert_eq!(found(&metadata, &name("app"), "latest").await, Some(digest("m")));
    }

    #[tokio::test]
    async fn concurrent_pushes_to_a_tag_leave_one_manifest() {
        let (metadata, _directory) = empty();
        let pushes = (0..40).map(|n| {
            let metadata = metadata.clone();
            tokio::spawn(async move { put(&metadata, tagged("app", &format!("m{n}"), &["latest"])).await })
        });
        for push in pushes.collect::<Vec<_>>() {
            push.await.unwrap();
        }
        let at_the_end = found(&metadata, &name("app"), "latest").await.unwrap();
        let all = metadata.manifests(&name("app"), None, 100).await.unwrap();
        assert_eq!(all.len(), 40);
        assert!(all.iter().any(|record| record.digest == at_the_end));
        let records = metadata.tag_records(&name("app"), None, 10, true).await.unwrap().unwrap();
        assert_eq!(records.len(), 1);
    }

    #[tokio::test]
    async fn manifests_are_listed_in_pages() {
        let (metadata, _directory) = empty();
        for n in 0..7 {
            put(&metadata, manifest("app", &n.to_string())).await;
        }
        let mut listed = Vec::new();
        while let page = metadata.manifests(&name("app"), listed.last(), 3).await.unwrap()
            && !page.is_empty()
        {
            listed.extend(page.into_iter().map(|record| record.digest));
        }
        let mut expected: Vec<_> = (0..7).map(|n| digest(&n.to_string())).collect();
        expected.sort();
        assert_eq!(listed, expected);
    }
}
