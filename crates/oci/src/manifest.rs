//! Manifests: what an image, an index or an artifact is made of.
//!
//! image-spec v1.1, manifest.md and image-index.md; Docker's schema 2 and manifest lists. A
//! manifest is read once, to learn what it refers to; what is kept and handed out are the bytes
//! that were pushed.

use crate::descriptor::Annotations;
use crate::document::Document;
use crate::{Descriptor, MediaType};

/// What kind of document a manifest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An image or an artifact: a config and layers.
    Image,
    /// An index or manifest list: other manifests.
    Index,
    /// The withdrawn OCI artifact manifest: blobs without a config.
    Artifact,
}

/// A manifest that was read and found well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its media type, from its own `mediaType`, the pusher's Content-Type, or its shape.
    pub media_type: MediaType,
    /// What kind of document it is.
    pub kind: Kind,
    /// The config, of an image.
    pub config: Option<Descriptor>,
    /// Layers of an image, or blobs of an artifact manifest; may be empty.
    pub layers: Vec<Descriptor>,
    /// The manifests of an index; may be empty.
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one refers to, which need not exist.
    pub subject: Option<Descriptor>,
    /// The artifact type as referrers list it: its own, else the config's media type, else none
    /// (distribution-spec, "Listing Referrers").
    pub artifact_type: Option<String>,
    /// Its annotations; `None` where it has no such field.
    pub annotations: Option<Annotations>,
}

/// Why bytes are not a manifest that this registry takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or JSON of another shape. Says in which field, where there is one.
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
        /// What the pusher's header says.
        content_type: MediaType,
        /// What the document says.
        media_type: MediaType,
    },
    /// A media type that is no manifest's.
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
        /// What the document is.
        media_type: MediaType,
        /// What it should not have.
        field: &'static str,
    },
    /// A field that this kind of manifest must have.
    #[error("the manifest is {media_type}, but has no `{field}`")]
    MissingField {
        /// What the document is.
        media_type: MediaType,
        /// What it lacks.
        field: &'static str,
    },
    /// Neither header, field nor shape tell what it is.
    #[error("the manifest has no mediaType, and no Content-Type was given")]
    UnknownKind,
}

impl Manifest {
    /// Reads a manifest. `content_type` is what the pusher said that it is; without it the
    /// document's `mediaType` tells, or else its shape (as in directories of other registries).
    ///
    /// # Errors
    /// [`ManifestError`], whose text is meant for the person who pushed it.
    pub fn parse(bytes: &[u8], content_type: Option<&MediaType>) -> Result<Self, ManifestError> {
        Document::read(bytes)?.into_manifest(content_type)
    }

    /// The descriptors of all content that must be in the repository before this manifest may be
    /// pushed: config, layers and manifests, without the subject and without what may be kept
    /// elsewhere. The flag tells whether a manifest is meant (`true`) or a blob.
    ///
    /// What an index names by a type that is no manifest's is a blob: buildkit keeps its cache as an
    /// index of layers. No content of such a type could have been pushed as a manifest.
    pub fn parts(&self) -> impl Iterator<Item = (&Descriptor, bool)> {
        let blobs = self.config.iter().chain(self.layers.iter().filter(|layer| !layer.may_be_elsewhere()));
        let children = self.manifests.iter().map(|child| (child, child.media_type.is_manifest()));
        blobs.map(|blob| (blob, false)).chain(children)
    }

    /// The annotation with this key, if it has one.
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

    /// The parts of a manifest as they are named by `descriptor`, and whether each is a manifest.
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
    fn an_image_needs_its_config_and_the_layers_that_are_kept_here() {
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
    fn a_config_is_needed_wherever_else_it_may_be_had() {
        let config = descriptor("text/plain", "config", r#","urls":["https://example.com/"]"#);
        let text =
            format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{config},"layers":[]}}"#);
        assert_eq!(parts(&text), [("config".into(), false)]);
    }

    #[test]
    fn an_index_needs_manifests_and_buildkits_cache_needs_blobs() {
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
    fn an_artifact_manifest_needs_its_blobs() {
        let (blob, subject) =
            (descriptor("text/plain", "first", ""), descriptor(OCI_MANIFEST, "subject", ""));
        let text = format!(r#"{{"mediaType":"{OCI_ARTIFACT}","blobs":[{blob}],"subject":{subject}}}"#);
        assert_eq!(parts(&text), [("first".into(), false)]);
    }
}
