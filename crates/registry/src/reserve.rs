//! Reserve: free space that uploads leave, so that the disk never gets full and deletions have room.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use store::Space;

use crate::{Error, Registry};

/// The TTL of the cached free space. A disk of 5 GB/s fills 500 MB in it.
const TTL: Duration = Duration::from_millis(100);

/// A disk with less free bytes counts as full.
const FULL: u64 = 64 << 10;

/// The free space to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserve {
    /// A number of bytes.
    Bytes(u64),
    /// A part of the disk in hundredths of a percent.
    Share(u16),
}

impl Reserve {
    /// The reserve of a disk in bytes.
    #[must_use]
    pub fn of(self, total: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Share(share) => {
                u64::try_from(u128::from(total) * u128::from(share) / 10_000).unwrap_or(u64::MAX)
            }
        }
    }
}

/// The cached free space.
#[derive(Default)]
pub(crate) struct FreeSpace(Mutex<Option<(Instant, Space)>>);

impl Registry {
    /// Checks that an upload of `size` more bytes leaves the reserve.
    ///
    /// # Errors
    /// [`Error::ReserveReached`].
    pub fn check_reserve(&self, size: u64) -> Result<(), Error> {
        let reserve = self.inner.policy.load().reserve;
        if reserve == Reserve::Bytes(0) {
            return Ok(());
        }
        // Content of a bucket does not stay on this disk.
        let size = if self.inner.directory.objects().is_some() { 0 } else { size };
        let is_enough = |space: Space| space.free >= reserve.of(space.total).saturating_add(size);
        // An unreadable file system refuses the upload itself.
        match self.free_space(is_enough) {
            Some(space) if !is_enough(space) => {
                Err(Error::ReserveReached { free: space.free, reserve: reserve.of(space.total) })
            }
            _ => Ok(()),
        }
    }

    /// Whether the file system is read-only.
    #[must_use]
    pub fn is_disk_read_only(&self) -> bool {
        self.inner.directory.is_read_only()
    }

    /// Whether the disk has no space or no inodes for pushes.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        let is_enough = |space: Space| space.free >= FULL && space.free_inodes != Some(0);
        self.free_space(is_enough).is_some_and(|space| !is_enough(space))
    }

    /// The free space, from the cache if that is enough. A refusal needs the present value.
    fn free_space(&self, is_enough: impl Fn(Space) -> bool) -> Option<Space> {
        let mut cached = self.inner.free_space.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *cached {
            Some((at, space)) if at.elapsed() < TTL && is_enough(space) => Some(space),
            _ => {
                let space = self.inner.directory.space().ok()?;
                *cached = Some((Instant::now(), space));
                Some(space)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_is_a_part_of_the_disk() {
        assert_eq!(Reserve::Share(100).of(1_000), 10);
        assert_eq!(Reserve::Share(10_000).of(u64::MAX), u64::MAX);
        assert_eq!(Reserve::Bytes(7).of(1_000), 7);
    }
}
