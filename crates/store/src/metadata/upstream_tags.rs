//! Tags of upstream registries, as a pull-through cache saw them last.

use std::time::SystemTime;

use oci::{Digest, RepositoryName, Tag};

use super::sql::{Row, Sql, ToValue as _, Value, params};
use super::writer::Durability;
use super::{Metadata, columns};
use crate::StoreError;

/// A tag of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTag {
    /// `None` if the upstream does not have the tag.
    pub digest: Option<Digest>,
    /// When the upstream first named this digest for the tag.
    pub first_seen: SystemTime,
    /// When the upstream was asked last.
    pub checked_at: SystemTime,
}

/// The cached content of an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpstreamUsage {
    /// Repositories with a manifest.
    pub repositories: u64,
    /// Tags.
    pub tags: u64,
    /// Manifests and blobs, each counted once.
    pub contents: u64,
    /// The bytes of these.
    pub bytes: u64,
}

impl Metadata {
    /// Returns a tag of an upstream; `None` if it was never asked for.
    pub async fn upstream_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<UpstreamTag>, StoreError> {
        let (repository, tag) = (repository.clone(), tag.clone());
        self.read(move |sql| find(sql, &repository, &tag)).await
    }

    /// Records the present answer of the upstream for a tag. `first_seen` stays while the digest is the same.
    pub async fn record_upstream_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: Option<Digest>,
    ) -> Result<UpstreamTag, StoreError> {
        let (repository, tag) = (repository.clone(), tag.clone());
        // A lost record only costs a question to the upstream, and a longer quarantine.
        self.write(Durability::Process, move |sql| {
            let now = columns::now();
            let digest = digest.as_ref().map(columns::key);
            let recorded = sql.first(
                "INSERT INTO upstream_tags (repository, tag, digest, first_seen, checked_at)
                 VALUES (?1, ?2, ?3, ?4, ?4)
                 ON CONFLICT (repository, tag) DO UPDATE SET
                     first_seen = CASE
                         WHEN upstream_tags.digest IS NOT DISTINCT FROM excluded.digest
                             OR excluded.digest IS NULL
                         THEN upstream_tags.first_seen ELSE excluded.first_seen END,
                     digest = excluded.digest,
                     checked_at = excluded.checked_at
                 RETURNING digest, first_seen, checked_at",
                params![repository.as_str(), tag.as_str(), digest, now],
                record,
            )?;
            recorded.ok_or_else(|| StoreError::Damaged("an inserted row was not returned".to_owned()))
        })
        .await
    }

    /// Forgets the answers of the upstream for all tags of a repository.
    pub async fn forget_upstream_tags(&self, repository: &RepositoryName) -> Result<(), StoreError> {
        let repository = repository.clone();
        self.write(Durability::Disk, move |sql| {
            sql.run("DELETE FROM upstream_tags WHERE repository = ?1", params![repository.as_str()])?;
            Ok(())
        })
        .await
    }

    /// Returns the repositories below a prefix, such as `docker.io`, by name after `after`.
    pub async fn repositories_below(
        &self,
        prefix: &str,
        after: Option<&RepositoryName>,
        limit: usize,
    ) -> Result<Vec<RepositoryName>, StoreError> {
        let (from, to) = range(prefix);
        let from = after.map_or(from, |after| after.as_str().to_owned());
        self.read(move |sql| {
            sql.all(
                "SELECT name FROM repositories WHERE name > ?1 AND name < ?2 ORDER BY name LIMIT ?3",
                params![from, to, columns::limit_in(limit)],
                |row| columns::text(row, 0),
            )
        })
        .await
    }

    /// Returns the space that the repositories below some prefixes use together.
    pub async fn usage_below(&self, prefixes: &[&str]) -> Result<UpstreamUsage, StoreError> {
        let prefixes = Prefixes::new(prefixes);
        self.read(move |sql| {
            let below = prefixes.condition("r.name", 1);
            let values = prefixes.values();
            let repositories = count(
                sql,
                &format!("SELECT COUNT(*) FROM repositories r WHERE ({below}) AND r.manifests > 0"),
                &values,
            )?;
            let tags = count(
                sql,
                &format!(
                    "SELECT COUNT(*) FROM tags t JOIN repositories r ON r.id = t.repository
                     WHERE ({below}) AND t.hidden = 0"
                ),
                &values,
            )?;
            let contents = sql.first(
                &format!(
                    "SELECT COUNT(*), COALESCE(SUM(b.size), 0) FROM blobs b WHERE b.id IN (
                         SELECT l.blob FROM blob_links l JOIN repositories r ON r.id = l.repository WHERE {below}
                         UNION SELECT m.blob FROM manifests m JOIN repositories r ON r.id = m.repository
                         WHERE {below})"
                ),
                &values,
                |row| Ok((columns::count(row, 0)?, columns::count(row, 1)?)),
            )?;
            let (contents, bytes) = contents.unwrap_or_default();
            Ok(UpstreamUsage { repositories, tags, contents, bytes })
        })
        .await
    }

    /// Returns the size that a manifest of the repository claims for a part.
    pub async fn claimed_size(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<u64>, StoreError> {
        let (repository, digest) = (repository.clone(), *digest);
        self.read(move |sql| {
            sql.first(
                "SELECT p.size FROM blobs b
                 JOIN manifest_parts p ON p.blob = b.id
                 JOIN repositories r ON r.name = ?1
                 JOIN manifests m ON m.repository = r.id AND m.blob = p.manifest
                 WHERE b.digest = ?2 LIMIT 1",
                params![repository.as_str(), columns::key(&digest)],
                |row| columns::count(row, 0),
            )
        })
        .await
    }
}

