//! The state of the storage: the one answer for writes, probes and background tasks.
//!
//! Content, database and object store have to be in their place ([`Registry::check_place`]). For more
//! content, the disk has to keep the reserve as well ([`Registry::check_writable`]). [`Registry::disk_state`]
//! sums up the disk.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use store::{Space, StoreError};

use crate::{Error, Registry, Reserve};

/// The TTL of the cached free space. A disk of 5 GB/s fills 500 MB in it.
const TTL: Duration = Duration::from_millis(100);

/// A disk with less free bytes counts as full.
const FULL: u64 = 64 << 10;

/// The state of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskState {
    /// It takes writes.
    Writable,
    /// Less than the reserve is free. It takes no uploads.
    ReserveReached {
        /// The free space in bytes.
        free: u64,
        /// The reserve in bytes.
        reserve: u64,
    },
    /// It has no space or no inodes for pushes. Deletions have room.
    Full,
    /// Its file system is read-only.
    ReadOnly,
}

#[derive(Default)]
pub(crate) struct FreeSpace(Mutex<Option<(Instant, Space)>>);

/// The last answer of an object store, if it was an error.
#[derive(Default)]
pub(crate) struct BlobStoreError(Mutex<Option<StoreError>>);

impl Registry {
    /// The state of the disk of the data directory.
    #[must_use]
    pub fn disk_state(&self) -> DiskState {
        let has_room = |space: Space| space.free >= FULL && space.free_inodes != Some(0);
        if self.inner.directory.is_read_only() {
            DiskState::ReadOnly
        } else if self.free_space(has_room, 0).is_some_and(|space| !has_room(space)) {
            DiskState::Full
        } else if let Err(Error::ReserveReached { free, reserve }) = self.check_reserve(0) {
            DiskState::ReserveReached { free, reserve }
        } else {
            DiskState::Writable
        }
    }

    /// The space of the file system of the data directory, if it can be measured.
    #[must_use]
    pub fn disk_space(&self) -> Option<Space> {
        self.inner.directory.space().ok()
    }

    /// Checks that the storage is in its place, and that `size` more bytes leave the reserve.
    ///
    /// # Errors
    /// [`Error::ReserveReached`], or an error of the store.
    pub(crate) fn check_writable(&self, size: u64) -> Result<(), Error> {
        self.check_place()?;
        self.check_reserve(size)
    }

    /// Checks that `size` more bytes leave the reserve.
    ///
    /// # Errors
    /// [`Error::ReserveReached`].
    pub(crate) fn check_reserve(&self, size: u64) -> Result<(), Error> {
        let reserve = self.inner.policy.load().reserve;
        if reserve == Reserve::Bytes(0) {
            return Ok(());
        }
        // Content of a bucket does not stay on this disk.
        let size = if self.inner.directory.objects().is_some() { 0 } else { size };
        let is_enough = |space: Space| space.free >= reserve.of(space.total).saturating_add(size);
        // An unreadable file system refuses the upload itself.
        match self.free_space(is_enough, size) {
            Some(space) if !is_enough(space) => {
                Err(Error::ReserveReached { free: space.free, reserve: reserve.of(space.total) })
            }
            _ => Ok(()),
        }
    }

    /// Checks that the content is in its place, before a write. An object store that does not answer fails
    /// the write itself.
    pub(crate) fn check_place(&self) -> Result<(), StoreError> {
        self.inner.content.check()?;
        match self.check_blob_store() {
            Err(error @ StoreError::ContentGone(_)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Checks that content and database are where they were at the start. Costs a few stats.
    pub(crate) fn check_storage(&self) -> Result<(), StoreError> {
        self.inner.content.check()?;
        self.metadata.check_files()
    }

    /// Checks that the object store answered when it was last asked.
    ///
    /// # Errors
    /// Its error.
    pub(crate) fn check_blob_store(&self) -> Result<(), StoreError> {
        match &*self.inner.blob_store_error.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(StoreError::ObjectStore { action, what, reason }) => {
                Err(StoreError::ObjectStore { action, what: what.clone(), reason: reason.clone() })
            }
            Some(StoreError::ContentGone(place)) => Err(StoreError::ContentGone(place.clone())),
            _ => Ok(()),
        }
    }

    /// Records the answer of the object store.
    pub(crate) fn set_blob_store_error(&self, error: Option<StoreError>) {
        *self.inner.blob_store_error.0.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    /// The free space, from the cache if that is enough. A refusal needs the present value. If it is enough,
    /// `taken` bytes are subtracted in the cache, so that several uploads within its TTL leave the reserve.
    fn free_space(&self, is_enough: impl Fn(Space) -> bool, taken: u64) -> Option<Space> {
        let mut cached = self.inner.free_space.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, space) = match *cached {
            Some((at, space)) if at.elapsed() < TTL && is_enough(space) => (at, space),
            _ => (Instant::now(), self.inner.directory.space().ok()?),
        };
        let taken = if is_enough(space) { taken } else { 0 };
        *cached = Some((at, Space { free: space.free.saturating_sub(taken), ..space }));
        Some(space)
    }
}
