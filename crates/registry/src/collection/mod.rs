//! Garbage collection: reclaims the space of content that nothing needs, while the registry serves.
//!
//! A collection works in small batches. It lists candidates whose period has passed, announces them to the guards,
//! removes their rows in one transaction that checks them again, and then deletes the files. No lock is held across
//! I/O, and the memory does not grow with the size of the registry. Everything is recorded before it is done, so a
//! collection that a crash interrupts continues with the next one.
//!
//! - [`guards`]: keeps pushes and a collection apart.
//! - [`erase`]: removal at once.
//! - `evict`: removal of cached content that can be fetched again.
//! - `schedule`: the background task.

mod erase;
mod evict;
pub(crate) mod guards;
mod schedule;

use std::time::{Duration, Instant, SystemTime};

use accounts::Actor;
use futures_util::StreamExt;
use oci::{Digest, RepositoryName};
use serde_json::json;
use store::metadata::collection::{Due, DueContent, Periods, Stage};
use store::metadata::{ChangeKind, NewChange};
use tokio::sync::Mutex;

pub use erase::Erasure;
pub(crate) use schedule::Schedule;
pub use store::metadata::collection::{
    Cause, Chain, Explanation, Garbage, GarbageUsage, Link, LinkKind, Preview, Removed,
};

use crate::{Error, Registry};

/// Candidates of one transaction: a bound on the wait of pushes.
const BATCH: usize = 128;
/// Files that are listed in memory at a time.
const FILES: usize = 512;
/// The least time for which a blob is kept that no manifest needs yet.
const LEAST_UPLOAD: Duration = Duration::from_secs(60 * 60);
/// Manifests whose space is added up for a report.
const COUNTED: usize = 10_000;

/// When garbage is collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GarbagePolicy {
    /// The interval of collections; zero for none in the background.
    pub interval: Duration,
    /// The time for which deleted content can be restored.
    pub grace: Duration,
    /// The time for which an untagged manifest is kept after its last push or pull; `None` keeps it.
    pub untagged: Option<Duration>,
}

impl Default for GarbagePolicy {
    fn default() -> Self {
        let hour = Duration::from_secs(60 * 60);
        Self { interval: hour, grace: 24 * hour, untagged: None }
    }
}

/// The progress and the result of a collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Manifests that were removed from a repository, or whose grace period ended.
    pub manifests: u64,
    /// Blob links that were removed from a repository.
    pub links: u64,
    /// Deleted files: manifests, configs and layers.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Expired uploads.
    pub uploads: u64,
    /// Manifests and links that stay for a push in progress.
    pub leased: u64,
}

impl Collected {
    fn add(&mut self, removed: &Removed) {
        match removed {
            Removed { repository: None, bytes, .. } => {
                self.files += 1;
                self.bytes += bytes;
            }
            Removed { is_manifest: true, .. } => self.manifests += 1,
            Removed { is_manifest: false, .. } => self.links += 1,
        }
    }
}

/// The last collection and the space that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GarbageStatus {
    /// The settings.
    pub policy: GarbagePolicy,
    /// The end of the last collection of this process, with its result.
    pub last: Option<(SystemTime, Collected)>,
    /// The progress of the running collection.
    pub running: Option<Collected>,
    /// The space that is kept for now.
    pub kept: GarbageUsage,
}

/// The state of collections.
#[derive(Default)]
pub(crate) struct Collector {
    /// Held by the running collection.
    running: Mutex<()>,
    last: std::sync::Mutex<Option<(SystemTime, Collected)>>,
    current: std::sync::Mutex<Option<Collected>>,
}

impl Collector {
    fn set_current(&self, progress: Option<Collected>) {
        *self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = progress;
    }
}

/// Forgets the progress of a collection when it ends, also by a dropped future.
struct ClearOnDrop<'a>(&'a Collector);

impl Drop for ClearOnDrop<'_> {
    fn drop(&mut self) {
        self.0.set_current(None);
    }
}

/// How fast a collection works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// At half of the speed: it pauses after each batch for as long as the batch took.
    Background,
    /// At once, for an operator who waits.
    Now,
}

impl Registry {
    /// Runs a collection to its end. First waits for a running one. `progress` returns `false` to stop it.
    ///
    /// # Errors
    /// Those of the store. What was removed until then stays removed.
    pub async fn collect_garbage(
        &self,
        progress: impl Fn(&Collected) -> bool + Send + Sync,
    ) -> Result<Collected, Error> {
        self.collect(Pace::Now, progress).await
    }

