//! Pulls of cached repositories: manifests, blobs, tags and referrers of upstream registries.
//!
//! The cache decides in `registry::mirror`. This module turns its answers into responses.

use futures_util::stream;
use hyper::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue, RANGE,
};
use hyper::{Method, StatusCode};
use oci::media_type::OCI_INDEX;
use oci::{Digest, RepositoryName, Tag, TagOrDigest};
use registry::mirror::{BlobSource, FillReader, MergedReferrer, Mirror, MirrorError, Reach, Source};
use serde::Serialize;

use super::blobs::{BYTES, OCTET_STREAM, content_range, serve_stored};
use super::manifest_answer;
use crate::http::body::Body;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::extract::conditional::{IMMUTABLE, Validators};
use crate::http::extract::endpoint::Endpoint;
use crate::http::extract::range::{Ranged, parse_range};
use crate::http::middleware::denied::DenyReason;
use crate::http::response::{self, OCI_FILTERS_APPLIED, Response};

/// distribution-spec, "Registry Proxying": the registry whose content this is.
const OCI_NAMESPACE: HeaderName = HeaderName::from_static("oci-namespace");
/// RFC 9211.
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const HIT: HeaderValue = HeaderValue::from_static("wharfinger; hit");
const INDEX: HeaderValue = HeaderValue::from_static(OCI_INDEX);

/// Whether a request below an upstream's name is answered here, and not by the handlers of this registry's
/// own content.
pub(crate) fn is_mirrored(endpoint: &Endpoint, method: &Method) -> bool {
    match endpoint {
        Endpoint::Manifest(..) | Endpoint::Blob(..) => *method != Method::DELETE,
        Endpoint::Tags(_) | Endpoint::Referrers(..) | Endpoint::Uploads(_) | Endpoint::Upload(..) => true,
        _ => false,
    }
}

/// Answers an authorized request below the name of an upstream. `None` if the ordinary handler does: a push
/// that is kept here.
pub(crate) async fn answer(
    call: &Call<'_>,
    endpoint: &Endpoint,
    mirror: &Mirror,
    reach: Reach,
) -> Option<Result<Response, Error>> {
    let repository = endpoint.repository()?;
    let reads = call.request.method == Method::GET || call.request.is_head();
    let is_push = matches!(endpoint, Endpoint::Uploads(_) | Endpoint::Upload(..)) || !reads;
    let name = mirror.upstream_name(repository)?;
    let answered = if is_push {
        if mirror.takes_pushes(repository) {
            return None;
        }
        let (upstream, repository) = (name.to_owned(), repository.clone());
        Err(MirrorError::PushRefused { upstream, repository }.into())
    } else {
        pull(call, endpoint, mirror).await
    };
    Some(match answered {
        Ok(mut response) => {
            label(&mut response, name, reach);
            Ok(response)
        }
        Err(Failure::Http(error)) => Err(error),
        // A client without an account may get further with one.
        Err(Failure::Mirror(MirrorError::MayNotFill { .. })) if call.caller.identity().is_anonymous() => {
            let access = call.request.for_access(Some(endpoint), call.caller.client());
            Err(call.app.deny(access, DenyReason::SignIn).into())
        }
        Err(Failure::Mirror(error)) => Err(Error::Mirror(error, reach)),
    })
}

/// Tells a client of a mirror whose content it gets.
pub(super) fn label(response: &mut Response, upstream: &str, reach: Reach) {
    if reach == Reach::Mirror
        && let Ok(name) = HeaderValue::from_str(upstream)
    {
        response.headers_mut().insert(OCI_NAMESPACE, name);
    }
}

/// Why a pull fails.
enum Failure {
    Mirror(MirrorError),
    Http(Error),
}

impl From<MirrorError> for Failure {
    fn from(error: MirrorError) -> Self {
        Self::Mirror(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Http(error)
    }
}

async fn pull(call: &Call<'_>, endpoint: &Endpoint, mirror: &Mirror) -> Result<Response, Failure> {
    let Some(repository) = endpoint.repository() else { return Err(Error::Method.into()) };
    let may_fill = mirror.may_fill(call.caller.identity(), repository, call.caller.address()).await;
    let may_fill = may_fill.map_err(Error::from)?;
    match endpoint {
        Endpoint::Manifest(_, target) => manifest(call, mirror, repository, target, may_fill).await,
        Endpoint::Blob(_, digest) => blob(call, mirror, repository, digest, may_fill).await,
        Endpoint::Tags(_) => tags(call, mirror, repository, may_fill).await,
        Endpoint::Referrers(_, digest) => referrers(call, mirror, repository, digest, may_fill).await,
        _ => Err(Error::Method.into()),
    }
}

async fn manifest(
    call: &Call<'_>,
    mirror: &Mirror,
    repository: &RepositoryName,
    target: &TagOrDigest,
    may_fill: bool,
) -> Result<Response, Failure> {
    let served = mirror.manifest(repository, target, may_fill).await?;
    if manifest_answer::is_pull(*call.caller) {
        let (registry, client) = (&call.app.registry, call.caller.address());
        match call.request.is_head() {
            true => registry.record_lookup(client, repository, target, &served.manifest),
            false => registry.count_pull(client, repository, target, &served.manifest),
        }
    }
    let mut response = manifest_answer::answer(&served.manifest, target, &call.request.headers);
    let status = match served.source {
        Source::Hit | Source::Revalidated => HIT,
        Source::Fetched => HeaderValue::from_static("wharfinger; fwd=miss; stored"),
        Source::Stale(reason) => {
            let text = format!("wharfinger; hit; detail={}", reason.as_str());
            HeaderValue::try_from(text).expect("the reasons are visible ASCII")
        }
    };
    response.headers_mut().insert(CACHE_STATUS, status);
    Ok(response)
}

async fn blob(
    call: &Call<'_>,
    mirror: &Mirror,
    repository: &RepositoryName,
    digest: &Digest,
    may_fill: bool,
) -> Result<Response, Failure> {
    let request = &call.request;
    if request.is_head() {
        let size = mirror.blob_size(repository, digest, may_fill).await?;
        let mut response = response::empty();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, OCTET_STREAM);
        headers.insert(ACCEPT_RANGES, BYTES);
        if let Some(size) = size {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
        }
        Validators::new(digest, IMMUTABLE).write(headers);
        return Ok(response);
    }
    match mirror.blob(repository, digest, may_fill).await? {
        BlobSource::Stored(blob, in_use) => {
            let mut response = serve_stored(call, digest, blob.size, Some(blob))?;
            response.body_mut().hold(in_use);
            response.headers_mut().insert(CACHE_STATUS, HIT);
            Ok(response)
        }
        BlobSource::Filling(reader) => Ok(arriving(call, digest, reader)?),
    }
}

