//! Explains what holds some content: a chain from a tag down to it, or the time at which it goes.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, SystemTime};

use oci::{Digest, RepositoryName};

use super::super::sql::{Sql, params};
use super::super::{Metadata, columns};
use super::Periods;
use super::candidates::{Kind, since};
use super::holders::{self, ContentHolder, Gone, Holder, Repository};
use crate::StoreError;

/// Repositories that are explained at most.
const CHAINS: usize = 20;
/// Manifests that are visited at most on the way to a tag.
const VISITED: usize = 1_000;

/// The kind of a link of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// A tag.
    Tag,
    /// A manifest: an image, an index or an artifact.
    Manifest,
    /// A manifest whose subject is the next link.
    Subject,
    /// A manifest without a tag.
    Untagged,
    /// A manifest that was deleted.
    Deleted,
    /// A blob: a config or a layer.
    Blob,
    /// An upload that is about to commit the content.
    Upload,
}

/// A link of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kind.
    pub kind: LinkKind,
    /// The tag or the digest.
    pub name: String,
}

/// A chain that holds content, from its beginning to the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The repository; `None` for an upload.
    pub repository: Option<RepositoryName>,
    /// The links. The last one is the content.
    pub links: Vec<Link>,
    /// The time at which the chain ends; `None` if nothing ends it.
    pub until: Option<SystemTime>,
    /// The setting that decides about the time.
    pub setting: Option<&'static str>,
}

/// The holder of some content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The content.
    pub digest: Digest,
    /// Its size in bytes; `None` if it is not stored.
    pub bytes: Option<u64>,
    /// The chains, at most 20. Without any, the next collection deletes the content.
    pub chains: Vec<Chain>,
    /// The time at which unreferenced content goes.
    pub due: Option<SystemTime>,
}

impl Metadata {
    /// Explains what holds some content, in one repository or in all. Returns `None` if it is unknown there.
    pub async fn explain_content(
        &self,
        digest: &Digest,
        repository: Option<&RepositoryName>,
        periods: Periods,
    ) -> Result<Option<Explanation>, StoreError> {
        let (digest, repository) = (*digest, repository.cloned());
        self.read(move |sql| {
            let Some(blob) = holders::find_content(sql, &digest)? else { return Ok(None) };
            let size: Option<Option<i64>> =
                sql.first("SELECT size FROM blobs WHERE id = ?1", params![blob], |row| row.get(0))?;
            let bytes = size.flatten().and_then(|size| u64::try_from(size).ok());
            let explain = Explain { sql, periods };
            let mut chains = Vec::new();
            for (id, name) in explain.repositories(blob, repository.as_ref())? {
                chains.extend(explain.chain(id, &name, blob)?);
            }
            let mut due = None;
            if chains.is_empty() {
                if repository.is_some() {
                    return Ok(None);
                }
                match holders::of_content(sql, blob, &Gone::default())? {
                    Some(ContentHolder::Lease) => chains.push(Chain {
                        repository: None,
                        links: vec![Link { kind: LinkKind::Upload, name: digest.to_string() }],
                        until: None,
                        setting: None,
                    }),
                    Some(ContentHolder::Part(manifest)) => chains.extend(explain.listed(manifest, blob)?),
                    _ => {
                        let orphan = since(sql, Kind::Orphan, 0, blob)?;
                        due = Some(orphan.map_or_else(SystemTime::now, |since| after(since, periods.grace)));
                    }
                }
            }
            Ok(Some(Explanation { digest, bytes, chains, due }))
        })
        .await
    }
}

/// The time after a period.
fn after(since: i64, period: Duration) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(since).unwrap_or(0));
    SystemTime::UNIX_EPOCH.checked_add(since.saturating_add(period)).unwrap_or(SystemTime::UNIX_EPOCH + since)
}

struct Explain<'a> {
    sql: Sql<'a>,
    periods: Periods,
}

