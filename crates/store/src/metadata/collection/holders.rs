//! The reachability rule: which row holds a manifest, a link or content.
//!
//! A dry run passes the rows that it would have removed as [`Gone`]. They hold nothing.

use std::collections::HashSet;

use super::super::columns::key;
use super::super::rows::blobs::id_of;
use super::super::sql::{Both, Row, Sql, params};
use super::super::{columns, view_state};
use crate::StoreError;
use oci::{CosignKind, Digest, Tag};

/// The rows that a dry run has removed. Empty in a real collection.
#[derive(Debug, Default)]
pub(super) struct Gone {
    /// Repository and manifest.
    pub(super) manifests: HashSet<(i64, i64)>,
    /// Repository and blob.
    pub(super) links: HashSet<(i64, i64)>,
    /// Repository and name.
    pub(super) tags: HashSet<(i64, String)>,
    /// The name of the repository, and the manifest or blob in the trash.
    pub(super) trash: HashSet<(String, i64)>,
}

/// A repository by its id and name.
#[derive(Clone, Debug)]
pub(super) struct Repository {
    pub(super) id: i64,
    pub(super) name: String,
}

impl Repository {
    pub(super) fn read(sql: Sql<'_>, id: i64) -> Result<Option<Self>, StoreError> {
        let name = sql.first("SELECT name FROM repositories WHERE id = ?1", params![id], |row| row.get(0))?;
        Ok(name.map(|name| Self { id, name }))
    }
}

/// The row that holds a manifest or a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Tag(String),
    /// A manifest of the repository that lists it.
    Manifest(i64),
    /// A manifest in the trash that lists it.
    Deleted(i64),
    Subject(i64),
    /// The subject, in the trash.
    DeletedSubject(i64),
}

/// Returns the first row that holds a manifest of a repository.
pub(super) fn of_manifest(
    sql: Sql<'_>,
    repository: &Repository,
    blob: i64,
    gone: &Gone,
) -> Result<Option<Holder>, StoreError> {
    let mut found = None;
    sql.each_while(
        "SELECT name FROM tags WHERE repository = ?1 AND blob = ?2",
        params![repository.id, blob],
        |row| {
            let tag = (repository.id, row.get::<String>(0)?);
            if !gone.tags.contains(&tag) {
                found = Some(Holder::Tag(tag.1));
            }
            Ok(found.is_none())
        },
    )?;
    if found.is_none() {
        found = of_part(sql, repository, blob, gone)?;
    }
    if found.is_none() {
        found = subject(sql, repository, blob, gone)?;
    }
    Ok(found)
}

/// A blob that more manifests list is shared, such as the empty config of artifacts. Its holder in a
/// repository is then looked for among the manifests of the repository: each push to one of 75,000 such
/// repositories read all others, which took 100 ms.
const SHARED: i64 = 64;

fn is_shared(sql: Sql<'_>, blob: i64) -> Result<bool, StoreError> {
    sql.exists("SELECT 1 FROM manifest_parts WHERE blob = ?1 LIMIT 1 OFFSET ?2", params![blob, SHARED])
}

/// Whether a manifest of a repository lists a manifest or blob.
pub(in crate::metadata) fn is_listed(sql: Sql<'_>, repository: i64, blob: i64) -> Result<bool, StoreError> {
    sql.exists(manifests_that_list(sql, blob)?, params![repository, blob])
}

/// The query for the manifests of a table in the repository `?1` that list the blob `?2`. In SQLite, `CROSS
/// JOIN` fixes the order, which depends on the first argument; PostgreSQL chooses it itself.
macro_rules! that_list {
    ($is_shared:expr, $table:literal) => {
        Both {
            sqlite: match $is_shared {
                true => concat!(
                    "SELECT m.blob FROM ",
                    $table,
                    " m CROSS JOIN manifest_parts p ON p.blob = ?2 AND p.manifest = m.blob WHERE m.repository = ?1"
                ),
                false => concat!(
                    "SELECT m.blob FROM manifest_parts p CROSS JOIN ",
                    $table,
                    " m ON m.repository = ?1 AND m.blob = p.manifest WHERE p.blob = ?2"
                ),
            },
            postgres: concat!(
                "SELECT m.blob FROM ",
                $table,
                " m JOIN manifest_parts p ON p.blob = ?2 AND p.manifest = m.blob WHERE m.repository = ?1"
            ),
        }
    };
}

