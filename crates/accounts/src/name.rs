//! Names of accounts and teams.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use oci::RepositoryName;
use oci::name::is_component;

use super::{Pattern, serde_as_string};

/// The longest name that is made here, in bytes: of a user, an organisation, a team, and the own
/// part of a robot's.
const MAX_OWN: usize = 64;
/// The longest name that comes from elsewhere, in characters.
const MAX_FOREIGN: usize = 128;
/// Words that stand for something else where a subject is named.
const RESERVED: [&str; 2] = ["everyone", "accounts"];

/// The name of an account, as a user logs in with it.
///
/// - One component of a repository name, of at most 64 characters, is the name of a user or an
///   organisation; it owns the repositories below it, such as `ann/…`.
/// - A user from an htpasswd file or from the operator's own backend may have any name of up to
///   128 printable characters without space, `:`, `+` and `/`. If it is no such component, it owns
///   no repositories.
/// - `owner+name` is a robot.
///
/// Cloning it is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountName(Arc<str>);

/// Why a text is not the name of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountNameError {
    /// Nothing there.
    #[error("the name of an account cannot be empty")]
    Empty,
    /// Longer than it may be.
    #[error("the name of an account has at most {MAX_FOREIGN} characters")]
    TooLong,
    /// A character that no name has.
    #[error("an account name cannot have spaces, `:`, `/` or unprintable characters")]
    Character,
    /// With a `+`, but not as a robot has it.
    #[error(
        "a name with `+` is that of a robot: OWNER+NAME, such as ann+ci; NAME has a-z, 0-9, `.`, `_` and `-`"
    )]
    Robot,
    /// A word with another meaning.
    #[error("`everyone` and `accounts` are reserved: in grants they stand for all clients and all accounts")]
    Reserved,
}

impl AccountName {
    /// The name as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name owns a namespace. Names of an htpasswd file or a backend may not.
    #[must_use]
    pub fn has_namespace(&self) -> bool {
        self.0.len() <= MAX_OWN && is_component(&self.0)
    }

    /// All repositories that it owns, if its name can own any: `ann/**`.
    #[must_use]
    pub fn namespace(&self) -> Option<Pattern> {
        self.has_namespace().then(|| Pattern::below(&self.0))
    }

    /// Whether this repository is in its namespace. `ann/app` is in that of `ann`; `ann` is not.
    #[must_use]
    pub fn owns(&self, repository: &RepositoryName) -> bool {
        repository.as_str().split_once('/').is_some_and(|(first, _)| first == self.as_str())
            && self.has_namespace()
    }

    /// The owner's name and the robot's own, if this is a robot.
    #[must_use]
    pub fn robot(&self) -> Option<(AccountName, &str)> {
        self.0.split_once('+').map(|(owner, name)| (Self(owner.into()), name))
    }

    /// The name of a robot of this account.
    ///
    /// # Errors
    /// [`AccountNameError::Robot`] if `name` is no component of a repository name, or this account
    /// is a robot itself.
    pub fn robot_named(&self, name: &str) -> Result<Self, AccountNameError> {
        if self.is_robot() {
            return Err(AccountNameError::Robot);
        }
        format!("{self}+{name}").parse()
    }

    /// Whether the name looks like something else: a mark of the audit log such as `(operator)`, a list, or a
    /// path such as `..`. No name from outside may be one.
    #[must_use]
    pub fn is_misleading(&self) -> bool {
        self.0.contains(['(', ')', ',']) || !self.0.contains(char::is_alphanumeric)
    }

    /// Whether it is a robot.
    #[must_use]
    pub fn is_robot(&self) -> bool {
        self.0.contains('+')
    }
}

impl FromStr for AccountName {
    type Err = AccountNameError;

    fn from_str(s: &str) -> Result<Self, AccountNameError> {
        let owner = match s.split_once('+') {
            Some((owner, name)) if name.len() <= MAX_OWN && is_component(name) => owner,
            Some(_) => return Err(AccountNameError::Robot),
            None => s,
        };
        if owner.is_empty() {
            return Err(AccountNameError::Empty);
        }
        if owner.chars().nth(MAX_FOREIGN).is_some() {
            return Err(AccountNameError::TooLong);
        }
        if !owner.chars().all(is_printable) {
            return Err(AccountNameError::Character);
        }
        if RESERVED.contains(&owner) {
            return Err(AccountNameError::Reserved);
        }
        Ok(Self(s.into()))
    }
}

