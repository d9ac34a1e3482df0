//! Digests, and the resumable hash that computes them.
//!
//! image-spec v1.1, descriptor.md, "Digests". Registered algorithms only: `sha256` and `sha512`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::digest::common::hazmat::SerializableState;
use sha2::digest::{Digest as _, Output};
use sha2::{Sha256, Sha512};

/// A registered digest algorithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, the canonical algorithm.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// The name as it stands before the colon of a digest.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of the hash in bytes (half its length in hexadecimal digits).
    #[must_use]
    pub const fn hash_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// Computes the digest of `content`.
    #[must_use]
    pub fn digest(self, content: &[u8]) -> Digest {
        let mut digester = Digester::new(self);
        digester.update(content);
        digester.finish()
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(s: &str) -> Result<Self, DigestError> {
        match s {
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            _ => Err(DigestError::UnsupportedAlgorithm),
        }
    }
}

/// The digest of some content: `sha256:` or `sha512:` and lower-case hexadecimal digits.
///
/// Small and `Copy`; two digests are equal exactly when their spellings are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    /// The hash; bytes beyond `algorithm.hash_len()` are zero.
    hash: [u8; 64],
}

/// The length of the longest digest, in bytes: `sha512:` and 128 digits.
const MAX_LEN: usize = 7 + 128;

/// The maximum number of blocks in a saved state: at least an exbibyte.
const MAX_BLOCKS: u128 = 1 << 54;

/// The reason to reject a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no `:` between algorithm and hash.
    #[error("a digest is written algorithm:hex, such as sha256:e3b0c442…")]
    Malformed,
    /// The algorithm is not one of the registered ones.
    #[error("unsupported digest algorithm; sha256 and sha512 are supported")]
    UnsupportedAlgorithm,
    /// Wrong number of digits for the algorithm.
    #[error("wrong length: sha256 has 64 hexadecimal digits, sha512 has 128")]
    WrongLength,
    /// A character that is not one of `0-9a-f`.
    #[error("a digest has lower-case hexadecimal digits only")]
    NotLowerHex,
}

impl Digest {
    /// The algorithm that made it.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hash itself, 32 or 64 bytes.
    #[must_use]
    pub fn hash(&self) -> &[u8] {
        &self.hash[..self.algorithm.hash_len()]
    }

    /// The hash in hexadecimal digits: the part after the colon.
    #[must_use]
    pub fn hex(&self) -> String {
        let mut text = [0; MAX_LEN];
        self.write(&mut text)[self.algorithm.as_str().len() + 1..].to_owned()
    }

    /// The digest with this hash; `None` if the hash has not the algorithm's length.
    #[must_use]
    pub fn from_hash(algorithm: Algorithm, hash: &[u8]) -> Option<Self> {
        if hash.len() != algorithm.hash_len() {
            return None;
        }
        let mut padded = [0; 64];
        padded[..hash.len()].copy_from_slice(hash);
        Some(Self { algorithm, hash: padded })
    }

    /// The tag under which clients without the referrers API keep the referrers of this digest
    /// (distribution-spec, "Referrers Tag Schema").
    #[must_use]
    pub fn referrers_tag(&self) -> String {
        format!("{}-{}", self.algorithm, &self.hex()[..64])
    }

    /// The spelling, written into `text`.
    fn write<'a>(&self, text: &'a mut [u8; MAX_LEN]) -> &'a str {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let name = self.algorithm.as_str().as_bytes();
        text[..name.len()].copy_from_slice(name);
        text[name.len()] = b':';
        let mut end = name.len() + 1;
        for byte in self.hash() {
            text[end] = DIGITS[usize::from(byte >> 4)];
            text[end + 1] = DIGITS[usize::from(byte & 15)];
            end += 2;
        }
        // Only ASCII was written, so that the alternative is never taken.
        std::str::from_utf8(&text[..end]).unwrap_or_default()
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(s: &str) -> Result<Self, DigestError> {
        let (algorithm, hex) = s.split_once(':').ok_or(DigestError::Malformed)?;
        let algorithm: Algorithm = algorithm.parse()?;
        let hex = hex.as_bytes();
        if hex.len() != algorithm.hash_len() * 2 {
            return Err(DigestError::WrongLength);
        }
        let mut hash = [0; 64];
        for (byte, pair) in hash.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self { algorithm, hash })
    }
}

