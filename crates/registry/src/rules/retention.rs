//! Retention: which tags of a repository a rule deletes. Pure, so that a preview and a run decide the same.
//!
//! The first rule that selects a repository and a tag decides on the tag. A tag that no rule selects is kept.

use std::time::{Duration, SystemTime};

use oci::{RepositoryName, Tag};
use semver::Version;
use serde::{Deserialize, Serialize};
use store::metadata::TagState;

use super::{RepositorySelector, TagSelector, version};

/// A retention rule. It keeps a tag that meets one of its conditions, and deletes the other tags that it
/// selects.
#[derive(Clone, Debug, PartialEq)]
pub struct RetentionRule {
    /// The repositories that it selects.
    pub repositories: Vec<RepositorySelector>,
    /// The tags that it selects.
    pub tags: Vec<TagSelector>,
    /// Keeps this number of the newest selected tags of a repository.
    pub keep_newest: Option<usize>,
    /// The order of [`keep_newest`](Self::keep_newest).
    pub by: KeepBy,
    /// Keeps tags that were pushed within this time.
    pub keep_pushed_within: Option<Duration>,
    /// Keeps tags that were pushed or pulled within this time.
    pub keep_pulled_within: Option<Duration>,
    /// Keeps these tags.
    pub keep: Vec<TagSelector>,
}

/// The order of the newest tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeepBy {
    /// The time of the last push.
    #[default]
    Push,
    /// The semantic version. Tags without one are not among the newest.
    Version,
}

/// A tag that retention deletes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doomed {
    /// The tag.
    pub tag: Tag,
    /// The number of its rule, from 1, and the rule's conditions.
    pub reason: String,
}

impl RetentionRule {
    /// Whether the rule is about a repository.
    #[must_use]
    pub fn concerns(&self, repository: &RepositoryName) -> bool {
        self.repositories.iter().any(|selector| selector.matches(repository))
    }

    /// Whether the rule has a condition. One without would delete everything.
    #[must_use]
    pub fn has_condition(&self) -> bool {
        self.keep_newest.is_some()
            || self.keep_pushed_within.is_some()
            || self.keep_pulled_within.is_some()
            || !self.keep.is_empty()
    }

    fn selects(&self, tag: &Tag) -> bool {
        self.tags.iter().any(|selector| selector.matches(tag))
    }

    /// The unmet conditions, for people.
    fn conditions(&self) -> String {
        let mut parts = Vec::new();
        if let Some(newest) = self.keep_newest {
            let by = if self.by == KeepBy::Version { " by version" } else { "" };
            parts.push(format!("not among the newest {newest}{by}"));
        }
        if let Some(span) = self.keep_pushed_within {
            parts.push(format!("not pushed within {}", spelled(span)));
        }
        if let Some(span) = self.keep_pulled_within {
            parts.push(format!("not pulled within {}", spelled(span)));
        }
        if !self.keep.is_empty() {
            parts.push("not kept by a pattern".to_owned());
        }
        parts.join(", ")
    }

    /// The indexes of the newest tags among the selected ones. A tag that was pushed while the clock was
    /// ahead is kept by push time, and does not take the place of another one.
    fn newest(&self, selected: &[&TagState], now: SystemTime) -> Vec<bool> {
        let mut newest = vec![false; selected.len()];
        let Some(count) = self.keep_newest else { return newest };
        let mut order: Vec<(usize, Option<Version>)> = match self.by {
            KeepBy::Push => {
                let (future, past): (Vec<usize>, Vec<usize>) =
                    (0..selected.len()).partition(|index| selected[*index].pushed_at > now);
                for index in future {
                    newest[index] = true;
                }
                past.into_iter().map(|index| (index, None)).collect()
            }
            KeepBy::Version => selected
                .iter()
                .enumerate()
                .filter_map(|(index, tag)| Some((index, Some(version::of(&tag.tag)?))))
                .collect(),
        };
        order.sort_by(|(one, left), (other, right)| {
            let (one, other) = (selected[*one], selected[*other]);
            right.cmp(left).then(other.pushed_at.cmp(&one.pushed_at)).then(other.tag.cmp(&one.tag))
        });
        for (index, _) in order.into_iter().take(count) {
            newest[index] = true;
        }
        newest
    }
}

fn spelled(span: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let seconds = span.as_secs();
    match UNITS.iter().find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", seconds / unit),
        None => format!("{seconds}s"),
    }
}

/// A rule in JSON. Times are in seconds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Json {
    repositories: Vec<String>,
    #[serde(default = "all_tags")]
    tags: Vec<String>,
    #[serde(default)]
    keep_newest: Option<usize>,
    #[serde(default)]
    by: KeepBy,
    #[serde(default)]
    keep_pushed_within: Option<u64>,
    #[serde(default)]
    keep_pulled_within: Option<u64>,
    #[serde(default)]
    keep: Vec<String>,
}

