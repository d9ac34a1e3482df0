//! Digests: the names of content, and the running hash that makes one.
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

    /// The digest of `content`, which is all there.
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

/// Why a string is not a digest that this registry can keep.
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
        self.to_string().split_off(self.algorithm.as_str().len() + 1)
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
        let mut tag = self.to_string().replacen(':', "-", 1);
        tag.truncate(self.algorithm.as_str().len() + 1 + 64);
        tag
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
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 7 + 128];
        let name = self.algorithm.as_str().as_bytes();
        text[..name.len()].copy_from_slice(name);
        text[name.len()] = b':';
        let mut end = name.len() + 1;
        for byte in self.hash() {
            text[end] = DIGITS[usize::from(byte >> 4)];
            text[end + 1] = DIGITS[usize::from(byte & 15)];
            end += 2;
        }
        f.write_str(std::str::from_utf8(&text[..end]).map_err(|_| fmt::Error)?)
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
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|error| serde::de::Error::custom(format!("digest {text:?}: {error}")))
    }
}

/// A hash in the making: content goes in piece by piece, a [`Digest`] comes out.
///
/// Its state can be written down and taken up again ([`Digester::save`], [`Digester::resume`]), so
/// that an upload which goes on after a restart need not be read a second time.
#[derive(Clone, Debug)]
pub struct Digester(Inner);

#[derive(Clone, Debug)]
enum Inner {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Digester {
    /// A digester that has seen nothing yet.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => Inner::Sha256(Sha256::new()),
            Algorithm::Sha512 => Inner::Sha512(Sha512::new()),
        })
    }

    /// The algorithm that this digester was made for.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Inner::Sha256(_) => Algorithm::Sha256,
            Inner::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Takes in the next piece of the content.
    pub fn update(&mut self, piece: &[u8]) {
        match &mut self.0 {
            Inner::Sha256(hash) => hash.update(piece),
            Inner::Sha512(hash) => hash.update(piece),
        }
    }

    /// The digest of all that was taken in.
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

    /// The state as bytes, for [`Digester::resume`].
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        match &self.0 {
            Inner::Sha256(hash) => hash.serialize().to_vec(),
            Inner::Sha512(hash) => hash.serialize().to_vec(),
        }
    }

    /// The digester whose state was saved; `None` if these bytes are no state of that algorithm.
    #[must_use]
    pub fn resume(algorithm: Algorithm, state: &[u8]) -> Option<Self> {
        Some(Self(match algorithm {
            Algorithm::Sha256 => Inner::Sha256(Sha256::deserialize(state.try_into().ok()?).ok()?),
            Algorithm::Sha512 => Inner::Sha512(Sha512::deserialize(state.try_into().ok()?).ok()?),
        }))
    }
}
