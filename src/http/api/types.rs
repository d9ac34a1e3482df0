//! The JSON of `/api/v1/`, written by the server and read by the command line.

pub mod accounts;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oci::{Digest, MediaType, RepositoryName, Tag};
use registry::check::{Checked, Fault, FaultKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::adopt::Report;
use store::metadata::{
    RepositoryRecord, RepositoryUsage as RepositoryUsageRecord, TagRecord, Usage as UsageRecord, ViewProblem,
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
    /// Number of links below `repositories/` that were missing and are written now.
    pub links_written: u64,
    /// Changes by another program that are adopted now.
    pub changes_adopted: Vec<AdoptedChange>,
    /// Links that could not be adopted. They are left as they are.
    pub not_adopted: Vec<AdoptionProblem>,
    /// Repositories whose links could not be written.
    pub cannot_be_written: Vec<AdoptionProblem>,
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
    /// Whether it is a manifest that claims a wrong size for a part, which a push cannot repair.
    pub is_wrong_claim: bool,
    /// The tags that need it; a repository alone where it is needed by digest.
    pub affected: Vec<String>,
}

impl From<Checked> for CheckReport {
    fn from(checked: Checked) -> Self {
        let Checked { repositories, manifests, blobs, bytes, faults, adopted, problems, view } = checked;
        Self {
            repositories,
            manifests,
            blobs,
            bytes,
            links_written: view.written,
            changes_adopted: Adopted::new(adopted, Vec::new()).changes,
            not_adopted: problems.into_iter().map(AdoptionProblem::from).collect(),
            cannot_be_written: view.blocked.into_iter().map(AdoptionProblem::from).collect(),
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
            FaultKind::PartSize { part, claimed, actual } => {
                format!("is a manifest that says {part} has {claimed} bytes, but it has {actual}")
            }
        };
        let affected = fault.affected.iter().map(|(repository, tag)| match tag {
            Some(tag) => format!("{repository}:{tag}"),
            None => repository.to_string(),
        });
        Self {
            repository: fault.repository.to_string(),
            digest: fault.digest.to_string(),
            fault: text,
            is_wrong_claim: matches!(fault.what, FaultKind::PartSize { .. }),
            affected: affected.collect(),
        }
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

/// Asks for an adoption: `POST /api/v1/adopt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Adopt {}

/// What came of an adoption.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Adopted {
    /// Number of repositories in the data directory of which something is served.
    pub repositories: u64,
    /// Number of their manifests.
    pub manifests: u64,
    /// Number of their tags.
    pub tags: u64,
    /// What another program has changed, and is so here now.
    pub changes: Vec<AdoptedChange>,
    /// Images that were adopted although something of them is not there.
    pub incomplete: Vec<AdoptionProblem>,
    /// What could not be adopted, now or before. It was left as it is.
    pub problems: Vec<AdoptionProblem>,
}

/// Something that another program has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdoptedChange {
    /// The repository.
    #[schemars(with = "String")]
    pub repository: RepositoryName,
    /// What was changed, for people.
    pub change: String,
}

/// Something that is not adopted, or not complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdoptionProblem {
    /// Where it is, relative to `repositories/`.
    pub path: String,
    /// Why.
    pub problem: String,
}

impl From<ViewProblem> for AdoptionProblem {
    fn from(problem: ViewProblem) -> Self {
        Self { path: String::from_utf8_lossy(&problem.path).into_owned(), problem: problem.problem }
    }
}

/// A repository whose links could not be written, and the reason.
impl From<(RepositoryName, String)> for AdoptionProblem {
    fn from((repository, problem): (RepositoryName, String)) -> Self {
        Self { path: repository.to_string(), problem }
    }
}

impl CheckReport {
    /// Whether nothing is missing, damaged, left out or unwritable.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty() && self.not_adopted.is_empty() && self.cannot_be_written.is_empty()
    }
}

impl Adopted {
    /// From what was found, and all that is not adopted.
    #[must_use]
    pub fn new(report: Report, problems: Vec<ViewProblem>) -> Self {
        let changes = report.changes.into_iter();
        let incomplete = report.incomplete.into_iter();
        Self {
            repositories: report.repositories,
            manifests: report.manifests,
            tags: report.tags,
            changes: changes
                .map(|change| AdoptedChange { repository: change.repository, change: change.what })
                .collect(),
            incomplete: incomplete
                .map(|problem| AdoptionProblem {
                    path: problem.path.display().to_string(),
                    problem: problem.what,
                })
                .collect(),
            problems: problems.into_iter().map(AdoptionProblem::from).collect(),
        }
    }
}
