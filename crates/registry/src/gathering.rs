//! What came of a body and is not written yet.
//!
//! The bytes of an upload are gathered until they are worth handing to another thread: those of a
//! short one as they came, without a copy, those of a longer one in a lane of the store.

use bytes::Bytes;
use store::blobs::lanes::{Lane, Lanes};

/// So many bytes are gathered before they are hashed and written: large enough that handing them
/// to another thread costs little beside the hash, small enough that 32 uploads, each with a piece
/// being gathered and one being written, take 8 MiB.
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

    /// What to write next. `end` is where in the upload lies the end of all that was added; `lanes`
    /// is where a wider one is to be had, for who can use it.
    pub(crate) fn take(&mut self, lanes: Option<&Lanes>, end: u64) -> Vec<Bytes> {
        let more_to_come = self.is_full();
        let taken = match &mut self.lane {
            Some(lane) => vec![lane.take()],
            None => {
                self.bytes = 0;
                std::mem::take(&mut self.slices)
            }
        };
        if more_to_come {
            self.change_lane(lanes, end);
        }
        taken
    }

    /// Goes on in a lane, or in a wider one, when that is due and there is one.
    fn change_lane(&mut self, lanes: Option<&Lanes>, end: u64) {
        match &mut self.lane {
            None => self.lane = Lane::narrow(PIECE),
            Some(lane) if end >= LONG && !lane.is_wide() => {
                if let Some(mut wide) = lanes.and_then(|lanes| lanes.wide(end - lane.len() as u64)) {
                    while !lane.is_empty() {
                        wide.add(lane.take());
                    }
                    self.lane = Some(wide);
                }
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::cast_possible_truncation, reason = "what is left of 251 fits")]
    fn an_upload_that_grows_changes_lanes_and_loses_nothing() {
        let content: Vec<u8> = (0..5_000_000).map(|index: usize| (index / 7 % 251) as u8).collect();
        // One that is long in its midst, one that never is, and one that needs no wider lane.
        let all = Lanes::default();
        for (start, lanes, largest) in
            [(LONG - 1_000_000, Some(&all), 1 << 20), (0, Some(&all), PIECE), (LONG, None, PIECE)]
        {
            let mut gathered = Gathering::default();
            let (mut out, mut end, mut sizes) = (Vec::new(), start, Vec::new());
            for bytes in content.chunks(60_001) {
                gathered.add(Bytes::copy_from_slice(bytes));
                end += bytes.len() as u64;
                while gathered.is_full() {
                    let piece = gathered.take(lanes, end).concat();
                    sizes.push(piece.len());
                    out.extend(piece);
                }
            }
            while !gathered.is_empty() {
                out.extend(gathered.take(lanes, end).concat());
            }
            assert!(out == content, "from {start}");
            // The first is taken as it came.
            assert_eq!(sizes[0], 3 * 60_001);
            assert_eq!((sizes[1], sizes.last()), (PIECE, Some(&largest)));
        }
    }

    #[test]
    fn what_is_short_is_handed_on_without_a_copy() {
        let bytes = Bytes::from_static(b"content");
        let mut gathered = Gathering::default();
        gathered.add(bytes.clone());
        let taken = gathered.take(Some(&Lanes::default()), 7);
        assert_eq!((taken[0].as_ptr(), taken.len()), (bytes.as_ptr(), 1));
        assert!(gathered.is_empty() && gathered.lane.is_none());
    }
}
