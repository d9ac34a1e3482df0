//! The transactions of a collection. Each takes a bounded number of candidates.

use std::time::SystemTime;

use accounts::AccountName;

use super::super::changes::EVENTS;
use super::super::sql::{Row, Sql, params};
use super::super::writer::Durability;
use super::super::{Metadata, columns};
use super::candidates::{self, Candidate, Kind};
use super::events;
use super::holders::{self, Gone, Repository};
use super::removal::{self, AT_ONCE};
use super::{Cause, Due, Periods, Purged, Removed, Stage, before};
use crate::StoreError;

/// A step of the trash ends after this number of parts. The parts of one manifest are bounded by its size.
const PARTS: u64 = 2_048;

impl Metadata {
    /// Returns the candidates of a stage whose period has passed, in the order of time after `after`.
    pub async fn due_candidates(
        &self,
        stage: Stage,
        periods: Periods,
        now: SystemTime,
        after: Option<Due>,
        limit: usize,
    ) -> Result<Vec<Due>, StoreError> {
        let Some(period) = periods.of(stage.kind()) else { return Ok(Vec::new()) };
        self.read(move |sql| {
            let after = after.as_ref().map(|due| &due.candidate);
            let found = candidates::due(sql, stage.kind(), before(now, period), after, limit)?;
            let mut due = Vec::with_capacity(found.len());
            for candidate in found {
                let names = sql.first(
                    "SELECT r.name, b.digest FROM repositories r, blobs b WHERE r.id = ?1 AND b.id = ?2",
                    params![candidate.repository, candidate.blob],
                    |row| Ok((columns::text(row, 0)?, columns::digest(row, 1)?)),
                )?;
                if let Some((repository, digest)) = names {
                    due.push(Due { candidate, repository, digest });
                }
            }
            Ok(due)
        })
        .await
    }

    /// Removes the manifests or links among these candidates that nothing holds. Returns them. The
    /// transaction is not synced: [`mark_content`](Self::mark_content) syncs before a file is deleted.
    pub async fn collect_candidates(
        &self,
        due: Vec<Due>,
        periods: Periods,
        now: SystemTime,
    ) -> Result<Vec<Removed>, StoreError> {
        self.free(Durability::Process, move |sql| {
            // A fallback tag goes with its subject, whatever the rules on tags say.
            let sql = sql.without_tag_rules();
            let mut removed = Vec::new();
            // A tag may have moved since the candidates were listed. If there were many changes, the next
            // call goes on.
            if events::consume(sql, events::DueChanges::All)? {
                return Ok(removed);
            }
            for due in &due {
                let Some(decision) = decide(sql, &due.candidate, periods, now, &Gone::default())? else {
                    continue;
                };
                removed.extend(act(sql, due, decision)?);
            }
            Ok(removed)
        })
        .await
    }

    /// Removes trash whose grace period is over. Returns zero rows if there is none.
    pub async fn purge_trash(
        &self,
        periods: Periods,
        now: SystemTime,
        limit: usize,
    ) -> Result<Purged, StoreError> {
        let before = before(now, periods.grace);
        let is_due = self
            .read(move |sql| {
                sql.exists(
                    "SELECT 1 FROM deleted_manifests WHERE deleted_at <= ?1
                     UNION ALL SELECT 1 FROM deleted_links WHERE deleted_at <= ?1
                     UNION ALL SELECT 1 FROM deleted_tags WHERE deleted_at <= ?1 LIMIT 1",
                    params![before],
                )
            })
            .await?;
        if !is_due {
            return Ok(Purged::default());
        }
        self.free(Durability::Process, move |sql| purge(sql.without_tag_rules(), before, limit)).await
    }
}

/// The decision about a candidate.
#[derive(Debug)]
pub(super) enum Decision {
    /// Something holds it, or it does not exist.
    Void,
    /// It is a candidate of another kind or time.
    Becomes(Candidate),
    /// Nothing holds it.
    Remove { repository: Repository, pushed_at: i64, cause: Cause },
}

/// Decides about a manifest or link. `None` leaves the candidate for later.
pub(super) fn decide(
    sql: Sql<'_>,
    candidate: &Candidate,
    periods: Periods,
    now: SystemTime,
    gone: &Gone,
) -> Result<Option<Decision>, StoreError> {
    let Some(repository) = Repository::read(sql, candidate.repository)? else {
        return Ok(Some(Decision::Void));
    };
    match candidate.kind {
        Kind::Deleted | Kind::Untagged => decide_manifest(sql, candidate, repository, periods, now, gone),
        Kind::Link | Kind::ReleasedLink => decide_link(sql, candidate, repository, periods, gone),
        Kind::Content | Kind::Orphan => Ok(Some(Decision::Void)),
    }
}

