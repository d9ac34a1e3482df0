//! The matches of a search in their order.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use super::super::SEARCH_WINDOW;

/// A set of repository ids. Clients cannot choose the ids, so a fast hash is safe.
pub(super) type Ids = HashSet<i64, BuildHasherDefault<IdHasher>>;

#[derive(Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_i64(&mut self, id: i64) {
        self.write_u64(id.cast_unsigned());
    }

    fn write_u64(&mut self, number: u64) {
        // Knuth's multiplicative hashing spreads neighbouring ids.
        self.0 = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(26);
    }
}

/// Distinct repository ids in the order of the results.
#[derive(Default)]
pub(super) struct Found {
    pub(super) ids: Vec<i64>,
    seen: Ids,
}

impl Found {
    /// Adds the next tier. Returns whether there is room for another.
    pub(super) fn take(&mut self, mut tier: Vec<Candidate>) -> bool {
        tier.sort_unstable();
        self.seen.reserve(tier.len());
        for candidate in tier {
            if self.ids.len() == SEARCH_WINDOW {
                break;
            }
            if self.seen.insert(candidate.repository) {
                self.ids.push(candidate.repository);
            }
        }
        self.ids.len() < SEARCH_WINDOW
    }
}

/// A match, ordered by the length of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    pub(super) length: i64,
    pub(super) repository: i64,
}
