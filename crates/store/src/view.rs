//! The `repositories/` view: links in distribution's layout, derived from the metadata.
//!
//! No request reads the view. It shows the images as files, distribution can serve the directory, and
//! adoption can rebuild a lost database from it (see [`adopt`](crate::adopt)).
//!
//! The view is a consumer of the outbox, to which each write to the metadata appends its changes. One task
//! debounces the changes, reads the current state of each changed item, writes its links, syncs, and then
//! acknowledges the changes. The steps are idempotent, so a crash in between only repeats them. One `syncfs`
//! serves all links of a round; syncing each link would cost several syncs for each push.
//!
//! Several servers of one registry have no view in files: each has a data directory of its own, and nothing
//! is adopted there. With `blobs.view`, the links are written to the bucket as well ([`bucket`]), by the one
//! server that makes changes.
//!
//! The blob journal is flushed before a link is written. So no link names content that a power failure could
//! remove, which distribution would trust.

mod bucket;
mod links;
mod position;
mod repair;
mod stamp;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use oci::RepositoryName;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use crate::adopt::{self, Describe, Report, Scope};
use crate::blob_journal::BlobJournal;
use crate::blobs::{BucketLinks, Unwritten};
use crate::blocking::{Priority, blocking, blocking_at};
use crate::metadata::{RepositoryItem, TagsDirectory, ViewStamp, ViewTarget};
use crate::{BlobStore, Directory, Metadata, StoreError};

use links::{Applied, Step};
pub(crate) use links::{LAYERS, Links, MANIFESTS};
use position::{Position, State};
pub use repair::RepairReport;

/// With more changes in the outbox, the view is written at ordinary priority.
const MANY: i64 = 50_000;
/// Outbox items in memory at a time.
const BATCH: usize = 2048;
/// The debounce time: writing the view competes with pushes for the disk.
const QUIET: Duration = Duration::from_secs(1);
/// The maximum delay after a change.
const LATEST: Duration = Duration::from_secs(5);
/// The poll interval of the debounce.
const LOOK: Duration = Duration::from_millis(100);
/// The time limit at shutdown, because service managers kill the process after 10 s. The next start writes
/// the rest.
const CLOSING: Duration = Duration::from_secs(3);
/// The retry delay after a failure, such as a full disk.
const RETRY: Duration = Duration::from_secs(5);
/// The retry delay for repositories whose links cannot be written.
const RETRY_BLOCKED: Duration = Duration::from_secs(60);

/// Writes the `repositories/` view. All clones share one view.
#[derive(Clone)]
pub struct View {
    inner: Arc<Inner>,
}

struct Inner {
    links: Links,
    /// The links in the bucket of the blobs, and whether they are written.
    bucket: Option<BucketLinks>,
    writes_bucket: bool,
    metadata: Metadata,
    blob_journal: BlobJournal,
    wake: Notify,
    /// Wakes the flush of a full blob journal.
    flush: Notify,
    /// The number of changes of the metadata.
    changes: AtomicU64,
    /// Held from reading the metadata until the links are written, so that no older state overwrites a newer
    /// one.
    turn: Mutex<()>,
    /// Held during a round: two would disagree on the blocked items.
    round: Mutex<()>,
    /// Recorded by each round once the links are right.
    position: Option<Position>,
    records_position: AtomicBool,
    /// The repositories whose links cannot be written, with the reason. The metadata keeps their items.
    blocked: std::sync::Mutex<BTreeMap<RepositoryName, String>>,
}

impl Inner {
    /// Signals a change of the metadata. Runs on its writer thread.
    fn wake(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        if self.blob_journal.is_urgent() {
            self.flush.notify_one();
        }
        self.wake.notify_one();
    }
}

/// The result of a round so far.
#[derive(Default)]
struct Round {
    /// The repositories whose links cannot be written, with the reason.
    blocked: BTreeMap<RepositoryName, String>,
    /// The items of these repositories.
    blocked_items: Vec<RepositoryItem>,
    touched: BTreeSet<RepositoryName>,
    /// The number of written items.
    count: u64,
}

impl View {
    /// Creates the view of a data directory. Each commit that changes content wakes it.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the directory cannot be read; [`StoreError::Directory`] if the settings of a
    /// bucket are unusable.
    pub fn new(
        directory: &Directory,
        metadata: Metadata,
        blob_journal: BlobJournal,
    ) -> Result<Self, StoreError> {
        let links = Links::new(directory.repositories().to_owned());
        let position = Position::of(directory, &metadata)?;
        let inner = Arc::new(Inner {
            links,
            bucket: directory.objects().map(BucketLinks::open).transpose()?,
            writes_bucket: directory.objects().is_some_and(|objects| objects.view),
            metadata,
            blob_journal,
            wake: Notify::new(),
            flush: Notify::new(),
            changes: AtomicU64::new(0),
            turn: Mutex::default(),
            round: Mutex::default(),
            position,
            records_position: AtomicBool::new(false),
            blocked: std::sync::Mutex::default(),
        });
        let view = Arc::downgrade(&inner);
        inner.metadata.on_commit(move |_| {
            if let Some(view) = view.upgrade() {
                view.wake();
            }
        });
        Ok(Self { inner })
    }

