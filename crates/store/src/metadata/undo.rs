//! Undo: points a tag to an earlier manifest, from the repository or the trash, and takes back a retention
//! run.

use std::time::SystemTime;

use oci::{Digest, RepositoryName, Tag};

use super::rows::outbox::append;
use super::rows::quotas::within;
use super::rows::repositories::{find, touch};
use super::rows::{manifests, tags, trash};
use super::sql::{Sql, params};
use super::writer::Durability;
use super::{Metadata, columns};
use crate::StoreError;

/// The number of tags that one transaction restores.
const BATCH: usize = 200;

/// The state that a tag gets back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UndoTarget {
    /// The state before the last change.
    Last,
    /// The state at this time.
    At(SystemTime),
    /// This manifest.
    To(Digest),
}

/// The result of an undo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UndoOutcome {
    /// The tag points to `to` again.
    Done {
        /// The manifest before the undo; `None` if the tag did not exist.
        from: Option<Digest>,
        /// The manifest after it.
        to: Digest,
        /// Other tags of this manifest that came back from the trash with it.
        restored: Vec<Tag>,
    },
    /// The tag points to this manifest already.
    Unchanged(Digest),
    /// No change of the tag is recorded.
    NoHistory,
    /// The last change created the tag.
    WasCreated,
    /// The tag did not exist at the given time.
    DidNotExist,
    /// The manifest is neither in the repository nor in the trash.
    Gone(Digest),
    /// Neither is it, and the history of the repository does not name it.
    Unknown(Digest),
}

/// A tag that a retention run had deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunTag {
    /// Its repository.
    pub repository: RepositoryName,
    /// The tag.
    pub tag: Tag,
    /// Its manifest.
    pub digest: Digest,
    /// Whether it is back, perhaps since an earlier undo. Otherwise a new tag of this name exists, or its
    /// manifest is gone.
    pub is_restored: bool,
    /// Whether the manifest is gone for good.
    pub is_gone: bool,
}

impl Metadata {
    /// Points a tag to an earlier manifest.
    pub async fn undo(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        target: UndoTarget,
    ) -> Result<UndoOutcome, StoreError> {
        let (repository, tag) = (repository.clone(), tag.clone());
        self.write(Durability::Disk, move |sql| undo(sql, &repository, &tag, target)).await
    }

    /// Restores tags that a retention run deleted, beginning after the entry `after` of the history. Returns
    /// them, and the entry to go on after, unless there are no more.
    pub async fn undo_run(&self, run: &str, after: i64) -> Result<(Vec<RunTag>, Option<i64>), StoreError> {
        let run = run.to_owned();
        self.write(Durability::Disk, move |sql| undo_run(sql, &run, after)).await
    }
}

fn undo(
    sql: Sql<'_>,
    repository: &RepositoryName,
    tag: &Tag,
    target: UndoTarget,
) -> Result<UndoOutcome, StoreError> {
    let current = current(sql, repository, tag)?;
    let to = match target {
        UndoTarget::To(digest) => digest,
        UndoTarget::Last => {
            let last = sql.first(
                "SELECT previous FROM tag_history WHERE repository = ?1 AND tag = ?2 ORDER BY id DESC LIMIT 1",
                params![repository.as_str(), tag.as_str()],
                |row| columns::digest_or_null(row, 0),
            )?;
            match last {
                None => return Ok(UndoOutcome::NoHistory),
                Some(None) => return Ok(UndoOutcome::WasCreated),
                Some(Some(previous)) => previous,
            }
        }
        UndoTarget::At(time) => match state_at(sql, repository, tag, time)?.unwrap_or(current) {
            None => return Ok(UndoOutcome::DidNotExist),
            Some(digest) => digest,
        },
    };
    if current == Some(to) {
        return Ok(UndoOutcome::Unchanged(to));
    }
    match within(sql, repository, || put_back(sql, repository, tag, &to))? {
        Some(restored) => Ok(UndoOutcome::Done { from: current, to, restored }),
        None if is_in_history(sql, repository, &to)? => Ok(UndoOutcome::Gone(to)),
        None => Ok(UndoOutcome::Unknown(to)),
    }
}

/// Whether a tag of the repository ever pointed to a manifest, as far as the history is kept.
fn is_in_history(sql: Sql<'_>, repository: &RepositoryName, digest: &Digest) -> Result<bool, StoreError> {
    sql.exists(
        "SELECT 1 FROM tag_history WHERE repository = ?1 AND (digest = ?2 OR previous = ?2) LIMIT 1",
        params![repository.as_str(), columns::key(digest)],
    )
}

/// The manifest of a tag at a time, if its history says it.
fn state_at(
    sql: Sql<'_>,
    repository: &RepositoryName,
    tag: &Tag,
    time: SystemTime,
) -> Result<Option<Option<Digest>>, StoreError> {
    let (repository, tag, time) = (repository.as_str(), tag.as_str(), columns::time_in(time));
    let before = sql.first(
        "SELECT digest FROM tag_history WHERE repository = ?1 AND tag = ?2 AND at <= ?3 ORDER BY id DESC LIMIT 1",
        params![repository, tag, time],
        |row| columns::digest_or_null(row, 0),
    )?;
    if before.is_some() {
        return Ok(before);
    }
    // The first recorded change holds the earlier digest of the tag.
    sql.first(
        "SELECT previous FROM tag_history WHERE repository = ?1 AND tag = ?2 AND at > ?3 ORDER BY id LIMIT 1",
        params![repository, tag, time],
        |row| columns::digest_or_null(row, 0),
    )
}

