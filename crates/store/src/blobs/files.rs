//! Blobs as files, in distribution's layout: `<blobs>/sha256/ab/<hex>/data`.
//!
//! An upload is a file of its own beside them, and becomes a blob by being renamed. Small content has
//! no file before it is settled. Work on files blocks, so all of it runs on threads for blocking
//! work; here is only what runs where, the steps themselves are in the modules below.

mod journaled;
mod layout;
mod listing;
mod mapped_reader;
mod mappings;
#[cfg(test)]
mod tests;
mod uploads;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use oci::{Algorithm, Digest};
use uuid::Uuid;

pub(crate) use layout::make_with_parents;
pub use mapped_reader::BlobStream;
pub(crate) use mapped_reader::OpenFile;
pub(crate) use uploads::OpenUpload;

use super::{Blob, BlobStore, Pressure, Stored, Upload, UploadState};
use crate::blocking::{Priority, blocking, blocking_at};
use crate::{Directory, StoreError};
use journaled::Journaled;
use layout::{Layout, SMALL};
use mappings::Mappings;
use uploads::Uploads;

/// From here on an upload gives way to others: it takes seconds, whatever it does. Unless it is the
/// only one, and so can keep nobody waiting for long.
const LARGE: u64 = 8 << 20;
/// Files looked at one after another on a thread of the runtime: about 2 µs each.
const STATS_AT_ONCE: usize = 128;

/// Blobs as files.
#[derive(Clone)]
pub struct FileBlobs {
    installer: Arc<Layout>,
    uploads: Arc<Uploads>,
    journaled: Arc<Journaled>,
    mappings: Arc<Mappings>,
}

impl FileBlobs {
    /// The blobs of a data directory. The caller holds the directory's lock.
    #[must_use]
    pub fn open(directory: &Directory) -> Self {
        Self {
            installer: Arc::new(Layout::new(directory.blobs().to_owned())),
            uploads: Arc::new(Uploads::new(directory.uploads())),
            journaled: Arc::default(),
            mappings: Arc::default(),
        }
    }

    /// Removes what was left in the directory of the uploads by those that nobody knows any more.
    /// To be called before the first upload begins. Returns how many there were.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the directory cannot be read or a file not removed.
    pub async fn remove_stale_uploads(&self, known: &HashSet<Uuid>) -> Result<usize, StoreError> {
        let (uploads, known) = (self.uploads.clone(), known.clone());
        blocking(move || uploads.remove_stale(&known)).await
    }

    /// Makes the name of a blob that is in its place durable, unless that is left for later.
    async fn sync_name(&self, digest: Digest, stored: Stored) -> Result<Stored, StoreError> {
        if stored.journaled.is_some() {
            return Ok(stored);
        }
        let (own, above) = (self.installer.clone(), self.installer.clone());
        let (own, above) = tokio::join!(
            blocking(move || own.sync_own(&digest)),
            blocking(move || above.sync_above(&digest)),
        );
        own.and(above).map(|()| stored)
    }

    /// Takes in small content that has this digest.
    async fn put_small(&self, digest: &Digest, content: Bytes) -> Result<Stored, StoreError> {
        let stored = Stored { size: content.len() as u64, journaled: Some(content.clone()) };
        if !self.journaled.keep(digest, &content, false) {
            let (installer, uploads, digest) = (self.installer.clone(), self.uploads.clone(), *digest);
            blocking(move || uploads.put_unless_held(&installer, &digest, &content)).await?;
        }
        Ok(stored)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.installer.path(digest)
    }
}

