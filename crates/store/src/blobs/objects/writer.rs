//! Writes one upload to a bucket: hashes and spools its bytes, and sends them in parts.
//!
//! At most two parts of an upload are on their way. The next write waits for the first of them. Sent bytes
//! are removed from the file of the upload, except those that a saved state still needs.
//!
//! With several servers, the saved bytes that are in no part are stored as well, in the [`Tail`]. A chunk
//! waits for that. The first request of an upload without a range does not, because it mostly holds all of
//! the blob.

use std::collections::VecDeque;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use oci::{Digest, Digester};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::place::{ObjectBlobs, Target};
use super::tail::{Piece, Tail, is_complete};
use crate::StoreError;
use crate::blobs::local::spool::Spool;
use crate::blobs::local::uploads::{UploadLock, Written};
use crate::blobs::{BlobWriter, Stored, Upload, UploadState, check_digest};
use crate::blocking::{Priority, blocking};

/// The parts of an object, a limit of S3.
const MOST_PARTS: usize = 10_000;
/// Parts of one upload on their way.
const SENDING: usize = 2;

/// The state of an upload in the metadata, as JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Saved {
    target: Option<Target>,
    /// The ETags of the parts, from the first on.
    parts: Vec<String>,
    /// The data directory that has the bytes which are in no part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spool: Option<String>,
    /// Objects with these bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tail: Vec<Piece>,
}

impl Saved {
    pub(super) fn parse(state: &UploadState) -> Result<Self, StoreError> {
        if state.backend.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(&state.backend)
            .map_err(|error| StoreError::Damaged(format!("parts of upload {}: {error}", state.id)))
    }

    /// Whether the saved bytes of an upload of `offset` bytes are in the bucket, or in the file that this
    /// process may use.
    pub(super) async fn is_here(&self, blobs: &ObjectBlobs, offset: u64) -> Result<bool, StoreError> {
        let sent = blobs.limits.begin(self.parts.len());
        Ok(!blobs.is_shared || self.is_own(blobs).await? || is_complete(&self.tail, sent, offset))
    }

    async fn is_own(&self, blobs: &ObjectBlobs) -> Result<bool, StoreError> {
        Ok(self.spool == Some(blobs.spool_name().await?))
    }
}

/// The writer of one upload.
pub(super) struct ObjectWriter {
    blobs: ObjectBlobs,
    spool: Spool,
    parts: Parts,
    known: Option<Digest>,
    is_readable: bool,
    /// The state of an earlier writer, and its offset.
    resumed: Option<(u64, Saved)>,
    /// Whether transfers of earlier writers have ended, and the file has the bytes of `resumed`.
    is_settled: bool,
}

#[derive(Default)]
struct Parts {
    target: Option<Target>,
    etags: Vec<String>,
    sending: VecDeque<Sending>,
    /// The bytes from here to `saved` are needed to resume from the state before the last one.
    needed: u64,
    /// The offset and the end of the sent parts of the last saved state.
    saved: u64,
    saved_sent: u64,
    tail: Tail,
}

struct Sending {
    range: Range<u64>,
    task: JoinHandle<Result<String, StoreError>>,
}

impl ObjectWriter {
    pub(super) fn begin(blobs: &ObjectBlobs, id: Uuid, digester: Digester) -> Upload {
        Box::new(Self::open(blobs, id, 0, digester))
    }

    pub(super) fn begin_known(blobs: &ObjectBlobs, id: Uuid, digest: &Digest, is_readable: bool) -> Upload {
        let writer = Self::open(blobs, id, 0, Digester::new(digest.algorithm()));
        Box::new(Self { known: Some(*digest), is_readable, ..writer })
    }

