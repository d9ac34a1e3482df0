//! `/v2/<name>/blobs/<digest>`: pull and delete of blobs. `uploads` pushes them.

use std::ops::Range;

use hyper::StatusCode;
use hyper::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, LOCATION, RANGE,
};
use oci::{Digest, RepositoryName};
use registry::blobs::Blob;

use crate::http::body::Body;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::extract::conditional::{IMMUTABLE, Validators};
use crate::http::extract::range::{Ranged, parse_range};
use crate::http::response::{self, Response};

pub(super) const OCTET_STREAM: HeaderValue = HeaderValue::from_static("application/octet-stream");
pub(super) const BYTES: HeaderValue = HeaderValue::from_static("bytes");

/// GET and HEAD. HEAD reads the size of the file only, and is never redirected.
pub(crate) async fn get(
    call: Call<'_>,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Response, Error> {
    let Call { app, request, caller } = &call;
    if !request.is_head()
        && let Some(url) = app.registry.blob_url(repository, digest, caller.client().address).await?
    {
        let mut response = response::status(StatusCode::TEMPORARY_REDIRECT);
        let location = HeaderValue::try_from(url).expect("a URL is visible ASCII");
        response.headers_mut().insert(LOCATION, location);
        return Ok(response);
    }
    let (size, blob) = if request.is_head() {
        (app.registry.lease_blob(repository, digest).await?, None)
    } else {
        let blob = app.registry.open_blob(repository, digest).await?;
        (blob.size, Some(blob))
    };
    serve_stored(&call, digest, size, blob)
}

/// Answers with a stored blob, or with its head alone.
pub(super) fn serve_stored(
    call: &Call<'_>,
    digest: &Digest,
    size: u64,
    blob: Option<Blob>,
) -> Result<Response, Error> {
    let request = &call.request;
    let validators = Validators::new(digest, IMMUTABLE);
    if validators.are_known(&request.headers) {
        let mut response = response::status(StatusCode::NOT_MODIFIED);
        validators.write(response.headers_mut());
        return Ok(response);
    }
    // Only GET has ranges (RFC 9110 section 14.2).
    let range = if request.is_head() || !validators.allow_range(&request.headers) {
        Ranged::Whole
    } else {
        request.header(RANGE).map_or(Ranged::Whole, |range| parse_range(range, size))
    };
    let (status, part) = match range {
        Ranged::Whole => (StatusCode::OK, 0..size),
        Ranged::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Ranged::Unsatisfiable => return Err(Error::RangeNotSatisfiable { size }),
    };
    let body = match blob {
        None => Body::default(),
        Some(blob) if request.is_plain => Body::blob(blob.read_for_kernel(part.clone())),
        Some(blob) => Body::blob(blob.read(part.clone())),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(10);
    headers.insert(CONTENT_TYPE, OCTET_STREAM);
    headers.insert(ACCEPT_RANGES, BYTES);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(part.end - part.start));
    if status == StatusCode::PARTIAL_CONTENT {
        headers.insert(CONTENT_RANGE, content_range(&part, size));
    }
    validators.write(headers);
    Ok(response)
}

/// DELETE: removes the blob from this repository only.
pub(crate) async fn delete(
    call: Call<'_>,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Response, Error> {
    call.registry().delete_blob(repository, digest).await?;
    Ok(response::status(StatusCode::ACCEPTED))
}

pub(super) fn content_range(part: &Range<u64>, size: u64) -> HeaderValue {
    let range = format!("bytes {}-{}/{size}", part.start, part.end - 1);
    HeaderValue::try_from(range).expect("numbers are visible ASCII")
}
