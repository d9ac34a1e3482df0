//! Lanes: what a long upload is gathered in, so that its bytes can go to a disk without passing
//! through the page cache.
//!
//! Such a write takes the bytes from where they are, so they must lie as a disk wants them: in
//! memory and in the file at multiples of [`ALIGNMENT`]. As they come from a connection they lie
//! anywhere, and are copied together here, which costs much less than a page of the cache for each
//! 4 KiB. It also sets free at once the memory that they were received in.
//!
//! There are few lanes, because each takes up two pieces: one is filled while the other is written.
//! An upload that finds none free goes on as short ones do.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use memmap2::MmapMut;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Where pieces begin, in memory and in the file: a multiple of what any disk asks for.
pub(super) const ALIGNMENT: usize = 4096;
/// How large a piece is.
const PIECE: usize = 1 << 20;
/// How many uploads have a lane at once; with two pieces each, that is 4 MiB. Twice as many
/// brought 32 uploads and 32 downloads of 512 MiB to 31.95 of the 32 MiB that they may take.
const LANES: usize = 2;

/// All lanes there are.
pub struct Lanes(Arc<Semaphore>);

impl Default for Lanes {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LANES)))
    }
}

impl Lanes {
    /// A lane for an upload that stands at `offset`, if one is free and there is memory for it.
    #[must_use]
    pub fn enter(&self, offset: u64) -> Option<Lane> {
        let permit = self.0.clone().try_acquire_owned().ok()?;
        let first = MmapMut::map_anon(PIECE).ok()?;
        let second = MmapMut::map_anon(PIECE).ok()?;
        let free: Free = Arc::new(Mutex::new(vec![second]));
        // A short first piece, after which all begin where they should.
        let beyond = usize::try_from(offset % ALIGNMENT as u64).unwrap_or(0);
        let filling = Piece { memory: Some(first), length: 0, limit: PIECE - beyond, free: free.clone() };
        Some(Lane { filling, rest: Bytes::new(), free, _permit: permit })
    }
}

/// Gathers the bytes of one upload.
pub struct Lane {
    filling: Piece,
    /// What had no room in the piece.
    rest: Bytes,
    free: Free,
    _permit: OwnedSemaphorePermit,
}

impl Lane {
    /// Takes in the next bytes. While a piece is [full](Self::is_full), they are only kept.
    pub fn add(&mut self, bytes: Bytes) {
        if self.rest.is_empty() {
            self.rest = self.filling.fill(bytes);
        } else {
            self.rest = [&self.rest[..], &bytes[..]].concat().into();
        }
    }

    /// Whether a whole piece was gathered.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.filling.length == self.filling.limit
    }

    /// Whether nothing was gathered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filling.length == 0
    }

    /// The piece that was gathered. Its memory is used again once it is dropped.
    pub fn take(&mut self) -> Bytes {
        let free = lock(&self.free).pop();
        let taken = if let Some(memory) = free {
            let next = Piece { memory: Some(memory), length: 0, limit: PIECE, free: self.free.clone() };
            Bytes::from_owner(std::mem::replace(&mut self.filling, next))
        } else {
            // The pieces before are still in somebody's hands.
            let copy = Bytes::copy_from_slice(self.filling.as_ref());
            (self.filling.length, self.filling.limit) = (0, PIECE);
            copy
        };
        self.rest = self.filling.fill(std::mem::take(&mut self.rest));
        taken
    }
}

type Free = Arc<Mutex<Vec<MmapMut>>>;

/// Memory that is aligned, and comes back when it is dropped.
struct Piece {
    memory: Option<MmapMut>,
    length: usize,
    limit: usize,
    free: Free,
}

impl Piece {
    /// Copies as much as there is room for. What is left.
    fn fill(&mut self, mut bytes: Bytes) -> Bytes {
        let Some(memory) = &mut self.memory else { return bytes };
        let fits = bytes.split_to(bytes.len().min(self.limit - self.length));
        memory[self.length..][..fits.len()].copy_from_slice(&fits);
        self.length += fits.len();
        bytes
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        self.memory.as_ref().map_or(&[], |memory| &memory[..self.length])
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        lock(&self.free).extend(self.memory.take());
    }
}

fn lock(free: &Free) -> std::sync::MutexGuard<'_, Vec<MmapMut>> {
    free.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::cast_possible_truncation, reason = "what is left of 251 fits")]
    fn what_goes_in_comes_out_in_aligned_pieces() {
        let content: Vec<u8> = (0..3 * PIECE + 5000).map(|index| (index / 7 % 251) as u8).collect();
        for offset in [0, 1, ALIGNMENT - 1, 3 * ALIGNMENT] {
            let lanes = Lanes::default();
            let mut lane = lanes.enter(offset as u64).unwrap();
            let (mut out, mut at) = (Vec::new(), offset);
            let mut keep = |piece: &Bytes| {
                let aligned = piece.as_ptr().addr().is_multiple_of(ALIGNMENT);
                assert!(aligned && (at.is_multiple_of(ALIGNMENT) || at == offset), "a piece at {at}");
                at += piece.len();
                out.extend_from_slice(piece);
            };
            for bytes in content.chunks(60_001) {
                lane.add(Bytes::copy_from_slice(bytes));
                while lane.is_full() {
                    keep(&lane.take());
                }
            }
            keep(&lane.take());
            assert!(lane.is_empty());
            assert!(out == content, "from {offset}");
        }
    }

    #[test]
    fn pieces_that_are_kept_stay_as_they_are() {
        let mut lane = Lanes::default().enter(0).unwrap();
        let kept: Vec<Bytes> = (1..=4u8)
            .map(|number| {
                lane.add(vec![number; PIECE].into());
                lane.take()
            })
            .collect();
        for (piece, number) in kept.iter().zip(1..) {
            assert!(piece.len() == PIECE && piece.iter().all(|byte| *byte == number), "piece {number}");
        }
    }

    #[test]
    fn there_are_only_so_many() {
        let lanes = Lanes::default();
        let mut taken: Vec<Lane> = (0..LANES).map(|_| lanes.enter(0).unwrap()).collect();
        assert!(lanes.enter(0).is_none());
        taken.pop();
        assert!(lanes.enter(0).is_some());
    }
}
