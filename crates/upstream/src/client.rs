//! The client: a connection pool, timeouts, retries, and fail-over to the next upstream.
//!
//! Requests go to the first upstream of the configuration, and to the others when it fails. A request is
//! repeated only if that is safe: it reads, or no byte of it was sent.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body::Body as _;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::access_error::AccessError;
use crate::body::OutgoingBody;
use crate::connector::{Connector, Guard, Network};
use crate::credentials::{self, Challenge, TokenRefusal, TokenResponse};
use crate::error::{BoxError, Error, error_chain};
use crate::propagation;
use crate::retry_after::retry_after;
use crate::upstream::Upstream;

/// An idle connection is closed after this time, before the upstream closes it.
pub(crate) const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// The size limit of a token server's response, in bytes.
const TOKEN_BYTES: usize = 1 << 20;
/// The read buffer of a connection, in bytes: as large as on the server's side.
pub(crate) const READ_BUFFER: usize = 64 * 1024;

/// The timeouts of a client.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For the connection to be established.
    pub connect: Duration,
    /// For the head of a response to a request that reads, and for each next byte of any response.
    pub read: Duration,
    /// For the head of a response to a request that writes, counted from the last byte sent: a registry may
    /// hash and copy a whole blob before it responds.
    pub write: Duration,
}

/// The head of a request, without the parts that depend on the upstream.
#[derive(Clone, Debug)]
pub struct UpstreamRequest {
    pub method: Method,
    /// Begins with `/v2/`. Made from parsed parts, never copied from a client.
    pub path_and_query: String,
    /// Headers besides `Authorization`.
    pub headers: HeaderMap,
    /// The scopes of the token, separated by spaces: `repository:name:pull`.
    pub scope: String,
}

impl UpstreamRequest {
    /// A GET without headers.
    #[must_use]
    pub fn get(path_and_query: String, scope: String) -> Self {
        Self { method: Method::GET, path_and_query, headers: HeaderMap::new(), scope }
    }

    fn is_read(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }
}

/// The token scope for actions such as `pull,push` on a repository.
#[must_use]
pub fn repository_scope(repository: impl fmt::Display, actions: &str) -> String {
    format!("repository:{repository}:{actions}")
}

/// A response, and the upstream that sent it.
pub struct UpstreamResponse<'a> {
    pub upstream: &'a Upstream,
    pub response: hyper::Response<Incoming>,
}

/// Why one upstream did not respond.
pub(crate) enum Failure {
    /// The connection failed before a byte was sent.
    Connect(BoxError),
    /// The connection broke later.
    Broken(BoxError),
    TimedOut,
    AccessDenied(AccessError),
    /// The token server answers 429.
    Limited(Duration),
}

/// A client of several upstreams with the same content.
pub struct Client {
    pub(crate) pool: Pool<HttpsConnector<Connector>, OutgoingBody>,
    pub(crate) guard: Guard,
    upstreams: Vec<Upstream>,
    pub(crate) timeouts: Timeouts,
    changed: Arc<Notify>,
}

impl Client {
    /// Creates the client. Connections are made when a request needs one.
    #[must_use]
    pub fn new(
        mut upstreams: Vec<Upstream>,
        timeouts: Timeouts,
        tls: rustls::ClientConfig,
        network: &Network,
    ) -> Self {
        let guard = Guard::new(network, upstreams.iter().map(Upstream::host_and_port));
        let connector = Connector::new(&guard, network, timeouts.connect);
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .http1_max_buf_size(READ_BUFFER)
            .http1_ignore_invalid_headers_in_responses(false)
            .build(connector);
        let changed = Arc::new(Notify::new());
        for upstream in &mut upstreams {
            upstream.changed = changed.clone();
        }
        Self { pool, guard, upstreams, timeouts, changed }
    }

    /// Waits until the condition of an upstream changes. One task at a time may wait.
    pub async fn condition_changed(&self) {
        self.changed.notified().await;
    }

    /// The timeout for each next byte of a response.
    #[must_use]
    pub fn read_timeout(&self) -> Duration {
        self.timeouts.read
    }

    /// The upstreams in the order of the configuration.
    #[must_use]
    pub fn upstreams(&self) -> &[Upstream] {
        &self.upstreams
    }

