//! Garbage collection: reclaims the space of content that nothing needs, while the registry serves.
//!
//! A collection works in small batches. It lists candidates whose period has passed, announces them to the
//! guards, removes their rows in one transaction that checks them again, and then deletes the files. No lock
//! is held across I/O, and the memory does not grow with the size of the registry. Everything is recorded
//! before it is done, so a collection that a crash interrupts continues with the next one.
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
use serde_json::{Value as Json, json};
use store::metadata::collection::{Due, DueContent, Periods, Stage};
use store::metadata::{ChangeKind, Job, NewChange};
use tokio::sync::Mutex;

pub use erase::Erasure;
pub(crate) use schedule::Schedule;
pub use store::metadata::collection::{
    Cause, Chain, Explanation, Garbage, GarbageUsage, Link, LinkKind, Preview, Removed,
};

use crate::{Error, JobKind, Registry};

/// Candidates of one transaction: a bound on the wait of pushes.
const BATCH: usize = 128;
/// The same for a collection in the background.
const SHORT_BATCH: usize = 32;
/// The longest pause after a batch. A batch that takes longer waits for a disk or a bucket most of the time.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// Files that are listed in memory at a time.
const FILES: usize = 512;
/// The least time for which a blob is kept that no manifest needs yet.
const LEAST_UPLOAD: Duration = Duration::from_secs(60 * 60);
/// Manifests whose space is added up for a report.
pub const COUNTED: usize = 10_000;

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

    fn removals(&self) -> u64 {
        self.manifests + self.links + self.files
    }

    fn to_json(self) -> Json {
        let Self { manifests, links, files, bytes, uploads, leased: _ } = self;
        json!({ "manifests": manifests, "links": links, "files": files, "bytes": bytes, "uploads": uploads })
    }

    fn from_json(detail: &Json) -> Self {
        let count = |name| detail.get(name).and_then(Json::as_u64).unwrap_or(0);
        Self {
            manifests: count("manifests"),
            links: count("links"),
            files: count("files"),
            bytes: count("bytes"),
            uploads: count("uploads"),
            leased: 0,
        }
    }
}

/// A collection that has begun and not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningCollection {
    /// The start of the collection. It survives restarts.
    pub started_at: SystemTime,
    /// The step.
    pub step: Step,
    /// The progress.
    pub collected: Collected,
}

/// A step of a pass. Each may release something for the next pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Trash whose grace period is over.
    Trash,
    /// Manifests or links without a holder.
    Candidates(Stage),
    /// Files.
    Content,
}

impl Step {
    /// All steps in their order.
    const ALL: [Self; 6] = {
        let [deleted, untagged, links, released] = Stage::ALL;
        [
            Self::Trash,
            Self::Candidates(deleted),
            Self::Candidates(untagged),
            Self::Candidates(links),
            Self::Candidates(released),
            Self::Content,
        ]
    };

    /// The name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Trash => "trash",
            Self::Candidates(stage) if stage.is_manifests() => "manifests",
            Self::Candidates(_) => "links",
            Self::Content => "files",
        }
    }
}

/// The last collection and the space that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GarbageStatus {
    /// The settings.
    pub policy: GarbagePolicy,
    /// The end of the last collection of this process, with its result.
    pub last: Option<(SystemTime, Collected)>,
    /// The collection that has not ended.
    pub running: Option<RunningCollection>,
    /// Deletions of repositories that have not ended.
    pub deletions: Vec<Job>,
    /// The space that is kept for now.
    pub kept: GarbageUsage,
}

/// The state of collections.
#[derive(Default)]
pub(crate) struct Collector {
    /// Held by the running collection.
    running: Mutex<()>,
    last: std::sync::Mutex<Option<(SystemTime, Collected)>>,
}

/// How fast a collection works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// A tenth of the time, in short batches. It keeps items for pushes that began before the last restart.
    Background,
    /// Full speed, for an operator who waits.
    Now,
}

impl Pace {
    fn batch(self) -> usize {
        match self {
            Self::Background => SHORT_BATCH,
            Self::Now => BATCH,
        }
    }

    /// The pause after a batch that took this time.
    fn pause(self, batch: Duration) -> Duration {
        match self {
            Self::Background => (batch * 9).min(LONGEST_PAUSE),
            Self::Now => Duration::ZERO,
        }
    }
}

