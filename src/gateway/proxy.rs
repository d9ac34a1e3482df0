//! A request of the registry's protocol, answered by an upstream: what goes up, what comes down.
//!
//! Nothing of a client's request line is copied. What is asked of an upstream is written anew from the endpoint that
//! was parsed, and judged, and from the few parameters that mean something to it. So there is one reading of a
//! request, and an upstream cannot be brought to see another one.

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

use super::headers::{Origin, downward, upward};
use super::manifests::Found;
use super::references::Named;
use super::upload_body::{SizeBudget, forward};
use super::uploads::{UploadRef, without_proof};
use super::{Gateway, Inner};
use crate::config::UpstreamHost;
use crate::http::body::Body;
use crate::http::error::Error;
use crate::http::extract::endpoint::Endpoint;
use crate::http::extract::request::Request;
use crate::http::gateway_error::GatewayError;
use crate::http::middleware::authorization::Caller;
use crate::http::response::{self, Response};

const OCTET_STREAM: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// The most that is read of an image's config.
const CONFIG_BYTES: usize = 1 << 20;

/// One exchange with an upstream.
struct Exchange<'a> {
    gateway: &'a Gateway,
    accounts: &'a Accounts,
    caller: &'a Caller,
    endpoint: &'a Endpoint,
    policy: &'a Policy,
}

/// Answers a request for content, if its endpoint is one whose content an upstream has; gives the request back
/// otherwise.
pub(super) async fn answer(
    gateway: &Gateway,
    caller: &Caller,
    endpoint: &Endpoint,
    request: Request,
) -> Result<Response, Error> {
    let Inner { registry, manifest_bytes, .. } = &*gateway.inner;
    let policy = registry.policy();
    let exchange = Exchange { gateway, accounts: registry.accounts(), caller, endpoint, policy };
    let reads = request.method == Method::GET || request.method == Method::HEAD;
    let is_content = matches!(endpoint, Endpoint::Manifest(..) | Endpoint::Blob(..));
    if request.method == Method::DELETE && is_content && !policy.delete {
        return Err(registry::Error::DeleteDisabled.into());
    }
    match endpoint {
        Endpoint::Tags(name) => {
            let query = parameters(&request, &["n", "last"]);
            exchange.pass(request, name, format!("/v2/{name}/tags/list{query}"), "pull").await
        }
        Endpoint::Referrers(name, subject) => {
            let query = parameters(&request, &["artifactType", "n", "last"]);
            exchange.pass(request, name, format!("/v2/{name}/referrers/{subject}{query}"), "pull").await
        }
        Endpoint::Manifest(name, target) if reads => exchange.manifest(request, name, target).await,
        Endpoint::Manifest(name, target) => {
            exchange.change_manifest(request, name, target, *manifest_bytes).await
        }
        Endpoint::Blob(name, digest) => exchange.blob(request, name, digest).await,
        Endpoint::Uploads(name) => exchange.begin_upload(request, name).await,
        Endpoint::Upload(name, id) => exchange.upload(request, name, *id).await,
        _ => Err(GatewayError::Unsupported.into()),
    }
}

