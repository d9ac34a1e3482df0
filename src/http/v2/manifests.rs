//! `/v2/<name>/manifests/<tag-or-digest>`: pull, push and delete of manifests.

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use oci::{MediaType, RepositoryName, Tag, TagOrDigest};
use registry::manifests::{Push, StoredManifest};
use registry::records::{ChangeKind, ManifestRecord, NewChange};
use serde_json::json;

use super::manifest_answer::{answer, is_pull};
use super::mirrored;
use crate::http::app::App;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::extract::request::Request;
use crate::http::middleware::caller::Caller;
use crate::http::response::{self, DOCKER_CONTENT_DIGEST, OCI_SUBJECT, OCI_TAG, Response, digest_value};

/// GET and HEAD.
pub(crate) async fn get(
    call: Call<'_>,
    repository: &RepositoryName,
    target: &TagOrDigest,
) -> Result<Response, Error> {
    let Call { app, caller, request } = &call;
    let manifest = if request.is_head() {
        let manifest = app.registry.intact_manifest(repository, target).await?;
        record_lookup(app, **caller, repository, target, &manifest);
        manifest
    } else if is_pull(**caller) {
        let manifest = app.registry.pull_manifest(caller.address(), repository, target).await?;
        note_pull(app, **caller, request, (repository, target), &manifest);
        manifest
    } else {
        app.registry.manifest(repository, target).await?
    };
    Ok(answer(&manifest, target, &request.headers))
}

/// Answers GET and HEAD from the cache, without waiting. HEAD checks the file too.
pub(crate) fn get_cached(
    app: &App,
    caller: Caller<'_>,
    request: &Request,
    repository: &RepositoryName,
    target: &TagOrDigest,
) -> Option<Response> {
    if let Some(proxy) = &app.content_proxy {
        return proxy.cached_manifest(repository, target, &request.headers);
    }
    if let (Some(mirror), Some(reach)) = (&app.mirror, request.reach) {
        let manifest = mirror.cached_manifest(repository, target)?;
        if request.is_head() {
            record_lookup(app, caller, repository, target, &manifest);
        } else if is_pull(caller) {
            app.registry.count_pull(caller.address(), repository, target, &manifest);
        }
        let mut response = answer(&manifest, target, &request.headers);
        mirrored::label(&mut response, mirror.upstream_name(repository)?, reach);
        return Some(response);
    }
    let manifest = if request.is_head() {
        let manifest = app.registry.cached_manifest(repository, target)?;
        let manifest = app.registry.is_known_intact(repository, target, &manifest).then_some(manifest)?;
        record_lookup(app, caller, repository, target, &manifest);
        manifest
    } else if is_pull(caller) {
        let manifest = app.registry.pull_cached_manifest(caller.address(), repository, target)?;
        note_pull(app, caller, request, (repository, target), &manifest);
        manifest
    } else {
        app.registry.cached_manifest(repository, target)?
    };
    Some(answer(&manifest, target, &request.headers))
}

/// Records a HEAD request as a use of the image.
fn record_lookup(
    app: &App,
    caller: Caller<'_>,
    repository: &RepositoryName,
    target: &TagOrDigest,
    manifest: &StoredManifest,
) {
    if is_pull(caller) {
        app.registry.record_lookup(caller.address(), repository, target, manifest);
    }
}

/// Notes a pull as an event, if it is in the sample.
fn note_pull(
    app: &App,
    caller: Caller<'_>,
    request: &Request,
    (repository, target): (&RepositoryName, &TagOrDigest),
    manifest: &StoredManifest,
) {
    if !app.registry.samples_pull() {
        return;
    }
    let ManifestRecord { digest, media_type, size } = &manifest.record;
    let mut detail = json!({ "mediaType": media_type.as_str(), "size": size });
    if let TagOrDigest::Tag(tag) = target {
        detail["tags"] = json!([tag.as_str()]);
    }
    let pull = NewChange::of(ChangeKind::Pull, repository).digest(*digest).detail(detail);
    app.registry.note(pull.by(caller.actor(&request.id)));
}

/// PUT.
pub(crate) async fn put(
    call: Call<'_>,
    repository: &RepositoryName,
    target: &TagOrDigest,
) -> Result<Response, Error> {
    let registry = call.registry();
    let Call { caller, mut request, .. } = call;
    let content_type = match request.header(CONTENT_TYPE) {
        Some(header) => Some(MediaType::from_content_type(header).map_err(|_| Error::BadContentType)?),
        None => None,
    };
    let tags = match target {
        TagOrDigest::Digest(_) => tags(&request)?,
        // The specification defines `tag` for a push by digest only.
        TagOrDigest::Tag(_) => Vec::new(),
    };
    let limit = registry.policy().manifest_bytes;
    let content = request.whole_body(limit, || registry::Error::ManifestTooLarge { limit }.into()).await?;
    let push = Push {
        repository: repository.clone(),
        target: target.clone(),
        content_type,
        content,
        tags: tags.clone(),
    };
    let pushed = registry.put_manifest(push).await?;
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
    call: Call<'_>,
    repository: &RepositoryName,
    target: &TagOrDigest,
) -> Result<Response, Error> {
    call.registry().delete_manifest(repository, target).await?;
    Ok(response::status(StatusCode::ACCEPTED))
}

/// Returns the distinct `tag` parameters, in their order.
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