fn all_tags() -> Vec<String> {
    vec!["*".to_owned()]
}

/// The maximum number of selectors in the rules of an owner. Each may be a regular expression that takes
/// memory.
const MAX_SELECTORS: usize = 100;

/// Reads the rules of an owner in JSON.
///
/// # Errors
/// The reason, for people.
pub fn from_json(json: &str) -> Result<Vec<RetentionRule>, String> {
    let rules: Vec<Json> = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let selectors: usize =
        rules.iter().map(|rule| rule.repositories.len() + rule.tags.len() + rule.keep.len()).sum();
    if selectors > MAX_SELECTORS {
        return Err(format!(
            "the rules name {selectors} patterns of repositories and tags; at most {MAX_SELECTORS} are allowed"
        ));
    }
    rules.into_iter().map(RetentionRule::try_from).collect()
}

impl TryFrom<Json> for RetentionRule {
    type Error = String;

    fn try_from(json: Json) -> Result<Self, String> {
        fn all<T: std::str::FromStr<Err: ToString>>(texts: &[String]) -> Result<Vec<T>, String> {
            texts.iter().map(|text| text.parse().map_err(|error: T::Err| error.to_string())).collect()
        }
        let rule = Self {
            repositories: all(&json.repositories)?,
            tags: all(&json.tags)?,
            keep_newest: json.keep_newest,
            by: json.by,
            keep_pushed_within: json.keep_pushed_within.map(Duration::from_secs),
            keep_pulled_within: json.keep_pulled_within.map(Duration::from_secs),
            keep: all(&json.keep)?,
        };
        if !rule.has_condition() {
            return Err("a rule needs keep_newest, keep_pushed_within, keep_pulled_within or keep".to_owned());
        }
        Ok(rule)
    }
}

/// Whether the rule selects repositories of this owner only.
#[must_use]
pub fn is_within(rule: &RetentionRule, owner: &str) -> bool {
    let is_below = |selector: &RepositorySelector| {
        selector.pattern().is_some_and(|pattern| pattern.namespace() == Some(owner))
    };
    rule.repositories.iter().all(is_below)
}

/// Decides which tags of a repository to delete. `tags` are all its tags, without fallback tags.
#[must_use]
pub fn decide(
    rules: &[RetentionRule],
    minimum_age: Duration,
    repository: &RepositoryName,
    tags: &[TagState],
    now: SystemTime,
) -> Vec<Doomed> {
    let mut doomed = Vec::new();
    let mut undecided: Vec<&TagState> = tags.iter().filter(|tag| !is_referrer(&tag.tag)).collect();
    for (number, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.concerns(repository)) {
        let (selected, rest): (Vec<_>, Vec<_>) =
            undecided.into_iter().partition(|tag| rule.selects(&tag.tag));
        undecided = rest;
        let newest = rule.newest(&selected, now);
        for (tag, is_newest) in selected.into_iter().zip(newest) {
            // A clock that was set back makes an age of zero.
            let age = |then: SystemTime| now.duration_since(then).unwrap_or_default();
            let last_use = tag.pulled_at.map_or(tag.pushed_at, |pulled_at| pulled_at.max(tag.pushed_at));
            let is_kept = is_newest
                || age(last_use) < minimum_age
                || rule.keep_pushed_within.is_some_and(|span| age(tag.pushed_at) < span)
                || rule.keep_pulled_within.is_some_and(|span| age(last_use) < span)
                || rule.keep.iter().any(|selector| selector.matches(&tag.tag));
            if !is_kept {
                let reason = format!("rule {}: {}", number + 1, rule.conditions());
                doomed.push(Doomed { tag: tag.tag.clone(), reason });
            }
        }
    }
    doomed
}