    pub(super) fn resume(
        blobs: &ObjectBlobs,
        state: &UploadState,
        digester: Digester,
        saved: Saved,
    ) -> Upload {
        let writer = Self::open(blobs, state.id, state.offset, digester);
        if let Some(target) = &saved.target {
            blobs.multipart().insert(state.id, target.clone());
        }
        let sent = blobs.limits.begin(saved.parts.len());
        let tail = if blobs.is_shared { Tail::resumed(saved.tail.clone()) } else { Tail::default() };
        let parts = Parts {
            target: saved.target.clone(),
            etags: saved.parts.clone(),
            sending: VecDeque::new(),
            needed: sent,
            saved: state.offset,
            saved_sent: sent,
            tail,
        };
        let resumed = (blobs.is_shared && state.offset > 0).then_some((state.offset, saved));
        Box::new(Self { parts, resumed, ..writer })
    }

    fn open(blobs: &ObjectBlobs, id: Uuid, offset: u64, digester: Digester) -> Self {
        Self {
            spool: Spool::new(blobs.uploads.open(id), offset, digester),
            blobs: blobs.clone(),
            parts: Parts::default(),
            known: None,
            is_readable: false,
            resumed: None,
            is_settled: false,
        }
    }

    /// Locks the upload. The first time, waits for the transfers of earlier writers as well, which could
    /// otherwise replace a part of this one.
    async fn lock(&mut self) -> Result<UploadLock, StoreError> {
        let lock = self.spool.upload.lock().await?;
        if !self.is_settled {
            self.spool.upload.settle_transfers().await;
            if let Some((offset, saved)) = &self.resumed {
                self.fill_spool(*offset, saved).await?;
            }
            self.is_settled = true;
        }
        Ok(lock)
    }

    /// Brings the saved bytes that are in no part to the file, if another server has received them.
    async fn fill_spool(&self, offset: u64, saved: &Saved) -> Result<(), StoreError> {
        let (blobs, upload) = (&self.blobs, &self.spool.upload);
        let file = upload.clone();
        if saved.is_own(blobs).await? && blocking(move || Ok(file.has(offset))).await? {
            return Ok(());
        }
        blobs.fetch_tail(upload, &saved.tail, blobs.limits.begin(saved.parts.len()), offset).await
    }

    /// Saves the received bytes. With `for_others`, also stores the bytes that no part has, for other
    /// servers.
    async fn save_state(&mut self, for_others: bool) -> Result<UploadState, StoreError> {
        let written = self.spool.written().await?;
        let lock = self.lock().await?;
        let (written, lock) = self.spool.write_rest(written, lock).await?;
        let lock = self.send_parts(written.offset, false, lock).await?;
        if for_others {
            while !self.parts.sending.is_empty() {
                self.finish_part().await?;
            }
            let unsent = self.blobs.limits.begin(self.parts.etags.len())..written.offset;
            self.parts.tail.store(&self.blobs, &self.spool.upload, unsent).await?;
        }
        let spool = if self.blobs.is_shared { Some(self.blobs.spool_name().await?) } else { None };
        let saved = Saved {
            target: self.parts.target.clone(),
            parts: self.parts.etags.clone(),
            spool,
            tail: self.parts.tail.pieces.clone(),
        };
        let sent = self.blobs.limits.begin(saved.parts.len());
        // The caller may still need the state before this one.
        let free = self.parts.needed..self.parts.saved_sent;
        self.parts.needed = self.parts.saved_sent;
        (self.parts.saved, self.parts.saved_sent) = (written.offset, sent);
        self.free(free).await?;
        drop(lock);
        let backend = match &saved {
            Saved { target: None, spool: None, .. } => String::new(),
            saved => serde_json::to_string(saved)
                .map_err(|error| StoreError::Damaged(format!("parts of an upload: {error}")))?,
        };
        Ok(self.spool.saved(written, backend, for_others))
    }

