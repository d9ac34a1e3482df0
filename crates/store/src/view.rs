//! The `repositories/` view: links in distribution's layout, derived from the metadata.
//!
//! No request reads it. It is there so that the operator can look at the images as files, so that
//! distribution started on the directory serves them, and so that a lost database can be rebuilt
//! (see [`adopt`](crate::adopt)).
//!
//! A write to the metadata leaves notes of what it changed, in its own transaction. A single task
//! waits for a pause, takes the notes, asks the metadata what each item should be by now, makes it
//! so, syncs, and only then takes the notes away. Whatever happens in between, the notes are still there and the same
//! is done once more, which does no harm. Links are not synced one by one: that would cost several
//! syncs for each push. One `syncfs` for all that was written does it.
//!
//! Content is settled before a link to it is written, so that the view never names what a failure
//! of power could take away: distribution started on it would believe the link.

mod links;
mod repair;
mod stamp;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use oci::{Manifest, RepositoryName};
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use crate::adopt::{self, Report, Scope};
use crate::blob_journal::BlobJournal;
use crate::blocking::{Priority, blocking_at};
use crate::metadata::{ViewChange, ViewStamp, ViewTarget};
use crate::{BlobStore, Directory, Metadata, StoreError};

use links::Step;
pub(crate) use links::{LAYERS, Links, MANIFESTS};
pub use repair::RepairReport;

/// When the view is so many notes behind, they are dealt with at the priority of all else.
const MANY: i64 = 50_000;
/// Notes dealt with at a time; also what they take up in memory.
const BATCH: usize = 2048;
/// After nothing was changed for so long, the view is written: it takes the disk from those who wait
/// for it to answer a push.
const QUIET: Duration = Duration::from_secs(1);
/// But it is written so long after a change at the latest.
const LATEST: Duration = Duration::from_secs(5);
/// How often is looked whether the time has come.
const LOOK: Duration = Duration::from_millis(100);
/// How long the view is written when the process ends, which service managers kill after 10 s. The next start does the
/// rest.
const CLOSING: Duration = Duration::from_secs(3);
/// After a failure, such as a full disk, it is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// A repository whose links cannot be written is tried again so often.
const RETRY_BLOCKED: Duration = Duration::from_secs(60);

/// Keeps the `repositories/` view in step with the metadata. All clones are the same view.
#[derive(Clone)]
pub struct View {
    inner: Arc<Inner>,
}

struct Inner {
    links: Links,
    metadata: Metadata,
    blob_journal: BlobJournal,
    wake: Notify,
    /// Wakes whoever settles content when much has gathered.
    flush: Notify,
    /// How often the metadata has changed.
    changes: AtomicU64,
    /// Held from asking the metadata until what it said is written: otherwise of two who write
    /// the same link, the one who asked first could write last.
    turn: Mutex<()>,
    /// The repositories whose links cannot be written, and why. Their notes stay.
    blocked: std::sync::Mutex<BTreeMap<RepositoryName, String>>,
}

impl View {
    /// The view of a data directory.
    #[must_use]
    pub fn new(directory: &Directory, metadata: Metadata, blob_journal: BlobJournal) -> Self {
        let links = Links::new(directory.repositories().to_owned());
        let (wake, flush, changes, turn) =
            (Notify::new(), Notify::new(), AtomicU64::new(0), Mutex::default());
        let blocked = std::sync::Mutex::default();
        Self { inner: Arc::new(Inner { links, metadata, blob_journal, wake, flush, changes, turn, blocked }) }
    }

    /// Tells that the metadata has changed. Costs next to nothing.
    pub fn wake(&self) {
        self.inner.changes.fetch_add(1, Ordering::Relaxed);
        if self.inner.blob_journal.is_urgent() {
            self.inner.flush.notify_one();
        }
        self.inner.wake.notify_one();
    }

    /// Keeps the view in step until `closing` is done, and then until nothing is left to do. At
    /// first it makes up for what was left when the process last ended.
    ///
    /// Meanwhile content is settled whenever much of it has gathered, whether the view comes to it
    /// or not.
    pub async fn run(&self, closing: impl Future<Output = ()>) {
        tokio::select! {
            () = self.follow(closing) => {}
            () = self.settle_what_is_much() => {}
        }
    }

    async fn follow(&self, closing: impl Future<Output = ()>) {
        let mut closing = pin!(closing);
        loop {
            let done = match self.round(Priority::Low, None).await {
                Ok(_) => true,
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::warn!(%error, "the repositories/ view could not be written, trying again");
                    false
                }
            };
            let wait = async {
                match done {
                    true if self.blocked().is_empty() => self.wait().await,
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
                tracing::warn!(%error, "the repositories/ view is not complete; that is made up for at the next start");
            }
        }
    }