fn manifests_that_list(sql: Sql<'_>, blob: i64) -> Result<&'static str, StoreError> {
    Ok(sql.either(that_list!(is_shared(sql, blob)?, "manifests")))
}

/// The same for deleted manifests, whose repository has a name.
fn deleted_manifests_that_list(sql: Sql<'_>, blob: i64) -> Result<&'static str, StoreError> {
    Ok(sql.either(that_list!(is_shared(sql, blob)?, "deleted_manifests")))
}

/// Returns the first manifest of a repository that lists a manifest or blob.
pub(super) fn of_part(
    sql: Sql<'_>,
    repository: &Repository,
    blob: i64,
    gone: &Gone,
) -> Result<Option<Holder>, StoreError> {
    let mut found = None;
    sql.each_while(manifests_that_list(sql, blob)?, params![repository.id, blob], |row| {
        let manifest = row.get(0)?;
        if !gone.manifests.contains(&(repository.id, manifest)) {
            found = Some(Holder::Manifest(manifest));
        }
        Ok(found.is_none())
    })?;
    if found.is_some() {
        return Ok(found);
    }
    sql.each_while(deleted_manifests_that_list(sql, blob)?, params![repository.name, blob], |row| {
        let manifest = row.get(0)?;
        if !gone.trash.contains(&(repository.name.clone(), manifest)) {
            found = Some(Holder::Deleted(manifest));
        }
        Ok(found.is_none())
    })?;
    Ok(found)
}

/// Returns the subject of a manifest, if the repository or its trash has it.
fn subject(
    sql: Sql<'_>,
    repository: &Repository,
    blob: i64,
    gone: &Gone,
) -> Result<Option<Holder>, StoreError> {
    let subjects: Vec<i64> = sql.all(
        "SELECT b.id FROM referrers f JOIN blobs b ON b.digest = f.subject
         WHERE f.repository = ?1 AND f.blob = ?2",
        params![repository.id, blob],
        |row| row.get(0),
    )?;
    for subject in subjects {
        if is_manifest(sql, repository.id, subject)? && !gone.manifests.contains(&(repository.id, subject)) {
            return Ok(Some(Holder::Subject(subject)));
        }
        let is_deleted = sql.exists(
            "SELECT 1 FROM deleted_manifests WHERE repository = ?1 AND blob = ?2",
            params![repository.name, subject],
        )?;
        if is_deleted && !gone.trash.contains(&(repository.name.clone(), subject)) {
            return Ok(Some(Holder::DeletedSubject(subject)));
        }
    }
    Ok(None)
}

pub(super) fn is_manifest(sql: Sql<'_>, repository: i64, blob: i64) -> Result<bool, StoreError> {
    sql.exists("SELECT 1 FROM manifests WHERE repository = ?1 AND blob = ?2", params![repository, blob])
}

/// The row that holds content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ContentHolder {
    Manifest(i64),
    Link(i64),
    /// The trash of the repository of this name, until its grace period ends.
    Trash(String),
    /// A manifest that lists it without a link.
    Part(i64),
    /// An upload that is about to commit it.
    Lease,
}

/// Reads the holder in a row.
type ReadHolder = fn(&Row<'_>) -> Result<ContentHolder, StoreError>;

/// Returns the first row that holds content.
pub(super) fn of_content(sql: Sql<'_>, blob: i64, gone: &Gone) -> Result<Option<ContentHolder>, StoreError> {
    let statements: [(&str, ReadHolder); 4] = [
        ("SELECT repository FROM blob_links WHERE blob = ?1", |row| row.get(0).map(ContentHolder::Link)),
        ("SELECT repository FROM manifests WHERE blob = ?1", |row| row.get(0).map(ContentHolder::Manifest)),
        ("SELECT repository FROM deleted_manifests WHERE blob = ?1", |row| {
            row.get(0).map(ContentHolder::Trash)
        }),
        ("SELECT repository FROM deleted_links WHERE blob = ?1", |row| row.get(0).map(ContentHolder::Trash)),
    ];
    let mut found = None;
    for (statement, read) in statements {
        sql.each_while(statement, params![blob], |row| {
            let holder = read(row)?;
            let is_gone = match &holder {
                ContentHolder::Link(repository) => gone.links.contains(&(*repository, blob)),
                ContentHolder::Manifest(repository) => gone.manifests.contains(&(*repository, blob)),
                ContentHolder::Trash(repository) => gone.trash.contains(&(repository.clone(), blob)),
                ContentHolder::Part(_) | ContentHolder::Lease => false,
            };
            if !is_gone {
                found = Some(holder);
            }
            Ok(found.is_none())
        })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    sql.each_while(
        "SELECT p.manifest, m.repository, NULL FROM manifest_parts p JOIN manifests m ON m.blob = p.manifest
         WHERE p.blob = ?1
         UNION ALL
         SELECT p.manifest, NULL, d.repository FROM manifest_parts p
         JOIN deleted_manifests d ON d.blob = p.manifest WHERE p.blob = ?1",
        params![blob],
        |row| {
            let manifest = row.get(0)?;
            let is_gone = match (row.get::<Option<i64>>(1)?, row.get::<Option<String>>(2)?) {
                (Some(repository), _) => gone.manifests.contains(&(repository, manifest)),
                (None, Some(repository)) => gone.trash.contains(&(repository, manifest)),
                (None, None) => false,
            };
            if !is_gone {
                found = Some(ContentHolder::Part(manifest));
            }
            Ok(found.is_none())
        },
    )?;
    if found.is_some() {
        return Ok(found);
    }
    let is_leased = sql.exists(
        "SELECT 1 FROM blobs b JOIN leases l ON l.digest = b.digest WHERE b.id = ?1",
        params![blob],
    )?;
    Ok(is_leased.then_some(ContentHolder::Lease))
}

/// The fallback tags of a subject in a repository: the tags by which older clients find referrers, and those
/// of cosign.
pub(super) fn fallback_tags(
    sql: Sql<'_>,
    repository: i64,
    subject: &Digest,
) -> Result<Vec<(String, i64)>, StoreError> {
    let [signature, attestation, sbom] = CosignKind::ALL.map(|kind| kind.tag_of(subject));
    let name = |tag: Option<Tag>| tag.map(|tag| tag.as_str().to_owned());
    sql.all(
        "SELECT name, blob FROM tags WHERE repository = ?1
           AND (name = ?2 AND hidden = 1 OR name IN (?3, ?4, ?5))",
        params![repository, subject.referrers_tag(), name(signature), name(attestation), name(sbom)],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// The digest and size of content.
pub(super) fn record(sql: Sql<'_>, blob: i64) -> Result<Option<(Digest, u64)>, StoreError> {
    sql.first("SELECT digest, COALESCE(size, 0) FROM blobs WHERE id = ?1", params![blob], |row| {
        Ok((columns::digest(row, 0)?, columns::count(row, 1)?))
    })
}

/// Whether a part of the repository's view could not be adopted. The images behind it may need any of its
/// links.
pub(super) fn has_problems(sql: Sql<'_>, repository: &Repository) -> Result<bool, StoreError> {
    Ok(view_state::problems_of(sql, &repository.name)? > 0)
}

/// The id of content, unless a collection deletes it.
pub(super) fn find_content(sql: Sql<'_>, digest: &Digest) -> Result<Option<i64>, StoreError> {
    id_of(sql, digest)
}

/// Whether the lease of some content exists.
pub(super) fn is_leased(sql: Sql<'_>, digest: &Digest) -> Result<bool, StoreError> {
    sql.exists("SELECT 1 FROM leases WHERE digest = ?1", params![key(digest)])
}
