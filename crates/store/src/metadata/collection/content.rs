//! Deletion of content. One transaction marks rows that nothing refers to, and is synced. Then the caller
//! deletes the files. A second transaction deletes the rows. After a crash in between, the next start deletes
//! the files again.
//!
//! Also the leases of uploads: the row is written before a file gets its final name, and goes in the
//! transaction that links the content. A start turns leases of an earlier process into candidates.

use std::time::SystemTime;

use oci::{Digest, RepositoryName};

use super::super::columns::key;
use super::super::rows::blobs::intern_named;
use super::super::sql::{Sql, params};
use super::super::writer::Durability;
use super::super::{Metadata, columns};
use super::candidates::{self, Candidate, Kind};
use super::holders::{self, ContentHolder, Gone};
use super::{Cause, Periods, Removed, before};
use crate::StoreError;

/// Content without links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueContent {
    pub(super) candidate: Candidate,
    /// The digest of the content.
    pub digest: Digest,
}

impl DueContent {
    /// The removal of this content, once its file is deleted.
    #[must_use]
    pub fn removed(&self, bytes: u64) -> Removed {
        let repository: Option<RepositoryName> = None;
        Removed { repository, digest: self.digest, is_manifest: false, cause: Cause::Unreferenced, bytes }
    }
}

impl Metadata {
    /// Returns candidates for the deletion of content, in the order of time after `after`.
    pub async fn due_content(
        &self,
        periods: Periods,
        now: SystemTime,
        after: Option<DueContent>,
        limit: usize,
    ) -> Result<Vec<DueContent>, StoreError> {
        self.read(move |sql| {
            let mut due = Vec::new();
            for kind in [Kind::Content, Kind::Orphan] {
                // Files without a record may belong to images that could not be adopted.
                if kind == Kind::Orphan && sql.exists("SELECT 1 FROM view_problems LIMIT 1", &[])? {
                    continue;
                }
                let after = match after.as_ref().map(|after| &after.candidate) {
                    Some(after) if after.kind == kind => Some(after),
                    Some(after) if after.kind == Kind::Orphan => continue,
                    _ => None,
                };
                let Some(period) = periods.of(kind) else { continue };
                let rest = limit.saturating_sub(due.len());
                for candidate in candidates::due(sql, kind, before(now, period), after, rest)? {
                    if let Some((digest, _)) = holders::record(sql, candidate.blob)? {
                        due.push(DueContent { candidate, digest });
                    }
                }
            }
            Ok(due)
        })
        .await
    }

    /// Marks the content among these candidates that nothing holds, durably, with all earlier changes. Its
    /// files may be deleted afterwards. Returns it with its size in bytes.
    pub async fn mark_content(&self, due: Vec<DueContent>) -> Result<Vec<(DueContent, u64)>, StoreError> {
        self.free(Durability::Disk, move |sql| {
            let mut marked = Vec::new();
            for due in &due {
                if let Some(bytes) = mark(sql, due)? {
                    marked.push((due.clone(), bytes));
                }
            }
            Ok(marked)
        })
        .await
    }

    /// Deletes the rows of marked content whose files are deleted.
    pub async fn delete_content(&self, marked: Vec<DueContent>) -> Result<(), StoreError> {
        self.free(Durability::Process, move |sql| {
            for due in &marked {
                delete_row(sql, due.candidate.blob)?;
                candidates::delete(sql, &due.candidate)?;
            }
            Ok(())
        })
        .await
    }

