//! The parameters of a path, each in one spelling, and the errors of a path.

use accounts::{AccountName, AccountNameError, TeamName, TeamNameError};
use oci::digest::DigestError;
use oci::name::NameError;
use oci::reference::ReferenceError;
use oci::tag::TagError;
use oci::{Digest, RepositoryName, TagOrDigest};
use uuid::Uuid;

use crate::config::UpstreamName;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    #[error("there is nothing at this path; the API begins with /v2/ and /api/v1/")]
    NoSuchPath,
    #[error("the path is not UTF-8 when decoded")]
    Encoding,
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Digest(#[from] DigestError),
    #[error(transparent)]
    Tag(#[from] TagError),
    /// Not the id of an upload, as this registry spells it.
    #[error("there is no upload with this id; begin a new one")]
    Upload,
    #[error(transparent)]
    Account(#[from] AccountNameError),
    #[error(transparent)]
    Team(#[from] TeamNameError),
}

impl From<ReferenceError> for PathError {
    fn from(error: ReferenceError) -> Self {
        match error {
            ReferenceError::Digest(error) => Self::Digest(error),
            ReferenceError::Tag(error) => Self::Tag(error),
            // Parsing a tag or digest has no other errors.
            _ => Self::NoSuchPath,
        }
    }
}

pub(super) trait PathPart: Sized {
    fn parse_part(text: &str) -> Result<Self, PathError>;

    fn repository(&self) -> Option<&RepositoryName> {
        None
    }
}

impl PathPart for RepositoryName {
    fn parse_part(text: &str) -> Result<Self, PathError> {
        Ok(text.parse()?)
    }

    fn repository(&self) -> Option<&RepositoryName> {
        Some(self)
    }
}

impl PathPart for TagOrDigest {
    fn parse_part(text: &str) -> Result<Self, PathError> {
        Ok(text.parse()?)
    }
}

impl PathPart for Digest {
    fn parse_part(text: &str) -> Result<Self, PathError> {
        Ok(text.parse()?)
    }
}

impl PathPart for AccountName {
    fn parse_part(text: &str) -> Result<Self, PathError> {
        Ok(text.parse()?)
    }
}

impl PathPart for TeamName {
    fn parse_part(text: &str) -> Result<Self, PathError> {
        Ok(text.parse()?)
    }
}

/// The name of an asset.
impl PathPart for String {
    fn parse_part(text: &str) -> Result<Self, PathError> {
        Ok(text.to_owned())
    }
}

impl PathPart for UpstreamName {
    fn parse_part(text: &str) -> Result<Self, PathError> {
        text.parse().map_err(|_| PathError::NoSuchPath)
    }
}

/// The id of an upload, in the spelling that this registry gives out.
impl PathPart for Uuid {
    fn parse_part(text: &str) -> Result<Self, PathError> {
        let id: Uuid = text.parse().map_err(|_| PathError::Upload)?;
        let canonical = id.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text;
        if canonical { Ok(id) } else { Err(PathError::Upload) }
    }
}

/// The name or the number of a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WebhookId(String);

impl WebhookId {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl PathPart for WebhookId {
    fn parse_part(text: &str) -> Result<Self, PathError> {
        let fits = |char: char| char.is_ascii_alphanumeric() || "._-".contains(char);
        let is_id = (1..=128).contains(&text.len()) && text.chars().all(fits);
        if is_id { Ok(Self(text.to_owned())) } else { Err(PathError::NoSuchPath) }
    }
}

/// The number of a token, in the spelling that this registry gives out.
impl PathPart for i64 {
    fn parse_part(text: &str) -> Result<Self, PathError> {
        match text.parse::<i64>() {
            Ok(id) if id > 0 && id.to_string() == text => Ok(id),
            _ => Err(PathError::NoSuchPath),
        }
    }
}