#[async_trait]
impl BlobStore for FileBlobs {
    async fn stat(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        if let Some(size) = self.stat_cached(digest) {
            return Ok(Some(size));
        }
        let path = self.path(digest);
        blocking(move || size_of(path)).await
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
            // More than a few take a while, even from memory.
            let size = if sizes.len() < STATS_AT_ONCE { self.stat_cached(&digest) } else { None };
            match size {
                Some(size) => _ = sizes.insert(digest, size),
                None => rest.push(digest),
            }
        }
        if rest.is_empty() {
            return Ok(sizes);
        }
        let (installer, journaled) = (self.installer.clone(), self.journaled.clone());
        blocking(move || {
            for digest in rest {
                let size = match journaled.get(&digest) {
                    Some(content) => Some(content.len() as u64),
                    None => size_of(installer.path(&digest))?,
                };
                sizes.extend(size.map(|size| (digest, size)));
            }
            Ok(sizes)
        })
        .await
    }

    async fn open(&self, digest: &Digest) -> Result<Option<Blob>, StoreError> {
        let path = self.path(digest);
        if let Some(content) = self.journaled.get(digest) {
            return Ok(Some(Blob { size: content.len() as u64, content: OpenFile::small(content, &path) }));
        }
        let opened = match OpenFile::open_from_memory(&path, digest, &self.mappings) {
            None => {
                let (digest, mappings) = (*digest, self.mappings.clone());
                blocking(move || OpenFile::open(&path, &digest, &mappings)).await?
            }
            opened => opened,
        };
        Ok(opened.map(|content| Blob { size: content.size(), content }))
    }

    async fn get(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError> {
        if let Some(content) = self.journaled.get(digest) {
            return Ok(Some(content));
        }
        let path = self.path(digest);
        if let Some(content) =
            OpenFile::open_from_memory(&path, digest, &self.mappings).and_then(OpenFile::into_small)
        {
            return Ok(Some(content));
        }
        blocking(move || match fs::read(&path) {
            Ok(content) => Ok(Some(content.into())),
            Err(error) => absent(error).map_err(|error| StoreError::io("read", path, error)),
        })
        .await
    }

    async fn put(&self, digest: &Digest, content: Bytes) -> Result<Stored, StoreError> {
        let size = content.len() as u64;
        if size <= SMALL {
            check(digest, digest.algorithm().digest(&content))?;
            return self.put_small(digest, content).await;
        }
        let Self { installer, uploads, mappings, .. } = self.clone();
        let digest = *digest;
        blocking(move || {
            check(&digest, digest.algorithm().digest(&content))?;
            let stored = uploads.put_synced(&installer, &digest, &content);
            mappings.release(&digest);
            stored
        })
        .await?;
        self.sync_name(digest, size.into()).await
    }

    async fn begin(&self, id: Uuid, algorithm: Algorithm) -> Result<Upload, StoreError> {
        // The file is made when it is needed.
        Ok(Upload::new(id, algorithm))
    }

    async fn append(&self, upload: Upload, piece: Vec<Bytes>) -> Result<Upload, StoreError> {
        let (mut upload, turn) = self.uploads.turn(upload).await?;
        let Some(piece) = upload.take_in(piece) else { return Ok(upload) };
        let gives_way = upload.offset >= LARGE && self.uploads.is_one_of_several_large(&upload);
        let priority = if gives_way { Priority::Low } else { Priority::Ordinary };
        blocking_at(priority, move || {
            let appended = uploads::append(upload, &piece);
            drop(turn);
            appended
        })
        .await
    }

    async fn save(&self, upload: Upload) -> Result<(Upload, UploadState), StoreError> {
        if upload.unwritten.as_ref().is_none_or(Vec::is_empty) {
            let state = upload.state();
            return Ok((upload, state));
        }
        let (upload, turn) = self.uploads.turn(upload).await?;
        blocking(move || {
            let upload = uploads::write_out(upload)?;
            drop(turn);
            let state = upload.state();
            Ok((upload, state))
        })
        .await
    }

    async fn commit(&self, upload: Upload, digest: &Digest) -> Result<Stored, StoreError> {
        let (upload, turn) = self.uploads.turn(upload).await?;
        if let Some(unwritten) = upload.unwritten {
            let content = Bytes::from(unwritten.concat());
            drop(turn);
            check(
                digest,
                match digest.algorithm() {
                    same if same == upload.digester.algorithm() => upload.digester.finish(),
                    other => other.digest(&content),
                },
            )?;
            return self.put_small(digest, content).await;
        }
        let (installer, uploads, digest) = (self.installer.clone(), self.uploads.clone(), *digest);
        let mappings = self.mappings.clone();
        let stored = blocking(move || {
            let committed = uploads.commit(upload, &installer, &digest);
            mappings.release(&digest);
            drop(turn);
            committed
        })
        .await?;
        self.sync_name(digest, stored).await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        let Self { installer, uploads, journaled, .. } = self.clone();
        let priority =
            if journaled.pressure() == Pressure::Much { Priority::Ordinary } else { Priority::Low };
        blocking_at(priority, move || {
            let contents = journaled.all();
            for (digest, content) in &contents {
                journaled.with(digest, content, || match content.anew {
                    true => uploads.put_anew(&installer, digest, &content.bytes),
                    false => uploads.put_unless_held(&installer, digest, &content.bytes),
                })?;
            }
            installer.flush().inspect_err(|_| journaled.doubt())?;
            journaled.flushed(&contents);
            Ok(())
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
        let (installer, uploads, digest) = (self.installer.clone(), self.uploads.clone(), *digest);
        blocking(move || uploads.put_anew(&installer, &digest, &content)).await
    }

    async fn abort(&self, id: Uuid) -> Result<(), StoreError> {
        let uploads = self.uploads.clone();
        let turn = uploads.last_turn(id).await;
        blocking(move || {
            let aborted = uploads.abort(id);
            drop(turn);
            aborted
        })
        .await
    }

    async fn delete(&self, digest: &Digest) -> Result<bool, StoreError> {
        let (Self { installer, journaled, mappings, .. }, digest) = (self.clone(), *digest);
        blocking(move || {
            let deleted = journaled.delete(&digest, || installer.delete(&digest));
            mappings.forget(&digest);
            deleted
        })
        .await
    }

    fn list(&self) -> BoxStream<'_, Result<(Digest, u64), StoreError>> {
        Box::pin(listing::Listing::start(self.installer.root().to_owned(), self.journaled.clone()))
    }
}

/// The size of a blob's file; `None` if there is none. May block.
fn size_of(path: PathBuf) -> Result<Option<u64>, StoreError> {
    match fs::metadata(&path) {
        Ok(found) => Ok(found.is_file().then_some(found.len())),
        Err(error) => absent(error).map_err(|error| StoreError::io("look at", path, error)),
    }
}

/// Refuses content whose digest is another than was said.
fn check(expected: &Digest, actual: Digest) -> Result<(), StoreError> {
    if actual == *expected {
        return Ok(());
    }
    Err(StoreError::DigestMismatch { expected: *expected, actual })
}

/// Turns "there is no such file" into `None`; so is a path through something that is no directory.
fn absent<T>(error: io::Error) -> io::Result<Option<T>> {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
        _ => Err(error),
    }
}
