//! Buffer pool of an upload: two buffers that are reused, one fills while the other is written.
//!
//! Received bytes are copied into a buffer while the processor has them in its cache, which costs little.
//! That frees the receive buffer at once, so the next bytes are received into the same memory. The copy takes
//! 0.03 s of CPU a GB. 32 uploads and 32 downloads at once take 25 MiB of memory instead of 31
//! (`wharfinger-bench --only push,transfers --peers none --runs 1`).

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use memmap2::MmapMut;

/// Gathers the bytes of one upload.
pub(in crate::blobs) struct Buffer {
    filling: Piece,
    /// Bytes beyond the end of the piece.
    overflow: Bytes,
    size: usize,
    free: Free,
}

impl Buffer {
    /// Allocates two pieces of `size` bytes; `None` if there is no memory for them.
    pub(in crate::blobs) fn new(size: usize) -> Option<Self> {
        let first = MmapMut::map_anon(size).ok()?;
        let second = MmapMut::map_anon(size).ok()?;
        let free: Free = Arc::new(Mutex::new(vec![second]));
        let filling = Piece { memory: Some(first), length: 0, free: free.clone() };
        Some(Self { filling, overflow: Bytes::new(), size, free })
    }

    /// Appends bytes. Take a [full](Self::is_full) piece first, or the bytes are copied once more.
    pub(in crate::blobs) fn add(&mut self, bytes: Bytes) {
        if self.overflow.is_empty() {
            self.overflow = self.filling.fill(bytes);
        } else {
            self.overflow = [&self.overflow[..], &bytes[..]].concat().into();
        }
    }

    pub(in crate::blobs) fn is_full(&self) -> bool {
        self.filling.length == self.size
    }

    pub(in crate::blobs) fn is_empty(&self) -> bool {
        self.filling.length == 0
    }

    /// Returns the gathered piece. Its memory goes back to the pool when it is dropped.
    pub(in crate::blobs) fn take(&mut self) -> Bytes {
        let free = lock(&self.free).pop();
        let taken = if let Some(memory) = free {
            let next = Piece { memory: Some(memory), length: 0, free: self.free.clone() };
            Bytes::from_owner(std::mem::replace(&mut self.filling, next))
        } else {
            // The other piece is still in use.
            let copy = Bytes::copy_from_slice(self.filling.as_ref());
            self.filling.length = 0;
            copy
        };
        self.overflow = self.filling.fill(std::mem::take(&mut self.overflow));
        taken
    }
}

type Free = Arc<Mutex<Vec<MmapMut>>>;

/// Memory that returns to the pool when it is dropped.
struct Piece {
    memory: Option<MmapMut>,
    length: usize,
    free: Free,
}

impl Piece {
    /// Copies as many bytes as fit, and returns the rest.
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
    #[allow(clippy::cast_possible_truncation, reason = "a remainder of 251 fits")]
    fn buffer_returns_bytes_in_order() {
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
    fn buffer_copies_while_pieces_are_held() {
        let mut buffer = Buffer::new(SIZE).unwrap();
        let held: Vec<Bytes> = (1..=4u8)
            .map(|number| {
                buffer.add(vec![number; SIZE].into());
                buffer.take()
            })
            .collect();
        for (piece, number) in held.iter().zip(1..) {
            assert!(piece.len() == SIZE && piece.iter().all(|byte| *byte == number), "piece {number}");
        }
    }
}
