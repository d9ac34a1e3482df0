//! The versions of the server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The versions of the server: `GET /api/v1/version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Version {
    /// The version of the program.
    pub version: String,
    /// The version of the database schema.
    pub schema_version: u32,
}
