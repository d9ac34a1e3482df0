//! Events of the registry.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An event: a `data` line of the stream `GET /api/v1/events`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Larger than those of all earlier events. A client resumes after it.
    pub id: i64,
    /// The kind: `push`, `tag.moved`, `tag.deleted`, `manifest.deleted`, `repository.deleted` and so on.
    pub event: String,
    /// Time of the event.
    pub at: u64,
    /// Further fields of the kind: `repository`, `tag`, `tags`, `digest`, `previous`, `mediaType`, `size`,
    /// `account`.
    #[serde(flatten)]
    pub data: Map<String, Value>,
}
