//! A collection that changes nothing: the removals that a collection would make now, by the same rule.
//! Removed rows are kept in memory, and hold nothing in later checks.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, SystemTime};

use oci::{Digest, RepositoryName};

use super::super::Metadata;
use super::super::sql::{Sql, params};
use super::candidates::{self, Candidate, Kind};
use super::holders::{self, Gone, Repository};
use super::removal::consequences;
use super::steps::{BEGIN, Decision, decide, trashed};
use super::{Cause, Garbage, GarbageUsage, Periods, Removed, Stage, before};
use crate::StoreError;

/// Removals that are listed at most: a bound on memory.
const LISTED: usize = 100_000;
/// A time after the end of all periods.
const NEVER: Duration = Duration::MAX;
const PAGE: usize = 512;

/// The removals that a collection would make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// The removals, in the order of a collection.
    pub removed: Vec<Removed>,
    /// Whether there are more.
    pub is_cut: bool,
    /// The number of manifests and links that a push may be about to need.
    pub leased: u64,
}

impl Metadata {
    /// Returns the removals of a collection that would run now, except for leased items.
    pub async fn preview_collection(
        &self,
        periods: Periods,
        now: SystemTime,
        is_leased: impl Fn(&RepositoryName, &Digest) -> bool + Send + 'static,
    ) -> Result<Preview, StoreError> {
        self.read(move |sql| {
            let mut run = Run { is_leased: &is_leased, ..Run::new(sql, periods, now, LISTED) };
            run.trash()?;
            for stage in Stage::ALL {
                run.stage(stage.kind())?;
            }
            run.due_contents()?;
            run.contents()?;
            Ok(run.preview)
        })
        .await
    }

    /// Returns the space of untagged manifests and of deleted content, which a collection frees after their
    /// periods. Looks at a bounded number of rows.
    pub async fn garbage_usage(&self, limit: usize) -> Result<GarbageUsage, StoreError> {
        self.read(move |sql| {
            let now = SystemTime::now();
            let periods = Periods {
                grace: NEVER,
                untagged: Some(Duration::ZERO),
                upload: Duration::ZERO,
                promised: None,
            };
            let mut untagged = Run::new(sql, periods, now, limit);
            untagged.stage(Kind::Untagged)?;
            untagged.contents()?;
            let periods =
                Periods { grace: Duration::ZERO, untagged: None, upload: Duration::ZERO, promised: None };
            let mut deleted = Run::new(sql, periods, now, limit);
            deleted.trash()?;
            deleted.stage(Kind::Deleted)?;
            deleted.contents()?;
            let mut unused = Run::new(sql, Periods { grace: NEVER, ..periods }, now, limit);
            unused.stage(Kind::Link)?;
            unused.contents()?;
            Ok(GarbageUsage {
                untagged: untagged.preview.usage(),
                deleted: deleted.preview.usage(),
                unused: unused.preview.usage(),
            })
        })
        .await
    }
}

impl Preview {
    fn usage(&self) -> Garbage {
        let mut garbage = Garbage { is_cut: self.is_cut, ..Garbage::default() };
        for removed in &self.removed {
            match removed.cause {
                Cause::Unreferenced => garbage.bytes += removed.bytes,
                _ if removed.is_manifest => garbage.manifests += 1,
                _ => {}
            }
        }
        garbage
    }
}

/// The candidates that are looked at for each removal that may be listed, so that the work is bounded.
const DECIDED: usize = 4;

/// A collection in memory.
struct Run<'a> {
    limit: usize,
    is_leased: &'a dyn Fn(&RepositoryName, &Digest) -> bool,
    sql: Sql<'a>,
    periods: Periods,
    now: SystemTime,
    gone: Gone,
    waiting: VecDeque<Candidate>,
    contents: Vec<i64>,
    seen: HashSet<(Kind, i64, i64)>,
    /// The number of candidates that were looked at. Most may stay.
    decided: usize,
    preview: Preview,
}

impl<'a> Run<'a> {
    fn new(sql: Sql<'a>, periods: Periods, now: SystemTime, limit: usize) -> Self {
        Self {
            limit,
            is_leased: &|_, _| false,
            sql,
            periods,
            now,
            gone: Gone::default(),
            waiting: VecDeque::new(),
            contents: Vec::new(),
            seen: HashSet::new(),
            decided: 0,
            preview: Preview::default(),
        }
    }

    fn is_full(&mut self) -> bool {
        self.preview.is_cut |=
            self.preview.removed.len() >= self.limit || self.decided >= self.limit.saturating_mul(DECIDED);
        self.preview.is_cut
    }

    fn leases(&self, repository: &Repository, blob: i64) -> Result<bool, StoreError> {
        let Ok(name) = repository.name.parse() else { return Ok(false) };
        Ok(holders::record(self.sql, blob)?.is_some_and(|(digest, _)| (self.is_leased)(&name, &digest)))
    }

    fn push(
        &mut self,
        repository: Option<&Repository>,
        blob: i64,
        is_manifest: bool,
        cause: Cause,
    ) -> Result<(), StoreError> {
        if let Some((digest, bytes)) = holders::record(self.sql, blob)? {
            let repository = repository.and_then(|repository| repository.name.parse().ok());
            self.preview.removed.push(Removed { repository, digest, is_manifest, cause, bytes });
        }
        Ok(())
    }

