//! The answer to a pull of a manifest.
//!
//! A manifest is returned as it was pushed, whatever `Accept` says. A converted document would not have the
//! requested digest, and a 406 would hide the manifest's type from the client. The specification asks clients
//! to check the `Content-Type`.

use hyper::StatusCode;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use oci::media_type::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use oci::{MediaType, TagOrDigest};
use registry::access::Identity;
use registry::manifests::StoredManifest;

use crate::http::body::Body;
use crate::http::extract::conditional::{IMMUTABLE, REVALIDATE, Validators};
use crate::http::middleware::caller::Caller;
use crate::http::response::{self, Response};

/// Whether a GET counts as a pull, and a HEAD as a use. Commands of the operator look at images without
/// running them.
pub(super) fn is_pull(caller: Caller<'_>) -> bool {
    !matches!(caller.identity(), Identity::Operator)
}

pub(super) fn answer(manifest: &StoredManifest, target: &TagOrDigest, request: &HeaderMap) -> Response {
    let cache_control = match target {
        TagOrDigest::Tag(_) => REVALIDATE,
        TagOrDigest::Digest(_) => IMMUTABLE,
    };
    let validators = Validators::new(&manifest.record.digest, cache_control);
    if validators.are_known(request) {
        let mut response = response::status(StatusCode::NOT_MODIFIED);
        validators.write(response.headers_mut());
        return response;
    }
    let mut response = Response::new(Body::full(manifest.content.clone()));
    let headers = response.headers_mut();
    headers.reserve(8);
    headers.insert(CONTENT_TYPE, media_type_value(&manifest.record.media_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(manifest.content.len()));
    validators.write(headers);
    response
}

/// Converts a media type to a header. The common ones need no allocation.
fn media_type_value(media_type: &MediaType) -> HeaderValue {
    let known = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];
    match known.into_iter().find(|known| *known == media_type.as_str()) {
        Some(known) => HeaderValue::from_static(known),
        None => HeaderValue::from_str(media_type.as_str()).expect("a media type is visible ASCII"),
    }
}
