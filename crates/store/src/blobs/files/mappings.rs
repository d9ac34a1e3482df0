//! The mappings of the large blobs that were asked for last, kept for those who ask next.
//!
//! What a mapping costs is not making it but filling it: the system enters page after page when it
//! is first touched, and takes them out again at its end, which together is a fifth of what a
//! download costs. A layer is mostly asked for by many, one after the other.
//!
//! Only what was read to its end is kept: of a download that was broken off nothing stays behind.
//!
//! A mapping is used again for the same file only, whatever its name: it keeps the file's inode from
//! being given to another, so that equal numbers mean the same file. What it also keeps is the disk
//! space of a file that is deleted; therefore who deletes a blob has its mapping forgotten.
//!
//! The pages belong to the page cache, and the system takes them back when it needs them.

use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use oci::Digest;

/// So many are kept at most. They are looked through one by one.
const COUNT: usize = 32;
/// So many bytes are kept mapped at most: each GiB takes the system 2 MiB to write down where its
/// pages are.
const BYTES: usize = 1 << 30;

/// The mappings that are kept.
#[derive(Default)]
pub(super) struct Mappings(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// The one read last at the end.
    mappings: VecDeque<Mapping>,
    /// How often a blob was deleted.
    deletions: u64,
}

/// A blob's file in memory.
pub(super) struct Mapping {
    digest: Digest,
    /// The numbers of its device and its inode.
    file: (u64, u64),
    content: Bytes,
    /// How often a blob had been deleted when it was opened.
    deletions: u64,
}

impl Mapping {
    pub(super) fn content(&self) -> &Bytes {
        &self.content
    }

    /// Whether it maps the file with this number, with the length that the file has now.
    fn is_of(&self, number: (u64, u64), found: &Metadata) -> bool {
        self.file == number && self.content.len() as u64 == found.len()
    }
}

impl Mappings {
    /// The content of the file of a blob, which was `found` to have these properties. `deletions`
    /// was asked for before the file was opened.
    pub(super) fn map(
        &self,
        digest: &Digest,
        file: &File,
        found: &Metadata,
        deletions: u64,
    ) -> io::Result<Mapping> {
        let number = (found.dev(), found.ino());
        let kept = self
            .lock()
            .mappings
            .iter()
            .find(|kept| kept.is_of(number, found))
            .map(|kept| kept.content.clone());
        let content = match kept {
            Some(content) => content,
            // SAFETY: nothing in this process writes to the file of a blob, shortens it, or touches the mapping if
            // another program does (see `mapped_reader`).
            None => Bytes::from_owner(unsafe { memmap2::Mmap::map(file) }?),
        };
        Ok(Mapping { digest: *digest, file: number, content, deletions })
    }

    /// How often a blob was deleted.
    pub(super) fn deletions(&self) -> u64 {
        self.lock().deletions
    }

    /// Keeps a mapping that was read to its end.
    pub(super) fn keep(&self, mapping: Mapping) {
        let mut dropped = Vec::new();
        let mut kept = self.lock();
        // It may be the one that was deleted, and nobody would come to have it forgotten.
        if mapping.deletions != kept.deletions || mapping.content.len() > BYTES {
            return;
        }
        let mappings = &mut kept.mappings;
        if let Some(at) = mappings.iter().position(|other| other.digest == mapping.digest) {
            dropped.extend(mappings.remove(at));
        }
        mappings.push_back(mapping);
        while mappings.len() > COUNT || mappings.iter().map(|kept| kept.content.len()).sum::<usize>() > BYTES
        {
            dropped.extend(mappings.pop_front());
        }
        // The lock is given back first: ending a mapping takes a while.
        drop(kept);
        drop(dropped);
    }

    /// Ends the mapping of a blob that was deleted, once those who read it are done.
    pub(super) fn forget(&self, digest: &Digest) {
        self.lock().deletions += 1;
        self.release(digest);
    }

    /// Ends the mapping of a blob whose file was replaced, which would keep the old file's space on the disk.
    pub(super) fn release(&self, digest: &Digest) {
        let mut kept = self.lock();
        let at = kept.mappings.iter().position(|kept| kept.digest == *digest);
        let forgotten = at.and_then(|at| kept.mappings.remove(at));
        drop(kept);
        drop(forgotten);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
