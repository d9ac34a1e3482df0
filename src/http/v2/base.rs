//! `/v2/`: support of the registry protocol (distribution-spec, "Determining Support").

use serde_json::json;

use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::{self, Response};

pub(crate) async fn get(_call: Call<'_>) -> Result<Response, Error> {
    Ok(response::json(&json!({})))
}
