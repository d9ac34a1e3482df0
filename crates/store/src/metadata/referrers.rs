//! Referrers: the manifests of a repository that name another one as their subject.

use oci::{Digest, RepositoryName};

use super::rows::repositories::find;
use super::sql::{Row, ToValue, Value, params};
use super::{Metadata, ReferrerRecord, columns};
use crate::StoreError;

/// Selects referrers `f`; further conditions follow.
macro_rules! referrers {
    ($conditions:literal) => {
        referrers!("m.annotations", $conditions)
    };
    ($annotations:literal, $conditions:literal) => {
        concat!(
            "SELECT f.digest, m.media_type, COALESCE(b.size, 0), m.artifact_type, ",
            $annotations,
            " FROM referrers f
             JOIN manifests m ON m.repository = f.repository AND m.blob = f.blob
             JOIN blobs b ON b.id = f.blob
             WHERE f.repository = ?1 AND f.subject = ?2 AND f.digest > ?3 ",
            $conditions,
            " ORDER BY f.digest LIMIT ?4"
        )
    };
}

/// The bytes of annotations after which a page ends. Annotations are parts of manifests and may take
/// megabytes.
const PAGE_BYTES: usize = 2 << 20;

impl Metadata {
    /// Returns at most `limit` manifests with the subject `subject`, by digest after `after`, of one
    /// `artifact_type` or of all, and whether there are more. The subject itself need not exist.
    pub async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<(Vec<ReferrerRecord>, bool), StoreError> {
        let (repository, subject, after) = (repository.clone(), *subject, after.copied());
        let artifact_type = artifact_type.map(str::to_owned);
        self.read(move |sql| {
            let Some(id) = find(sql, &repository)? else { return Ok((Vec::new(), false)) };
            let subject = columns::key(&subject);
            let after = after.as_ref().map(columns::key);
            // The empty key is before every other.
            let after = after.as_ref().map_or(Value::Blob(&[]), ToValue::to_value);
            let rows = columns::limit_in(limit.saturating_add(1));
            let (mut found, mut bytes, mut more) = (Vec::new(), 0, false);
            let take = |row: &Row<'_>| {
                more = found.len() == limit || bytes > PAGE_BYTES;
                if !more {
                    bytes += row.get::<Option<String>>(4)?.map_or(0, |annotations| annotations.len());
                    found.push(record(row)?);
                }
                Ok(!more)
            };
            match &artifact_type {
                None => sql.each_while(referrers!(""), params![id, subject, after, rows], take)?,
                Some(artifact_type) => sql.each_while(
                    referrers!("AND f.artifact_type = ?5"),
                    params![id, subject, after, rows, artifact_type],
                    take,
                )?,
            }
            Ok((found, more))
        })
        .await
    }
}

impl Metadata {
    /// Returns the first manifests with the subject `subject`, without their annotations, which pushers may
    /// make large.
    pub async fn referrers_in_brief(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        limit: usize,
    ) -> Result<Vec<ReferrerRecord>, StoreError> {
        let (repository, subject) = (repository.clone(), *subject);
        self.read(move |sql| {
            let Some(id) = find(sql, &repository)? else { return Ok(Vec::new()) };
            let (subject, after) = (columns::key(&subject), Value::Blob(&[]));
            let limit = columns::limit_in(limit);
            sql.all(referrers!("NULL", ""), params![id, subject, after, limit], record)
        })
        .await
    }
}

fn record(row: &Row<'_>) -> Result<ReferrerRecord, StoreError> {
    Ok(ReferrerRecord {
        manifest: columns::manifest(row, 0)?,
        artifact_type: row.get(3)?,
        annotations: columns::annotations(row, 4)?,
    })
}

#[cfg(test)]
mod tests {
    use oci::descriptor::Annotations;

    use super::super::fixtures::{digest, empty, manifest, name, plan, put};
    use super::super::{Metadata, PutManifest};
    use super::PAGE_BYTES;

