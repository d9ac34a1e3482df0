//! `/v2/<name>/blobs/uploads/…`: blob uploads (distribution-spec, "Pushing blobs").

use accounts::AccountName;
use hyper::StatusCode;
use hyper::header::{CONTENT_RANGE, HeaderValue, LOCATION, RANGE};
use oci::{Algorithm, Digest, RepositoryName};
use registry::uploads::{ChunkRange, UploadStatus};
use uuid::Uuid;

use crate::http::app::App;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::extract::range::parse_chunk_range;
use crate::http::extract::request::Request;
use crate::http::middleware::caller::Caller;
use crate::http::response::{
    self, DOCKER_CONTENT_DIGEST, DOCKER_UPLOAD_UUID, Response, digest_value, upload_range,
};

/// POST: mounts a blob of another repository, stores a whole blob, or begins an upload.
pub(crate) async fn post(call: Call<'_>, repository: &RepositoryName) -> Result<Response, Error> {
    let registry = call.registry();
    let Call { app, caller, request } = call;
    let query = request.query();
    let mount = query.digest("mount")?;
    if let Some(digest) = mount {
        // With an invalid `from` the client has to upload the blob.
        let from = query.get_filled("from").map(|from| from.parse::<RepositoryName>()).transpose();
        if let Ok(from) = from {
            let visible = app.accounts.visible(caller.identity()).await?;
            if registry.mount_blob(repository, &digest, from.as_ref(), &visible).await?.is_some() {
                return Ok(created(caller, repository, &digest));
            }
        }
    } else if let Some(digest) = query.digest("digest")? {
        let announced = check_announced(app, &request, None)?;
        registry.check_announced(repository, announced).await?;
        registry.upload_blob(repository, digest, request.body).await?;
        return Ok(created(caller, repository, &digest));
    }
    let algorithm = match query.get("digest-algorithm") {
        Some(name) => {
            name.parse().map_err(|error| Error::BadDigest { parameter: "digest-algorithm", error })?
        }
        // A blob that cannot be mounted is uploaded next. The right algorithm now saves a second hash.
        None => mount.map_or(Algorithm::Sha256, |digest| digest.algorithm()),
    };
    let upload = registry.begin_upload(repository, owner(caller), algorithm).await?;
    Ok(accepted(caller, repository, upload))
}

/// GET and HEAD: the received bytes of the upload.
pub(crate) async fn get(call: Call<'_>, repository: &RepositoryName, id: &Uuid) -> Result<Response, Error> {
    let Call { app, caller, .. } = call;
    let upload = app.registry.upload_status(repository, owner(caller), *id).await?;
    let mut response = accepted(caller, repository, upload);
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// PATCH: appends a chunk, or a body of any length.
pub(crate) async fn patch(call: Call<'_>, repository: &RepositoryName, id: &Uuid) -> Result<Response, Error> {
    let registry = call.registry();
    let Call { app, caller, request } = call;
    let range = chunk_range(&request)?;
    let announced = check_announced(app, &request, range)?;
    registry.check_announced(repository, announced).await?;
    let upload = registry.append_upload(repository, owner(caller), *id, range, request.body).await?;
    Ok(accepted(caller, repository, upload))
}

/// PUT: appends the rest and finishes the upload.
pub(crate) async fn put(call: Call<'_>, repository: &RepositoryName, id: &Uuid) -> Result<Response, Error> {
    let registry = call.registry();
    let Call { app, caller, request } = call;
    let digest = request.query().digest("digest")?.ok_or(Error::DigestMissing { of: "the whole blob" })?;
    let range = chunk_range(&request)?;
    let announced = check_announced(app, &request, range)?;
    registry.check_announced(repository, announced).await?;
    registry.finish_upload(repository, owner(caller), *id, range, digest, request.body).await?;
    Ok(created(caller, repository, &digest))
}

/// DELETE: cancels the upload.
pub(crate) async fn delete(
    call: Call<'_>,
    repository: &RepositoryName,
    id: &Uuid,
) -> Result<Response, Error> {
    call.registry().cancel_upload(repository, owner(call.caller), *id).await?;
    Ok(response::status(StatusCode::NO_CONTENT))
}

/// The owner of an upload. It does not exist for others.
fn owner<'a>(caller: &Caller<'a>) -> Option<&'a AccountName> {
    caller.identity().name()
}

/// Returns 202 with the location and the received bytes of an upload.
fn accepted(caller: &Caller<'_>, repository: &RepositoryName, upload: UploadStatus) -> Response {
    let mut response = response::status(StatusCode::ACCEPTED);
    let headers = response.headers_mut();
    headers.insert(LOCATION, caller.links().upload(repository, upload.id));
    headers.insert(RANGE, upload_range(upload.offset));
    let id = HeaderValue::try_from(upload.id.to_string()).expect("a UUID is visible ASCII");
    headers.insert(DOCKER_UPLOAD_UUID, id);
    response
}

/// Returns 201 with the location of the blob.
fn created(caller: &Caller<'_>, repository: &RepositoryName, digest: &Digest) -> Response {
    let mut response = response::status(StatusCode::CREATED);
    let headers = response.headers_mut();
    headers.insert(LOCATION, caller.links().blob(repository, digest));
    headers.insert(DOCKER_CONTENT_DIGEST, digest_value(digest));
    response
}

fn chunk_range(request: &Request) -> Result<Option<ChunkRange>, Error> {
    request
        .header(CONTENT_RANGE)
        .map(|range| parse_chunk_range(range).ok_or(Error::BadContentRange))
        .transpose()
}

/// Refuses a body by its announced length, before any of it is received. Returns the announced size of the
/// upload.
fn check_announced(
    app: &App,
    request: &Request,
    range: Option<ChunkRange>,
) -> Result<Option<u64>, registry::Error> {
    let Some(announced) = request.body.announced() else { return Ok(None) };
    let mut first = 0;
    if let Some(range) = range {
        first = range.first;
        let expected = range.last - range.first + 1;
        if expected != announced {
            return Err(registry::Error::ChunkLength { expected, actual: announced });
        }
    }
    match app.registry.policy().blob_bytes {
        Some(limit) if announced > limit.saturating_sub(first) => {
            Err(registry::Error::BlobTooLarge { limit })
        }
        _ => Ok(Some(first.saturating_add(announced))),
    }
}
