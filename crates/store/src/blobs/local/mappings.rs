//! LRU cache of the mappings of large blobs, for the next reader of the same blob.
//!
//! Filling a mapping costs more than making it: the kernel enters each page when it is first touched, and
//! removes it at the end. That is a fifth of the cost of a download. Most layers are read by many clients in
//! a row.
//!
//! - Only a mapping that was read to its end is cached; a broken download leaves nothing behind.
//! - A mapping serves the same file only, whatever its name: it keeps the inode from being reused, so equal
//!   numbers mean the same file. It also keeps the disk space of a deleted file, so a deletion invalidates
//!   it.
//! - The pages belong to the page cache, and the kernel evicts them when it needs memory.

use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use oci::Digest;

/// The maximum number of mappings; a lookup scans all of them.
const COUNT: usize = 32;
/// The maximum number of mapped bytes: each GiB takes 2 MiB of page tables.
const BYTES: usize = 1 << 30;

#[derive(Default)]
pub(in crate::blobs) struct Mappings(Mutex<Cache>);

#[derive(Default)]
struct Cache {
    /// The most recently used one is the last.
    mappings: VecDeque<Mapping>,
    /// The number of deletions so far.
    deletions: u64,
}

/// The mapped file of a blob.
pub(in crate::blobs) struct Mapping {
    digest: Digest,
    /// Device and inode.
    file: (u64, u64),
    content: Bytes,
    /// The number of deletions before the file was opened.
    deletions: u64,
}

impl Mapping {
    pub(super) fn content(&self) -> &Bytes {
        &self.content
    }

    /// Returns whether it maps this file with its current length.
    fn is_of(&self, number: (u64, u64), metadata: &Metadata) -> bool {
        self.file == number && self.content.len() as u64 == metadata.len()
    }
}

impl Mappings {
    /// Maps the file of a blob. The caller read `deletions` before it opened the file.
    pub(super) fn map(
        &self,
        digest: &Digest,
        file: &File,
        metadata: &Metadata,
        deletions: u64,
    ) -> io::Result<Mapping> {
        let number = (metadata.dev(), metadata.ino());
        let cached = self
            .lock()
            .mappings
            .iter()
            .find(|mapping| mapping.is_of(number, metadata))
            .map(|mapping| mapping.content.clone());
        let content = match cached {
            Some(content) => content,
            // SAFETY: this process neither writes to a blob's file nor shortens it. It never touches the
            // mapping, which another program may cut short (see `mapped_reader`).
            None => Bytes::from_owner(unsafe { memmap2::Mmap::map(file) }?),
        };
        Ok(Mapping { digest: *digest, file: number, content, deletions })
    }

    /// The number of deletions so far.
    pub(in crate::blobs) fn deletions(&self) -> u64 {
        self.lock().deletions
    }

    /// Caches a mapping that was read to its end.
    pub(super) fn insert(&self, mapping: Mapping) {
        let mut evicted = Vec::new();
        let mut cache = self.lock();
        // After a deletion it may map the deleted file, and no later deletion would invalidate it.
        if mapping.deletions != cache.deletions || mapping.content.len() > BYTES {
            return;
        }
        let mappings = &mut cache.mappings;
        if let Some(at) = mappings.iter().position(|other| other.digest == mapping.digest) {
            evicted.extend(mappings.remove(at));
        }
        mappings.push_back(mapping);
        let bytes =
            |mappings: &VecDeque<Mapping>| mappings.iter().map(|one| one.content.len()).sum::<usize>();
        while mappings.len() > COUNT || bytes(mappings) > BYTES {
            evicted.extend(mappings.pop_front());
        }
        // Unmapping takes a while, so unlock first.
        drop(cache);
        drop(evicted);
    }

    /// Invalidates the mapping of a deleted blob. Its readers read on.
    pub(in crate::blobs) fn forget(&self, digest: &Digest) {
        self.lock().deletions += 1;
        self.release(digest);
    }

    /// Removes the mapping of a replaced file, which would keep the old file's disk space.
    pub(in crate::blobs) fn release(&self, digest: &Digest) {
        let mut cache = self.lock();
        let at = cache.mappings.iter().position(|mapping| mapping.digest == *digest);
        let removed = at.and_then(|at| cache.mappings.remove(at));
        drop(cache);
        drop(removed);
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
