//! The authenticated sender of a request.

use std::sync::Arc;
use std::time::SystemTime;

use accounts::{AccountName, Pattern, Rights};
use oci::RepositoryName;
use store::metadata::AccountRecord;

/// The sender of a request. [`super::Accounts::sign_in`] derives it from credentials, never from a bare name.
#[derive(Clone, Debug)]
pub enum Identity {
    /// A request without credentials, or with a bearer token that was issued without an account.
    Anonymous,
    /// A request over the control socket. It has all rights, because its sender can access the files anyway.
    Operator,
    /// A signed-in account.
    Account(Arc<SignedIn>),
}

/// A signed-in account.
#[derive(Debug)]
pub struct SignedIn {
    /// The id of the account. Ids are not reused.
    pub id: i64,
    /// The account name.
    pub name: AccountName,
    /// Whether the account is an administrator. `scope` restricts it all the same.
    pub administrator: bool,
    /// The restriction by the token of the sign-in; `None` for all rights of the account.
    pub scope: Option<TokenScope>,
    /// The method of the sign-in.
    pub via: Via,
    /// The time at which the credentials expire by themselves.
    pub expires_at: Option<SystemTime>,
    /// Binds issued tokens to this sign-in.
    pub(super) proof: Proof,
}

impl SignedIn {
    /// The id of the personal token of the sign-in.
    pub(super) fn personal_token(&self) -> Option<i64> {
        match self.proof {
            Proof::Token { id, .. } if self.via == Via::PersonalToken => Some(id),
            _ => None,
        }
    }

    /// Whether the sign-in used a personal token with an end.
    pub(super) fn is_expiring_token(&self) -> bool {
        self.via == Via::PersonalToken && matches!(self.proof, Proof::Token { expires_at: Some(_), .. })
    }
}

/// The method of a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// A password.
    Password,
    /// A personal token.
    PersonalToken,
    /// The secret of a robot.
    RobotSecret,
    /// A bearer token of this registry.
    Bearer,
    /// A refresh token, which only serves to get bearer tokens.
    RefreshToken,
    /// A session of a browser, which began with a password.
    Session,
    /// The forward-auth backend of the operator.
    Forward,
}

/// The facts that must not change for a sign-in to stay valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// The fingerprint of the stored password.
    Password(u64),
    /// The token with this id.
    Token { id: i64, expires_at: Option<SystemTime> },
    /// No fact: the backend decides for each request.
    Forward,
}

/// The restriction of an account's rights by a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenScope {
    /// A personal token or a robot's secret.
    Personal {
        /// `None` for all rights.
        rights: Option<Rights>,
        /// `None` for all repositories.
        patterns: Option<Vec<Pattern>>,
    },
    /// A bearer token.
    Bearer {
        /// The rights for which the token was issued, by repository.
        repositories: Vec<(RepositoryName, Rights)>,
        /// Whether the token may list repositories.
        catalog: bool,
        /// The current rights of the personal token or robot's secret behind it, which may have shrunk;
        /// `None` for all.
        rights: Option<Rights>,
        /// The current repositories of that token; `None` for all.
        patterns: Option<Vec<Pattern>>,
    },
}

impl TokenScope {
    /// The scope of a personal token or a robot's secret. `None` if it has all rights of its account.
    pub(super) fn personal(rights: Option<Rights>, patterns: Option<Vec<Pattern>>) -> Option<Self> {
        (rights.is_some() || patterns.is_some()).then_some(Self::Personal { rights, patterns })
    }

    /// The maximum rights on a repository.
    #[must_use]
    pub fn rights(&self, repository: &RepositoryName) -> Rights {
        match self {
            Self::Personal { rights, patterns } => token_rights(*rights, patterns.as_deref(), repository),
            Self::Bearer { repositories, rights, patterns, .. } => repositories
                .iter()
                .filter(|(name, _)| name == repository)
                .fold(Rights::NONE, |all, (_, rights)| all.union(*rights))
                .intersection(token_rights(*rights, patterns.as_deref(), repository)),
        }
    }

    /// The maximum rights on a repository of any token that the same credentials can get.
    #[must_use]
    pub fn widest(&self, repository: &RepositoryName) -> Rights {
        let (Self::Personal { rights, patterns } | Self::Bearer { rights, patterns, .. }) = self;
        token_rights(*rights, patterns.as_deref(), repository)
    }
}

fn token_rights(rights: Option<Rights>, patterns: Option<&[Pattern]>, repository: &RepositoryName) -> Rights {
    match patterns {
        Some(patterns) if !patterns.iter().any(|pattern| pattern.matches(repository)) => Rights::NONE,
        _ => rights.unwrap_or(Rights::ALL),
    }
}

impl Identity {
    /// The identity of an account that did not sign in, to ask for its rights.
    pub(super) fn of(account: &AccountRecord) -> Self {
        Self::Account(Arc::new(SignedIn {
            id: account.id,
            name: account.name.clone(),
            administrator: account.administrator,
            scope: None,
            via: Via::Forward,
            expires_at: None,
            proof: Proof::Forward,
        }))
    }

    /// The account, if the request is signed in.
    #[must_use]
    pub fn account(&self) -> Option<&SignedIn> {
        match self {
            Self::Account(account) => Some(account),
            Self::Anonymous | Self::Operator => None,
        }
    }

    /// The account name, if the request is signed in.
    #[must_use]
    pub fn name(&self) -> Option<&AccountName> {
        self.account().map(|account| &account.name)
    }

    /// Whether there is neither an account nor the operator.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        matches!(self, Self::Anonymous)
    }

    /// The restriction by a token, if there is one.
    #[must_use]
    pub fn scope(&self) -> Option<&TokenScope> {
        self.account().and_then(|account| account.scope.as_ref())
    }

    /// Whether a bearer token was used. The client may then request another one with a wider scope.
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
    fn bearer_scope_is_limited_to_its_repositories() {
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
    fn personal_token_limits_rights_and_repositories() {
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
