//! Patterns of repository names, with the wildcards `*`, `**` and `?`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use oci::RepositoryName;
use oci::name::{MAX_LEN, is_component};

use crate::serde_as_string;

/// The name of a repository, or a pattern of several: `*` stands for any characters but `/`, `**`
/// for any characters, `?` for one but `/`. So `acme/*` has `acme/app` but not `acme/app/web`,
/// `acme/**` has both, and neither has `acme`.
///
/// Cheap to clone. Ordered by its text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern {
    text: Arc<str>,
    /// The number of bytes before the first wildcard.
    literal: usize,
}

/// The reason to reject a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// An empty pattern.
    #[error("a pattern cannot be empty; ** stands for all repositories")]
    Empty,
    /// Longer than any name.
    #[error("a pattern has at most {MAX_LEN} characters")]
    TooLong,
    /// It matches no name, or contains an invalid character.
    #[error(
        "a pattern is a repository name in which `*` stands for characters but `/`, `**` for any characters, \
         and `?` for one: acme/app, acme/*, acme/**, team/*-prod"
    )]
    Malformed,
}

impl Pattern {
    /// Returns the pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `**`: every repository.
    #[must_use]
    pub fn everything() -> Self {
        Self { text: "**".into(), literal: 0 }
    }

    /// Returns `namespace/**`. `namespace` must be a component of a name.
    pub(crate) fn below(namespace: &str) -> Self {
        Self { text: format!("{namespace}/**").into(), literal: namespace.len() + 1 }
    }

    /// Returns whether it is the name of one repository.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.literal == self.text.len()
    }

    /// Returns whether it matches every repository.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        &*self.text == "**"
    }

    /// Returns the first component, if every matching name begins with it and a `/`.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.literal_text().split_once('/').map(|(namespace, _)| namespace)
    }

    /// Returns the text before the first wildcard.
    pub(crate) fn literal_text(&self) -> &str {
        &self.text[..self.literal]
    }

    /// Returns the index key of a grant with this pattern, which [`lookup_keys`] finds. That is the name if
    /// it is exact, or else the complete components before the first wildcard.
    #[must_use]
    pub fn prefix(&self) -> &str {
        if self.is_exact() {
            return &self.text;
        }
        let literal = self.literal_text();
        literal.rfind('/').map_or("", |slash| &literal[..=slash])
    }

    /// Returns whether it ends in its only wildcard `**`, so that it matches every name with the prefix.
    pub(crate) fn is_whole_prefix(&self) -> bool {
        &self.text[self.literal..] == "**"
    }

    /// Returns whether a valid name can match. `acme/../bob/*` matches none, and `***` has no meaning of its
    /// own.
    #[must_use]
    pub fn can_match(&self) -> bool {
        if self.text.contains("***") {
            return false;
        }
        // A letter fits almost everywhere in a name.
        let fits = |part: &str| is_component(&part.replace("**", "a").replace(['*', '?'], "a"));
        self.is_exact() || self.text.split('/').all(fits)
    }

    /// Returns whether the repository's name matches.
    #[must_use]
    pub fn matches(&self, repository: &RepositoryName) -> bool {
        self.matches_text(repository.as_str())
    }

    /// Returns whether a valid name matches.
    pub(crate) fn matches_text(&self, name: &str) -> bool {
        let Some(rest) = name.strip_prefix(self.literal_text()) else { return false };
        match &self.text[self.literal..] {
            "" => rest.is_empty(),
            "**" => true,
            "*" => !rest.contains('/'),
            wild => wild_matches(wild.as_bytes(), rest.as_bytes()),
        }
    }
}

