//! The result of a reload of the configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The response to `POST /api/v1/reload`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reloaded {
    /// The configuration file that was read.
    pub file: Option<String>,
    /// The changed settings that are in force now.
    pub applied: Vec<String>,
    /// The changed settings that need a restart. Their old values stay in force.
    pub needs_restart: Vec<String>,
    /// The mistakes. With a mistake in the configuration, all settings stay as they were.
    pub errors: Vec<String>,
}
