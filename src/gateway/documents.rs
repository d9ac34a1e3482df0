//! Documents for pages: tag lists, manifests, configs and referrers of the upstream.

use hyper::StatusCode;
use hyper::header::{ACCEPT, HeaderMap, HeaderValue};
use oci::{Digest, RepositoryName};
use upstream::{OutgoingBody, UpstreamRequest, read_to_end, repository_scope};

use super::Gateway;
use crate::http::error::Error;
use crate::http::gateway_error::GatewayError;

/// Reads a document of at most `limit` bytes; `None` if it does not exist. A blob must be one of the
/// repository, because the upstream may serve it in every repository.
pub(super) async fn read(
    gateway: &Gateway,
    repository: &RepositoryName,
    below: &str,
    accept: Option<HeaderValue>,
    limit: usize,
) -> Result<Option<(HeaderMap, bytes::Bytes)>, Error> {
    if let Some(digest) = below.strip_prefix("blobs/").and_then(|digest| digest.parse::<Digest>().ok())
        && !gateway.contains(repository, &digest).await?
    {
        return Ok(None);
    }
    let request = UpstreamRequest {
        headers: accept.map(|accept| (ACCEPT, accept)).into_iter().collect(),
        ..UpstreamRequest::get(format!("/v2/{repository}/{below}"), repository_scope(repository, "pull"))
    };
    let (head, body) = gateway.send(&request, &OutgoingBody::empty(), None).await?.response.into_parts();
    match head.status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => return Ok(None),
        status => {
            let problem = format!("it answered {status} to {}", request.path_and_query);
            return Err(GatewayError::InvalidResponse(problem).into());
        }
    }
    let timeout = gateway.inner.client.read_timeout();
    let content = read_to_end(body, limit, timeout).await.map_err(GatewayError::InvalidResponse)?;
    Ok(Some((head.headers, content)))
}
