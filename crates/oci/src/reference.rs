//! References to a manifest in a repository, and to an image on the command line.

use std::fmt;
use std::str::FromStr;

use crate::digest::DigestError;
use crate::name::NameError;
use crate::tag::TagError;
use crate::{Digest, RepositoryName, Tag};

/// The last part of a manifest's URL: a tag or a digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TagOrDigest {
    /// The current manifest of this tag.
    Tag(Tag),
    /// The manifest with this digest.
    Digest(Digest),
}

/// The reason to reject a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// An invalid digest: it contains a `:` or follows an `@`.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// An invalid tag.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// An invalid repository name before the tag or digest.
    #[error(transparent)]
    Name(#[from] NameError),
    /// It begins with the host and port of a registry.
    #[error("an image is named without the registry's host and port here, such as official/ubuntu:14.04")]
    Host,
}

impl TagOrDigest {
    /// Returns the word for messages: a digest names a manifest.
    #[must_use]
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Tag(_) => "tag",
            Self::Digest(_) => "manifest",
        }
    }
}

impl FromStr for TagOrDigest {
    type Err = ReferenceError;

    fn from_str(s: &str) -> Result<Self, ReferenceError> {
        // A digest always has a colon and a tag never, so a string cannot be both.
        if s.contains(':') { Ok(Self::Digest(s.parse()?)) } else { Ok(Self::Tag(s.parse()?)) }
    }
}

impl fmt::Display for TagOrDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// An image in one registry: `repository`, `repository:tag`, `repository@digest` or `repository:tag@digest`,
/// where the tag is ignored, as in docker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag or digest, if given.
    pub target: Option<TagOrDigest>,
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(s: &str) -> Result<Self, ReferenceError> {
        let (named, digest) = match s.split_once('@') {
            Some((named, digest)) => (named, Some(digest.parse::<Digest>()?)),
            None => (s, None),
        };
        let (repository, tag) = match named.split_once(':') {
            Some((_, port)) if port.contains('/') => return Err(ReferenceError::Host),
            Some((repository, tag)) => (repository, Some(tag.parse::<Tag>()?)),
            None => (named, None),
        };
        let target = digest.map(TagOrDigest::Digest).or(tag.map(TagOrDigest::Tag));
        Ok(Self { repository: repository.parse()?, target })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            None => self.repository.fmt(f),
            Some(TagOrDigest::Tag(tag)) => write!(f, "{}:{tag}", self.repository),
            Some(TagOrDigest::Digest(digest)) => write!(f, "{}@{digest}", self.repository),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn reference(text: &str) -> Result<(String, Option<String>), ReferenceError> {
        let Reference { repository, target } = text.parse()?;
        Ok((repository.to_string(), target.map(|target| target.to_string())))
    }

    #[test]
    fn image_is_named_by_repository_tag_and_digest() {
        let named = |target: Option<&str>| Ok(("team/app".to_owned(), target.map(str::to_owned)));
        assert_eq!(reference("team/app"), named(None));
        assert_eq!(reference("team/app:1.0"), named(Some("1.0")));
        assert_eq!(reference(&format!("team/app@{DIGEST}")), named(Some(DIGEST)));
    }

    #[test]
    fn digest_wins_over_a_valid_tag() {
        let both: Reference = format!("app:1.0@{DIGEST}").parse().unwrap();
        assert_eq!(both.target, Some(TagOrDigest::Digest(DIGEST.parse().unwrap())));
        assert_eq!(both.to_string(), format!("app@{DIGEST}"));
        assert_eq!(reference(&format!("app:-@{DIGEST}")), Err(TagError.into()));
    }

    #[test]
    fn registry_is_no_part_of_a_reference() {
        assert_eq!(reference("localhost:5000/ubuntu"), Err(ReferenceError::Host));
        assert_eq!(reference("localhost:5000/ubuntu:14.04"), Err(ReferenceError::Host));
        assert_eq!(reference(&format!("localhost:5000/ubuntu@{DIGEST}")), Err(ReferenceError::Host));
        // Without a port, a host looks like a component.
        assert_eq!(reference("registry.example.org/ubuntu").unwrap().0, "registry.example.org/ubuntu");
    }

    #[test]
    fn error_names_the_invalid_part() {
        assert_eq!(reference(""), Err(NameError::Empty.into()));
        assert_eq!(reference(":1.0"), Err(NameError::Empty.into()));
        assert_eq!(reference("App"), Err(NameError::Malformed.into()));
        assert_eq!(reference("app:"), Err(TagError.into()));
        assert_eq!(reference("app:a:b"), Err(TagError.into()));
        assert_eq!(reference("app@"), Err(DigestError::Malformed.into()));
        assert_eq!(reference("app@latest"), Err(DigestError::Malformed.into()));
        assert_eq!(reference(&format!("app@{DIGEST}@{DIGEST}")), Err(DigestError::WrongLength.into()));
        assert_eq!(reference(&format!("app@{DIGEST}:1.0")), Err(DigestError::WrongLength.into()));
    }

    #[test]
    fn url_ends_with_a_tag_or_a_digest() {
        assert_eq!("1.0".parse(), Ok(TagOrDigest::Tag("1.0".parse().unwrap())));
        assert_eq!(DIGEST.parse(), Ok(TagOrDigest::Digest(DIGEST.parse().unwrap())));
        assert_eq!("".parse::<TagOrDigest>(), Err(TagError.into()));
        assert_eq!("sha256:abc".parse::<TagOrDigest>(), Err(DigestError::WrongLength.into()));
        assert_eq!("blake3:abc".parse::<TagOrDigest>(), Err(DigestError::UnsupportedAlgorithm.into()));
        // Without its colon it is a tag like any other.
        let undivided = DIGEST.replace(':', "-");
        assert_eq!(undivided.parse(), Ok(TagOrDigest::Tag(undivided.parse().unwrap())));
    }

    proptest! {
        #[test]
        fn every_reference_is_parsed_from_its_own_spelling(
            text in prop_oneof![
                "[a-c/._-]{1,6}(:[a-c._-]{1,4})?".boxed(),
                "[a-c/]{1,6}(:[a-c]{1,4})?".prop_map(|named| format!("{named}@{DIGEST}")).boxed(),
                any::<String>().boxed(),
            ]
        ) {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse(), Ok(reference));
            }
            if let Ok(target) = text.parse::<TagOrDigest>() {
                prop_assert_eq!(target.to_string(), text);
            }
        }
    }
}
