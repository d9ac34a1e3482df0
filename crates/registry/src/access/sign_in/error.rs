//! Sign-in errors. The client learns little; the audit log gets the name and the reason.

use std::time::Duration;

use accounts::AccountName;

use crate::Error;

/// The reason why credentials are refused.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The credentials are wrong.
    #[error("wrong name, password or token")]
    Wrong {
        /// The claimed name, if it is a valid one. For the audit log only.
        name: Option<AccountName>,
        /// For the audit log only.
        reason: &'static str,
    },
    /// The token was valid in the past.
    #[error("the token has expired or was revoked")]
    Expired {
        /// The account of the token. For the audit log only.
        name: Option<AccountName>,
        /// For the audit log only.
        reason: &'static str,
    },
    /// The rate limit on wrong passwords or tokens is exceeded.
    #[error("too many attempts; try again in {} seconds", retry_after.as_secs().max(1))]
    TooMany {
        /// The time until the next attempt is accepted.
        retry_after: Duration,
        /// The claimed name, if it is a valid one. For the audit log only.
        name: Option<AccountName>,
    },
    /// The metadata cannot be read.
    #[error(transparent)]
    Store(#[from] Error),
}

impl From<store::StoreError> for SignInError {
    fn from(error: store::StoreError) -> Self {
        Self::Store(error.into())
    }
}

impl SignInError {
    pub(in crate::access) fn wrong(name: impl Into<Option<AccountName>>, reason: &'static str) -> Self {
        Self::Wrong { name: name.into(), reason }
    }

    /// The reason for the audit log. Clients must not see it.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Wrong { reason, .. } | Self::Expired { reason, .. } => Some(reason),
            Self::TooMany { .. } => Some("too many attempts"),
            Self::Store(_) => None,
        }
    }

    /// The claimed account name, if it is known and valid.
    #[must_use]
    pub fn name(&self) -> Option<&AccountName> {
        match self {
            Self::Wrong { name, .. } | Self::Expired { name, .. } | Self::TooMany { name, .. } => {
                name.as_ref()
            }
            Self::Store(_) => None,
        }
    }
}
