//! Retention: rules, runs and previews.

use oci::{Digest, RepositoryName, Tag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Requests a run (`POST /api/v1/retention/run`) or a preview (`POST /api/v1/retention/preview`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetentionRequest {
    /// Only this repository.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub repository: Option<RepositoryName>,
}

/// The result of a run or a preview.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RetentionReport {
    /// The id of the run, for an undo; `null` for a preview.
    pub run: Option<String>,
    /// Number of repositories that a rule is about.
    pub repositories: u64,
    /// Number of their tags that stay.
    pub kept: u64,
    /// The deleted tags.
    pub deleted: Vec<RetentionDeletion>,
    /// Until when an undo takes the run back, in seconds since 1970; `null` if it cannot (`gc.grace = 0`),
    /// and for a preview.
    #[serde(default)]
    pub undo_until: Option<u64>,
}

/// A tag that a rule deletes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RetentionDeletion {
    #[schemars(with = "String")]
    pub repository: RepositoryName,
    #[schemars(with = "String")]
    pub tag: Tag,
    #[schemars(with = "String")]
    pub digest: Digest,
    /// The rule, as text for people.
    pub reason: String,
    /// Whether the image goes with its last tag.
    pub with_manifest: bool,
}

/// Requests to take back a run: `POST /api/v1/retention/undo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UndoRun {
    /// The id of the run.
    pub run: String,
}

/// The result of taking back a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunUndone {
    /// Number of tags that are back.
    pub restored: u64,
    /// The tags of the run.
    pub tags: Vec<RunTag>,
}

/// A tag that a run had deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunTag {
    #[schemars(with = "String")]
    pub repository: RepositoryName,
    #[schemars(with = "String")]
    pub tag: Tag,
    #[schemars(with = "String")]
    pub digest: Digest,
    /// Whether the tag is back.
    pub restored: bool,
    /// The reason why it is not, or why it cannot be pulled; otherwise empty.
    pub reason: String,
    /// Whether content of the image is missing or damaged, so that a pull of the tag fails.
    #[serde(default)]
    pub incomplete: bool,
}

/// The retention rules of a user or an organisation for its repositories:
/// `GET` and `PUT /api/v1/retention/rules/<name>`. They apply after those of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetentionRules {
    /// The first rule that selects a tag decides on it.
    pub rules: Vec<RetentionRule>,
}

/// A retention rule. It keeps the tags that meet one of its conditions, and deletes the others that it
/// selects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetentionRule {
    /// Names or patterns of repositories, such as `ann/*`.
    pub repositories: Vec<String>,
    /// Tags: globs, regular expressions between slashes, or version ranges.
    #[serde(default = "all_tags")]
    pub tags: Vec<String>,
    /// Keeps this number of the newest tags in each repository.
    #[serde(default)]
    pub keep_newest: Option<u64>,
    /// The order of `keep_newest`: `push` or `version`.
    #[serde(default = "by_push")]
    pub by: String,
    /// Keeps tags that were pushed within this number of seconds.
    #[serde(default)]
    pub keep_pushed_within: Option<u64>,
    /// Keeps tags that were pushed or pulled within this number of seconds.
    #[serde(default)]
    pub keep_pulled_within: Option<u64>,
    /// Keeps these tags.
    #[serde(default)]
    pub keep: Vec<String>,
}

fn all_tags() -> Vec<String> {
    vec!["*".to_owned()]
}

fn by_push() -> String {
    "push".to_owned()
}
