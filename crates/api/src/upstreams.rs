//! Upstream registries whose content this one caches.

use oci::RepositoryName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The response to `GET /api/v1/upstreams`: every upstream, in the order of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Upstreams {
    pub upstreams: Vec<Upstream>,
}

/// An upstream and its cached content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Upstream {
    /// The first part of its repositories' names here.
    #[schemars(with = "String")]
    pub name: RepositoryName,
    /// `ok`, `limited` while it asks to wait, or `down` while it is not called after failures.
    pub state: UpstreamState,
    pub urls: Vec<UpstreamUrl>,
    /// Whether names without an upstream mean it.
    pub default: bool,
    /// How long a tag is served without asking, in seconds.
    pub fresh_seconds: u64,
    /// The limit of the cached bytes.
    pub max_bytes: Option<u64>,
    /// Number of cached repositories.
    pub repositories: u64,
    /// Number of cached tags.
    pub tags: u64,
    /// Number of cached manifests and blobs.
    pub contents: u64,
    /// Bytes of these, each counted once.
    pub bytes: u64,
    /// Answers from the cache since the start.
    pub hits: u64,
    /// Answers from the upstream.
    pub misses: u64,
    /// Answers from the cache that the upstream could not confirm.
    pub stale: u64,
    /// Requests for the digest of a tag.
    pub revalidations: u64,
    /// Requests for content.
    pub fetches: u64,
    /// Bytes received from it.
    pub received_bytes: u64,
    /// Blobs that are being fetched now.
    pub fills: u64,
}

/// The state of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamState {
    Ok,
    Limited,
    Down,
}

/// One URL of an upstream, with its state since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UpstreamUrl {
    pub url: String,
    pub state: UpstreamState,
    /// Number of answers.
    pub requests: u64,
    /// Number of failures.
    pub failures: u64,
    /// Number of answers that asked to wait (429).
    pub limited: u64,
    /// The last failure.
    pub last_failure: Option<String>,
    /// Its time.
    pub last_failure_at: Option<u64>,
    /// The end of the wait that it asked for.
    pub limited_until: Option<u64>,
    /// The requests that it allows, from `ratelimit-limit`.
    pub rate_limit: Option<u64>,
    /// The rest of these.
    pub rate_remaining: Option<u64>,
}

/// The response to `POST /api/v1/upstreams/{upstream}/test`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UpstreamTest {
    #[schemars(with = "String")]
    pub name: RepositoryName,
    pub urls: Vec<UpstreamProbe>,
}

/// The result for one URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UpstreamProbe {
    pub url: String,
    /// Whether it answers and accepts the credentials.
    pub ok: bool,
    /// The time until the answer.
    pub milliseconds: u64,
    /// The reason of a failure.
    pub error: Option<String>,
}

/// The response to `DELETE /api/v1/upstreams/{upstream}/cache`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Purged {
    /// The repositories that were removed.
    #[schemars(with = "Vec<String>")]
    pub repositories: Vec<RepositoryName>,
}