/// Matches as a nondeterministic automaton, so that the cost is at most pattern length times name length. A
/// state is a position in the pattern.
fn wild_matches(pattern: &[u8], name: &[u8]) -> bool {
    let mut ways = Ways::default();
    ways.enter(pattern, 0);
    for byte in name {
        let mut next = Ways::default();
        for at in (0..pattern.len()).filter(|at| ways.has(*at)) {
            match pattern[at] {
                b'*' if pattern.get(at + 1) == Some(&b'*') => next.enter(pattern, at),
                b'*' if *byte != b'/' => next.enter(pattern, at),
                b'?' if *byte != b'/' => next.enter(pattern, at + 1),
                literal if literal == *byte => next.enter(pattern, at + 1),
                _ => {}
            }
        }
        ways = next;
    }
    ways.has(pattern.len())
}

/// A set of positions in a pattern, from 0 to its length, which is at most [`MAX_LEN`].
#[derive(Clone, Copy, Default)]
struct Ways([u64; MAX_LEN / 64 + 1]);

impl Ways {
    fn has(&self, at: usize) -> bool {
        self.0[at / 64] & 1 << (at % 64) != 0
    }

    /// Adds a position, and those after wildcards that match nothing.
    fn enter(&mut self, pattern: &[u8], mut at: usize) {
        loop {
            self.0[at / 64] |= 1 << (at % 64);
            match pattern[at..] {
                [b'*', b'*', ..] => at += 2,
                [b'*', ..] => at += 1,
                _ => return,
            }
        }
    }
}

/// Returns the index keys of all patterns that could match this name; see [`Pattern::prefix`].
pub fn lookup_keys(repository: &RepositoryName) -> impl Iterator<Item = &str> {
    keys_of(repository.as_str())
}

/// As [`lookup_keys`], of a text that is a name.
pub(crate) fn keys_of(name: &str) -> impl Iterator<Item = &str> {
    let ends = name.match_indices('/').map(|(slash, _)| slash + 1);
    std::iter::once(0).chain(ends).chain([name.len()]).map(|end| &name[..end])
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(s: &str) -> Result<Self, PatternError> {
        if s.is_empty() {
            return Err(PatternError::Empty);
        }
        if s.len() > MAX_LEN {
            return Err(PatternError::TooLong);
        }
        let Some(literal) = s.find(['*', '?']) else {
            return match s.parse::<RepositoryName>() {
                Ok(_) => Ok(Self { text: s.into(), literal: s.len() }),
                Err(_) => Err(PatternError::Malformed),
            };
        };
        let is_known =
            |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'/' | b'*' | b'?');
        if !s.bytes().all(is_known) || s.split('/').any(str::is_empty) {
            return Err(PatternError::Malformed);
        }
        Ok(Self { text: s.into(), literal })
    }
}

