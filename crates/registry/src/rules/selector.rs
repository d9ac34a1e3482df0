//! Selectors of repositories and tags in rules: globs, regular expressions and version ranges.

use std::fmt;
use std::str::FromStr;

use accounts::Pattern;
use oci::{RepositoryName, Tag};
use regex::{Regex, RegexBuilder};
use semver::VersionReq;

use super::version;

/// The maximum size of a compiled expression in bytes, and that of its cache.
const EXPRESSION_BYTES: usize = 256 << 10;

/// The reason to reject a selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(String);

/// Selects repositories: a name or pattern such as `team/*` or `team/**`, or a regular expression between
/// slashes.
#[derive(Clone)]
pub struct RepositorySelector {
    text: String,
    kind: RepositoryKind,
}

#[derive(Clone)]
enum RepositoryKind {
    Pattern(Pattern),
    Expression(Regex),
}

/// Selects tags: a glob such as `v*`, a regular expression between slashes, or a range of semantic versions.
#[derive(Clone)]
pub struct TagSelector {
    text: String,
    kind: TagKind,
}

#[derive(Clone)]
enum TagKind {
    Glob,
    Expression(Regex),
    Range(VersionReq),
}

impl RepositorySelector {
    /// Whether the repository is selected.
    #[must_use]
    pub fn matches(&self, repository: &RepositoryName) -> bool {
        match &self.kind {
            RepositoryKind::Pattern(pattern) => pattern.matches(repository),
            RepositoryKind::Expression(expression) => expression.is_match(repository.as_str()),
        }
    }

    /// The pattern, unless it is a regular expression.
    #[must_use]
    pub fn pattern(&self) -> Option<&Pattern> {
        match &self.kind {
            RepositoryKind::Pattern(pattern) => Some(pattern),
            RepositoryKind::Expression(_) => None,
        }
    }
}

impl FromStr for RepositorySelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let kind = match expression_of(text) {
            Some(expression) => RepositoryKind::Expression(compile(expression)?),
            None => RepositoryKind::Pattern(
                text.parse().map_err(|error: accounts::PatternError| SelectorError(error.to_string()))?,
            ),
        };
        Ok(Self { text: text.to_owned(), kind })
    }
}

impl TagSelector {
    /// Whether the tag is selected.
    #[must_use]
    pub fn matches(&self, tag: &Tag) -> bool {
        match &self.kind {
            TagKind::Glob => glob_matches(self.text.as_bytes(), tag.as_str().as_bytes()),
            TagKind::Expression(expression) => expression.is_match(tag.as_str()),
            TagKind::Range(range) => version::of(tag).is_some_and(|version| range.matches(&version)),
        }
    }
}

impl FromStr for TagSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        if text.is_empty() {
            return Err(SelectorError(
                "a selector of tags cannot be empty; * stands for all tags".to_owned(),
            ));
        }
        let kind = if let Some(expression) = expression_of(text) {
            TagKind::Expression(compile(expression)?)
        } else if let Some(range) = range_of(text) {
            TagKind::Range(parse_range(range)?)
        } else if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-*?".contains(&byte)) {
            TagKind::Glob
        } else {
            return Err(SelectorError(format!(
                "\"{text}\" selects no tag: write a glob such as v*, a regular expression between slashes such as \
                 /v[0-9]+/, or a version range such as >=1.2 <2"
            )));
        };
        Ok(Self { text: text.to_owned(), kind })
    }
}

/// The expression in `/…/` or `re:…`.
fn expression_of(text: &str) -> Option<&str> {
    let between = || text.strip_prefix('/')?.strip_suffix('/').filter(|inner| !inner.is_empty());
    text.strip_prefix("re:").or_else(between)
}

/// The range in `semver:…`, or in a text that begins like no tag: `>=1.2 <2`, `^1`, `~1.4`.
fn range_of(text: &str) -> Option<&str> {
    text.strip_prefix("semver:").or_else(|| text.starts_with(['<', '>', '=', '^', '~']).then_some(text))
}

/// Compiles an expression, which must match the whole name.
fn compile(expression: &str) -> Result<Regex, SelectorError> {
    let whole = format!("^(?:{expression})$");
    let mut builder = RegexBuilder::new(&whole);
    builder.size_limit(EXPRESSION_BYTES).dfa_size_limit(EXPRESSION_BYTES).build().map_err(|error| {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        SelectorError(format!("/{expression}/ is not a regular expression: {reason}"))
    })
}

