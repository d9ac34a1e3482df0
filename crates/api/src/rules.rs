//! Rules on tags: immutable and protected tags.

use accounts::AccountName;
use oci::{RepositoryName, Tag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::RetentionRule;

/// The rules on tags in force, and a preview of another one: `GET /api/v1/rules?repositories=&tags=`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rules {
    /// Tags that cannot be moved or deleted, from `[[immutable]]`.
    pub immutable: Vec<TagRule>,
    /// Tags that only administrators may delete, from `[[protected]]`.
    pub protected: Vec<TagRule>,
    /// The retention rules, in the order in which they apply: those of the configuration, then those of
    /// owners.
    #[serde(default)]
    pub retention: Vec<RetentionRuleInForce>,
    /// The tags that the selectors of the request select now.
    pub preview: Option<RulePreview>,
}

/// A retention rule with its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RetentionRuleInForce {
    /// `configuration`, `server` if an administrator has set it for all repositories, or `owner`.
    pub origin: String,
    /// The user or the organisation that has set it.
    #[schemars(with = "Option<String>")]
    pub owner: Option<AccountName>,
    pub rule: RetentionRule,
}

/// A rule on tags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TagRule {
    /// Selectors of repositories.
    pub repositories: Vec<String>,
    /// Selectors of tags.
    pub tags: Vec<String>,
}

/// The tags that a rule selects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RulePreview {
    /// The first of them, by repository and tag.
    pub tags: Vec<SelectedTag>,
    /// Whether there are more.
    pub more: bool,
}

/// A tag that a rule selects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SelectedTag {
    #[schemars(with = "String")]
    pub repository: RepositoryName,
    #[schemars(with = "String")]
    pub tag: Tag,
}
