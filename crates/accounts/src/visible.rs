//! The set of repositories that a caller may see.

use std::collections::HashMap;
use std::sync::Arc;

use oci::RepositoryName;

use super::pattern::{Pattern, keys_of};

/// The repositories that a caller may see. Lists, searches and mounts ignore all others.
///
/// Cheap to clone.
#[derive(Clone, Debug)]
pub enum Visible {
    /// Every repository.
    Everything,
    /// Some.
    Only(Arc<Selection>),
}

/// A set of repositories, from [`Visible::only`] and its combinations.
#[derive(Debug)]
pub struct Selection(Node);

#[derive(Debug)]
enum Node {
    /// Names that match a pattern of the set.
    Matching(PatternSet),
    /// Names in some ranges.
    Within(Ranges),
    /// The union of these sets.
    Any(Vec<Arc<Selection>>),
    /// The intersection of these sets.
    All(Vec<Arc<Selection>>),
}

impl Visible {
    /// The repositories that match any of the patterns; with none, no repository.
    #[must_use]
    pub fn only(patterns: impl IntoIterator<Item = Pattern>) -> Self {
        let set = PatternSet::from_iter(patterns);
        if set.matches_all { Self::Everything } else { Self::some(Node::Matching(set)) }
    }

    /// Returns the repositories in the name ranges that `fit`. `bounds` are the sorted starts of all ranges;
    /// the first is empty.
    pub(crate) fn ranges(bounds: Vec<String>, fit: impl Fn(&str) -> bool) -> Self {
        let mut ranges = Ranges::default();
        for bound in bounds {
            ranges.go_on(bound, &fit);
        }
        if ranges.is_everything() { Self::Everything } else { Self::some(Node::Within(ranges)) }
    }

    /// No repository.
    #[must_use]
    pub fn nothing() -> Self {
        Self::only([])
    }

    /// Returns the union of both sets. It shares them instead of copying.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Only(one), Self::Only(two)) => Self::some(Node::Any(vec![one.clone(), two.clone()])),
            _ => Self::Everything,
        }
    }

    /// Returns the intersection of both sets. It shares them instead of copying.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Everything, one) | (one, Self::Everything) => one.clone(),
            (Self::Only(one), Self::Only(two)) => Self::some(Node::All(vec![one.clone(), two.clone()])),
        }
    }

    /// Returns the repositories of the set that match any of the patterns: a token restricts its account.
    #[must_use]
    pub fn restricted_to(&self, patterns: &[Pattern]) -> Self {
        self.and(&Self::only(patterns.iter().cloned()))
    }

    /// Returns whether the set holds this repository.
    #[must_use]
    pub fn allows(&self, repository: &RepositoryName) -> bool {
        match self {
            Self::Everything => true,
            Self::Only(some) => some.allows(repository),
        }
    }

    fn some(node: Node) -> Self {
        Self::Only(Arc::new(Selection(node)))
    }
}

impl Selection {
    /// Returns whether the set holds this repository.
    #[must_use]
    pub fn allows(&self, repository: &RepositoryName) -> bool {
        self.allows_text(repository.as_str())
    }

    /// As [`allows`](Self::allows), of a text that is known to be the name of a repository.
    #[must_use]
    pub fn allows_text(&self, name: &str) -> bool {
        match &self.0 {
            Node::Matching(set) => set.allows(name),
            Node::Within(ranges) => ranges.have(name),
            Node::Any(parts) => parts.iter().any(|part| part.allows_text(name)),
            Node::All(parts) => parts.iter().all(|part| part.allows_text(name)),
        }
    }

    /// Returns the end of a range from `name` on, without it, whose names are all in the set. `None` if no
    /// such range is known. A long scan asks once for each range instead of once for each name.
    #[must_use]
    pub fn range_end(&self, name: &str) -> Option<&str> {
        match &self.0 {
            Node::Matching(set) => set.range_end(name),
            Node::Within(ranges) => ranges.range_end(name),
            Node::Any(parts) => parts.iter().filter_map(|part| part.range_end(name)).max(),
            Node::All(parts) => {
                let ends = parts.iter().map(|part| part.range_end(name)).collect::<Option<Vec<_>>>()?;
                ends.into_iter().min()
            }
        }
    }

    /// Returns the first text from `from` on, in byte order, that could be a name in the set; `None` if there
    /// is none.
    #[must_use]
    pub fn next(&self, from: &str) -> Option<String> {
        match &self.0 {
            Node::Matching(set) => set.next(from).map(str::to_owned),
            Node::Within(ranges) => ranges.next(from).map(str::to_owned),
            Node::Any(parts) => parts.iter().filter_map(|part| part.next(from)).min(),
            Node::All(parts) => {
                // Each part moves the others on until all agree.
                let mut at = from.to_owned();
                loop {
                    let mut furthest = at.clone();
                    for part in parts {
                        furthest = part.next(&furthest)?;
                    }
                    if furthest == at {
                        return Some(at);
                    }
                    at = furthest;
                }
            }
        }
    }
}

