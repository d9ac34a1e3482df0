//! Forwards requests of the registry protocol to an upstream, and their responses to the client.
//!
//! The request line is never copied. The request to the upstream is built from the parsed and authorized
//! endpoint and from known parameters. So the gateway and the upstream cannot interpret a request differently
//! (request smuggling).

use accounts::Right;
use bytes::Bytes;
use hyper::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, IF_NONE_MATCH, LINK,
    LOCATION, RANGE, TRANSFER_ENCODING,
};
use hyper::{Method, StatusCode};
use oci::{Digest, Manifest, MediaType, RepositoryName, TagOrDigest};
use registry::access::Accounts;
use registry::{Policy, description};
use upstream::{
    Location, OutgoingBody, UpstreamRequest, UpstreamResponse, location, next_page, read_to_end,
    repository_scope,
};
use uuid::Uuid;

use super::headers::{Origin, request_headers, response_headers};
use super::manifests::Lookup;
use super::references::Named;
use super::upload_body::{self, SizeBudget};
use super::uploads::{UploadRef, strip_token};
use super::{Gateway, Inner};
use crate::config::UpstreamHost;
use crate::http::body::Body;
use crate::http::error::Error;
use crate::http::extract::endpoint::Endpoint;
use crate::http::extract::request::Request;
use crate::http::gateway_error::GatewayError;
use crate::http::middleware::caller::Caller;
use crate::http::response::{self, Response};

const OCTET_STREAM: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// The size limit in bytes of an image config that is searched for a description.
const CONFIG_BYTES: usize = 1 << 20;

/// The context of one request.
struct Exchange<'a> {
    gateway: &'a Gateway,
    accounts: &'a Accounts,
    caller: &'a Caller<'a>,
    endpoint: &'a Endpoint,
    policy: &'a Policy,
}

/// Answers an authorized request for content.
pub(super) async fn answer(
    gateway: &Gateway,
    caller: &Caller<'_>,
    endpoint: &Endpoint,
    request: Request,
) -> Result<Response, Error> {
    let Inner { registry, .. } = &*gateway.inner;
    let policy = registry.policy();
    let exchange = Exchange { gateway, accounts: registry.accounts(), caller, endpoint, policy: &policy };
    let reads = request.method == Method::GET || request.method == Method::HEAD;
    let is_content = matches!(endpoint, Endpoint::Manifest(..) | Endpoint::Blob(..));
    if request.method == Method::DELETE && is_content && !policy.delete {
        return Err(registry::Error::DeleteDisabled.into());
    }
    match endpoint {
        Endpoint::Tags(name) => {
            let query = parameters(&request, &["n", "last"]);
            exchange.forward(request, name, format!("/v2/{name}/tags/list{query}"), "pull").await
        }
        Endpoint::Referrers(name, subject) => {
            let query = parameters(&request, &["artifactType", "n", "last"]);
            exchange.forward(request, name, format!("/v2/{name}/referrers/{subject}{query}"), "pull").await
        }
        Endpoint::Manifest(name, target) if reads => exchange.manifest(request, name, target).await,
        Endpoint::Manifest(name, target) => {
            exchange.change_manifest(request, name, target, policy.manifest_bytes).await
        }
        Endpoint::Blob(name, digest) => exchange.blob(request, name, digest).await,
        Endpoint::Uploads(name) => exchange.begin_upload(request, name).await,
        Endpoint::Upload(name, id) => exchange.upload(request, name, *id).await,
        _ => Err(GatewayError::Unsupported.into()),
    }
}

