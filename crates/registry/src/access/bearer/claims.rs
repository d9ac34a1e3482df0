//! The claims of a bearer token.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use accounts::{Right, Rights};
use oci::RepositoryName;
use serde::{Deserialize, Serialize};

/// The JSON payload of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::access) struct Claims {
    pub iss: String,
    /// The account name, or empty.
    pub sub: String,
    pub aud: String,
    /// Seconds since 1970, like `nbf` and `iat`.
    pub exp: u64,
    pub nbf: u64,
    pub iat: u64,
    pub jti: String,
    pub access: Vec<Access>,
    /// Absent in a token without an account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wharfinger: Option<Binding>,
}

/// One entry of the `access` claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::access) struct Access {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    pub name: String,
    pub actions: Vec<String>,
}

/// Ties a token to the sign-in for which it was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::access) struct Binding {
    /// The id of the account.
    pub account: i64,
    /// The id of the personal token or robot's secret of the sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<i64>,
    /// The fingerprint of the password of the sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

impl Access {
    pub(in crate::access) fn repository(
        name: &RepositoryName,
        class: Option<String>,
        rights: Rights,
    ) -> Self {
        let actions = [Right::Pull, Right::Push, Right::Delete].into_iter();
        Self {
            kind: "repository".to_owned(),
            class,
            name: name.to_string(),
            actions: actions
                .filter(|right| rights.allow(*right))
                .map(|right| right.as_str().to_owned())
                .collect(),
        }
    }

    pub(in crate::access) fn catalog() -> Self {
        Self {
            kind: "registry".to_owned(),
            class: None,
            name: "catalog".to_owned(),
            actions: vec!["*".to_owned()],
        }
    }

    pub(in crate::access) fn is_catalog(&self) -> bool {
        *self == Self::catalog()
    }

    /// The repository and the rights on it, if the entry is about a repository.
    pub(in crate::access) fn rights(&self) -> Option<(RepositoryName, Rights)> {
        let name = (self.kind == "repository").then(|| self.name.parse().ok())??;
        let rights = self.actions.iter().filter_map(|action| action.parse::<Right>().ok());
        Some((name, rights.filter(|right| *right != Right::Administer).collect()))
    }
}

impl Claims {
    pub(in crate::access) fn expires_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.exp)
    }
}
