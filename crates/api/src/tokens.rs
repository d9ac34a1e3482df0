//! Personal tokens of users.

use accounts::{Pattern, Rights};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::Secret;
use crate::grants::RightSchema;
use crate::page::page;

page! {
    /// A page of the personal tokens of a user: `GET /api/v1/users/<name>/tokens?n=&last=`. `last` is an
    /// `id`.
    Tokens {
        /// In order of creation.
        tokens: Token
    } by |entry| entry.id.to_string()
}

/// A personal token, without its secret, which is stored nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// The number by which the token is changed and revoked.
    pub id: i64,
    /// The user's name for the token.
    pub label: String,
    /// The rights to which the token is limited; `null` for all rights of its user.
    #[schemars(with = "Option<Vec<RightSchema>>")]
    pub rights: Option<Rights>,
    /// The repositories to which the token is limited, as names or patterns; `null` for all.
    #[schemars(with = "Option<Vec<String>>")]
    pub repositories: Option<Vec<Pattern>>,
    /// Time of creation.
    pub created_at: u64,
    /// Time of expiry; `null` if it never expires.
    pub expires_at: Option<u64>,
    /// Approximate time of the last use.
    pub last_used_at: Option<u64>,
}

/// Creates a personal token: `POST /api/v1/users/<name>/tokens`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// The user's name for the token.
    #[serde(default)]
    pub label: String,
    /// The rights to which the token is limited; by default all rights of its user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<RightSchema>>")]
    pub rights: Option<Rights>,
    /// The repositories to which the token is limited, as names or patterns; by default all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub repositories: Option<Vec<Pattern>>,
    /// The seconds until it expires; by default it never does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
}

/// Changes a personal token: `PATCH /api/v1/users/<name>/tokens/<id>`. Fields that are left out stay as they
/// are, and `null` removes a limit.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenChange {
    /// The user's name for the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The rights to which the token is limited.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<RightSchema>>")]
    pub rights: Option<Option<Rights>>,
    /// The repositories to which the token is limited, as names or patterns.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub repositories: Option<Option<Vec<Pattern>>>,
    /// The seconds from now until it expires.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u64>")]
    pub expires_in: Option<Option<u64>>,
}

/// Reads a field that is present as `Some`, even if it is `null`; `default` makes an absent one `None`.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A new token with its secret, shown only once: the response to `POST /api/v1/users/<name>/tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MadeToken {
    #[serde(flatten)]
    pub token: Token,
    /// The secret, which is sent as the password or as a bearer token.
    pub secret: Secret,
}
