//! The `repositories/` view: links in distribution's layout, derived from the metadata.
//!
//! No request reads it. It is there so that the operator can look at the images as files, so that
//! distribution started on the directory serves them, and so that a lost database can be rebuilt
//! (see [`adopt`](crate::adopt)).
//!
//! A write to the metadata leaves notes of what it changed, in its own transaction. A single task
//! takes the notes, asks the metadata what each item should be by now, makes it so, syncs, and only
//! then takes the notes away. Whatever happens in between, the notes are still there and the same
//! is done once more, which does no harm. Links are not synced one by one: that would cost several
//! syncs for each push. One `syncfs` for all that was written does it.
//!
//! Content is settled before a link to it is written, so that the view never names what a failure
//! of power could take away: distribution started on it would believe the link.

mod checking;
mod links;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use oci::TagOrDigest;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use crate::metadata::{ViewChange, ViewItem};
use crate::settling::Settling;
use crate::{Directory, Metadata, StoreError};

pub use checking::Mended;
use links::Step;
pub(crate) use links::{LAYERS, Links, MANIFESTS, read_link};

/// Notes dealt with at a time; also what they take up in memory.
const BATCH: usize = 4096;
/// How far apart two syncs are at least.
const PAUSE: Duration = Duration::from_secs(1);
/// After a failure, such as a full disk, it is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Keeps the `repositories/` view in step with the metadata. All clones are the same view.
#[derive(Clone)]
pub struct View {
    inner: Arc<Inner>,
}

struct Inner {
    links: Links,
    metadata: Metadata,
    settling: Settling,
    wake: Notify,
    /// Held from asking the metadata until what it said is written: otherwise of two who write
    /// the same link, the one who asked first could write last.
    turn: Mutex<()>,
}

impl View {
    /// The view of a data directory.
    #[must_use]
    pub fn new(directory: &Directory, metadata: Metadata, settling: Settling) -> Self {
        let links = Links::new(directory.repositories().to_owned());
        let (wake, turn) = (Notify::new(), Mutex::default());
        Self { inner: Arc::new(Inner { links, metadata, settling, wake, turn }) }
    }

    /// Tells that the metadata has changed. Costs next to nothing.
    pub fn wake(&self) {
        self.inner.wake.notify_one();
    }

    /// Keeps the view in step until `closing` is done, and then until nothing is left to do. At
    /// first it makes up for what was left when the process last ended.
    pub async fn run(&self, closing: impl Future<Output = ()>) {
        let mut closing = pin!(closing);
        loop {
            let begun = Instant::now();
            let wait = match self.batch().await {
                Ok(0) => None,
                Ok(BATCH) => Some(begun),
                Ok(_) => Some(begun + PAUSE),
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::warn!(%error, "the repositories/ view could not be written, trying again");
                    Some(begun + RETRY)
                }
            };
            let wait = async {
                match wait {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => self.inner.wake.notified().await,
                }
            };
            tokio::select! {
                biased;
                () = &mut closing => break,
                () = wait => {}
            }
        }
        if let Err(error) = self.drain().await {
            tracing::warn!(%error, "the repositories/ view is not complete; that is made up for at the next start");
        }
    }

    /// Brings the view in step now. Returns how many notes there were.
    ///
    /// # Errors
    /// [`StoreError`] of the metadata or the file system; what was not done is done next time.
    pub async fn drain(&self) -> Result<u64, StoreError> {
        let mut total = 0;
        loop {
            match self.batch().await? {
                0 => return Ok(total),
                notes => total += notes as u64,
            }
        }
    }

    /// Deals with the oldest notes. Returns how many there were.
    async fn batch(&self) -> Result<usize, StoreError> {
        let Inner { links, metadata, settling, turn, .. } = &*self.inner;
        let changes = metadata.view_changes(BATCH).await?;
        if changes.is_empty() {
            settling.settle().await?;
            return Ok(0);
        }
        let turn = turn.lock().await;
        let mut seen = HashSet::new();
        let mut steps = Vec::new();
        for change in &changes {
            if seen.insert(links.directory(&change.repository, &change.item)) {
                self.steps_for(change, &mut steps).await?;
            }
        }
        settling.settle().await?;
        let links = links.clone();
        blocking(move || links.apply(&steps).and_then(|written| if written { links.sync() } else { Ok(()) }))
            .await?;
        drop(turn);
        let count = changes.len();
        metadata.view_written(changes.into_iter().map(|change| change.id).collect()).await?;
        Ok(count)
    }

    /// What is to be done so that the item is as the metadata has it now.
    async fn steps_for(&self, change: &ViewChange, steps: &mut Vec<Step>) -> Result<(), StoreError> {
        let Inner { links, metadata, .. } = &*self.inner;
        let ViewChange { repository, item, .. } = change;
        let target = match item {
            ViewItem::Layer(digest) => metadata.blob(repository, digest).await?.map(|_| *digest),
            ViewItem::Revision(digest) => {
                let manifest = metadata.manifest(repository, &TagOrDigest::Digest(*digest)).await?;
                manifest.map(|manifest| manifest.digest)
            }
            ViewItem::Tag(tag) => {
                let manifest = metadata.manifest(repository, &TagOrDigest::Tag(tag.clone())).await?;
                manifest.map(|manifest| manifest.digest)
            }
            ViewItem::Repository if metadata.repository_exists(repository).await? => {
                // It was deleted and is there again: what the old one had is not noted one by one.
                steps.extend(self.steps_to_mend(repository).await?);
                return Ok(());
            }
            ViewItem::Repository => None,
        };
        steps.extend(links.steps(repository, item, target));
        Ok(())
    }
}

/// Runs work on files where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(StoreError::Closed))
}