/// Parses a range. Conditions are separated by commas or spaces.
fn parse_range(text: &str) -> Result<VersionReq, SelectorError> {
    let mut conditions: Vec<String> = Vec::new();
    for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
        match conditions.last_mut() {
            // `>= 1.2` is one condition.
            Some(last) if last.ends_with(['<', '>', '=', '^', '~']) => last.push_str(word),
            _ => conditions.push(word.to_owned()),
        }
    }
    let conditions = conditions.join(", ").replace("=v", "=").replace("<v", "<").replace(">v", ">");
    VersionReq::parse(&conditions)
        .map_err(|error| SelectorError(format!("\"{text}\" is not a range of versions: {error}")))
}

/// Matches a glob, in which `*` stands for any characters and `?` for one.
fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    // The last `*` takes one more character after each mismatch, so the cost is at most the product of the
    // lengths.
    let (mut at, mut position, mut star) = (0, 0, None);
    while position < text.len() {
        match glob.get(at) {
            Some(b'*') => {
                star = Some((at, position));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[position] => {
                at += 1;
                position += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                (at, position) = (star_at + 1, taken + 1);
            }
        }
    }
    glob[at..].iter().all(|byte| *byte == b'*')
}

macro_rules! as_text {
    ($($selector:ident),*) => {$(
        impl fmt::Display for $selector {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.text)
            }
        }

        impl fmt::Debug for $selector {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{:?}", self.text)
            }
        }

        impl PartialEq for $selector {
            fn eq(&self, other: &Self) -> bool {
                self.text == other.text
            }
        }
    )*};
}
as_text!(RepositorySelector, TagSelector);

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(selector: &str, tags: &[&str]) -> Vec<bool> {
        let selector: TagSelector = selector.parse().unwrap();
        tags.iter().map(|tag| selector.matches(&tag.parse().unwrap())).collect()
    }

    #[test]
    fn glob_matches_the_whole_tag() {
        assert_eq!(tags("v*", &["v1", "v", "1v", "dev"]), [true, true, false, false]);
        assert_eq!(tags("*-rc?", &["1.0-rc1", "1.0-rc10", "rc1"]), [true, false, false]);
        assert_eq!(tags("*a*b*", &["xaxbx", "ab", "ba"]), [true, true, false]);
        assert_eq!(tags("*", &["latest"]), [true]);
        assert_eq!(tags("latest", &["latest", "latest2"]), [true, false]);
    }

    #[test]
    fn expression_matches_the_whole_tag() {
        assert_eq!(tags("/v[0-9]+/", &["v12", "v12a", "av12"]), [true, false, false]);
        assert_eq!(tags("re:main|dev-.*", &["main", "dev-1", "main2"]), [true, true, false]);
        let error = "/v[/".parse::<TagSelector>().unwrap_err().to_string();
        assert!(error.contains("/v[/ is not a regular expression"), "{error}");
    }

    #[test]
    fn range_matches_versions_only() {
        let versions = ["1.2.3", "v1.9", "2.0.0", "1.2.4-rc1", "latest"];
        assert_eq!(tags(">=1.2 <2", &versions), [true, true, false, false, false]);
        assert_eq!(tags("semver:^1.2", &versions), [true, true, false, false, false]);
        assert_eq!(tags(">= 1.2, < 3", &versions), [true, true, true, false, false]);
        ">=x".parse::<TagSelector>().unwrap_err();
    }

    #[test]
    fn repositories_match_by_pattern_or_expression() {
        let matches = |selector: &str, name: &str| {
            selector.parse::<RepositorySelector>().unwrap().matches(&name.parse().unwrap())
        };
        assert!(matches("team/*", "team/app") && !matches("team/*", "team/app/x"));
        assert!(matches("/(a|b)\\/.+/", "a/x") && !matches("/(a|b)\\/.+/", "c/x"));
        assert!(matches("re:.*-cache", "team/app-cache"));
        "Team".parse::<RepositorySelector>().unwrap_err();
        assert!("a b".parse::<TagSelector>().is_err() && "".parse::<TagSelector>().is_err());
    }
}
