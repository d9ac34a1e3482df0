//! Rows of tags: set, delete, and find by manifest.

use oci::{Digest, RepositoryName, Tag};

use super::super::sql::{Sql, params};
use super::super::{ChangeKind, ContentRefusal, NewChange, columns};
use super::blobs;
use super::outbox::append;
use super::repositories::find;
use crate::StoreError;

/// Whether a tag `t` is one of cosign, as `oci::CosignKind` defines it. Such a tag is neither listed nor
/// counted for people: the page of its image shows its content. Its range of names comes first, so that other
/// tags cost nothing.
macro_rules! is_cosign_tag {
    () => {
        "(t.name > 'sha256-' AND t.name < 'sha256.' AND SUBSTR(t.name, 72) IN ('.sig', '.att', '.sbom')
          AND TRIM(SUBSTR(t.name, 8, 64), '0123456789abcdef') = '')"
    };
}
pub(in crate::metadata) use is_cosign_tag;

/// Deletes a tag. Returns `false` if it was not there.
pub(in crate::metadata) fn delete(
    sql: Sql<'_>,
    repository: &RepositoryName,
    tag: &Tag,
) -> Result<Option<Digest>, StoreError> {
    let Some(id) = find(sql, repository)? else { return Ok(None) };
    let Some(previous) = manifest_of(sql, id, tag)? else { return Ok(None) };
    sql.check_deletion(repository, tag)?;
    sql.send("DELETE FROM tags WHERE repository = ?1 AND name = ?2", params![id, tag.as_str()])?;
    append(sql, deleted_change(repository, tag, previous))?;
    Ok(Some(previous))
}

/// Asks the rules on tags whether content may be removed from a repository: not while an index or image needs
/// it whose tag may not be deleted. The tags of a manifest itself are not asked.
pub(in crate::metadata) fn check_part_removal(
    sql: Sql<'_>,
    repository: &RepositoryName,
    id: i64,
    blob: i64,
) -> Result<(), StoreError> {
    if !sql.tag_rules().is_some_and(|rules| rules.has_tag_rules(repository)) {
        return Ok(());
    }
    let tags: Vec<Tag> = sql.all(
        "WITH RECURSIVE needing (blob) AS (
             SELECT p.manifest FROM manifest_parts p
             JOIN manifests m ON m.repository = ?1 AND m.blob = p.manifest WHERE p.blob = ?2
             UNION
             SELECT p.manifest FROM needing n JOIN manifest_parts p ON p.blob = n.blob
             JOIN manifests m ON m.repository = ?1 AND m.blob = p.manifest
         )
         SELECT t.name FROM needing n JOIN tags t ON t.repository = ?1 AND t.blob = n.blob ORDER BY t.name",
        params![id, blob],
        |row| columns::text(row, 0),
    )?;
    for tag in tags {
        match sql.check_deletion(repository, &tag) {
            Err(StoreError::TagRefused(refused)) => {
                let (repository, tag, rule) = *refused;
                let digest = blobs::digest_of(sql, blob)?;
                let refusal = ContentRefusal { digest, repository, tag, rule };
                return Err(StoreError::ContentRefused(Box::new(refusal)));
            }
            checked => checked?,
        }
    }
    Ok(())
}

fn manifest_of(sql: Sql<'_>, repository: i64, tag: &Tag) -> Result<Option<Digest>, StoreError> {
    sql.first(
        "SELECT b.digest FROM tags t JOIN blobs b ON b.id = t.blob WHERE t.repository = ?1 AND t.name = ?2",
        params![repository, tag.as_str()],
        |row| columns::digest(row, 0),
    )
}

pub(in crate::metadata) fn deleted_change(
    repository: &RepositoryName,
    tag: &Tag,
    previous: Digest,
) -> NewChange {
    NewChange::of(ChangeKind::TagDeleted, repository).tag(tag).previous(Some(previous)).for_view(true)
}

/// The manifest that a tag gets.
#[derive(Clone, Copy)]
pub(in crate::metadata) struct Target<'a> {
    pub(in crate::metadata) digest: &'a Digest,
    /// The id of the digest.
    pub(in crate::metadata) blob: i64,
    pub(in crate::metadata) is_index: bool,
}

/// Points a tag to a manifest. Returns the change if the tag pointed elsewhere before.
pub(in crate::metadata) fn point(
    sql: Sql<'_>,
    (repository, name): (i64, &RepositoryName),
    tag: &Tag,
    Target { digest, blob, is_index }: Target<'_>,
    at: i64,
) -> Result<Option<NewChange>, StoreError> {
    let before: Option<(i64, bool)> = sql.first(
        "SELECT blob, hidden FROM tags WHERE repository = ?1 AND name = ?2",
        params![repository, tag.as_str()],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    // A tag with the spelling of a fallback tag is one only if it points to an index.
    let hidden = is_index && tag.is_referrers_tag();
    let previous = match before {
        Some((before, _)) if before != blob => {
            sql.check_move(name, tag)?;
            manifest_of(sql, repository, tag)?
        }
        _ => None,
    };
    sql.send(
        "INSERT INTO tags (repository, name, blob, hidden, updated_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (repository, name) DO UPDATE
         SET blob = excluded.blob, hidden = excluded.hidden, updated_at = excluded.updated_at",
        params![repository, tag.as_str(), blob, i64::from(hidden), at],
    )?;
    let moved = NewChange::of(ChangeKind::TagMoved, name).tag(tag).digest(*digest).previous(previous);
    Ok((before != Some((blob, hidden))).then_some(moved))
}

/// The id of the manifest that a tag points to.
pub(in crate::metadata) fn target(
    sql: Sql<'_>,
    repository: i64,
    tag: &Tag,
) -> Result<Option<i64>, StoreError> {
    sql.first(
        "SELECT blob FROM tags WHERE repository = ?1 AND name = ?2",
        params![repository, tag.as_str()],
        |row| row.get(0),
    )
}

/// The tags that point to the manifest with the id `blob`.
pub(in crate::metadata) fn pointing_to(
    sql: Sql<'_>,
    repository: i64,
    blob: i64,
) -> Result<Vec<Tag>, StoreError> {
    sql.all("SELECT name FROM tags WHERE repository = ?1 AND blob = ?2", params![repository, blob], |row| {
        columns::text(row, 0)
    })
}