    /// Checks that an upstream answers and accepts the credentials.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn ping(&self) -> Result<(), Error> {
        let request = UpstreamRequest::get("/v2/".to_owned(), String::new());
        let UpstreamResponse { upstream, response } =
            self.send(&request, &OutgoingBody::empty(), None).await?;
        match response.status() {
            StatusCode::OK => Ok(()),
            status => Err(Error::InvalidResponse(format!("{upstream} answers {status} to /v2/"))),
        }
    }

    /// Checks that one upstream answers and accepts the credentials.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn probe_access(&self, upstream: &Upstream) -> Result<(), Error> {
        let request = UpstreamRequest::get("/v2/".to_owned(), String::new());
        match self.send_to(upstream, &request).await?.status() {
            StatusCode::OK => {
                // The circuit breaker need not wait for the next pull.
                upstream.record_success();
                upstream.end_limit();
                Ok(())
            }
            status => Err(Error::InvalidResponse(format!("{upstream} answers {status} to /v2/"))),
        }
    }

    /// Sends a request to one upstream after the other until one responds. `home`, if given, is the index of
    /// the upstream that holds an upload; it comes first.
    ///
    /// A 500, 502, 503 or 504 to a request that reads counts as a failure, unless no other upstream responds.
    ///
    /// # Errors
    /// The [`Error`] of the last upstream.
    pub async fn send(
        &self,
        request: &UpstreamRequest,
        body: &OutgoingBody,
        home: Option<usize>,
    ) -> Result<UpstreamResponse<'_>, Error> {
        let mut failure = None;
        let mut server_error = None;
        for upstream in self.order(home) {
            match self.try_upstream(upstream, request, body).await {
                Ok(response) if request.is_read() && is_server_error(response.status()) => {
                    if response.status() != StatusCode::INTERNAL_SERVER_ERROR {
                        upstream.record_failure(&response.status());
                    }
                    server_error = server_error.or(Some(UpstreamResponse { upstream, response }));
                }
                Ok(response) => {
                    upstream.record_success();
                    return Ok(UpstreamResponse { upstream, response });
                }
                Err(failed) => {
                    if let Some(error) = body.error() {
                        return Err(Error::Body(error));
                    }
                    let is_unsent = matches!(failed, Failure::Connect(_)) && body.is_untouched();
                    let error = failed.record(upstream);
                    if !is_unsent && !request.is_read() {
                        return Err(error);
                    }
                    failure = Some(error);
                }
            }
        }
        match (server_error, failure) {
            // Prefer a 5xx response from one upstream over a connection error from another.
            (Some(response), _) => Ok(response),
            (None, Some(error)) => Err(error),
            (None, None) => Err(Error::Unreachable("no upstream is configured".into())),
        }
    }

    /// Sends a request without a body to one upstream, without fail-over.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn send_to(
        &self,
        upstream: &Upstream,
        request: &UpstreamRequest,
    ) -> Result<hyper::Response<Incoming>, Error> {
        let response = self.try_upstream(upstream, request, &OutgoingBody::empty()).await;
        response.map_err(|failed| failed.record(upstream))
    }

    /// The upstreams in the order to try: `home`, then those not backing off, then the others. Collected
    /// before the first request, so that an upstream that fails meanwhile is not tried twice.
    pub(crate) fn order(&self, home: Option<usize>) -> Vec<&Upstream> {
        let home = home.and_then(|index| self.upstreams.get(index));
        let others = |is_backing_off: bool| {
            self.upstreams.iter().filter(move |other| {
                home.is_none_or(|home| home.index() != other.index())
                    && other.is_backing_off() == is_backing_off
            })
        };
        home.into_iter().chain(others(false)).chain(others(true)).collect()
    }

    /// Sends a request to one upstream, and once more if the pooled connection was stale or a token is
    /// needed.
    pub(crate) async fn try_upstream(
        &self,
        upstream: &Upstream,
        request: &UpstreamRequest,
        body: &OutgoingBody,
    ) -> Result<hyper::Response<Incoming>, Failure> {
        let mut scope = request.scope.clone();
        let mut authorization = self.authorization(upstream, &scope).await?;
        let mut is_reconnected = false;
        let mut is_reauthorized = false;
        loop {
            let response = match self.send_once(upstream, request, body.clone(), authorization.clone()).await
            {
                // The upstream may have closed a pooled connection at that moment. A new one is not stale.
                Err(Failure::Broken(_)) if request.is_read() && !is_reconnected => {
                    is_reconnected = true;
                    continue;
                }
                Err(failed) => return Err(failed),
                Ok(response) => response,
            };
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            // The challenge is for this client. The caller's own clients never see it.
            let credentials = &upstream.credentials;
            let wanted = scope_for_metadata(response.headers(), &scope);
            let challenge = if response.headers().contains_key(WWW_AUTHENTICATE) {
                record_challenge(upstream, response.headers())?
            } else {
                // Google's registries challenge at /v2/ only.
                let none = AccessError::UnsupportedChallenge(String::new());
                self.probe(upstream).await?.ok_or(none)?
            };
            match wanted {
                Some(wanted) => scope = wanted,
                None => credentials.evict_token(&scope),
            }
            if challenge == Challenge::Basic && authorization.is_some() {
                credentials.forget_account();
            }
            let can_answer =
                challenge != Challenge::Basic || credentials.has_account() && authorization.is_none();
            if is_reauthorized || !body.is_untouched() || !can_answer {
                let had_token =
                    authorization.as_ref().is_some_and(|value| value.as_bytes().starts_with(b"Bearer "));
                return Err(Failure::AccessDenied(if is_reauthorized && had_token {
                    AccessError::NotGranted
                } else if credentials.has_account() {
                    AccessError::AccountRejected
                } else {
                    AccessError::AccountRequired
                }));
            }
            is_reauthorized = true;
            authorization = self.authorization(upstream, &scope).await?;
        }
    }

    /// The `Authorization` header for a scope. Requests a token if none is cached.
    async fn authorization(&self, upstream: &Upstream, scope: &str) -> Result<Option<HeaderValue>, Failure> {
        let credentials = &upstream.credentials;
        let challenge = match credentials.challenge() {
            Some(challenge) => challenge,
            None if credentials.has_account() => match self.probe(upstream).await? {
                Some(challenge) => challenge,
                None => return Ok(None),
            },
            None => return Ok(None),
        };
        let Challenge::Bearer { realm, service, extra_scope } = challenge else {
            return Ok(credentials.basic().await?);
        };
        if let Some(token) = credentials.cached_token(scope) {
            return Ok(Some(token));
        }
        let scopes = match &extra_scope {
            Some(extra) => format!("{scope} {extra}"),
            None => scope.to_owned(),
        };
        let token = self.fetch_token(upstream, &realm, service.as_deref(), scope, &scopes).await;
        if token.is_err() {
            // One repository may have named a bad token server. The next answer names another one, or none.
            credentials.forget_challenge();
        }
        token.map(Some)
    }

    /// Finds out the challenge of an upstream before a body is sent that cannot be sent twice.
    async fn probe(&self, upstream: &Upstream) -> Result<Option<Challenge>, Failure> {
        let request = UpstreamRequest::get("/v2/".to_owned(), String::new());
        let response = self.send_once(upstream, &request, OutgoingBody::empty(), None).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(None);
        }
        record_challenge(upstream, response.headers()).map(Some)
    }

    async fn fetch_token(
        &self,
        upstream: &Upstream,
        realm: &Uri,
        service: Option<&str>,
        scope: &str,
        scopes: &str,
    ) -> Result<HeaderValue, Failure> {
        let unavailable = |reason: String| Failure::AccessDenied(AccessError::TokenUnavailable(reason));
        self.guard.check_literal(realm).map_err(&unavailable)?;
        let separate = scopes.split(' ').filter(|scope| !scope.is_empty()).map(|scope| ("scope", scope));
        let service = service.map(|service| ("service", service));
        let request = if let Some(identity_token) = upstream.credentials.identity_token().await? {
            // distribution, "OAuth2 Token Authentication": the scopes are one value.
            let fields = [
                ("grant_type", "refresh_token"),
                ("refresh_token", &identity_token),
                ("client_id", "wharfinger"),
                ("scope", scopes.trim()),
            ];
            let form = encode(fields.into_iter().chain(service));
            hyper::Request::post(realm)
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(OutgoingBody::bytes(form.into()))
        } else {
            let separator = if realm.query().is_some() { '&' } else { '?' };
            let url = format!("{realm}{separator}{}", encode(service.into_iter().chain(separate)));
            let mut request = hyper::Request::get(url.trim_end_matches(['?', '&']));
            if let Some(basic) = upstream.credentials.basic().await? {
                request = request.header(AUTHORIZATION, basic);
            }
            request.body(OutgoingBody::empty())
        };
        let request = request.map_err(|error| unavailable(error.to_string()))?;
        let response = self.traced(self.timeouts.read, None, request).await?;
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Err(Failure::Limited(upstream.record_limit(retry_after(response.headers()))));
        }
        if status == StatusCode::UNAUTHORIZED && upstream.credentials.has_account() {
            upstream.credentials.forget_account();
            return Err(Failure::AccessDenied(AccessError::AccountRejected));
        }
        let body = read_to_end(response.into_body(), TOKEN_BYTES, self.timeouts.read).await;
        if status != StatusCode::OK {
            // GHCR and GitLab refuse a token for a repository that is private or absent.
            let is_refusal = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
                && body.is_ok_and(|body| serde_json::from_slice::<TokenRefusal>(&body).is_ok());
            return Err(if is_refusal {
                Failure::AccessDenied(AccessError::NotGranted)
            } else {
                unavailable(format!("its token server {realm} answers {status}"))
            });
        }
        let body = body.map_err(|reason| {
            unavailable(format!("the response of its token server {realm} cannot be read: {reason}"))
        })?;
        let token: TokenResponse = serde_json::from_slice(&body).map_err(|error| {
            unavailable(format!("the response of its token server {realm} is invalid: {error}"))
        })?;
        let token = upstream.credentials.cache_token(scope, &token);
        token.ok_or_else(|| unavailable(format!("the response of its token server {realm} has no token")))
    }

    /// Whether an upstream that takes the password itself refuses it also where no repository is concerned.
    /// ECR answers 403 to an expired password.
    pub(crate) async fn refuses_account(&self, upstream: &Upstream) -> bool {
        let credentials = &upstream.credentials;
        if !credentials.has_account() || credentials.challenge() != Some(Challenge::Basic) {
            return false;
        }
        let Ok(authorization) = credentials.basic().await else { return false };
        let request = UpstreamRequest::get("/v2/".to_owned(), String::new());
        let answered = self.send_once(upstream, &request, OutgoingBody::empty(), authorization).await;
        answered.is_ok_and(|response| {
            matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        })
    }

    async fn send_once(
        &self,
        upstream: &Upstream,
        head: &UpstreamRequest,
        body: OutgoingBody,
        authorization: Option<HeaderValue>,
    ) -> Result<hyper::Response<Incoming>, Failure> {
        let url = upstream.url(&head.path_and_query).map_err(|error| Failure::Connect(error.into()))?;
        let mut request = hyper::Request::new(body.clone());
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = url;
        *request.headers_mut() = head.headers.clone();
        if let Some(authorization) = authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization);
        }
        let timeout = if head.is_read() { self.timeouts.read } else { self.timeouts.write };
        self.traced(timeout, Some(&body), request).await
    }

    /// Sends a request in a span of its own, and waits for the head of the response.
    pub(crate) async fn traced(
        &self,
        timeout: Duration,
        body: Option<&OutgoingBody>,
        mut request: hyper::Request<OutgoingBody>,
    ) -> Result<hyper::Response<Incoming>, Failure> {
        let span = tracing::trace_span!(
            target: "wharfinger::spans",
            "upstream",
            otel.name = format!("{} upstream", request.method()),
            otel.kind = "client",
            otel.status_code = tracing::field::Empty,
            http.request.method = %request.method(),
            server.address = request.uri().host().unwrap_or_default(),
            url.path = request.uri().path(),
            http.response.status_code = tracing::field::Empty,
        );
        let sent = async {
            propagation::inject(request.headers_mut());
            response_head(timeout, body, self.pool.request(request)).await
        };
        let answered = sent.instrument(span.clone()).await;
        match &answered {
            Ok(response) => _ = span.record("http.response.status_code", response.status().as_u16()),
            Err(_) => _ = span.record("otel.status_code", "ERROR"),
        }
        answered
    }
}