impl Exchange<'_> {
    /// Asks what the client asked, and passes on what is answered.
    async fn pass(
        &self,
        request: Request,
        repository: &RepositoryName,
        path_and_query: String,
        action: &str,
    ) -> Result<Response, Error> {
        let ask = self.ask(&request, path_and_query, repository_scope(repository, action));
        let body = if reads(&request) { OutgoingBody::empty() } else { self.body(request, 0)? };
        let answered = self.gateway.send(&ask, &body, None).await?;
        self.passed_on(answered, &ask.method, None)
    }

    /// What a client sends of a blob of which `begun` bytes have come before.
    fn body(&self, request: Request, begun: u64) -> Result<OutgoingBody, GatewayError> {
        Ok(forward(request.body, SizeBudget::new(self.policy.blob_bytes, begun))?)
    }

    /// GET, HEAD and DELETE of a blob that the repository refers to.
    async fn blob(
        &self,
        request: Request,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Response, Error> {
        if !self.gateway.holds(name, digest).await? {
            return Err(registry::Error::BlobUnknown { repository: name.clone(), digest: *digest }.into());
        }
        let action = if reads(&request) { "pull" } else { "delete" };
        let deletes = request.method == Method::DELETE;
        let response = self.pass(request, name, format!("/v2/{name}/blobs/{digest}"), action).await?;
        if deletes && response.status().is_success() {
            self.gateway.inner.references.blob_deleted(name, *digest);
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
        let mut asking = None;
        // A part of a manifest is asked for by nobody, and is the upstream's to give.
        if gateway.inner.manifests.is_on() && !request.headers.contains_key(RANGE) {
            match gateway.inner.manifests.find(name, target, &request.headers).await {
                Found::Fresh(kept) => {
                    if let Some(answer) = kept.answer(&request.headers) {
                        return Ok(answer);
                    }
                }
                Found::Ask(right) => asking = Some(right),
                Found::Alone => {}
            }
        }
        let is_scoped = gateway.inner.scoping.is_by_repository(name);
        let is_partial = request.is_head() || request.headers.contains_key(RANGE);
        if asking.is_none() && (is_scoped || is_partial) {
            let response = self.pass(request, name, path, "pull").await?;
            if response.status() == StatusCode::OK {
                gateway.inner.catalog_sync.passed_by(name, None).await;
            }
            return Ok(response);
        }

        let mut ask = self.ask(&request, path, repository_scope(name, "pull"));
        if let Some(asking) = &asking {
            // Whatever the client asked, all of it is had, for everyone who waits; what the client has is judged here.
            ask.method = Method::GET;
            ask.headers.remove(IF_NONE_MATCH);
            if let Some(etag) = asking.etag() {
                ask.headers.insert(IF_NONE_MATCH, etag.clone());
            }
        }
        let answered = match gateway.send(&ask, &OutgoingBody::empty(), None).await {
            Ok(answered) => answered,
            Err(error) => {
                // The others find out for themselves, all at once rather than one after another.
                if let Some(asking) = asking {
                    asking.refused();
                }
                return Err(error.into());
            }
        };
        if answered.response.status() == StatusCode::NOT_MODIFIED
            && let Some(asking) = asking
        {
            let kept = asking.confirmed();
            if let Some(content) = kept.as_ref().and_then(|kept| kept.content()) {
                gateway.inner.references.passed(name, content);
            }
            let answer = kept.and_then(|kept| kept.answer(&request.headers));
            return answer
                .ok_or_else(|| GatewayError::InvalidResponse("304 for what is not known".to_owned()).into());
        }
        let announced = http_body::Body::size_hint(answered.response.body()).exact();
        let is_small = announced.is_some_and(|length| length <= gateway.inner.manifest_bytes as u64);
        if answered.response.status() != StatusCode::OK || !is_small {
            if let Some(asking) = asking {
                asking.refused();
            }
            return self.passed_on(answered, &request.method, None);
        }
        gateway.inner.catalog_sync.passed_by(name, None).await;
        let (head, body) = answered.response.into_parts();
        let content = match read_to_end(
            body,
            gateway.inner.manifest_bytes,
            gateway.inner.client.read_timeout(),
        )
        .await
        {
            Ok(content) => content,
            Err(why) => {
                if let Some(asking) = asking {
                    asking.refused();
                }
                return Err(GatewayError::Unreachable(why.into()).into());
            }
        };
        gateway.inner.references.passed(name, &content);
        let mut headers = HeaderMap::new();
        downward(&head.headers, &mut headers);
        let kept = asking.and_then(|asking| asking.received(&headers, &content));
        if let Some(answer) = kept.and_then(|kept| kept.answer(&request.headers)) {
            return Ok(answer);
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
        most: usize,
    ) -> Result<Response, Error> {
        let puts = request.method == Method::PUT;
        let query = match target {
            TagOrDigest::Digest(_) if puts => parameters(&request, &["tag"]),
            _ => String::new(),
        };
        let action = if puts { "pull,push" } else { "delete" };
        let ask = self.ask(
            &request,
            format!("/v2/{name}/manifests/{target}{query}"),
            repository_scope(name, action),
        );
        let content =
            request.whole_body(most, || registry::Error::ManifestTooLarge { limit: most }.into()).await?;
        if puts {
            self.check_parts(name, &content).await?;
        }
        let manifest = puts.then(|| parse(&ask.headers, &content)).flatten();
        let body = if puts { OutgoingBody::bytes(content.clone()) } else { OutgoingBody::empty() };

        // It goes on even if the client leaves: otherwise the upstream might still do it, after what is in memory
        // was declared right again.
        let gateway = self.gateway.clone();
        let repository = name.clone();
        let method = ask.method.clone();
        let task = tokio::spawn(async move {
            let change = gateway.inner.manifests.change(&repository);
            let answered = gateway.send(&ask, &body, None).await?;
            drop(change);
            let (upstream, response) = (answered.upstream.index(), answered.response);
            if !puts {
                gateway.inner.references.manifest_deleted(&repository);
            }
            if puts && response.status().is_success() {
                gateway.inner.references.passed(&repository, &content);
                let description = manifest.as_ref().and_then(description::annotation);
                let config =
                    manifest.as_ref().filter(|_| description.is_none()).and_then(description::config);
                gateway.inner.catalog_sync.passed_by(&repository, description).await;
                if let Some((digest, _)) = config {
                    // What the image's config says of it can wait, and the client need not.
                    tokio::spawn(async move { describe(&gateway, &repository, &digest).await });
                }
            }
            Ok::<_, GatewayError>((upstream, response))
        });
        let (index, response) = task.await.map_err(|error| GatewayError::Unreachable(error.into()))??;
        let upstream = self.gateway.inner.client.upstreams().get(index);
        let upstream = upstream
            .ok_or_else(|| GatewayError::InvalidResponse("an upstream that is not there".to_owned()))?;
        self.passed_on(UpstreamResponse { upstream, response }, &method, None)
    }

    /// Refuses a manifest that names content which the repository does not have: it would open that content to all who
    /// may pull from the repository.
    async fn check_parts(&self, name: &RepositoryName, content: &Bytes) -> Result<(), Error> {
        if self.gateway.inner.scoping.is_by_repository(name) {
            return Ok(());
        }
        let mut missing = Vec::new();
        for digest in Named::read(content).blobs {
            match self.gateway.holds(name, &digest).await {
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

    /// POST: begins an upload, takes a whole blob, or mounts one of another repository.
    async fn begin_upload(&self, request: Request, name: &RepositoryName) -> Result<Response, Error> {
        let query = request.query();
        let mut allowed = repository_scope(name, "pull,push");
        let mount = query.digest("mount")?;
        let from: Option<RepositoryName> = query.get_filled("from").and_then(|from| from.parse().ok());
        let parameters = match (mount, from) {
            // Only from where the client could pull it. From nowhere in particular, the upstream would look
            // everywhere, also where the client may not.
            (Some(mount), Some(from)) if self.may_mount(&from, &mount).await? => {
                allowed = format!("{allowed} {}", repository_scope(&from, "pull"));
                format!("?mount={}&from={}", encode(&mount.to_string()), encode(from.as_str()))
            }
            // Then it is an ordinary upload, which is what a client expects where a mount cannot be.
            (Some(_), _) => String::new(),
            (None, _) => parameters(&request, &["digest", "digest-algorithm"]),
        };
        let ask = self.ask_upload(&request, format!("/v2/{name}/blobs/uploads/{parameters}"), allowed);
        // A mount that was not passed on is an upload that only begins.
        let digest = if parameters.is_empty() { None } else { mount.or(query.digest("digest")?) };
        let body = self.body(request, 0)?;
        let answered = self.gateway.send(&ask, &body, None).await?;
        let response = self.passed_on(answered, &ask.method, None)?;
        self.note_upload(name, digest, &response);
        Ok(response)
    }

    /// What is done with an upload that was begun.
    async fn upload(&self, request: Request, name: &RepositoryName, id: Uuid) -> Result<Response, Error> {
        let query = request.uri.query();
        let begun = self.gateway.inner.proofs.check(name, id, &self.account(), query);
        let begun = begun.ok_or(registry::Error::UploadUnknown(id))?;
        let digest = request.query().digest("digest")?.filter(|_| request.method == Method::PUT);
        if request.method == Method::PUT && digest.is_none() {
            return Err(Error::DigestMissing);
        }
        let query = without_proof(query);
        let separator = if query.is_empty() { "" } else { "?" };
        let path = format!("/v2/{name}/blobs/uploads/{id}{separator}{query}");
        let ask = self.ask_upload(&request, path, repository_scope(name, "pull,push"));
        let body = if reads(&request) { OutgoingBody::empty() } else { self.body(request, begun.bytes)? };
        let answered = self.gateway.send(&ask, &body, Some(begun.home)).await?;
        let response = self.passed_on(answered, &ask.method, Some(id))?;
        self.note_upload(name, digest, &response);
        Ok(response)
    }

    /// Notes that the upstream has taken a blob into a repository.
    fn note_upload(&self, name: &RepositoryName, digest: Option<Digest>, response: &Response) {
        let said = response.headers().get(response::DOCKER_CONTENT_DIGEST);
        if let Some(digest) = digest
            && response.status() == StatusCode::CREATED
            && said.is_none_or(|said| said.as_bytes() == digest.to_string().as_bytes())
        {
            self.gateway.inner.references.uploaded(name, digest);
        }
    }

    /// Whose an upload is: nobody else finds it.
    fn account(&self) -> String {
        self.caller.identity().name().map(ToString::to_string).unwrap_or_default()
    }

    /// Whether the caller could pull a blob from a repository, and so may mount it from there. The upstream is not
    /// relied on: it may look for the blob elsewhere as well.
    async fn may_mount(&self, from: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        if !self.accounts.is_allowed(self.caller.identity(), from, Right::Pull).await? {
            return Ok(false);
        }
        match self.gateway.holds(from, digest).await {
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

    /// The same for an upload. Its body is never called a form: distribution reads `mount` and `from` with Go's
    /// `FormValue`, which prefers the fields of a form in the body to the query that was checked here.
    fn ask_upload(&self, request: &Request, path_and_query: String, scope: String) -> UpstreamRequest {
        let mut ask = self.ask(request, path_and_query, scope);
        ask.headers.insert(CONTENT_TYPE, OCTET_STREAM);
        ask
    }

    fn ask(&self, request: &Request, path_and_query: String, scope: String) -> UpstreamRequest {
        let host = match self.gateway.inner.host {
            UpstreamHost::Client => request.headers.get(HOST),
            UpstreamHost::Upstream => None,
        };
        let origin = Origin {
            client: Some(self.caller.address()),
            local: self.caller.reached(),
            secure: self.caller.is_secure(),
            host,
        };
        let headers = upward(&request.headers, &origin);
        UpstreamRequest { method: request.method.clone(), path_and_query, headers, scope }
    }

    /// The answer as the client gets it.
    fn passed_on(
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
        let has_none =
            *method == Method::HEAD || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
        if status.is_success() && !has_none && !is_framed(response.headers()) {
            let why = format!(
                "{upstream} does not say how long its answer is, so that one that was cut off would look whole"
            );
            return Err(GatewayError::InvalidResponse(why).into());
        }
        let mut headers = HeaderMap::new();
        downward(response.headers(), &mut headers);
        let place = location(upstream, response.headers()).map_err(|why| {
            GatewayError::InvalidResponse(format!("{upstream} answers {status}, and {why}"))
        })?;
        if let Some(place) = place {
            let location = self.location(place, upstream.index(), status, response.headers(), upload);
            let location = location.ok_or_else(|| {
                let given = response.headers().get(LOCATION);
                GatewayError::InvalidResponse(format!(
                    "{upstream} answers {status}, and its Location is {given:?}"
                ))
            })?;
            headers.insert(LOCATION, location);
        }
        if let Some(next) = next_page(response.headers())
            && let Some(path) = listing(self.endpoint)
            && let Some(link) = link(&self.caller.links().absolute(&path), &next)
        {
            headers.insert(LINK, link);
        }
        if status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Ok(self.range_refused(headers));
        }
        let timeouts = self.gateway.inner.client.read_timeout();
        let (_, body) = response.into_parts();
        let body = if has_none { Body::default() } else { Body::upstream(body, timeouts) };
        let mut answer = Response::new(body);
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }

    /// 416 with a body of ours: docker-registry 2.8.2 announces the length of the blob and sends nothing.
    fn range_refused(&self, mut headers: HeaderMap) -> Response {
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

    /// An address for the client; `None` if what the upstream said is nothing that a client could use.
    fn location(
        &self,
        place: Location,
        home: usize,
        status: StatusCode,
        given: &HeaderMap,
        upload: Option<Uuid>,
    ) -> Option<HeaderValue> {
        let (asked, blob) = match self.endpoint {
            Endpoint::Blob(name, _) => (name, true),
            Endpoint::Uploads(name) | Endpoint::Upload(name, _) | Endpoint::Manifest(name, _) => {
                (name, false)
            }
            _ => return None,
        };
        match place {
            Location::Upload(name, id, query) => {
                // Where there is an upload already, it stays the one that it is.
                let is_own = name == *asked && upload.is_none_or(|upload| upload == id);
                let begun = UploadRef { home, bytes: received(given) };
                let query =
                    self.gateway.inner.proofs.query(&name, id, &self.account(), begun, query.as_deref());
                let address = self.caller.links().absolute(&format!("/v2/{name}/blobs/uploads/{id}?{query}"));
                is_own.then(|| HeaderValue::try_from(address).ok()).flatten()
            }
            Location::Blob(name, digest) => {
                (name == *asked).then(|| self.caller.links().blob(&name, &digest))
            }
            Location::Manifest(name, target) => {
                let address = self.caller.links().absolute(&format!("/v2/{name}/manifests/{target}"));
                (name == *asked).then(|| HeaderValue::try_from(address).ok()).flatten()
            }
            // A registry that keeps its blobs with another service sends clients there, with an address that is good
            // for this blob and a short time. The gateway itself never follows it.
            Location::Foreign => {
                (blob && status.is_redirection()).then(|| given.get(LOCATION).cloned()).flatten()
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

/// How many bytes of an upload a registry says that it has (distribution-spec, "Pushing a blob in chunks"). It cannot say
/// that there are none: `0-0` is what it says then.
fn received(headers: &HeaderMap) -> u64 {
    let last =
        headers.get(RANGE).and_then(|range| range.to_str().ok()).and_then(|range| range.strip_prefix("0-"));
    last.and_then(|last| last.parse().ok())
        .map_or(0, |last: u64| if last == 0 { 0 } else { last.saturating_add(1) })
}

/// Whether a body ends where its sender says, and not wherever the connection does (RFC 9112, section 6.3).
fn is_framed(headers: &HeaderMap) -> bool {
    headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING)
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| String::from_utf8_lossy(value.as_bytes()).contains("json"))
}

/// Those parameters of the request that mean something, written anew: `?n=5&last=x`, or nothing.
fn parameters(request: &Request, names: &[&str]) -> String {
    let query = request.query();
    let mut written = form_urlencoded::Serializer::new(String::new());
    let mut any = false;
    for name in names {
        for value in query.all(name) {
            written.append_pair(name, &value);
            any = true;
        }
    }
    if any { format!("?{}", written.finish()) } else { String::new() }
}

fn encode(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The path of an endpoint that lists something.
fn listing(endpoint: &Endpoint) -> Option<String> {
    match endpoint {
        Endpoint::Tags(name) => Some(format!("/v2/{name}/tags/list")),
        Endpoint::Referrers(name, subject) => Some(referrers(name, subject)),
        _ => None,
    }
}

fn referrers(name: &RepositoryName, subject: &Digest) -> String {
    format!("/v2/{name}/referrers/{subject}")
}

/// The manifest that a client pushes, if it is one.
fn parse(headers: &HeaderMap, content: &Bytes) -> Option<Manifest> {
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Manifest::parse(content, Some(&MediaType::from_content_type(content_type).ok()?)).ok()
}

/// Notes what an image's config says of it, for those who search.
async fn describe(gateway: &Gateway, repository: &RepositoryName, config: &Digest) {
    let path = format!("/v2/{repository}/blobs/{config}");
    let ask = UpstreamRequest::get(path, repository_scope(repository, "pull"));
    let client = &gateway.inner.client;
    // Without a description it is found all the same.
    let Ok(answered) = gateway.send(&ask, &OutgoingBody::empty(), None).await else { return };
    if answered.response.status() != StatusCode::OK {
        return;
    }
    let content = read_to_end(answered.response.into_body(), CONFIG_BYTES, client.read_timeout()).await;
    if let Some(label) = content.ok().and_then(|content| description::label(&content)) {
        gateway.inner.catalog_sync.passed_by(repository, Some(label)).await;
    }
}