    async fn settle_what_is_much(&self) {
        let Inner { blob_journal, flush, .. } = &*self.inner;
        loop {
            flush.notified().await;
            // One that began before may have settled it.
            if blob_journal.is_urgent()
                && let Err(error) = blob_journal.flush().await
            {
                tracing::warn!(%error, "content could not be written to files of its own, trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Waits until there is something to do and it should be done.
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

    /// Brings the view in step now. Returns how many notes there were.
    ///
    /// # Errors
    /// [`StoreError`] of the metadata or the file system; what was not done is done next time.
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
                tracing::info!("the rest of the repositories/ view is written at the next start");
                return Ok(total);
            }
        }
    }

    /// The repositories whose links cannot be written, and why.
    #[must_use]
    pub fn blocked(&self) -> Vec<(RepositoryName, String)> {
        let blocked = self.inner.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        blocked.iter().map(|(repository, why)| (repository.clone(), why.clone())).collect()
    }

    /// Adopts what another program has changed in the view (see [`adopt`](crate::adopt)), also while
    /// the view is written.
    ///
    /// # Errors
    /// Those of [`adopt`](crate::adopt::adopt).
    pub async fn adopt<F, D>(
        &self,
        directory: &Directory,
        blobs: &dyn BlobStore,
        scope: Scope,
        describe: F,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<Report, StoreError>
    where
        F: Fn(Manifest) -> D + Send + Sync,
        D: Future<Output = Result<Option<String>, StoreError>> + Send,
    {
        let Inner { metadata, turn, .. } = &*self.inner;
        adopt::adopt(directory, blobs, metadata, scope, Some(turn), describe, progress).await
    }

    /// Settles all content, and deals with the notes that there are at the beginning, as far as the
    /// deadline allows. Returns how many those were.
    async fn round(&self, mut priority: Priority, deadline: Option<Instant>) -> Result<u64, StoreError> {
        let Inner { metadata, blob_journal, turn, links, .. } = &*self.inner;
        let newest = metadata.newest_view_change().await?;
        blob_journal.flush().await?;
        let Some(newest) = newest else { return Ok(0) };
        let (mut after, mut count, mut written) = (0, 0, false);
        let mut blocked: BTreeMap<RepositoryName, String> = BTreeMap::new();
        let mut touched: BTreeSet<RepositoryName> = BTreeSet::new();
        if metadata.view_changes(0, 1).await?.first().is_some_and(|oldest| newest - oldest.id > MANY) {
            priority = Priority::Ordinary;
        }
        while after < newest && (count == 0 || !is_past(deadline)) {
            let mut changes = metadata.view_changes(after, BATCH).await?;
            // Those that came in since may be of content that is not settled.
            changes.retain(|change| change.id <= newest);
            let Some(last) = changes.last() else { break };
            after = last.id;
            let repositories: Vec<_> = changes.iter().map(|change| change.repository.clone()).collect();
            let turn = turn.lock().await;
            let steps = self.steps_for(changes).await?;
            let links = links.clone();
            let applied = blocking_at(priority, move || links.apply_each(steps)).await?;
            drop(turn);
            written |= applied.changed;
            blocked.extend(applied.blocked);
            touched.extend(applied.touched);
            count +=
                repositories.iter().filter(|repository| !blocked.contains_key(*repository)).count() as u64;
        }
        if written {
            let links = links.clone();
            blocking_at(priority, move || links.sync()).await?;
        }
        let stamps = self.stamps(touched, priority).await?;
        let except: Vec<_> = blocked.keys().cloned().collect();
        metadata.view_written(after, &except, stamps).await?;
        self.tell_of_blocked(blocked);
        Ok(count)
    }

    /// What the directories look like now in which links were written: those of the repositories and
    /// those above them.
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
            // One that is not there any more has no stamp.
            let stamp = |path: &str| Some((path.to_owned(), ViewStamp::of(&root.join(path)).ok()?));
            Ok(if repositories.is_empty() { vec![] } else { paths.into_iter().filter_map(stamp).collect() })
        })
        .await
    }

    /// Logs which repositories cannot be written, and which can be again, once.
    fn tell_of_blocked(&self, now: BTreeMap<RepositoryName, String>) {
        let mut blocked = self.inner.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        let new: Vec<_> = now.iter().filter(|(repository, _)| !blocked.contains_key(*repository)).collect();
        if let Some((repository, error)) = new.first() {
            let root = self.inner.links.root();
            tracing::warn!(
                %repository,
                repositories = new.len(),
                error = error.as_str(),
                cure = chown(root).as_str(),
                "the links of a repository below repositories/ cannot be written; its images are served, and links of \
                 other repositories are written"
            );
        }
        if !blocked.is_empty() && now.is_empty() {
            tracing::info!("the links of all repositories below repositories/ can be written again");
        }
        *blocked = now;
    }

    /// What is to be done so that the items that changed are as the metadata has them now. The
    /// caller has the turn.
    async fn steps_for(
        &self,
        changes: Vec<ViewChange>,
    ) -> Result<Vec<(RepositoryName, Vec<Step>)>, StoreError> {
        let Inner { links, metadata, .. } = &*self.inner;
        let mut seen = HashSet::new();
        let items = changes.into_iter().map(|change| (change.repository, change.item));
        let items = items.filter(|item| seen.insert(item.clone())).collect();
        let mut steps: Vec<(RepositoryName, Vec<Step>)> = Vec::new();
        for (repository, item, target) in metadata.view_targets(items).await? {
            let more = match target {
                // It was deleted and is there again: each link of the old one has a note.
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

/// The command that gives a directory to the user who has it.
fn chown(root: &std::path::Path) -> String {
    let user = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    format!("chown -R {}:{} {}", user.0, user.1, root.display())
}
