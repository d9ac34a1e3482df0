//! `/v2/`: whether this is a registry (distribution-spec, "Determining Support").

use serde_json::json;

use crate::http::response::{self, Response};

/// Yes, it is.
pub(crate) fn get() -> Response {
    response::json(&json!({}))
}