    /// Records the position from now on. Called once the links are right: those of an older state are written
    /// anew, and those of other programs are adopted.
    ///
    /// # Errors
    /// [`StoreError`] of the metadata or the file system.
    pub async fn record_position(&self) -> Result<(), StoreError> {
        let Inner { position: Some(position), metadata, round, records_position, .. } = &*self.inner else {
            return Ok(());
        };
        let _alone = round.lock().await;
        position.follow(metadata.view_progress().await?.0).await?;
        records_position.store(true, Ordering::Release);
        Ok(())
    }

    /// Records that no link is written any more.
    ///
    /// # Errors
    /// [`StoreError`] of the metadata or the file system.
    pub async fn close_position(&self) -> Result<(), StoreError> {
        let Inner { position: Some(position), metadata, round, records_position, .. } = &*self.inner else {
            return Ok(());
        };
        let _alone = round.lock().await;
        if records_position.swap(false, Ordering::AcqRel) {
            position.record(metadata.view_progress().await?.0, State::Closed).await?;
        }
        Ok(())
    }

    /// Writes the view until `closing` ends, and then the rest of the outbox. Begins with the items that the
    /// last process left. Flushes the blob journal meanwhile whenever it is nearly full.
    pub async fn run(&self, closing: impl Future<Output = ()>) {
        tokio::select! {
            () = self.follow(closing) => {}
            () = self.flush_full_journal() => {}
            () = self.complete_bucket() => {}
        }
    }

