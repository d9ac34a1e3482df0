//! Location rules: the operator's settings for trees of repositories, like the location rules of a proxy.
//!
//! The rules widen or narrow the granted rights before those enter the permission cache, so every decision
//! and list respects them.

use accounts::{PrefixRules, Right, Rights, Visible};
use oci::RepositoryName;

use super::Identity;

/// The access to a tree of repositories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocationAccess {
    /// Every client may pull, as by a grant to everyone.
    Everyone,
    /// Only signed-in accounts have access, within their grants. Grants to everyone have no effect.
    Accounts,
}

/// The rules, prepared for lookups.
pub(super) struct LocationRules {
    trees: PrefixRules<LocationAccess>,
    /// Trees of [`LocationAccess::Everyone`].
    open: Visible,
    /// Everything except trees of [`LocationAccess::Accounts`].
    without_account: Visible,
}

impl LocationRules {
    pub(super) fn new(trees: PrefixRules<LocationAccess>) -> Self {
        Self {
            open: trees.visible(|access| access == Some(&LocationAccess::Everyone)),
            without_account: trees.visible(|access| access != Some(&LocationAccess::Accounts)),
            trees,
        }
    }

    /// Applies the rules to the granted rights on a repository.
    pub(super) fn rights(&self, identity: &Identity, repository: &RepositoryName, rights: Rights) -> Rights {
        match self.trees.of(repository) {
            Some(LocationAccess::Everyone) => rights.union(Rights::of([Right::Pull])),
            Some(LocationAccess::Accounts) if identity.is_anonymous() => Rights::NONE,
            Some(LocationAccess::Accounts) | None => rights,
        }
    }

    /// Applies the rules to the repositories that the grants show.
    pub(super) fn visible(&self, identity: &Identity, visible: Visible) -> Visible {
        if self.trees.is_empty() {
            return visible;
        }
        let visible = if identity.is_anonymous() { visible.and(&self.without_account) } else { visible };
        visible.or(&self.open)
    }
}

#[cfg(test)]
mod tests {
    use accounts::Tree;

    use super::*;

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn location_rules_limit_anonymous_access() {
        let access = [("open", LocationAccess::Everyone), ("open/closed", LocationAccess::Accounts)];
        let trees = access.into_iter().map(|(top, access)| (Tree::Of(name(top)), access)).collect();
        let rules = LocationRules::new(trees);
        let all = Visible::only(["**".parse().unwrap()]);
        for (text, nothing, everything) in [
            ("open/app", Rights::of([Right::Pull]), Rights::ALL),
            ("open/closed", Rights::NONE, Rights::NONE),
            ("open/closed/x", Rights::NONE, Rights::NONE),
            ("elsewhere", Rights::NONE, Rights::ALL),
        ] {
            let rights = |granted| rules.rights(&Identity::Anonymous, &name(text), granted);
            assert_eq!((rights(Rights::NONE), rights(Rights::ALL)), (nothing, everything), "{text}");
            let visible =
                |granted: &Visible| rules.visible(&Identity::Anonymous, granted.clone()).allows(&name(text));
            let pulls = |rights: Rights| rights.allow(Right::Pull);
            assert_eq!(
                (visible(&Visible::nothing()), visible(&all)),
                (pulls(nothing), pulls(everything)),
                "{text}"
            );
        }
    }
}
