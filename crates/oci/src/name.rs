//! Repository names, such as `official/ubuntu`.
//!
//! distribution-spec, "Pulling manifests": the regular expression of `<name>`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The maximum length of a repository name in bytes. docker's reference parser allows as much for host and
/// name.
pub const MAX_LEN: usize = 255;

/// The name of a repository: path components of lower-case letters and digits, joined inside by
/// `.`, `_`, `__` or any number of `-`, and separated by `/`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(Arc<str>);

/// The reason to reject a repository name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// An empty name.
    #[error("a repository name cannot be empty")]
    Empty,
    /// Longer than [`MAX_LEN`] bytes.
    #[error("a repository name has at most {MAX_LEN} characters")]
    TooLong,
    /// A character or an order of characters that the specification does not allow.
    #[error(
        "a repository name has components of a-z and 0-9, joined by `.`, `_`, `__` or `-`, \
         and separated by `/`, such as team/app-server"
    )]
    Malformed,
}

impl RepositoryName {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components between the slashes, in order; at least one.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(s: &str) -> Result<Self, NameError> {
        if s.is_empty() {
            return Err(NameError::Empty);
        }
        if s.len() > MAX_LEN {
            return Err(NameError::TooLong);
        }
        if s.split('/').all(is_component) { Ok(Self(s.into())) } else { Err(NameError::Malformed) }
    }
}

/// Whether this is one component of a repository name: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`. Its
/// length is not looked at.
#[must_use]
pub fn is_component(component: &str) -> bool {
    let is_alnum = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    let mut rest = component.as_bytes();
    loop {
        let word = rest.iter().take_while(|byte| is_alnum(byte)).count();
        if word == 0 {
            return false;
        }
        rest = &rest[word..];
        if rest.is_empty() {
            return true;
        }
        let separator = rest.iter().take_while(|byte| !is_alnum(byte)).count();
        match &rest[..separator] {
            b"." | b"_" | b"__" => {}
            dashes if dashes.iter().all(|byte| *byte == b'-') => {}
            _ => return false,
        }
        rest = &rest[separator..];
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for RepositoryName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RepositoryName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::json::parsed(deserializer, "repository name")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    /// The regular expression of the distribution-spec, as it stands there.
    fn specification() -> Regex {
        Regex::new(r"\A(?:[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*)\z")
            .unwrap()
    }

    #[test]
    fn names_of_all_shapes_are_taken() {
        let longest = "a".repeat(MAX_LEN);
        for name in ["ubuntu", "official/ubuntu", "a/b/c/d/e", "a.b_c__d-e---f", "0", "7z/2-3", &longest] {
            assert_eq!(name.parse::<RepositoryName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn invalid_name_is_refused_with_the_reason() {
        assert_eq!("".parse::<RepositoryName>(), Err(NameError::Empty));
        assert_eq!("a".repeat(MAX_LEN + 1).parse::<RepositoryName>(), Err(NameError::TooLong));
        for name in [
            "/",
            "/a",
            "a/",
            "a//b",
            "..",
            ".",
            "../a",
            "a/../b",
            "a/./b",
            "a..b",
            "a._b",
            "a___b",
            "a-",
            "-a",
            "_a",
            "a_",
            "a.",
            "a.-b",
            "Ubuntu",
            "a b",
            "a\n",
            "a\0",
            "a:b",
            "a@b",
            "a%2fb",
            "a\\b",
            "é",
            "a/_manifests",
            "a/-/b",
        ] {
            assert_eq!(name.parse::<RepositoryName>(), Err(NameError::Malformed), "{name:?}");
        }
    }

    #[test]
    fn components_are_those_between_the_slashes() {
        let name: RepositoryName = "team/app/server".parse().unwrap();
        assert_eq!(name.components().collect::<Vec<_>>(), ["team", "app", "server"]);
        assert_eq!(name.components().next_back(), Some("server"));
    }

    #[test]
    fn name_in_json_is_checked_as_well() {
        assert_eq!(serde_json::from_str::<RepositoryName>("\"a/b\"").unwrap().as_str(), "a/b");
        let error = serde_json::from_str::<RepositoryName>("\"../b\"").unwrap_err().to_string();
        assert!(error.contains("\"../b\""), "{error}");
        serde_json::from_str::<RepositoryName>("null").unwrap_err();
    }

    proptest! {
        #[test]
        fn parser_agrees_with_the_specification(
            text in prop_oneof![
                "[a-z0-9._/-]{0,12}",
                "[a-c]([._/-]{0,3}[a-c0-1]){0,6}",
                "[a-zA-Z0-9._/:@ é-]{0,8}",
                any::<String>(),
            ]
        ) {
            prop_assert_eq!(text.parse::<RepositoryName>().is_ok(), specification().is_match(&text), "{:?}", text);
        }

        #[test]
        fn valid_name_is_accepted_with_one_spelling(
            text in r"[a-z0-9]{1,4}((\.|_|__|-{1,3})[a-z0-9]{1,4}){0,3}(/[a-z0-9]{1,4}((\.|_|__|-{1,3})[a-z0-9]{1,4}){0,3}){0,3}"
        ) {
            prop_assert_eq!(text.parse::<RepositoryName>().unwrap().to_string(), text);
        }
    }
}
