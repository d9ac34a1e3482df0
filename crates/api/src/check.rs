//! The integrity check, and the adoption of changes that other programs made in the data directory.

use oci::RepositoryName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A line of the response to `POST /api/v1/check?read=&repair=`: any number of `progress`, then one of the
/// others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(clippy::large_enum_variant, reason = "one report ends the lines of a check")]
pub enum CheckLine {
    /// The progress so far.
    Progress(CheckProgress),
    /// The result.
    Report(CheckReport),
    /// The reason why the check could not be finished.
    Failed(String),
}

/// The progress of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckProgress {
    /// Number of repositories checked so far.
    pub repositories: u64,
    /// Number of bytes checked so far.
    pub bytes: u64,
}

/// The result of a check.
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
    /// Number of missing links below `repositories/` that were written again.
    pub links_written: u64,
    /// Changes by another program that were adopted.
    pub changes_adopted: Vec<AdoptedChange>,
    /// Links that could not be adopted. They are left as they are.
    pub not_adopted: Vec<AdoptionProblem>,
    /// Repositories whose links could not be written.
    pub cannot_be_written: Vec<AdoptionProblem>,
    /// Blobs whose files could not be written. They are served from the database.
    #[serde(default)]
    pub unwritten: Vec<UnwrittenBlob>,
    /// Missing or damaged content.
    pub faults: Vec<CheckFault>,
    /// Number of files below `blobs/` that no record knows.
    pub orphan_files: u64,
    /// Bytes of these files.
    pub orphan_bytes: u64,
    /// Number of damaged blobs that no image requires: cached layers, and blobs without an image. Their next
    /// use fetches or pushes them again.
    #[serde(default)]
    pub replaceable_files: u64,
    /// Bytes of these blobs.
    #[serde(default)]
    pub replaceable_bytes: u64,
    /// Wrong counters.
    pub counters: Vec<WrongCounter>,
    /// The quotas whose use was counted wrongly.
    #[serde(default)]
    pub quotas: Vec<String>,
    /// The reading of all content, if it was requested.
    pub reading: Option<CheckReading>,
    /// Whether faults were repaired as far as possible.
    pub is_repair: bool,
}

impl CheckReport {
    /// Whether nothing is missing, damaged, left out or unwritable, after the repair if there was one.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.faults.iter().all(|fault| fault.is_mended)
            && self.not_adopted.is_empty()
            && self.cannot_be_written.is_empty()
            && self.unwritten.is_empty()
            && ((self.counters.is_empty() && self.quotas.is_empty()) || self.is_repair)
    }
}

/// A blob whose file could not be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnwrittenBlob {
    pub digest: String,
    /// The reason, as text for people.
    pub problem: String,
}

/// The reading of all content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckReading {
    /// Number of bytes read.
    pub bytes: u64,
    /// Number of bytes that an earlier reading had read before it was interrupted.
    pub resumed_bytes: u64,
}

/// A repository whose number of manifests was counted wrongly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WrongCounter {
    pub repository: String,
    pub recorded: i64,
    pub actual: i64,
}

/// Missing or damaged content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckFault {
    /// A repository that needs the content.
    pub repository: String,
    pub digest: String,
    /// The fault, as text for people.
    pub fault: String,
    /// Whether it is a manifest that claims a wrong size for a part, which a push cannot repair.
    pub is_wrong_claim: bool,
    /// The tags that need the content; a repository alone where it is needed by digest.
    pub affected: Vec<String>,
    /// The actions of the repair, as text for people.
    pub repair: Option<String>,
    /// Whether the repair has removed the fault.
    pub is_mended: bool,
    /// The actions that are left to a person, as text. `None` if nothing is left to do.
    pub advice: Option<String>,
}

/// Requests an adoption: `POST /api/v1/adopt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Adopt {}

/// The result of an adoption.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Adopted {
    /// Number of repositories in the data directory that have content to serve.
    pub repositories: u64,
    /// Number of their manifests.
    pub manifests: u64,
    /// Number of their tags.
    pub tags: u64,
    /// Changes by another program that were adopted.
    pub changes: Vec<AdoptedChange>,
    /// Images that were adopted although some of their content is missing.
    pub incomplete: Vec<AdoptionProblem>,
    /// Links that could not be adopted, now or before. They are left as they are.
    pub problems: Vec<AdoptionProblem>,
}

/// A change by another program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdoptedChange {
    #[schemars(with = "String")]
    pub repository: RepositoryName,
    /// The change, as text for people.
    pub change: String,
}

/// Content or links that are not adopted, or not complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdoptionProblem {
    /// The path relative to `repositories/`.
    pub path: String,
    /// The reason, as text for people.
    pub problem: String,
}
