//! Lanes: what an upload is gathered in, two pieces of memory that are used again and again: one is
//! filled while the other is written.
//!
//! The bytes of a connection are copied into a lane while the processor has them at hand, which
//! costs little, and sets free at once the memory that they were received in: the next are received
//! in the same. Without it each piece of a body would be received in memory of its own.
//!
//! A wide lane has large pieces that lie as a disk wants them, in memory and in the file at
//! multiples of [`ALIGNMENT`]. They can go to a disk without passing through the page cache, which
//! saves a page of the cache for each 4 KiB. There are few wide lanes, because of what they take up;
//! an upload that finds none free goes on in its narrow one.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use memmap2::MmapMut;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Where the pieces of a wide lane begin, in memory and in the file: a multiple of what any disk
/// asks for.
pub(super) const ALIGNMENT: usize = 4096;
/// How large the pieces of a wide lane are. What is smaller is not worth waiting for a disk.
pub(super) const WIDE: usize = 1 << 20;
/// How many uploads have a wide lane at once; with two pieces each, that is 4 MiB. Twice as many
/// brought 32 uploads and 32 downloads of 512 MiB to 31.95 of the 32 MiB that they may take.
const WIDE_LANES: usize = 2;

/// All wide lanes there are.
pub struct Lanes(Arc<Semaphore>);

impl Default for Lanes {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(WIDE_LANES)))
    }
}

impl Lanes {
    /// A wide lane for an upload that stands at `offset`, if one is free and there is memory for it.
    #[must_use]
    pub fn wide(&self, offset: u64) -> Option<Lane> {
        let permit = self.0.clone().try_acquire_owned().ok()?;
        let mut lane = Lane::of(WIDE)?;
        // A short first piece, after which all begin where they should.
        lane.filling.limit -= usize::try_from(offset % ALIGNMENT as u64).unwrap_or(0);
        lane.permit = Some(permit);
        Some(lane)
    }
}

/// Gathers the bytes of one upload.
pub struct Lane {
    filling: Piece,
    /// What had no room in the piece.
    rest: Bytes,
    size: usize,
    free: Free,
    permit: Option<OwnedSemaphorePermit>,
}

impl Lane {
    /// A narrow lane, with pieces of `size` bytes, if there is memory for it.
    #[must_use]
    pub fn narrow(size: usize) -> Option<Self> {
        Self::of(size)
    }

    fn of(size: usize) -> Option<Self> {
        let first = MmapMut::map_anon(size).ok()?;
        let second = MmapMut::map_anon(size).ok()?;
        let free: Free = Arc::new(Mutex::new(vec![second]));
        let filling = Piece { memory: Some(first), length: 0, limit: size, free: free.clone() };
        Some(Self { filling, rest: Bytes::new(), size, free, permit: None })
    }

    /// Whether it is a wide one.
    #[must_use]
    pub fn is_wide(&self) -> bool {
        self.permit.is_some()
    }

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

    /// How many bytes were gathered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.filling.length + self.rest.len()
    }

    /// The piece that was gathered. Its memory is used again once it is dropped.
    pub fn take(&mut self) -> Bytes {
        let free = lock(&self.free).pop();
        let taken = if let Some(memory) = free {
            let next = Piece { memory: Some(memory), length: 0, limit: self.size, free: self.free.clone() };
            Bytes::from_owner(std::mem::replace(&mut self.filling, next))
        } else {
            // The pieces before are still in somebody's hands.
            let copy = Bytes::copy_from_slice(self.filling.as_ref());
            (self.filling.length, self.filling.limit) = (0, self.size);
            copy
        };
        self.rest = self.filling.fill(std::mem::take(&mut self.rest));
        taken
    }
}

type Free = Arc<Mutex<Vec<MmapMut>>>;

/// Memory that comes back when it is dropped.
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
        let content: Vec<u8> = (0..3 * WIDE + 5000).map(|index| (index / 7 % 251) as u8).collect();
        for offset in [0, 1, ALIGNMENT - 1, 3 * ALIGNMENT] {
            let lanes = Lanes::default();
            let mut lane = lanes.wide(offset as u64).unwrap();
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
        let mut lane = Lane::narrow(WIDE).unwrap();
        let kept: Vec<Bytes> = (1..=4u8)
            .map(|number| {
                lane.add(vec![number; WIDE].into());
                lane.take()
            })
            .collect();
        for (piece, number) in kept.iter().zip(1..) {
            assert!(piece.len() == WIDE && piece.iter().all(|byte| *byte == number), "piece {number}");
        }
    }

    #[test]
    fn there_are_only_so_many() {
        let lanes = Lanes::default();
        let mut taken: Vec<Lane> = (0..WIDE_LANES).map(|_| lanes.wide(0).unwrap()).collect();
        assert!(lanes.wide(0).is_none());
        taken.pop();
        assert!(lanes.wide(0).is_some());
    }
}
