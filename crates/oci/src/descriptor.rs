//! Descriptors: how a manifest names the content that it is made of.
//!
//! image-spec v1.1, descriptor.md.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, MediaType};

/// Annotations: a map of strings to strings, in the order of its keys.
pub type Annotations = BTreeMap<String, String>;

/// A descriptor, with the fields that a registry reads or answers. Unknown fields are skipped: the
/// manifest's own bytes keep them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The type of the content.
    pub media_type: MediaType,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content in bytes. JSON has it as a signed number; a negative one is refused.
    pub size: u64,
    /// Places outside the registry from which the content may be had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Annotations of the descriptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
    /// The type of artifact that the content is, where it is a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// Whether the content may be kept elsewhere, so that a manifest is complete without it.
    #[must_use]
    pub fn may_be_elsewhere(&self) -> bool {
        self.media_type.is_nondistributable() || !self.urls.is_empty()
    }
}