/// Returns a lower bound of all names after `text`: no name contains the added character.
#[must_use]
pub fn first_after(text: &str) -> String {
    format!("{text}\u{1}")
}

/// A text behind all names.
const BEHIND_ALL: &str = "\u{7f}";

/// Sorted, disjoint ranges of names. The end is exclusive; the last range may have none.
#[derive(Debug, Default)]
struct Ranges(Vec<(String, Option<String>)>);

impl Ranges {
    /// Adds what comes from `bound` on, or ends what came before there.
    fn go_on(&mut self, bound: String, fit: impl Fn(&str) -> bool) {
        let open = self.0.last_mut().filter(|(_, end)| end.is_none());
        match (fit(&bound), open) {
            (true, None) => self.0.push((bound, None)),
            (false, Some((_, end))) => *end = Some(bound),
            (true, Some(_)) | (false, None) => {}
        }
    }

    fn is_everything(&self) -> bool {
        matches!(self.0.as_slice(), [(from, None)] if from.is_empty())
    }

    /// How many begin at this text or before it.
    fn begun(&self, text: &str) -> usize {
        self.0.partition_point(|(from, _)| from.as_str() <= text)
    }

    fn have(&self, text: &str) -> bool {
        let last = self.begun(text).checked_sub(1).and_then(|last| self.0.get(last));
        last.is_some_and(|(_, end)| end.as_deref().is_none_or(|end| text < end))
    }

    fn range_end(&self, text: &str) -> Option<&str> {
        let (_, end) = self.begun(text).checked_sub(1).and_then(|last| self.0.get(last))?;
        let end = end.as_deref().unwrap_or(BEHIND_ALL);
        (text < end).then_some(end)
    }

    fn next<'a>(&'a self, from: &'a str) -> Option<&'a str> {
        if self.have(from) {
            return Some(from);
        }
        self.0.get(self.begun(from)).map(|(begin, _)| begin.as_str())
    }
}

/// A set of patterns, arranged for asking.
#[derive(Debug, Default)]
struct PatternSet {
    matches_all: bool,
    /// The exact ones, sorted.
    names: Vec<Pattern>,
    /// The others, by [`Pattern::prefix`].
    globs: HashMap<String, Vec<Pattern>>,
    /// The literal prefixes of the other patterns: sorted, and none begins with another.
    reaches: Vec<String>,
    /// The ends of the names with a prefix that is whole, without them, by the prefix.
    wholes: HashMap<String, String>,
}

impl FromIterator<Pattern> for PatternSet {
    fn from_iter<I: IntoIterator<Item = Pattern>>(patterns: I) -> Self {
        let mut set = Self::default();
        for pattern in patterns {
            if pattern.is_exact() {
                set.names.push(pattern);
                continue;
            }
            set.matches_all |= pattern.is_everything();
            set.reaches.push(pattern.literal_text().to_owned());
            let others = set.globs.entry(pattern.prefix().to_owned()).or_default();
            // A pattern that matches a whole prefix includes the others of that prefix.
            if others.first().is_some_and(is_whole) {
                continue;
            }
            if is_whole(&pattern) {
                others.clear();
                if let Some(namespace) = pattern.prefix().strip_suffix('/') {
                    // `0` follows `/`.
                    set.wholes.insert(pattern.prefix().to_owned(), format!("{namespace}0"));
                }
            }
            others.push(pattern);
        }
        set.names.sort_unstable();
        set.names.dedup();
        set.reaches.sort_unstable();
        set.reaches.dedup_by(|next, kept| next.starts_with(kept.as_str()));
        for others in set.globs.values_mut() {
            others.sort_unstable();
            others.dedup();
        }
        set
    }
}

/// Whether it is its [`Pattern::prefix`] and `**`.
fn is_whole(pattern: &Pattern) -> bool {
    pattern.is_whole_prefix() && pattern.prefix() == pattern.literal_text()
}

impl PatternSet {
    fn allows(&self, name: &str) -> bool {
        self.names.binary_search_by(|exact| exact.as_str().cmp(name)).is_ok()
            || !self.globs.is_empty()
                && keys_of(name).any(|prefix| {
                    let matching = |globs: &Vec<Pattern>| globs.iter().any(|glob| glob.matches_text(name));
                    self.globs.get(prefix).is_some_and(matching)
                })
    }

