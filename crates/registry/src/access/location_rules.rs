//! Where the operator's settings let in more, or fewer, than was granted: as a proxy's rules for locations do.
//!
//! They are applied to what the store says of an account before that is remembered, so that every decision and every
//! list rests on them.

use accounts::{PrefixRules, Right, Rights, Visible};
use oci::RepositoryName;

use super::Identity;

/// Who is let in to a tree of repositories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocationAccess {
    /// Whoever asks may pull, and nothing more than that: as if it were granted to everyone.
    Everyone,
    /// Whoever has signed in may what was granted. Whoever has not may nothing, whatever was granted to everyone.
    Accounts,
}

/// The same, arranged for asking.
pub(super) struct LocationRules {
    trees: PrefixRules<LocationAccess>,
    /// Where everyone is let in.
    open: Visible,
    /// Where nobody has to sign in.
    without_account: Visible,
}

impl LocationRules {
    pub(super) fn new(trees: PrefixRules<LocationAccess>) -> Self {
        Self {
            open: trees.visible(|said| said == Some(&LocationAccess::Everyone)),
            without_account: trees.visible(|said| said != Some(&LocationAccess::Accounts)),
            trees,
        }
    }

    /// What somebody who was granted `rights` may do with a repository.
    pub(super) fn rights(&self, identity: &Identity, repository: &RepositoryName, rights: Rights) -> Rights {
        match self.trees.of(repository) {
            Some(LocationAccess::Everyone) => rights.union(Rights::of([Right::Pull])),
            Some(LocationAccess::Accounts) if identity.is_anonymous() => Rights::NONE,
            Some(LocationAccess::Accounts) | None => rights,
        }
    }

    /// What somebody who was granted to see `visible` may know of.
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
    fn nobody_may_write_where_it_is_open_and_nobody_without_an_account_anything_where_it_is_not() {
        let said = [("open", LocationAccess::Everyone), ("open/closed", LocationAccess::Accounts)];
        let trees = said.into_iter().map(|(top, said)| (Tree::Of(name(top)), said)).collect();
        let admissions = LocationRules::new(trees);
        let all = Visible::only(["**".parse().unwrap()]);
        for (text, nothing, everything) in [
            ("open/app", Rights::of([Right::Pull]), Rights::ALL),
            ("open/closed", Rights::NONE, Rights::NONE),
            ("open/closed/x", Rights::NONE, Rights::NONE),
            ("elsewhere", Rights::NONE, Rights::ALL),
        ] {
            let rights = |granted| admissions.rights(&Identity::Anonymous, &name(text), granted);
            assert_eq!((rights(Rights::NONE), rights(Rights::ALL)), (nothing, everything), "{text}");
            let visible = |granted: &Visible| {
                admissions.visible(&Identity::Anonymous, granted.clone()).allows(&name(text))
            };
            let pulls = |rights: Rights| rights.allow(Right::Pull);
            assert_eq!(
                (visible(&Visible::nothing()), visible(&all)),
                (pulls(nothing), pulls(everything)),
                "{text}"
            );
        }
    }
}