fn decide_manifest(
    sql: Sql<'_>,
    candidate: &Candidate,
    repository: Repository,
    periods: Periods,
    now: SystemTime,
    gone: &Gone,
) -> Result<Option<Decision>, StoreError> {
    let times = sql.first(
        "SELECT pushed_at, pulled_at FROM manifests WHERE repository = ?1 AND blob = ?2",
        params![candidate.repository, candidate.blob],
        |row| Ok((row.get::<i64>(0)?, row.get::<Option<i64>>(1)?)),
    )?;
    let Some((pushed_at, pulled_at)) = times else { return Ok(Some(Decision::Void)) };
    if holders::of_manifest(sql, &repository, candidate.blob, gone)?.is_some() {
        return Ok(Some(Decision::Void));
    }
    if periods.is_promised(pushed_at) {
        return Ok(None);
    }
    let last_use = pushed_at.max(pulled_at.unwrap_or(0));
    let untagged = Candidate { kind: Kind::Untagged, since: last_use, ..*candidate };
    if candidate.kind == Kind::Deleted {
        return Ok(Some(match candidate.since != AT_ONCE && pushed_at > candidate.since {
            // It was pushed again after the deletion.
            true => Decision::Becomes(untagged),
            false => Decision::Remove { repository, pushed_at, cause: Cause::Deleted },
        }));
    }
    let Some(period) = periods.untagged else { return Ok(None) };
    Ok(Some(match last_use > before(now, period) {
        true => Decision::Becomes(untagged),
        false => Decision::Remove { repository, pushed_at, cause: Cause::Untagged },
    }))
}

fn decide_link(
    sql: Sql<'_>,
    candidate: &Candidate,
    repository: Repository,
    periods: Periods,
    gone: &Gone,
) -> Result<Option<Decision>, StoreError> {
    let linked_at: Option<i64> = sql.first(
        "SELECT linked_at FROM blob_links WHERE repository = ?1 AND blob = ?2",
        params![candidate.repository, candidate.blob],
        |row| row.get(0),
    )?;
    let Some(linked_at) = linked_at else { return Ok(Some(Decision::Void)) };
    if holders::of_part(sql, &repository, candidate.blob, gone)?.is_some() {
        return Ok(Some(Decision::Void));
    }
    if linked_at > candidate.since {
        // Another push uploaded it since.
        return Ok(Some(Decision::Becomes(Candidate { kind: Kind::Link, since: linked_at, ..*candidate })));
    }
    if periods.is_promised(linked_at) || holders::has_problems(sql, &repository)? {
        return Ok(None);
    }
    let cause = if candidate.kind == Kind::Link { Cause::Unused } else { Cause::Deleted };
    Ok(Some(Decision::Remove { repository, pushed_at: linked_at, cause }))
}

fn act(sql: Sql<'_>, due: &Due, decision: Decision) -> Result<Option<Removed>, StoreError> {
    let candidate = &due.candidate;
    candidates::delete(sql, candidate)?;
    let (repository, pushed_at, cause) = match decision {
        Decision::Void => return Ok(None),
        Decision::Becomes(other) => {
            candidates::add(sql, other)?;
            return Ok(None);
        }
        Decision::Remove { repository, pushed_at, cause } => (repository, pushed_at, cause),
    };
    let bytes = holders::record(sql, candidate.blob)?.map_or(0, |(_, bytes)| bytes);
    let is_manifest = matches!(candidate.kind, Kind::Deleted | Kind::Untagged);
    if is_manifest {
        let keeps_children = candidate.kind == Kind::Untagged;
        let consequences = removal::consequences(
            sql,
            repository.id,
            candidate.blob,
            pushed_at,
            candidate.since,
            keeps_children,
        )?;
        removal::manifest(sql, &repository, candidate.blob, consequences)?;
    } else {
        removal::link(sql, &repository, candidate.blob)?;
    }
    Ok(Some(Removed {
        repository: Some(due.repository.clone()),
        digest: due.digest,
        is_manifest,
        cause,
        bytes,
    }))
}

/// The position before the oldest trash.
pub(super) const BEGIN: (i64, i64) = (i64::MIN, 0);

/// A manifest in the trash whose grace period is over.
pub(super) struct Trashed {
    pub(super) id: i64,
    pub(super) repository: String,
    pub(super) blob: i64,
    pub(super) pushed_at: i64,
    pub(super) deleted_at: i64,
    pub(super) parts: u64,
}

