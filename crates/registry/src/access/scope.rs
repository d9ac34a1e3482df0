//! Token scopes that a client requests: `repository:team/app:pull,push`, `registry:catalog:*`.
//!
//! distribution, "Token Scope Documentation": a scope is `type:name:action,action`. The type may have a
//! class, as in `repository(plugin)`. Several scopes are separated by spaces. Unknown and malformed scopes
//! are ignored, as other token servers do.

use std::fmt;
use std::str::FromStr;

use accounts::{Right, Rights};
use oci::RepositoryName;

/// The maximum number of scopes in one request. A push that mounts layers needs a handful.
pub const MAX_SCOPES: usize = 100;

/// One requested scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScopeRequest {
    /// Rights on a repository.
    Repository {
        /// The repository name.
        name: RepositoryName,
        /// The class in the brackets, such as `plugin`. The token repeats it; it has no effect.
        class: Option<String>,
        /// The requested actions.
        actions: Vec<Action>,
    },
    /// The list of repositories: `registry:catalog:*`.
    Catalog,
}

/// An action on a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read it.
    Pull,
    /// Write to it.
    Push,
    /// Remove from it.
    Delete,
    /// `*`: all rights of the account.
    Any,
}

/// The text is not a supported scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid scope: expected repository:NAME:ACTIONS, such as repository:team/app:pull,push, or registry:catalog:*"
)]
pub struct InvalidScope;

impl ScopeRequest {
    /// Parses the `scope` parameters of a request, at most [`MAX_SCOPES`]. Each may hold several scopes,
    /// separated by spaces. Invalid scopes are left out.
    pub fn parse_all<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<Self> {
        values
            .into_iter()
            .flat_map(str::split_ascii_whitespace)
            .take(MAX_SCOPES)
            .filter_map(|scope| scope.parse().ok())
            .collect()
    }
}

impl FromStr for ScopeRequest {
    type Err = InvalidScope;

    fn from_str(s: &str) -> Result<Self, InvalidScope> {
        let (kind, rest) = s.split_once(':').ok_or(InvalidScope)?;
        // The name may contain a port, so the actions follow the last colon.
        let (name, actions) = rest.rsplit_once(':').ok_or(InvalidScope)?;
        let (kind, class) = match kind.strip_suffix(')').and_then(|kind| kind.split_once('(')) {
            Some((kind, class)) if is_class(class) => (kind, Some(class.to_owned())),
            Some(_) => return Err(InvalidScope),
            None => (kind, None),
        };
        match kind {
            "repository" => {
                let name = name.parse().map_err(|_| InvalidScope)?;
                let actions: Vec<_> = actions.split(',').filter_map(|action| action.parse().ok()).collect();
                if actions.is_empty() {
                    Err(InvalidScope)
                } else {
                    Ok(Self::Repository { name, class, actions })
                }
            }
            "registry" if name == "catalog" && actions.split(',').any(|action| action == "*") => {
                Ok(Self::Catalog)
            }
            _ => Err(InvalidScope),
        }
    }
}

fn is_class(class: &str) -> bool {
    !class.is_empty() && class.len() <= 32 && class.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

impl Action {
    /// The rights that the action needs.
    #[must_use]
    pub fn rights(self) -> Rights {
        match self {
            Self::Pull => Right::Pull.into(),
            Self::Push => Right::Push.into(),
            Self::Delete => Right::Delete.into(),
            Self::Any => Rights::of([Right::Push, Right::Delete]),
        }
    }
}

impl FromStr for Action {
    type Err = InvalidScope;

    fn from_str(s: &str) -> Result<Self, InvalidScope> {
        match s {
            "pull" => Ok(Self::Pull),
            "push" => Ok(Self::Push),
            "delete" => Ok(Self::Delete),
            "*" => Ok(Self::Any),
            _ => Err(InvalidScope),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
            Self::Any => "*",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(name: &str, class: Option<&str>, actions: &[Action]) -> ScopeRequest {
        ScopeRequest::Repository {
            name: name.parse().unwrap(),
            class: class.map(str::to_owned),
            actions: actions.to_vec(),
        }
    }

    #[test]
    fn valid_scopes_are_parsed() {
        use Action::{Any, Delete, Pull, Push};
        for (text, expected) in [
            ("repository:team/app:pull", repository("team/app", None, &[Pull])),
            ("repository:app:pull,push", repository("app", None, &[Pull, Push])),
            ("repository:app:push,pull,delete", repository("app", None, &[Push, Pull, Delete])),
            ("repository:app:*", repository("app", None, &[Any])),
            ("repository(plugin):team/p:pull", repository("team/p", Some("plugin"), &[Pull])),
            ("repository:app:pull,metadata-read", repository("app", None, &[Pull])),
            ("registry:catalog:*", ScopeRequest::Catalog),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn invalid_scopes_are_refused() {
        for text in [
            "",
            "repository",
            "repository:app",
            "repository::pull",
            "repository:App:pull",
            "repository:../app:pull",
            "repository:host:5000/app:pull",
            "repository:app:",
            "repository:app:own",
            "repository():app:pull",
            "repository(a b):app:pull",
            "repository(plugin:app:pull",
            "registry:catalog:pull",
            "registry:other:*",
            "namespace:app:pull",
        ] {
            assert_eq!(text.parse::<ScopeRequest>(), Err(InvalidScope), "{text}");
        }
    }

    #[test]
    fn scopes_in_one_or_several_parameters_are_parsed() {
        let scopes = ScopeRequest::parse_all([
            "repository:a:pull,push repository:b:pull",
            "junk",
            "",
            "registry:catalog:*",
        ]);
        assert_eq!(
            scopes,
            [
                repository("a", None, &[Action::Pull, Action::Push]),
                repository("b", None, &[Action::Pull]),
                ScopeRequest::Catalog,
            ]
        );
        let many = "repository:a:pull ".repeat(10 * MAX_SCOPES);
        assert_eq!(ScopeRequest::parse_all([many.as_str()]).len(), MAX_SCOPES);
    }
}
