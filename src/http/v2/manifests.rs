//! `/v2/<name>/manifests/<tag-or-digest>`: manifests, pulled, pushed and deleted.
//!
//! A manifest is answered as it was pushed, whatever `Accept` says. A registry that made another document of it (as
//! distribution once made schema 1 of schema 2) would answer bytes that do not have the digest asked for; and one
//! that answered 406 would keep clients from telling their users what they found. The specification asks clients to
//! look at the `Content-Type`, and they do.

use hyper::StatusCode;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use oci::media_type::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use oci::{MediaType, RepositoryName, Tag, TagOrDigest};
use registry::manifests::{Push, StoredManifest};

use crate::http::app::App;
use crate::http::body::Body;
use crate::http::error::Error;
use crate::http::extract::conditional::{IMMUTABLE, REVALIDATE, Validators};
use crate::http::extract::request::Request;
use crate::http::middleware::authorization::Caller;
use crate::http::response::{self, DOCKER_CONTENT_DIGEST, OCI_SUBJECT, OCI_TAG, Response, digest_value};

/// GET and HEAD.
pub(crate) async fn get(
    app: &App,
    request: &Request,
    repository: &RepositoryName,
    target: &TagOrDigest,
) -> Result<Response, Error> {
    let manifest = if request.is_head() {
        app.registry.stored_manifest(repository, target).await?
    } else {
        app.registry.manifest(repository, target).await?
    };
    Ok(answer(&manifest, target, &request.headers))
}

/// The answer to GET and HEAD. Also for those that are answered from memory without waiting for anything.
pub(crate) fn answer(manifest: &StoredManifest, target: &TagOrDigest, request: &HeaderMap) -> Response {
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

/// PUT.
pub(crate) async fn put(
    app: &App,
    caller: &Caller,
    mut request: Request,
    repository: &RepositoryName,
    target: &TagOrDigest,
) -> Result<Response, Error> {
    let content_type = match request.header(CONTENT_TYPE) {
        Some(header) => Some(MediaType::from_content_type(header).map_err(|_| Error::BadContentType)?),
        None => None,
    };
    let tags = match target {
        TagOrDigest::Digest(_) => tags(&request)?,
        // The specification gives the parameter no meaning where the path has a tag.
        TagOrDigest::Tag(_) => Vec::new(),
    };
    let limit = app.registry.policy().manifest_bytes;
    let content = request.whole_body(limit, || registry::Error::ManifestTooLarge { limit }.into()).await?;
    let push = Push {
        repository: repository.clone(),
        target: target.clone(),
        content_type,
        content,
        tags: tags.clone(),
    };
    let pushed = app.registry.put_manifest(push).await?;
    let mut response = response::status(StatusCode::CREATED);
    let headers = response.headers_mut();
    headers.insert(LOCATION, caller.links().manifest(repository, &pushed.digest));
    headers.insert(DOCKER_CONTENT_DIGEST, digest_value(&pushed.digest));
    if let Some(subject) = &pushed.subject {
        headers.insert(OCI_SUBJECT, digest_value(subject));
    }
    for tag in tags {
        headers.append(OCI_TAG, HeaderValue::from_str(tag.as_str()).expect("a tag is visible ASCII"));
    }
    Ok(response)
}

/// DELETE.
pub(crate) async fn delete(
    app: &App,
    repository: &RepositoryName,
    target: &TagOrDigest,
) -> Result<Response, Error> {
    app.registry.delete_manifest(repository, target).await?;
    Ok(response::status(StatusCode::ACCEPTED))
}

/// The `tag` parameters, each once, in their order.
fn tags(request: &Request) -> Result<Vec<Tag>, Error> {
    let mut tags = Vec::new();
    for tag in request.query().all("tag") {
        let tag: Tag = tag.parse().map_err(Error::BadTag)?;
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    Ok(tags)
}

/// A media type as a header. Those of nearly all manifests are at hand and need no memory.
fn media_type_value(media_type: &MediaType) -> HeaderValue {
    let known = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];
    match known.into_iter().find(|known| *known == media_type.as_str()) {
        Some(known) => HeaderValue::from_static(known),
        None => HeaderValue::from_str(media_type.as_str()).expect("a media type is visible ASCII"),
    }
}
