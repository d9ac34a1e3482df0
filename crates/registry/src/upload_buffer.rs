//! What came of a body and is not written yet.
//!
//! The bytes of an upload are gathered until they are worth handing to another thread: those of a
//! short one as they came, without a copy, those of a longer one in a lane of the store.

use bytes::Bytes;
use store::blobs::buffer_pool::Buffer;

/// So many bytes are gathered before they are hashed and written: large enough that handing them
/// to another thread costs little beside the hash, small enough that 32 uploads, each with a piece
/// being gathered and one being written, take 8 MiB.
const PIECE: usize = 128 * 1024;

/// The bytes that were gathered.
#[derive(Default)]
pub(crate) struct UploadBuffer {
    slices: Vec<Bytes>,
    bytes: usize,
    buffer: Option<Buffer>,
}

impl UploadBuffer {
    /// Whether they should be taken before more comes.
    pub(crate) fn is_full(&self) -> bool {
        self.buffer.as_ref().map_or(self.bytes >= PIECE, Buffer::is_full)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.as_ref().map_or(self.bytes == 0, Buffer::is_empty)
    }

    pub(crate) fn add(&mut self, bytes: Bytes) {
        if let Some(buffer) = &mut self.buffer {
            buffer.add(bytes);
        } else {
            self.bytes += bytes.len();
            self.slices.push(bytes);
        }
    }

    /// Returns the bytes to write next. If more are to come, they are gathered in a lane from here on.
    pub(crate) fn take(&mut self) -> Vec<Bytes> {
        let more_to_come = self.is_full();
        let taken = match &mut self.buffer {
            Some(buffer) => vec![buffer.take()],
            None => {
                self.bytes = 0;
                std::mem::take(&mut self.slices)
            }
        };
        if more_to_come && self.buffer.is_none() {
            self.buffer = Buffer::new(PIECE);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::cast_possible_truncation, reason = "what is left of 251 fits")]
    fn gathering_a_long_upload_loses_nothing() {
        let content: Vec<u8> = (0..5_000_000).map(|index: usize| (index / 7 % 251) as u8).collect();
        let (mut gathered, mut out, mut sizes) = (UploadBuffer::default(), Vec::new(), Vec::new());
        for bytes in content.chunks(60_001) {
            gathered.add(Bytes::copy_from_slice(bytes));
            while gathered.is_full() {
                let piece = gathered.take().concat();
                sizes.push(piece.len());
                out.extend(piece);
            }
        }
        while !gathered.is_empty() {
            out.extend(gathered.take().concat());
        }
        assert!(out == content);
        // The first is taken as it came.
        assert_eq!((sizes[0], sizes[1], sizes.last()), (3 * 60_001, PIECE, Some(&PIECE)));
    }

    #[test]
    fn gathering_a_short_upload_makes_no_copy() {
        let bytes = Bytes::from_static(b"content");
        let mut gathered = UploadBuffer::default();
        gathered.add(bytes.clone());
        let taken = gathered.take();
        assert_eq!((taken[0].as_ptr(), taken.len()), (bytes.as_ptr(), 1));
        assert!(gathered.is_empty() && gathered.buffer.is_none());
    }
}
