//! A fill: one download of a blob from an upstream, which all clients read while it arrives.
//!
//! The bytes go to the file of an upload in order, and each reader reads them at its own offset: the latest
//! from memory, older ones from the growing file. The last byte is withheld until the digest is verified and
//! the blob exists here, so that a client never gets a complete wrong answer. A fill belongs to no client.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use oci::{Digest, RepositoryName};
use store::blobs::{Stored, Upload};
use tracing::Instrument as _;
use upstream::UpstreamBlob;
use uuid::Uuid;

use super::fill::{Fill, FillError};
use super::{Mirror, MirrorError, Upstream};
use crate::Registry;
use crate::collection::guards::ContentLease;

/// Bytes to gather before they are written and shown to the readers.
const PIECE: usize = 256 * 1024;
/// Attempts without progress after a transfer was cut.
const ATTEMPTS: u32 = 5;
/// The wait before the second attempt; each further one doubles it.
const RETRY: Duration = Duration::from_millis(200);

/// Removes a fill from the table when it ends, also by a panic or at a stop.
struct Entry {
    mirror: Mirror,
    key: (RepositoryName, Digest),
    fill: Arc<Fill>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.mirror.inner.fills.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
        self.fill.progress.send_if_modified(|progress| {
            let is_open = progress.end.is_none();
            if is_open {
                let reason = "the registry is stopping".to_owned();
                progress.end = Some(Err(FillError::NotKept(reason)));
            }
            is_open
        });
    }
}

impl Mirror {
    /// Joins the fill of a blob, or starts it.
    pub(super) fn fill(
        &self,
        upstream: &Arc<Upstream>,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Arc<Fill> {
        let key = (repository.clone(), *digest);
        let mut fills = self.inner.fills.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fill) = fills.get(&key) {
            return fill.clone();
        }
        let fill = Arc::new(Fill::new());
        fills.insert(key.clone(), fill.clone());
        drop(fills);
        let entry = Entry { mirror: self.clone(), key, fill: fill.clone() };
        let (mirror, upstream) = (self.clone(), upstream.clone());
        let span = tracing::trace_span!(target: "wharfinger::spans", "blob.fill", oci.digest = %digest);
        let work = async move {
            let background = &mirror.inner.registry.inner.background;
            let run = mirror.run_fill(&upstream, &entry);
            let Some(end) = background.until_stop(run).await else { return };
            if let Err(FillError::NotKept(reason)) = &end {
                tracing::warn!(repository = %entry.key.0, digest = %entry.key.1, reason, "a blob cannot be kept; its clients get it straight from the upstream");
            }
            if let Err(FillError::Mirror(error)) = &end {
                upstream.report_failure(&entry.key.0, &entry.key.1, error);
            }
            // Before the readers hear of it: a new request must find the blob and not this fill.
            entry.mirror.inner.fills.lock().unwrap_or_else(PoisonError::into_inner).remove(&entry.key);
            entry.fill.progress.send_modify(|progress| {
                if let Ok(size) = &end {
                    progress.size = Some(*size);
                    progress.readable = *size;
                }
                progress.end = Some(end);
            });
        };
        tokio::spawn(work.instrument(span));
        fill
    }

    async fn run_fill(&self, upstream: &Arc<Upstream>, entry: &Entry) -> Result<u64, FillError> {
        let (repository, digest) = &entry.key;
        let registry = &self.inner.registry;
        let not_kept = |error: &dyn std::fmt::Display| FillError::NotKept(error.to_string());
        // The request may have looked for the blob before the end of another fill, and for that fill afterwards.
        if let Ok(size) = registry.blob_size(repository, digest).await {
            return Ok(size);
        }
        if let Some(size) = self.link_existing(upstream, repository, digest).await? {
            return Ok(size);
        }
        let claimed = registry.metadata.claimed_size(repository, digest).await;
        let claimed = claimed.map_err(|error| not_kept(&error))?;
        let mut source = self.open(upstream, repository, digest, 0, 0).await?;
        let size = source.size.or(claimed);
        if let (Some(claimed), Some(size)) = (claimed, source.size)
            && claimed != size
        {
            let reason = format!("{digest} has {size} bytes, but the manifest says {claimed}");
            return Err(invalid(upstream, reason));
        }
        if source.is_html {
            return Err(invalid(upstream, format!("it sends a page for people as {digest}")));
        }
        let limit = registry.policy().blob_bytes;
        if let (Some(limit), Some(size)) = (limit, size)
            && size > limit
        {
            return Err(FillError::Mirror(crate::Error::BlobTooLarge { limit }.into()));
        }
        entry.fill.progress.send_modify(|progress| {
            progress.is_begun = true;
            progress.size = size;
        });
        self.check_room(upstream, repository, size).await?;
        registry.check_place().map_err(|error| not_kept(&error))?;
        let id = Uuid::new_v4();
        let upload =
            registry.inner.blobs.begin_known(id, digest, true).await.map_err(|error| not_kept(&error))?;
        let mut transfer = Transfer { mirror: self, upstream, entry, size, limit, upload, received: 0 };
        let received = transfer.receive(&mut source).await;
        let upload = transfer.upload;
        let stored = match received {
            Ok(()) => commit(registry, upload, digest).await.map_err(|error| match error {
                store::StoreError::DigestMismatch { expected, actual } => {
                    invalid(upstream, format!("{expected} has the digest {actual}"))
                }
                error => not_kept(&error),
            }),
            Err(error) => Err(error),
        };
        let (stored, lease) = match stored {
            Ok(stored) => stored,
            Err(error) => {
                // The first error is the cause.
                let _ = registry.inner.blobs.abort(id).await;
                return Err(error);
            }
        };
        let size = stored.size;
        registry.metadata.link_blob(repository, digest, stored).await.map_err(|error| not_kept(&error))?;
        lease.linked();
        upstream.counters.misses.fetch_add(1, Ordering::Relaxed);
        self.count_stored(size);
        Ok(size)
    }

