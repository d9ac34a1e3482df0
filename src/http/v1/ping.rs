//! `/v1/_ping`, and `/_ping` as some proxies have it: whether search can be asked here.
//!
//! Docker engines read two headers and two fields of JSON: the version, and whether the registry stands alone, which
//! means that it takes Basic credentials itself and is no part of an index elsewhere.

use hyper::header::{HeaderName, HeaderValue};
use serde_json::json;

use crate::http::response::{self, Response};

const REGISTRY_VERSION: HeaderName = HeaderName::from_static("x-docker-registry-version");
const REGISTRY_STANDALONE: HeaderName = HeaderName::from_static("x-docker-registry-standalone");
const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(crate) fn get() -> Response {
    let mut response = response::json(&json!({ "version": VERSION, "standalone": true }));
    let headers = response.headers_mut();
    headers.insert(REGISTRY_VERSION, HeaderValue::from_static(VERSION));
    headers.insert(REGISTRY_STANDALONE, HeaderValue::from_static("true"));
    response
}
