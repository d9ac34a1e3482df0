//! `/v1/_ping`, and `/_ping` behind some proxies: whether the registry supports search.
//!
//! Docker reads two headers and two JSON fields: the version, and `standalone`, which means that the registry
//! takes Basic credentials itself.

use hyper::header::{HeaderName, HeaderValue};
use serde_json::json;

use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::{self, Response};

const REGISTRY_VERSION: HeaderName = HeaderName::from_static("x-docker-registry-version");
const REGISTRY_STANDALONE: HeaderName = HeaderName::from_static("x-docker-registry-standalone");
const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(crate) async fn get(_call: Call<'_>) -> Result<Response, Error> {
    let mut response = response::json(&json!({ "version": VERSION, "standalone": true }));
    let headers = response.headers_mut();
    headers.insert(REGISTRY_VERSION, HeaderValue::from_static(VERSION));
    headers.insert(REGISTRY_STANDALONE, HeaderValue::from_static("true"));
    Ok(response)
}
