//! Write buffer of an upload: gathers received bytes until they are worth handing to another thread.
//!
//! A short upload is kept as it came, without a copy. A longer one is copied into the [`Buffer`] of a buffer
//! pool.
//!
//! The first uploads gather larger pieces, because each piece that another thread takes costs switches. A
//! push of 1 GB takes 1.72 s of CPU rather than 2.23, and 1.35 s rather than 1.99 (`wharfinger-bench --runs 2
//! --only push`).

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::buffer_pool::Buffer;

/// Bytes to gather before they are hashed and written. 32 uploads with two buffers each take 8 MiB.
const PIECE: usize = 128 * 1024;
/// The bytes of an upload that has a permit of [`WIDE`].
const WIDE_PIECE: usize = 512 * 1024;
/// The uploads that may gather larger pieces at a time. They take 3 MiB more.
const WIDE_UPLOADS: usize = 4;

/// Permits to gather larger pieces.
static WIDE: Semaphore = Semaphore::const_new(WIDE_UPLOADS);

/// Gathered bytes.
#[derive(Default)]
pub(in crate::blobs) struct UploadBuffer {
    slices: Vec<Bytes>,
    bytes: usize,
    buffer: Option<Buffer>,
    permit: Option<SemaphorePermit<'static>>,
}

impl UploadBuffer {
    /// Whether to take the bytes before adding more.
    pub(in crate::blobs) fn is_full(&self) -> bool {
        self.buffer.as_ref().map_or(self.bytes >= PIECE, Buffer::is_full)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buffer.as_ref().map_or(self.bytes == 0, Buffer::is_empty)
    }

    pub(in crate::blobs) fn add(&mut self, bytes: Bytes) {
        if let Some(buffer) = &mut self.buffer {
            buffer.add(bytes);
        } else if !bytes.is_empty() {
            self.bytes += bytes.len();
            self.slices.push(bytes);
        }
    }

    /// Returns the bytes to write next. After a full buffer, the following bytes go to a [`Buffer`].
    pub(in crate::blobs) fn take(&mut self) -> Vec<Bytes> {
        let more_to_come = self.is_full();
        let taken = match &mut self.buffer {
            Some(buffer) => vec![buffer.take()],
            None => {
                self.bytes = 0;
                std::mem::take(&mut self.slices)
            }
        };
        if more_to_come && self.buffer.is_none() {
            self.permit = WIDE.try_acquire().ok();
            self.buffer = Buffer::new(if self.permit.is_some() { WIDE_PIECE } else { PIECE });
        }
        taken
    }

    /// Returns all bytes.
    pub(in crate::blobs) fn into_pieces(mut self) -> Vec<Bytes> {
        let mut pieces = Vec::new();
        while !self.is_empty() {
            pieces.extend(self.take());
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::cast_possible_truncation, reason = "a remainder of 251 fits")]
    fn upload_buffer_returns_all_bytes_in_order() {
        let content: Vec<u8> = (0..5_000_000).map(|index: usize| (index / 7 % 251) as u8).collect();
        let (mut buffer, mut out, mut sizes) = (UploadBuffer::default(), Vec::new(), Vec::new());
        for bytes in content.chunks(60_001) {
            buffer.add(Bytes::copy_from_slice(bytes));
            while buffer.is_full() {
                let piece = buffer.take().concat();
                sizes.push(piece.len());
                out.extend(piece);
            }
        }
        out.extend(buffer.into_pieces().concat());
        assert!(out == content);
        // The first piece is taken without a copy.
        assert_eq!(sizes[0], 3 * 60_001);
        assert!([PIECE, WIDE_PIECE].contains(&sizes[1]) && sizes[1..].iter().all(|size| *size == sizes[1]));
    }

    #[test]
    fn upload_buffer_copies_no_short_upload() {
        let bytes = Bytes::from_static(b"content");
        let mut buffer = UploadBuffer::default();
        buffer.add(bytes.clone());
        let taken = buffer.take();
        assert_eq!((taken[0].as_ptr(), taken.len()), (bytes.as_ptr(), 1));
        assert!(buffer.is_empty() && buffer.buffer.is_none());
    }
}
