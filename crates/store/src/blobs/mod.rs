//! Blob store: content by digest. This module holds the interface of all backends and its contract.
//!
//! A blob store knows digests and bytes. It knows no repositories and decides no access: the caller asks the
//! metadata before it opens a blob.
//!
//! - `files`: the backend of a data directory; see [`open_files`].
//! - `objects`: the backend of a bucket; see [`open_objects`].
//! - [`memory`]: a backend for tests.
//! - `local`: files on the local disk, for uploads and readers of both.
//! - [`copying`]: copies from one store to another.
//! - `contract`: the tests that every backend passes.

#[cfg(test)]
mod contract;
pub mod copying;
mod files;
mod local;
pub mod memory;
mod objects;

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use futures_core::stream::BoxStream;
use metrics::Metrics;
use oci::{Algorithm, Digest, Digester};
use uuid::Uuid;

use crate::database_url::ServerRole;
use crate::object_settings::ObjectSettings;
use crate::{Directory, StoreError};
pub(crate) use objects::bucket_links::BucketLinks;
pub(crate) use objects::snapshots::{LogRange, Snapshot, Snapshots};

/// Opens the blobs of a data directory. The caller holds the directory's lock.
#[must_use]
pub fn open_files(directory: &Directory) -> Arc<dyn BlobStore> {
    Arc::new(files::FileBlobs::open(directory))
}

/// Opens the blobs of a bucket. The caller holds the lock of the data directory, which has the uploads in
/// progress. Sends no request.
///
/// # Errors
/// [`StoreError::Directory`] if the settings are unusable.
pub fn open_objects(
    settings: &ObjectSettings,
    directory: &Directory,
) -> Result<Arc<dyn BlobStore>, StoreError> {
    let is_shared = directory.database().is_some_and(|database| database.role != ServerRole::Alone);
    Ok(Arc::new(objects::ObjectBlobs::open(settings, directory.uploads(), is_shared)?))
}

/// Copies the links of distribution in a bucket below `repositories`, as files. Returns their number: 0 for a
/// bucket that belongs to a database.
pub(crate) async fn import_bucket_links(
    settings: &ObjectSettings,
    repositories: &std::path::Path,
) -> Result<u64, StoreError> {
    objects::links::import(settings, repositories).await
}

/// An opened blob. It stays readable if the blob is deleted meanwhile.
pub struct Blob {
    /// Size in bytes.
    pub size: u64,
    content: Content,
}

enum Content {
    Memory(Bytes),
    Backend(Box<dyn OpenBlob>),
}

/// The content of an opened blob that is not in memory.
pub trait OpenBlob: Send {
    /// Returns the bytes of `range`, which lies within the blob, in order.
    fn read(self: Box<Self>, range: Range<u64>) -> BoxStream<'static, Result<Bytes, StoreError>>;

    /// Returns the same bytes for [`Blob::read_for_kernel`].
    fn read_for_kernel(self: Box<Self>, range: Range<u64>) -> BoxStream<'static, Result<Bytes, StoreError>> {
        self.read(range)
    }
}

impl Blob {
    /// A blob whose content is in memory.
    #[must_use]
    pub fn in_memory(content: Bytes) -> Self {
        Self { size: content.len() as u64, content: Content::Memory(content) }
    }

    /// A blob of `size` bytes that its backend reads.
    #[must_use]
    pub fn new(size: u64, content: Box<dyn OpenBlob>) -> Self {
        Self { size, content: Content::Backend(content) }
    }

    /// Returns the bytes of `range` as a stream. Bytes beyond the end of the blob are left out.
    #[must_use]
    pub fn read(self, range: Range<u64>) -> BlobStream {
        self.stream(range, OpenBlob::read)
    }

    /// Returns the bytes of `range` without copying them, for a vectored write to a socket.
    ///
    /// Only the kernel may read these bytes. If another program cuts the file short, a read by this process
    /// ends it (SIGBUS), while the kernel reports an error. Encryption in this process reads them as well.
    #[must_use]
    pub fn read_for_kernel(self, range: Range<u64>) -> BlobStream {
        self.stream(range, OpenBlob::read_for_kernel)
    }