/// The names below some prefixes, such as `docker.io`.
pub(super) struct Prefixes(Vec<(String, String)>);

impl Prefixes {
    pub(super) fn new(prefixes: &[&str]) -> Self {
        Self(prefixes.iter().map(|prefix| range(prefix)).collect())
    }

    /// The SQL condition that a column is below one of them. Its parameters are numbered from `first` on.
    pub(super) fn condition(&self, column: &str, first: usize) -> String {
        let ranges = (0..self.0.len()).map(|at| {
            let (from, to) = (first + 2 * at, first + 2 * at + 1);
            format!("{column} > ?{from} AND {column} < ?{to}")
        });
        let ranges: Vec<String> = ranges.collect();
        if ranges.is_empty() { "FALSE".to_owned() } else { ranges.join(" OR ") }
    }

    /// The parameters of the condition.
    pub(super) fn values(&self) -> Vec<Value<'_>> {
        self.0.iter().flat_map(|(from, to)| [from.to_value(), to.to_value()]).collect()
    }
}

/// The names that begin with `prefix/` lie between these two.
fn range(prefix: &str) -> (String, String) {
    // `0` follows `/` in ASCII.
    (format!("{prefix}/"), format!("{prefix}0"))
}

fn count(sql: Sql<'_>, query: &str, params: &[Value<'_>]) -> Result<u64, StoreError> {
    Ok(sql.first(query, params, |row| columns::count(row, 0))?.unwrap_or(0))
}

fn find(sql: Sql<'_>, repository: &RepositoryName, tag: &Tag) -> Result<Option<UpstreamTag>, StoreError> {
    sql.first(
        "SELECT digest, first_seen, checked_at FROM upstream_tags WHERE repository = ?1 AND tag = ?2",
        params![repository.as_str(), tag.as_str()],
        record,
    )
}

fn record(row: &Row<'_>) -> Result<UpstreamTag, StoreError> {
    let digest = if row.value(0)? == Value::Null { None } else { Some(columns::digest(row, 0)?) };
    Ok(UpstreamTag { digest, first_seen: columns::time(row, 1)?, checked_at: columns::time(row, 2)? })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{digest, empty, layer, manifest, name, put, tag, tagged};

    #[tokio::test]
    async fn first_seen_stays_while_the_digest_does() {
        let (metadata, _directory) = empty();
        let (app, latest) = (name("docker.io/library/app"), tag("latest"));
        assert_eq!(metadata.upstream_tag(&app, &latest).await.unwrap(), None);
        let one = metadata.record_upstream_tag(&app, &latest, Some(digest("1"))).await.unwrap();
        let again = metadata.record_upstream_tag(&app, &latest, Some(digest("1"))).await.unwrap();
        assert_eq!(one.first_seen, again.first_seen);
        let gone = metadata.record_upstream_tag(&app, &latest, None).await.unwrap();
        assert_eq!((gone.digest, gone.first_seen), (None, one.first_seen));
        assert_eq!(metadata.upstream_tag(&app, &latest).await.unwrap(), Some(gone));
        metadata.forget_upstream_tags(&app).await.unwrap();
        assert_eq!(metadata.upstream_tag(&app, &latest).await.unwrap(), None);
    }

    #[tokio::test]
    async fn usage_counts_only_names_below_the_prefix() {
        let (metadata, _directory) = empty();
        for other in ["docker.io-x/app", "docker.iox", "docker.io0/app", "app"] {
            put(&metadata, tagged(other, "other", &["latest"])).await;
        }
        metadata.link_blob(&name("docker.io/a"), &digest("layer"), 100).await.unwrap();
        put(&metadata, tagged("docker.io/a", "m", &["1", "2"])).await;
        put(&metadata, tagged("docker.io/b/c", "m", &["1"])).await;
        let usage = metadata.usage_below(&["docker.io"]).await.unwrap();
        assert_eq!((usage.repositories, usage.tags, usage.contents, usage.bytes), (2, 3, 2, 110));
        // Content that two upstreams share counts once.
        let both = metadata.usage_below(&["docker.io", "docker.io-x"]).await.unwrap();
        assert_eq!((both.repositories, both.bytes), (3, 120));
        assert_eq!(metadata.usage_below(&[]).await.unwrap().bytes, 0);
        let listed = metadata.repositories_below("docker.io", None, 9).await.unwrap();
        assert_eq!(listed, [name("docker.io/a"), name("docker.io/b/c")]);
        let rest = metadata.repositories_below("docker.io", Some(&listed[0]), 9).await.unwrap();
        assert_eq!(rest, [name("docker.io/b/c")]);
    }

    #[tokio::test]
    async fn claimed_size_comes_from_a_manifest() {
        let (metadata, _directory) = empty();
        let mut image = manifest("docker.io/a", "m");
        image.parts = vec![super::super::Part { required: false, ..layer("absent") }];
        put(&metadata, image).await;
        let claimed = async |repository, content| {
            metadata.claimed_size(&name(repository), &digest(content)).await.unwrap()
        };
        assert_eq!(claimed("docker.io/a", "absent").await, Some(100));
        assert_eq!(claimed("docker.io/b", "absent").await, None);
        assert_eq!(claimed("docker.io/a", "other").await, None);
    }
}
