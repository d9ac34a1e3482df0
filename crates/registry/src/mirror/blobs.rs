//! Blobs of upstreams: from the cache, or from a fill that is under way.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use oci::{Digest, Digester, RepositoryName};
use store::Blob;
use tokio::sync::watch;
use upstream::UpstreamBlob;

use super::fill::{Fill, FillError, Progress};
use super::manifests::check_fill;
use super::{InUse, Mirror, MirrorError, Upstream};

/// A fill of this size or less ends before its client is answered.
const SMALL: u64 = 64 * 1024;
/// The size of a piece that a reader reads from the growing file: 100 readers hold 6 MiB.
const PIECE: usize = 64 * 1024;
/// The attempts to open a blob that is evicted meanwhile.
const ATTEMPTS: usize = 3;
/// A range that begins so many bytes beyond the received ones is far.
const FAR: u64 = 16 << 20;

/// A blob that can be read.
#[allow(clippy::large_enum_variant, reason = "there is one for each transfer")]
pub enum BlobSource {
    /// The blob is here, and is not evicted while it is read.
    Stored(Blob, InUse),
    /// The blob is arriving.
    Filling(FillReader),
}

/// Reads a blob while it arrives.
pub struct FillReader {
    mirror: Mirror,
    upstream: Arc<Upstream>,
    repository: RepositoryName,
    digest: Digest,
    fill: Arc<Fill>,
    progress: watch::Receiver<Progress>,
    size: Option<u64>,
    range: Range<u64>,
    offset: u64,
    direct: Option<Direct>,
    _in_use: InUse,
}

/// A transfer past the cache: the fill cannot store the bytes, or the range begins far beyond them.
struct Direct {
    source: UpstreamBlob,
    skip: u64,
    /// The hash of the bytes so far, if the reader reads the whole blob.
    digester: Option<Digester>,
    /// Withheld until the digest is verified, or more bytes follow.
    last: Bytes,
}

