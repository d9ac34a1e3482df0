//! Responses, and header names that the `http` crate lacks.

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use oci::Digest;
use serde::Serialize;

use crate::http::body::Body;

pub(crate) type Response = hyper::Response<Body>;

pub(crate) const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(crate) const DOCKER_API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
pub(crate) const DOCKER_UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
pub(crate) const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
pub(crate) const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
pub(crate) const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Returns 200 without a body.
pub(crate) fn empty() -> Response {
    Response::new(Body::default())
}

/// Returns a status without a body.
pub(crate) fn status(status: StatusCode) -> Response {
    let mut response = empty();
    *response.status_mut() = status;
    response
}

/// Returns 200 with plain text.
pub(crate) fn text(text: String) -> Response {
    content(TEXT, text)
}

/// Returns 200 with JSON.
pub(crate) fn json(value: &impl Serialize) -> Response {
    json_as(JSON, value)
}

/// Returns 200 with serialized JSON.
pub(crate) fn json_bytes(json: bytes::Bytes) -> Response {
    content(JSON, json)
}

/// Returns 200 with JSON of another media type.
pub(crate) fn json_as(media_type: HeaderValue, value: &impl Serialize) -> Response {
    content(media_type, serde_json::to_vec(value).expect("our own types have string keys and no custom code"))
}

/// Returns 200 with content of a media type.
pub(crate) fn content(media_type: HeaderValue, bytes: impl Into<bytes::Bytes>) -> Response {
    let mut response = Response::new(Body::full(bytes));
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

/// Converts a digest to a header.
pub(crate) fn digest_value(digest: &Digest) -> HeaderValue {
    HeaderValue::try_from(digest.to_string()).expect("a digest is visible ASCII")
}

/// Formats the received bytes of an upload, both ends inclusive. An empty upload is `0-0`, as in
/// distribution: the header cannot express an empty range.
pub(crate) fn upload_range(offset: u64) -> HeaderValue {
    HeaderValue::try_from(format!("0-{}", offset.saturating_sub(1))).expect("numbers are visible ASCII")
}
