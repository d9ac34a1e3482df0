//! Quotas and their use.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The quotas that the caller may see: `GET /api/v1/usage/quotas`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Quotas {
    /// In the order of the configuration.
    pub quotas: Vec<QuotaEntry>,
}

/// A quota.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuotaEntry {
    /// The repositories that it limits together: `owner ann`, `repositories team/**` or `repository
    /// team/app`.
    pub scope: String,
    /// Bytes of the manifests, configs and layers in these repositories. Content that several of them share
    /// counts once.
    pub bytes: u64,
    /// The limit in bytes; `null` if there is none.
    pub max_bytes: Option<u64>,
    /// Number of tags in these repositories.
    pub tags: u64,
    /// The limit on the number of tags; `null` if there is none.
    pub max_tags: Option<u64>,
}
