//! Lanes: what an upload is gathered in, two pieces of memory that are used again and again: one is
//! filled while the other is written.
//!
//! The bytes of a connection are copied into a lane while the processor has them at hand, which
//! costs little, and sets free at once the memory that they were received in: the next are received
//! in the same. Without it each piece of a body would be received in memory of its own.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use memmap2::MmapMut;

/// Gathers the bytes of one upload.
pub struct Buffer {
    filling: Piece,
    /// What had no room in the piece.
    rest: Bytes,
    size: usize,
    free: Free,
}

impl Buffer {
    /// A lane with pieces of `size` bytes, or `None` if there is no memory for it.
    #[must_use]
    pub fn new(size: usize) -> Option<Self> {
        let first = MmapMut::map_anon(size).ok()?;
        let second = MmapMut::map_anon(size).ok()?;
        let free: Free = Arc::new(Mutex::new(vec![second]));
        let filling = Piece { memory: Some(first), length: 0, free: free.clone() };
        Some(Self { filling, rest: Bytes::new(), size, free })
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
        self.filling.length == self.size
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
            let next = Piece { memory: Some(memory), length: 0, free: self.free.clone() };
            Bytes::from_owner(std::mem::replace(&mut self.filling, next))
        } else {
            // The pieces before are still in somebody's hands.
            let copy = Bytes::copy_from_slice(self.filling.as_ref());
            self.filling.length = 0;
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
    free: Free,
}

impl Piece {
    /// Copies as much as there is room for. What is left.
    fn fill(&mut self, mut bytes: Bytes) -> Bytes {
        let Some(memory) = &mut self.memory else { return bytes };
        let fits = bytes.split_to(bytes.len().min(memory.len() - self.length));
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

    const SIZE: usize = 1 << 20;

    #[test]
    #[allow(clippy::cast_possible_truncation, reason = "what is left of 251 fits")]
    fn lane_returns_what_was_added_in_order() {
        let content: Vec<u8> = (0..3 * SIZE + 5000).map(|index| (index / 7 % 251) as u8).collect();
        let (mut buffer, mut out) = (Buffer::new(SIZE).unwrap(), Vec::new());
        for bytes in content.chunks(60_001) {
            buffer.add(Bytes::copy_from_slice(bytes));
            while buffer.is_full() {
                let piece = buffer.take();
                assert_eq!(piece.len(), SIZE);
                out.extend_from_slice(&piece);
            }
        }
        out.extend_from_slice(&buffer.take());
        assert!(buffer.is_empty() && out == content);
    }

    #[test]
    fn lane_keeps_pieces_that_are_still_held() {
        let mut buffer = Buffer::new(SIZE).unwrap();
        let kept: Vec<Bytes> = (1..=4u8)
            .map(|number| {
                buffer.add(vec![number; SIZE].into());
                buffer.take()
            })
            .collect();
        for (piece, number) in kept.iter().zip(1..) {
            assert!(piece.len() == SIZE && piece.iter().all(|byte| *byte == number), "piece {number}");
        }
    }
}
