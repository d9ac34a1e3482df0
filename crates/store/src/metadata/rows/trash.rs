//! Rows of the trash: deleted manifests, tags and blob links, which keep their content until the grace period
//! ends.

use oci::{Digest, RepositoryName, Tag};

use super::super::sql::{Sql, params};
use super::super::{ChangeKind, NewChange, columns};
use super::outbox::append;
use super::{manifests, repositories, tags};
use crate::StoreError;

/// The cause of a deletion, as the trash records it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletion {
    /// The reason as text for people; empty for the request of a client.
    pub reason: String,
    /// The run of a retention rule.
    pub run: Option<String>,
}

/// Moves a manifest of the repository `id` and its tags to the trash. `batch` is the job of a repository's
/// deletion.
pub(in crate::metadata) fn discard(
    sql: Sql<'_>,
    repository: &RepositoryName,
    id: i64,
    blob: i64,
    deletion: &Deletion,
    batch: Option<i64>,
    at: i64,
) -> Result<(), StoreError> {
    let account = sql.actor().and_then(|actor| actor.account.as_deref());
    sql.send(
        "INSERT INTO deleted_manifests (repository, blob, media_type, artifact_type, annotations, is_index, subject,
                                        pushed_at, description, deleted_at, account, reason, run, batch, pulls,
                                        pulled_at, fetched)
         SELECT r.name, m.blob, m.media_type, m.artifact_type, m.annotations, m.is_index,
                (SELECT f.subject FROM referrers f WHERE f.repository = m.repository AND f.blob = m.blob LIMIT 1),
                m.pushed_at, r.description, ?3, ?4, ?5, ?6, ?7, m.pulls, m.pulled_at,
                m.fetched
         FROM manifests m JOIN repositories r ON r.id = m.repository WHERE m.repository = ?1 AND m.blob = ?2
         ON CONFLICT (repository, blob) DO UPDATE
         SET deleted_at = excluded.deleted_at, account = excluded.account, reason = excluded.reason,
             run = excluded.run, batch = excluded.batch, pulls = excluded.pulls, pulled_at = excluded.pulled_at,
             fetched = excluded.fetched",
        params![id, blob, at, account, deletion.reason, deletion.run, batch],
    )?;
    keep_tags(sql, id, blob, at)?;
    manifests::remove(sql, repository, id, blob)
}

/// Copies the tags that point to a manifest to the trash.
fn keep_tags(sql: Sql<'_>, repository: i64, blob: i64, at: i64) -> Result<(), StoreError> {
    sql.send(
        "INSERT INTO deleted_tags (repository, name, blob, updated_at, deleted_at, pulls, pulled_at)
         SELECT r.name, t.name, t.blob, t.updated_at, ?3, t.pulls, t.pulled_at
         FROM tags t JOIN repositories r ON r.id = t.repository WHERE t.repository = ?1 AND t.blob = ?2
         ON CONFLICT (repository, name) DO UPDATE
         SET blob = excluded.blob, updated_at = excluded.updated_at, deleted_at = excluded.deleted_at,
             pulls = excluded.pulls, pulled_at = excluded.pulled_at",
        params![repository, blob, at],
    )
}

/// Copies tags of a repository to the trash: those that the next deletion of `limit` tags before `started_at`
/// deletes.
pub(in crate::metadata) fn keep_first_tags(
    sql: Sql<'_>,
    repository: i64,
    started_at: i64,
    limit: usize,
    at: i64,
) -> Result<(), StoreError> {
    sql.send(
        "INSERT INTO deleted_tags (repository, name, blob, updated_at, deleted_at, pulls, pulled_at)
         SELECT r.name, t.name, t.blob, t.updated_at, ?4, t.pulls, t.pulled_at
         FROM tags t JOIN repositories r ON r.id = t.repository
         WHERE t.repository = ?1 AND t.name IN (
            SELECT name FROM tags WHERE repository = ?1 AND updated_at <= ?2 ORDER BY name LIMIT ?3)
         ON CONFLICT (repository, name) DO UPDATE
         SET blob = excluded.blob, updated_at = excluded.updated_at, deleted_at = excluded.deleted_at,
             pulls = excluded.pulls, pulled_at = excluded.pulled_at",
        params![repository, started_at, columns::limit_in(limit), at],
    )
}