    fn stream(
        self,
        range: Range<u64>,
        read: fn(Box<dyn OpenBlob>, Range<u64>) -> BackendStream,
    ) -> BlobStream {
        let end = range.end.min(self.size);
        let range = range.start.min(end)..end;
        let pieces = match self.content {
            Content::Memory(content) => {
                let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
                Pieces::Memory(content.slice(at(range.start)..at(range.end)))
            }
            Content::Backend(content) => Pieces::Backend(read(content, range.clone())),
        };
        BlobStream { remaining: range.end - range.start, pieces }
    }
}

/// The bytes of a blob, or of a range of it, in order.
pub struct BlobStream {
    remaining: u64,
    pieces: Pieces,
}

enum Pieces {
    Memory(Bytes),
    Backend(BackendStream),
}

type BackendStream = BoxStream<'static, Result<Bytes, StoreError>>;

impl BlobStream {
    /// The number of bytes still to come.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.remaining
    }
}

impl Stream for BlobStream {
    type Item = Result<Bytes, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = match &mut self.pieces {
            Pieces::Memory(bytes) => (!bytes.is_empty()).then(|| Ok(std::mem::take(bytes))),
            Pieces::Backend(pieces) => ready!(pieces.as_mut().poll_next(cx)),
        };
        if let Some(Ok(bytes)) = &piece {
            self.remaining = self.remaining.saturating_sub(bytes.len() as u64);
        }
        Poll::Ready(piece)
    }
}

/// An upload in progress.
pub type Upload = Box<dyn BlobWriter>;

/// Writes the content of one upload, in order.
///
/// A write may still run in the background when [`write`](Self::write) returns, so that receiving and storing
/// overlap. A later call returns its error. After an error or a dropped future, drop the writer and continue
/// with [`BlobStore::resume`] from the state saved last.
#[async_trait]
pub trait BlobWriter: Send + Sync {
    /// The id of the upload.
    fn id(&self) -> Uuid;

    /// The number of bytes written so far.
    fn offset(&self) -> u64;

    /// Appends and hashes `bytes`.
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError>;

    /// Writes all buffered bytes out, so that they outlive the process, and returns the state to resume from.
    async fn save(&mut self) -> Result<UploadState, StoreError>;

    /// Like [`save`](Self::save). If several servers use the store, others can resume from the state as well.
    /// That costs requests to the store.
    async fn save_for_others(&mut self) -> Result<UploadState, StoreError> {
        self.save().await
    }

    /// Ends the upload: its content becomes the blob `digest`.
    ///
    /// # Errors
    /// [`StoreError::DigestMismatch`], after which the upload is gone.
    async fn commit(self: Box<Self>, digest: &Digest) -> Result<Stored, StoreError>;
}

/// Reads the saved bytes of an upload, also while it is written, and after it became a blob.
#[async_trait]
pub trait UploadReader: Send + Sync {
    /// Returns up to `limit` bytes from `offset` on. They must lie within the saved bytes.
    async fn read_at(&self, offset: u64, limit: usize) -> Result<Bytes, StoreError>;
}

/// The saved state of an upload, as the metadata keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadState {
    /// The id of the upload.
    pub id: Uuid,
    /// The number of bytes received.
    pub offset: u64,
    /// The digest algorithm.
    pub algorithm: Algorithm,
    /// The state of the hash after `offset` bytes, from [`Digester::save`].
    pub hash_state: Vec<u8>,
    /// More state, which only the backend understands. Empty if it needs none.
    pub backend: String,
    /// Whether another server can resume from it, so that it has to outlast this machine. The metadata do not
    /// keep it.
    pub is_shared: bool,
}

/// Stored content, as [`BlobStore::put`] and [`BlobWriter::commit`] return it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Size in bytes.
    pub size: u64,
    /// The content, if it is readable but not durable yet.
    ///
    /// The caller journals these bytes before it acknowledges them, and keeps them until [`BlobStore::flush`]
    /// has succeeded. After a crash it passes them to [`BlobStore::restore`]. The metadata journals them in
    /// the transaction that links the blob, so that one sync serves both.
    pub journaled: Option<Bytes>,
}

/// Durable content of this size.
impl From<u64> for Stored {
    fn from(size: u64) -> Self {
        Self { size, journaled: None }
    }
}