    fn trash(&mut self) -> Result<(), StoreError> {
        let (sql, before) = (self.sql, before(self.now, self.periods.grace));
        let mut after = BEGIN;
        while !self.is_full() {
            let page = trashed(sql, before, after, PAGE)?;
            let Some(last) = page.last() else { break };
            after = (last.deleted_at, last.id);
            for manifest in page {
                self.gone.trash.insert((manifest.repository.clone(), manifest.blob));
                self.release(manifest.blob)?;
                let id: Option<i64> = sql.first(
                    "SELECT id FROM repositories WHERE name = ?1",
                    params![manifest.repository],
                    |row| row.get(0),
                )?;
                let repository = Repository { id: id.unwrap_or(0), name: manifest.repository };
                self.push(Some(&repository), manifest.blob, true, Cause::Deleted)?;
                if let Some(id) = id {
                    self.follow(id, manifest.blob, manifest.pushed_at, manifest.deleted_at, false)?;
                }
            }
        }
        let links: Vec<(String, i64)> = sql.all(
            "SELECT repository, blob FROM deleted_links WHERE deleted_at <= ?1 LIMIT ?2",
            params![before, super::super::columns::limit_in(LISTED)],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        self.contents.extend(links.iter().map(|(_, blob)| *blob));
        self.gone.trash.extend(links);
        self.follow_waiting()
    }

    fn stage(&mut self, kind: Kind) -> Result<(), StoreError> {
        let Some(period) = self.periods.of(kind) else { return Ok(()) };
        let mut after: Option<Candidate> = None;
        while !self.is_full() {
            let page = candidates::due(self.sql, kind, before(self.now, period), after.as_ref(), PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(*last);
            self.waiting.extend(page);
            self.follow_waiting()?;
        }
        Ok(())
    }

    fn follow_waiting(&mut self) -> Result<(), StoreError> {
        while let Some(candidate) = self.waiting.pop_front() {
            if self.is_full() {
                return Ok(());
            }
            let Some(period) = self.periods.of(candidate.kind) else { continue };
            if candidate.since > before(self.now, period) {
                continue;
            }
            self.decided += 1;
            let decision = decide(self.sql, &candidate, self.periods, self.now, &self.gone)?;
            let Some(Decision::Remove { repository, pushed_at, cause }) = decision else { continue };
            if !self.seen.insert((candidate.kind, candidate.repository, candidate.blob)) {
                continue;
            }
            if self.leases(&repository, candidate.blob)? {
                self.preview.leased += 1;
                continue;
            }
            let is_manifest = matches!(candidate.kind, Kind::Deleted | Kind::Untagged);
            let key = (repository.id, candidate.blob);
            let is_new = match is_manifest {
                true => self.gone.manifests.insert(key),
                false => self.gone.links.insert(key),
            };
            if !is_new {
                continue;
            }
            self.push(Some(&repository), candidate.blob, is_manifest, cause)?;
            self.contents.push(candidate.blob);
            if is_manifest {
                let keeps_children = candidate.kind == Kind::Untagged;
                self.follow(repository.id, candidate.blob, pushed_at, candidate.since, keeps_children)?;
                self.release(candidate.blob)?;
            }
        }
        Ok(())
    }

    fn follow(
        &mut self,
        repository: i64,
        blob: i64,
        pushed_at: i64,
        since: i64,
        keeps_children: bool,
    ) -> Result<(), StoreError> {
        let all = consequences(self.sql, repository, blob, pushed_at, since, keeps_children)?;
        self.gone.tags.extend(all.tags.into_iter().map(|tag| (repository, tag)));
        self.waiting.extend(all.candidates);
        Ok(())
    }

    /// The parts of a manifest may lose their last holder with it.
    fn release(&mut self, manifest: i64) -> Result<(), StoreError> {
        self.contents.push(manifest);
        let parts: Vec<i64> = self.sql.all(
            "SELECT DISTINCT blob FROM manifest_parts WHERE manifest = ?1",
            params![manifest],
            |row| row.get(0),
        )?;
        self.contents.extend(parts);
        Ok(())
    }

    /// Adds the recorded candidates for the deletion of content.
    fn due_contents(&mut self) -> Result<(), StoreError> {
        for kind in [Kind::Content, Kind::Orphan] {
            let Some(period) = self.periods.of(kind) else { continue };
            if kind == Kind::Orphan && self.sql.exists("SELECT 1 FROM view_problems LIMIT 1", &[])? {
                continue;
            }
            let due = candidates::due(self.sql, kind, before(self.now, period), None, LISTED)?;
            self.contents.extend(due.into_iter().map(|candidate| candidate.blob));
        }
        Ok(())
    }

    /// Lists the content that nothing holds after all removals.
    fn contents(&mut self) -> Result<(), StoreError> {
        let mut seen = HashSet::new();
        for blob in std::mem::take(&mut self.contents) {
            let is_stored =
                self.sql.exists("SELECT 1 FROM blobs WHERE id = ?1 AND size IS NOT NULL", params![blob])?;
            if !self.is_full()
                && is_stored
                && seen.insert(blob)
                && holders::of_content(self.sql, blob, &self.gone)?.is_none()
            {
                self.push(None, blob, false, Cause::Unreferenced)?;
            }
        }
        Ok(())
    }
}