/// Copies the link of a blob in a repository to the trash.
pub(in crate::metadata) fn keep_link(
    sql: Sql<'_>,
    repository: i64,
    blob: i64,
    at: i64,
) -> Result<(), StoreError> {
    sql.send(
        "INSERT INTO deleted_links (repository, blob, deleted_at)
         SELECT r.name, l.blob, ?3 FROM blob_links l JOIN repositories r ON r.id = l.repository
         WHERE l.repository = ?1 AND l.blob = ?2
         ON CONFLICT (repository, blob) DO UPDATE SET deleted_at = excluded.deleted_at",
        params![repository, blob, at],
    )
}

/// Takes a manifest out of the trash without restoring it, because it was pushed again.
pub(in crate::metadata) fn forget(
    sql: Sql<'_>,
    repository: &RepositoryName,
    blob: i64,
) -> Result<(), StoreError> {
    sql.send(
        "DELETE FROM deleted_manifests WHERE repository = ?1 AND blob = ?2",
        params![repository.as_str(), blob],
    )
}

/// The changes of [`restore`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The restored manifests: the requested one, its children, and the referrers that were deleted with it.
    pub manifests: Vec<Digest>,
    /// The tags that point to them again. A tag that exists stays as it is.
    pub tags: Vec<Tag>,
}

/// Restores a manifest from the trash with its children, its links and its tags. Returns `None` if the trash
/// does not hold it.
pub(in crate::metadata) fn restore(
    sql: Sql<'_>,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Option<Restored>, StoreError> {
    let trashed = sql.first(
        "SELECT d.blob FROM deleted_manifests d JOIN blobs b ON b.id = d.blob
         WHERE d.repository = ?1 AND b.digest = ?2",
        params![repository.as_str(), columns::key(digest)],
        |row| row.get::<i64>(0),
    )?;
    let Some(blob) = trashed else { return Ok(None) };
    let mut restored = Restored::default();
    let mut waiting = vec![blob];
    while let Some(blob) = waiting.pop() {
        restore_one(sql, repository, blob, &mut waiting, &mut restored)?;
    }
    Ok(Some(restored))
}

/// Restores one manifest. Adds to `waiting` the trashed manifests that belong to it.
fn restore_one(
    sql: Sql<'_>,
    repository: &RepositoryName,
    blob: i64,
    waiting: &mut Vec<i64>,
    restored: &mut Restored,
) -> Result<(), StoreError> {
    let name = repository.as_str();
    let row = sql.first(
        "SELECT b.digest, d.is_index, d.description, d.artifact_type, d.subject FROM deleted_manifests d
         JOIN blobs b ON b.id = d.blob WHERE d.repository = ?1 AND d.blob = ?2",
        params![name, blob],
        |row| {
            let subject: Option<Vec<u8>> = row.get(4)?;
            Ok((
                columns::digest(row, 0)?,
                row.get::<bool>(1)?,
                row.get::<String>(2)?,
                row.get::<Option<String>>(3)?,
                subject,
            ))
        },
    )?;
    // Two indexes may share a child.
    let Some((digest, is_index, description, artifact_type, subject)) = row else { return Ok(()) };
    let now = columns::now();
    let is_new = repositories::find(sql, repository)?.is_none();
    let id = repositories::find_or_create_at(sql, repository, now)?;
    if is_new {
        repositories::describe(sql, id, &description)?;
    }
    sql.send(
        "INSERT INTO manifests (repository, blob, media_type, artifact_type, annotations, is_index, pushed_at, pulls,
                                pulled_at, fetched)
         SELECT ?1, blob, media_type, artifact_type, annotations, is_index, pushed_at, pulls, pulled_at, fetched
         FROM deleted_manifests
         WHERE repository = ?2 AND blob = ?3",
        params![id, name, blob],
    )?;
    if let Some(subject) = subject {
        sql.send(
            "INSERT INTO referrers (repository, subject, digest, artifact_type, blob)
             VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
            params![id, subject, columns::key(&digest), artifact_type, blob],
        )?;
    }
    repositories::add_manifest(sql, id)?;
    append(sql, NewChange::of(ChangeKind::ManifestRestored, repository).digest(digest).for_view(true))?;
    restore_links(sql, repository, id, blob)?;
    let target = tags::Target { digest: &digest, blob, is_index };
    restore_tags(sql, repository, id, target, &mut restored.tags)?;
    waiting.extend(sql.all(
        "SELECT d.blob FROM manifest_parts p JOIN deleted_manifests d ON d.repository = ?1 AND d.blob = p.blob
         WHERE p.manifest = ?2 AND p.is_manifest = 1",
        params![name, blob],
        |row| row.get::<i64>(0),
    )?);
    // A referrer that was deleted on its own stays deleted.
    waiting.extend(sql.all(
        "SELECT f.blob FROM deleted_manifests d
         JOIN deleted_manifests f ON f.repository = d.repository AND f.subject = ?3
         WHERE d.repository = ?1 AND d.blob = ?2 AND (f.batch = d.batch OR f.run = d.run)",
        params![name, blob, columns::key(&digest)],
        |row| row.get::<i64>(0),
    )?);
    forget(sql, repository, blob)?;
    repositories::touch(sql, id, now)?;
    restored.manifests.push(digest);
    Ok(())
}

