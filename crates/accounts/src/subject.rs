//! To whom a grant gives something.

use std::fmt;
use std::str::FromStr;

use super::{AccountName, AccountNameError, TeamName, TeamNameError, serde_as_string};

/// To whom a grant gives something. In text: `everyone`, `accounts`, `ann`, `ann+ci`, `acme/devs`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// Everyone, including anonymous clients: this makes a repository public.
    Everyone,
    /// All authenticated users.
    Accounts,
    /// A user or a robot.
    Account(AccountName),
    /// A team of an organisation.
    Team(AccountName, TeamName),
}

/// Why a text names no subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// The name of the account, or of the organisation, is none.
    #[error(transparent)]
    Account(#[from] AccountNameError),
    /// The name of the team is none.
    #[error(transparent)]
    Team(#[from] TeamNameError),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everyone => f.pad("everyone"),
            Self::Accounts => f.pad("accounts"),
            Self::Account(name) => fmt::Display::fmt(name, f),
            Self::Team(organisation, team) => f.pad(&format!("{organisation}/{team}")),
        }
    }
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(s: &str) -> Result<Self, SubjectError> {
        Ok(match s {
            "everyone" => Self::Everyone,
            "accounts" => Self::Accounts,
            _ => match s.split_once('/') {
                Some((organisation, team)) => Self::Team(organisation.parse()?, team.parse()?),
                None => Self::Account(s.parse()?),
            },
        })
    }
}

serde_as_string!(Subject);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_spelt_one_way() {
        for text in ["everyone", "accounts", "ann", "ann+ci", "acme/devs", "ann@example.org"] {
            let subject: Subject = text.parse().unwrap();
            assert_eq!(subject.to_string(), text);
            assert_eq!(serde_json::to_string(&subject).unwrap(), format!("{text:?}"));
        }
        assert!(matches!("acme/devs".parse(), Ok(Subject::Team(..))));
        for text in ["", "acme/", "/devs", "acme/a/b", "acme/Devs", "everyone/devs", "a b"] {
            assert!(text.parse::<Subject>().is_err(), "{text}");
        }
    }
}
