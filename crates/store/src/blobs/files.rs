//! Blobs as files, in distribution's layout: `<blobs>/sha256/ab/<hex>/data`.
//!
//! An upload is a file of its own beside them, and becomes a blob by being renamed. Work on files
//! blocks, so all of it runs on the runtime's threads for blocking work; here is only what runs
//! where, the steps themselves are in the modules below.

mod installing;
mod listing;
mod mappings;
mod reading;
#[cfg(test)]
mod tests;
mod uploads;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use oci::{Algorithm, Digest};
use uuid::Uuid;

pub(crate) use reading::OpenFile;
pub use reading::Pieces;
pub(crate) use uploads::Session;

use super::{Blob, BlobStore, Stored, Upload};
use crate::{Directory, StoreError};
use installing::Installer;
use mappings::Mappings;
use uploads::Uploads;

/// Blobs as files.
#[derive(Clone)]
pub struct FileBlobs {
    installer: Arc<Installer>,
    uploads: Arc<Uploads>,
    mappings: Arc<Mappings>,
}

impl FileBlobs {
    /// The blobs of a data directory. The caller holds the directory's lock.
    #[must_use]
    pub fn open(directory: &Directory) -> Self {
        Self {
            installer: Arc::new(Installer::new(directory.blobs().to_owned())),
            uploads: Arc::new(Uploads::new(directory.uploads())),
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
        if stored.unsettled.is_some() {
            return Ok(stored);
        }
        let (own, above) = (self.installer.clone(), self.installer.clone());
        let (own, above) = tokio::join!(
            blocking(move || own.sync_own(&digest)),
            blocking(move || above.sync_above(&digest)),
        );
        own.and(above).map(|()| stored)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.installer.path(digest)
    }
}

#[async_trait]
impl BlobStore for FileBlobs {
    async fn stat(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        let path = self.path(digest);
        blocking(move || match fs::metadata(&path) {
            Ok(found) => Ok(found.is_file().then_some(found.len())),
            Err(error) => absent(error).map_err(|error| StoreError::io("look at", path, error)),
        })
        .await
    }

    async fn open(&self, digest: &Digest) -> Result<Option<Blob>, StoreError> {
        let path = self.path(digest);
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
        let (installer, uploads, digest) = (self.installer.clone(), self.uploads.clone(), *digest);
        let stored = blocking(move || uploads.put(&installer, &digest, content)).await?;
        self.sync_name(digest, stored).await
    }

    async fn begin(&self, algorithm: Algorithm) -> Result<Upload, StoreError> {
        // The file is made with the first bytes.
        Ok(Upload::new(algorithm))
    }

    async fn append(&self, upload: Upload, piece: Vec<Bytes>) -> Result<Upload, StoreError> {
        let (upload, turn) = self.uploads.turn(upload).await?;
        blocking(move || {
            let appended = uploads::append(upload, &piece);
            drop(turn);
            appended
        })
        .await
    }

    async fn commit(&self, upload: Upload, digest: &Digest) -> Result<Stored, StoreError> {
        let (upload, turn) = self.uploads.turn(upload).await?;
        let (installer, uploads, digest) = (self.installer.clone(), self.uploads.clone(), *digest);
        let stored = blocking(move || {
            let committed = uploads.commit(upload, &installer, &digest);
            drop(turn);
            committed
        })
        .await?;
        self.sync_name(digest, stored).await
    }

    async fn settle(&self) -> Result<(), StoreError> {
        let installer = self.installer.clone();
        blocking(move || installer.settle()).await
    }

    async fn restore(&self, digest: &Digest, content: Bytes) -> Result<(), StoreError> {
        let (installer, uploads, digest) = (self.installer.clone(), self.uploads.clone(), *digest);
        blocking(move || uploads.restore(&installer, &digest, &content)).await
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
        let (installer, mappings, digest) = (self.installer.clone(), self.mappings.clone(), *digest);
        blocking(move || {
            let deleted = installer.delete(&digest);
            mappings.forget(&digest);
            deleted
        })
        .await
    }

    fn list(&self) -> BoxStream<'_, Result<(Digest, u64), StoreError>> {
        Box::pin(listing::Listing::start(self.installer.root().to_owned()))
    }
}

/// Runs work that blocks where it may. If the caller loses interest before it has begun, it never
/// begins; once begun, it runs to its end.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);
    impl<T> Drop for AbortOnDrop<T> {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let mut task = AbortOnDrop(tokio::task::spawn_blocking(work));
    (&mut task.0).await.unwrap_or(Err(StoreError::Closed))
}

/// Turns "there is no such file" into `None`; so is a path through something that is no directory.
fn absent<T>(error: io::Error) -> io::Result<Option<T>> {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
        _ => Err(error),
    }
}