    /// Sends the parts that are complete. The last one waits for `all`, so that commit decides how the upload
    /// ends.
    async fn send_parts(
        &mut self,
        written: u64,
        all: bool,
        lock: UploadLock,
    ) -> Result<UploadLock, StoreError> {
        loop {
            let index = self.parts.etags.len() + self.parts.sending.len();
            let (begin, end) = (self.blobs.limits.begin(index), self.blobs.limits.begin(index + 1));
            if written <= begin || written <= end && !all {
                return Ok(lock);
            }
            if index >= MOST_PARTS {
                return Err(StoreError::ObjectStore {
                    action: "write",
                    what: self.blobs.bucket.name(&self.blobs.keys.upload(self.spool.upload.id())),
                    reason: format!("content beyond {begin} bytes needs more than {MOST_PARTS} parts"),
                });
            }
            let range = begin..end.min(written);
            while self.parts.sending.len() >= SENDING {
                self.finish_part().await?;
            }
            let target = self.target().await?;
            let transfer = self.spool.upload.begin_transfer().await;
            let (blobs, upload, part) = (self.blobs.clone(), self.spool.upload.clone(), range.clone());
            let task = tokio::spawn(async move {
                let _transfer = transfer;
                let _memory = blobs.memory.acquire().await.map_err(|_| StoreError::Closed)?;
                let file = upload.clone();
                let content = blocking(move || file.read(part)).await?;
                let sent = blobs.bucket.put_part(&target.key, &target.id, index, content).await;
                // A later writer finds this transfer as long as the upload is open.
                drop(upload);
                sent
            });
            self.parts.sending.push_back(Sending { range, task });
        }
    }

    /// The multipart upload, which begins with the first part.
    async fn target(&mut self) -> Result<Target, StoreError> {
        if let Some(target) = &self.parts.target {
            return Ok(target.clone());
        }
        let key = match &self.known {
            Some(digest) => self.blobs.keys.blob(digest),
            None => self.blobs.keys.upload(self.spool.upload.id()),
        };
        let id = self.blobs.bucket.begin(&key).await?;
        let target = Target { key, id };
        self.blobs.multipart().insert(self.spool.upload.id(), target.clone());
        self.parts.target = Some(target.clone());
        Ok(target)
    }

    /// Waits for the first part on its way, and frees its bytes. The caller holds the lock.
    async fn finish_part(&mut self) -> Result<(), StoreError> {
        let Some(Sending { range, task }) = self.parts.sending.front_mut() else { return Ok(()) };
        let range = range.clone();
        let etag = task.await.unwrap_or(Err(StoreError::Closed))?;
        self.parts.sending.pop_front();
        self.parts.etags.push(etag);
        // A client that resumes sends the bytes after the last saved state again.
        self.free(range.start.max(self.parts.saved)..range.end).await
    }

    async fn free(&self, range: Range<u64>) -> Result<(), StoreError> {
        if self.is_readable || range.is_empty() {
            return Ok(());
        }
        let upload = self.spool.upload.clone();
        blocking(move || {
            upload.free(range);
            Ok(())
        })
        .await
    }

    /// Makes the blob of a multipart upload. `size` bytes are in its file or sent.
    async fn complete(
        &mut self,
        written: Written,
        digest: &Digest,
        lock: UploadLock,
    ) -> Result<UploadLock, StoreError> {
        let size = written.offset;
        let lock = self.send_parts(size, true, lock).await?;
        while !self.parts.sending.is_empty() {
            self.finish_part().await?;
        }
        let Target { key, id } = self.target().await?;
        let (bucket, destination) = (self.blobs.bucket.clone(), self.blobs.keys.blob(digest));
        let etags = std::mem::take(&mut self.parts.etags);
        let is_verified = written.digester.algorithm() == digest.algorithm();
        if is_verified {
            self.verify(digest, written.digester.finish()).await?;
        }
        if !bucket.complete(&key, &id, etags).await? {
            // A repeated request, or the commit of an earlier process, may have completed it before.
            let there = bucket.stat(&key).await?.map(|object| object.size);
            if key == destination || there != Some(size) {
                return Err(self.spool.upload.lost(size, 0));
            }
        }
        self.blobs.multipart().remove(&self.spool.upload.id());
        if key != destination {
            if !is_verified {
                // The only second pass over content: the client began with one algorithm and ends with
                // another.
                let actual = self.blobs.hash(&key, digest.algorithm()).await?.map(|(actual, _)| actual);
                let checked = actual.ok_or_else(|| self.spool.upload.lost(size, 0));
                if let Err(error) = checked.and_then(|actual| check_digest(digest, actual)) {
                    bucket.delete(&key).await?;
                    return Err(error);
                }
            }
            self.blobs.copy(&key, &destination, size).await?;
            if let Err(error) = bucket.delete(&key).await {
                tracing::warn!(%error, "the copy of an upload is left; it is deleted later");
            }
        }
        Ok(lock)
    }

