//! What a client asks a bearer token for: `repository:team/app:pull,push`, `registry:catalog:*`.
//!
//! distribution, "Token Scope Documentation": a scope is `type:name:action,action`; the type may
//! have a class, as in `repository(plugin)`; several scopes are separated by spaces. What is of no
//! known type or not well-formed is not refused, it is granted nothing, as other token servers do.

use std::fmt;
use std::str::FromStr;

use accounts::{Right, Rights};
use oci::RepositoryName;

/// The most scopes that one request is heard for. A client that pushes an image and mounts its
/// layers asks for a handful.
pub const MAX_SCOPES: usize = 100;

/// One thing that a client wants a token for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScopeRequest {
    /// Rights on a repository.
    Repository {
        /// The repository.
        name: RepositoryName,
        /// The class in the brackets, such as `plugin`. It is handed back and means nothing here.
        class: Option<String>,
        /// What is to be done with it.
        actions: Vec<Action>,
    },
    /// The list of repositories: `registry:catalog:*`.
    Catalog,
}

/// What is to be done with a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read it.
    Pull,
    /// Write to it.
    Push,
    /// Remove from it.
    Delete,
    /// `*`: whatever the account may do.
    Any,
}

/// Why a text is no scope that can be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a scope such as repository:team/app:pull,push or registry:catalog:*")]
pub struct NoScope;

impl ScopeRequest {
    /// All that can be granted of the values of a request's `scope` parameters, each of which may
    /// hold several scopes separated by spaces. At most [`MAX_SCOPES`].
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
    type Err = NoScope;

    fn from_str(s: &str) -> Result<Self, NoScope> {
        let (kind, rest) = s.split_once(':').ok_or(NoScope)?;
        // The name may hold a port, so the actions are what follows the last colon.
        let (name, actions) = rest.rsplit_once(':').ok_or(NoScope)?;
        let (kind, class) = match kind.strip_suffix(')').and_then(|kind| kind.split_once('(')) {
            Some((kind, class)) if is_class(class) => (kind, Some(class.to_owned())),
            Some(_) => return Err(NoScope),
            None => (kind, None),
        };
        match kind {
            "repository" => {
                let name = name.parse().map_err(|_| NoScope)?;
                let actions: Vec<_> = actions.split(',').filter_map(|action| action.parse().ok()).collect();
                if actions.is_empty() { Err(NoScope) } else { Ok(Self::Repository { name, class, actions }) }
            }
            "registry" if name == "catalog" && actions.split(',').any(|action| action == "*") => {
                Ok(Self::Catalog)
            }
            _ => Err(NoScope),
        }
    }
}

fn is_class(class: &str) -> bool {
    !class.is_empty() && class.len() <= 32 && class.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

impl Action {
    /// The rights that it asks for.
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
    type Err = NoScope;

    fn from_str(s: &str) -> Result<Self, NoScope> {
        match s {
            "pull" => Ok(Self::Pull),
            "push" => Ok(Self::Push),
            "delete" => Ok(Self::Delete),
            "*" => Ok(Self::Any),
            _ => Err(NoScope),
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
    fn scopes_of_all_shapes_are_understood() {
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
    fn what_cannot_be_granted_is_left_out() {
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
            assert_eq!(text.parse::<ScopeRequest>(), Err(NoScope), "{text}");
        }
    }

    #[test]
    fn several_scopes_come_in_one_value_or_in_several() {
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
