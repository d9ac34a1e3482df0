//! Test content: random bytes of any length, with their digest, at no cost while a server is measured.
//!
//! Random bytes, because compressible ones flatter a registry (or a disk) that compresses. Hashing a gigabyte
//! for each push would take as long as the push itself. All contents of one length therefore share all bytes
//! but the last 32. The hash of the shared part is computed once, and a new content costs the hash of its
//! tail.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

/// The random bytes that contents are cut from. Far larger than what a processor caches, so that sending them
/// reads memory as sending a real image would.
const BLOCK: usize = 64 << 20;
const TAIL: usize = 32;

/// Bytes to push, and their digest.
#[derive(Clone)]
pub(crate) struct Content {
    block: Arc<Vec<u8>>,
    start: usize,
    shared: u64,
    tail: Vec<u8>,
    digest: String,
}

impl Content {
    /// The digest as it is written in URLs and manifests.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    /// The number of bytes.
    pub(crate) fn length(&self) -> u64 {
        self.shared + self.tail.len() as u64
    }

    /// The bytes in order, in pieces of at most 256 KiB.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let piece = 256 << 10;
        let mut offset = 0_u64;
        let block = self.block.len() as u64;
        let shared = std::iter::from_fn(move || {
            let left = usize::try_from(self.shared - offset).unwrap_or(usize::MAX);
            let at = (self.start + usize::try_from(offset % block).unwrap_or(0)) % self.block.len();
            let take = left.min(piece).min(self.block.len() - at);
            offset += take as u64;
            (take > 0).then(|| &self.block[at..at + take])
        });
        shared.chain(std::iter::once(self.tail.as_slice()))
    }

    /// All the bytes at once, for contents that are put into a file or compared.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        self.pieces().flatten().copied().collect()
    }
}

/// Makes contents, no two alike.
pub(crate) struct Source {
    block: Arc<Vec<u8>>,
    numbers: Mutex<Random>,
    prefixes: Mutex<HashMap<u64, Sha256>>,
}

impl Source {
    /// A source whose contents are the same in every run of the benchmark.
    pub(crate) fn new() -> Self {
        Self::with_block(BLOCK)
    }

    fn with_block(length: usize) -> Self {
        let mut random = Random::new(0x5eed);
        let mut block = vec![0; length];
        random.fill(&mut block);
        Self { block: Arc::new(block), numbers: Mutex::new(random), prefixes: Mutex::new(HashMap::new()) }
    }

    /// A number that was not given before, below `bound`.
    pub(crate) fn number(&self, bound: u64) -> u64 {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).next() % bound
    }

    /// New content of this length (at least 32 bytes).
    pub(crate) fn content(&self, length: u64) -> Content {
        let mut tail = vec![0; TAIL];
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).fill(&mut tail);
        let shared = length.saturating_sub(TAIL as u64);
        // A small content starts anywhere in the block, so that small contents differ in more than their
        // tail.
        let large = shared >= 1 << 20;
        let start =
            if large { 0 } else { usize::try_from(self.number(self.block.len() as u64)).unwrap_or(0) };
        let mut content =
            Content { block: Arc::clone(&self.block), start, shared, tail, digest: String::new() };
        let mut hash = if large { self.prefix(&content) } else { hash_of_shared(&content) };
        hash.update(&content.tail);
        content.digest = written(&hash.finalize());
        content
    }

    fn prefix(&self, content: &Content) -> Sha256 {
        let mut prefixes = self.prefixes.lock().unwrap_or_else(PoisonError::into_inner);
        prefixes.entry(content.shared).or_insert_with(|| hash_of_shared(content)).clone()
    }
}

fn hash_of_shared(content: &Content) -> Sha256 {
    let mut hash = Sha256::new();
    let mut left = content.shared;
    for piece in content.pieces() {
        if left == 0 {
            break;
        }
        hash.update(piece);
        left -= piece.len() as u64;
    }
    hash
}

/// The digest of these bytes, as it is written in URLs and manifests.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    written(&Sha256::digest(bytes))
}

fn written(hash: &[u8]) -> String {
    use std::fmt::Write as _;
    hash.iter().fold(String::from("sha256:"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Numbers that look random (splitmix64). Not for secrets; fast, and the same each time.
pub(crate) struct Random(u64);

impl Random {
    /// Numbers that depend on the seed alone.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let number = self.next().to_le_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_that_of_the_bytes() {
        let source = Source::with_block(1 << 20);
        for length in [32, 33, 1000, 300_000, (1 << 20) + 32, (3 << 20) + 5] {
            let content = source.content(length);
            assert_eq!(content.length(), length);
            assert_eq!(digest_of(&content.to_vec()), content.digest());
        }
    }

    #[test]
    fn contents_are_distinct() {
        let source = Source::with_block(1 << 20);
        assert_ne!(source.content(2 << 20).digest(), source.content(2 << 20).digest());
        assert_ne!(source.content(100).digest(), source.content(100).digest());
    }
}
