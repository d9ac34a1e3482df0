//! What came of a body and is not written yet.
//!
//! The bytes of an upload are gathered as they came, without a copy, until they are worth handing
//! to another thread. A long one is gathered in a lane of the store, if one is free.

use bytes::Bytes;
use store::blobs::lanes::{Lane, Lanes};

/// So many bytes are gathered before they are hashed and written: large enough that handing them
/// to another thread costs little beside the hash, small enough that 32 uploads, each with a piece
/// being gathered and one being written, stay within a few MiB.
const PIECE: usize = 128 * 1024;
/// An upload is a long one beyond this. What is before it stays in the page cache, so that a pull
/// that follows the push need not read it from the disk: all of most layers.
const LONG: u64 = 128 << 20;

/// The bytes that were gathered.
#[derive(Default)]
pub(crate) struct Gathering {
    slices: Vec<Bytes>,
    bytes: usize,
    lane: Option<Lane>,
}

impl Gathering {
    /// Whether they should be taken before more comes.
    pub(crate) fn is_full(&self) -> bool {
        self.lane.as_ref().map_or(self.bytes >= PIECE, Lane::is_full)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lane.as_ref().map_or(self.bytes == 0, Lane::is_empty)
    }

    pub(crate) fn add(&mut self, bytes: Bytes) {
        if let Some(lane) = &mut self.lane {
            lane.add(bytes);
        } else {
            self.bytes += bytes.len();
            self.slices.push(bytes);
        }
    }

    /// What to write next. `end` is where in the upload lies the end of all that was added.
    pub(crate) fn take(&mut self, lanes: &Lanes, end: u64) -> Vec<Bytes> {
        if let Some(lane) = &mut self.lane {
            return vec![lane.take()];
        }
        if end >= LONG {
            self.lane = lanes.enter(end);
        }
        self.bytes = 0;
        std::mem::take(&mut self.slices)
    }
}
