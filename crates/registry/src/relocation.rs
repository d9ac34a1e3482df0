//! The move of a registry to other places: blobs to a bucket or back, metadata to PostgreSQL or back.
//!
//! Blobs are copied while the registry serves. Passes over the metadata find the blobs that were pushed
//! meanwhile, until a pass finds few. Then changes are refused (503), the last blobs and the metadata are
//! copied, and one file makes the new places those of the registry. The old ones serve pulls until the server
//! is restarted. Nothing is deleted there. A move that is interrupted before that file changes nothing, and
//! the next one goes on: blobs in the target stay.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use oci::Digest;
use store::blobs::copying::{BlobCopier, BlobCopy};
use store::blobs::{BlobStore, Claim};
pub use store::database_url::DatabaseUrl;
pub use store::metadata::CopiedTable;
use store::metadata::Frozen;
pub use store::object_settings::{AccessKey, ObjectSettings, SharedKey, check_bucket_url};
pub use store::relocation::{BlobTarget, MetadataTarget, Relocation};
use uuid::Uuid;

use crate::{Error, JobKind, Registry};

/// The rows of blobs in memory.
const PAGE: usize = 256;
/// A pass with fewer new blobs is followed by the last one, during which pushes wait.
const FEW: u64 = 64;
/// The number of passes before the last one, at most. Pushes may be faster than the copy.
const PASSES: usize = 20;
/// The interval of the renewals of a bucket's lease.
const RENEWAL: Duration = Duration::from_secs(5);
/// The faulty blobs that a report names.
const NAMED: usize = 1000;

/// The state of a move.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelocationProgress {
    /// Whether changes are refused.
    pub is_frozen: bool,
    /// The blobs in the target.
    pub blobs: u64,
    /// The bytes that were copied.
    pub bytes: u64,
    /// The copied rows of the metadata.
    pub rows: u64,
}

/// The result of a move.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelocationReport {
    /// The blobs, if they were moved.
    pub blobs: Option<BlobCopy>,
    /// The tables, if the metadata were moved.
    pub tables: Vec<CopiedTable>,
    /// The number of unfinished uploads, which clients begin again.
    pub uploads: u64,
    /// The time for which changes were refused before the move was complete.
    pub frozen_for: Duration,
}

impl Registry {
    /// Moves the registry to other places. Afterwards it refuses changes until it is closed, and is to be
    /// opened with the new settings. If the future is dropped, the move ends, unless it is complete.
    ///
    /// # Errors
    /// [`Error::Store`] with the reason. The old places are then still those of the registry.
    pub async fn relocate(
        &self,
        to: Relocation,
        progress: impl Fn(RelocationProgress) + Send + Sync + 'static,
    ) -> Result<RelocationReport, Error> {
        let moved = self.job_metrics(JobKind::Move).run(self.relocate_all(to, progress)).await;
        if moved.is_ok() {
            tracing::info!("the registry was moved: restart the server with the new settings");
        }
        moved
    }

    async fn relocate_all(
        &self,
        to: Relocation,
        progress: impl Fn(RelocationProgress) + Send + Sync + 'static,
    ) -> Result<RelocationReport, Error> {
        if self.is_replica() {
            return Err(store::StoreError::Replica.into());
        }
        let (directory, id) = (&self.inner.directory, self.metadata.id().to_owned());
        {
            let (directory, to, id) = (directory.clone(), to.clone(), id.clone());
            let checked = tokio::task::spawn_blocking(move || directory.check_relocation(&to, &id)).await;
            checked.map_err(|_| store::StoreError::Closed)??;
        }
        let progress = Arc::new(progress);
        let Some(place) = &to.blobs else {
            let copied = self.copy_rest(&to, None, &progress).await?;
            return self.commit(to, copied).await;
        };
        let target = directory.open_target(place)?;
        target.claim(&id, Claim::New).await?;
        let keep = async {
            loop {
                tokio::time::sleep(RENEWAL).await;
                if let Err(error) = target.ready().await {
                    return error;
                }
            }
        };
        let copied = tokio::select! {
            copied = self.copy_all(&to, &*target, &progress) => copied,
            // Another server took the bucket, or it cannot be reached.
            error = keep => Err(error.into()),
        };
        match copied {
            Ok(copied) => self.commit(to, copied).await,
            Err(error) => {
                if let Err(error) = target.release().await {
                    tracing::debug!(%error, "cannot release the lease of the new bucket");
                }
                Err(error)
            }
        }
    }