/// Encodes the fields of a query or form.
fn encode<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        text.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
    }
    text
}

/// Returns the scope of a challenge that asks for `metadata_read` on the repository of `scope`: Azure lists
/// no tags to a token for pulls.
fn scope_for_metadata(headers: &HeaderMap, scope: &str) -> Option<String> {
    let repository = scope.strip_suffix(":pull")?;
    let wanted = credentials::challenged_scope(headers)?;
    (wanted.strip_suffix(":metadata_read") == Some(repository)).then_some(wanted)
}

fn record_challenge(upstream: &Upstream, headers: &HeaderMap) -> Result<Challenge, Failure> {
    let host = upstream.authority().host();
    let challenge = upstream.credentials.record_challenge(headers, host, upstream.is_tls());
    challenge.map_err(Failure::AccessDenied)
}

/// Waits for the head of a response. The timeout starts anew with each chunk of the request's body.
async fn response_head(
    timeout: Duration,
    body: Option<&OutgoingBody>,
    response: impl Future<Output = Result<hyper::Response<Incoming>, hyper_util::client::legacy::Error>>,
) -> Result<hyper::Response<Incoming>, Failure> {
    let mut response = pin!(response);
    let start = Instant::now();
    loop {
        let progress = body.and_then(OutgoingBody::progress).unwrap_or(start).max(start);
        let Some(deadline) = progress.checked_add(timeout) else {
            return response.await.map_err(Failure::from);
        };
        if Instant::now() >= deadline {
            return Err(Failure::TimedOut);
        }
        tokio::select! {
            biased;
            response = &mut response => return response.map_err(Failure::from),
            () = tokio::time::sleep_until(deadline) => {}
        }
    }
}