/// Restores the deleted links of the parts of a manifest.
fn restore_links(
    sql: Sql<'_>,
    repository: &RepositoryName,
    id: i64,
    manifest: i64,
) -> Result<(), StoreError> {
    let blobs: Vec<(i64, Digest)> = sql.all(
        "SELECT DISTINCT l.blob, b.digest FROM manifest_parts p
         JOIN deleted_links l ON l.repository = ?1 AND l.blob = p.blob JOIN blobs b ON b.id = l.blob
         WHERE p.manifest = ?2",
        params![repository.as_str(), manifest],
        |row| Ok((row.get(0)?, columns::digest(row, 1)?)),
    )?;
    for (blob, digest) in blobs {
        super::blobs::link_in(sql, id, blob, columns::now())?;
        sql.send(
            "DELETE FROM deleted_links WHERE repository = ?1 AND blob = ?2",
            params![repository.as_str(), blob],
        )?;
        append(sql, NewChange::of(ChangeKind::BlobLinked, repository).digest(digest).for_view(true))?;
    }
    Ok(())
}

/// Points the deleted tags of a manifest to it again, except those that exist.
fn restore_tags(
    sql: Sql<'_>,
    repository: &RepositoryName,
    id: i64,
    target: tags::Target<'_>,
    restored: &mut Vec<Tag>,
) -> Result<(), StoreError> {
    let name = repository.as_str();
    let deleted: Vec<(Tag, i64, i64, Option<i64>)> = sql.all(
        "SELECT name, updated_at, pulls, pulled_at FROM deleted_tags
         WHERE repository = ?1 AND blob = ?2 ORDER BY name",
        params![name, target.blob],
        |row| Ok((columns::text(row, 0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
    )?;
    for (tag, updated_at, pulls, pulled_at) in deleted {
        sql.send(
            "DELETE FROM deleted_tags WHERE repository = ?1 AND name = ?2",
            params![name, tag.as_str()],
        )?;
        let exists =
            sql.exists("SELECT 1 FROM tags WHERE repository = ?1 AND name = ?2", params![id, tag.as_str()])?;
        if !exists {
            if let Some(moved) = tags::point(sql, (id, repository), &tag, target, updated_at)? {
                append(sql, moved.for_view(true))?;
            }
            sql.send(
                "UPDATE tags SET pulls = ?3, pulled_at = ?4 WHERE repository = ?1 AND name = ?2",
                params![id, tag.as_str(), pulls, pulled_at],
            )?;
            restored.push(tag);
        }
    }
    Ok(())
}
