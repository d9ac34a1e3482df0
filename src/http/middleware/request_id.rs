//! Request ids, which connect an error message with the log.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The maximum length of an id from a proxy.
const MAX_LEN: usize = 64;
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Makes request ids.
///
/// An id is unique in the process and, with high probability, among processes. It is not secret. A counter
/// with a random start and a bijective mixer costs a few nanoseconds; a UUID needs random bytes each time.
#[derive(Debug)]
pub(crate) struct RequestIds {
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        Self { next: AtomicU64::new(RandomState::new().hash_one(0_u8)) }
    }

    /// Returns the id that a proxy sent, if it is valid, or a new one.
    pub(crate) fn of(&self, headers: &HeaderMap) -> HeaderValue {
        match headers.get(X_REQUEST_ID) {
            Some(given) if is_sane(given.as_bytes()) => given.clone(),
            _ => self.next(),
        }
    }

    fn next(&self) -> HeaderValue {
        let id = scramble(self.next.fetch_add(1, Ordering::Relaxed));
        let mut text = [0; 16];
        for (pair, byte) in text.chunks_exact_mut(2).zip(id.to_be_bytes()) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        HeaderValue::from_bytes(&text).expect("hexadecimal digits are visible ASCII")
    }
}

fn is_sane(id: &[u8]) -> bool {
    (1..=MAX_LEN).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// The finalizer of SplitMix64, a bijection.
const fn scramble(number: u64) -> u64 {
    let mut z = number;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn request_ids_are_distinct() {
        let ids = RequestIds::new();
        let seen: HashSet<_> = (0..10_000).map(|_| ids.next()).collect();
        assert_eq!(seen.len(), 10_000);
        assert!(seen.iter().all(|id| id.len() == 16));
    }

    #[test]
    fn valid_request_id_is_kept() {
        let ids = RequestIds::new();
        let taken = |given: &[u8]| {
            let value = HeaderValue::from_bytes(given).unwrap();
            ids.of(&HeaderMap::from_iter([(X_REQUEST_ID, value.clone())])) == value
        };
        assert!(taken(b"01HZX-abc_DEF.9"));
        for bad in [&b""[..], b"two words", b"a\"b", b"\xff", &[b'a'; 65]] {
            assert!(!taken(bad));
        }
    }
}