/// The trash up to the time `before`, the oldest first, after the time and id `after`.
pub(super) fn trashed(
    sql: Sql<'_>,
    before: i64,
    after: (i64, i64),
    limit: usize,
) -> Result<Vec<Trashed>, StoreError> {
    sql.all(
        "SELECT d.id, d.repository, d.blob, d.pushed_at, d.deleted_at,
                (SELECT COUNT(*) FROM manifest_parts p WHERE p.manifest = d.blob)
         FROM deleted_manifests d WHERE d.deleted_at <= ?1 AND (d.deleted_at, d.id) > (?2, ?3)
         ORDER BY d.deleted_at, d.id LIMIT ?4",
        params![before, after.0, after.1, columns::limit_in(limit)],
        |row| Ok(Trashed { parts: columns::count(row, 5)?, ..trashed_manifest(row)? }),
    )
}

fn trashed_manifest(row: &Row<'_>) -> Result<Trashed, StoreError> {
    Ok(Trashed {
        id: row.get(0)?,
        repository: row.get(1)?,
        blob: row.get(2)?,
        pushed_at: row.get(3)?,
        deleted_at: row.get(4)?,
        parts: 0,
    })
}

fn purge_manifest(sql: Sql<'_>, manifest: &Trashed) -> Result<(), StoreError> {
    sql.send("DELETE FROM deleted_manifests WHERE id = ?1", params![manifest.id])?;
    let id: Option<i64> =
        sql.first("SELECT id FROM repositories WHERE name = ?1", params![manifest.repository], |row| {
            row.get(0)
        })?;
    let repository = id.map(|id| Repository { id, name: manifest.repository.clone() });
    let consequences = match &repository {
        Some(repository) => removal::consequences(
            sql,
            repository.id,
            manifest.blob,
            manifest.pushed_at,
            manifest.deleted_at,
            false,
        )?,
        None => removal::Consequences::default(),
    };
    removal::apply(sql, repository.as_ref(), manifest.blob, consequences)
}

/// Removes the trash, the history of tags and the kept events below a name without repositories, before their
/// grace period is over. The next owner of the name must not see or restore them.
pub(in crate::metadata) fn purge_namespace(sql: Sql<'_>, owner: &AccountName) -> Result<(), StoreError> {
    let (first, end) = (format!("{owner}/"), format!("{owner}0"));
    let manifests = sql.all(
        "SELECT id, repository, blob, pushed_at, deleted_at FROM deleted_manifests
         WHERE repository >= ?1 AND repository < ?2",
        params![first, end],
        trashed_manifest,
    )?;
    for manifest in &manifests {
        purge_manifest(sql, manifest)?;
    }
    let blobs: Vec<i64> = sql.all(
        "SELECT blob FROM deleted_links WHERE repository >= ?1 AND repository < ?2",
        params![first, end],
        |row| row.get(0),
    )?;
    sql.send("DELETE FROM deleted_links WHERE repository >= ?1 AND repository < ?2", params![first, end])?;
    for blob in blobs {
        candidates::add(sql, Candidate::content(blob))?;
    }
    sql.send("DELETE FROM deleted_tags WHERE repository >= ?1 AND repository < ?2", params![first, end])?;
    sql.send("DELETE FROM tag_history WHERE repository >= ?1 AND repository < ?2", params![first, end])?;
    // Events that only the stream keeps. The others are still to be processed.
    sql.send(
        "DELETE FROM changes WHERE repository >= ?1 AND repository < ?2
           AND id <= (SELECT COALESCE(MIN(cursor), 0) FROM change_consumers WHERE name <> ?3)",
        params![first, end, EVENTS],
    )
}

fn purge(sql: Sql<'_>, before: i64, limit: usize) -> Result<Purged, StoreError> {
    let mut purged = Purged::default();
    let mut parts = 0;
    for manifest in trashed(sql, before, BEGIN, limit)? {
        purge_manifest(sql, &manifest)?;
        purged.manifests += 1;
        parts += manifest.parts;
        if parts >= PARTS {
            break;
        }
    }
    let links: Vec<(String, i64)> = sql.all(
        "SELECT repository, blob FROM deleted_links WHERE deleted_at <= ?1 ORDER BY deleted_at LIMIT ?2",
        params![before, columns::limit_in(limit)],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    for (repository, blob) in &links {
        sql.send("DELETE FROM deleted_links WHERE repository = ?1 AND blob = ?2", params![repository, blob])?;
        candidates::add(sql, Candidate::content(*blob))?;
    }
    let tags = sql.run(
        "DELETE FROM deleted_tags WHERE (repository, name) IN
           (SELECT repository, name FROM deleted_tags WHERE deleted_at <= ?1 ORDER BY deleted_at LIMIT ?2)",
        params![before, columns::limit_in(limit)],
    )?;
    purged.rows = purged.manifests + links.len() + tags;
    Ok(purged)
}
