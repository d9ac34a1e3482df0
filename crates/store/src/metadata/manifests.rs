//! Manifests of a repository: put, found, taken apart, deleted.

use std::collections::HashSet;

use oci::{Digest, RepositoryName, TagOrDigest};
use rusqlite::params;

use super::repositories::{add_manifest, describe, find_or_make, remove_if_empty, remove_manifest, touch};
use super::sql::Sql;
use super::view_changes::note;
use super::writer::Durability;
use super::{
    ManifestRecord, Metadata, Part, PutManifest, PutOutcome, ViewItem, blobs, columns, repositories, tags,
};
use crate::StoreError;

impl Metadata {
    /// The manifest that a tag points to now, or that has a digest, if it is in this repository.
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

    /// What a manifest of the repository is made of, in its own order; nothing if it is not there.
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

    /// The manifests of a repository, tagged or not, in the order of their digests, from the one
    /// after `after`.
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

    /// Puts a manifest into its repository and points its tags to it, or says which required parts
    /// are not in that repository. A tag that pointed elsewhere is moved.
    pub async fn put_manifest(&self, put: PutManifest) -> Result<PutOutcome, StoreError> {
        self.write(Durability::Disk, move |sql| {
            let missing = missing_parts(sql, &put)?;
            if !missing.is_empty() {
                return Ok(PutOutcome::Missing(missing));
            }
            let stored = store(sql, &put)?;
            if stored.is_new {
                note(sql, &put.repository, &ViewItem::Revision(put.manifest.digest))?;
            }
            for tag in stored.moved {
                note(sql, &put.repository, &ViewItem::Tag(tag))?;
            }
            Ok(PutOutcome::Stored)
        })
        .await
    }

    /// Takes a manifest out of a repository, with the tags that point to it, but not its parts.
    /// `false` if it was not there.
    pub async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, StoreError> {
        let (repository, digest) = (repository.clone(), *digest);
        self.write(Durability::Disk, move |sql| {
            let Some(id) = repositories::find(sql, &repository)? else { return Ok(false) };
            let Some((blob, _)) = find(sql, id, &digest)? else { return Ok(false) };
            for tag in tags::pointing_to(sql, id, blob)? {
                note(sql, &repository, &ViewItem::Tag(tag))?;
            }
            // Tags and the entry among the referrers go with it.
            sql.run("DELETE FROM manifests WHERE repository = ?1 AND blob = ?2", params![id, blob])?;
            sql.run(
                "DELETE FROM manifest_parts WHERE manifest = ?1
                   AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.blob = ?1)",
                params![blob],
            )?;
            note(sql, &repository, &ViewItem::Revision(digest))?;
            remove_manifest(sql, id)?;
            remove_if_empty(sql, &repository, id)?;
            Ok(true)
        })
        .await
    }
}

/// The id of a manifest that is in the repository, and whether it is an index.
pub(super) fn find(
    sql: Sql<'_>,
    repository: i64,
    digest: &Digest,
) -> Result<Option<(i64, bool)>, StoreError> {
    sql.first(
        "SELECT m.blob, m.is_index FROM blobs b JOIN manifests m ON m.repository = ?1 AND m.blob = b.id
         WHERE b.digest = ?2",
        params![repository, columns::key(digest)],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// The required parts that are not in the repository, each once, in the manifest's order.
fn missing_parts(sql: Sql<'_>, put: &PutManifest) -> Result<Vec<Digest>, StoreError> {
    let repository = repositories::find(sql, &put.repository)?;
    let mut seen = HashSet::new();
    let mut missing = Vec::new();
    for part in put.parts.iter().filter(|part| part.required) {
        if !seen.insert((part.digest, part.is_manifest)) {
            continue;
        }
        let is_here = match repository {
            None => false,
            Some(repository) if part.is_manifest => find(sql, repository, &part.digest)?.is_some(),
            Some(repository) => sql.exists(
                "SELECT 1 FROM blobs b JOIN blob_links l ON l.repository = ?1 AND l.blob = b.id
                 WHERE b.digest = ?2",
                params![repository, columns::key(&part.digest)],
            )?,
        };
        if !is_here && !missing.contains(&part.digest) {
            missing.push(part.digest);
        }
    }
    Ok(missing)
}

/// What [`store`] changed.
pub(super) struct Stored {
    /// Whether the manifest was not in the repository before.
    is_new: bool,
    /// The tags that did not point to it before.
    moved: Vec<oci::Tag>,
}

/// Writes a manifest down, whether its parts are there or not.
pub(super) fn store(sql: Sql<'_>, put: &PutManifest) -> Result<Stored, StoreError> {
    let repository = find_or_make(sql, &put.repository)?;
    let blob = blobs::intern_stored(sql, &put.manifest.digest, put.manifest.size)?;
    let is_new = find(sql, repository, &put.manifest.digest)?.is_none();
    if is_new {
        store_parts(sql, blob, &put.parts)?;
    }
    sql.run(
        "INSERT INTO manifests (repository, blob, media_type, artifact_type, annotations, is_index, pushed_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (repository, blob) DO UPDATE
         SET media_type = excluded.media_type, artifact_type = excluded.artifact_type,
             annotations = excluded.annotations, is_index = excluded.is_index,
             pushed_at = excluded.pushed_at",
        params![
            repository,
            blob,
            put.manifest.media_type.as_str(),
            put.artifact_type,
            columns::annotations_in(put.annotations.as_ref())?,
            i64::from(put.is_index),
            columns::now(),
        ],
    )?;
    if let Some(subject) = &put.subject {
        sql.run(
            "INSERT INTO referrers (repository, subject, digest, artifact_type, blob)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (repository, subject, digest) DO UPDATE SET artifact_type = excluded.artifact_type",
            params![
                repository,
                columns::key(subject),
                columns::key(&put.manifest.digest),
                put.artifact_type,
                blob
            ],
        )?;
    }
    let mut moved = Vec::new();
    for tag in &put.tags {
        if tags::point(sql, repository, tag, blob, put.is_index)? {
            moved.push(tag.clone());
        }
    }
    if let Some(description) = &put.description {
        describe(sql, repository, description)?;
    }
    touch(sql, repository)?;
    if is_new {
        // After the description, so that the search index is written once.
        add_manifest(sql, repository)?;
    }
    Ok(Stored { is_new, moved })
}

/// Writes down what the manifest with the id `manifest` is made of, unless another repository's
/// push of the same manifest has done so.
fn store_parts(sql: Sql<'_>, manifest: i64, parts: &[Part]) -> Result<(), StoreError> {
    if sql.exists("SELECT 1 FROM manifest_parts WHERE manifest = ?1 LIMIT 1", params![manifest])? {
        return Ok(());
    }
    for (position, part) in parts.iter().enumerate() {
        let blob = blobs::intern_named(sql, &part.digest)?;
        sql.run(
            "INSERT INTO manifest_parts (manifest, position, blob, size, is_manifest, required)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                manifest,
                columns::limit_in(position),
                blob,
                columns::count_in(part.size)?,
                i64::from(part.is_manifest),
                i64::from(part.required)
            ],
        )?;
    }
    Ok(())
}
