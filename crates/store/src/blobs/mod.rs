//! Blobs: content by digest. The contract, which every backend keeps, and what passes through it.
//!
//! A blob store knows digests and bytes. It does not know repositories, and it does not judge
//! whether content may be had: that is asked of the metadata before a blob is opened.

pub mod buffer_pool;
#[cfg(test)]
mod contract;
pub mod files;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use oci::{Algorithm, Digest, Digester};
use uuid::Uuid;

use crate::StoreError;

/// A blob that was opened: its size, and a way to its bytes that stays good even if the blob is
/// deleted meanwhile.
pub struct Blob {
    /// Size in bytes.
    pub size: u64,
    pub(crate) content: files::OpenFile,
}

impl Blob {
    /// The bytes of `range` (which must lie within `0..size`) in order, copied piece by piece. Reading what is not in
    /// memory yet never blocks the runtime.
    pub fn read(self, range: Range<u64>) -> files::BlobStream {
        self.content.read(range)
    }

    /// The same without a copy, for bytes that only the kernel reads, as in a vectored write to a socket. This process
    /// must not touch them: if somebody cuts the file short, that would end it (SIGBUS), and the kernel only reports
    /// an error. Encryption touches them.
    pub fn read_for_kernel(self, range: Range<u64>) -> files::BlobStream {
        self.content.read_for_kernel(range)
    }
}

/// An upload: content on its way in. All there is to know about it can be written down
/// ([`BlobStore::save`]) and taken up again later ([`Upload::resume`]), by another process too.
#[derive(Debug)]
pub struct Upload {
    /// Names the upload; unguessable.
    pub id: Uuid,
    /// How many bytes were taken in.
    pub offset: u64,
    /// The hash of those bytes so far.
    pub digester: Digester,
    /// The bytes themselves, as long as nothing of them was ever written.
    pub(crate) unwritten: Option<Vec<Bytes>>,
    /// What the backend keeps open from one piece to the next. It is not written down.
    pub(crate) session: Option<Arc<files::OpenUpload>>,
}

/// An upload as it is written down in the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadState {
    /// Names the upload.
    pub id: Uuid,
    /// How many bytes were taken in.
    pub offset: u64,
    /// The algorithm of the digest.
    pub algorithm: Algorithm,
    /// [`Digester::save`].
    pub hash_state: Vec<u8>,
}

impl Upload {
    /// An upload that has taken in nothing.
    pub(crate) fn new(id: Uuid, algorithm: Algorithm) -> Self {
        let digester = Digester::new(algorithm);
        Self { id, offset: 0, digester, unwritten: Some(Vec::new()), session: None }
    }

    /// What to write down, once nothing of it is in memory alone.
    pub(crate) fn state(&self) -> UploadState {
        UploadState {
            id: self.id,
            offset: self.offset,
            algorithm: self.digester.algorithm(),
            hash_state: self.digester.save(),
        }
    }

    /// The upload that was written down.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if the state is no state of that algorithm.
    pub fn resume(state: &UploadState) -> Result<Self, StoreError> {
        let digester = Digester::resume(state.algorithm, &state.hash_state)
            .ok_or_else(|| StoreError::Damaged(format!("hash state of upload {}", state.id)))?;
        let (id, offset) = (state.id, state.offset);
        Ok(Self { id, offset, digester, unwritten: None, session: None })
    }
}

/// Content that was stored, as [`BlobStore::put`] and [`BlobStore::commit`] return it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its size in bytes.
    pub size: u64,
    /// The content itself, if the backend leaves it to others to have it outlive the process and a
    /// power failure.
    ///
    /// It can be read. But whoever acknowledges it keeps these bytes durably until
    /// [`BlobStore::flush`] has succeeded, and hands them to [`BlobStore::restore`] if the process
    /// ends before. The metadata does so, with the very transaction that makes the content known,
    /// so that one sync serves for both.
    pub journaled: Option<Bytes>,
}

