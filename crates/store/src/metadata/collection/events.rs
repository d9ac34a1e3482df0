//! The consumer of the outbox: a change that may take away the last holder of something makes it a candidate.
//!
//! Changes are read in their order. The background task reads them a minute after the commit, so that most
//! pushes have ended and leave no candidates. A collection and reports read all of them, also those of a push
//! that goes on. Its blobs are then candidates that are due after the period of uploads, and the transaction
//! of the removal checks for a holder again.

use std::time::{Duration, SystemTime};

use oci::{Digest, Tag};

use super::super::rows::{blobs, outbox};
use super::super::sql::{Sql, params};
use super::super::writer::Durability;
use super::super::{ChangeKind, Metadata, columns};
use super::before;
use super::candidates::{Candidate, Kind, add, forget_manifest};
use super::holders::{self, Gone, Repository};
use crate::StoreError;

/// The name of the consumer.
const CONSUMER: &str = "garbage collection";
/// Changes of one transaction.
const BATCH: usize = 256;

impl Metadata {
    /// Registers the consumer. Changes before the first call need a recount.
    pub async fn register_collection(&self) -> Result<(), StoreError> {
        self.changes().register(CONSUMER).await.map(drop)
    }

    /// Turns the changes of the outbox up to some age into candidates.
    pub async fn note_changes(&self, age: Duration) -> Result<(), StoreError> {
        loop {
            let now = SystemTime::now();
            let due = DueChanges::Within { before: before(now, age), now: before(now, Duration::ZERO) };
            let is_due = self.read(move |sql| Ok(!pending(sql, due, 1)?.is_empty())).await?;
            if !is_due {
                return Ok(());
            }
            self.free(Durability::Process, move |sql| consume(sql, due)).await?;
            self.changes().prune().await?;
        }
    }
}

/// The changes to read, in their order up to the first one that is not due.
#[derive(Clone, Copy)]
pub(super) enum DueChanges {
    All,
    /// Those up to the time `before`, and those with a time after `now`: the clock was set back since, and
    /// their age is unknown.
    Within {
        before: i64,
        now: i64,
    },
}

impl DueChanges {
    fn includes(self, at: i64) -> bool {
        match self {
            Self::All => true,
            Self::Within { before, now } => at <= before || at > now,
        }
    }
}

/// A change of the outbox.
struct Seen {
    id: i64,
    at: i64,
    kind: ChangeKind,
    repository: Option<String>,
    tag: Option<Tag>,
    digest: Option<Digest>,
    previous: Option<Digest>,
}

fn pending(sql: Sql<'_>, due: DueChanges, limit: usize) -> Result<Vec<Seen>, StoreError> {
    let digest = |row: &super::super::sql::Row<'_>, index| match row.value(index)? {
        super::super::sql::Value::Null => Ok(None),
        _ => columns::digest(row, index).map(Some),
    };
    let mut changes = sql.all(
        "SELECT id, at, kind, repository, tag, digest, previous FROM changes
         WHERE id > (SELECT cursor FROM change_consumers WHERE name = ?1) ORDER BY id LIMIT ?2",
        params![CONSUMER, columns::limit_in(limit)],
        |row| {
            Ok(Seen {
                id: row.get(0)?,
                at: row.get(1)?,
                kind: columns::text(row, 2)?,
                repository: row.get(3)?,
                tag: columns::text_or_null(row, 4)?,
                digest: digest(row, 5)?,
                previous: digest(row, 6)?,
            })
        },
    )?;
    // A later one that is due waits: the cursor would pass the one before it.
    let count = changes.iter().take_while(|change| due.includes(change.at)).count();
    changes.truncate(count);
    Ok(changes)
}

/// Reads the next changes. Returns whether there may be more.
pub(super) fn consume(sql: Sql<'_>, due: DueChanges) -> Result<bool, StoreError> {
    let changes = pending(sql, due, BATCH)?;
    for change in &changes {
        note(sql, change)?;
    }
    if let Some(last) = changes.last() {
        outbox::acknowledge(sql, CONSUMER, last.id)?;
    }
    Ok(changes.len() == BATCH)
}

fn note(sql: Sql<'_>, change: &Seen) -> Result<(), StoreError> {
    let Some(name) = &change.repository else { return Ok(()) };
    let id: Option<i64> =
        sql.first("SELECT id FROM repositories WHERE name = ?1", params![name], |row| row.get(0))?;
    let Some(id) = id else { return Ok(()) };
    let repository = Repository { id, name: name.clone() };
    let blob = |digest: &Option<Digest>| match digest {
        Some(digest) => blobs::id_of(sql, digest),
        None => Ok(None),
    };
    match change.kind {
        ChangeKind::ManifestPut | ChangeKind::ManifestRestored => {
            if let Some(blob) = blob(&change.digest)? {
                forget_manifest(sql, id, blob)?;
                lost(sql, &repository, blob, None)?;
            }
        }
        ChangeKind::TagMoved => {
            if let Some(blob) = blob(&change.digest)? {
                forget_manifest(sql, id, blob)?;
            }
            // Each push of a referrer by an older client replaces its index. Nothing names the old one.
            let is_fallback = change.tag.as_ref().is_some_and(Tag::is_referrers_tag);
            if let Some(blob) = blob(&change.previous)? {
                lost(sql, &repository, blob, is_fallback.then_some(change.at))?;
            }
        }
        ChangeKind::TagDeleted => {
            if let Some(blob) = blob(&change.previous)? {
                lost(sql, &repository, blob, Some(change.at))?;
            }
        }
        ChangeKind::BlobLinked => {
            if let Some(blob) = blob(&change.digest)? {
                unneeded(sql, &repository, blob)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// A manifest that may have lost its last holder, by a deletion at `deleted`.
fn lost(sql: Sql<'_>, repository: &Repository, blob: i64, deleted: Option<i64>) -> Result<(), StoreError> {
    let used: Option<i64> = sql.first(
        "SELECT CASE WHEN COALESCE(pulled_at, 0) > pushed_at THEN pulled_at ELSE pushed_at END FROM manifests
         WHERE repository = ?1 AND blob = ?2",
        params![repository.id, blob],
        |row| row.get(0),
    )?;
    let Some(used) = used else { return Ok(()) };
    if holders::of_manifest(sql, repository, blob, &Gone::default())?.is_some() {
        return Ok(());
    }
    let (kind, since) = deleted.map_or((Kind::Untagged, used), |at| (Kind::Deleted, at));
    add(sql, Candidate { kind, repository: repository.id, blob, since })
}

/// A link that a manifest may not need yet.
fn unneeded(sql: Sql<'_>, repository: &Repository, blob: i64) -> Result<(), StoreError> {
    let linked_at: Option<i64> = sql.first(
        "SELECT linked_at FROM blob_links WHERE repository = ?1 AND blob = ?2",
        params![repository.id, blob],
        |row| row.get(0),
    )?;
    let Some(since) = linked_at else { return Ok(()) };
    match holders::of_part(sql, repository, blob, &Gone::default())? {
        Some(_) => Ok(()),
        None => add(sql, Candidate { kind: Kind::Link, repository: repository.id, blob, since }),
    }
}