fn nibble(digit: u8) -> Result<u8, DigestError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(DigestError::NotLowerHex),
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.write(&mut [0; MAX_LEN]))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::json::parsed(deserializer, "digest")
    }
}

/// An incremental hash.
///
/// [`Digester::save`] and [`Digester::resume`] keep its state, so that a resumed upload need not be read
/// again.
#[derive(Clone, Debug)]
pub struct Digester(Inner);

#[derive(Clone, Debug)]
enum Inner {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Digester {
    /// Creates a digester without content.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => Inner::Sha256(Sha256::new()),
            Algorithm::Sha512 => Inner::Sha512(Sha512::new()),
        })
    }

    /// The algorithm of this digester.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Inner::Sha256(_) => Algorithm::Sha256,
            Inner::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Adds the next piece of the content.
    pub fn update(&mut self, piece: &[u8]) {
        match &mut self.0 {
            Inner::Sha256(hash) => hash.update(piece),
            Inner::Sha512(hash) => hash.update(piece),
        }
    }

    /// Returns the digest of the content.
    #[must_use]
    pub fn finish(self) -> Digest {
        fn padded<D: sha2::digest::Digest>(hash: &Output<D>) -> [u8; 64] {
            let mut padded = [0; 64];
            padded[..hash.len()].copy_from_slice(hash);
            padded
        }
        let algorithm = self.algorithm();
        let hash = match self.0 {
            Inner::Sha256(hash) => padded::<Sha256>(&hash.finalize()),
            Inner::Sha512(hash) => padded::<Sha512>(&hash.finalize()),
        };
        Digest { algorithm, hash }
    }

    /// Returns the state for [`Digester::resume`].
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        match &self.0 {
            Inner::Sha256(hash) => hash.serialize().to_vec(),
            Inner::Sha512(hash) => hash.serialize().to_vec(),
        }
    }

    /// Restores a saved digester; `None` if the bytes are no state of that algorithm.
    #[must_use]
    pub fn resume(algorithm: Algorithm, state: &[u8]) -> Option<Self> {
        // The block count follows the hash words; sha2 would overflow on a large one.
        let blocks = match algorithm {
            Algorithm::Sha256 => u128::from(u64::from_le_bytes(*state.get(32..)?.first_chunk()?)),
            Algorithm::Sha512 => u128::from_le_bytes(*state.get(64..)?.first_chunk()?),
        };
        if blocks > MAX_BLOCKS {
            return None;
        }
        Some(Self(match algorithm {
            Algorithm::Sha256 => Inner::Sha256(Sha256::deserialize(state.try_into().ok()?).ok()?),
            Algorithm::Sha512 => Inner::Sha512(Sha512::deserialize(state.try_into().ok()?).ok()?),
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    const EMPTY_256: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const EMPTY_512: &str = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
                             47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";

    #[test]
    fn digest_of_empty_content_is_the_known_one() {
        assert_eq!(Algorithm::Sha256.digest(b"").to_string(), EMPTY_256);
        assert_eq!(Algorithm::Sha512.digest(b"").to_string(), EMPTY_512);
        assert_eq!(Algorithm::default(), Algorithm::Sha256);
    }

    #[test]
    fn digest_is_spelt_as_it_was_parsed() {
        for text in [EMPTY_256, EMPTY_512] {
            let digest: Digest = text.parse().unwrap();
            assert_eq!(digest.to_string(), text);
            assert_eq!(format!("{digest:?}"), text);
            assert_eq!(format!("{}:{}", digest.algorithm(), digest.hex()), text);
            assert_eq!(digest.hash().len(), digest.algorithm().hash_len());
            assert_eq!(Digest::from_hash(digest.algorithm(), digest.hash()), Some(digest));
        }
    }

    #[test]
    fn invalid_digest_is_refused_with_the_reason() {
        use DigestError::{Malformed, NotLowerHex, UnsupportedAlgorithm, WrongLength};
        let hex = "a".repeat(64);
        for (text, error) in [
            (String::new(), Malformed),
            ("sha256".into(), Malformed),
            (hex.clone(), Malformed),
            (":".into(), UnsupportedAlgorithm),
            (format!(":{hex}"), UnsupportedAlgorithm),
            (format!("SHA256:{hex}"), UnsupportedAlgorithm),
            (format!(" sha256:{hex}"), UnsupportedAlgorithm),
            (format!("sha-256:{hex}"), UnsupportedAlgorithm),
            (format!("sha384:{}", "a".repeat(96)), UnsupportedAlgorithm),
            (format!("blake3:{hex}"), UnsupportedAlgorithm),
            (format!("md5:{}", "a".repeat(32)), UnsupportedAlgorithm),
            ("sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564".into(), UnsupportedAlgorithm),
            (format!("../sha256:{hex}"), UnsupportedAlgorithm),
            ("sha256:".into(), WrongLength),
            ("sha256:abc".into(), WrongLength),
            (format!("sha256:{hex}a"), WrongLength),
            (format!("sha256:{hex}\n"), WrongLength),
            (format!("sha256:{hex}{hex}"), WrongLength),
            (format!("sha512:{hex}"), WrongLength),
            ("sha256:../../../etc/passwd".into(), WrongLength),
            (format!("sha256:{}", "A".repeat(64)), NotLowerHex),
            (format!("sha256:{}g", "a".repeat(63)), NotLowerHex),
            (format!("sha256:{}:", "a".repeat(63)), NotLowerHex),
            (format!("sha256:../{}", "a".repeat(61)), NotLowerHex),
            (format!("sha256:{}\0", "a".repeat(63)), NotLowerHex),
            (format!("sha256:{}", "é".repeat(32)), NotLowerHex),
        ] {
            assert_eq!(text.parse::<Digest>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn hash_has_the_length_of_its_algorithm() {
        assert_eq!(Digest::from_hash(Algorithm::Sha256, &[0; 31]), None);
        assert_eq!(Digest::from_hash(Algorithm::Sha256, &[0; 64]), None);
        assert_eq!(Digest::from_hash(Algorithm::Sha512, &[0; 32]), None);
        assert_eq!(Digest::from_hash(Algorithm::Sha512, &[]), None);
    }

    #[test]
    fn digests_of_two_algorithms_are_never_equal() {
        let short = Digest::from_hash(Algorithm::Sha256, &[7; 32]).unwrap();
        let mut padded = [0; 64];
        padded[..32].fill(7);
        let long = Digest::from_hash(Algorithm::Sha512, &padded).unwrap();
        assert_ne!(short, long);
    }

    #[test]
    fn referrers_are_tagged_as_the_specification_shows() {
        let a64 = "a".repeat(64);
        let short: Digest = format!("sha256:{a64}").parse().unwrap();
        let long: Digest = format!("sha512:{a64}{a64}").parse().unwrap();
        assert_eq!(short.referrers_tag(), format!("sha256-{a64}"));
        assert_eq!(long.referrers_tag(), format!("sha512-{a64}"));
    }

    #[test]
    fn json_error_names_the_digest_and_its_algorithm() {
        let text = format!("\"blake3:{}\"", "a".repeat(64));
        let error = serde_json::from_str::<Digest>(&text).unwrap_err().to_string();
        assert!(error.contains("digest \"blake3:aaaa"), "{error}");
        assert!(error.contains("unsupported digest algorithm"), "{error}");
        assert_eq!(
            serde_json::to_string(&EMPTY_256.parse::<Digest>().unwrap()).unwrap(),
            format!("{EMPTY_256:?}")
        );
    }

    #[test]
    fn saved_states_of_earlier_versions_are_resumed() {
        // States survive updates of the program, so their format must not change.
        // The words of the hash, then how many blocks went into it, then the bytes that wait for a
        // whole block: how many, and zeros after them.
        let golden = [
            (
                Algorithm::Sha256,
                32 + 8 + 1 + 63,
                "67e6096a85ae67bb72f36e3c3af54fa57f520e518c68059babd9831f19cde05b\
                 0000000000000000 03 616263",
            ),
            (
                Algorithm::Sha512,
                64 + 16 + 1 + 127,
                "08c9bcf367e6096a3ba7ca8485ae67bb2bf894fe72f36e3cf1361d5f3af54fa5\
                 d182e6ad7f520e511f6c3e2b8c68059b6bbd41fbabd9831f79217e1319cde05b\
                 00000000000000000000000000000000 03 616263",
            ),
        ];
        for (algorithm, len, hex) in golden {
            let hex = hex.replace(' ', "");
            let mut state: Vec<u8> = (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect();
            state.resize(len, 0);
            let mut digester = Digester::new(algorithm);
            digester.update(b"abc");
            assert_eq!(digester.save(), state);
            let mut resumed = Digester::resume(algorithm, &state).unwrap();
            resumed.update(b"def");
            assert_eq!(resumed.finish(), algorithm.digest(b"abcdef"));
        }
    }

    #[test]
    fn bytes_that_are_no_state_are_refused() {
        let saved = Digester::new(Algorithm::Sha256).save();
        assert!(Digester::resume(Algorithm::Sha512, &saved).is_none());
        assert!(Digester::resume(Algorithm::Sha256, &saved[1..]).is_none());
        assert!(Digester::resume(Algorithm::Sha256, &[]).is_none());
        // More bytes waiting than a block has.
        let mut damaged = saved;
        damaged[40] = 64;
        assert!(Digester::resume(Algorithm::Sha256, &damaged).is_none());
    }

    #[test]
    fn state_with_impossible_length_is_refused() {
        let mut damaged = Digester::new(Algorithm::Sha256).save();
        damaged[32..40].fill(0xff);
        assert!(Digester::resume(Algorithm::Sha256, &damaged).is_none());
        let mut damaged = Digester::new(Algorithm::Sha512).save();
        damaged[64..80].fill(0xff);
        assert!(Digester::resume(Algorithm::Sha512, &damaged).is_none());
    }

    fn algorithms() -> impl Strategy<Value = Algorithm> {
        select(vec![Algorithm::Sha256, Algorithm::Sha512])
    }

    proptest! {
        #[test]
        fn every_string_that_parses_is_its_own_spelling(text in "(sha(256|512)|[a-z0-9]{1,6}):[0-9a-fA-F]{60,130}") {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(digest.to_string(), text);
            }
        }

        #[test]
        fn every_hash_is_spelt_and_parsed(algorithm in algorithms(), hash in proptest::array::uniform(any::<u8>())) {
            let hash: [u8; 64] = hash;
            let digest = Digest::from_hash(algorithm, &hash[..algorithm.hash_len()]).unwrap();
            prop_assert_eq!(digest.to_string().parse(), Ok(digest));
            prop_assert!(digest.referrers_tag().parse::<crate::Tag>().unwrap().is_referrers_tag());
        }

        #[test]
        fn digest_is_independent_of_pieces_and_resumes(
            algorithm in algorithms(),
            pieces in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..300), any::<bool>()), 0..8),
        ) {
            let whole: Vec<u8> = pieces.iter().flat_map(|(piece, _)| piece.clone()).collect();
            let mut digester = Digester::new(algorithm);
            for (piece, interrupted) in &pieces {
                digester.update(piece);
                if *interrupted {
                    digester = Digester::resume(algorithm, &digester.save()).unwrap();
                }
            }
            prop_assert_eq!(digester.finish(), algorithm.digest(&whole));
        }
    }
}
