//! The audit log.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A page of the audit log: `GET /api/v1/audit`. A client follows the log by requesting entries `after` the
/// last `id` again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Audit {
    /// The oldest first.
    pub entries: Vec<AuditEntry>,
    /// Whether more entries follow; with `latest`, whether there are older ones.
    pub more: bool,
}

/// An action of an account, or an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// Larger than those of all earlier entries.
    pub id: i64,
    /// Time of the action.
    pub at: u64,
    /// The name of the account, or the name in an attempt to log in.
    pub account: Option<String>,
    /// The address of the client.
    pub address: Option<String>,
    /// The kind of action: `manifest.push`, `user.add` and so on.
    pub action: String,
    /// The object of the action: an account, or a repository, perhaps with a tag or a digest.
    pub object: Option<String>,
    /// The outcome.
    pub verdict: AuditOutcome,
    /// The HTTP status of the response.
    pub status: Option<u16>,
    /// The id of the request in the server's log.
    pub request_id: Option<String>,
    /// Further details, for people.
    pub detail: Option<String>,
}

/// The outcome of an audited action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Verdict")]
pub enum AuditOutcome {
    /// It was allowed and succeeded.
    Allowed,
    /// It was denied.
    Denied,
    /// It was allowed and failed.
    Failed,
}

impl fmt::Display for AuditOutcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}