    async fn copy_all(
        &self,
        to: &Relocation,
        target: &dyn BlobStore,
        progress: &Arc<impl Fn(RelocationProgress) + Send + Sync + 'static>,
    ) -> Result<Copied, Error> {
        let mut copier = BlobCopier::new(&*self.inner.blobs, target);
        for _ in 0..PASSES {
            if self.pass(&mut copier, false, &**progress).await? < FEW {
                break;
            }
        }
        self.copy_rest(to, Some(copier), progress).await
    }

    /// Copies all blobs that the target lacks. Returns the number of those that earlier passes did not see.
    async fn pass(
        &self,
        copier: &mut BlobCopier<'_>,
        is_frozen: bool,
        progress: &(dyn Fn(RelocationProgress) + Send + Sync),
    ) -> Result<u64, Error> {
        let report = |state: &BlobCopy| {
            let (blobs, bytes) = (state.present, state.copied_bytes);
            progress(RelocationProgress { is_frozen, blobs, bytes, rows: 0 });
        };
        let (mut after, mut new) = (0, 0);
        loop {
            let page = self.metadata.stored_contents(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            let blobs: Vec<(Digest, u64)> =
                page.iter().map(|content| (content.digest, content.size)).collect();
            new += copier.copy(blobs, &report).await?;
        }
        copier.flush().await?;
        Ok(new)
    }

    /// Refuses changes, and copies the rest.
    async fn copy_rest(
        &self,
        to: &Relocation,
        copier: Option<BlobCopier<'_>>,
        progress: &Arc<impl Fn(RelocationProgress) + Send + Sync + 'static>,
    ) -> Result<Copied, Error> {
        self.flush_pulls().await?;
        let begun = Instant::now();
        let frozen = self.metadata.freeze().await?;
        let unfinished = match to.blobs.is_some() {
            true => self.metadata.unfinished_uploads().await?,
            false => Vec::new(),
        };
        let mut blobs = None;
        if let Some(mut copier) = copier {
            self.pass(&mut copier, true, &**progress).await?;
            blobs = Some(copier.state());
        }
        let (present, bytes) = blobs.as_ref().map_or((0, 0), |state| (state.present, state.copied_bytes));
        let (report, next) = (progress.clone(), AtomicU64::new(0));
        let tables = self.inner.directory.copy_metadata(to, move |rows| {
            if rows >= next.load(Ordering::Relaxed) {
                next.store(rows + 1000, Ordering::Relaxed);
                report(RelocationProgress { is_frozen: true, blobs: present, bytes, rows });
            }
        });
        let tables = tables.await?;
        let uploads = unfinished.into_iter().map(|upload| upload.id).collect();
        Ok(Copied { frozen, begun, blobs, tables, uploads })
    }

    /// Makes the new places those of the registry.
    async fn commit(&self, to: Relocation, copied: Copied) -> Result<RelocationReport, Error> {
        let Copied { frozen, begun, mut blobs, tables, uploads } = copied;
        // Several servers do not write the links of their directories.
        let links_are_old = self.metadata.is_shared();
        self.inner.directory.commit_relocation(to, self.metadata.id(), links_are_old, frozen).await?;
        let frozen_for = begun.elapsed();
        for upload in &uploads {
            // The next start on the old place would remove it as well.
            if let Err(error) = self.inner.blobs.abort(*upload).await {
                tracing::debug!(%error, %upload, "cannot remove an unfinished upload of the old place");
            }
        }
        if self.inner.shipping.is_some()
            && let Err(error) = store::shipping::forget(&self.inner.directory, self.metadata.id()).await
        {
            tracing::warn!(%error, "cannot remove the snapshots of the metadata from the old place");
        }
        if let Some(state) = &mut blobs {
            for digest in state.faulty.iter().take(NAMED) {
                tracing::warn!(%digest, "missing or damaged in the old place, and so not in the new one");
            }
            state.faulty.truncate(NAMED);
        }
        Ok(RelocationReport { blobs, tables, uploads: uploads.len() as u64, frozen_for })
    }
}

/// Everything in the new places, before they count.
struct Copied {
    frozen: Frozen,
    begun: Instant,
    blobs: Option<BlobCopy>,
    tables: Vec<CopiedTable>,
    uploads: Vec<Uuid>,
}