/// Whether a name may have this character. An invisible character, or one that changes its neighbours, would
/// make two names look the same.
fn is_printable(character: char) -> bool {
    !character.is_control()
        && !character.is_whitespace()
        && !matches!(character, ':' | '/' | '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}')
        && !matches!(character, '\u{2060}'..='\u{206F}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFF0}'..='\u{FFFF}')
        && !matches!(character, '\u{E0000}'..='\u{10FFFF}')
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

serde_as_string!(AccountName);

/// The name of a team inside its organisation: one component of a repository name, at most 64
/// characters. Cloning it is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TeamName(Arc<str>);

/// A text that is not the name of a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a team's name has a-z and 0-9, joined by `.`, `_`, `__` or `-`, and at most {MAX_OWN} characters")]
pub struct TeamNameError;

impl TeamName {
    /// The name as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TeamName {
    type Err = TeamNameError;

    fn from_str(s: &str) -> Result<Self, TeamNameError> {
        if s.len() <= MAX_OWN && is_component(s) { Ok(Self(s.into())) } else { Err(TeamNameError) }
    }
}

impl fmt::Display for TeamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for TeamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

serde_as_string!(TeamName);

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> AccountName {
        text.parse().unwrap()
    }

    #[test]
    fn name_owns_only_what_is_below_it() {
        let ann = name("ann");
        for (repository, owned) in
            [("ann/app", true), ("ann/a/b", true), ("ann", false), ("anna/app", false), ("x/ann/app", false)]
        {
            let repository = repository.parse().unwrap();
            assert_eq!(ann.owns(&repository), owned, "{repository}");
            assert_eq!(ann.namespace().unwrap().matches(&repository), owned, "{repository}");
        }
        for foreign in ["Ann", "ann@example.org", "ännchen", "-ann", "a..b", &"a".repeat(65), "日本"] {
            assert_eq!(name(foreign).namespace(), None, "{foreign}");
        }
        assert!(name(&"a".repeat(64)).has_namespace());
        assert!(!name("ann+ci").has_namespace());
    }

    #[test]
    fn robots_have_an_owner() {
        let robot = name("ann+ci-1");
        assert_eq!(robot.robot(), Some((name("ann"), "ci-1")));
        assert_eq!(name("ann").robot_named("ci-1"), Ok(robot.clone()));
        assert_eq!(name("Ann@x").robot_named("ci").unwrap().as_str(), "Ann@x+ci");
        assert_eq!(robot.robot_named("x"), Err(AccountNameError::Robot));
        assert_eq!(name("ann").robot(), None);
        for text in ["ann+", "ann+CI", "a+b+c", "ann+ci/x", "ann++"] {
            assert_eq!(text.parse::<AccountName>(), Err(AccountNameError::Robot), "{text}");
        }
    }

    #[test]
    fn hostile_names_are_refused() {
        use AccountNameError::*;
        for (text, error) in [
            ("", Empty),
            ("+ci", Empty),
            (&*"ä".repeat(129), TooLong),
            ("a b", Character),
            ("a:b", Character),
            ("a/b", Character),
            ("../x", Character),
            ("a\0", Character),
            ("a\n", Character),
            ("a\u{202E}b", Character),
            ("a\u{200B}b", Character),
            ("a\u{A0}b", Character),
            ("everyone", Reserved),
            ("accounts", Reserved),
            ("everyone+ci", Reserved),
        ] {
            assert_eq!(text.parse::<AccountName>(), Err(error), "{text:?}");
        }
        assert_eq!(name(&"ä".repeat(128)).to_string(), "ä".repeat(128));
        // These are ordinary text, and stay what they are.
        for text in ["'; DROP TABLE accounts; --", "%", "_", "*", "**", "\\"] {
            assert_eq!(text.parse::<AccountName>().is_ok(), !text.contains(' '), "{text}");
        }
    }

    #[test]
    fn teams_are_named_like_components() {
        assert_eq!("devs".parse::<TeamName>().unwrap().as_str(), "devs");
        for text in ["", "Devs", "a/b", "a+b", "..", &"a".repeat(65)] {
            assert_eq!(text.parse::<TeamName>(), Err(TeamNameError), "{text}");
        }
    }

    #[test]
    fn misleading_names_are_recognised() {
        for text in ["(operator)", "(htpasswd)", "..", "-", "root,ann"] {
            assert!(text.parse::<AccountName>().unwrap().is_misleading(), "{text}");
        }
        for text in ["ann", "Ann.B@example.com", "DOMAIN\\ann", "名前", "ann+ci"] {
            assert!(!text.parse::<AccountName>().unwrap().is_misleading(), "{text}");
        }
    }
}