impl Registry {
    /// Runs a collection to its end. First waits for a running one. `progress` returns `false` to stop it.
    ///
    /// # Errors
    /// The errors of the store. Content that was removed until then stays removed.
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
        let _running = self.inner.collector.running.lock().await;
        let metrics = self.job_metrics(JobKind::Collection);
        metrics.run(self.collect_alone(pace, &metrics, progress)).await
    }

    async fn collect_alone(
        &self,
        pace: Pace,
        metrics: &metrics::Job,
        progress: impl Fn(&Collected) -> bool + Send + Sync,
    ) -> Result<Collected, Error> {
        let collector = &self.inner.collector;
        let uploads = self.expire_uploads().await? as u64;
        let registry = self.acting_as(Actor::task("garbage collection"));
        let job = registry.metadata.begin_collection().await?;
        let mut collected = Collected::default();
        if let Some(detail) = &job.detail {
            collected = Collected::from_json(detail);
            tracing::info!(files = collected.files, bytes = collected.bytes, "resuming a garbage collection");
        }
        collected.uploads += uploads;
        let mut run = Run {
            registry: &registry,
            pace,
            progress,
            periods: self.periods(),
            collected,
            step: job.stage.min(Step::ALL.len() - 1),
            metrics,
            stopped: false,
        };
        let outcome = run.run().await;
        let collected = run.collected;
        *collector.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
            Some((SystemTime::now(), collected));
        outcome?;
        registry.metadata.end_collection().await?;
        if collected != Collected::default() {
            let change = NewChange::new(ChangeKind::GcRun).detail(collected.to_json());
            // The content is removed, also on a full disk.
            if let Err(error) = registry.metadata.changes().append(vec![change]).await {
                tracing::warn!(%error, "cannot record the event of a garbage collection");
            }
        }
        Ok(collected)
    }

    /// Removes unneeded content without recording the event of a collection.
    pub(crate) async fn reclaim(&self) -> Result<(), Error> {
        let _running = self.inner.collector.running.lock().await;
        let collected = Collected::default();
        let progress = |_: &Collected| true;
        let periods = self.periods();
        let metrics = &self.job_metrics(JobKind::Collection);
        let (pace, step) = (Pace::Now, 0);
        Run { registry: self, pace, progress, periods, collected, step, metrics, stopped: false }.run().await
    }

    /// Returns the removals of a collection that would run now. Changes nothing.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn preview_garbage(&self) -> Result<Preview, Error> {
        self.metadata.note_changes(Duration::ZERO).await?;
        let guards = self.inner.guards.clone();
        let is_leased =
            move |repository: &RepositoryName, digest: &Digest| guards.is_leased(repository, digest);
        Ok(self.metadata.preview_collection(self.periods(), SystemTime::now(), is_leased).await?)
    }

    /// Explains which references keep some content in a repository, or in all of them.
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

    /// Returns the last collection and the space that is kept for now, of which at most `most` removals are
    /// counted.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn garbage_status(&self, most: usize) -> Result<GarbageStatus, Error> {
        let last = *self.inner.collector.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.metadata.note_changes(Duration::ZERO).await?;
        let kept = self.metadata.garbage_usage(most).await?;
        let running = self.metadata.collection_job().await?.map(|job| RunningCollection {
            started_at: job.started_at,
            step: Step::ALL[job.stage.min(Step::ALL.len() - 1)],
            collected: job.detail.as_ref().map(Collected::from_json).unwrap_or_default(),
        });
        let deletions = self.metadata.deletions().await?;
        Ok(GarbageStatus { policy: self.inner.policy.load().garbage, last, running, deletions, kept })
    }

    /// Looks for garbage that no change has recorded: in all rows, and in all files. Returns the number of
    /// files without a record.
    ///
    /// # Errors
    /// The errors of the store.
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
            promised: None,
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
    /// The index of the step in [`Step::ALL`].
    step: usize,
    metrics: &'a metrics::Job,
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
            // A resumed pass has skipped the steps before, so it cannot be the last.
            let mut is_last = self.step == 0;
            while self.step < Step::ALL.len() {
                let removed = match Step::ALL[self.step] {
                    Step::Trash => self.trash().await?,
                    Step::Candidates(stage) => self.stage(stage).await?,
                    Step::Content => self.content().await?,
                };
                is_last &= removed == 0;
                self.step += 1;
            }
            self.step = 0;
            if is_last || self.stopped {
                return Ok(());
            }
        }
    }

    async fn trash(&mut self) -> Result<usize, Error> {
        let (mut total, batch) = (0, self.pace.batch());
        while !self.stopped {
            let begun = Instant::now();
            let purged = self.registry.metadata.purge_trash(self.periods, SystemTime::now(), batch).await?;
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
        let may_be_promised = self.pace == Pace::Background && guards.lost_leases().is_some();
        let periods = Periods { promised: may_be_promised.then(|| guards.started()), ..self.periods };
        let (mut total, mut after, mut leased) = (0, None, 0);
        while !self.stopped {
            let begun = Instant::now();
            let now = SystemTime::now();
            let due = metadata.due_candidates(stage, self.periods, now, after, self.pace.batch()).await?;
            after = due.last().cloned();
            if after.is_none() {
                break;
            }
            let count = due.len();
            let (removal, free) = guards.remove(due, |due: &Due| (&due.repository, &due.digest));
            leased += (count - free.len()) as u64;
            let removed = metadata.collect_candidates(free, periods, now).await?;
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
        let (mut total, mut after, batch) = (0, None, self.pace.batch());
        while !self.stopped {
            let begun = Instant::now();
            let due = metadata.due_content(self.periods, SystemTime::now(), after, batch).await?;
            after = due.last().cloned();
            if after.is_none() {
                break;
            }
            // Files that are away with their volume would come back without a record.
            self.registry.check_place()?;
            let (deletion, free) = inner.guards.delete(due, |due: &DueContent| due.digest);
            let marked = metadata.mark_content(free).await?;
            inner.blobs.delete_all(marked.iter().map(|(content, _)| content.digest).collect()).await?;
            for (content, bytes) in &marked {
                self.collected.add(&content.removed(*bytes));
            }
            total += marked.len();
            metadata.delete_content(marked.into_iter().map(|(content, _)| content).collect()).await?;
            drop(deletion);
            self.pause(begun).await;
        }
        Ok(total)
    }

    /// Records and reports the progress, and limits the I/O of a collection in the background.
    async fn pause(&mut self, begun: Instant) {
        let removals = self.collected.removals();
        self.metrics.progress(removals);
        let saved =
            self.registry.metadata.save_collection(self.step, removals, self.collected.to_json()).await;
        if let Err(error) = saved {
            // A restart would only look at some candidates again.
            tracing::debug!(%error, "cannot record the progress of a garbage collection");
        }
        self.stopped |= !(self.progress)(&self.collected);
        match self.pace.pause(begun.elapsed()) {
            Duration::ZERO => tokio::task::yield_now().await,
            pause => tokio::time::sleep(pause).await,
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