impl Exchange<'_> {
    /// Forwards a request and its response.
    async fn forward(
        &self,
        request: Request,
        repository: &RepositoryName,
        path_and_query: String,
        action: &str,
    ) -> Result<Response, Error> {
        let ask = self.upstream_request(&request, path_and_query, repository_scope(repository, action));
        let body = if reads(&request) { OutgoingBody::empty() } else { self.body(request, 0)? };
        let answered = self.gateway.send(&ask, &body, None).await?;
        self.convert(answered, &ask.method, None)
    }

    /// The body of a request that uploads a part of a blob after `received` bytes.
    fn body(&self, request: Request, received: u64) -> Result<OutgoingBody, GatewayError> {
        upload_body::forward(request.body, SizeBudget::new(self.policy.blob_bytes, received))
    }

    /// GET, HEAD and DELETE of a blob that the repository refers to.
    async fn blob(
        &self,
        request: Request,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Response, Error> {
        if !self.gateway.contains(name, digest).await? {
            return Err(registry::Error::BlobUnknown { repository: name.clone(), digest: *digest }.into());
        }
        let action = if reads(&request) { "pull" } else { "delete" };
        let deletes = request.method == Method::DELETE;
        let response = self.forward(request, name, format!("/v2/{name}/blobs/{digest}"), action).await?;
        if deletes && response.status().is_success() {
            self.gateway.inner.references.remove_blob(name, *digest);
        }
        Ok(response)
    }

    /// GET and HEAD of a manifest.
    async fn manifest(
        &self,
        request: Request,
        name: &RepositoryName,
        target: &TagOrDigest,
    ) -> Result<Response, Error> {
        let gateway = self.gateway;
        let path = format!("/v2/{name}/manifests/{target}");
        let mut fetch = None;
        // Range requests for manifests are rare and bypass the cache.
        if gateway.inner.manifests.is_enabled() && !request.headers.contains_key(RANGE) {
            match gateway.inner.manifests.lookup(name, target, &request.headers).await {
                Lookup::Hit(entry) => {
                    if let Some(response) = entry.response(&request.headers) {
                        return Ok(response);
                    }
                }
                Lookup::Miss(miss) => fetch = Some(miss),
                Lookup::Uncacheable => {}
            }
        }
        let is_scoped = gateway.inner.scoping.is_by_repository(name);
        let is_partial = request.is_head() || request.headers.contains_key(RANGE);
        if fetch.is_none() && (is_scoped || is_partial) {
            let response = self.forward(request, name, path, "pull").await?;
            if response.status() == StatusCode::OK {
                check_manifest_type(response.headers())?;
                gateway.inner.catalog_sync.record(name, None).await;
            }
            return Ok(response);
        }

        let mut ask = self.upstream_request(&request, path, repository_scope(name, "pull"));
        if let Some(fetch) = &fetch {
            // All waiting callers get the result: fetch the whole manifest, and evaluate the client's
            // condition here.
            ask.method = Method::GET;
            ask.headers.remove(IF_NONE_MATCH);
            if let Some(etag) = fetch.etag() {
                ask.headers.insert(IF_NONE_MATCH, etag.clone());
            }
        }
        let answered = match gateway.send(&ask, &OutgoingBody::empty(), None).await {
            Ok(answered) => answered,
            Err(error) => {
                if let Some(fetch) = fetch {
                    fetch.uncacheable();
                }
                return Err(error.into());
            }
        };
        if answered.response.status() == StatusCode::NOT_MODIFIED
            && let Some(fetch) = fetch
        {
            let entry = fetch.revalidated();
            if let Some(content) = entry.as_ref().and_then(|entry| entry.content()) {
                gateway.inner.references.record_manifest(name, content);
            }
            let response = entry.and_then(|entry| entry.response(&request.headers));
            return response.ok_or_else(|| {
                GatewayError::InvalidResponse("it answers 304 to a request without If-None-Match".to_owned())
                    .into()
            });
        }
        let announced = http_body::Body::size_hint(answered.response.body()).exact();
        let is_small = announced.is_some_and(|length| length <= self.policy.manifest_bytes as u64);
        if answered.response.status() != StatusCode::OK || !is_small {
            if let Some(fetch) = fetch {
                fetch.uncacheable();
            }
            return self.convert(answered, &request.method, None);
        }
        if let Err(error) = check_manifest_type(answered.response.headers()) {
            if let Some(fetch) = fetch {
                fetch.uncacheable();
            }
            return Err(error.into());
        }
        gateway.inner.catalog_sync.record(name, None).await;
        let (head, body) = answered.response.into_parts();
        let content =
            match read_to_end(body, self.policy.manifest_bytes, gateway.inner.client.read_timeout()).await {
                Ok(content) => content,
                Err(why) => {
                    if let Some(fetch) = fetch {
                        fetch.uncacheable();
                    }
                    return Err(GatewayError::Unreachable(why.into()).into());
                }
            };
        gateway.inner.references.record_manifest(name, &content);
        let mut headers = response_headers(&head.headers);
        let entry = fetch.and_then(|fetch| fetch.received(&headers, &content));
        if let Some(response) = entry.and_then(|entry| entry.response(&request.headers)) {
            return Ok(response);
        }
        headers.insert(CONTENT_LENGTH, HeaderValue::from(content.len()));
        let mut answer = Response::new(Body::full(content));
        *answer.headers_mut() = headers;
        Ok(answer)
    }

    /// PUT and DELETE of a manifest.
    async fn change_manifest(
        &self,
        mut request: Request,
        name: &RepositoryName,
        target: &TagOrDigest,
        limit: usize,
    ) -> Result<Response, Error> {
        let puts = request.method == Method::PUT;
        let query = match target {
            TagOrDigest::Digest(_) if puts => parameters(&request, &["tag"]),
            _ => String::new(),
        };
        let action = if puts { "pull,push" } else { "delete" };
        let ask = self.upstream_request(
            &request,
            format!("/v2/{name}/manifests/{target}{query}"),
            repository_scope(name, action),
        );
        let content =
            request.whole_body(limit, || registry::Error::ManifestTooLarge { limit }.into()).await?;
        if puts {
            self.check_parts(name, &content).await?;
        }
        let manifest = puts.then(|| parse(&ask.headers, &content)).flatten();
        let body = if puts { OutgoingBody::bytes(content.clone()) } else { OutgoingBody::empty() };

        // A separate task: the change must stay open until the upstream responds, even if the client leaves.
        let gateway = self.gateway.clone();
        let repository = name.clone();
        let method = ask.method.clone();
        let task = tokio::spawn(async move {
            let change = gateway.inner.manifests.begin_change(&repository);
            let answered = gateway.send(&ask, &body, None).await?;
            drop(change);
            let (upstream, response) = (answered.upstream.index(), answered.response);
            if !puts {
                gateway.inner.references.invalidate(&repository);
            }
            if puts && response.status().is_success() {
                gateway.inner.references.record_manifest(&repository, &content);
                let description = manifest.as_ref().and_then(description::annotation);
                let config =
                    manifest.as_ref().filter(|_| description.is_none()).and_then(description::config);
                gateway.inner.catalog_sync.record(&repository, description).await;
                if let Some((digest, _)) = config {
                    // The client does not wait for the description in the image config.
                    tokio::spawn(async move { describe(&gateway, &repository, &digest).await });
                }
            }
            Ok::<_, GatewayError>((upstream, response))
        });
        let (index, response) = task.await.map_err(|error| GatewayError::Unreachable(error.into()))??;
        if !puts && matches!(target, TagOrDigest::Tag(_)) && response.status() == StatusCode::BAD_REQUEST {
            // registry:2 takes the tag for an invalid digest.
            return Err(GatewayError::NoTagDeletion { repository: name.clone() }.into());
        }
        let upstream = self.gateway.inner.client.upstreams().get(index);
        let upstream =
            upstream.ok_or_else(|| GatewayError::InvalidResponse("no upstream has this index".to_owned()))?;
        self.convert(UpstreamResponse { upstream, response }, &method, None)
    }

    /// Rejects a manifest that names blobs outside the repository, because it would give its readers access
    /// to them.
    async fn check_parts(&self, name: &RepositoryName, content: &Bytes) -> Result<(), Error> {
        if self.gateway.inner.scoping.is_by_repository(name) {
            return Ok(());
        }
        let mut missing = Vec::new();
        for digest in Named::parse(content).blobs {
            match self.gateway.contains(name, &digest).await {
                Ok(true) => {}
                Ok(false) | Err(GatewayError::Unproven { .. }) => missing.push(digest),
                Err(error) => return Err(error.into()),
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(registry::Error::PartsMissing { repository: name.clone(), missing }.into())
    }

    /// POST: starts an upload, uploads a blob at once, or mounts a blob of another repository.
    async fn begin_upload(&self, request: Request, name: &RepositoryName) -> Result<Response, Error> {
        let query = request.query();
        let mut allowed = repository_scope(name, "pull,push");
        let mount = query.digest("mount")?;
        let from: Option<RepositoryName> = query.get_filled("from").and_then(|from| from.parse().ok());
        let parameters = match (mount, from) {
            // Without `from`, the upstream would search all repositories, including those forbidden to the
            // client.
            (Some(mount), Some(from)) if self.may_mount(&from, &mount).await? => {
                allowed = format!("{allowed} {}", repository_scope(&from, "pull"));
                format!("?mount={}&from={}", encode(&mount.to_string()), encode(from.as_str()))
            }
            // Clients expect an ordinary upload if a mount is impossible.
            (Some(_), _) => String::new(),
            (None, _) => parameters(&request, &["digest", "digest-algorithm"]),
        };
        let ask = self.upload_request(&request, format!("/v2/{name}/blobs/uploads/{parameters}"), allowed);
        // Without parameters, the request only starts an upload.
        let digest = if parameters.is_empty() { None } else { mount.or(query.digest("digest")?) };
        let body = self.body(request, 0)?;
        let answered = self.gateway.send(&ask, &body, None).await?;
        let response = self.convert(answered, &ask.method, None)?;
        self.record_upload(name, digest, &response);
        Ok(response)
    }

    /// GET, PATCH, PUT and DELETE of an upload.
    async fn upload(&self, request: Request, name: &RepositoryName, id: Uuid) -> Result<Response, Error> {
        let query = request.uri.query();
        let state = self.gateway.inner.upload_tokens.verify(name, id, &self.account(), query);
        let state = state.ok_or(registry::Error::UploadUnknown(id))?;
        let digest = request.query().digest("digest")?.filter(|_| request.method == Method::PUT);
        if request.method == Method::PUT && digest.is_none() {
            return Err(Error::DigestMissing { of: "the whole blob" });
        }
        let query = strip_token(query);
        let separator = if query.is_empty() { "" } else { "?" };
        let path = format!("/v2/{name}/blobs/uploads/{id}{separator}{query}");
        let ask = self.upload_request(&request, path, repository_scope(name, "pull,push"));
        let body = if reads(&request) { OutgoingBody::empty() } else { self.body(request, state.bytes)? };
        let answered = self.gateway.send(&ask, &body, Some(state.home)).await?;
        let response = self.convert(answered, &ask.method, Some(id))?;
        self.record_upload(name, digest, &response);
        Ok(response)
    }

    /// Records a blob that the upstream has stored in a repository.
    fn record_upload(&self, name: &RepositoryName, digest: Option<Digest>, response: &Response) {
        let announced = response.headers().get(response::DOCKER_CONTENT_DIGEST);
        if let Some(digest) = digest
            && response.status() == StatusCode::CREATED
            && announced.is_none_or(|announced| announced.as_bytes() == digest.to_string().as_bytes())
        {
            self.gateway.inner.references.record_upload(name, digest);
        }
    }

    /// The account that owns an upload; empty for anonymous clients.
    fn account(&self) -> String {
        self.caller.identity().name().map(ToString::to_string).unwrap_or_default()
    }

    /// Whether the caller may pull a blob from a repository, and so mount it. Checked here, because the
    /// upstream may also search other repositories.
    async fn may_mount(&self, from: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        if !self.accounts.is_allowed(self.caller.identity(), from, Right::Pull).await? {
            return Ok(false);
        }
        match self.gateway.contains(from, digest).await {
            Ok(true) => {}
            Ok(false) | Err(GatewayError::Unproven { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let path = format!("/v2/{from}/blobs/{digest}");
        let ask = UpstreamRequest {
            method: Method::HEAD,
            ..UpstreamRequest::get(path, repository_scope(from, "pull"))
        };
        let answered = self.gateway.send(&ask, &OutgoingBody::empty(), None).await?;
        Ok(answered.response.status() == StatusCode::OK)
    }

    /// The head of an upload request. Its `Content-Type` is never a form, because distribution reads `mount`
    /// and `from` with Go's `FormValue`: form fields in the body would override the checked query.
    fn upload_request(&self, request: &Request, path_and_query: String, scope: String) -> UpstreamRequest {
        let mut ask = self.upstream_request(request, path_and_query, scope);
        ask.headers.insert(CONTENT_TYPE, OCTET_STREAM);
        ask
    }

    /// The head of a request to the upstream.
    fn upstream_request(&self, request: &Request, path_and_query: String, scope: String) -> UpstreamRequest {
        let host = match self.gateway.inner.host {
            UpstreamHost::Client => request.headers.get(HOST),
            UpstreamHost::Upstream => None,
        };
        let origin = Origin {
            client: Some(self.caller.address()),
            local: self.caller.reached(),
            is_tls: self.caller.is_secure(),
            host,
        };
        let headers = request_headers(&request.headers, &origin);
        UpstreamRequest { method: request.method.clone(), path_and_query, headers, scope }
    }

    /// Converts the upstream's response for the client.
    fn convert(
        &self,
        answered: UpstreamResponse<'_>,
        method: &Method,
        upload: Option<Uuid>,
    ) -> Result<Response, Error> {
        let UpstreamResponse { upstream, response } = answered;
        let status = response.status();
        if status.is_informational() || status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return Err(GatewayError::InvalidResponse(format!("{upstream} answers {status}")).into());
        }
        if status.is_server_error() && !is_json(response.headers()) {
            return Err(GatewayError::UpstreamFailed(status, upstream.to_string()).into());
        }
        let has_no_body =
            *method == Method::HEAD || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
        if status.is_success() && !has_no_body && !is_framed(response.headers()) {
            let why = format!(
                "{upstream} does not announce the length of its response, so that a truncated one would look complete"
            );
            return Err(GatewayError::InvalidResponse(why).into());
        }
        let mut headers = response_headers(response.headers());
        let target = location(upstream, response.headers()).map_err(|why| {
            GatewayError::InvalidResponse(format!("{upstream} answers {status}, and {why}"))
        })?;
        if let Some(target) = target {
            let location = self.location(target, upstream.index(), status, response.headers(), upload);
            let location = location.ok_or_else(|| {
                let given = response.headers().get(LOCATION);
                GatewayError::InvalidResponse(format!(
                    "{upstream} answers {status}, and its Location is {given:?}"
                ))
            })?;
            headers.insert(LOCATION, location);
        }
        if let Some(next) = next_page(response.headers())
            && let Some(path) = paged_path(self.endpoint)
            && let Some(link) = link(&self.caller.links().absolute(&path), &next)
        {
            headers.insert(LINK, link);
        }
        if status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Ok(self.range_not_satisfiable(headers));
        }
        let timeouts = self.gateway.inner.client.read_timeout();
        let (_, body) = response.into_parts();
        let body = if has_no_body { Body::default() } else { Body::upstream(body, timeouts) };
        let mut answer = Response::new(body);
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }

    /// 416 with a new body, because docker-registry 2.8.2 announces the length of the blob and sends no body.
    fn range_not_satisfiable(&self, mut headers: HeaderMap) -> Response {
        let code = match self.endpoint {
            Endpoint::Uploads(_) | Endpoint::Upload(..) => oci::ErrorCode::BlobUploadInvalid,
            _ => oci::ErrorCode::Unsupported,
        };
        let message = "the range is not within the content";
        let errors = serde_json::json!({ "errors": [{ "code": code.as_str(), "message": message }] });
        let mut answer = response::json(&errors);
        *answer.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
        for name in [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING] {
            headers.remove(name);
        }
        answer.headers_mut().extend(headers);
        answer
    }

    /// The `Location` for the client; `None` if the upstream's is not allowed for this endpoint.
    fn location(
        &self,
        target: Location,
        home: usize,
        status: StatusCode,
        given: &HeaderMap,
        upload: Option<Uuid>,
    ) -> Option<HeaderValue> {
        let (repository, is_blob) = match self.endpoint {
            Endpoint::Blob(name, _) => (name, true),
            Endpoint::Uploads(name) | Endpoint::Upload(name, _) | Endpoint::Manifest(name, _) => {
                (name, false)
            }
            _ => return None,
        };
        match target {
            Location::Upload(name, id, query) => {
                // The id of an existing upload must not change.
                let is_own = name == *repository && upload.is_none_or(|upload| upload == id);
                let state = UploadRef { home, bytes: received(given) };
                let query = self.gateway.inner.upload_tokens.sign(
                    &name,
                    id,
                    &self.account(),
                    state,
                    query.as_deref(),
                );
                let address = self.caller.links().absolute(&format!("/v2/{name}/blobs/uploads/{id}?{query}"));
                is_own.then(|| HeaderValue::try_from(address).ok()).flatten()
            }
            Location::Blob(name, digest) => {
                (name == *repository).then(|| self.caller.links().blob(&name, &digest))
            }
            Location::Manifest(name, target) => {
                let address = self.caller.links().absolute(&format!("/v2/{name}/manifests/{target}"));
                (name == *repository).then(|| HeaderValue::try_from(address).ok()).flatten()
            }
            // A redirect to an object store, with a presigned URL. The client follows it; the gateway does
            // not.
            Location::Foreign => {
                (is_blob && status.is_redirection()).then(|| given.get(LOCATION).cloned()).flatten()
            }
        }
    }
}

/// A `Link` to the next page.
fn link(url: &str, query: &str) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("<{url}?{query}>; rel=\"next\"")).ok()
}

fn reads(request: &Request) -> bool {
    request.method == Method::GET || request.method == Method::HEAD
}

/// The received bytes of an upload in `Range` (distribution-spec, "Pushing a blob in chunks"). `0-0` stands
/// for none.
fn received(headers: &HeaderMap) -> u64 {
    let last =
        headers.get(RANGE).and_then(|range| range.to_str().ok()).and_then(|range| range.strip_prefix("0-"));
    last.and_then(|last| last.parse().ok())
        .map_or(0, |last: u64| if last == 0 { 0 } else { last.saturating_add(1) })
}

/// Whether the end of the body is marked other than by the end of the connection (RFC 9112 section 6.3).
fn is_framed(headers: &HeaderMap) -> bool {
    headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING)
}