    /// Checks that a blob may be kept: it fits into the cache, and the reserve of the disk and the quotas
    /// leave room.
    async fn check_room(
        &self,
        upstream: &Upstream,
        repository: &RepositoryName,
        size: Option<u64>,
    ) -> Result<(), FillError> {
        if let (Some(limit), Some(size)) = (self.largest_blob(upstream), size)
            && size > limit
        {
            return Err(FillError::NotKept(format!("its {size} bytes exceed max_bytes, which is {limit}")));
        }
        let announced = self.inner.registry.check_announced(repository, size).await;
        announced.map_err(|error| FillError::NotKept(error.to_string()))
    }

    /// Links a blob that another repository of the same upstream has, after the upstream has confirmed that
    /// it is in this one too. Content of this registry is never linked: a manifest could name a private blob
    /// (CVE-2024-39897), and a lying upstream would confirm it.
    async fn link_existing(
        &self,
        upstream: &Upstream,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<u64>, FillError> {
        let registry = &self.inner.registry;
        let source = registry.metadata.blob_source(&format!("{}/", upstream.name()), digest).await;
        let source = source.map_err(|error| FillError::NotKept(error.to_string()))?;
        let Some((source, _)) = source.filter(|(source, _)| source != repository) else { return Ok(None) };
        let Ok(stored) = registry.blob_size(&source, digest).await else { return Ok(None) };
        let path = upstream.path(repository).unwrap_or_default();
        match upstream.settings.client.head_blob(path, digest).await {
            Ok(Some(size)) if size.is_none_or(|size| size == stored) => {}
            _ => return Ok(None),
        }
        let linked = registry.metadata.mount_blob(repository, digest, stored, &source).await;
        let linked = linked.map_err(|error| FillError::NotKept(error.to_string()))?;
        self.count_stored(linked.unwrap_or(0));
        Ok(linked)
    }

    /// Opens a blob of the upstream.
    pub(super) async fn open(
        &self,
        upstream: &Upstream,
        repository: &RepositoryName,
        digest: &Digest,
        offset: u64,
        url: usize,
    ) -> Result<UpstreamBlob, FillError> {
        let path = upstream.path(repository).unwrap_or_default();
        upstream.counters.fetches.fetch_add(1, Ordering::Relaxed);
        match upstream.settings.client.open_blob(path, digest, offset, url).await {
            Ok(Some(blob)) => Ok(blob),
            Ok(None) => Err(FillError::Mirror(MirrorError::BlobAbsent {
                upstream: upstream.name().to_owned(),
                repository: repository.clone(),
                digest: *digest,
            })),
            Err(error) => Err(FillError::Mirror(MirrorError::of_upstream(upstream.name(), &error))),
        }
    }
}

/// Commits a fill, with a lease that keeps a collection away until the blob is linked.
async fn commit(
    registry: &Registry,
    upload: Upload,
    digest: &Digest,
) -> Result<(Stored, ContentLease), store::StoreError> {
    let lease = registry.inner.guards.store(digest).await;
    registry.lease_large(digest, upload.offset()).await?;
    Ok((upload.commit(digest).await?, lease))
}

pub(super) fn invalid(upstream: &Upstream, reason: String) -> FillError {
    FillError::Mirror(MirrorError::Invalid { upstream: upstream.name().to_owned(), reason })
}

struct Transfer<'a> {
    mirror: &'a Mirror,
    upstream: &'a Arc<Upstream>,
    entry: &'a Entry,
    size: Option<u64>,
    limit: Option<u64>,
    upload: Upload,
    received: u64,
}

