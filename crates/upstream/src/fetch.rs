//! Fetches content for a cache: follows redirects, obeys rate limits, and skips upstreams whose circuit
//! breaker is open.
//!
//! Credentials go to the upstream's own host and port only. Signed URLs of object stores refuse them anyway.

use http_body::Body as _;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, LOCATION};
use hyper::{Method, StatusCode, Uri};
use oci::RepositoryName;

use crate::body::OutgoingBody;
use crate::client::{Client, Failure, UpstreamRequest, is_server_error, repository_scope};
use crate::error::Error;
use crate::retry_after::retry_after;
use crate::upstream::Upstream;

/// The number of redirects that are followed.
const REDIRECTS: usize = 5;

/// A response, and the upstream that sent it.
pub struct Fetched<'a> {
    pub upstream: &'a Upstream,
    /// Its response, after redirects.
    pub response: hyper::Response<Incoming>,
}

impl Fetched<'_> {
    /// The announced length of the body.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.response.body().size_hint().exact()
    }
}

impl Client {
    /// Sends a GET or HEAD to the upstreams, beginning with the one at index `first`, until one gives an
    /// answer about the content. That is any status but 429 and 5xx.
    ///
    /// # Errors
    /// [`Error::Limited`] if one answers 429 and no other answers, [`Error::BreakerOpen`] if none was called,
    /// or the [`Error`] of the last one.
    pub async fn fetch(&self, request: &UpstreamRequest, first: usize) -> Result<Fetched<'_>, Error> {
        let mut failure = None;
        for upstream in self.order((first > 0).then_some(first)) {
            if let Some(retry_after) = upstream.limited_for() {
                failure = Some(Error::Limited { retry_after });
                continue;
            }
            if upstream.is_open() {
                failure = failure.or(Some(Error::BreakerOpen));
                continue;
            }
            match self.fetch_from(upstream, request).await {
                Ok(response) => return Ok(Fetched { upstream, response }),
                // The repository is as private on the next URL.
                Err(error @ Error::AccessDenied(_)) => return Err(error),
                Err(error @ Error::Limited { .. }) => failure = Some(error),
                Err(error) => failure = Some(failure.filter(is_limit).unwrap_or(error)),
            }
        }
        Err(failure.unwrap_or_else(|| Error::Unreachable("no upstream is configured".into())))
    }

    async fn fetch_from(
        &self,
        upstream: &Upstream,
        request: &UpstreamRequest,
    ) -> Result<hyper::Response<Incoming>, Error> {
        let first = self.try_upstream(upstream, request, &OutgoingBody::empty()).await;
        let mut response = first.map_err(|failed| failed.record(upstream))?;
        upstream.record_response(response.headers());
        let mut url =
            upstream.url(&request.path_and_query).map_err(|error| Error::Unreachable(error.into()))?;
        let mut elsewhere = None;
        for _ in 0..REDIRECTS {
            if !is_redirect(response.status()) {
                break;
            }
            url = redirected(upstream, &url, response.headers()).map_err(Error::InvalidResponse)?;
            (response, elsewhere) = match own_request(upstream, request, &url) {
                Some(own) => {
                    let answered = self.try_upstream(upstream, &own, &OutgoingBody::empty()).await;
                    (answered.map_err(|failed| failed.record(upstream))?, None)
                }
                None => (self.follow(upstream, request, &url).await?, url.authority().cloned()),
            };
        }
        let status = response.status();
        let is_refused = status == StatusCode::TOO_MANY_REQUESTS || is_server_error(status);
        if let Some(host) = elsewhere.filter(|_| is_refused) {
            // The upstream itself works.
            upstream.record_success();
            let reason = format!("{host}, to which {upstream} redirects, answers {status}");
            return Err(Error::Unreachable(reason.into()));
        }
        match status {
            StatusCode::TOO_MANY_REQUESTS => {
                let retry_after = upstream.record_limit(retry_after(response.headers()));
                Err(Error::Limited { retry_after })
            }
            status if is_redirect(status) => {
                Err(Error::InvalidResponse(format!("{upstream} redirects more than {REDIRECTS} times")))
            }
            status if is_server_error(status) => {
                upstream.record_failure(&status);
                Err(Error::Unreachable(format!("{upstream} answers {status}").into()))
            }
            _ => {
                upstream.record_success();
                Ok(response)
            }
        }
    }

    /// Sends a request to the target of a redirect on another host. Its failures start no backoff of the
    /// upstream.
    async fn follow(
        &self,
        upstream: &Upstream,
        request: &UpstreamRequest,
        url: &Uri,
    ) -> Result<hyper::Response<Incoming>, Error> {
        self.guard.check_literal(url).map_err(Error::InvalidResponse)?;
        let mut outgoing = hyper::Request::new(OutgoingBody::empty());
        *outgoing.method_mut() = request.method.clone();
        *outgoing.uri_mut() = url.clone();
        *outgoing.headers_mut() = request.headers.clone();
        let response = self.traced(self.timeouts.read, None, outgoing).await;
        response.map_err(|failed: Failure| failed.of_redirect(upstream, url))
    }
}

