//! Repositories by where they stand: a repository and all below it.

use oci::RepositoryName;

use super::Visible;
use super::visible::first_after;

/// A repository and all below it, or all repositories.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Tree {
    /// All of them.
    All,
    /// `acme`: it, `acme/app`, `acme/app/web`, and not `acme-x`.
    Of(RepositoryName),
}

impl Tree {
    /// Whether this repository is in it.
    #[must_use]
    pub fn has(&self, repository: &RepositoryName) -> bool {
        self.has_text(repository.as_str())
    }

    /// The same of a text that need not be a name.
    fn has_text(&self, text: &str) -> bool {
        match self {
            Self::All => true,
            Self::Of(top) => {
                text.strip_prefix(top.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }

    fn depth(&self) -> usize {
        match self {
            Self::All => 0,
            Self::Of(top) => top.as_str().len(),
        }
    }
}

/// Rules for trees of repositories. The rule of the deepest tree that contains a repository applies to it.
#[derive(Clone, Debug)]
pub struct PrefixRules<T> {
    /// The deepest first.
    prefix_rules: Vec<(Tree, T)>,
}

impl<T> Default for PrefixRules<T> {
    fn default() -> Self {
        Self { prefix_rules: Vec::new() }
    }
}

impl<T> FromIterator<(Tree, T)> for PrefixRules<T> {
    /// Of two rules for the same tree, the first applies.
    fn from_iter<I: IntoIterator<Item = (Tree, T)>>(said: I) -> Self {
        let mut prefix_rules: Vec<(Tree, T)> = said.into_iter().collect();
        prefix_rules.sort_by_key(|(tree, _)| std::cmp::Reverse(tree.depth()));
        Self { prefix_rules }
    }
}

impl<T> PrefixRules<T> {
    /// Whether there are no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.prefix_rules.is_empty()
    }

    /// Returns the rule for a repository.
    #[must_use]
    pub fn of(&self, repository: &RepositoryName) -> Option<&T> {
        self.of_text(repository.as_str())
    }

    /// Returns the rule for all repositories.
    #[must_use]
    pub fn of_all(&self) -> Option<&T> {
        self.prefix_rules.iter().find(|(tree, _)| *tree == Tree::All).map(|(_, said)| said)
    }

    fn of_text(&self, text: &str) -> Option<&T> {
        self.prefix_rules.iter().find(|(tree, _)| tree.has_text(text)).map(|(_, said)| said)
    }

    /// The repositories whose rule, or whose lack of a rule, `fits`.
    #[must_use]
    pub fn visible(&self, fits: impl Fn(Option<&T>) -> bool) -> Visible {
        // In the order of names a tree is its top and the range from "top/" to before "top0". The rule
        // changes only at these bounds.
        let mut bounds = vec![String::new()];
        for (tree, _) in &self.prefix_rules {
            if let Tree::Of(top) = tree {
                bounds.extend([
                    top.to_string(),
                    first_after(top.as_str()),
                    format!("{top}/"),
                    format!("{top}0"),
                ]);
            }
        }
        bounds.sort_unstable();
        bounds.dedup();
        Visible::ranges(bounds, |bound| fits(self.of_text(bound)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::pattern::tests::NAMES;
    use super::*;

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    fn prefix_rules(said: &[(&str, bool)]) -> PrefixRules<bool> {
        let tree = |top: &str| if top.is_empty() { Tree::All } else { Tree::Of(name(top)) };
        said.iter().map(|(top, said)| (tree(top), *said)).collect()
    }

    #[test]
    fn tree_has_its_top_and_all_below_it() {
        let acme = Tree::Of(name("acme"));
        for (text, has) in [
            ("acme", true),
            ("acme/app", true),
            ("acme/a/b", true),
            ("acme-x", false),
            ("acm", false),
            ("x/acme", false),
        ] {
            assert_eq!(acme.has(&name(text)), has, "{text}");
            assert!(Tree::All.has(&name(text)));
        }
    }

    #[test]
    fn deepest_tree_counts() {
        let prefix_rules = prefix_rules(&[("", true), ("acme/open", true), ("acme", false)]);
        for (text, said) in
            [("b", true), ("acme", false), ("acme/x", false), ("acme/open/x", true), ("acme/open-x", false)]
        {
            assert_eq!(prefix_rules.of(&name(text)), Some(&said), "{text}");
        }
        assert_eq!(prefix_rules.of_all(), Some(&true));
        assert_eq!(PrefixRules::<bool>::default().of(&name("a")), None);
        assert!(matches!(prefix_rules.visible(|_| true), Visible::Everything));
    }

    proptest! {
        #[test]
        fn visible_set_agrees_with_the_rules(
            said in prop::collection::vec((prop::option::of(NAMES), any::<bool>()), 0..6),
            names in prop::collection::vec(NAMES, 0..30),
            wanted in prop::option::of(any::<bool>()),
            from in "[ab/-]{0,4}",
        ) {
            let said: Vec<(&str, bool)> =
                said.iter().map(|(top, said)| (top.as_deref().unwrap_or_default(), *said)).collect();
            let prefix_rules = prefix_rules(&said);
            let visible = prefix_rules.visible(|said| said.copied() == wanted);
            let names: Vec<RepositoryName> = names.iter().map(|text| name(text)).collect();
            for name in &names {
                prop_assert_eq!(visible.allows(name), prefix_rules.of(name).copied() == wanted, "{}", name);
            }
            if let Visible::Only(some) = &visible {
                let leap = some.next(&from);
                for name in names.iter().filter(|name| name.as_str() >= from.as_str() && visible.allows(name)) {
                    prop_assert!(leap.as_deref().is_some_and(|to| to <= name.as_str()));
                }
                prop_assert!(leap.is_none_or(|to| to >= from));
            }
        }
    }
}
