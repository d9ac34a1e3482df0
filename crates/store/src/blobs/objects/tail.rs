//! The tail of an upload: saved bytes that are in no part yet, as objects, so that another server goes on
//! with it.
//!
//! All parts but the last have one size, and a chunk ends anywhere. So each saved chunk adds an object with
//! its bytes that are in no part. It takes in those before it that are less than twice as large. So a tail
//! has at most 25 objects, and a byte is sent again only if the object grows by half.

use std::ops::Range;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::TryStreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::place::ObjectBlobs;
use crate::StoreError;
use crate::blobs::local::uploads::OpenUpload;
use crate::blocking::blocking;
use crate::boot::boot_id;

/// The bytes of an upload in one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Piece {
    pub(super) begin: u64,
    pub(super) end: u64,
}

impl Piece {
    fn length(self) -> u64 {
        self.end - self.begin
    }

    fn bytes(self) -> Range<u64> {
        self.begin..self.end
    }
}

/// The objects of one upload.
#[derive(Default)]
pub(super) struct Tail {
    /// The present pieces, in order.
    pub(super) pieces: Vec<Piece>,
    /// Pieces that the state before the last one needs.
    replaced: Vec<Piece>,
    /// Whether there may be others, of another writer.
    has_others: bool,
}

impl Tail {
    /// The tail of an upload that another writer has begun.
    pub(super) fn resumed(pieces: Vec<Piece>) -> Self {
        Self { pieces, replaced: Vec::new(), has_others: true }
    }

    /// Stores the bytes of `unsent`, which no part has. The state of the last call is saved. The caller holds
    /// the lock of the upload.
    pub(super) async fn store(
        &mut self,
        blobs: &ObjectBlobs,
        upload: &Arc<OpenUpload>,
        unsent: Range<u64>,
    ) -> Result<(), StoreError> {
        let old = std::mem::take(&mut self.replaced);
        let delete = blobs.delete_pieces(upload.id(), old);
        let (sent, mut kept): (Vec<Piece>, Vec<Piece>) =
            self.pieces.drain(..).partition(|piece| piece.end <= unsent.start);
        self.replaced = sent;
        let begin = kept.last().map_or(unsent.start, |last| last.end);
        if begin == unsent.end {
            self.has_others |= !delete.await;
            self.pieces = kept;
            return Ok(());
        }
        let mut new = Piece { begin, end: unsent.end };
        while let Some(last) = kept.last().filter(|last| last.length() < 2 * new.length()).copied() {
            new.begin = last.begin.max(unsent.start);
            self.replaced.extend(kept.pop());
        }
        let (put, are_deleted) = tokio::join!(blobs.put_piece(upload, new), delete);
        self.has_others |= !are_deleted;
        put?;
        kept.push(new);
        self.pieces = kept;
        Ok(())
    }

    /// Deletes the objects of an ended upload. After an error, the next start deletes the rest.
    pub(super) async fn delete(self, blobs: &ObjectBlobs, id: Uuid) {
        if self.has_others {
            if let Err(error) = blobs.delete_tail(id).await {
                tracing::warn!(%error, "the saved bytes of an upload are left; the next start deletes them");
            }
            return;
        }
        blobs.delete_pieces(id, self.pieces.into_iter().chain(self.replaced).collect()).await;
    }
}

impl ObjectBlobs {
    async fn put_piece(&self, upload: &Arc<OpenUpload>, piece: Piece) -> Result<(), StoreError> {
        let _memory = self.memory.acquire().await.map_err(|_| StoreError::Closed)?;
        let file = upload.clone();
        let content = blocking(move || file.read(piece.bytes())).await?;
        self.bucket.put(&self.keys.piece(upload.id(), piece.bytes()), vec![content]).await
    }

    /// Deletes pieces, and returns whether that worked.
    async fn delete_pieces(&self, id: Uuid, pieces: Vec<Piece>) -> bool {
        let delete =
            |piece: Piece| async move { self.bucket.delete(&self.keys.piece(id, piece.bytes())).await };
        let mut deleted: FuturesUnordered<_> = pieces.into_iter().map(delete).collect();
        let mut are_deleted = true;
        while let Some(deleted) = deleted.next().await {
            if let Err(error) = deleted {
                tracing::warn!(%error, "cannot delete saved bytes of an upload that are not needed any more");
                are_deleted = false;
            }
        }
        are_deleted
    }

    /// Deletes all pieces of an upload.
    pub(super) async fn delete_tail(&self, id: Uuid) -> Result<(), StoreError> {
        let mut pieces = self.bucket.list(self.keys.tail(id));
        while let Some((key, _)) = pieces.try_next().await? {
            self.bucket.delete(&key).await?;
        }
        Ok(())
    }

    /// The name of the data directory since the last boot of the machine: a power failure may have taken
    /// unsynced bytes.
    pub(super) async fn spool_name(&self) -> Result<String, StoreError> {
        let name = self.spool_name.get_or_try_init(|| async {
            Ok::<_, StoreError>(format!("{}/{}", self.lease.directory().await?, boot_id()))
        });
        name.await.cloned()
    }

    /// Writes the saved bytes from `sent` to `offset` to the file of an upload, which another server has
    /// received.
    pub(super) async fn fetch_tail(
        &self,
        upload: &Arc<OpenUpload>,
        pieces: &[Piece],
        sent: u64,
        offset: u64,
    ) -> Result<(), StoreError> {
        if !is_complete(pieces, sent, offset) {
            return Err(upload.lost(offset, sent));
        }
        let _memory = self.memory.acquire().await.map_err(|_| StoreError::Closed)?;
        let mut contents = Vec::new();
        for piece in pieces {
            match self.bucket.get(&self.keys.piece(upload.id(), piece.bytes())).await? {
                Some(content) if content.len() as u64 == piece.length() => {
                    contents.push((piece.begin, content))
                }
                _ => return Err(upload.lost(offset, piece.begin)),
            }
        }
        let file = upload.clone();
        blocking(move || file.refill(offset, &contents)).await
    }
}

/// Whether the pieces hold all bytes from `sent` to `offset`.
pub(super) fn is_complete(pieces: &[Piece], sent: u64, offset: u64) -> bool {
    let reached = pieces
        .iter()
        .fold(sent, |reached, piece| if piece.begin <= reached { reached.max(piece.end) } else { reached });
    reached >= offset
}
