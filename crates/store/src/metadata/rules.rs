//! Rules on tags and quotas, which the write transaction of a change asks. The registry decides; the store
//! only asks.

use accounts::Actor;
use oci::{Digest, RepositoryName, Tag};

/// The rules of the operator.
pub trait ChangeRules: Send + Sync {
    /// Whether a tag that exists may point to another manifest.
    ///
    /// # Errors
    /// The reason of the refusal.
    fn may_move(&self, repository: &RepositoryName, tag: &Tag, actor: &Actor) -> Result<(), TagRefusal>;

    /// Whether a tag may be deleted.
    ///
    /// # Errors
    /// The reason of the refusal.
    fn may_delete(&self, repository: &RepositoryName, tag: &Tag, actor: &Actor) -> Result<(), TagRefusal>;

    /// Whether any tag of the repository is subject to a rule.
    fn has_tag_rules(&self, repository: &RepositoryName) -> bool;

    /// The quotas that a repository counts towards.
    fn quotas(&self, repository: &RepositoryName) -> Vec<Quota>;

    /// All quotas as text. The counters are computed again if it has changed.
    fn quotas_text(&self) -> String;

    /// Called in the transaction in which a quota reaches four fifths of its limit.
    fn quota_is_nearly_reached(&self, usage: &QuotaUsage);
}

/// A refused change of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagRefusal {
    /// Whether the tag is immutable. Otherwise it is protected, and administrators may delete it.
    pub is_immutable: bool,
    /// The pattern that matches the tag.
    pub pattern: String,
}

/// A refused deletion of content that the image of a tag needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentRefusal {
    /// The content.
    pub digest: Digest,
    /// Its repository.
    pub repository: RepositoryName,
    /// The tag whose image needs it.
    pub tag: Tag,
    /// The rule on the tag.
    pub rule: TagRefusal,
}

/// A limit of a set of repositories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Names the set: `owner ann`, `repositories team/**`, `repository team/app`.
    pub scope: String,
    /// The limit in bytes.
    pub max_bytes: Option<u64>,
    /// The limit on the number of tags.
    pub max_tags: Option<u64>,
}

/// A quota with its use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaUsage {
    /// The quota.
    pub quota: Quota,
    /// The bytes of all manifests and blobs in its repositories, each digest counted once.
    pub bytes: u64,
    /// The number of tags in its repositories.
    pub tags: u64,
}

/// The limit that a change would exceed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaExcess {
    /// The scope of the quota.
    pub scope: String,
    /// Whether the limit is in bytes. Otherwise it is a number of tags.
    pub is_bytes: bool,
    /// The use without the change.
    pub used: u64,
    /// The limit.
    pub limit: u64,
    /// The bytes of unfinished uploads, if they exceed it together with the use.
    pub unfinished: u64,
    /// The bytes of the use that only deleted images need.
    /// [`Metadata::with_deleted`](super::Metadata::with_deleted) counts them.
    pub deleted: u64,
}

impl QuotaUsage {
    /// The first limit that this use exceeds, if it exceeds the use `before` too: a change that adds nothing
    /// is allowed.
    pub(super) fn excess(&self, before: &Self) -> Option<QuotaExcess> {
        let Quota { scope, max_bytes, max_tags } = &self.quota;
        let limits = [(max_bytes, self.bytes, before.bytes, true), (max_tags, self.tags, before.tags, false)];
        limits.into_iter().find_map(|(limit, now, used, is_bytes)| {
            let limit = (*limit)?;
            (now > limit && now > used).then(|| QuotaExcess {
                scope: scope.clone(),
                is_bytes,
                used,
                limit,
                unfinished: 0,
                deleted: 0,
            })
        })
    }

    /// Whether the use has reached four fifths of a limit.
    #[must_use]
    pub fn is_nearly_reached(&self) -> bool {
        self.percent() >= 80
    }

    /// The use of the limit that is nearest to its end, in percent.
    #[must_use]
    pub fn percent(&self) -> u128 {
        let percent = |used: u64, limit: Option<u64>| {
            limit.map_or(0, |limit| (u128::from(used) * 100).checked_div(limit.into()).unwrap_or(100))
        };
        percent(self.bytes, self.quota.max_bytes).max(percent(self.tags, self.quota.max_tags))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_is_that_of_the_nearest_limit() {
        let percent = |bytes, max_bytes, tags, max_tags| {
            let quota = Quota { scope: "team".to_owned(), max_bytes, max_tags };
            QuotaUsage { quota, bytes, tags }.percent()
        };
        assert_eq!(percent(10, Some(1000), 4, Some(4)), 100);
        assert_eq!(percent(u64::MAX, Some(u64::MAX), 1, None), 100);
        assert_eq!(percent(85, Some(100), 9, None), 85);
        assert_eq!(percent(0, Some(0), 0, None), 100);
    }
}