/// Refuses a manifest with a type that is none, such as the page of a proxy: the upstream's text would reach
/// browsers on the gateway's origin.
fn check_manifest_type(headers: &HeaderMap) -> Result<(), GatewayError> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let kind = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
    if kind.starts_with("application/vnd.") || kind.contains("json") {
        return Ok(());
    }
    Err(GatewayError::InvalidResponse(format!("it sends a manifest with the Content-Type {kind:?}")))
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| String::from_utf8_lossy(value.as_bytes()).contains("json"))
}

/// The named parameters of the request, encoded again: `?n=5&last=x`, or an empty string.
fn parameters(request: &Request, names: &[&str]) -> String {
    let query = request.query();
    let mut encoded = form_urlencoded::Serializer::new(String::new());
    let mut any = false;
    for name in names {
        for value in query.all(name) {
            encoded.append_pair(name, &value);
            any = true;
        }
    }
    if any { format!("?{}", encoded.finish()) } else { String::new() }
}

fn encode(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The path of an endpoint with pages.
fn paged_path(endpoint: &Endpoint) -> Option<String> {
    match endpoint {
        Endpoint::Tags(name) => Some(format!("/v2/{name}/tags/list")),
        Endpoint::Referrers(name, subject) => Some(referrers(name, subject)),
        _ => None,
    }
}

fn referrers(name: &RepositoryName, subject: &Digest) -> String {
    format!("/v2/{name}/referrers/{subject}")
}

/// Parses a pushed manifest; `None` if it is invalid, which the upstream decides.
fn parse(headers: &HeaderMap, content: &Bytes) -> Option<Manifest> {
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Manifest::parse(content, Some(&MediaType::from_content_type(content_type).ok()?)).ok()
}

/// Stores the description in an image config, for search.
async fn describe(gateway: &Gateway, repository: &RepositoryName, config: &Digest) {
    let path = format!("/v2/{repository}/blobs/{config}");
    let ask = UpstreamRequest::get(path, repository_scope(repository, "pull"));
    let client = &gateway.inner.client;
    let Ok(answered) = gateway.send(&ask, &OutgoingBody::empty(), None).await else { return };
    if answered.response.status() != StatusCode::OK {
        return;
    }
    let content = read_to_end(answered.response.into_body(), CONFIG_BYTES, client.read_timeout()).await;
    if let Some(label) = content.ok().and_then(|content| description::label(&content)) {
        gateway.inner.catalog_sync.record(repository, Some(label)).await;
    }
}
