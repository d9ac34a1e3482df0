//! Reserve: free space that uploads leave, so that the disk never gets full and deletions have room.
//! `storage_state` checks it.

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
