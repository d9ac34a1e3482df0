//! Inserts a manifest with its descriptors, its entry in the referrers index and its tags.

use std::collections::HashSet;

use serde_json::json;

use super::super::sql::{Sql, params};
use super::super::{ChangeKind, ManifestRecord, NewChange, Part, PutManifest, PutOutcome, columns};
use super::manifests::find;
use super::repositories::{add_manifest, describe, find_or_create_at, touch};
use super::{blobs, erasures, repositories, tags, trash};
use crate::StoreError;

/// Refuses a manifest if the repository lacks required parts, or has a part with another size.
pub(in crate::metadata) fn check_parts(
    sql: Sql<'_>,
    put: &PutManifest,
) -> Result<Option<PutOutcome>, StoreError> {
    let repository = repositories::find(sql, &put.repository)?;
    let mut seen = HashSet::new();
    let mut missing = Vec::new();
    let mut named = HashSet::new();
    let mut wrong_size = None;
    for part in &put.parts {
        if !seen.insert((part.digest, part.size, part.is_manifest))
            || !(part.required || put.stored_sizes.is_some())
        {
            continue;
        }
        let recorded = repository.map(|id| recorded_size(sql, id, part)).transpose()?.flatten();
        let is_stored =
            |size| put.stored_sizes.as_ref().is_none_or(|sizes| sizes.get(&part.digest) == Some(&size));
        match recorded.filter(|size| is_stored(*size)) {
            Some(actual) if put.stored_sizes.is_some() && actual != part.size => {
                wrong_size.get_or_insert(PutOutcome::WrongSize {
                    digest: part.digest,
                    claimed: part.size,
                    actual,
                });
            }
            Some(_) => {}
            None if part.required && named.insert(part.digest) => missing.push(part.digest),
            None => {}
        }
    }
    Ok(if missing.is_empty() { wrong_size } else { Some(PutOutcome::Missing(missing)) })
}

/// The recorded size of an undamaged part of the repository.
fn recorded_size(sql: Sql<'_>, repository: i64, part: &Part) -> Result<Option<u64>, StoreError> {
    let statement = if part.is_manifest {
        "SELECT COALESCE(b.size, 0) FROM blobs b JOIN manifests m ON m.repository = ?1 AND m.blob = b.id
         WHERE b.digest = ?2 AND b.damaged = 0"
    } else {
        "SELECT COALESCE(b.size, 0) FROM blobs b JOIN blob_links l ON l.repository = ?1 AND l.blob = b.id
         WHERE b.digest = ?2 AND b.damaged = 0"
    };
    sql.first(statement, params![repository, columns::key(&part.digest)], |row| columns::count(row, 0))
}

/// The changes of [`store`].
pub(in crate::metadata) struct Stored {
    /// Whether the repository did not have the manifest before.
    pub(in crate::metadata) is_new: bool,
    /// The changes of tags that pointed elsewhere before.
    pub(in crate::metadata) moved: Vec<NewChange>,
}

/// Inserts or updates a manifest with its tags, even without its parts.
pub(in crate::metadata) fn store(sql: Sql<'_>, put: &PutManifest, at: i64) -> Result<Stored, StoreError> {
    let repository = find_or_create_at(sql, &put.repository, at)?;
    let blob = blobs::intern_stored(sql, &put.manifest.digest, put.manifest.size)?;
    let is_new = find(sql, repository, &put.manifest.digest)?.is_none();
    if is_new {
        store_parts(sql, blob, &put.parts)?;
        trash::forget(sql, &put.repository, blob)?;
        erasures::end(sql, &put.repository, &put.manifest.digest)?;
    }
    sql.send(
        "INSERT INTO manifests (repository, blob, media_type, artifact_type, annotations, is_index, pushed_at, fetched)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (repository, blob) DO UPDATE
         SET media_type = excluded.media_type, artifact_type = excluded.artifact_type,
             annotations = excluded.annotations, is_index = excluded.is_index,
             pushed_at = excluded.pushed_at, fetched = MIN(manifests.fetched, excluded.fetched)",
        params![
            repository,
            blob,
            put.manifest.media_type.as_str(),
            put.artifact_type,
            columns::annotations_in(put.annotations.as_ref())?,
            i64::from(put.is_index),
            at,
            i64::from(put.is_fetched),
        ],
    )?;
    if let Some(subject) = &put.subject {
        sql.send(
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
        let target = tags::Target { digest: &put.manifest.digest, blob, is_index: put.is_index };
        moved.extend(tags::point(sql, (repository, &put.repository), tag, target, at)?);
    }
    if let Some(description) = &put.description {
        describe(sql, repository, description)?;
    }
    touch(sql, repository, at)?;
    if is_new {
        // After the description, so that the search index is written once.
        add_manifest(sql, repository)?;
    }
    Ok(Stored { is_new, moved })
}

/// The change of a stored manifest.
pub(in crate::metadata) fn put_change(put: &PutManifest) -> NewChange {
    let ManifestRecord { digest, media_type, size } = &put.manifest;
    let mut detail = json!({ "mediaType": media_type.as_str(), "size": size });
    if !put.tags.is_empty() {
        detail["tags"] = put.tags.iter().map(oci::Tag::as_str).collect();
    }
    if let Some(artifact_type) = &put.artifact_type {
        detail["artifactType"] = artifact_type.as_str().into();
    }
    NewChange::of(ChangeKind::ManifestPut, &put.repository).digest(*digest).detail(detail)
}

/// Inserts the descriptors of a manifest, unless a push of it to another repository has done so.
fn store_parts(sql: Sql<'_>, manifest: i64, parts: &[Part]) -> Result<(), StoreError> {
    if sql.exists("SELECT 1 FROM manifest_parts WHERE manifest = ?1 LIMIT 1", params![manifest])? {
        return Ok(());
    }
    for (position, part) in parts.iter().enumerate() {
        let blob = blobs::intern_named(sql, &part.digest)?;
        sql.send(
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