impl Explain<'_> {
    /// The repositories that hold content, also in their trash.
    fn repositories(
        &self,
        blob: i64,
        only: Option<&RepositoryName>,
    ) -> Result<Vec<(i64, String)>, StoreError> {
        self.sql.all(
            "SELECT COALESCE(r.id, 0), h.name FROM (
                SELECT r.name AS name FROM manifests m JOIN repositories r ON r.id = m.repository WHERE m.blob = ?1
                UNION SELECT r.name FROM blob_links l JOIN repositories r ON r.id = l.repository WHERE l.blob = ?1
                UNION SELECT repository FROM deleted_manifests WHERE blob = ?1
                UNION SELECT repository FROM deleted_links WHERE blob = ?1) AS h
             LEFT JOIN repositories r ON r.name = h.name
             WHERE ?2 IS NULL OR h.name = ?2 ORDER BY h.name LIMIT ?3",
            params![blob, only.map(RepositoryName::as_str), columns::limit_in(CHAINS)],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    fn chain(&self, id: i64, name: &str, blob: i64) -> Result<Option<Chain>, StoreError> {
        let repository = Repository { id, name: name.to_owned() };
        if holders::is_manifest(self.sql, id, blob)? {
            return self.manifest(&repository, blob).map(Some);
        }
        let linked: Option<i64> = self.sql.first(
            "SELECT linked_at FROM blob_links WHERE repository = ?1 AND blob = ?2",
            params![id, blob],
            |row| row.get(0),
        )?;
        if let Some(linked_at) = linked {
            return self.link(&repository, blob, linked_at).map(Some);
        }
        let deleted_at: Option<i64> = self.sql.first(
            "SELECT deleted_at FROM deleted_manifests WHERE repository = ?1 AND blob = ?2
             UNION ALL SELECT deleted_at FROM deleted_links WHERE repository = ?1 AND blob = ?2",
            params![name, blob],
            |row| row.get(0),
        )?;
        deleted_at.map(|deleted_at| self.deleted(&repository, vec![blob], deleted_at)).transpose()
    }

    fn link(&self, repository: &Repository, blob: i64, linked_at: i64) -> Result<Chain, StoreError> {
        match holders::of_part(self.sql, repository, blob, &Gone::default())? {
            Some(Holder::Manifest(manifest)) => {
                let mut chain = self.manifest(repository, manifest)?;
                chain.links.push(self.digest(LinkKind::Blob, blob)?);
                Ok(chain)
            }
            Some(Holder::Deleted(manifest)) => self.deleted_by(repository, vec![manifest, blob]),
            _ => {
                let released = since(self.sql, Kind::ReleasedLink, repository.id, blob)?;
                let is_released = released.is_some_and(|since| linked_at <= since);
                let period = if is_released { Duration::ZERO } else { self.periods.upload };
                let links = vec![self.digest(LinkKind::Blob, blob)?];
                let until = Some(after(linked_at, period));
                Ok(self.ends(repository, links, until, Some("registry.upload_expiry")))
            }
        }
    }

    /// The chain of a manifest: the shortest way to a tag.
    fn manifest(&self, repository: &Repository, blob: i64) -> Result<Chain, StoreError> {
        let mut waiting = VecDeque::from([vec![blob]]);
        let mut visited = HashSet::from([blob]);
        let mut root = None;
        while let Some(path) = waiting.pop_front() {
            let Some(top) = path.last().copied() else { continue };
            match holders::of_manifest(self.sql, repository, top, &Gone::default())? {
                Some(Holder::Tag(tag)) => {
                    let mut links = vec![Link { kind: LinkKind::Tag, name: tag }];
                    links.extend(self.path(repository, &path)?);
                    return Ok(self.ends(repository, links, None, None));
                }
                Some(Holder::Manifest(_) | Holder::Subject(_)) => {
                    for above in self.above(repository, top)? {
                        if visited.len() < VISITED && visited.insert(above) {
                            waiting.push_back([path.as_slice(), &[above]].concat());
                        }
                    }
                    root.get_or_insert(path);
                }
                Some(Holder::Deleted(above) | Holder::DeletedSubject(above)) => {
                    root = Some([path.as_slice(), &[above]].concat());
                }
                None => root = Some(path),
            }
        }
        let mut path = root.unwrap_or_else(|| vec![blob]);
        let top = path.last().copied().unwrap_or(blob);
        if !holders::is_manifest(self.sql, repository.id, top)? {
            path.reverse();
            return self.deleted_by(repository, path);
        }
        let links = self.path(repository, &path)?;
        if let Some(since) = since(self.sql, Kind::Deleted, repository.id, top)? {
            return Ok(self.ends(
                repository,
                links,
                Some(after(since, self.periods.grace)),
                Some("gc.grace"),
            ));
        }
        let used: Option<i64> = self.sql.first(
            "SELECT CASE WHEN COALESCE(pulled_at, 0) > pushed_at THEN pulled_at ELSE pushed_at END FROM manifests
             WHERE repository = ?1 AND blob = ?2",
            params![repository.id, top],
            |row| row.get(0),
        )?;
        let until = self.periods.untagged.zip(used).map(|(period, used)| after(used, period));
        Ok(self.ends(repository, links, until, Some("gc.untagged")))
    }

    /// The manifests that list a manifest, and its subject.
    fn above(&self, repository: &Repository, blob: i64) -> Result<Vec<i64>, StoreError> {
        self.sql.all(
            "SELECT m.blob FROM manifest_parts p JOIN manifests m ON m.repository = ?1 AND m.blob = p.manifest
             WHERE p.blob = ?2
             UNION
             SELECT m.blob FROM referrers f JOIN blobs b ON b.digest = f.subject
             JOIN manifests m ON m.repository = f.repository AND m.blob = b.id
             WHERE f.repository = ?1 AND f.blob = ?2 LIMIT ?3",
            params![repository.id, blob, columns::limit_in(VISITED)],
            |row| row.get(0),
        )
    }

    /// The links of a path, whose last element is the top.
    fn path(&self, repository: &Repository, path: &[i64]) -> Result<Vec<Link>, StoreError> {
        let mut links = Vec::new();
        for (position, blob) in path.iter().enumerate().rev() {
            let is_untagged = position + 1 == path.len()
                && !self.sql.exists(
                    "SELECT 1 FROM tags WHERE repository = ?1 AND blob = ?2",
                    params![repository.id, *blob],
                )?;
            let is_subject = position > 0
                && !self.sql.exists(
                    "SELECT 1 FROM manifest_parts WHERE manifest = ?1 AND blob = ?2",
                    params![*blob, path[position - 1]],
                )?;
            let kind = match (is_untagged, is_subject) {
                (true, _) => LinkKind::Untagged,
                (false, true) => LinkKind::Subject,
                (false, false) => LinkKind::Manifest,
            };
            links.push(self.digest(kind, *blob)?);
        }
        Ok(links)
    }

    /// The chain of content that a deleted manifest holds; the first element is that manifest.
    fn deleted_by(&self, repository: &Repository, path: Vec<i64>) -> Result<Chain, StoreError> {
        let deleted_at: Option<i64> = self.sql.first(
            "SELECT deleted_at FROM deleted_manifests WHERE repository = ?1 AND blob = ?2",
            params![repository.name, path.first().copied().unwrap_or(0)],
            |row| row.get(0),
        )?;
        self.deleted(repository, path, deleted_at.unwrap_or(0))
    }

    fn deleted(&self, repository: &Repository, path: Vec<i64>, deleted_at: i64) -> Result<Chain, StoreError> {
        let mut links = Vec::new();
        for (position, blob) in path.into_iter().enumerate() {
            let kind = match position {
                0 => LinkKind::Deleted,
                _ if holders::is_manifest(self.sql, repository.id, blob)? => LinkKind::Manifest,
                _ => LinkKind::Blob,
            };
            links.push(self.digest(kind, blob)?);
        }
        let until = Some(after(deleted_at, self.periods.grace));
        Ok(self.ends(repository, links, until, Some("gc.grace")))
    }

    /// The chain of content that a manifest lists without a link in its repository.
    fn listed(&self, manifest: i64, blob: i64) -> Result<Option<Chain>, StoreError> {
        let holder = self.sql.first(
            "SELECT r.id, r.name FROM manifests m JOIN repositories r ON r.id = m.repository WHERE m.blob = ?1
             UNION ALL SELECT 0, repository FROM deleted_manifests WHERE blob = ?1",
            params![manifest],
            |row| Ok((row.get::<i64>(0)?, row.get::<String>(1)?)),
        )?;
        let Some((id, name)) = holder else { return Ok(None) };
        let repository = Repository { id, name };
        if !holders::is_manifest(self.sql, id, manifest)? {
            return self.deleted_by(&repository, vec![manifest, blob]).map(Some);
        }
        let mut chain = self.manifest(&repository, manifest)?;
        chain.links.push(self.digest(LinkKind::Blob, blob)?);
        Ok(Some(chain))
    }

    fn digest(&self, kind: LinkKind, blob: i64) -> Result<Link, StoreError> {
        let name = holders::record(self.sql, blob)?.map(|(digest, _)| digest.to_string()).unwrap_or_default();
        Ok(Link { kind, name })
    }

    fn ends(
        &self,
        repository: &Repository,
        links: Vec<Link>,
        until: Option<SystemTime>,
        setting: Option<&'static str>,
    ) -> Chain {
        Chain { repository: repository.name.parse().ok(), links, until, setting }
    }
}
