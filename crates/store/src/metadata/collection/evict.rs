//! Eviction: removes manifests and blobs that came from upstream registries and can be fetched again, those
//! first that were pushed and pulled longest ago.

use std::collections::HashSet;

use oci::{Digest, RepositoryName};

use super::super::rows::repositories::find;
use super::super::sql::{Sql, params};
use super::super::upstream_tags::Prefixes;
use super::super::writer::Durability;
use super::super::{Metadata, columns};
use super::content::DueContent;
use super::erase::erase;
use super::holders;
use crate::StoreError;

/// An index below an index is followed to this depth.
const DEPTH: usize = 3;

/// A manifest of a cached repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedManifest {
    /// Its repository.
    pub repository: RepositoryName,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes, and those of its blobs in the repository. Other manifests may need the blobs too.
    pub bytes: u64,
    /// Its position in the order of the last use.
    pub position: (i64, i64, i64),
}

impl Metadata {
    /// Returns the fetched manifests of the repositories below some prefixes by the time of their last push
    /// or pull, the oldest first, after a position. The images of an index count as uses of the index.
    pub async fn least_used_below(
        &self,
        prefixes: &[&str],
        after: Option<(i64, i64, i64)>,
        limit: usize,
    ) -> Result<Vec<UsedManifest>, StoreError> {
        let prefixes = Prefixes::new(prefixes);
        let (used, repository, blob) = after.unwrap_or((i64::MIN, 0, 0));
        self.read(move |sql| {
            let statement = format!(
                "SELECT u.name, b.digest, u.used, u.repository, u.blob,
                        COALESCE(b.size, 0) + (
                            SELECT COALESCE(SUM(pb.size), 0) FROM manifest_parts p
                            JOIN blob_links l ON l.repository = u.repository AND l.blob = p.blob
                            JOIN blobs pb ON pb.id = p.blob WHERE p.manifest = u.blob)
                 FROM (
                     SELECT r.name, m.repository, m.blob, MAX(m.pushed_at, MAX(COALESCE(m.pulled_at, 0),
                         CASE WHEN m.is_index = 1 THEN (
                             SELECT COALESCE(MAX(MAX(c.pushed_at, COALESCE(c.pulled_at, 0))), 0)
                             FROM manifest_parts p
                             JOIN manifests c ON c.repository = m.repository AND c.blob = p.blob
                             WHERE p.manifest = m.blob) ELSE 0 END)) AS used
                     FROM repositories r JOIN manifests m ON m.repository = r.id
                     WHERE m.fetched = 1 AND ({})) u
                 JOIN blobs b ON b.id = u.blob
                 WHERE (u.used, u.repository, u.blob) > (?1, ?2, ?3)
                 ORDER BY u.used, u.repository, u.blob LIMIT ?4",
                prefixes.condition("r.name", 5)
            );
            let limit = columns::limit_in(limit);
            let mut values = params![used, repository, blob, limit].to_vec();
            values.extend(prefixes.values());
            sql.all(&statement, &values, |row| {
                Ok(UsedManifest {
                    repository: columns::text(row, 0)?,
                    digest: columns::digest(row, 1)?,
                    bytes: columns::count(row, 5)?,
                    position: (row.get(2)?, row.get(3)?, row.get(4)?),
                })
            })
        })
        .await
    }

    /// Returns blobs of the repositories below some prefixes that no manifest of their repository needs, the
    /// oldest first: an image was evicted while they arrived.
    pub async fn unneeded_blobs_below(
        &self,
        prefixes: &[&str],
        limit: usize,
    ) -> Result<Vec<(RepositoryName, Digest)>, StoreError> {
        let prefixes = Prefixes::new(prefixes);
        self.read(move |sql| {
            let statement = format!(
                "SELECT r.name, b.digest FROM repositories r
                 JOIN blob_links l ON l.repository = r.id JOIN blobs b ON b.id = l.blob
                 WHERE ({}) AND NOT EXISTS (
                     SELECT 1 FROM manifest_parts p
                     JOIN manifests m ON m.repository = l.repository AND m.blob = p.manifest
                     WHERE p.blob = l.blob)
                 ORDER BY l.linked_at LIMIT ?1",
                prefixes.condition("r.name", 2)
            );
            let limit = columns::limit_in(limit);
            let mut values = params![limit].to_vec();
            values.extend(prefixes.values());
            sql.all(&statement, &values, |row| Ok((columns::text(row, 0)?, columns::digest(row, 1)?)))
        })
        .await
    }

