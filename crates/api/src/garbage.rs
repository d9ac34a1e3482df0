//! Garbage collection and erasure.

use oci::{Digest, RepositoryName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A line of the response to `POST /api/v1/gc`: any number of `progress`, then one of the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GarbageLine {
    /// The progress so far.
    Progress(Collected),
    /// The result.
    Report(GarbageReport),
    /// The reason why the collection could not be finished.
    Failed(String),
}

/// The work of a collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Collected {
    /// Manifests that were removed from a repository, or whose grace period ended.
    pub manifests: u64,
    /// Blobs that were removed from a repository.
    pub links: u64,
    /// Files that were deleted: manifests, configs and layers.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Unfinished uploads that had expired.
    pub uploads: u64,
    /// Manifests and blobs that were left, because a push may be about to need them.
    pub leased: u64,
}

/// The result of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GarbageReport {
    pub collected: Collected,
    /// The space that is kept for now.
    pub kept: GarbageKept,
}

/// Space that a collection does not free yet, with the settings that decide about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GarbageKept {
    /// Deleted images. They can be restored, and go after `gc.grace`.
    pub deleted: GarbageSpace,
    /// Images without a tag. They go some time after their last push or pull if `gc.untagged` is set.
    pub untagged: GarbageSpace,
    /// Uploaded blobs that no image needs yet. They go after `registry.upload_expiry`.
    pub unused: GarbageSpace,
    /// The setting `gc.grace`, in seconds.
    pub grace: u64,
    /// The setting `gc.untagged`, in seconds.
    pub untagged_after: Option<u64>,
}

/// Some manifests and the space that nothing else needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GarbageSpace {
    /// Number of manifests.
    pub manifests: u64,
    /// Bytes of content that nothing else needs.
    pub bytes: u64,
    /// Whether there is more than these.
    pub more: bool,
}

/// The state of garbage collection: `GET /api/v1/gc`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GarbageStatus {
    /// The end of the last collection since the server was started.
    pub last_at: Option<u64>,
    /// The work of the last collection.
    pub last: Option<Collected>,
    /// The collection that has begun and not ended.
    #[serde(default)]
    pub running: Option<RunningCollection>,
    /// Deletions of repositories that have begun and not ended.
    #[serde(default)]
    pub deletions: Vec<RunningDeletion>,
    /// The interval of collections in seconds; 0 if there are none in the background.
    pub interval: u64,
    pub kept: GarbageKept,
}

/// A collection that has begun and not ended. After a restart it resumes by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunningCollection {
    pub started_at: u64,
    /// The present step: `trash`, `manifests`, `links` or `files`.
    pub step: String,
    pub collected: Collected,
}

/// The deletion of a repository. After a restart it resumes by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunningDeletion {
    pub repository: String,
    pub started_at: u64,
    /// Number of tags, manifests and blobs that were removed so far.
    pub removed: u64,
}

/// The removals that a collection would make: `POST /api/v1/gc?dry_run=true`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GarbagePreview {
    pub removals: Vec<GarbageRemoval>,
    /// Number of files among them.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// Whether there are more removals than these.
    pub more: bool,
    /// Number of manifests and blobs that are left, because a push may be about to need them.
    #[serde(default)]
    pub leased: u64,
}

/// A removal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GarbageRemoval {
    /// The repository that loses a manifest or blob; none if a file is deleted.
    pub repository: Option<String>,
    #[schemars(with = "String")]
    pub digest: Digest,
    /// `manifest`, `blob` or `file`.
    pub kind: String,
    pub bytes: u64,
    /// The reason: `deleted`, `untagged`, `unused` or `unreferenced`.
    #[serde(default)]
    pub cause: String,
    /// The reason, as text for people.
    pub reason: String,
}

/// The chain that keeps some content: `GET /api/v1/gc/explain?digest=&repository=`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    #[schemars(with = "String")]
    pub digest: Digest,
    /// Its size; none if it is not stored.
    pub bytes: Option<u64>,
    /// The chains that keep it, one for each of at most 20 repositories.
    pub chains: Vec<KeepingChain>,
    /// The time at which content goes that nothing keeps.
    pub goes_at: Option<u64>,
}

/// A chain that keeps content, from a tag down to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeepingChain {
    /// The repository; none for an upload in progress.
    pub repository: Option<String>,
    pub links: Vec<ChainLink>,
    /// The time at which the chain ends; none if only a deletion ends it.
    pub until: Option<u64>,
    /// The setting that decides about this time.
    pub setting: Option<String>,
}

/// A link of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChainLink {
    /// `tag`, `manifest`, `subject`, `untagged`, `deleted`, `blob` or `upload`.
    pub kind: String,
    /// The tag or the digest.
    pub name: String,
}

/// Erases content at once: `POST /api/v1/erase`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Erase {
    #[schemars(with = "String")]
    pub repository: RepositoryName,
    /// A manifest or a blob of the repository, also of its deleted images.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// Also in all other repositories.
    #[serde(default)]
    pub everywhere: bool,
}

/// The result of an erasure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Erased {
    #[schemars(with = "String")]
    pub digest: Digest,
    pub bytes: u64,
    /// The repositories that held the content, and no longer do.
    pub repositories: Vec<String>,
    /// Other repositories that still hold it.
    pub held_by: Vec<String>,
    /// The tags that pointed to it, such as `team/app:1.4`. They are gone as well.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Whether its file is deleted.
    pub deleted: bool,
}
