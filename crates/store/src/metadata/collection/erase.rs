//! Erasure: removes content at once, without grace and trash.

use oci::{Digest, RepositoryName, Tag};

use super::super::rows::erasures::{self, ErasureMark};
use super::super::rows::repositories::find;
use super::super::rows::tags;
use super::super::sql::{Sql, params};
use super::super::writer::Durability;
use super::super::{Metadata, columns};
use super::candidates::Candidate;
use super::content::{DueContent, force_mark};
use super::holders::{self, Repository};
use super::removal::{self, AT_ONCE};
use crate::StoreError;

/// Repositories that are listed at most.
const LISTED: usize = 1_000;

/// The result of an erasure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erased {
    /// The repositories that no longer hold the content.
    pub repositories: Vec<RepositoryName>,
    /// Repositories that still hold it, also in their trash.
    pub held_by: Vec<RepositoryName>,
    /// The tags that pointed to the content.
    pub tags: Vec<(RepositoryName, Tag)>,
    /// The content to delete, if no repository holds it.
    pub content: Option<DueContent>,
    /// Its size in bytes.
    pub bytes: u64,
}

impl Metadata {
    /// Removes a manifest or blob from a repository and its trash, or from all of them, and marks its content
    /// for deletion if no repository holds it. Manifests that list it stay, and cannot be pulled any more.
    /// Returns `None` if there is no such content. A mark keeps the content out until it is pushed again.
    pub async fn erase(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        everywhere: bool,
    ) -> Result<Option<Erased>, StoreError> {
        let (repository, digest) = (repository.clone(), *digest);
        // A leaked secret goes at once, also from an immutable tag, and on a full disk.
        self.free(Durability::Disk, move |sql| {
            let erased = erase(sql.without_tag_rules(), &repository, &digest, everywhere)?;
            if let Some(erased) = &erased {
                erased.repositories.iter().try_for_each(|name| erasures::record(sql, name, &digest))?;
            }
            Ok(erased)
        })
        .await
    }

    /// The mark of content that was erased from a repository and not pushed again.
    pub async fn erasure(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<ErasureMark>, StoreError> {
        let (repository, digest) = (repository.clone(), *digest);
        self.read(move |sql| erasures::find(sql, &repository, &digest)).await
    }
}

pub(super) fn erase(
    sql: Sql<'_>,
    repository: &RepositoryName,
    digest: &Digest,
    everywhere: bool,
) -> Result<Option<Erased>, StoreError> {
    let Some(blob) = holders::find_content(sql, digest)? else { return Ok(None) };
    let holding = holding(sql, blob, None)?;
    // Content that the repository does not hold any more may still be in others.
    if holding.is_empty() || !(everywhere || holding.contains(repository)) {
        return Ok(None);
    }
    let chosen = if everywhere { holding } else { vec![repository.clone()] };
    let bytes = holders::record(sql, blob)?.map_or(0, |(_, bytes)| bytes);
    let mut gone = Vec::new();
    for repository in &chosen {
        if let Some(id) = find(sql, repository)? {
            let pointing = tags::pointing_to(sql, id, blob)?;
            gone.extend(pointing.into_iter().map(|tag| (repository.clone(), tag)));
        }
        remove(sql, repository, blob)?;
    }
    removal::release_parts(sql, blob)?;
    let held_by = self::holding(sql, blob, Some(LISTED))?;
    let content =
        held_by.is_empty().then(|| DueContent { candidate: Candidate::content(blob), digest: *digest });
    if content.is_some() {
        force_mark(sql, blob, digest)?;
    }
    gone.sort();
    Ok(Some(Erased { repositories: chosen, held_by, tags: gone, content, bytes }))
}

/// The repositories that hold content, also in their trash, by name.
fn holding(sql: Sql<'_>, blob: i64, limit: Option<usize>) -> Result<Vec<RepositoryName>, StoreError> {
    sql.all(
        "SELECT r.name AS name FROM manifests m JOIN repositories r ON r.id = m.repository WHERE m.blob = ?1
         UNION SELECT r.name FROM blob_links l JOIN repositories r ON r.id = l.repository WHERE l.blob = ?1
         UNION SELECT repository FROM deleted_manifests WHERE blob = ?1
         UNION SELECT repository FROM deleted_links WHERE blob = ?1
         ORDER BY name LIMIT ?2",
        params![blob, limit.map_or(i64::MAX, columns::limit_in)],
        |row| columns::text(row, 0),
    )
}

fn remove(sql: Sql<'_>, name: &RepositoryName, blob: i64) -> Result<(), StoreError> {
    let mut deleted = 0;
    for table in ["deleted_links", "deleted_tags", "deleted_manifests"] {
        let statement = format!("DELETE FROM {table} WHERE repository = ?1 AND blob = ?2");
        deleted = sql.run(&statement, params![name.as_str(), blob])?;
    }
    let was_manifest = deleted > 0;
    let Some(id) = find(sql, name)? else { return Ok(()) };
    let repository = Repository { id, name: name.to_string() };
    if holders::is_manifest(sql, id, blob)? {
        let all = removal::consequences(sql, id, blob, columns::now(), AT_ONCE, false)?;
        removal::manifest(sql, &repository, blob, all)?;
    } else if was_manifest {
        let all = removal::consequences(sql, id, blob, columns::now(), AT_ONCE, false)?;
        removal::apply(sql, Some(&repository), blob, all)?;
    }
    if sql.exists("SELECT 1 FROM blob_links WHERE repository = ?1 AND blob = ?2", params![id, blob])? {
        removal::link(sql, &repository, blob)?;
    }
    Ok(())
}