/// The request for a redirect within the upstream; `None` for another host or path prefix.
fn own_request(upstream: &Upstream, request: &UpstreamRequest, url: &Uri) -> Option<UpstreamRequest> {
    let is_own = url.authority() == Some(upstream.authority())
        && (url.scheme_str() == Some("https")) == upstream.is_tls();
    let path_and_query = url.path_and_query().filter(|_| is_own)?;
    let rest = upstream.strip_prefix(path_and_query.as_str())?;
    let own = UpstreamRequest { path_and_query: rest.to_owned(), ..request.clone() };
    // Harbor's proxy of Docker Hub redirects a bare name to `library/`, which needs a token of its own.
    let repository = repository_of(rest).filter(|_| request.scope.ends_with(":pull"));
    Some(match repository {
        Some(repository) => UpstreamRequest { scope: repository_scope(repository, "pull"), ..own },
        None => own,
    })
}

/// The repository in the path of a pull. It is read from the end, because a name may contain `blobs`.
fn repository_of(path_and_query: &str) -> Option<RepositoryName> {
    let path = path_and_query.split('?').next()?.strip_prefix("/v2/")?;
    let (before, _) = path.rsplit_once('/')?;
    let name =
        ["/manifests", "/blobs", "/tags", "/referrers"].iter().find_map(|kind| before.strip_suffix(kind));
    name?.parse().ok()
}

fn is_limit(error: &Error) -> bool {
    matches!(error, Error::Limited { .. })
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Resolves the `Location` of a redirect. A redirect from HTTPS to HTTP is refused.
fn redirected(upstream: &Upstream, from: &Uri, headers: &HeaderMap) -> Result<Uri, String> {
    let text = headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let invalid = || format!("{upstream} redirects to {text:?}");
    let to: Uri = if text.starts_with("//") {
        format!("{}:{text}", from.scheme_str().unwrap_or("https")).parse().map_err(|_| invalid())?
    } else {
        text.parse().map_err(|_| invalid())?
    };
    let mut parts = to.into_parts();
    if parts.authority.is_none() {
        parts.scheme = from.scheme().cloned();
        parts.authority = from.authority().cloned();
    }
    let to = Uri::from_parts(parts).map_err(|_| invalid())?;
    match (from.scheme_str(), to.scheme_str()) {
        (Some("http"), Some("http" | "https")) | (_, Some("https")) => Ok(to),
        _ => Err(invalid()),
    }
}

impl UpstreamRequest {
    /// A HEAD without headers.
    #[must_use]
    pub fn head(path_and_query: String, scope: String) -> Self {
        Self { method: Method::HEAD, ..Self::get(path_and_query, scope) }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;
    use crate::credentials::CredentialStore;

    fn target(from: &'static str, location: &'static str) -> Result<String, String> {
        let from: Uri = from.parse().unwrap();
        let upstream = Upstream::new(0, &from, CredentialStore::default()).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_static(location));
        redirected(&upstream, &from, &headers).map(|uri| uri.to_string())
    }

    #[test]
    fn redirect_may_be_relative_but_not_insecure() {
        let from = "https://registry.example/v2/a/blobs/x";
        assert_eq!(target(from, "/b?c=1").unwrap(), "https://registry.example/b?c=1");
        assert_eq!(target(from, "//cdn.example/b").unwrap(), "https://cdn.example/b");
        assert_eq!(target(from, "https://cdn.example/b").unwrap(), "https://cdn.example/b");
        for location in ["http://cdn.example/b", "ftp://cdn.example/b", "", "file:///etc/passwd"] {
            assert!(target(from, location).is_err(), "{location}");
        }
        assert_eq!(target("http://r/v2/", "http://cdn/b").unwrap(), "http://cdn/b");
    }
}
