//! Manifests of images, indexes and artifacts.
//!
//! image-spec v1.1, manifest.md and image-index.md; Docker's schema 2 and manifest lists. Parsing finds the
//! referenced content; the registry stores and serves the pushed bytes.

use crate::descriptor::Annotations;
use crate::document::Document;
use crate::{Descriptor, MediaType};

/// The kind of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An image or an artifact: a config and layers.
    Image,
    /// An index or manifest list: other manifests.
    Index,
    /// The withdrawn OCI artifact manifest: blobs without a config.
    Artifact,
}

/// A parsed, valid manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its media type, from its own `mediaType`, the pusher's Content-Type, or its shape.
    pub media_type: MediaType,
    /// The kind of the document.
    pub kind: Kind,
    /// The config, of an image.
    pub config: Option<Descriptor>,
    /// Layers of an image, or blobs of an artifact manifest; may be empty.
    pub layers: Vec<Descriptor>,
    /// The manifests of an index; may be empty.
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one refers to. It need not exist.
    pub subject: Option<Descriptor>,
    /// The artifact type as referrers list it: its own, else the config's media type, else none
    /// (distribution-spec, "Listing Referrers").
    pub artifact_type: Option<String>,
    /// Its annotations; `None` where it has no such field.
    pub annotations: Option<Annotations>,
}

/// The reason to reject a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Invalid JSON or JSON of another shape. Names the field if there is one.
    #[error("invalid manifest: {0}")]
    Malformed(String),
    /// `schemaVersion` is 1: the format that was given up in 2017.
    #[error(
        "Docker's schema 1 is not supported; push the image again with docker 1.10 or newer, or any other current client"
    )]
    SchemaOne,
    /// `schemaVersion` is missing or unknown.
    #[error("invalid manifest: schemaVersion is missing or is not 2")]
    SchemaVersion,
    /// `Content-Type` and `mediaType` differ (CVE-2021-41190).
    #[error("the Content-Type is {content_type}, but the manifest's mediaType is {media_type}")]
    MediaTypeMismatch {
        /// The `Content-Type` header of the push.
        content_type: MediaType,
        /// The `mediaType` of the document.
        media_type: MediaType,
    },
    /// Not the media type of a manifest.
    #[error(
        "{0} is not a media type of a manifest; expected an OCI image manifest or index, or Docker's schema 2"
    )]
    UnsupportedMediaType(MediaType),
    /// Fields of an image and of an index in one document (CVE-2021-41190).
    #[error("the manifest has both `{0}` and `{1}`; it can be an image or an index, not both")]
    TwoDocuments(&'static str, &'static str),
    /// A field that belongs to another kind of manifest.
    #[error("the manifest is {media_type}, which has no `{field}`")]
    StrayField {
        /// The kind of the document.
        media_type: MediaType,
        /// The unexpected field.
        field: &'static str,
    },
    /// A field that this kind of manifest must have.
    #[error("the manifest is {media_type}, but has no `{field}`")]
    MissingField {
        /// The kind of the document.
        media_type: MediaType,
        /// The missing field.
        field: &'static str,
    },
    /// Neither header, field nor shape show the kind.
    #[error("the manifest has no mediaType, and no Content-Type was given")]
    UnknownKind,
}

impl Manifest {
    /// Parses a manifest. `content_type` is the header of the push. Without it, the document's `mediaType`
    /// decides, or else its shape (as in directories of other registries).
    ///
    /// # Errors
    /// [`ManifestError`], with a text for the user who pushed it.
    pub fn parse(bytes: &[u8], content_type: Option<&MediaType>) -> Result<Self, ManifestError> {
        Document::read(bytes)?.into_manifest(content_type)
    }

    /// Returns the descriptors of the content that the repository must hold before the push: config, layers
    /// and manifests. The subject and non-distributable layers are left out. The flag is `true` for a
    /// manifest.
    ///
    /// An entry of an index with another media type is a blob: buildkit stores its cache as an index of
    /// layers.
    pub fn parts(&self) -> impl Iterator<Item = (&Descriptor, bool)> {
        let blobs = self.config.iter().chain(self.layers.iter().filter(|layer| !layer.may_be_elsewhere()));
        let children = self.manifests.iter().map(|child| (child, child.media_type.is_manifest()));
        blobs.map(|blob| (blob, false)).chain(children)
    }

    /// Returns the annotation with this key.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Algorithm;
    use crate::media_type::{OCI_ARTIFACT, OCI_INDEX, OCI_MANIFEST};

    /// Returns the parts of a manifest, and whether each is a manifest.
    fn parts(text: &str) -> Vec<(String, bool)> {
        let manifest = Manifest::parse(text.as_bytes(), None).unwrap();
        manifest.parts().map(|(part, is_manifest)| (name(part), is_manifest)).collect()
    }

    fn name(descriptor: &Descriptor) -> String {
        let names = ["config", "first", "second", "third", "subject"];
        let is = |name: &&&str| Algorithm::Sha256.digest(name.as_bytes()) == descriptor.digest;
        names.iter().find(is).unwrap().to_string()
    }

    fn descriptor(media_type: &str, name: &str, more: &str) -> String {
        let digest = Algorithm::Sha256.digest(name.as_bytes());
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":1{more}}}"#)
    }

    #[test]
    fn image_needs_its_config_and_stored_layers() {
        let config = descriptor("application/vnd.oci.image.config.v1+json", "config", "");
        let subject = descriptor(OCI_MANIFEST, "subject", "");
        let layers = [
            descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "first", ""),
            descriptor("application/vnd.oci.image.layer.v1.tar", "second", ""),
            descriptor(
                "application/vnd.oci.image.layer.v1.tar",
                "third",
                r#","urls":["https://example.com/"]"#,
            ),
        ]
        .join(",");
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{config},"layers":[{layers}],"subject":{subject}}}"#
        );
        assert_eq!(parts(&text), [("config".into(), false), ("second".into(), false)]);
    }

    #[test]
    fn config_is_needed_even_with_urls() {
        let config = descriptor("text/plain", "config", r#","urls":["https://example.com/"]"#);
        let text =
            format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{config},"layers":[]}}"#);
        assert_eq!(parts(&text), [("config".into(), false)]);
    }

    #[test]
    fn index_needs_manifests_and_build_caches_blobs() {
        let children = [
            descriptor(OCI_INDEX, "first", r#","urls":["https://example.com/"]"#),
            descriptor("application/vnd.oci.image.layer.v1.tar+zstd", "second", ""),
            descriptor("application/vnd.buildkit.cacheconfig.v0", "third", ""),
        ]
        .join(",");
        let text = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{children}]}}"#);
        assert_eq!(parts(&text), [("first".into(), true), ("second".into(), false), ("third".into(), false)]);
    }

    #[test]
    fn artifact_manifest_needs_its_blobs() {
        let (blob, subject) =
            (descriptor("text/plain", "first", ""), descriptor(OCI_MANIFEST, "subject", ""));
        let text = format!(r#"{{"mediaType":"{OCI_ARTIFACT}","blobs":[{blob}],"subject":{subject}}}"#);
        assert_eq!(parts(&text), [("first".into(), false)]);
    }
}
