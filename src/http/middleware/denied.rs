//! Authorization errors: reasons for a 401 or a 403, and the challenge that goes with a 401.

use std::fmt;

use accounts::{AccountName, Right};
use hyper::header::HeaderValue;
use oci::RepositoryName;
use registry::access::Identity;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DenyReason {
    /// The request has no credentials.
    SignIn,
    /// The credentials are wrong. The answer does not say whether the account exists.
    Wrong,
    /// The token has expired or was revoked.
    Expired,
    /// The scope of the token does not include the request.
    Scope,
    /// The account lacks the right.
    Forbidden,
}

/// A denied request, with the challenges for a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(crate) reason: DenyReason,
    /// The value of `WWW-Authenticate`.
    pub(crate) challenge: Option<HeaderValue>,
    /// The host and port that the client called.
    pub(crate) host: Option<String>,
}

impl Denied {
    pub(crate) const FORBIDDEN: Self = Self { reason: DenyReason::Forbidden, challenge: None, host: None };
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            DenyReason::SignIn => {
                f.write_str("authentication required: log in first: docker login")?;
                self.host.iter().try_for_each(|host| write!(f, " {host}"))
            }
            DenyReason::Wrong => f.write_str("authentication required: wrong user name, password or token"),
            DenyReason::Expired => {
                f.write_str("authentication required: the token has expired or was revoked")
            }
            DenyReason::Scope => f.write_str(
                "authentication required: the token was not issued for this repository and action",
            ),
            DenyReason::Forbidden => {
                f.write_str("requested access to the resource is denied: your account may not do this")
            }
        }
    }
}

/// A right on a repository that the caller lacks. The text does not depend on whether the repository exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoRight {
    right: Right,
    repository: RepositoryName,
    /// The namespace that the account owns.
    own: Option<AccountName>,
    /// Whether the token, or the one behind a bearer token, does not allow this.
    is_narrowed: bool,
}

impl NoRight {
    pub(crate) fn of(identity: &Identity, right: Right, repository: &RepositoryName) -> Self {
        Self {
            right,
            repository: repository.clone(),
            own: identity.name().filter(|name| name.has_namespace()).cloned(),
            is_narrowed: identity.scope().is_some_and(|scope| !scope.widest(repository).allow(right)),
        }
    }

    pub(crate) fn right(&self) -> Right {
        self.right
    }
}

impl fmt::Display for NoRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { repository, .. } = self;
        f.write_str("requested access to the resource is denied: you may not ")?;
        match self.right {
            Right::Pull => write!(f, "pull from {repository}")?,
            Right::Push => write!(f, "push to {repository}")?,
            Right::Delete => write!(f, "delete in {repository}")?,
            Right::Administer => write!(f, "administer {repository}")?,
            Right::Fill => write!(f, "fetch {repository} from its upstream")?,
        }
        if self.is_narrowed {
            f.write_str("; the token in use allows less than its account may do")?;
        }
        if let Some(own) = &self.own {
            write!(f, "; {own}/... is yours")?;
        }
        f.write_str("; an administrator can grant more")
    }
}
