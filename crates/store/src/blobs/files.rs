//! Blobs as files, in distribution's layout: `<blobs>/sha256/ab/<hex>/data`.
//!
//! An upload is a file beside the blobs, and a rename makes it a blob. Small content has no file before the
//! journal is flushed. File operations block, so they run on threads for blocking work. This module decides
//! what runs where; the modules below it hold the steps.

mod journaled;
mod layout;
mod listing;
mod publish;
mod quarantine;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use oci::{Algorithm, Digest, Digester};
use uuid::Uuid;

use super::local::absent;
use super::local::mapped_reader::{self, OpenFile};
use super::local::mappings::Mappings;
use super::local::uploads::Uploads;
use super::{
    Blob, BlobStore, Pressure, Stamp, Stored, Unwritten, Upload, UploadReader, UploadState, check_digest,
    resume_digester,
};
use crate::blocking::{Priority, blocking, blocking_at};
use crate::{Directory, StoreError, regular_file};
use journaled::Journaled;
use layout::{Layout, SMALL};
use quarantine::Quarantine;
use writer::FileWriter;

/// Lookups in a row on a thread of the runtime: about 2 µs each.
const STATS_AT_ONCE: usize = 128;

/// Blobs as files.
#[derive(Clone)]
pub(super) struct FileBlobs {
    layout: Arc<Layout>,
    uploads: Arc<Uploads>,
    journaled: Arc<Journaled>,
    mappings: Arc<Mappings>,
    quarantine: Arc<Quarantine>,
}

impl FileBlobs {
    pub(super) fn open(directory: &Directory) -> Self {
        Self {
            layout: Arc::new(Layout::new(directory.blobs().to_owned())),
            uploads: Arc::new(Uploads::new(directory.uploads())),
            journaled: Arc::default(),
            mappings: Arc::default(),
            quarantine: Arc::new(Quarantine::new(directory.quarantine())),
        }
    }

    /// Makes the name of a published blob durable, unless it is journaled.
    async fn sync_name(&self, digest: Digest, stored: Stored) -> Result<Stored, StoreError> {
        if stored.journaled.is_some() {
            return Ok(stored);
        }
        let (own, above) = (self.layout.clone(), self.layout.clone());
        let (own, above) = tokio::join!(
            blocking(move || own.sync_own(&digest)),
            blocking(move || above.sync_above(&digest)),
        );
        own.and(above).map(|()| stored)
    }

    /// Stores small content with a verified digest.
    async fn put_small(&self, digest: &Digest, content: Bytes) -> Result<Stored, StoreError> {
        let stored = Stored { size: content.len() as u64, journaled: Some(content.clone()) };
        if !self.journaled.keep(digest, &content, false) {
            let (layout, uploads, digest) = (self.layout.clone(), self.uploads.clone(), *digest);
            blocking(move || layout.put_unless_held(&uploads, &digest, &content)).await?;
        }
        Ok(stored)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.layout.path(digest)
    }
}

#[async_trait]
impl BlobStore for FileBlobs {
    async fn stat(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        if let Some(size) = self.stat_cached(digest) {
            return Ok(Some(size));
        }
        let path = self.path(digest);
        blocking(move || file_size(&path)).await
    }

    fn stat_cached(&self, digest: &Digest) -> Option<u64> {
        match self.journaled.get(digest) {
            Some(content) => Some(content.len() as u64),
            None => mapped_reader::size_from_memory(&self.path(digest)),
        }
    }

    async fn stat_many(&self, digests: Vec<Digest>) -> Result<HashMap<Digest, u64>, StoreError> {
        let mut sizes = HashMap::with_capacity(digests.len());
        let mut rest = Vec::new();
        for digest in digests {
            // A long list takes a while even from memory.
            let size = if sizes.len() < STATS_AT_ONCE { self.stat_cached(&digest) } else { None };
            match size {
                Some(size) => _ = sizes.insert(digest, size),
                None => rest.push(digest),
            }
        }
        if rest.is_empty() {
            return Ok(sizes);
        }
        let (layout, journaled) = (self.layout.clone(), self.journaled.clone());
        blocking(move || {
            for digest in rest {
                let size = match journaled.get(&digest) {
                    Some(content) => Some(content.len() as u64),
                    None => readable_size(&layout.path(&digest))?,
                };
                sizes.extend(size.map(|size| (digest, size)));
            }
            Ok(sizes)
        })
        .await
    }

    async fn open(&self, digest: &Digest) -> Result<Option<Blob>, StoreError> {
        if let Some(content) = self.journaled.get(digest) {
            return Ok(Some(Blob::in_memory(content)));
        }
        let path = self.path(digest);
        let opened = match OpenFile::open_from_memory(&path, digest, &self.mappings) {
            None => {
                let (digest, mappings) = (*digest, self.mappings.clone());
                blocking(move || OpenFile::open(&path, &digest, &mappings)).await?
            }
            opened => opened,
        };
        Ok(opened.map(OpenFile::into_blob))
    }

