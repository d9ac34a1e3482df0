//! References: how a manifest is asked for inside a repository, and how a person names an image.

use std::fmt;
use std::str::FromStr;

use crate::digest::DigestError;
use crate::name::NameError;
use crate::tag::TagError;
use crate::{Digest, RepositoryName, Tag};

/// What stands at the end of a manifest's URL: a tag, or the digest of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TagOrDigest {
    /// The manifest that this tag points to now.
    Tag(Tag),
    /// The manifest with this digest.
    Digest(Digest),
}

/// Why a string is neither a tag nor a digest, or not a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It has a `:` or `@`, as a digest has, but is none.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// It is no tag.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// The part before tag or digest is no repository name.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl FromStr for TagOrDigest {
    type Err = ReferenceError;

    fn from_str(s: &str) -> Result<Self, ReferenceError> {
        // A tag has no colon and a digest always has one, so that no string could be either.
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

/// An image as a person names it inside one registry: `repository`, `repository:tag`,
/// `repository@digest`, or `repository:tag@digest` (where the digest decides and the tag is
/// ignored, as docker does).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The repository.
    pub repository: RepositoryName,
    /// The manifest in it, if one was named.
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
