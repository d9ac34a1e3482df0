//! Manifests: what an image, an index or an artifact is made of.
//!
//! image-spec v1.1, manifest.md and image-index.md; Docker's schema 2 and manifest lists. A
//! manifest is read once, to learn what it refers to; what is kept and handed out are the bytes
//! that were pushed.

use serde::Deserialize;

use crate::descriptor::Annotations;
use crate::media_type::{DOCKER_LIST, DOCKER_MANIFEST, OCI_ARTIFACT, OCI_INDEX, OCI_MANIFEST};
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
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or JSON of another shape.
    #[error("the manifest is not well formed: {0}")]
    Malformed(#[from] serde_json::Error),
    /// `schemaVersion` is 1: the format that was given up in 2017.
    #[error("Docker's schema 1 is not supported; push the image again with a client of this decade")]
    SchemaOne,
    /// `schemaVersion` is missing or unknown.
    #[error("the manifest's schemaVersion must be 2")]
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
    #[error("{0} is not the media type of a manifest")]
    UnsupportedMediaType(MediaType),
    /// Fields of an image and of an index in one document (CVE-2021-41190).
    #[error("the manifest has both `{0}` and `{1}`; it can be an image or an index, not both")]
    TwoDocuments(&'static str, &'static str),
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: Option<i64>,
    media_type: Option<MediaType>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    blobs: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    annotations: Option<Annotations>,
}

impl Manifest {
    /// Reads a manifest. `content_type` is what the pusher said that it is; without it the
    /// document's `mediaType` tells, or else its shape (as in directories of other registries).
    ///
    /// # Errors
    /// [`ManifestError`], whose text is meant for the person who pushed it.
    pub fn parse(bytes: &[u8], content_type: Option<&MediaType>) -> Result<Self, ManifestError> {
        let document: Document = serde_json::from_slice(bytes)?;
        match document.schema_version {
            Some(2) => {}
            Some(1) => return Err(ManifestError::SchemaOne),
            // The artifact manifest is the one that has no schemaVersion.
            None if document.media_type.as_ref().is_some_and(|t| t.as_str() == OCI_ARTIFACT) => {}
            _ => return Err(ManifestError::SchemaVersion),
        }
        let media_type = match (content_type, &document.media_type) {
            (Some(said), Some(own)) if said != own => {
                return Err(ManifestError::MediaTypeMismatch {
                    content_type: said.clone(),
                    media_type: own.clone(),
                });
            }
            (Some(known), _) | (None, Some(known)) => known.clone(),
            (None, None) => {
                let shape = if document.manifests.is_some() {
                    OCI_INDEX
                } else if document.config.is_some() {
                    OCI_MANIFEST
                } else {
                    return Err(ManifestError::UnknownKind);
                };
                shape.parse().map_err(|_| ManifestError::UnknownKind)?
            }
        };
        let kind = match media_type.as_str() {
            OCI_MANIFEST | DOCKER_MANIFEST => Kind::Image,
            OCI_INDEX | DOCKER_LIST => Kind::Index,
            OCI_ARTIFACT => Kind::Artifact,
            _ => return Err(ManifestError::UnsupportedMediaType(media_type)),
        };
        document.into_manifest(media_type, kind)
    }

    /// The descriptors of all content that must be in the repository before this manifest may be
    /// pushed: config, layers and manifests, without the subject and without what may be kept
    /// elsewhere. The flag tells whether a manifest is meant (`true`) or a blob.
    pub fn parts(&self) -> impl Iterator<Item = (&Descriptor, bool)> {
        let blobs = self.config.iter().chain(self.layers.iter().filter(|layer| !layer.may_be_elsewhere()));
        blobs.map(|blob| (blob, false)).chain(self.manifests.iter().map(|manifest| (manifest, true)))
    }

    /// The description that people see in a search: the annotation of that name, if there.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

impl Document {
    fn into_manifest(self, media_type: MediaType, kind: Kind) -> Result<Manifest, ManifestError> {
        let exclusive = |theirs: &[(&'static str, bool)], ours: &'static str| {
            match theirs.iter().find(|(_, present)| *present) {
                Some((field, _)) => Err(ManifestError::TwoDocuments(ours, field)),
                None => Ok(()),
            }
        };
        let missing = |field| ManifestError::MissingField { media_type: media_type.clone(), field };
        let (config, layers, manifests) = match kind {
            Kind::Image => {
                exclusive(&[("manifests", self.manifests.is_some()), ("blobs", self.blobs.is_some())], "layers")?;
                let config = self.config.ok_or_else(|| missing("config"))?;
                (Some(config), self.layers.ok_or_else(|| missing("layers"))?, Vec::new())
            }
            Kind::Index => {
                let image = [("layers", self.layers.is_some()), ("config", self.config.is_some())];
                exclusive(&image, "manifests")?;
                (None, Vec::new(), self.manifests.ok_or_else(|| missing("manifests"))?)
            }
            Kind::Artifact => {
                let others = [("layers", self.layers.is_some()), ("manifests", self.manifests.is_some())];
                exclusive(&others, "blobs")?;
                (None, self.blobs.unwrap_or_default(), Vec::new())
            }
        };
        let artifact_type = self
            .artifact_type
            .filter(|own| !own.is_empty())
            .or_else(|| config.as_ref().map(|config| config.media_type.as_str().to_owned()));
        Ok(Manifest {
            media_type,
            kind,
            config,
            layers,
            manifests,
            subject: self.subject,
            artifact_type,
            annotations: self.annotations,
        })
    }
}
