//! Who asks.

use std::sync::Arc;
use std::time::SystemTime;

use accounts::{AccountName, Pattern, Rights};
use oci::RepositoryName;

/// Who asks. Made by [`super::Accounts::sign_in`] from what a request sent, never from a name.
#[derive(Clone, Debug)]
pub enum Identity {
    /// Nobody in particular: no credentials were sent. A bearer token that was issued without an
    /// account is this as well: it may do what whoever asks may do.
    Anonymous,
    /// Whoever reaches the control socket has the files in hand anyway: everything is allowed.
    Operator,
    /// An account.
    Account(Arc<SignedIn>),
}

/// An account that has proved who it is.
#[derive(Debug)]
pub struct SignedIn {
    /// Number of the account; never used again for another.
    pub id: i64,
    /// Its name.
    pub name: AccountName,
    /// Whether it is an administrator. What it may do is restricted by `scope` all the same.
    pub administrator: bool,
    /// What the token with which it signed in allows; `None` is everything that the account may.
    pub scope: Option<TokenScope>,
    /// How it proved who it is.
    pub via: Via,
    /// Ties what is issued to this sign-in to what was proved by it.
    pub(super) proof: Proof,
}

/// How an account has proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// With its password.
    Password,
    /// With a personal token.
    PersonalToken,
    /// With the secret of a robot.
    RobotSecret,
    /// With a bearer token of the registry's own.
    Bearer,
    /// With a refresh token, which is good for getting bearer tokens and nothing else.
    RefreshToken,
    /// The operator's own backend vouched for it.
    Forward,
}

/// What has to stay as it is for a sign-in to stay good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// The password, by a fingerprint of how it is kept.
    Password(u64),
    /// The token of this number.
    Token {
        id: i64,
        /// When it ends.
        expires_at: Option<SystemTime>,
    },
    /// Nothing here: the operator's backend says so.
    Forward,
}

/// What a token allows of that which its account may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenScope {
    /// A personal token: some rights, on some repositories.
    Personal {
        /// The rights; `None` is all of them.
        rights: Option<Rights>,
        /// The repositories; `None` is all of them.
        patterns: Option<Vec<Pattern>>,
    },
    /// A bearer token: what it was issued for.
    Bearer {
        /// Rights on each repository.
        repositories: Vec<(RepositoryName, Rights)>,
        /// Whether it may list repositories.
        catalog: bool,
        /// What the personal token or robot's secret allows *now* with which it was got, which may be less than it did
        /// then; `None` is all.
        rights: Option<Rights>,
        /// On which repositories; `None` is all.
        patterns: Option<Vec<Pattern>>,
    },
}

impl TokenScope {
    /// The rights that it allows on a repository, of those that the account has.
    #[must_use]
    pub fn rights(&self, repository: &RepositoryName) -> Rights {
        match self {
            Self::Personal { rights, patterns } => of_token(*rights, patterns.as_deref(), repository),
            Self::Bearer { repositories, rights, patterns, .. } => repositories
                .iter()
                .filter(|(name, _)| name == repository)
                .fold(Rights::NONE, |all, (_, rights)| all.union(*rights))
                .intersection(of_token(*rights, patterns.as_deref(), repository)),
        }
    }
}

/// The rights that a token within these limits allows on a repository.
fn of_token(rights: Option<Rights>, patterns: Option<&[Pattern]>, repository: &RepositoryName) -> Rights {
    match patterns {
        Some(patterns) if !patterns.iter().any(|pattern| pattern.matches(repository)) => Rights::NONE,
        _ => rights.unwrap_or(Rights::ALL),
    }
}

impl Identity {
    /// The account, if it is one.
    #[must_use]
    pub fn account(&self) -> Option<&SignedIn> {
        match self {
            Self::Account(account) => Some(account),
            Self::Anonymous | Self::Operator => None,
        }
    }

    /// The name of the account, if it is one.
    #[must_use]
    pub fn name(&self) -> Option<&AccountName> {
        self.account().map(|account| &account.name)
    }

    /// Whether nobody has signed in.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        matches!(self, Self::Anonymous)
    }

    /// What the token with which it signed in allows, if that is less than its account may do.
    #[must_use]
    pub fn scope(&self) -> Option<&TokenScope> {
        self.account().and_then(|account| account.scope.as_ref())
    }

    /// Whether it signed in with a bearer token: then another with more in it can be had.
    #[must_use]
    pub fn is_bearer(&self) -> bool {
        self.account().is_some_and(|account| account.via == Via::Bearer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(text: &str) -> Rights {
        text.parse().unwrap()
    }

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn a_bearer_allows_what_it_was_issued_for_and_nothing_else() {
        let scope = TokenScope::Bearer {
            repositories: vec![
                (name("team/app"), rights("pull")),
                (name("team/app"), rights("push")),
                (name("team/base"), rights("pull")),
            ],
            catalog: false,
            rights: None,
            patterns: None,
        };
        assert_eq!(scope.rights(&name("team/app")), rights("push"));
        assert_eq!(scope.rights(&name("team/base")), rights("pull"));
        for other in ["team", "team/app-x", "team/app/x", "team/ap", "other"] {
            assert_eq!(scope.rights(&name(other)), Rights::NONE, "{other}");
        }
    }

    #[test]
    fn a_personal_token_restricts_rights_and_repositories_each_on_its_own() {
        let patterns = vec!["ann/*".parse().unwrap(), "team/app".parse().unwrap()];
        let both = TokenScope::Personal { rights: Some(rights("pull")), patterns: Some(patterns.clone()) };
        assert_eq!(both.rights(&name("ann/x")), rights("pull"));
        assert_eq!(both.rights(&name("team/app")), rights("pull"));
        assert_eq!(both.rights(&name("team/app-x")), Rights::NONE);
        let repositories = TokenScope::Personal { rights: None, patterns: Some(patterns) };
        assert_eq!(repositories.rights(&name("ann/x")), Rights::ALL);
        assert_eq!(repositories.rights(&name("bob/x")), Rights::NONE);
        let reading = TokenScope::Personal { rights: Some(rights("pull")), patterns: None };
        assert_eq!(reading.rights(&name("bob/x")), rights("pull"));
        let nothing = TokenScope::Personal { rights: None, patterns: Some(Vec::new()) };
        assert_eq!(nothing.rights(&name("bob/x")), Rights::NONE);
    }
}
