//! Small content that the journal holds and that has no file yet.
//!
//! Creating a file and its directory costs more than all other steps of a small push, and no client waits for
//! it: the metadata's journal keeps acknowledged content. So small content stays in memory, where readers
//! find it, until a flush creates all files at once. Beyond a bound the writer creates the file at once and
//! waits for it, which is the backpressure that keeps pushes from outrunning the disk.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use oci::Digest;

use crate::blobs::Pressure;

/// The bound in bytes.
const CAPACITY: usize = 32 << 20;
/// The approximate memory of an entry besides its bytes.
const OVERHEAD: usize = 256;

/// The journaled content in memory.
#[derive(Default)]
pub(super) struct Journaled {
    entries: Mutex<Entries>,
    /// Held while a file is created or deleted.
    files: Mutex<()>,
}

#[derive(Default)]
struct Entries {
    contents: HashMap<Digest, Content>,
    bytes: usize,
    last: u64,
}

#[derive(Clone)]
pub(super) struct Content {
    pub(super) bytes: Bytes,
    /// Replace an existing file: the page cache may hold a page as clean that never reached the disk.
    pub(super) overwrite: bool,
    /// Distinguishes it from the same content that was deleted and stored again.
    number: u64,
}

impl Journaled {
    /// Keeps content under its digest; `false` if there is no room.
    pub(super) fn keep(&self, digest: &Digest, content: &[u8], overwrite: bool) -> bool {
        let mut entries = self.lock();
        if let Some(there) = entries.contents.get_mut(digest) {
            there.overwrite |= overwrite;
            return true;
        }
        let bytes = entries.bytes + content.len() + OVERHEAD;
        if bytes > CAPACITY {
            return false;
        }
        entries.bytes = bytes;
        entries.last += 1;
        // A copy: received bytes are part of a larger buffer.
        let content = Content { bytes: Bytes::copy_from_slice(content), overwrite, number: entries.last };
        entries.contents.insert(*digest, content);
        true
    }

    pub(super) fn pressure(&self) -> Pressure {
        match self.lock().bytes {
            0 => Pressure::Nothing,
            bytes if bytes > CAPACITY / 2 => Pressure::Much,
            _ => Pressure::Some,
        }
    }

    pub(super) fn get(&self, digest: &Digest) -> Option<Bytes> {
        self.lock().contents.get(digest).map(|content| content.bytes.clone())
    }

    pub(super) fn all(&self) -> Vec<(Digest, Content)> {
        self.lock().contents.iter().map(|(digest, content)| (*digest, content.clone())).collect()
    }

    /// Calls `write` to create the file of a content, unless the content was deleted meanwhile.
    pub(super) fn with<E>(
        &self,
        digest: &Digest,
        content: &Content,
        write: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let _files = self.lock_files();
        let is_current = self.lock().contents.get(digest).is_some_and(|there| there.number == content.number);
        if is_current { write() } else { Ok(()) }
    }

    /// Removes contents whose files are durable.
    pub(super) fn flushed(&self, contents: &[(Digest, Content)]) {
        let mut entries = self.lock();
        for (digest, content) in contents {
            let is_same =
                |there: &Content| there.number == content.number && there.overwrite == content.overwrite;
            if entries.contents.get(digest).is_some_and(is_same) {
                entries.remove(digest);
            }
        }
        // Free the memory of a burst.
        if entries.contents.is_empty() {
            entries.contents = HashMap::new();
        }
    }

    /// Marks all files for overwriting, because a failed sync leaves their state unknown.
    pub(super) fn overwrite_all(&self) {
        self.lock().contents.values_mut().for_each(|content| content.overwrite = true);
    }

    /// Removes a content, and its file by calling `remove`. Returns whether one of them existed.
    pub(super) fn delete<E>(
        &self,
        digest: &Digest,
        remove: impl FnOnce() -> Result<bool, E>,
    ) -> Result<bool, E> {
        let _files = self.lock_files();
        let was_journaled = self.lock().remove(digest);
        remove().map(|had_file| was_journaled || had_file)
    }

    fn lock_files(&self) -> MutexGuard<'_, ()> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // A panic leaves no change incomplete.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn remove(&mut self, digest: &Digest) -> bool {
        let removed = self.contents.remove(digest);
        if let Some(content) = &removed {
            self.bytes -= content.bytes.len() + OVERHEAD;
        }
        removed.is_some()
    }
}