    pub(crate) async fn collect(
        &self,
        pace: Pace,
        progress: impl Fn(&Collected) -> bool + Send + Sync,
    ) -> Result<Collected, Error> {
        let collector = &self.inner.collector;
        let _running = collector.running.lock().await;
        collector.set_current(Some(Collected::default()));
        let _current = ClearOnDrop(collector);
        let job = self.job_metrics("garbage-collection");
        job.started();
        let collected = self.collect_alone(pace, |collected| {
            job.progress(collected.manifests + collected.links + collected.files);
            progress(collected)
        });
        let collected = collected.await;
        job.ended(&collected);
        collected
    }

    /// Collects while the caller holds the lock of collections.
    async fn collect_alone(
        &self,
        pace: Pace,
        progress: impl Fn(&Collected) -> bool + Send + Sync,
    ) -> Result<Collected, Error> {
        let collector = &self.inner.collector;
        let uploads = self.expire_uploads().await? as u64;
        let registry = self.acting_as(Actor::task("garbage collection"));
        let mut run = Run {
            registry: &registry,
            pace,
            progress,
            periods: self.periods(),
            collected: Collected { uploads, ..Collected::default() },
            stopped: false,
        };
        let outcome = run.run().await;
        let collected = run.collected;
        *collector.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
            Some((SystemTime::now(), collected));
        outcome?;
        if collected != Collected::default() {
            let Collected { manifests, links, files, bytes, uploads, leased: _ } = collected;
            let detail = json!({
                "manifests": manifests, "links": links, "files": files, "bytes": bytes, "uploads": uploads
            });
            let change = NewChange::new(ChangeKind::GcRun).detail(detail);
            registry.metadata.changes().append(vec![change]).await?;
        }
        Ok(collected)
    }

    /// Removes what nothing needs any more, without the event of a collection.
    pub(crate) async fn reclaim(&self) -> Result<(), Error> {
        let _running = self.inner.collector.running.lock().await;
        let collected = Collected::default();
        let progress = |_: &Collected| true;
        let periods = self.periods();
        Run { registry: self, pace: Pace::Now, progress, periods, collected, stopped: false }.run().await
    }

    /// Returns what a collection would remove now, without changing anything.
    ///
    /// # Errors
    /// Only those of the store.
    pub async fn preview_garbage(&self) -> Result<Preview, Error> {
        self.metadata.note_changes(Duration::ZERO).await?;
        Ok(self.metadata.preview_collection(self.periods(), SystemTime::now()).await?)
    }

    /// Explains what keeps some content in a repository, or in all of them.
    ///
    /// # Errors
    /// [`Error::ContentUnknown`].
    pub async fn explain_content(
        &self,
        digest: &Digest,
        repository: Option<&RepositoryName>,
    ) -> Result<Explanation, Error> {
        self.metadata.note_changes(Duration::ZERO).await?;
        let explained = self.metadata.explain_content(digest, repository, self.periods()).await?;
        explained.ok_or(Error::ContentUnknown { digest: *digest, repository: repository.cloned() })
    }

    /// Returns the last collection and the space that is kept for now.
    ///
    /// # Errors
    /// Only those of the store.
    pub async fn garbage_status(&self) -> Result<GarbageStatus, Error> {
        let last = *self.inner.collector.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let running = *self.inner.collector.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.metadata.note_changes(Duration::ZERO).await?;
        let kept = self.metadata.garbage_usage(COUNTED).await?;
        Ok(GarbageStatus { policy: self.inner.policy.load().garbage, last, running, kept })
    }

    /// Looks for garbage that no change has recorded: in all rows, and in all files. Returns the number of files without
    /// a record.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn recount_garbage(&self) -> Result<u64, Error> {
        self.metadata.request_recount().await?;
        let mut files = self.inner.blobs.list();
        let (mut batch, mut found) = (Vec::with_capacity(FILES), 0);
        while let Some(file) = files.next().await {
            batch.push(file?);
            if batch.len() == FILES {
                found += self.metadata.record_orphans(std::mem::take(&mut batch)).await?;
            }
        }
        found += self.metadata.record_orphans(batch).await?;
        // The last step ends the request.
        while self.metadata.recount_step().await? {}
        Ok(found as u64)
    }

    /// Finishes deletions of files that an earlier process has begun, and ends its leases.
    pub(crate) async fn resume_collection(&self) -> Result<(), Error> {
        let leases = self.metadata.abandon_all_leases().await?;
        let mut resumed = 0;
        loop {
            let marked = self.metadata.marked_content(BATCH).await?;
            if marked.is_empty() {
                break;
            }
            resumed += marked.len();
            for content in &marked {
                self.inner.blobs.delete(&content.digest).await?;
            }
            self.metadata.delete_content(marked).await?;
        }
        if resumed + leases > 0 {
            tracing::info!(
                files = resumed,
                uploads = leases,
                "resumed the garbage collection of the last process"
            );
        }
        Ok(())
    }

    fn periods(&self) -> Periods {
        let policy = self.policy();
        Periods {
            grace: policy.garbage.grace,
            untagged: policy.garbage.untagged,
            upload: policy.upload_expiry.max(LEAST_UPLOAD),
        }
    }
}

