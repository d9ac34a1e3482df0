//! Media types, and the ones that the specifications name.
//!
//! image-spec v1.1, media-types.md; Docker's image manifest version 2, schema 2.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI artifact manifest: withdrawn before image-spec 1.1 was final, but pushed by clients of that time.
pub const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
/// Docker image manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// The config of an OCI image.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The config of a Docker image.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// The longest media type kept, in bytes. RFC 6838, section 4.2 limits type and subtype to 127 each.
pub const MAX_LEN: usize = 255;

/// A media type without parameters: `type/subtype`, as RFC 6838, section 4.2 restricts names.
/// Cloning it is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaType(Arc<str>);

/// Why a string is not a media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a media type is written type/subtype, such as {OCI_MANIFEST}")]
pub struct MediaTypeError;

impl MediaType {
    /// The media type as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The media type of a `Content-Type` header, its parameters ignored, as the
    /// distribution-spec asks ("Pushing Manifests").
    ///
    /// # Errors
    /// [`MediaTypeError`] if what stands before the parameters is no media type.
    pub fn from_content_type(header: &str) -> Result<Self, MediaTypeError> {
        header.split(';').next().unwrap_or_default().trim().parse()
    }

    /// Whether layers of this type may be kept elsewhere and need not be pushed
    /// (image-spec v1.1, layer.md, "Non-Distributable Layers", and Docker's foreign layers).
    #[must_use]
    pub fn is_nondistributable(&self) -> bool {
        self.0.starts_with("application/vnd.oci.image.layer.nondistributable.")
            || self.0.starts_with("application/vnd.docker.image.rootfs.foreign.")
    }

    /// Whether content of this type is a manifest or an index.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        [OCI_MANIFEST, OCI_INDEX, OCI_ARTIFACT, DOCKER_MANIFEST, DOCKER_LIST].contains(&self.as_str())
    }
}

impl FromStr for MediaType {
    type Err = MediaTypeError;

    fn from_str(s: &str) -> Result<Self, MediaTypeError> {
        fn is_restricted_name(name: &str) -> bool {
            name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
        }
        match s.split_once('/') {
            Some((kind, subtype))
                if s.len() <= MAX_LEN && is_restricted_name(kind) && is_restricted_name(subtype) =>
            {
                Ok(Self(s.into()))
            }
            _ => Err(MediaTypeError),
        }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for MediaType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for MediaType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|error| serde::de::Error::custom(format!("media type {text:?}: {error}")))
    }
}
