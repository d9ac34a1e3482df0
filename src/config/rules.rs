//! `[[immutable]]`, `[[protected]]`, `[[quota]]` and `[[retention]]`: the rules on tags and space.

use std::time::Duration;

use accounts::AccountName;
use clap::ValueEnum;
use registry::rules::{RepositorySelector, TagSelector};

use super::value::{
    TableRules, ValueType, choice, count_or_unlimited, duration, one_or_more, optional, parsed,
    size_or_unlimited, switch, table,
};

const REPOSITORIES: &str = "repositories such as \"team/app\", \"team/*\" or \"**\", or a regular expression such as \"/team-[0-9]+\\/.*/\"";
const TAGS: &str =
    "tags such as \"v*\", a regular expression such as \"/v[0-9]+/\", or versions such as \">=1.2 <2\"";

table! {
    /// Tags that cannot be moved or deleted.
    Immutable, such as r#"{ repositories = "team/**", tags = "v*" }"# {
        /// The repositories: a name, a pattern (`team/*`, `team/**`, `**`) or a regular expression between
        /// slashes, or a list of these.
        repositories: Vec<RepositorySelector>, one_or_more(parsed(REPOSITORIES));

        /// The tags: a name, a pattern (`v*`), a regular expression between slashes, or a range of versions
        /// (`>=1.2 <2`), or a list of these.
        tags: Vec<TagSelector>, one_or_more(parsed(TAGS));
    }
}

table! {
    /// Tags that only administrators may delete.
    Protected, such as r#"{ repositories = "team/**", tags = "prod-*" }"# {
        /// The repositories, as in `[[immutable]]`.
        repositories: Vec<RepositorySelector>, one_or_more(parsed(REPOSITORIES));

        /// The tags, as in `[[immutable]]`.
        tags: Vec<TagSelector>, one_or_more(parsed(TAGS));
    }
}

table! {
    /// A limit on the space and the tags of repositories.
    Quota, such as r#"{ owner = "ann", bytes = "50GB" }"# {
        /// The repositories that the limit is for, together: a name, a pattern or a regular expression.
        /// `"**"` is the whole registry.
        repositories: Option<RepositorySelector> = None, optional(parsed(REPOSITORIES));

        /// The account or organisation whose repositories the limit is for, together, instead of
        /// `repositories`.
        owner: Option<AccountName> = None, optional(parsed("the name of a user or an organisation"));

        /// Whether the limit is for each of `repositories` instead of all together.
        each: bool = false, switch();

        /// The limit in bytes, or `"unlimited"`. Manifests, configs and layers count, each digest once.
        bytes: Option<u64> = None, size_or_unlimited();

        /// The limit on the number of tags, or `"unlimited"`.
        tags: Option<usize> = None, count_or_unlimited();
    }
}

table! {
    /// Deletes tags that meet none of its `keep` conditions. The first rule that selects a tag decides on it.
    Retention, such as r#"{ repositories = "ci/**", tags = "*", keep_newest = 10 }"# {
        /// The repositories, as in `[[immutable]]`.
        repositories: Vec<RepositorySelector>, one_or_more(parsed(REPOSITORIES));

        /// The tags that the rule decides on, as in `[[immutable]]`. All others are left to later rules.
        tags: Vec<TagSelector> = vec![all_tags()], one_or_more(parsed(TAGS));

        /// Keep this number of tags in each repository, the newest ones.
        keep_newest: Option<usize> = None, optional(super::value::count());

        /// The order of `keep_newest`: `"push"` by the time of the last push, `"version"` by semantic
        /// version.
        by: By = By::Push, choice::<By>();

        /// Keep tags that were pushed within this time.
        keep_pushed_within: Option<Duration> = None, optional(duration());

        /// Keep tags that were pushed or pulled within this time.
        keep_pulled_within: Option<Duration> = None, optional(duration());

        /// Keep these tags, as in `[[immutable]]`.
        keep: Vec<TagSelector> = Vec::new(), one_or_more(parsed(TAGS));
    }
}

/// The order of the newest tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// The time of the last push
    Push,
    /// The semantic version
    Version,
}

fn all_tags() -> TagSelector {
    "*".parse().expect("a glob")
}

/// Refuses a rule that selects nothing, and so protects nothing.
fn must_select(
    repositories: &[RepositorySelector],
    tags: &[TagSelector],
) -> Result<(), (&'static str, String)> {
    match (repositories, tags) {
        ([], _) => Err((
            "repositories",
            "the list is empty, so that the rule selects nothing; \"**\" is every repository".to_owned(),
        )),
        (_, []) => Err((
            "tags",
            "the list is empty, so that the rule selects nothing; \"*\" is every tag".to_owned(),
        )),
        _ => Ok(()),
    }
}

impl TableRules for Immutable {
    const UNIQUE: &'static str = "";

    fn check(&self) -> Result<(), (&'static str, String)> {
        must_select(&self.repositories, &self.tags)
    }
}

impl TableRules for Protected {
    const UNIQUE: &'static str = "";

    fn check(&self) -> Result<(), (&'static str, String)> {
        must_select(&self.repositories, &self.tags)
    }
}

impl TableRules for Quota {
    const UNIQUE: &'static str = "";

    fn check(&self) -> Result<(), (&'static str, String)> {
        match (&self.repositories, &self.owner) {
            (Some(_), Some(_)) => {
                Err(("owner", "a quota has `repositories` or `owner`, not both".to_owned()))
            }
            (None, None) => Err(("bytes", "a quota needs `repositories` or `owner`".to_owned())),
            (None, Some(_)) if self.each => Err(("each", "`each` is for `repositories`".to_owned())),
            _ if self.bytes.is_none() && self.tags.is_none() => {
                Err(("repositories", "a quota needs `bytes` or `tags`".to_owned()))
            }
            _ => Ok(()),
        }
    }
}

impl Retention {
    /// Returns whether the rule keeps none of its tags.
    #[must_use]
    pub fn keeps_nothing(&self) -> bool {
        self.keep_newest == Some(0)
            && self.keep_pushed_within.is_none_or(|span| span.is_zero())
            && self.keep_pulled_within.is_none_or(|span| span.is_zero())
            && self.keep.is_empty()
    }
}

/// Returns a warning for each retention rule that deletes everything that it selects.
#[must_use]
pub fn retention_warnings(rules: &[Retention]) -> Vec<String> {
    let joined = |texts: &mut dyn Iterator<Item = String>| texts.collect::<Vec<_>>().join(", ");
    let keeping_nothing = rules.iter().enumerate().filter(|(_, rule)| rule.keeps_nothing());
    keeping_nothing
        .map(|(index, rule)| {
            format!(
                "retention rule {} keeps nothing: it deletes the tags {} of {} as soon as they are older than \
                 retention_minimum_age",
                index + 1,
                joined(&mut rule.tags.iter().map(ToString::to_string)),
                joined(&mut rule.repositories.iter().map(ToString::to_string))
            )
        })
        .collect()
}

impl TableRules for Retention {
    const UNIQUE: &'static str = "";

    fn check(&self) -> Result<(), (&'static str, String)> {
        must_select(&self.repositories, &self.tags)?;
        let has_condition = self.keep_newest.is_some()
            || self.keep_pushed_within.is_some()
            || self.keep_pulled_within.is_some()
            || !self.keep.is_empty();
        if has_condition {
            return Ok(());
        }
        Err((
            "repositories",
            "a rule needs `keep_newest`, `keep_pushed_within`, `keep_pulled_within` or `keep`; \
             `keep_newest = 0` deletes all of its tags"
                .to_owned(),
        ))
    }
}