/// Whether the tag names a referrer of an image by its digest, as cosign does (`sha256-….sig`). A referrer
/// lives and dies with its subject.
fn is_referrer(tag: &Tag) -> bool {
    let Some(rest) = tag.as_str().strip_prefix("sha256-") else { return false };
    let hex = rest.split('.').next().unwrap_or_default();
    hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn rules_have_a_bounded_number_of_selectors() {
        let rules = |tags: usize| {
            let tags = vec![r"/v\d+(\.\d+)*(-\w+)?/"; tags];
            serde_json::json!([{ "repositories": ["ann/*"], "tags": tags, "keep_newest": 1 }]).to_string()
        };
        assert_eq!(from_json(&rules(MAX_SELECTORS - 1)).unwrap().len(), 1);
        let refused = from_json(&rules(MAX_SELECTORS)).unwrap_err();
        assert!(refused.contains("101 patterns") && refused.contains("at most 100"), "{refused}");
    }

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + 10_000 * DAY
    }

    fn state(tag: &str, pushed: u32, pulled: Option<u32>) -> TagState {
        TagState {
            tag: tag.parse().unwrap(),
            digest: oci::Algorithm::Sha256.digest(tag.as_bytes()),
            pushed_at: now() - pushed * DAY,
            pulled_at: pulled.map(|days| now() - days * DAY),
        }
    }

    fn rule(tags: &str) -> RetentionRule {
        RetentionRule {
            repositories: vec!["team/**".parse().unwrap()],
            tags: vec![tags.parse().unwrap()],
            keep_newest: None,
            by: KeepBy::Push,
            keep_pushed_within: None,
            keep_pulled_within: None,
            keep: Vec::new(),
        }
    }

    fn doomed(rules: &[RetentionRule], tags: &[TagState]) -> Vec<String> {
        let doomed = decide(rules, DAY, &"team/app".parse().unwrap(), tags, now());
        doomed.into_iter().map(|doomed| doomed.tag.to_string()).collect()
    }

    #[test]
    fn newest_tags_are_kept_by_push_time() {
        let rules = [RetentionRule { keep_newest: Some(2), ..rule("*") }];
        let tags = [state("a", 9, None), state("b", 3, None), state("c", 5, None), state("d", 7, None)];
        assert_eq!(doomed(&rules, &tags), ["a", "d"]);
    }

    #[test]
    fn push_from_the_future_does_not_count_as_newest() {
        let rules = [RetentionRule { keep_newest: Some(1), ..rule("*") }];
        let ahead = TagState { pushed_at: now() + 365 * DAY, ..state("ahead", 0, None) };
        let tags = [ahead, state("newest", 3, None), state("older", 5, None)];
        let doomed = decide(&rules, Duration::ZERO, &"team/app".parse().unwrap(), &tags, now());
        assert_eq!(doomed.iter().map(|doomed| doomed.tag.as_str()).collect::<Vec<_>>(), ["older"]);
    }

    #[test]
    fn newest_tags_are_kept_by_version() {
        let rules = [RetentionRule { keep_newest: Some(2), by: KeepBy::Version, ..rule("*") }];
        let tags = [
            state("1.9.0", 3, None),
            state("1.10.0", 9, None),
            state("v2", 8, None),
            state("nightly", 2, None),
        ];
        assert_eq!(doomed(&rules, &tags), ["1.9.0", "nightly"]);
    }

    /// harbor#18479: a rule that looks only at the last pull deletes what was pushed minutes ago.
    #[test]
    fn fresh_push_survives_a_rule_on_pulls() {
        let rules = [RetentionRule { keep_pulled_within: Some(5 * DAY), ..rule("*") }];
        let tags = [
            state("pushed-now", 0, None),
            state("pushed-lately", 3, Some(90)),
            state("pulled-lately", 90, Some(3)),
            state("old", 90, Some(60)),
        ];
        assert_eq!(doomed(&rules, &tags), ["old"]);
    }

    /// harbor#22026: production tags go with a pattern that was meant for others.
    #[test]
    fn first_matching_rule_decides() {
        let production = RetentionRule { keep: vec!["*".parse().unwrap()], ..rule("prod-*") };
        let rest = RetentionRule { keep_newest: Some(0), ..rule("*") };
        let tags = [state("prod-1", 900, None), state("dev-1", 900, None)];
        assert_eq!(doomed(&[production.clone(), rest.clone()], &tags), ["dev-1"]);
        assert_eq!(doomed(&[rest.clone(), production], &tags), ["prod-1", "dev-1"]);
        let excepted = RetentionRule { keep: vec!["prod-*".parse().unwrap()], ..rest };
        assert_eq!(doomed(&[excepted], &tags), ["dev-1"]);
    }

    #[test]
    fn minimum_age_counts_before_every_rule() {
        let rules = [RetentionRule { keep_newest: Some(0), ..rule("*") }];
        let tags = [state("new", 0, None), state("pulled-now", 50, Some(0)), state("old", 2, None)];
        assert_eq!(doomed(&rules, &tags), ["old"]);
        let future = TagState { pushed_at: now() + DAY, ..state("future", 0, None) };
        assert!(doomed(&rules, &[future]).is_empty(), "a push in the future has no age");
    }

    #[test]
    fn referrers_and_other_repositories_are_left_alone() {
        let rules = [RetentionRule { keep_newest: Some(0), ..rule("*") }];
        let signature = format!("sha256-{}.sig", "a".repeat(64));
        assert!(doomed(&rules, &[state(&signature, 99, None)]).is_empty());
        let other = decide(&rules, DAY, &"other/app".parse().unwrap(), &[state("a", 99, None)], now());
        assert!(other.is_empty());
        let unselected = [RetentionRule { keep_newest: Some(0), ..rule("v*") }];
        assert!(doomed(&unselected, &[state("a", 99, None)]).is_empty());
    }
}