/// Reads a body of at most `limit` bytes into memory. `timeout` is for each next chunk.
///
/// # Errors
/// A description of the failure.
pub async fn read_to_end(
    mut body: Incoming,
    limit: usize,
    timeout: Duration,
) -> Result<bytes::Bytes, String> {
    let length = body.size_hint().exact();
    if length.is_some_and(|length| length > limit as u64) {
        return Err(format!("it has more than {limit} bytes"));
    }
    let mut content = bytes::BytesMut::new();
    let mut body = pin!(&mut body);
    loop {
        let next = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx));
        let frame = match tokio::time::timeout(timeout, next).await {
            Err(_) => return Err(format!("no byte arrived for {} s", timeout.as_secs_f64())),
            Ok(None) => return Ok(content.freeze()),
            Ok(Some(Err(error))) => return Err(format!("it was cut off: {error}")),
            Ok(Some(Ok(frame))) => frame,
        };
        if let Ok(chunk) = frame.into_data() {
            if content.len() + chunk.len() > limit {
                return Err(format!("it has more than {limit} bytes"));
            }
            if content.is_empty() && length == Some(chunk.len() as u64) {
                return Ok(chunk);
            }
            content.extend_from_slice(&chunk);
        }
    }
}

/// Whether a status blames the server, so that another upstream may do better.
pub(crate) fn is_server_error(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

impl From<AccessError> for Failure {
    fn from(error: AccessError) -> Self {
        Self::AccessDenied(error)
    }
}

impl From<hyper_util::client::legacy::Error> for Failure {
    fn from(error: hyper_util::client::legacy::Error) -> Self {
        if error.is_connect() { Self::Connect(error.into()) } else { Self::Broken(error.into()) }
    }
}

impl Failure {
    /// Converts it into an error, and starts the backoff where the upstream is at fault.
    pub(crate) fn record(self, upstream: &Upstream) -> Error {
        match self {
            Self::Connect(error) | Self::Broken(error) => {
                upstream.record_failure(&error_chain(&*error));
                Error::Unreachable(error)
            }
            Self::TimedOut => {
                upstream.record_failure(&"the timeout elapsed");
                Error::TimedOut
            }
            Self::AccessDenied(error) => Error::AccessDenied(error),
            Self::Limited(retry_after) => Error::Limited { retry_after },
        }
    }

    /// Converts it into an error of the host to which the upstream redirects.
    pub(crate) fn of_redirect(self, upstream: &Upstream, url: &hyper::Uri) -> Error {
        let host = url.authority().map_or("", hyper::http::uri::Authority::as_str);
        let failed = |reason: &str| {
            Error::Unreachable(format!("{host}, to which {upstream} redirects: {reason}").into())
        };
        match self {
            Self::Connect(error) | Self::Broken(error) => failed(&error_chain(&*error)),
            Self::TimedOut => failed("the timeout elapsed"),
            Self::AccessDenied(error) => Error::AccessDenied(error),
            Self::Limited(retry_after) => Error::Limited { retry_after },
        }
    }
}