/// A running collection.
struct Run<'a, P> {
    registry: &'a Registry,
    pace: Pace,
    progress: P,
    periods: Periods,
    collected: Collected,
    stopped: bool,
}

impl<P: Fn(&Collected) -> bool + Send + Sync> Run<'_, P> {
    async fn run(&mut self) -> Result<(), Error> {
        let metadata = &self.registry.metadata;
        if metadata.recount_is_due().await? {
            self.registry.recount_garbage().await?;
        }
        // Each pass may release further content.
        loop {
            metadata.note_changes(Duration::ZERO).await?;
            let abandoned = self.registry.inner.guards.take_abandoned();
            if !abandoned.is_empty() {
                metadata.abandon_leases(abandoned).await?;
            }
            self.collected.leased = 0;
            let mut removed = self.trash().await?;
            for stage in Stage::ALL {
                removed += self.stage(stage).await?;
            }
            removed += self.content().await?;
            if removed == 0 || self.stopped {
                return Ok(());
            }
        }
    }

    async fn trash(&mut self) -> Result<usize, Error> {
        let mut total = 0;
        while !self.stopped {
            let begun = Instant::now();
            let purged = self.registry.metadata.purge_trash(self.periods, SystemTime::now(), BATCH).await?;
            if purged.rows == 0 {
                break;
            }
            total += purged.rows;
            self.collected.manifests += purged.manifests as u64;
            self.pause(begun).await;
        }
        Ok(total)
    }

    /// Removes manifests or links. Returns their number.
    async fn stage(&mut self, stage: Stage) -> Result<usize, Error> {
        let (metadata, guards) = (&self.registry.metadata, &self.registry.inner.guards);
        let (mut total, mut after, mut leased) = (0, None, 0);
        while !self.stopped {
            let begun = Instant::now();
            let now = SystemTime::now();
            let due = metadata.due_candidates(stage, self.periods, now, after, BATCH).await?;
            after = due.last().cloned();
            if after.is_none() {
                break;
            }
            let count = due.len();
            let (removal, free) = guards.remove(due, |due: &Due| (&due.repository, &due.digest));
            leased += (count - free.len()) as u64;
            let removed = metadata.collect_candidates(free, self.periods, now).await?;
            removed.iter().for_each(|removed| self.collected.add(removed));
            drop(removal);
            total += removed.len();
            self.pause(begun).await;
        }
        self.collected.leased += leased;
        Ok(total)
    }

    /// Deletes content. Returns the number of files.
    async fn content(&mut self) -> Result<usize, Error> {
        let inner = &self.registry.inner;
        let metadata = &self.registry.metadata;
        let (mut total, mut after) = (0, None);
        while !self.stopped {
            let begun = Instant::now();
            let due = metadata.due_content(self.periods, SystemTime::now(), after, BATCH).await?;
            after = due.last().cloned();
            if after.is_none() {
                break;
            }
            // Files that are away with their volume would come back without a record.
            inner.content.check()?;
            let (deletion, free) = inner.guards.delete(due, |due: &DueContent| due.digest);
            let marked = metadata.mark_content(free).await?;
            for (content, bytes) in &marked {
                inner.blobs.delete(&content.digest).await?;
                self.collected.add(&content.removed(*bytes));
            }
            total += marked.len();
            metadata.delete_content(marked.into_iter().map(|(content, _)| content).collect()).await?;
            drop(deletion);
            self.pause(begun).await;
        }
        Ok(total)
    }

    /// Reports the progress, and limits the I/O of a collection in the background.
    async fn pause(&mut self, begun: Instant) {
        self.registry.inner.collector.set_current(Some(self.collected));
        let Collected { manifests, links, files, .. } = self.collected;
        self.registry.job_metrics("garbage-collection").progress(manifests + links + files);
        self.stopped |= !(self.progress)(&self.collected);
        match self.pace {
            Pace::Background => tokio::time::sleep(begun.elapsed()).await,
            Pace::Now => tokio::task::yield_now().await,
        }
    }
}

/// The cause of a removal as a word.
#[must_use]
pub fn word(cause: Cause) -> &'static str {
    match cause {
        Cause::Deleted => "deleted",
        Cause::Untagged => "untagged",
        Cause::Unused => "unused",
        Cause::Unreferenced => "unreferenced",
    }
}

/// The cause of a removal as text.
#[must_use]
pub fn describe(cause: Cause) -> &'static str {
    match cause {
        Cause::Deleted => "it was deleted, or belonged to a deleted image",
        Cause::Untagged => "it has no tag (gc.untagged)",
        Cause::Unused => "no image needs it",
        Cause::Unreferenced => "no repository holds it",
    }
}