    /// Returns content that an earlier process has marked, so that its deletion resumes. Clears the marks of
    /// content that something holds again.
    pub async fn marked_content(&self, limit: usize) -> Result<Vec<DueContent>, StoreError> {
        self.free(Durability::Disk, move |sql| {
            loop {
                let marked: Vec<(i64, Digest)> = sql.all(
                    "SELECT id, digest FROM blobs WHERE deleting = 1 ORDER BY id LIMIT ?1",
                    params![columns::limit_in(limit)],
                    |row| Ok((row.get(0)?, columns::digest(row, 1)?)),
                )?;
                let count = marked.len();
                let mut due = Vec::new();
                for (blob, digest) in marked {
                    match holders::of_content(sql, blob, &Gone::default())? {
                        // Erased content may still be listed.
                        None | Some(ContentHolder::Part(_)) => {
                            let candidate = Candidate { since: 0, ..Candidate::content(blob) };
                            due.push(DueContent { candidate, digest });
                        }
                        Some(_) => {
                            sql.send("UPDATE blobs SET deleting = 0 WHERE id = ?1", params![blob])?;
                        }
                    }
                }
                if count == 0 || !due.is_empty() {
                    return Ok(due);
                }
            }
        })
        .await
    }

    /// Records that an upload is about to commit this content. The transaction is not synced: after a power
    /// failure, the file is found by a recount.
    pub async fn lease_blob(&self, digest: &Digest) -> Result<(), StoreError> {
        let digest = *digest;
        self.write(Durability::Process, move |sql| {
            sql.send(
                "INSERT INTO leases (digest, created_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                params![key(&digest), columns::now()],
            )
        })
        .await
    }

    /// Ends leases without a link: what was stored becomes a candidate.
    pub async fn abandon_leases(&self, digests: Vec<Digest>) -> Result<(), StoreError> {
        self.free(Durability::Process, move |sql| {
            for digest in &digests {
                end_lease(sql, digest)?;
                let blob = intern_named(sql, digest)?;
                candidates::add_missing(sql, Candidate::content(blob))?;
            }
            Ok(())
        })
        .await
    }

    /// Ends the leases of an earlier process. Returns their number.
    pub async fn abandon_all_leases(&self) -> Result<usize, StoreError> {
        let leased: Vec<Digest> =
            self.read(|sql| sql.all("SELECT digest FROM leases", &[], |row| columns::digest(row, 0))).await?;
        let count = leased.len();
        if count > 0 {
            self.abandon_leases(leased).await?;
        }
        Ok(count)
    }
}

/// Ends the lease of content that a transaction links.
pub(in crate::metadata) fn end_lease(sql: Sql<'_>, digest: &Digest) -> Result<(), StoreError> {
    sql.send("DELETE FROM leases WHERE digest = ?1", params![key(digest)])
}

/// Marks content unless something holds it. Returns its size.
fn mark(sql: Sql<'_>, due: &DueContent) -> Result<Option<u64>, StoreError> {
    let blob = due.candidate.blob;
    if holders::of_content(sql, blob, &Gone::default())?.is_some() {
        // Its holder will make it a candidate again.
        candidates::delete(sql, &due.candidate)?;
        return Ok(None);
    }
    let bytes = holders::record(sql, blob)?.map_or(0, |(_, bytes)| bytes);
    force_mark(sql, blob, &due.digest)?;
    Ok(Some(bytes))
}

/// Marks content even if a manifest lists it.
pub(super) fn force_mark(sql: Sql<'_>, blob: i64, digest: &Digest) -> Result<(), StoreError> {
    sql.send("UPDATE blobs SET deleting = 1 WHERE id = ?1", params![blob])?;
    // Otherwise a start would restore the file from the journal.
    sql.send("DELETE FROM unsettled_contents WHERE digest = ?1", params![key(digest)])
}

/// Deletes a marked row. It stays without a size if a manifest that was pushed meanwhile names it.
fn delete_row(sql: Sql<'_>, blob: i64) -> Result<(), StoreError> {
    let is_named = sql.exists("SELECT 1 FROM manifest_parts WHERE blob = ?1", params![blob])?
        || sql.exists("SELECT 1 FROM deleted_tags WHERE blob = ?1", params![blob])?;
    let statement = match is_named {
        true => "UPDATE blobs SET size = NULL, damaged = 0, deleting = 0 WHERE id = ?1 AND deleting = 1",
        false => "DELETE FROM blobs WHERE id = ?1 AND deleting = 1",
    };
    sql.send(statement, params![blob])
}
