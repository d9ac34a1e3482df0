//! Tags, such as `14.04` or `latest`.
//!
//! distribution-spec, "Pulling manifests": the regular expression of a tag.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest tag, in bytes.
pub const MAX_LEN: usize = 128;

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`. Ordered by its bytes, which is the order in which
/// tags are listed. Cloning it is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<str>);

/// Why a string is not a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tag has 1 to 128 of the characters a-z, A-Z, 0-9, `_`, `.` and `-`, and does not begin with `.` or `-`")]
pub struct TagError;

impl Tag {
    /// The tag as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag that a client means when it names none.
    #[must_use]
    pub fn latest() -> Self {
        Self("latest".into())
    }

    /// Whether this tag is spelt like those under which clients without the referrers API keep an
    /// index of referrers (distribution-spec, "Referrers Tag Schema"): the algorithm, `-`, and the
    /// first 64 hexadecimal digits.
    #[must_use]
    pub fn is_referrers_tag(&self) -> bool {
        ["sha256-", "sha512-"].iter().any(|algorithm| {
            self.0.strip_prefix(algorithm).is_some_and(|hex| {
                hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            })
        })
    }
}

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(s: &str) -> Result<Self, TagError> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let valid = s.len() <= MAX_LEN
            && s.bytes().next().is_some_and(word)
            && s.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'));
        if valid { Ok(Self(s.into())) } else { Err(TagError) }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for Tag {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