fn current(sql: Sql<'_>, repository: &RepositoryName, tag: &Tag) -> Result<Option<Digest>, StoreError> {
    sql.first(
        "SELECT b.digest FROM repositories r JOIN tags t ON t.repository = r.id AND t.name = ?2
         JOIN blobs b ON b.id = t.blob WHERE r.name = ?1",
        params![repository.as_str(), tag.as_str()],
        |row| columns::digest(row, 0),
    )
}

/// Points a tag to a manifest, which may be in the trash. Returns the other tags that came back with it, or
/// `None` if the manifest is gone.
fn put_back(
    sql: Sql<'_>,
    repository: &RepositoryName,
    tag: &Tag,
    digest: &Digest,
) -> Result<Option<Vec<Tag>>, StoreError> {
    let stored = |sql| -> Result<Option<(i64, i64, bool)>, StoreError> {
        let Some(id) = find(sql, repository)? else { return Ok(None) };
        Ok(manifests::find(sql, id, digest)?.map(|(blob, is_index)| (id, blob, is_index)))
    };
    let mut restored = Vec::new();
    let found = match stored(sql)? {
        Some(found) => found,
        None => {
            let Some(back) = trash::restore(sql, repository, digest)? else { return Ok(None) };
            restored = back.tags;
            match stored(sql)? {
                Some(found) => found,
                None => return Ok(None),
            }
        }
    };
    let (id, blob, is_index) = found;
    restored.retain(|other| other != tag);
    let now = columns::now();
    let current = current(sql, repository, tag)?;
    // A deleted tag is as old as its manifest, so that rules on ages see no new push.
    let at = match current {
        None => pushed_at(sql, id, blob)?.unwrap_or(now),
        Some(_) => now,
    };
    let target = tags::Target { digest, blob, is_index };
    if current.as_ref() != Some(digest)
        && let Some(moved) = tags::point(sql, (id, repository), tag, target, at)?
    {
        append(sql, moved.for_view(true))?;
    }
    touch(sql, id, now)?;
    Ok(Some(restored))
}

fn pushed_at(sql: Sql<'_>, repository: i64, manifest: i64) -> Result<Option<i64>, StoreError> {
    sql.first(
        "SELECT pushed_at FROM manifests WHERE repository = ?1 AND blob = ?2",
        params![repository, manifest],
        |row| row.get(0),
    )
}

fn undo_run(sql: Sql<'_>, run: &str, after: i64) -> Result<(Vec<RunTag>, Option<i64>), StoreError> {
    let deleted: Vec<(i64, RepositoryName, Tag, Digest)> = sql.all(
        "SELECT id, repository, tag, previous FROM tag_history
         WHERE run = ?1 AND id > ?2 AND digest IS NULL AND previous IS NOT NULL ORDER BY id LIMIT ?3",
        params![run, after, columns::limit_in(BATCH)],
        |row| Ok((row.get(0)?, columns::text(row, 1)?, columns::text(row, 2)?, columns::digest(row, 3)?)),
    )?;
    let next = deleted.last().map(|(id, ..)| *id).filter(|_| deleted.len() == BATCH);
    let mut tags = Vec::with_capacity(deleted.len());
    for (_, repository, tag, digest) in deleted {
        // A tag that was pushed since then stays.
        let now = current(sql, &repository, &tag)?;
        let is_taken = now.is_some_and(|now| now != digest);
        let put_back = || put_back(sql, &repository, &tag, &digest);
        let is_back = !is_taken && (now.is_some() || within(sql, &repository, put_back)?.is_some());
        tags.push(RunTag { repository, tag, digest, is_restored: is_back, is_gone: !is_taken && !is_back });
    }
    Ok((tags, next))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{digest, empty, name, put, tag, tagged};
    use super::*;

    #[tokio::test]
    async fn restored_tag_is_as_old_as_its_image() {
        let (metadata, _directory) = empty();
        put(&metadata, tagged("app", "one", &["a", "other"])).await;
        let updated = async || {
            let records = metadata.tag_records(&name("app"), None, 9, true).await.unwrap().unwrap();
            records.into_iter().find(|record| record.tag == tag("a")).unwrap().updated_at
        };
        let pushed = updated().await;
        while SystemTime::now() < pushed + std::time::Duration::from_millis(2) {
            tokio::task::yield_now().await;
        }
        for _ in 0..2 {
            metadata.delete_tag(&name("app"), &tag("a")).await.unwrap();
            let undone = metadata.undo(&name("app"), &tag("a"), UndoTarget::Last).await.unwrap();
            assert_eq!(undone, UndoOutcome::Done { from: None, to: digest("one"), restored: Vec::new() });
            assert_eq!(updated().await, pushed);
        }
    }
}
