//! Images for tests, and the documents that describe them.

use oci::{Algorithm, Digest};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST};

/// A pushed image.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// The exact bytes of the manifest.
    pub(crate) manifest: Vec<u8>,
    pub(crate) digest: Digest,
    /// The config and the layers: digest and bytes.
    pub(crate) blobs: Vec<(Digest, Vec<u8>)>,
}

impl Image {
    /// Returns a descriptor of the manifest, for an index or as a subject.
    pub(crate) fn part(&self) -> Part {
        Part { media_type: OCI_MANIFEST.to_owned(), digest: self.digest, size: self.manifest.len() }
    }
}

/// The fields of a descriptor.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: usize,
}

impl Part {
    pub(crate) fn of(media_type: &str, content: &[u8]) -> Self {
        let digest = Algorithm::Sha256.digest(content);
        Self { media_type: media_type.to_owned(), digest, size: content.len() }
    }

    pub(crate) fn config(content: &[u8]) -> Self {
        Self::of(OCI_CONFIG, content)
    }

    pub(crate) fn layer(content: &[u8]) -> Self {
        Self::of(OCI_LAYER, content)
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.size })
    }
}

/// Returns an OCI image manifest, to which a test may add fields.
pub(crate) fn image_manifest(config: &Part, layers: &[Part]) -> Value {
    let layers: Vec<Value> = layers.iter().map(Part::json).collect();
    json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config.json(), "layers": layers })
}

pub(crate) fn index_manifest(manifests: &[Part]) -> Value {
    let manifests: Vec<Value> = manifests.iter().map(Part::json).collect();
    json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests })
}

/// Returns random bytes.
pub(crate) fn random(length: usize) -> Vec<u8> {
    let mut state = Uuid::new_v4().as_u128();
    std::iter::repeat_with(|| {
        state =
            state.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(0x5851_f42d_4c95_7f2d);
        (state >> 120) as u8
    })
    .take(length)
    .collect()
}
