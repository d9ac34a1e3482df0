//! Tags, such as `14.04` or `latest`.
//!
//! distribution-spec, "Pulling manifests": the regular expression of a tag.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest tag, in bytes.
pub const MAX_LEN: usize = 128;

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`. Ordered by its bytes, like tag lists. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<str>);

/// The reason to reject a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a tag has 1 to 128 of the characters a-z, A-Z, 0-9, `_`, `.` and `-`, and does not begin with `.` or `-`"
)]
pub struct TagError;

impl Tag {
    /// Returns the tag as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The default tag of clients.
    #[must_use]
    pub fn latest() -> Self {
        Self("latest".into())
    }

    /// Returns whether this tag follows the "Referrers Tag Schema" of the distribution-spec: the algorithm,
    /// `-` and 64 hexadecimal digits. Clients without the referrers API use it for an index of referrers.
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
        crate::json::parsed(deserializer, "tag")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    /// The regular expression of the distribution-spec, as it stands there.
    fn specification() -> Regex {
        Regex::new(r"\A(?:[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127})\z").unwrap()
    }

    #[test]
    fn tags_of_all_shapes_are_taken() {
        let longest = "a".repeat(MAX_LEN);
        for tag in ["latest", "14.04", "_", "_.-", "V1.0-RC_2", "a..b", &longest] {
            assert_eq!(tag.parse::<Tag>().unwrap().as_str(), tag);
        }
        assert_eq!("latest".parse(), Ok(Tag::latest()));
    }

    #[test]
    fn invalid_tag_is_refused() {
        let too_long = "a".repeat(MAX_LEN + 1);
        for tag in [
            "", ".", "..", ".a", "-a", "a/b", "../a", "a:b", "a@b", "a+b", "a b", "a\n", "a\0", "é",
            &too_long,
        ] {
            assert_eq!(tag.parse::<Tag>(), Err(TagError), "{tag:?}");
        }
    }

    #[test]
    fn tags_are_ordered_by_their_bytes() {
        let mut tags: Vec<Tag> =
            ["b", "a", "B", "_", "1", "a-x", "a.x", "ab"].map(|tag| tag.parse().unwrap()).into();
        tags.sort();
        assert_eq!(
            tags.iter().map(Tag::as_str).collect::<Vec<_>>(),
            ["1", "B", "_", "a", "a-x", "a.x", "ab", "b"]
        );
    }

    #[test]
    fn tags_of_referrers_are_told_from_others() {
        let hex = "0123456789abcdef".repeat(4);
        let is_referrers_tag = |text: String| text.parse::<Tag>().unwrap().is_referrers_tag();
        assert!(is_referrers_tag(format!("sha256-{hex}")));
        assert!(is_referrers_tag(format!("sha512-{hex}")));
        // cosign's own, which hold a signature rather than a list of referrers
        assert!(!is_referrers_tag(format!("sha256-{hex}.sig")));
        assert!(!is_referrers_tag(format!("sha256-{}", hex.to_uppercase())));
        assert!(!is_referrers_tag(format!("sha256-{}", &hex[1..])));
        assert!(!is_referrers_tag(format!("sha256_{hex}")));
        assert!(!is_referrers_tag(hex));
    }

    #[test]
    fn tag_in_json_is_checked_as_well() {
        assert_eq!(serde_json::from_str::<Tag>("\"v1\"").unwrap().as_str(), "v1");
        serde_json::from_str::<Tag>("\"../v1\"").unwrap_err();
        serde_json::from_str::<Tag>("14").unwrap_err();
    }

    proptest! {
        #[test]
        fn parser_agrees_with_the_specification(
            text in prop_oneof!["[a-zA-Z0-9._-]{0,12}", "[a-zA-Z0-9_.:/ é-]{0,8}", "[a-z._-]{120,140}", any::<String>()]
        ) {
            prop_assert_eq!(text.parse::<Tag>().is_ok(), specification().is_match(&text), "{:?}", text);
        }

        #[test]
        fn valid_tag_is_accepted_with_one_spelling(text in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}") {
            prop_assert_eq!(text.parse::<Tag>().unwrap().to_string(), text);
        }
    }
}
