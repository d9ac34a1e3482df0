//! Small content that is not in a file of its own yet.
//!
//! Making a file and its directory costs more than all else about a small push. Nobody waits for
//! it: what is acknowledged is in the metadata's log. So small content stays in memory, where
//! readers find it, until it is settled; then files are made for all that there is. Beyond a bound
//! nothing more is taken in, and who pushes makes the file at once and waits for it, so that
//! pushing never runs away from the disk.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use oci::Digest;

use crate::blobs::Pressure;

/// Bytes kept at most.
const ROOM: usize = 32 << 20;
/// What each content takes besides its bytes, roughly.
const OVERHEAD: usize = 256;

/// Small content that is not in a file of its own yet.
#[derive(Default)]
pub(super) struct Journaled {
    kept: Mutex<Kept>,
    turn: Mutex<()>,
}

#[derive(Default)]
struct Kept {
    contents: HashMap<Digest, Content>,
    bytes: usize,
    last: u64,
}

/// A content, and what is to be done with it.
#[derive(Clone)]
pub(super) struct Content {
    /// The bytes.
    pub(super) bytes: Bytes,
    /// Whether a file must be written whatever is in its place: the system may hold that for clean
    /// which the disk never took.
    pub(super) anew: bool,
    /// Tells it from the same content that was deleted and came in again.
    number: u64,
}

impl Journaled {
    /// Keeps content that has this digest; `false` if there is no room for it.
    pub(super) fn keep(&self, digest: &Digest, content: &[u8], anew: bool) -> bool {
        let mut kept = self.lock();
        if let Some(there) = kept.contents.get_mut(digest) {
            there.anew |= anew;
            return true;
        }
        let bytes = kept.bytes + content.len() + OVERHEAD;
        if bytes > ROOM {
            return false;
        }
        kept.bytes = bytes;
        kept.last += 1;
        // A copy, since what came from a connection is a part of a larger buffer.
        let content = Content { bytes: Bytes::copy_from_slice(content), anew, number: kept.last };
        kept.contents.insert(*digest, content);
        true
    }

    /// How much there is: it is much before there is no room for more.
    pub(super) fn pressure(&self) -> Pressure {
        match self.lock().bytes {
            0 => Pressure::Nothing,
            bytes if bytes > ROOM / 2 => Pressure::Much,
            _ => Pressure::Some,
        }
    }

    /// The content with this digest, if it is here.
    pub(super) fn get(&self, digest: &Digest) -> Option<Bytes> {
        self.lock().contents.get(digest).map(|content| content.bytes.clone())
    }

    /// All that is here.
    pub(super) fn all(&self) -> Vec<(Digest, Content)> {
        self.lock().contents.iter().map(|(digest, content)| (*digest, content.clone())).collect()
    }

    /// Has `write` make the file of a content, unless it was deleted meanwhile; it cannot be while
    /// that is done.
    pub(super) fn with<E>(
        &self,
        digest: &Digest,
        content: &Content,
        write: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let _turn = self.take_turn();
        let is_here = self.lock().contents.get(digest).is_some_and(|there| there.number == content.number);
        if is_here { write() } else { Ok(()) }
    }

    /// Lets go of contents whose files are on the disk.
    pub(super) fn flushed(&self, contents: &[(Digest, Content)]) {
        let mut kept = self.lock();
        for (digest, content) in contents {
            let is_done = |there: &Content| there.number == content.number && there.anew == content.anew;
            if kept.contents.get(digest).is_some_and(is_done) {
                kept.remove(digest);
            }
        }
        // Room for a burst is not kept for the next.
        if kept.contents.is_empty() {
            kept.contents = HashMap::new();
        }
    }

    /// Has the files of all contents written anew: it is not known what of them the disk took.
    pub(super) fn doubt(&self) {
        self.lock().contents.values_mut().for_each(|content| content.anew = true);
    }

    /// Lets go of a content, and has `remove` remove its file. Whether it was here or there.
    pub(super) fn delete<E>(
        &self,
        digest: &Digest,
        remove: impl FnOnce() -> Result<bool, E>,
    ) -> Result<bool, E> {
        let _turn = self.take_turn();
        let was_here = self.lock().remove(digest);
        remove().map(|was_there| was_here || was_there)
    }

    fn take_turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // No change can be left half done by a panic.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn remove(&mut self, digest: &Digest) -> bool {
        let removed = self.contents.remove(digest);
        if let Some(content) = &removed {
            self.bytes -= content.bytes.len() + OVERHEAD;
        }
        removed.is_some()
    }
}