impl From<&RepositoryName> for Pattern {
    fn from(repository: &RepositoryName) -> Self {
        Self { text: repository.as_str().into(), literal: repository.as_str().len() }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

serde_as_string!(Pattern);

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The meaning of a pattern, as plainly as it can be said.
    fn oracle(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], _) => name.is_empty(),
            ([b'*', b'*', rest @ ..], _) => (0..=name.len()).any(|taken| oracle(rest, &name[taken..])),
            ([b'*', rest @ ..], _) => (0..=name.len())
                .take_while(|taken| !name[..*taken].contains(&b'/'))
                .any(|taken| oracle(rest, &name[taken..])),
            ([b'?', rest @ ..], [byte, others @ ..]) => *byte != b'/' && oracle(rest, others),
            ([literal, rest @ ..], [byte, others @ ..]) => literal == byte && oracle(rest, others),
            (_, []) => false,
        }
    }

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    /// Names and patterns of few letters, so that they meet.
    pub(in super::super) const NAMES: &str = "[ab]{1,2}(-[ab]{1,2}){0,1}(/[ab]{1,2}(-[ab]){0,1}){0,3}";
    pub(in super::super) const PATTERNS: &str = r"[ab*?]{1,3}(-[ab*]{1,2}){0,1}(/[ab*?-]{1,3}){0,3}";

    #[test]
    fn pattern_that_no_name_matches_is_known() {
        for good in
            ["acme/app", "acme/*", "**", "*", "team/*-prod", "a/v?", "a.*", "**/prod", "a**b/c_*", "a-?/**"]
        {
            assert!(pattern(good).can_match(), "{good}");
        }
        for bad in
            ["acme/../bob/*", "../*", "./**", "-*", "acme/*-", "a..*", "acme/.*/b", "_?", "***", "acme/***"]
        {
            assert!(!pattern(bad).can_match(), "{bad}");
        }
    }

    #[test]
    fn patterns_say_what_they_match() {
        for (text, matching, others) in [
            (
                "acme/*",
                &["acme/app", "acme/a-b"][..],
                &["acme", "acme/app/web", "acmex/app", "x/acme/app"][..],
            ),
            ("acme/**", &["acme/app", "acme/app/web"], &["acme", "acme-x/app"]),
            ("acme**", &["acme", "acme-x/app", "acme/app/web"], &["xacme"]),
            ("**", &["a", "a/b/c"], &[]),
            ("*", &["a", "a-b"], &["a/b"]),
            (
                "team/*-prod",
                &["team/web-prod", "team/a-b-prod"],
                &["team/web", "team/x/web-prod", "team/prod"],
            ),
            ("**/prod", &["a/prod", "a/b/prod"], &["prod", "a/prod-x"]),
            ("a/v?", &["a/v1"], &["a/v", "a/v12", "a/v/1"]),
            ("acme/app", &["acme/app"], &["acme/app/x", "acme/app-x", "acme/ap"]),
        ] {
            for name in matching {
                assert!(pattern(text).matches(&name.parse().unwrap()), "{text} {name}");
            }
            for name in others {
                assert!(!pattern(text).matches(&name.parse().unwrap()), "{text} {name}");
            }
        }
    }

    #[test]
    fn pattern_has_a_literal_prefix() {
        for (text, prefix, namespace) in [
            ("acme/app", "acme/app", Some("acme")),
            ("acme", "acme", None),
            ("acme/*", "acme/", Some("acme")),
            ("acme/x/y-*", "acme/x/", Some("acme")),
            ("acme*/x", "", None),
            ("**", "", None),
        ] {
            assert_eq!((pattern(text).prefix(), pattern(text).namespace()), (prefix, namespace), "{text}");
        }
        assert!(pattern("**").is_everything());
    }

    #[test]
    fn invalid_patterns_are_rejected() {
        for text in
            ["/a", "a/", "a//b", "A", "a b", "a%", "a/../b", "[ab]", "{a,b}", "a\0", "/", "*/", "a:b*"]
        {
            assert_eq!(text.parse::<Pattern>(), Err(PatternError::Malformed), "{text}");
        }
        assert_eq!("".parse::<Pattern>(), Err(PatternError::Empty));
        assert_eq!("*".repeat(256).parse::<Pattern>(), Err(PatternError::TooLong));
    }

    #[test]
    fn pattern_matches_in_bounded_time() {
        let longest = "a/".repeat(127) + "a";
        let hostile = "**a*".repeat(63) + "**b";
        assert!(!pattern(&hostile).matches(&longest.parse().unwrap()));
        assert!(pattern(&"*".repeat(255)).matches(&longest.parse().unwrap()));
    }

    proptest! {
        #[test]
        fn matching_agrees_with_what_a_pattern_means(text in PATTERNS, name in NAMES) {
            let name: RepositoryName = name.parse().unwrap();
            if let Ok(pattern) = text.parse::<Pattern>() {
                prop_assert_eq!(pattern.matches(&name), oracle(text.as_bytes(), name.as_str().as_bytes()));
                if pattern.matches(&name) {
                    prop_assert!(lookup_keys(&name).any(|key| key == pattern.prefix()));
                    prop_assert!(name.as_str().starts_with(pattern.literal_text()));
                }
                if let Some(namespace) = pattern.namespace() && pattern.matches(&name) {
                    prop_assert_eq!(name.components().next(), Some(namespace));
                }
            }
        }
    }
}