impl Transfer<'_> {
    /// Receives the blob to its end. A cut transfer is resumed, from the next URL if there is one.
    async fn receive(&mut self, source: &mut UpstreamBlob) -> Result<(), FillError> {
        let (mut attempts, mut progress) = (0, 0);
        loop {
            let reason = match self.receive_from(source).await? {
                Ok(()) => return Ok(()),
                Err(reason) => reason,
            };
            if self.received > progress {
                (attempts, progress) = (0, self.received);
            }
            let mut reason = reason;
            *source = loop {
                attempts += 1;
                if attempts > ATTEMPTS {
                    let upstream = self.upstream.name().to_owned();
                    return Err(FillError::Mirror(MirrorError::Down { upstream, reason }));
                }
                tracing::info!(repository = %self.entry.key.0, digest = %self.entry.key.1, received = self.received, reason, "the transfer of a blob from the upstream was cut off; resuming it");
                tokio::time::sleep(RETRY * (1 << (attempts - 1))).await;
                let urls = self.upstream.settings.client.upstreams().len().max(1);
                let next = (source.url + 1) % urls;
                let (repository, digest) = &self.entry.key;
                match self.mirror.open(self.upstream, repository, digest, self.received, next).await {
                    Ok(next) => break next,
                    Err(FillError::Mirror(
                        error @ (MirrorError::Down { .. } | MirrorError::Invalid { .. }),
                    )) => {
                        reason = error.reason().unwrap_or_default().to_owned();
                    }
                    Err(error) => return Err(error),
                }
            };
        }
    }

    /// Receives from one response. The inner error is a cut.
    async fn receive_from(&mut self, source: &mut UpstreamBlob) -> Result<Result<(), String>, FillError> {
        // An upstream without ranges begins anew.
        let mut skip = self.received.saturating_sub(source.offset);
        loop {
            let mut gathered = 0;
            let mut end = None;
            while gathered < PIECE {
                // Waits for the first bytes only, and then takes what has arrived.
                let next = if gathered == 0 {
                    source.next().await
                } else {
                    match source.next().now_or_never() {
                        Some(next) => next,
                        None => break,
                    }
                };
                match next {
                    Ok(Some(mut bytes)) => {
                        let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
                        skip -= skipped as u64;
                        let bytes = bytes.split_off(skipped);
                        gathered += bytes.len();
                        self.write(bytes).await?;
                    }
                    Ok(None) => {
                        end = Some(match self.size {
                            Some(size) if self.received < size => {
                                Err(format!("the transfer ended after {} of {size} bytes", self.received))
                            }
                            _ => Ok(()),
                        });
                        break;
                    }
                    Err(reason) => {
                        end = Some(Err(reason));
                        break;
                    }
                }
            }
            self.show(gathered).await?;
            if let Some(end) = end {
                return Ok(end);
            }
        }
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), FillError> {
        self.received += bytes.len() as u64;
        if self.size.is_some_and(|size| self.received > size) {
            let reason =
                format!("it sends more than the {} bytes of the blob", self.size.unwrap_or_default());
            return Err(invalid(self.upstream, reason));
        }
        if let Some(limit) = self.limit
            && self.received > limit
        {
            return Err(FillError::Mirror(crate::Error::BlobTooLarge { limit }.into()));
        }
        self.entry.fill.add(bytes.clone());
        self.upload.write(bytes).await.map_err(|error| FillError::NotKept(error.to_string()))
    }

    /// Shows the received bytes to the readers, but the last one.
    async fn show(&mut self, bytes: usize) -> Result<(), FillError> {
        if bytes == 0 {
            return Ok(());
        }
        // Other transfers fill the disk too. The limit applies to blobs whose size is unknown until now.
        let registry = &self.mirror.inner.registry;
        registry.check_reserve(0).map_err(|error| FillError::NotKept(error.to_string()))?;
        if let Some(limit) = self.mirror.largest_blob(self.upstream)
            && self.received > limit
        {
            return Err(FillError::NotKept(format!("it exceeds max_bytes, which is {limit}")));
        }
        let readable = self.received.saturating_sub(1);
        self.entry.fill.progress.send_modify(|progress| progress.readable = readable);
        // It could go on for ever. A blob that an image names has a size.
        if self.size.is_none() && self.entry.fill.progress.receiver_count() == 0 {
            return Err(FillError::NotKept("its size is unknown, and its clients are gone".to_owned()));
        }
        self.upstream.counters.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        if self.entry.fill.is_full() {
            self.save().await.map_err(|error| FillError::NotKept(error.to_string()))?;
        }
        self.upstream.pacer.received(bytes).await;
        Ok(())
    }

    /// Writes all received bytes to the file, where readers find them later.
    async fn save(&mut self) -> Result<(), store::StoreError> {
        self.upload.save().await?;
        let fill = &self.entry.fill;
        let file = match fill.file() {
            Some(file) => Some(file),
            None => {
                self.mirror.inner.registry.inner.blobs.read_upload(self.upload.id()).await?.map(Arc::from)
            }
        };
        if let Some(file) = file {
            fill.saved(file);
        }
        Ok(())
    }
}