/// Content of that size, which is durable.
impl From<u64> for Stored {
    fn from(size: u64) -> Self {
        Self { size, journaled: None }
    }
}

/// How much there is to settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressure {
    /// Nothing that the backend knows of.
    Nothing,
    /// Something.
    Some,
    /// So much that it should not be put off any longer.
    Much,
}

/// Where content is kept.
///
/// The contract, for every backend:
/// - Nobody observes a blob that is not complete: before [`commit`](Self::commit) or
///   [`put`](Self::put) there is nothing, afterwards all of it, and so it is after a crash at any
///   moment, as soon as what was unsettled is restored.
/// - When `commit` or `put` return `Ok`, the blob is durable (written, synced, and its name
///   synced), or it is [`Stored::journaled`].
/// - Content whose hash is not the digest is never stored under it.
/// - Storing what is there already succeeds, and the blob has the right bytes afterwards even if the stored ones
///   were damaged. Many may store the same content at once.
/// - A future that is dropped leaves the store consistent.
/// - Lack of room is [`StoreError::Full`], and leaves nothing half-kept behind under a digest.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// The size of a blob, or `None` if it is not here.
    async fn stat(&self, digest: &Digest) -> Result<Option<u64>, StoreError>;

    /// The size of a blob, if it is here and that can be told at once. `None` tells nothing: ask
    /// [`stat`](Self::stat).
    fn stat_cached(&self, _digest: &Digest) -> Option<u64> {
        None
    }

    /// The sizes of those of these blobs that are here.
    async fn stat_many(&self, digests: Vec<Digest>) -> Result<HashMap<Digest, u64>, StoreError>;

    /// Opens a blob for reading, or `None` if it is not here.
    async fn open(&self, digest: &Digest) -> Result<Option<Blob>, StoreError>;

    /// A whole small blob in memory, such as a manifest or a config; `None` if it is not here.
    async fn get(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError>;

    /// Stores `content`, whose digest the caller has computed.
    async fn put(&self, digest: &Digest, content: Bytes) -> Result<Stored, StoreError>;

    /// Makes room for an upload of this name, which is unguessable and no other's. Nothing is
    /// durable yet.
    async fn begin(&self, id: Uuid, algorithm: Algorithm) -> Result<Upload, StoreError>;

    /// Takes in the next bytes of an upload, in the order of `piece`, hashing them on the way. The
    /// upload that comes back has them; if an error comes back, the upload is as it was before and
    /// can be resumed from the state last saved.
    async fn append(&self, upload: Upload, piece: Vec<Bytes>) -> Result<Upload, StoreError>;

    /// Has what an upload took in outlive the process, and says what to write down, so that it can
    /// go on after a restart.
    async fn save(&self, upload: Upload) -> Result<(Upload, UploadState), StoreError>;

    /// Ends an upload: its content becomes the blob `digest`.
    ///
    /// # Errors
    /// [`StoreError::DigestMismatch`], after which the upload is gone.
    async fn commit(&self, upload: Upload, digest: &Digest) -> Result<Stored, StoreError>;

    /// Makes durable all that was stored before the call. After an error, what was unsettled must
    /// be restored before this is believed again.
    async fn flush(&self) -> Result<(), StoreError>;

    /// How much there is to settle.
    fn pressure(&self) -> Pressure;

    /// Stores content that was unsettled anew, whatever is in its place. It is unsettled then.
    async fn restore(&self, digest: &Digest, content: Bytes) -> Result<(), StoreError>;

    /// Forgets an upload and what it took in. An upload that is not here is no error.
    async fn abort(&self, id: Uuid) -> Result<(), StoreError>;

    /// Deletes a blob for good. `false` if it was not here. Those who have it open read on.
    async fn delete(&self, digest: &Digest) -> Result<bool, StoreError>;

    /// All blobs with their sizes, in no particular order, without holding them all in memory.
    fn list(&self) -> BoxStream<'_, Result<(Digest, u64), StoreError>>;
}
