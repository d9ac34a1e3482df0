//! The operator's rules on tags and space: immutable and protected tags, quotas, retention.
//!
//! The store asks them in the transaction of a change, see [`ChangeRules`].

mod preview;
pub mod retention;
mod schedule;
mod selector;
pub(crate) mod version;

use accounts::{AccountName, Actor};
use oci::{RepositoryName, Tag};
use store::metadata::{ChangeRules, Quota, QuotaUsage, TagRefusal};

pub use retention::{KeepBy, RetentionRule};
pub use schedule::{Schedule, ScheduleError};
pub use selector::{RepositorySelector, SelectorError, TagSelector};

/// All rules of the configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// Tags that cannot be moved or deleted.
    pub immutable: Vec<TagRule>,
    /// Tags that only administrators may delete.
    pub protected: Vec<TagRule>,
    /// Limits on space and tags.
    pub quotas: Vec<QuotaRule>,
}

/// A rule on tags.
#[derive(Clone, Debug, PartialEq)]
pub struct TagRule {
    /// The repositories that it is about.
    pub repositories: Vec<RepositorySelector>,
    /// The tags that it is about.
    pub tags: Vec<TagSelector>,
}

/// A limit on the repositories that it selects, together or each.
#[derive(Clone, Debug, PartialEq)]
pub struct QuotaRule {
    /// The repositories.
    pub scope: QuotaScope,
    /// The limit in bytes.
    pub bytes: Option<u64>,
    /// The limit on the number of tags.
    pub tags: Option<u64>,
}

/// The repositories of a quota.
#[derive(Clone, Debug, PartialEq)]
pub enum QuotaScope {
    /// All repositories below the name of an account, together.
    Owner(AccountName),
    /// The selected repositories.
    Repositories {
        /// The repositories, by name.
        selector: RepositorySelector,
        /// Whether the limit is for each of them. Otherwise it is for all together.
        each: bool,
    },
}

/// The name of the quota of a single repository begins with this.
pub(crate) const REPOSITORY_SCOPE: &str = "repository ";

impl TagRule {
    fn concerns(&self, repository: &RepositoryName) -> bool {
        self.repositories.iter().any(|selector| selector.matches(repository))
    }

    /// The selector that selects the tag.
    fn selects(&self, repository: &RepositoryName, tag: &Tag) -> Option<&TagSelector> {
        if self.concerns(repository) { self.tags.iter().find(|selector| selector.matches(tag)) } else { None }
    }
}

impl QuotaRule {
    fn of(&self, repository: &RepositoryName) -> Option<Quota> {
        let scope = match &self.scope {
            QuotaScope::Owner(owner) => {
                let is_owned = repository.as_str().split('/').next() == Some(owner.as_str());
                is_owned.then(|| format!("owner {owner}"))
            }
            QuotaScope::Repositories { selector, each } if selector.matches(repository) => Some(if *each {
                format!("{REPOSITORY_SCOPE}{repository}")
            } else {
                format!("repositories {selector}")
            }),
            QuotaScope::Repositories { .. } => None,
        };
        Some(Quota { scope: scope?, max_bytes: self.bytes, max_tags: self.tags })
    }
}

impl Rules {
    /// The quotas whose scope is known without a repository.
    #[must_use]
    pub fn fixed_quotas(&self) -> Vec<Quota> {
        let scope = |rule: &QuotaRule| match &rule.scope {
            QuotaScope::Owner(owner) => Some(format!("owner {owner}")),
            QuotaScope::Repositories { selector, each: false } => Some(format!("repositories {selector}")),
            QuotaScope::Repositories { .. } => None,
        };
        let quota = |rule: &QuotaRule| {
            Some(Quota { scope: scope(rule)?, max_bytes: rule.bytes, max_tags: rule.tags })
        };
        self.quotas.iter().filter_map(quota).collect()
    }

    /// Whether a quota is for each repository that it selects.
    pub(crate) fn has_quotas_of_single_repositories(&self) -> bool {
        self.quotas.iter().any(|rule| matches!(rule.scope, QuotaScope::Repositories { each: true, .. }))
    }

    /// The reason why nobody, or only an administrator, may delete a tag.
    pub(crate) fn keeps(&self, repository: &RepositoryName, tag: &Tag) -> Option<TagRefusal> {
        let find = |rules: &[TagRule], is_immutable| {
            let selector = rules.iter().find_map(|rule| rule.selects(repository, tag))?;
            Some(TagRefusal { is_immutable, pattern: selector.to_string() })
        };
        find(&self.immutable, true).or_else(|| find(&self.protected, false))
    }
}

impl ChangeRules for Rules {
    fn may_move(&self, repository: &RepositoryName, tag: &Tag, _actor: &Actor) -> Result<(), TagRefusal> {
        match self.keeps(repository, tag) {
            Some(refusal) if refusal.is_immutable => Err(refusal),
            _ => Ok(()),
        }
    }

    fn may_delete(&self, repository: &RepositoryName, tag: &Tag, actor: &Actor) -> Result<(), TagRefusal> {
        match self.keeps(repository, tag) {
            Some(refusal) if refusal.is_immutable || !actor.is_administrator => Err(refusal),
            _ => Ok(()),
        }
    }

    fn has_tag_rules(&self, repository: &RepositoryName) -> bool {
        self.immutable.iter().chain(&self.protected).any(|rule| rule.concerns(repository))
    }

    fn quotas(&self, repository: &RepositoryName) -> Vec<Quota> {
        let mut quotas: Vec<Quota> = Vec::new();
        for quota in self.quotas.iter().filter_map(|rule| rule.of(repository)) {
            match quotas.iter_mut().find(|other| other.scope == quota.scope) {
                // Two rules for one scope: the lower limits count.
                Some(other) => {
                    other.max_bytes = lower(other.max_bytes, quota.max_bytes);
                    other.max_tags = lower(other.max_tags, quota.max_tags);
                }
                None => quotas.push(quota),
            }
        }
        quotas
    }

    fn quotas_text(&self) -> String {
        // The limits do not matter for the counters.
        let scopes: Vec<String> = self
            .quotas
            .iter()
            .map(|rule| match &rule.scope {
                QuotaScope::Owner(owner) => format!("owner {owner}"),
                QuotaScope::Repositories { selector, each } => format!("repositories {selector} {each}"),
            })
            .collect();
        scopes.join("\n")
    }

    fn quota_is_nearly_reached(&self, usage: &QuotaUsage) {
        let limit =
            |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
        tracing::warn!(
            quota = usage.quota.scope,
            bytes = usage.bytes,
            max_bytes = limit(usage.quota.max_bytes),
            tags = usage.tags,
            max_tags = limit(usage.quota.max_tags),
            "a quota is used up to {} %",
            usage.percent()
        );
    }
}

fn lower(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
