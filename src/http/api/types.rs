//! The JSON of `/api/v1/`, written by the server and read by the command line.

pub mod accounts;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oci::{Digest, MediaType, RepositoryName, Tag};
use registry::check::{Checked, Fault, FaultKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::metadata::{
    RepositoryRecord, RepositoryUsage as RepositoryUsageRecord, TagRecord, Usage as UsageRecord,
};

/// A page of repositories: `GET /api/v1/repositories?n=&last=`. If there are more, the answer has a `Link`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Repositories {
    /// In the order of their names.
    pub repositories: Vec<Repository>,
    /// Whether there are more after these.
    pub more: bool,
}

/// A repository: `GET /api/v1/repositories/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Repository {
    /// Its name.
    #[schemars(with = "String")]
    pub name: RepositoryName,
    /// What its images say of themselves, perhaps nothing.
    pub description: String,
    /// Number of tags. A gateway keeps no images, and says `null` here and in the fields below.
    pub tags: Option<u64>,
    /// Number of manifests.
    pub manifests: Option<u64>,
    /// Bytes of its manifests and of the blobs that they need, each counted once.
    pub bytes: Option<u64>,
    /// When something was last pushed to it, in seconds since 1970.
    pub updated_at: Option<u64>,
}

impl Repository {
    /// A repository whose content is behind a gateway, so that nothing but its name and description is known.
    pub fn behind_gateway(record: RepositoryRecord) -> Self {
        Self {
            name: record.name,
            description: record.description,
            tags: None,
            manifests: None,
            bytes: None,
            updated_at: None,
        }
    }
}

/// A page of tags: `GET /api/v1/repositories/<name>/_tags?n=&last=&all=true`. If there are more, the answer has a
/// `Link`. Fallback tags of clients without the referrers API are among them only with `all`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tags {
    /// The repository.
    #[schemars(with = "String")]
    pub name: RepositoryName,
    /// In the order of their bytes.
    pub tags: Vec<TagEntry>,
    /// Whether there are more after these.
    pub more: bool,
}

/// A tag and what it points to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TagEntry {
    /// The tag.
    #[schemars(with = "String")]
    pub tag: Tag,
    /// The digest of the manifest that it points to.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// The media type of that manifest.
    #[schemars(with = "String")]
    pub media_type: MediaType,
    /// The size of that manifest alone, in bytes.
    pub size: u64,
    /// When it was last pointed somewhere, in seconds since 1970.
    pub updated_at: u64,
}

/// Space used by the whole registry: `GET /api/v1/usage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Number of repositories that hold a manifest.
    pub repositories: u64,
    /// Number of distinct manifests and blobs that images need.
    pub blobs: u64,
    /// Their bytes, each counted once.
    pub bytes: u64,
    /// Bytes of all other content, which no image needs; 0 for whoever may not see everything.
    pub unreferenced_bytes: u64,
}

/// A page of the space that repositories take: `GET /api/v1/usage/repositories?n=&last=`. If there are more, the
/// answer has a `Link`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepositoryUsages {
    /// In the order of their names.
    pub repositories: Vec<RepositoryUsage>,
    /// Whether there are more after these.
    pub more: bool,
}

/// The space that one repository takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepositoryUsage {
    /// Its name.
    #[schemars(with = "String")]
    pub name: RepositoryName,
    /// Bytes of its manifests and of the blobs that they need, each counted once.
    pub bytes: u64,
    /// The part of `bytes` that the images of no other repository need.
    pub own_bytes: u64,
}

/// A line of the answer to `POST /api/v1/check?read=`: any number of `progress`, then one of the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckLine {
    /// How far the check is.
    Progress(CheckProgress),
    /// What it found.
    Report(CheckReport),
    /// Why it could not be finished.
    Failed(String),
}

/// How far a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckProgress {
    /// Number of repositories that are done.
    pub repositories: u64,
    /// Number of bytes that were looked at.
    pub bytes: u64,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckReport {
    /// Number of repositories with images.
    pub repositories: u64,
    /// Number of distinct manifests: images, indexes and artifacts.
    pub manifests: u64,
    /// Number of distinct configs and layers.
    pub blobs: u64,
    /// Bytes of all of these, each counted once.
    pub bytes: u64,
    /// Links below `repositories/` that were missing or wrong, and are right now.
    pub links_written: u64,
    /// Links below `repositories/` to what is not there, which are gone now.
    pub links_removed: u64,
    /// Repositories below `repositories/` that are not of this registry, and were left as they are.
    pub unknown_repositories: Vec<String>,
    /// Content that is not as it should be.
    pub faults: Vec<CheckFault>,
}

/// Content that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckFault {
    /// A repository that needs it.
    pub repository: String,
    /// Its digest.
    pub digest: String,
    /// What is wrong with it.
    pub fault: String,
}

impl From<Checked> for CheckReport {
    fn from(checked: Checked) -> Self {
        let Checked { repositories, manifests, blobs, bytes, faults, view } = checked;
        Self {
            repositories,
            manifests,
            blobs,
            bytes,
            links_written: view.written,
            links_removed: view.removed,
            unknown_repositories: view.unknown.iter().map(ToString::to_string).collect(),
            faults: faults.into_iter().map(CheckFault::from).collect(),
        }
    }
}

impl From<Fault> for CheckFault {
    fn from(fault: Fault) -> Self {
        let text = match fault.what {
            FaultKind::Missing => "is missing".to_owned(),
            FaultKind::Size { expected, actual } => format!("has {actual} bytes instead of {expected}"),
            FaultKind::Digest { actual } => format!("is damaged: its digest is {actual}"),
        };
        Self { repository: fault.repository.to_string(), digest: fault.digest.to_string(), fault: text }
    }
}

impl From<RepositoryUsageRecord> for RepositoryUsage {
    fn from(record: RepositoryUsageRecord) -> Self {
        Self { name: record.name, bytes: record.bytes, own_bytes: record.own_bytes }
    }
}

impl From<RepositoryRecord> for Repository {
    fn from(record: RepositoryRecord) -> Self {
        Self {
            name: record.name,
            description: record.description,
            tags: Some(record.tags),
            manifests: Some(record.manifests),
            bytes: Some(record.bytes),
            updated_at: Some(seconds(record.updated_at)),
        }
    }
}

impl From<TagRecord> for TagEntry {
    fn from(record: TagRecord) -> Self {
        Self {
            tag: record.tag,
            digest: record.manifest.digest,
            media_type: record.manifest.media_type,
            size: record.manifest.size,
            updated_at: seconds(record.updated_at),
        }
    }
}

impl From<UsageRecord> for Usage {
    fn from(record: UsageRecord) -> Self {
        Self {
            repositories: record.repositories,
            blobs: record.blobs,
            bytes: record.bytes,
            unreferenced_bytes: record.unreferenced_bytes,
        }
    }
}

/// Seconds since 1970; a clock that was set before that counts as 0.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