    /// Returns the digests of a manifest and of all that it needs, also through an index.
    pub async fn needed_by(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Vec<Digest>, StoreError> {
        let (repository, digest) = (repository.clone(), *digest);
        self.read(move |sql| {
            let mut needed = vec![digest];
            if let (Some(id), Some(blob)) = (find(sql, &repository)?, holders::find_content(sql, &digest)?) {
                needs(sql, id, blob, DEPTH, &mut needed)?;
            }
            Ok(needed)
        })
        .await
    }

    /// Removes manifests and blobs from their repositories, and marks content for deletion that nothing else
    /// holds. Content that belonged to a manifest alone becomes a candidate of the next collection. A manifest
    /// to which pushed content belongs stays, because that content would go with it.
    pub async fn evict(&self, content: Vec<(RepositoryName, Digest)>) -> Result<Vec<DueContent>, StoreError> {
        self.free(Durability::Disk, move |sql| {
            let mut due = Vec::new();
            for (repository, digest) in &content {
                if has_pushed(sql, repository, digest)? {
                    continue;
                }
                let erased = erase(sql.without_tag_rules(), repository, digest, false)?;
                due.extend(erased.and_then(|erased| erased.content));
            }
            Ok(due)
        })
        .await
    }
}

/// Whether a manifest has a child, a referrer or a signature that was pushed, also through others.
fn has_pushed(sql: Sql<'_>, repository: &RepositoryName, digest: &Digest) -> Result<bool, StoreError> {
    let (Some(id), Some(blob)) = (find(sql, repository)?, holders::find_content(sql, digest)?) else {
        return Ok(false);
    };
    let (mut waiting, mut seen) = (vec![blob], HashSet::from([blob]));
    while let Some(blob) = waiting.pop() {
        let Some((digest, _)) = holders::record(sql, blob)? else { continue };
        let mut belonging: Vec<i64> = sql.all(
            "SELECT blob FROM manifest_parts WHERE manifest = ?2 AND is_manifest = 1
             UNION SELECT blob FROM referrers WHERE repository = ?1 AND subject = ?3",
            params![id, blob, columns::key(&digest)],
            |row| row.get(0),
        )?;
        belonging.extend(holders::fallback_tags(sql, id, &digest)?.into_iter().map(|(_, target)| target));
        for blob in belonging {
            let is_fetched = sql.first(
                "SELECT fetched FROM manifests WHERE repository = ?1 AND blob = ?2",
                params![id, blob],
                |row| row.get::<bool>(0),
            )?;
            match is_fetched {
                Some(false) => return Ok(true),
                Some(true) if seen.insert(blob) => waiting.push(blob),
                _ => {}
            }
        }
    }
    Ok(false)
}

fn needs(
    sql: Sql<'_>,
    repository: i64,
    manifest: i64,
    depth: usize,
    needed: &mut Vec<Digest>,
) -> Result<(), StoreError> {
    let parts: Vec<(i64, Digest, bool)> = sql.all(
        "SELECT p.blob, b.digest, EXISTS (SELECT 1 FROM manifests m WHERE m.repository = ?1 AND m.blob = p.blob)
         FROM manifest_parts p JOIN blobs b ON b.id = p.blob WHERE p.manifest = ?2",
        params![repository, manifest],
        |row| Ok((row.get(0)?, columns::digest(row, 1)?, row.get::<i64>(2)? != 0)),
    )?;
    for (blob, digest, is_manifest) in parts {
        needed.push(digest);
        if is_manifest && depth > 0 {
            needs(sql, repository, blob, depth - 1, needed)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::PutManifest;
    use super::super::super::fixtures::{child, digest, empty, layer, name, put, tagged};

    fn fetched(repository: &str, content: &str) -> PutManifest {
        PutManifest { is_fetched: true, ..tagged(repository, content, &[content]) }
    }

    #[tokio::test]
    async fn least_used_manifests_come_in_pages() {
        let (metadata, _directory) = empty();
        for content in ["1", "2", "3"] {
            put(&metadata, fetched("docker.io/a", content)).await;
        }
        put(&metadata, fetched("ghcr.io/a", "4")).await;
        put(&metadata, fetched("other", "5")).await;
        // A pushed image is never evicted, even if it was fetched before.
        put(&metadata, tagged("docker.io/pushed", "6", &["6"])).await;
        put(&metadata, fetched("docker.io/pushed", "7")).await;
        put(&metadata, tagged("docker.io/pushed", "7", &["7"])).await;
        put(&metadata, fetched("docker.io/pushed", "7")).await;
        // One that was restored is one of the upstream again.
        metadata.delete_manifest(&name("docker.io/a"), &digest("1")).await.unwrap();
        metadata.restore_manifest(&name("docker.io/a"), &digest("1")).await.unwrap().unwrap();
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = metadata.least_used_below(&["docker.io", "ghcr.io"], after, 3).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.position);
            found.extend(page.into_iter().map(|used| used.digest));
        }
        found.sort();
        let mut expected = ["1", "2", "3", "4"].map(digest);
        expected.sort();
        assert_eq!(found, expected);
    }

    #[tokio::test]
    async fn manifest_stays_while_pushed_content_belongs_to_it() {
        let (metadata, _directory) = empty();
        let app = name("docker.io/app");
        let image = |content: &str| fetched("docker.io/app", content);
        for content in ["signed", "described", "child", "plain"] {
            put(&metadata, image(content)).await;
        }
        let index =
            PutManifest { parts: vec![child("child")], is_index: true, ..fetched("docker.io/app", "index") };
        put(&metadata, index).await;
        for (content, subject) in [("signature", "signed"), ("scan", "child")] {
            let tag = oci::CosignKind::ALL[0].tag_of(&digest(subject)).unwrap();
            put(&metadata, tagged("docker.io/app", content, &[tag.as_str()])).await;
        }
        let sbom = PutManifest { subject: Some(digest("described")), ..tagged("docker.io/app", "sbom", &[]) };
        put(&metadata, sbom).await;
        for content in ["signed", "described", "child", "index", "plain"] {
            let due = metadata.evict(vec![(app.clone(), digest(content))]).await.unwrap();
            assert_eq!(due.len(), usize::from(content == "plain"), "{content}");
        }
    }

    #[tokio::test]
    async fn evicted_manifest_releases_its_blobs() {
        let (metadata, _directory) = empty();
        let app = name("docker.io/app");
        metadata.link_blob(&app, &digest("layer"), 100).await.unwrap();
        let image = PutManifest { parts: vec![layer("layer")], ..fetched("docker.io/app", "image") };
        put(&metadata, image).await;
        let index =
            PutManifest { parts: vec![child("image")], is_index: true, ..fetched("docker.io/app", "index") };
        put(&metadata, index).await;
        let needed = metadata.needed_by(&app, &digest("index")).await.unwrap();
        assert_eq!(needed, ["index", "image", "layer"].map(digest));
        let used = metadata.least_used_below(&["docker.io"], None, 9).await.unwrap();
        assert_eq!(used.iter().map(|used| used.bytes).sum::<u64>(), 120);
        assert!(metadata.unneeded_blobs_below(&["docker.io"], 9).await.unwrap().is_empty());
        let evicted = ["index", "image"].map(|content| (app.clone(), digest(content)));
        let due = metadata.evict(evicted.to_vec()).await.unwrap();
        assert_eq!(due.len(), 2);
        let unneeded = metadata.unneeded_blobs_below(&["docker.io"], 9).await.unwrap();
        assert_eq!(unneeded, [(app.clone(), digest("layer"))]);
        assert_eq!(metadata.evict(unneeded).await.unwrap().len(), 1);
        assert_eq!(metadata.evict(vec![(app, digest("layer"))]).await.unwrap(), []);
    }
}
