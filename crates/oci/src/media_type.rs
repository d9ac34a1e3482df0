//! Media types, with constants for those of the specifications.
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
/// Docker image manifest, schema 1: served if stored, rejected in a push.
pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// Docker image manifest, schema 1 with signatures.
pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// The config of an OCI image.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The config of a Docker image.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// The maximum length of a media type with its parameters, in bytes.
pub const MAX_LEN: usize = 255;
/// The longest type or subtype, in bytes (RFC 6838, section 4.2).
const MAX_NAME_LEN: usize = 127;

/// A media type: `type/subtype`, as RFC 6838, section 4.2 restricts names.
///
/// Descriptors may carry parameters, such as sigstore's
/// `application/vnd.dev.sigstore.bundle+json;version=0.2`. They are kept as written, in printable ASCII.
/// Equality compares the spelling. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaType(Arc<str>);

/// The reason to reject a media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a media type is written type/subtype, such as {OCI_MANIFEST}")]
pub struct MediaTypeError;

impl MediaType {
    /// Returns the media type as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Parses a `Content-Type` header. Ignores its parameters (distribution-spec, "Pushing Manifests") and
    /// its case (RFC 9110, section 8.3.1).
    ///
    /// # Errors
    /// [`MediaTypeError`] if the part before the parameters is invalid.
    pub fn from_content_type(header: &str) -> Result<Self, MediaTypeError> {
        header.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().parse()
    }

    /// Returns whether layers of this type need not be pushed
    /// (image-spec v1.1, layer.md, "Non-Distributable Layers", and Docker's foreign layers).
    #[must_use]
    pub fn is_nondistributable(&self) -> bool {
        self.0.starts_with("application/vnd.oci.image.layer.nondistributable.")
            || self.0.starts_with("application/vnd.docker.image.rootfs.foreign.")
    }

    /// Returns whether content of this type is a manifest or an index.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        [OCI_MANIFEST, OCI_INDEX, OCI_ARTIFACT, DOCKER_MANIFEST, DOCKER_LIST].contains(&self.as_str())
    }
}

impl FromStr for MediaType {
    type Err = MediaTypeError;

    fn from_str(s: &str) -> Result<Self, MediaTypeError> {
        let (essence, parameters) = s.split_once(';').unwrap_or((s, ""));
        let valid = s.len() <= MAX_LEN
            && essence.split_once('/').is_some_and(|(kind, subtype)| is_name(kind) && is_name(subtype))
            && parameters.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if valid { Ok(Self(s.into())) } else { Err(MediaTypeError) }
    }
}

/// `[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}`
fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME_LEN
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
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
        crate::json::parsed(deserializer, "media type")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    /// The pattern of the image-spec's JSON schema, as it stands there.
    fn specification() -> Regex {
        Regex::new(r"\A(?:[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126})\z")
            .unwrap()
    }

    #[test]
    fn media_types_of_the_field_are_taken() {
        let longest = format!("{}/{}", "a".repeat(127), "b".repeat(127));
        for text in [
            OCI_MANIFEST,
            OCI_INDEX,
            OCI_ARTIFACT,
            DOCKER_MANIFEST,
            DOCKER_LIST,
            OCI_CONFIG,
            DOCKER_CONFIG,
            "application/vnd.oci.empty.v1+json",
            "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
            "application/vnd.buildkit.cacheconfig.v0",
            "application/vnd.dev.sigstore.bundle+json;version=0.2",
            "text/plain; charset=\"utf-8\"",
            "text/plain",
            "application/vnd.Example.Type",
            &longest,
        ] {
            assert_eq!(text.parse::<MediaType>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn invalid_media_type_is_refused() {
        let long_type = format!("{}/a", "a".repeat(128));
        let long_subtype = format!("a/{}", "a".repeat(128));
        let long_parameters = format!("a/b;{}", "a".repeat(MAX_LEN));
        for text in [
            "",
            "/",
            "text",
            "text/",
            "/plain",
            "text/plain/x",
            "text plain",
            " text/plain",
            "text/plain ",
            "text/*",
            "*/*",
            "text/-plain",
            "te,xt/plain",
            ";version=1",
            "text;a/b",
            "text/plain;a\r\nSet-Cookie: b",
            "text/plain;é",
            &long_type,
            &long_subtype,
            &long_parameters,
        ] {
            assert_eq!(text.parse::<MediaType>(), Err(MediaTypeError), "{text:?}");
        }
    }

    #[test]
    fn media_type_ignores_parameters_and_case() {
        for header in [
            OCI_INDEX,
            &format!("{OCI_INDEX}; charset=utf-8"),
            &format!(" {OCI_INDEX} ;q"),
            &OCI_INDEX.to_uppercase(),
        ] {
            assert_eq!(MediaType::from_content_type(header).unwrap().as_str(), OCI_INDEX);
        }
        assert_eq!(MediaType::from_content_type(""), Err(MediaTypeError));
        assert_eq!(MediaType::from_content_type("; charset=utf-8"), Err(MediaTypeError));
    }

    #[test]
    fn media_types_tell_manifests_and_foreign_layers() {
        let is = |text: &str, what: fn(&MediaType) -> bool| what(&text.parse().unwrap());
        for manifest in [OCI_MANIFEST, OCI_INDEX, OCI_ARTIFACT, DOCKER_MANIFEST, DOCKER_LIST] {
            assert!(is(manifest, MediaType::is_manifest));
        }
        for other in [OCI_CONFIG, DOCKER_CONFIG, &format!("{OCI_MANIFEST};a=b")] {
            assert!(!is(other, MediaType::is_manifest));
        }
        for elsewhere in [
            "application/vnd.oci.image.layer.nondistributable.v1.tar",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
            "application/vnd.docker.image.rootfs.foreign.diff.tar",
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        ] {
            assert!(is(elsewhere, MediaType::is_nondistributable));
        }
        for here in
            ["application/vnd.oci.image.layer.v1.tar", "application/vnd.docker.image.rootfs.diff.tar.gzip"]
        {
            assert!(!is(here, MediaType::is_nondistributable));
        }
    }

    proptest! {
        #[test]
        fn media_type_parser_agrees_with_the_specification(
            text in prop_oneof!["[a-zA-Z0-9!#$&^_.+/ é-]{0,12}", "[a-z0-9.+-]{0,4}/[a-zA-Z0-9!#$&^_.+,*-]{0,6}", "[^;]*"]
        ) {
            prop_assert_eq!(text.parse::<MediaType>().is_ok(), specification().is_match(&text), "{:?}", text);
        }

        #[test]
        fn every_string_that_parses_is_its_own_spelling(text in "[a-z]{1,3}/[a-z.+-]{1,3}(;[ -~é]{0,9})?") {
            if let Ok(parsed) = text.parse::<MediaType>() {
                prop_assert_eq!(parsed.to_string(), text);
            }
        }
    }
}