impl Mirror {
    /// Opens a blob from the cache, or from the upstream if the caller may fill.
    ///
    /// # Errors
    /// [`MirrorError`].
    pub async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        may_fill: bool,
    ) -> Result<BlobSource, MirrorError> {
        let mut attempts = 1;
        loop {
            match self.try_blob(repository, digest, may_fill).await? {
                Some(source) => return Ok(source),
                None if attempts < ATTEMPTS => attempts += 1,
                None => {
                    let (repository, digest) = (repository.clone(), *digest);
                    return Err(crate::Error::BlobUnknown { repository, digest }.into());
                }
            }
        }
    }

    /// `None` if the blob was evicted between the end of its fill and here.
    async fn try_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        may_fill: bool,
    ) -> Result<Option<BlobSource>, MirrorError> {
        // Before the blob is opened, so that an eviction leaves it.
        let in_use = self.in_use(repository, digest);
        let (upstream, stored) = self.find(repository, digest).await?;
        if let Some(blob) = stored {
            upstream.counters.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(Some(BlobSource::Stored(blob, in_use)));
        }
        check_fill(&upstream, repository, may_fill)?;
        let fill = self.fill(&upstream, repository, digest);
        let mut progress = fill.subscribe();
        let is_answerable = |progress: &Progress| {
            progress.end.is_some() || progress.is_begun && progress.size.is_none_or(|size| size > SMALL)
        };
        let begun = match progress.wait_for(is_answerable).await {
            Ok(progress) => progress.clone(),
            Err(_) => Progress::default(),
        };
        match begun.end {
            Some(Ok(_)) => match self.inner.registry.open_blob(repository, digest).await {
                Ok(blob) => return Ok(Some(BlobSource::Stored(blob, in_use))),
                Err(error) if error.is_unknown() => return Ok(None),
                Err(error) => return Err(error.into()),
            },
            Some(Err(FillError::Mirror(error))) => {
                if let MirrorError::BlobAbsent { .. } = &error {
                    self.inner.absent.insert((repository.clone(), *digest), Instant::now());
                }
                return Err(error);
            }
            Some(Err(FillError::NotKept(_))) | None => {}
        }
        let mut size = begun.size;
        if size.is_none() {
            size = self.inner.registry.metadata.claimed_size(repository, digest).await?;
        }
        Ok(Some(BlobSource::Filling(FillReader {
            mirror: self.clone(),
            upstream,
            repository: repository.clone(),
            digest: *digest,
            fill,
            progress,
            size,
            range: 0..size.unwrap_or(u64::MAX),
            offset: 0,
            direct: None,
            _in_use: in_use,
        })))
    }

    /// Returns the size of a blob from the cache, or from the upstream if the caller may fill. `None` if the
    /// upstream does not tell it.
    ///
    /// # Errors
    /// [`MirrorError`].
    pub async fn blob_size(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        may_fill: bool,
    ) -> Result<Option<u64>, MirrorError> {
        let (upstream, stored) = self.find(repository, digest).await?;
        if let Some(blob) = stored {
            return Ok(Some(blob.size));
        }
        check_fill(&upstream, repository, may_fill)?;
        let path = upstream.path(repository).unwrap_or_default();
        match upstream.settings.client.head_blob(path, digest).await {
            Ok(Some(size)) => Ok(size),
            Ok(None) => {
                self.inner.absent.insert((repository.clone(), *digest), Instant::now());
                Err(absent(&upstream, repository, digest))
            }
            Err(error) => Err(MirrorError::of_upstream(upstream.name(), &error)),
        }
    }

    /// Finds the upstream of a repository, and the blob if it is here.
    async fn find(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<(Arc<Upstream>, Option<Blob>), MirrorError> {
        let unknown = || crate::Error::BlobUnknown { repository: repository.clone(), digest: *digest };
        let upstream = self.upstream_of(repository).ok_or_else(unknown)?.clone();
        upstream.check_allowed(repository)?;
        match self.inner.registry.open_blob(repository, digest).await {
            Ok(blob) => Ok((upstream, Some(blob))),
            Err(error) if error.is_unknown() => {
                if self.is_known_absent(repository, digest) {
                    return Err(absent(&upstream, repository, digest));
                }
                Ok((upstream, None))
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn absent(upstream: &Upstream, repository: &RepositoryName, digest: &Digest) -> MirrorError {
    MirrorError::BlobAbsent {
        upstream: upstream.name().to_owned(),
        repository: repository.clone(),
        digest: *digest,
    }
}

impl FillReader {
    /// The size of the blob in bytes, if it is known.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Waits until the blob is stored.
    pub(super) async fn until_stored(mut self) -> Result<(), MirrorError> {
        let end = match self.progress.wait_for(|progress| progress.end.is_some()).await {
            Ok(progress) => progress.end.clone(),
            Err(_) => None,
        };
        match end {
            Some(Ok(_)) => Ok(()),
            Some(Err(FillError::Mirror(error))) => Err(error),
            Some(Err(FillError::NotKept(reason))) => {
                Err(MirrorError::Down { upstream: self.upstream.name().to_owned(), reason })
            }
            None => Err(MirrorError::Down {
                upstream: self.upstream.name().to_owned(),
                reason: "the fill has ended".to_owned(),
            }),
        }
    }

    /// Restricts the reader to a range, which lies within the size.
    #[must_use]
    pub fn with_range(self, range: Range<u64>) -> Self {
        Self { offset: range.start, range, ..self }
    }

    /// Waits for the next bytes; `None` at the end.
    ///
    /// # Errors
    /// [`MirrorError`] if the blob does not arrive completely. The client must then see a cut connection.
    pub async fn next(&mut self) -> Result<Option<Bytes>, MirrorError> {
        if self.direct.is_some() {
            return self.next_direct().await;
        }
        loop {
            if self.offset >= self.range.end {
                return Ok(None);
            }
            let offset = self.offset;
            if self.is_far() {
                self.go_direct().await?;
                return self.next_direct().await;
            }
            let is_ready = |progress: &Progress| progress.readable > offset || progress.end.is_some();
            let (readable, end) = match self.progress.wait_for(is_ready).await {
                Ok(progress) => (progress.readable, progress.end.clone()),
                Err(_) => (0, Some(Err(FillError::NotKept("the fill has ended".to_owned())))),
            };
            if readable > offset {
                return self.read(readable).await.map(Some);
            }
            match end {
                Some(Ok(_)) => return Ok(None),
                Some(Err(FillError::Mirror(error))) => return Err(error),
                Some(Err(FillError::NotKept(_))) => {
                    self.go_direct().await?;
                    return self.next_direct().await;
                }
                None => {}
            }
        }
    }

    /// Reads the next bytes of the fill, or of the blob that was linked without a transfer.
    async fn read(&mut self, readable: u64) -> Result<Bytes, MirrorError> {
        let end = readable.min(self.range.end);
        let limit = usize::try_from(end - self.offset).unwrap_or(PIECE).min(PIECE);
        let bytes = match self.fill.read_at(self.offset, limit).await? {
            Some(bytes) => bytes,
            // The blob was linked without a transfer.
            None => {
                let blob = self.mirror.inner.registry.open_blob(&self.repository, &self.digest).await?;
                let mut pieces = blob.read(self.offset..self.offset + limit as u64);
                match futures_util::StreamExt::next(&mut pieces).await {
                    Some(piece) => piece?,
                    None => Bytes::new(),
                }
            }
        };
        if bytes.is_empty() {
            let reason = format!("{} became shorter while it was read", self.digest);
            return Err(MirrorError::Invalid { upstream: self.upstream.name().to_owned(), reason });
        }
        self.offset += bytes.len() as u64;
        Ok(bytes)
    }

    /// Whether the operator allows a second request for a range, and the fill will not reach it soon.
    fn is_far(&self) -> bool {
        let progress = self.progress.borrow();
        self.upstream.settings.far_ranges
            && self.offset > 0
            && self.offset == self.range.start
            && progress.end.is_none()
            && self.offset > progress.readable.saturating_add(FAR)
    }

    /// Continues past the cache. A reader of the whole blob hashes what it has sent, so that its last bytes
    /// are verified.
    async fn go_direct(&mut self) -> Result<(), MirrorError> {
        let is_whole = self.range.start == 0 && self.size.is_none_or(|size| size == self.range.end);
        let mut digester = is_whole.then(|| Digester::new(self.digest.algorithm()));
        if let Some(digester) = &mut digester {
            let mut hashed = 0;
            while hashed < self.offset {
                let limit = usize::try_from(self.offset - hashed).unwrap_or(PIECE).min(PIECE);
                match self.fill.read_at(hashed, limit).await? {
                    Some(bytes) if !bytes.is_empty() => {
                        digester.update(&bytes);
                        hashed += bytes.len() as u64;
                    }
                    _ => break,
                }
            }
        }
        let source = self.mirror.open(&self.upstream, &self.repository, &self.digest, self.offset, 0).await;
        let source = source.map_err(|error| match error {
            FillError::Mirror(error) => error,
            FillError::NotKept(reason) => {
                MirrorError::Down { upstream: self.upstream.name().to_owned(), reason }
            }
        })?;
        let skip = self.offset.saturating_sub(source.offset);
        self.direct = Some(Direct { source, skip, digester, last: Bytes::new() });
        Ok(())
    }

    async fn next_direct(&mut self) -> Result<Option<Bytes>, MirrorError> {
        let Some(direct) = &mut self.direct else { return Ok(None) };
        let name = self.upstream.name();
        let failed = |reason: String| MirrorError::Down { upstream: name.to_owned(), reason };
        loop {
            if self.offset >= self.range.end && direct.digester.is_none() {
                return Ok(None);
            }
            let Some(mut bytes) = direct.source.next().await.map_err(failed)? else {
                let is_short = self.size.is_some() && self.offset < self.range.end;
                if let Some(digester) = direct.digester.take() {
                    let actual = digester.finish();
                    if is_short || actual != self.digest {
                        let reason = format!("{} has the digest {actual}", self.digest);
                        return Err(MirrorError::Invalid { upstream: name.to_owned(), reason });
                    }
                    self.range.end = self.offset;
                    let last = std::mem::take(&mut direct.last);
                    return Ok((!last.is_empty()).then_some(last));
                }
                return if is_short { Err(failed("the transfer was cut".to_owned())) } else { Ok(None) };
            };
            let skipped = usize::try_from(direct.skip).unwrap_or(usize::MAX).min(bytes.len());
            direct.skip -= skipped as u64;
            let mut bytes = bytes.split_off(skipped);
            let rest = usize::try_from(self.range.end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
            if bytes.len() > rest {
                if direct.digester.is_some() {
                    let reason =
                        format!("it sends more than the {} bytes of {}", self.range.end, self.digest);
                    return Err(MirrorError::Invalid { upstream: name.to_owned(), reason });
                }
                bytes.truncate(rest);
            }
            if bytes.is_empty() {
                continue;
            }
            self.offset += bytes.len() as u64;
            self.upstream.counters.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            self.upstream.pacer.received(bytes.len()).await;
            let Some(digester) = &mut direct.digester else { return Ok(Some(bytes)) };
            digester.update(&bytes);
            let before = std::mem::replace(&mut direct.last, bytes);
            if !before.is_empty() {
                return Ok(Some(before));
            }
        }
    }
}