/// Answers with a blob while it arrives.
fn arriving(call: &Call<'_>, digest: &Digest, reader: FillReader) -> Result<Response, Error> {
    let request = &call.request;
    let validators = Validators::new(digest, IMMUTABLE);
    if validators.are_known(&request.headers) {
        let mut response = response::status(StatusCode::NOT_MODIFIED);
        validators.write(response.headers_mut());
        return Ok(response);
    }
    let size = reader.size();
    let range = match size {
        Some(size) if validators.allow_range(&request.headers) => {
            request.header(RANGE).map_or(Ranged::Whole, |range| parse_range(range, size))
        }
        // Without the size, a range has no answer; the RFC allows to send the whole.
        _ => Ranged::Whole,
    };
    let (status, part) = match (range, size) {
        (Ranged::Part(part), Some(_)) => (StatusCode::PARTIAL_CONTENT, Some(part)),
        (Ranged::Unsatisfiable, Some(size)) => return Err(Error::RangeNotSatisfiable { size }),
        (_, size) => (StatusCode::OK, size.map(|size| 0..size)),
    };
    let length = part.as_ref().map(|part| part.end - part.start);
    let reader = match &part {
        Some(part) => reader.with_range(part.clone()),
        None => reader,
    };
    let pieces = stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(bytes)) => Some((Ok(bytes), Some(reader))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    let mut response = Response::new(Body::arriving(Box::pin(pieces), length));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, OCTET_STREAM);
    headers.insert(ACCEPT_RANGES, BYTES);
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if let (StatusCode::PARTIAL_CONTENT, Some(part), Some(size)) = (status, &part, size) {
        headers.insert(CONTENT_RANGE, content_range(part, size));
    }
    headers.insert(CACHE_STATUS, HeaderValue::from_static("wharfinger; fwd=miss; stored"));
    validators.write(headers);
    Ok(response)
}

#[derive(Serialize)]
struct TagList<'a> {
    name: &'a RepositoryName,
    tags: &'a [Tag],
}

async fn tags(
    call: &Call<'_>,
    mirror: &Mirror,
    repository: &RepositoryName,
    may_fill: bool,
) -> Result<Response, Failure> {
    let page = call.page()?;
    let found = mirror.tags(repository, page.last.as_deref(), page.limit, may_fill).await?;
    let last = found.last().filter(|_| found.more());
    let mut response = response::json(&TagList { name: repository, tags: &found });
    let path = format!("/v2/{repository}/tags/list");
    page.link_next(&mut response, &call.caller.links(), &path, &[], last.map(Tag::as_str));
    Ok(response)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<MergedReferrer>,
}

async fn referrers(
    call: &Call<'_>,
    mirror: &Mirror,
    repository: &RepositoryName,
    subject: &Digest,
    may_fill: bool,
) -> Result<Response, Failure> {
    let query = call.query();
    let page = call.page()?;
    let after: Option<Digest> = match &page.last {
        Some(last) => Some(last.parse().map_err(|error| Error::BadDigest { parameter: "last", error })?),
        None => None,
    };
    // A client that does not encode `+` sends a space, which no media type has.
    let artifact_type = query.get_filled("artifactType").map(|wanted| wanted.replace(' ', "+"));
    let artifact_type = artifact_type.as_deref();
    let found = mirror.referrers(repository, subject, artifact_type, may_fill).await?;
    let mut rest = found.into_iter().filter(|found| after.is_none_or(|after| found.digest > after));
    let manifests: Vec<_> = rest.by_ref().take(page.limit).collect();
    let last = manifests.last().filter(|_| rest.next().is_some()).map(|last| last.digest.to_string());
    let index = Index { schema_version: 2, media_type: OCI_INDEX, manifests };
    let mut response = response::json_as(INDEX, &index);
    let filter = artifact_type.map(|wanted| ("artifactType", wanted));
    if filter.is_some() {
        response.headers_mut().insert(OCI_FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    let path = format!("/v2/{repository}/referrers/{subject}");
    page.link_next(&mut response, &call.caller.links(), &path, filter.as_slice(), last.as_deref());
    Ok(response)
}
