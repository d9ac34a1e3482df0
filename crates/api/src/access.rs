//! Explanations of access, and sessions of browsers.

use accounts::Rights;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::grants::RightSchema;
use crate::page::page;

/// The rights of an account on a repository, and the reasons: `GET /api/v1/access?account=&repository=`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Access {
    /// The rights in effect.
    #[schemars(with = "Vec<RightSchema>")]
    pub rights: Rights,
    /// The facts that give them.
    pub reasons: Vec<AccessReason>,
}

/// A fact that gives rights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccessReason {
    /// `no-accounts`, `disabled`, `administrator`, `owner`, `member`, `grant` or `location`.
    pub kind: String,
    /// The organisation of a member, or the subject of a grant.
    pub subject: Option<String>,
    /// The role of a member, or the rights of a grant.
    pub gives: Option<String>,
    /// The repositories of a grant.
    pub repositories: Option<String>,
}

page! {
    /// A page of the sessions of a user: `GET /api/v1/users/<name>/sessions?n=&last=`. `last` is an `id`.
    Sessions {
        /// In order of creation.
        sessions: Session
    } by |entry| entry.id.to_string()
}

/// A session of a browser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    /// The number by which the session is ended.
    pub id: i64,
    /// The browser and its address at the beginning.
    pub browser: String,
    /// Time of the sign-in.
    pub created_at: u64,
    /// Time of its end.
    pub expires_at: Option<u64>,
    /// Approximate time of the last use.
    pub last_used_at: Option<u64>,
}