    fn range_end(&self, name: &str) -> Option<&str> {
        if self.wholes.is_empty() {
            return None;
        }
        // The first prefix is the shortest, and has the others.
        keys_of(name).find_map(|prefix| self.wholes.get(prefix)).map(String::as_str)
    }

    fn next<'a>(&'a self, from: &'a str) -> Option<&'a str> {
        let beyond = self.reaches.partition_point(|reach| reach.as_str() <= from);
        if beyond > 0 && from.starts_with(&self.reaches[beyond - 1]) {
            return Some(from);
        }
        let reach = self.reaches.get(beyond).map(String::as_str);
        let name = self.names.get(self.names.partition_point(|name| name.as_str() < from));
        match (reach, name.map(Pattern::as_str)) {
            (Some(reach), Some(name)) => Some(reach.min(name)),
            (one, other) => one.or(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::pattern::tests::{NAMES, PATTERNS};
    use super::*;

    fn only(patterns: &[&str]) -> Visible {
        Visible::only(patterns.iter().map(|pattern| pattern.parse().unwrap()))
    }

    fn next(visible: &Visible, from: &str) -> Option<String> {
        let Visible::Only(some) = visible else { panic!("it is everything") };
        some.next(from)
    }

    #[test]
    fn next_finds_all_visible_names() {
        let visible = only(&["b/*", "b/x/**", "a", "d/exact", "c-*/x"]);
        for (from, to) in [
            ("", Some("a")),
            ("a", Some("a")),
            ("a\u{1}", Some("b/")),
            ("b/q/r", Some("b/q/r")),
            ("b0", Some("c-")),
            ("c-zz", Some("c-zz")),
            ("c/", Some("d/exact")),
            ("d/exact\u{1}", None),
        ] {
            assert_eq!(next(&visible, from).as_deref(), to, "{from:?}");
        }
        assert!(matches!(only(&["a", "**"]), Visible::Everything));
        assert_eq!(next(&Visible::nothing(), ""), None);
        let end = |visible: &Visible, name: &str| match visible {
            Visible::Only(some) => some.range_end(name).map(str::to_owned),
            Visible::Everything => None,
        };
        assert_eq!(end(&visible, "b/x/y").as_deref(), Some("b/x0"));
        assert_eq!(end(&visible, "b/y"), None);
        assert_eq!(end(&visible.or(&only(&["b/**"])), "b/x/y").as_deref(), Some("b0"));
        assert_eq!(end(&visible.and(&only(&["b/**"])), "b/x/y").as_deref(), Some("b/x0"));
        assert_eq!(next(&visible.and(&only(&["d/*"])), "").as_deref(), Some("d/exact"));
        assert_eq!(next(&visible.or(&only(&["0"])), "").as_deref(), Some("0"));
    }

    proptest! {
        #[test]
        fn selection_skips_only_what_no_pattern_matches(
            one in prop::collection::vec(PATTERNS, 0..6),
            two in prop::collection::vec(PATTERNS, 0..6),
            names in prop::collection::vec(NAMES, 0..30),
            from in "[ab/-]{0,4}",
        ) {
            let patterns = |texts: &[String]| -> Vec<Pattern> {
                texts.iter().filter_map(|text| text.parse().ok()).collect()
            };
            let (one, two) = (patterns(&one), patterns(&two));
            let names: Vec<RepositoryName> = names.iter().map(|name| name.parse().unwrap()).collect();
            let (seen_one, seen_two) = (Visible::only(one.clone()), Visible::only(two.clone()));
            for name in &names {
                let of = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name));
                prop_assert_eq!(seen_one.allows(name), of(&one));
                prop_assert_eq!(seen_one.or(&seen_two).allows(name), of(&one) || of(&two));
                prop_assert_eq!(seen_one.and(&seen_two).allows(name), of(&one) && of(&two));
                prop_assert_eq!(seen_one.restricted_to(&two).allows(name), of(&one) && of(&two));
            }
            for visible in [seen_one.clone(), seen_one.or(&seen_two), seen_one.and(&seen_two)] {
                let Visible::Only(some) = &visible else { continue };
                let leap = some.next(&from);
                for name in names.iter().filter(|name| name.as_str() >= from.as_str()) {
                    if visible.allows(name) {
                        prop_assert!(leap.as_deref().is_some_and(|to| to <= name.as_str()));
                    }
                }
                prop_assert!(leap.is_none_or(|to| to >= from));
                for first in names.iter().filter(|name| visible.allows(name)) {
                    let Some(end) = some.range_end(first.as_str()) else { continue };
                    prop_assert!(first.as_str() < end);
                    for name in names.iter().filter(|name| *name >= first && name.as_str() < end) {
                        prop_assert!(visible.allows(name), "{name} is in the range from {first} to {end}");
                    }
                }
            }
        }
    }
}