    /// Ends the upload if the digest of its content is another one.
    async fn verify(&mut self, expected: &Digest, actual: Digest) -> Result<(), StoreError> {
        let checked = check_digest(expected, actual);
        if checked.is_err() {
            let upload = self.spool.upload.clone();
            blocking(move || upload.remove()).await?;
            std::mem::take(&mut self.parts.tail).delete(&self.blobs, self.spool.upload.id()).await;
            if self.parts.target.is_some() {
                self.blobs.abort_multipart(self.spool.upload.id()).await?;
            }
        }
        checked
    }
}

#[async_trait]
impl BlobWriter for ObjectWriter {
    fn id(&self) -> Uuid {
        self.spool.upload.id()
    }

    fn offset(&self) -> u64 {
        self.spool.offset
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.spool.add(bytes);
        while self.spool.is_full() {
            let written = self.spool.written().await?;
            let lock = self.lock().await?;
            let lock = self.send_parts(written.offset, false, lock).await?;
            self.spool.write(written, lock, Priority::Ordinary);
        }
        Ok(())
    }

    async fn save(&mut self) -> Result<UploadState, StoreError> {
        self.save_state(false).await
    }

    async fn save_for_others(&mut self) -> Result<UploadState, StoreError> {
        self.save_state(self.blobs.is_shared).await
    }

    async fn commit(mut self: Box<Self>, digest: &Digest) -> Result<Stored, StoreError> {
        let written = self.spool.written().await?;
        let lock = self.lock().await?;
        let size = self.spool.offset;
        let is_one_part = self.parts.target.is_none() && size <= self.blobs.limits.begin(1);
        let key = self.blobs.keys.blob(digest);
        if let Some(known) = self.known {
            // Its parts go to the key of the known digest.
            self.verify(&known, *digest).await?;
        }
        if is_one_part && written.offset == 0 {
            let claimed = *digest;
            let pieces = self.spool.take_rest();
            let (pieces, actual) = blocking(move || {
                let mut digester = Digester::new(claimed.algorithm());
                pieces.iter().for_each(|piece| digester.update(piece));
                Ok((pieces, digester.finish()))
            })
            .await?;
            self.verify(digest, actual).await?;
            self.blobs.bucket.put(&key, pieces).await?;
        } else {
            let (written, lock) = self.spool.write_rest(written, lock).await?;
            if is_one_part {
                let (upload, claimed) = (self.spool.upload.clone(), *digest);
                let (content, actual) = blocking(move || {
                    let content = upload.read(0..size)?;
                    let is_same = written.digester.algorithm() == claimed.algorithm();
                    let actual = match is_same {
                        true => written.digester.finish(),
                        false => claimed.algorithm().digest(&content),
                    };
                    Ok((content, actual))
                })
                .await?;
                self.verify(digest, actual).await?;
                self.blobs.bucket.put(&key, vec![content]).await?;
            } else {
                self.complete(written, digest, lock).await?;
            }
        }
        let upload = self.spool.upload.clone();
        blocking(move || upload.remove()).await?;
        std::mem::take(&mut self.parts.tail).delete(&self.blobs, self.spool.upload.id()).await;
        Ok(size.into())
    }
}