    fn refers(repository: &str, content: &str, subject: &str, artifact_type: Option<&str>) -> PutManifest {
        let annotations = Annotations::from([("what".to_owned(), format!("\"{content}\" \u{1F600}"))]);
        PutManifest {
            subject: Some(digest(subject)),
            artifact_type: artifact_type.map(str::to_owned),
            annotations: Some(annotations),
            ..manifest(repository, content)
        }
    }

    async fn all(metadata: &Metadata, artifact_type: Option<&str>, page: usize) -> Vec<oci::Digest> {
        let mut found: Vec<oci::Digest> = Vec::new();
        loop {
            let (next, more) = metadata
                .referrers(&name("app"), &digest("subject"), artifact_type, found.last(), page)
                .await
                .unwrap();
            found.extend(next.into_iter().map(|record| record.manifest.digest));
            if !more {
                return found;
            }
        }
    }

    #[tokio::test]
    async fn referrers_are_paged_and_filtered_by_type() {
        let (metadata, _directory) = empty();
        let mut expected = Vec::new();
        for n in 0..20 {
            let kind = if n % 4 == 0 { "application/x.signature" } else { "application/x.sbom" };
            put(&metadata, refers("app", &n.to_string(), "subject", Some(kind))).await;
            expected.push((digest(&n.to_string()), kind));
        }
        put(&metadata, refers("app", "of another", "another subject", None)).await;
        put(&metadata, refers("app/x", "elsewhere", "subject", None)).await;
        expected.sort();

        let everything: Vec<_> = expected.iter().map(|(digest, _)| *digest).collect();
        assert_eq!(all(&metadata, None, 3).await, everything);
        assert_eq!(all(&metadata, None, 100).await, everything);
        let signatures: Vec<_> = expected
            .iter()
            .filter(|(_, kind)| *kind == "application/x.signature")
            .map(|(digest, _)| *digest)
            .collect();
        assert_eq!(all(&metadata, Some("application/x.signature"), 2).await, signatures);
        assert_eq!(all(&metadata, Some("application/x.other"), 2).await, []);
    }

    #[tokio::test]
    async fn page_ends_after_large_annotations() {
        let (metadata, _directory) = empty();
        let large = "x".repeat(PAGE_BYTES / 2);
        for n in 0..5 {
            let annotations = Annotations::from([("large".to_owned(), large.clone())]);
            let referrer = PutManifest {
                annotations: Some(annotations),
                ..refers("app", &n.to_string(), "subject", None)
            };
            put(&metadata, referrer).await;
        }
        let (page, more) =
            metadata.referrers(&name("app"), &digest("subject"), None, None, 100).await.unwrap();
        assert_eq!((page.len(), more), (2, true));
        assert_eq!(all(&metadata, None, 100).await.len(), 5);
    }

    #[tokio::test]
    async fn page_is_a_range_of_an_index() {
        let by_digest = plan(referrers!(""), 4).await;
        assert!(by_digest[0].ends_with("(repository=? AND subject=? AND digest>?)"), "{by_digest:?}");
        let by_type = plan(referrers!("AND f.artifact_type = ?5"), 5).await;
        assert!(
            by_type[0]
                .contains("referrers_by_type (repository=? AND subject=? AND artifact_type=? AND digest>?)"),
            "{by_type:?}"
        );
        assert!(!format!("{by_digest:?}{by_type:?}").contains("TEMP B-TREE"));
    }

    #[tokio::test]
    async fn referrer_is_deleted_with_its_manifest() {
        let (metadata, _directory) = empty();
        let put_one = refers("app", "signature", "subject", None);
        put(&metadata, put_one.clone()).await;
        put(&metadata, put_one.clone()).await;
        let (found, more) =
            metadata.referrers(&name("app"), &digest("subject"), None, None, 10).await.unwrap();
        assert_eq!((found.len(), more), (1, false));
        assert_eq!(found[0].manifest, put_one.manifest);
        assert_eq!(found[0].artifact_type, None);
        assert_eq!(found[0].annotations, put_one.annotations);

        metadata.delete_manifest(&name("app"), &digest("signature")).await.unwrap();
        assert_eq!(all(&metadata, None, 10).await, []);
    }
}
