//! Users, the caller's own account, and self-registration.

use std::fmt;

use accounts::AccountName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Secret;
use crate::page::page;

/// The account of the caller: `GET /api/v1/me`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Me {
    /// The kind of caller.
    pub kind: MeKind,
    /// The name of the account, if the caller has one.
    #[schemars(with = "Option<String>")]
    pub name: Option<AccountName>,
    /// Whether the caller has all rights.
    pub administrator: bool,
    /// Whether this registry has accounts. While it has none, everyone who reaches it has all rights.
    pub accounts_in_force: bool,
}

/// The kind of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MeKind {
    /// Not logged in.
    Anonymous,
    /// The operator, who has access to the files of the registry.
    Operator,
    /// A person.
    User,
    /// A program.
    Robot,
}

/// Creates an account for the caller: `POST /api/v1/registration`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// The name, such as `ann`; the account owns the repositories `ann/…`.
    #[schemars(with = "String")]
    pub name: AccountName,
    /// The password.
    pub password: Secret,
}

page! {
    /// A page of users: `GET /api/v1/users?n=&last=`. If more follow, the response has a `Link`.
    Users {
        /// Sorted by name.
        users: User
    } by |entry| entry.name.to_string()
}

/// A user: `GET /api/v1/users/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct User {
    #[schemars(with = "String")]
    pub name: AccountName,
    /// Whether the user has all rights.
    pub administrator: bool,
    /// Whether the user is disabled and has no rights.
    pub disabled: bool,
    /// Where the account comes from.
    pub source: Source,
    /// Text for people.
    pub description: String,
    /// Time of creation.
    pub created_at: u64,
    /// Approximate time of the last login.
    pub last_seen_at: Option<u64>,
}

/// Where an account comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// It was created in this registry.
    Own,
    /// The htpasswd file has it.
    File,
    /// The operator's own server (`auth.forward`) named it.
    Forward,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// Creates a user: `POST /api/v1/users`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// The name, such as `ann`; the user owns the repositories `ann/…`.
    #[schemars(with = "String")]
    pub name: AccountName,
    /// The password.
    pub password: Secret,
    /// Whether the user has all rights.
    #[serde(default)]
    pub administrator: bool,
    /// Text for people.
    #[serde(default)]
    pub description: String,
}

/// Changes a user: `PATCH /api/v1/users/<name>`. Fields that are left out stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    /// The new password. Logins with the old one end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Whether the user has all rights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub administrator: Option<bool>,
    /// Whether the user is disabled and has no rights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Text for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn user_change_rejects_unknown_fields() {
        let change = serde_json::from_value::<UserChange>(json!({ "disabled": true })).unwrap();
        assert_eq!(change, UserChange { disabled: Some(true), ..UserChange::default() });
        let error = serde_json::from_value::<UserChange>(json!({ "disable": true })).unwrap_err();
        assert!(error.to_string().contains("unknown field `disable`"), "{error}");
    }

    #[test]
    fn source_prints_as_in_json() {
        assert_eq!(Source::Forward.to_string(), "forward");
    }
}
