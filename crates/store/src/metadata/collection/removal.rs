//! Removal of a manifest or a link, and the candidates that follow from it.

use oci::RepositoryName;

use super::super::columns;
use super::super::rows::blobs::unlink;
use super::super::rows::repositories::{delete_parts, remove_if_empty, remove_manifests};
use super::super::rows::{manifests, tags};
use super::super::sql::{Sql, params};
use super::candidates::{Candidate, Kind, add};
use super::holders::{Repository, fallback_tags, record};
use crate::StoreError;

/// A time before all periods: the candidate is due at once.
pub(super) const AT_ONCE: i64 = 0;

/// The content that the removal of a manifest takes along.
#[derive(Debug, Default)]
pub(super) struct Consequences {
    pub(super) candidates: Vec<Candidate>,
    /// Fallback tags that the subject takes along.
    pub(super) tags: Vec<String>,
}

/// Returns the further removals in the repository of a removed manifest. `since` is the time of the deletion;
/// `keeps_children` leaves its children to their own last push or pull.
pub(super) fn consequences(
    sql: Sql<'_>,
    repository: i64,
    blob: i64,
    pushed_at: i64,
    since: i64,
    keeps_children: bool,
) -> Result<Consequences, StoreError> {
    let mut all = Consequences::default();
    let children: Vec<(i64, i64)> = sql.all(
        "SELECT DISTINCT m.blob, m.pushed_at FROM manifest_parts p
         JOIN manifests m ON m.repository = ?1 AND m.blob = p.blob WHERE p.manifest = ?2",
        params![repository, blob],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    all.candidates.extend(children.into_iter().map(|(child, pushed_at)| match keeps_children {
        true => Candidate { kind: Kind::Untagged, repository, blob: child, since: pushed_at },
        false => Candidate { kind: Kind::Deleted, repository, blob: child, since },
    }));
    if let Some((digest, _)) = record(sql, blob)? {
        let referrers: Vec<i64> = sql.all(
            "SELECT blob FROM referrers WHERE repository = ?1 AND subject = ?2",
            params![repository, columns::key(&digest)],
            |row| row.get(0),
        )?;
        let deleted = |blob| Candidate { kind: Kind::Deleted, repository, blob, since };
        all.candidates.extend(referrers.into_iter().map(deleted));
        for (tag, target) in fallback_tags(sql, repository, &digest)? {
            all.tags.push(tag);
            all.candidates.push(deleted(target));
        }
    }
    let links: Vec<i64> = sql.all(
        "SELECT DISTINCT l.blob FROM manifest_parts p
         JOIN blob_links l ON l.repository = ?1 AND l.blob = p.blob WHERE p.manifest = ?2",
        params![repository, blob],
        |row| row.get(0),
    )?;
    all.candidates.extend(links.into_iter().map(|blob| Candidate {
        kind: Kind::ReleasedLink,
        repository,
        blob,
        since: pushed_at,
    }));
    Ok(all)
}

/// Records the consequences, and the manifest itself as a candidate for the deletion of its content.
pub(super) fn apply(
    sql: Sql<'_>,
    repository: Option<&Repository>,
    blob: i64,
    consequences: Consequences,
) -> Result<(), StoreError> {
    if let Some(repository) = repository {
        for tag in &consequences.tags {
            if let (Ok(name), Ok(tag)) = (repository.name.parse(), tag.parse()) {
                tags::delete(sql, &name, &tag)?;
            }
        }
    }
    for candidate in consequences.candidates {
        add(sql, candidate)?;
        if candidate.kind == Kind::ReleasedLink {
            // The blob was uploaded for this manifest, so it does not wait for another one.
            sql.send(
                "UPDATE blob_links SET linked_at = 0 WHERE repository = ?1 AND blob = ?2 AND linked_at <= ?3",
                params![candidate.repository, candidate.blob, candidate.since],
            )?;
        }
    }
    release_parts(sql, blob)?;
    add(sql, Candidate::content(blob))
}

/// Deletes the parts of a manifest that nothing holds any more, which makes them candidates.
pub(super) fn release_parts(sql: Sql<'_>, manifest: i64) -> Result<(), StoreError> {
    let parts: Vec<i64> =
        sql.all("SELECT DISTINCT blob FROM manifest_parts WHERE manifest = ?1", params![manifest], |row| {
            row.get(0)
        })?;
    if delete_parts(sql, manifest)? > 0 {
        for part in parts {
            add(sql, Candidate::content(part))?;
        }
    }
    Ok(())
}

/// Removes a manifest of a repository.
pub(super) fn manifest(
    sql: Sql<'_>,
    repository: &Repository,
    blob: i64,
    consequences: Consequences,
) -> Result<(), StoreError> {
    let Ok(name) = repository.name.parse() else { return Ok(()) };
    manifests::remove(sql, &name, repository.id, blob)?;
    apply(sql, Some(repository), blob, consequences)?;
    remove_manifests(sql, repository.id, 1)?;
    remove_if_empty(sql, &name, repository.id)
}

/// Removes the link of a blob in a repository.
pub(super) fn link(sql: Sql<'_>, repository: &Repository, blob: i64) -> Result<(), StoreError> {
    let Ok(name) = repository.name.parse() else { return Ok(()) };
    let Some((digest, _)) = record(sql, blob)? else { return Ok(()) };
    unlink(sql, &name, &digest).map(drop)
}

/// Removes a manifest that another program has removed. Its own content goes after the grace period.
pub(in crate::metadata) fn remove_manifest(
    sql: Sql<'_>,
    name: &RepositoryName,
    id: i64,
    blob: i64,
) -> Result<(), StoreError> {
    let repository = Repository { id, name: name.to_string() };
    let now = columns::now();
    let all = consequences(sql, id, blob, now, now, false)?;
    manifest(sql, &repository, blob, all)
}