/// Differs once another program has changed or replaced the stored bytes of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp([u64; 4]);

/// The state that a database expects of the blob store that it claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// An empty store, or its own: the database refers to no content.
    New,
    /// Its own store: the database refers to content in it.
    Existing,
    /// The store of a lost database, from whose view this one was rebuilt.
    Rebuilt,
}

/// How urgently the journal of small content needs a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressure {
    /// Nothing is journaled.
    Nothing,
    /// There is journaled content.
    Some,
    /// The journal is more than half full: flush at once.
    Much,
}

/// A store of blobs.
///
/// Contract of every backend:
/// - No client observes a partially written blob. Before [`commit`](BlobWriter::commit) or [`put`](Self::put)
///   the blob is absent, afterwards it is complete. The same holds after a crash, once journaled content is
///   restored.
/// - When `commit` or `put` return `Ok`, the blob is durable or [`Stored::journaled`].
/// - Content is never stored under a digest that is not its own.
/// - Storing an existing blob succeeds and repairs damaged bytes. Concurrent writers of one blob all succeed.
/// - At most one writer of an upload is valid: [`resume`](Self::resume) invalidates the writers before it.
/// - A dropped future leaves the store consistent.
/// - A full disk is [`StoreError::Full`] and leaves nothing partial under a digest.
///
/// `blobs::contract` tests these rules for each backend.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Makes the store the one of the database with this id, before anything is changed in it.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if it belongs to another database, or holds the content of another program.
    async fn claim(&self, _id: &str, _claim: Claim) -> Result<(), StoreError> {
        Ok(())
    }

    /// Adds the metrics of the store.
    fn register_metrics(&self, _metrics: &mut Metrics) {}

    /// Checks that the store answers.
    async fn ready(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Ends the use of the store, so that another server need not wait for it. Nothing may be written
    /// afterwards.
    async fn release(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Checks that the store does not belong to another database than that with this id. `is_expected`: it
    /// must belong to that.
    async fn check_owner(&self, _id: &str, _is_expected: bool) -> Result<(), StoreError> {
        Ok(())
    }

    /// The last renewal of the right to write here. `None` if no server has it.
    async fn renewal(&self) -> Result<Option<Uuid>, StoreError> {
        Ok(None)
    }

    /// Returns the size of a blob in bytes, or `None` if it is absent.
    async fn stat(&self, digest: &Digest) -> Result<Option<u64>, StoreError>;

    /// Returns the size of a blob if that takes no I/O. After `None` the blob may still exist.
    fn stat_cached(&self, _digest: &Digest) -> Option<u64> {
        None
    }

    /// Returns the sizes of the existing ones of these blobs.
    async fn stat_many(&self, digests: Vec<Digest>) -> Result<HashMap<Digest, u64>, StoreError>;

    /// Opens a blob for reading; `None` if it is absent.
    async fn open(&self, digest: &Digest) -> Result<Option<Blob>, StoreError>;

    /// Opens a blob for a client: like [`open`](Self::open), or a verified copy of it, as far as the store
    /// keeps copies.
    async fn open_cached(&self, digest: &Digest) -> Result<Option<Blob>, StoreError> {
        self.open(digest).await
    }

    /// The blobs of which copies are kept.
    fn copies(&self) -> Vec<Digest> {
        Vec::new()
    }

    /// Removes the copies of these blobs.
    async fn forget_copies(&self, _digests: Vec<Digest>) {}

    /// Returns a URL from which a client without credentials reads the blob, for some minutes. It says
    /// nothing about the existence of the blob. `None` if the store has no such URLs.
    async fn url(&self, _digest: &Digest) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    /// Reads a small blob, such as a manifest, into memory; `None` if it is absent.
    async fn get(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError>;

    /// Like [`get`](Self::get), or a verified copy.
    async fn get_cached(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError> {
        self.get(digest).await
    }

    /// Stores `content` under its digest.
    async fn put(&self, digest: &Digest, content: Bytes) -> Result<Stored, StoreError>;

    /// Begins an upload with an unguessable, unused id. It leaves no trace before its first save.
    async fn begin(&self, id: Uuid, algorithm: Algorithm) -> Result<Upload, StoreError>;

    /// Like [`begin`](Self::begin), for content with a known digest, so that it can be stored in its final
    /// place at once. The saved bytes of a `readable` upload can be read beside its writer.
    async fn begin_known(&self, id: Uuid, digest: &Digest, _readable: bool) -> Result<Upload, StoreError> {
        self.begin(id, digest.algorithm()).await
    }

    /// Continues an upload from a saved state, and invalidates all earlier writers of it.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if `state` holds no valid hash state.
    async fn resume(&self, state: &UploadState) -> Result<Upload, StoreError>;

    /// Whether the saved bytes of an upload are here. `false` if they were lost with another server.
    async fn is_resumable(&self, _state: &UploadState) -> Result<bool, StoreError> {
        Ok(true)
    }

    /// Opens the saved bytes of a readable upload, beside its writer; `None` if nothing of it is saved.
    async fn read_upload(&self, id: Uuid) -> Result<Option<Box<dyn UploadReader>>, StoreError>;

    /// Deletes an upload and invalidates its writers. Idempotent.
    async fn abort(&self, id: Uuid) -> Result<(), StoreError>;

    /// Deletes all uploads except `known`, and returns their number. Call it before the first upload begins.
    async fn remove_stale_uploads(&self, known: &HashSet<Uuid>) -> Result<usize, StoreError>;

    /// Removes leftovers of ended uploads from a bucket, if the call before has found them as well: until then
    /// they may belong to a request. `known` has the uploads that go on. Returns the number. Files leave none.
    async fn remove_leftovers(&self, known: &HashSet<Uuid>) -> Result<usize, StoreError> {
        _ = known;
        Ok(0)
    }

    /// Deletes a blob; `false` if it was absent. Readers that have it open read on.
    async fn delete(&self, digest: &Digest) -> Result<bool, StoreError>;

    /// Deletes blobs that may be absent, at low priority, because no client waits.
    async fn delete_all(&self, digests: Vec<Digest>) -> Result<(), StoreError> {
        for digest in &digests {
            self.delete(digest).await?;
        }
        Ok(())
    }

    /// Returns the stamp of a stored blob; `None` if it is absent.
    async fn stamp(&self, _digest: &Digest) -> Result<Option<Stamp>, StoreError> {
        Ok(None)
    }

    /// Moves the bytes of a damaged blob aside, where a person finds them, and returns that place. The blob
    /// is absent afterwards. Returns `None` and moves nothing if the bytes have the digest after all.
    async fn quarantine(&self, _digest: &Digest) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    /// Stores a blob again whose bytes were moved aside from under another digest. Returns its size; `None`
    /// if there are no such bytes.
    async fn recover(&self, _digest: &Digest) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    /// Lists all blobs and their sizes in no particular order, with bounded memory.
    fn list(&self) -> BoxStream<'_, Result<(Digest, u64), StoreError>>;

    /// Makes all content durable that was stored before the call, except the returned content, whose files
    /// cannot be written. After an error, restore all journaled content before the next flush.
    async fn flush(&self) -> Result<Vec<Unwritten>, StoreError> {
        Ok(Vec::new())
    }

    /// Returns how much journaled content waits for a flush.
    fn pressure(&self) -> Pressure {
        Pressure::Nothing
    }

    /// Stores journaled content again and replaces the existing blob. The content is journaled afterwards.
    async fn restore(&self, digest: &Digest, content: Bytes) -> Result<(), StoreError> {
        self.put(digest, content).await.map(drop)
    }
}

/// Journaled content whose file cannot be written, such as below a directory of another user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwritten {
    /// The digest of the content.
    pub digest: Digest,
    /// The reason, with the path.
    pub reason: String,
}

/// Returns an error if `actual`, the digest of the received content, is not the `expected` one.
fn check_digest(expected: &Digest, actual: Digest) -> Result<(), StoreError> {
    if actual == *expected {
        return Ok(());
    }
    Err(StoreError::DigestMismatch { expected: *expected, actual })
}

/// Restores the hash of a saved upload.
fn resume_digester(state: &UploadState) -> Result<Digester, StoreError> {
    Digester::resume(state.algorithm, &state.hash_state)
        .ok_or_else(|| StoreError::Damaged(format!("hash state of upload {}", state.id)))
}