    async fn follow(&self, closing: impl Future<Output = ()>) {
        let mut closing = pin!(closing);
        loop {
            let done = match self.round(Priority::Low, None).await {
                Ok(_) => true,
                Err(StoreError::Closed) => return,
                Err(StoreError::Moving) => false,
                Err(error) => {
                    match self.inner.metadata.is_shared() {
                        true => {
                            tracing::warn!(%error, "cannot follow the changes of the registry; trying again")
                        }
                        false => tracing::warn!(%error, "cannot write the repositories/ view; trying again"),
                    }
                    false
                }
            };
            let wait = async {
                match done {
                    true if self.blocked().is_empty() && self.unwritten().is_empty() => self.wait().await,
                    true => _ = tokio::time::timeout(RETRY_BLOCKED, self.wait()).await,
                    false => tokio::time::sleep(RETRY).await,
                }
            };
            tokio::select! {
                biased;
                () = &mut closing => break,
                () = wait => {}
            }
        }
        match self.drain_until(Some(Instant::now() + CLOSING)).await {
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "the repositories/ view is incomplete; the next start writes the rest");
            }
        }
    }

    async fn flush_full_journal(&self) {
        let Inner { blob_journal, flush, .. } = &*self.inner;
        loop {
            flush.notified().await;
            // An earlier flush may have emptied it.
            if blob_journal.is_urgent()
                && let Err(error) = blob_journal.flush().await
            {
                tracing::warn!(%error, "cannot write journaled content to files; trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Waits for a change and the end of the debounce.
    async fn wait(&self) {
        let Inner { wake, changes, .. } = &*self.inner;
        wake.notified().await;
        let begun = Instant::now();
        let (mut seen, mut quiet) = (changes.load(Ordering::Relaxed), begun);
        while quiet.elapsed() < QUIET && begun.elapsed() < LATEST {
            tokio::time::sleep(LOOK).await;
            let now = changes.load(Ordering::Relaxed);
            if now != seen {
                (seen, quiet) = (now, Instant::now());
            }
        }
    }

    /// Writes the view now. Returns the number of outbox items.
    ///
    /// # Errors
    /// [`StoreError`] of the metadata or the file system. The next round repeats the unfinished items.
    pub async fn drain(&self) -> Result<u64, StoreError> {
        self.drain_until(None).await
    }

    async fn drain_until(&self, deadline: Option<Instant>) -> Result<u64, StoreError> {
        let mut total = 0;
        loop {
            match self.round(Priority::Ordinary, deadline).await? {
                0 => return Ok(total),
                notes => total += notes,
            }
            if is_past(deadline) {
                tracing::info!("the next start writes the rest of the repositories/ view");
                return Ok(total);
            }
        }
    }

    /// Returns the repositories whose links cannot be written, with the reason.
    #[must_use]
    pub fn blocked(&self) -> Vec<(RepositoryName, String)> {
        let blocked = self.inner.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        blocked.iter().map(|(repository, why)| (repository.clone(), why.clone())).collect()
    }

    /// Returns content whose file cannot be written.
    #[must_use]
    pub fn unwritten(&self) -> Vec<Unwritten> {
        self.inner.blob_journal.unwritten()
    }

    /// Adopts the changes of another program (see [`adopt`](crate::adopt)). The view may be written
    /// meanwhile.
    ///
    /// # Errors
    /// The errors of [`adopt`](crate::adopt::adopt).
    pub async fn adopt(
        &self,
        directory: &Directory,
        blobs: &dyn BlobStore,
        scope: Scope,
        describe: Describe<'_>,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<Report, StoreError> {
        let Inner { metadata, turn, .. } = &*self.inner;
        if metadata.is_shared() {
            return Ok(Report::default());
        }
        adopt::adopt(directory, blobs, metadata, scope, Some(turn), describe, progress).await
    }

    /// Flushes the blob journal and writes the items of the changes so far, as far as the deadline allows.
    /// Returns their number.
    async fn round(&self, mut priority: Priority, deadline: Option<Instant>) -> Result<u64, StoreError> {
        let Inner { metadata, blob_journal, links, round, .. } = &*self.inner;
        let _alone = round.lock().await;
        let (cursor, newest) = metadata.view_progress().await?;
        blob_journal.flush().await?;
        if metadata.is_shared() && !self.inner.writes_bucket {
            metadata.view_written(newest, &[], &[], vec![]).await?;
            return Ok(0);
        }
        if newest - cursor > MANY {
            priority = Priority::Ordinary;
        }
        let mut round = Round::default();
        let (mut last, mut retried) = (None, BTreeSet::new());
        loop {
            let items = metadata.view_blocked(last, BATCH).await?;
            last = items.last().cloned();
            if last.is_none() {
                break;
            }
            retried.extend(items.iter().map(|(repository, _)| repository.clone()));
            self.write_items(items, priority, deadline, &mut round).await?;
        }
        let mut after = cursor;
        while after < newest && (round.count == 0 || !is_past(deadline)) {
            let mut changes = metadata.view_changes(after, BATCH).await?;
            // The content of newer items may not be flushed.
            changes.retain(|change| change.id <= newest);
            after =
                if changes.len() < BATCH { newest } else { changes.last().map_or(newest, |last| last.id) };
            let items = changes.into_iter().map(|change| (change.repository, change.item)).collect();
            self.write_items(items, priority, deadline, &mut round).await?;
        }
        if after == cursor && retried.is_empty() {
            return Ok(0);
        }
        // Also links that were right already: an earlier round or process may have been cut off before its
        // sync. A power failure after the acknowledgement would bring the old link back, which looks like a
        // change of another program.
        if !metadata.is_shared() {
            let written = links.clone();
            blocking_at(priority, move || written.sync()).await?;
        }
        let Round { blocked, blocked_items, touched, count, .. } = round;
        let unblocked: Vec<_> = retried.into_iter().filter(|name| !blocked.contains_key(name)).collect();
        self.record_tags_directories(&touched).await?;
        let stamps = self.stamps(touched, priority).await?;
        if let Some(position) = &self.inner.position
            && self.inner.records_position.load(Ordering::Acquire)
        {
            position.follow(after).await?;
        }
        metadata.view_written(after, &blocked_items, &unblocked, stamps).await?;
        self.log_blocked(blocked);
        Ok(count)
    }

    /// Writes the present links of items.
    async fn write_items(
        &self,
        items: Vec<RepositoryItem>,
        priority: Priority,
        deadline: Option<Instant>,
        round: &mut Round,
    ) -> Result<(), StoreError> {
        if items.is_empty() {
            return Ok(());
        }
        let Inner { turn, links, metadata, .. } = &*self.inner;
        let turn = turn.lock().await;
        let steps = Arc::new(self.steps_for(items.clone()).await?);
        let applied = if metadata.is_shared() {
            Applied::default()
        } else {
            let (links, steps) = (links.clone(), steps.clone());
            blocking_at(priority, move || links.apply_each(&steps)).await?
        };
        self.write_bucket(&steps, deadline).await?;
        drop(turn);
        round.blocked.extend(applied.blocked);
        round.touched.extend(applied.touched);
        let is_blocked = |(repository, _): &RepositoryItem| round.blocked.contains_key(repository);
        let (blocked, written): (Vec<_>, Vec<_>) = items.into_iter().partition(is_blocked);
        round.blocked_items.extend(blocked);
        round.count += written.len() as u64;
        Ok(())
    }

    /// Applies steps to the links of the bucket, if they are written.
    async fn write_bucket(
        &self,
        steps: &[(RepositoryName, Vec<Step>)],
        deadline: Option<Instant>,
    ) -> Result<(), StoreError> {
        let Inner { bucket: Some(bucket), writes_bucket: true, links, .. } = &*self.inner else {
            return Ok(());
        };
        let applied = bucket::apply(bucket, links.root(), steps);
        match deadline {
            None => applied.await,
            // The next start writes them.
            Some(deadline) => tokio::time::timeout_at(deadline, applied).await.unwrap_or_else(|_| {
                let reason = "it takes too long".to_owned();
                Err(StoreError::ObjectStore { action: "write links to", what: bucket.place(), reason })
            }),
        }
    }

    /// Records the new tags directories of written repositories that hold all tags. Others lack those that
    /// were in a directory which another program has removed.
    async fn record_tags_directories(&self, touched: &BTreeSet<RepositoryName>) -> Result<(), StoreError> {
        let Inner { metadata, links, .. } = &*self.inner;
        let mut complete = Vec::new();
        for repository in touched {
            let root = links.repository(repository);
            let found = blocking(move || Ok(TagsDirectory::of(&root))).await?;
            let Some(directory) = found else { continue };
            if metadata.tags_directory(repository).await?.as_ref() == Some(&directory) {
                continue;
            }
            let (root, name) = (links.root().to_owned(), repository.clone());
            let names = blocking(move || Ok(adopt::tag_names(&root, name))).await?;
            // A tag whose link waits in the outbox brings the repository into a later round.
            if metadata.has_tags_among(repository, names).await? {
                complete.push((repository.clone(), directory));
            }
        }
        metadata.record_tags_directories(complete).await
    }

    /// Returns the stamps of the written repositories' directories and of those above them.
    async fn stamps(
        &self,
        repositories: BTreeSet<RepositoryName>,
        priority: Priority,
    ) -> Result<Vec<(String, ViewStamp)>, StoreError> {
        let root = self.inner.links.root().to_owned();
        blocking_at(priority, move || {
            let mut paths = BTreeSet::from([""]);
            for repository in &repositories {
                let name = repository.as_str();
                paths.extend(name.match_indices('/').map(|(end, _)| &name[..end]));
                paths.insert(name);
            }
            // A removed directory has no stamp.
            let stamp = |path: &str| Some((path.to_owned(), ViewStamp::of(&root.join(path)).ok()?));
            Ok(if repositories.is_empty() { vec![] } else { paths.into_iter().filter_map(stamp).collect() })
        })
        .await
    }

    /// Logs newly blocked repositories, and the end of a blockade.
    fn log_blocked(&self, now: BTreeMap<RepositoryName, String>) {
        let mut blocked = self.inner.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        let new: Vec<_> = now.iter().filter(|(repository, _)| !blocked.contains_key(*repository)).collect();
        if let Some((repository, error)) = new.first() {
            let root = self.inner.links.root();
            tracing::warn!(
                %repository,
                repositories = new.len(),
                error = error.as_str(),
                cure = chown(root).as_str(),
                "cannot write the links of a repository below repositories/; its images are still served, and other \
                 repositories are not affected"
            );
        }
        if !blocked.is_empty() && now.is_empty() {
            tracing::info!("the links of all repositories can be written again");
        }
        *blocked = now;
    }

    /// Returns the steps that bring the changed items to the state of the metadata. The caller holds `turn`.
    async fn steps_for(
        &self,
        items: Vec<RepositoryItem>,
    ) -> Result<Vec<(RepositoryName, Vec<Step>)>, StoreError> {
        let Inner { links, metadata, .. } = &*self.inner;
        let mut seen = HashSet::new();
        let items = items.into_iter().filter(|item| seen.insert(item.clone())).collect();
        let mut steps: Vec<(RepositoryName, Vec<Step>)> = Vec::new();
        for (repository, item, target) in metadata.view_targets(items).await? {
            let more = match target {
                // Deleted and created again: the outbox holds each link of the old one.
                ViewTarget::Directory => Vec::new(),
                ViewTarget::Link(target) => links.steps(&repository, &item, Some(target)),
                ViewTarget::Nothing => links.steps(&repository, &item, None),
            };
            match steps.last_mut() {
                Some((last, steps)) if *last == repository => steps.extend(more),
                _ => steps.push((repository, more)),
            }
        }
        Ok(steps)
    }
}

fn is_past(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// Returns the command that gives a directory to the user of this process.
fn chown(root: &std::path::Path) -> String {
    let user = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    format!("chown -R {}:{} {}", user.0, user.1, root.display())
}