    async fn get(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError> {
        if let Some(content) = self.journaled.get(digest) {
            return Ok(Some(content));
        }
        let path = self.path(digest);
        if let Some(OpenFile::Small(content)) = OpenFile::open_from_memory(&path, digest, &self.mappings) {
            return Ok(Some(content));
        }
        blocking(move || match regular_file::read(&path) {
            Ok(content) => Ok(content.map(Bytes::from)),
            Err(error) => absent(error).map_err(|error| StoreError::io("read", path, error)),
        })
        .await
    }

    async fn put(&self, digest: &Digest, content: Bytes) -> Result<Stored, StoreError> {
        let size = content.len() as u64;
        if size <= SMALL {
            check_digest(digest, digest.algorithm().digest(&content))?;
            return self.put_small(digest, content).await;
        }
        let Self { layout, uploads, mappings, .. } = self.clone();
        let digest = *digest;
        blocking(move || {
            check_digest(&digest, digest.algorithm().digest(&content))?;
            let stored = layout.put_synced(&uploads, &digest, &content);
            mappings.release(&digest);
            stored
        })
        .await?;
        self.sync_name(digest, size.into()).await
    }

    async fn begin(&self, id: Uuid, algorithm: Algorithm) -> Result<Upload, StoreError> {
        // The first write creates the file.
        Ok(FileWriter::open(self, id, 0, Digester::new(algorithm)))
    }

    async fn resume(&self, state: &UploadState) -> Result<Upload, StoreError> {
        Ok(FileWriter::open(self, state.id, state.offset, resume_digester(state)?))
    }

    async fn read_upload(&self, id: Uuid) -> Result<Option<Box<dyn UploadReader>>, StoreError> {
        self.uploads.read(id).await
    }

    async fn abort(&self, id: Uuid) -> Result<(), StoreError> {
        let uploads = self.uploads.clone();
        let lock = uploads.lock_last(id).await;
        blocking(move || {
            let aborted = uploads.remove(id);
            drop(lock);
            aborted
        })
        .await
    }

    async fn remove_stale_uploads(&self, known: &HashSet<Uuid>) -> Result<usize, StoreError> {
        let (uploads, known) = (self.uploads.clone(), known.clone());
        blocking(move || uploads.remove_stale(&known)).await
    }

    async fn delete(&self, digest: &Digest) -> Result<bool, StoreError> {
        let (Self { layout, journaled, mappings, .. }, digest) = (self.clone(), *digest);
        blocking(move || {
            let deleted = journaled.delete(&digest, || layout.delete(&digest));
            mappings.forget(&digest);
            deleted
        })
        .await
    }

    async fn delete_all(&self, digests: Vec<Digest>) -> Result<(), StoreError> {
        let Self { layout, journaled, mappings, .. } = self.clone();
        blocking_at(Priority::Low, move || {
            for digest in &digests {
                let deleted = journaled.delete(digest, || layout.delete(digest));
                mappings.forget(digest);
                deleted?;
            }
            Ok(())
        })
        .await
    }

    async fn stamp(&self, digest: &Digest) -> Result<Option<Stamp>, StoreError> {
        let path = self.path(digest);
        blocking(move || quarantine::stamp(&path)).await
    }

    async fn quarantine(&self, digest: &Digest) -> Result<Option<String>, StoreError> {
        // Content of the journal has no file, or replaces it.
        if self.journaled.get(digest).is_some() {
            return Ok(None);
        }
        let (Self { layout, mappings, quarantine, .. }, digest) = (self.clone(), *digest);
        blocking_at(Priority::Low, move || {
            let moved = quarantine.take(&layout, &digest);
            mappings.forget(&digest);
            moved
        })
        .await
    }

    async fn recover(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        let (layout, quarantine, digest) = (self.layout.clone(), self.quarantine.clone(), *digest);
        let size = blocking_at(Priority::Low, move || quarantine.put_back(&layout, &digest)).await?;
        if let Some(size) = size {
            self.sync_name(digest, size.into()).await?;
        }
        Ok(size)
    }

    fn list(&self) -> BoxStream<'_, Result<(Digest, u64), StoreError>> {
        Box::pin(listing::Listing::start(self.layout.root().to_owned(), self.journaled.clone()))
    }

    async fn flush(&self) -> Result<Vec<Unwritten>, StoreError> {
        let Self { layout, uploads, journaled, .. } = self.clone();
        let priority =
            if journaled.pressure() == Pressure::Much { Priority::Ordinary } else { Priority::Low };
        blocking_at(priority, move || {
            let (mut written, mut unwritten) = (Vec::new(), Vec::new());
            for (digest, content) in journaled.all() {
                let outcome = journaled.with(&digest, &content, || match content.overwrite {
                    true => layout.put_anew(&uploads, &digest, &content.bytes),
                    false => layout.put_unless_held(&uploads, &digest, &content.bytes),
                });
                match outcome {
                    Ok(()) => written.push((digest, content)),
                    // One directory that cannot be written holds up no other content.
                    Err(error @ StoreError::Io { .. }) => {
                        unwritten.push(Unwritten { digest, reason: error.to_string() });
                    }
                    Err(error) => return Err(error),
                }
            }
            layout.flush().inspect_err(|_| journaled.overwrite_all())?;
            journaled.flushed(&written);
            Ok(unwritten)
        })
        .await
    }

    fn pressure(&self) -> Pressure {
        self.journaled.pressure()
    }

    async fn restore(&self, digest: &Digest, content: Bytes) -> Result<(), StoreError> {
        if self.journaled.keep(digest, &content, true) {
            return Ok(());
        }
        let (layout, uploads, digest) = (self.layout.clone(), self.uploads.clone(), *digest);
        blocking(move || layout.put_anew(&uploads, &digest, &content)).await
    }
}

/// Returns the size of a blob's file; `None` if it does not exist. An error if it cannot be opened: a stat
/// does not check the permission to read. Blocks.
fn file_size(path: &Path) -> Result<Option<u64>, StoreError> {
    let size =
        regular_file::open(path).and_then(|file| file.map(|file| Ok(file.metadata()?.len())).transpose());
    size.or_else(absent).map_err(|error| StoreError::io("read", path, error))
}

/// As [`file_size`], but a file that cannot be opened counts as absent.
fn readable_size(path: &Path) -> Result<Option<u64>, StoreError> {
    match file_size(path) {
        Err(error @ StoreError::Io { .. }) => {
            tracing::error!(%error, "a blob is unreadable and counts as missing");
            Ok(None)
        }
        size => size,
    }
}
