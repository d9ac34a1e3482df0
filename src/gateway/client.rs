//! Asking upstreams: connections that are kept, time limits, credentials, and who is asked when one does not answer.
//!
//! The first upstream of the configuration is asked, the others are there for when it does not answer. A request is
//! given to another one only if that can do no harm: nothing of it was sent, or it only reads.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use http_body::Body as _;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::Instant;

use super::credentials::{Challenge, Token};
use super::error::{Error, chain};
use super::upstream::Upstream;
use super::upstream_body::UpstreamBody;

/// A connection on which nothing happened for so long is not used again: the other side may be closing it.
const IDLE: Duration = Duration::from_secs(15);
/// The most that a realm may answer.
const TOKEN_BYTES: usize = 1 << 20;
/// The most that is read from a connection at a time: as large as on the clients' side.
const BUFFER: usize = 64 * 1024;

/// How long upstreams are waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// Until a connection stands.
    pub(super) connect: Duration,
    /// Until the head of an answer to a request that reads; and for each next byte of any answer.
    pub(super) read: Duration,
    /// Until the head of an answer to a request that writes, counted from the last byte that it took: a registry may
    /// hash and copy a whole blob before it answers.
    pub(super) write: Duration,
}

/// A request, without its body, as every upstream could be asked it.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: Method,
    /// Begins with a slash; made from parsed parts, never copied from a client.
    pub(super) path_and_query: String,
    pub(super) headers: HeaderMap,
    /// What a token must allow: `repository:name:pull`. Several have a space between them.
    pub(super) scope: String,
}

impl Ask {
    fn reads(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }
}

/// An answer, and whose it is.
pub(super) struct Answered<'a> {
    pub(super) upstream: &'a Upstream,
    pub(super) response: hyper::Response<Incoming>,
}

/// Why one upstream did not answer.
enum Failed {
    /// Nothing of the request reached it.
    Unsent(BoxError),
    /// The connection broke at some point.
    Broke(BoxError),
    /// It takes too long.
    TimedOut,
    /// It wants credentials that it does not get.
    Refused(Error),
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The upstreams, and the connections to them.
pub(super) struct Client {
    pool: Pool<HttpsConnector<HttpConnector>, UpstreamBody>,
    upstreams: Vec<Upstream>,
    timeouts: Timeouts,
}

impl Client {
    /// Connects when it is asked something.
    pub(super) fn new(upstreams: Vec<Upstream>, timeouts: Timeouts, tls: rustls::ClientConfig) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(timeouts.connect));
        connector.enforce_http(false);
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http1_max_buf_size(BUFFER)
            .http1_ignore_invalid_headers_in_responses(false)
            .build(connector);
        Self { pool, upstreams, timeouts }
    }

    /// How long the next byte of an answer is waited for.
    pub(super) fn read_patience(&self) -> Duration {
        self.timeouts.read
    }

    /// All of them, in the order of the configuration.
    pub(super) fn upstreams(&self) -> &[Upstream] {
        &self.upstreams
    }

    /// The upstream at a place of the configuration.
    pub(super) fn upstream(&self, index: usize) -> Option<&Upstream> {
        self.upstreams.get(index)
    }

    /// Whether an upstream answers, and lets the gateway in.
    pub(super) async fn ready(&self) -> Result<(), Error> {
        let ask = Ask {
            method: Method::GET,
            path_and_query: "/v2/".to_owned(),
            headers: HeaderMap::new(),
            scope: String::new(),
        };
        let answered = self.ask(&ask, &UpstreamBody::Nothing, None).await?;
        match answered.response.status() {
            StatusCode::OK => Ok(()),
            status => Err(Error::InvalidResponse(format!("{} answers {status} to /v2/", answered.upstream))),
        }
    }

    /// Asks the upstreams in turn until one answers. `home` is where an upload began, which is asked first.
    ///
    /// An answer of 50x to a request that only reads counts as none, unless it is the last one there is.
    pub(super) async fn ask(
        &self,
        ask: &Ask,
        body: &UpstreamBody,
        home: Option<usize>,
    ) -> Result<Answered<'_>, Error> {
        let mut failure = None;
        let mut unwell = None;
        for upstream in self.order(home) {
            match self.ask_one(upstream, ask, body).await {
                Ok(response) if ask.reads() && is_server_error(response.status()) => {
                    if response.status() != StatusCode::INTERNAL_SERVER_ERROR {
                        upstream.failed(&response.status());
                    }
                    unwell = unwell.or(Some(Answered { upstream, response }));
                }
                Ok(response) => {
                    upstream.answered();
                    return Ok(Answered { upstream, response });
                }
                Err(failed) => {
                    if let Some(broken) = body.broken() {
                        return Err(broken.into());
                    }
                    let may_be_repeated =
                        matches!(failed, Failed::Unsent(_)) && body.is_untouched() || ask.reads();
                    let error = failed.note(upstream);
                    if !may_be_repeated {
                        return Err(error);
                    }
                    failure = Some(error);
                }
            }
        }
        match (unwell, failure) {
            // What it says of itself is more than that another one says nothing.
            (Some(answered), _) => Ok(answered),
            (None, Some(error)) => Err(error),
            (None, None) => Err(Error::Unreachable("there is no upstream".into())),
        }
    }

    /// Asks one upstream, and no other in its place.
    pub(super) async fn ask_only(
        &self,
        upstream: &Upstream,
        ask: &Ask,
    ) -> Result<hyper::Response<Incoming>, Error> {
        self.ask_one(upstream, ask, &UpstreamBody::Nothing).await.map_err(|failed| failed.note(upstream))
    }

    /// In which order they are asked: where it began, then those that answer these days, then the others.
    fn order(&self, home: Option<usize>) -> impl Iterator<Item = &Upstream> {
        let home = home.and_then(|index| self.upstreams.get(index));
        let others = move |is_backing_off: bool| {
            self.upstreams.iter().filter(move |other| {
                home.is_none_or(|home| home.index != other.index) && other.is_backing_off() == is_backing_off
            })
        };
        // Decided once: one that fails meanwhile is not asked twice.
        let order: Vec<&Upstream> = home.into_iter().chain(others(false)).chain(others(true)).collect();
        order.into_iter()
    }

    async fn ask_one(
        &self,
        upstream: &Upstream,
        ask: &Ask,
        body: &UpstreamBody,
    ) -> Result<hyper::Response<Incoming>, Failed> {
        let mut authorization = self.authorization(upstream, &ask.scope).await?;
        let mut repeated = false;
        let mut asked_again = false;
        loop {
            let response = match self.send(upstream, ask, body.clone(), authorization.clone()).await {
                // The connection was one that had been kept, and the other side had ended it just then. Another one
                // is not.
                Err(Failed::Broke(_)) if ask.reads() && !repeated => {
                    repeated = true;
                    continue;
                }
                Err(failed) => return Err(failed),
                Ok(response) => response,
            };
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            // What it asks for is the gateway's to give, or nobody's: no challenge of another's goes to a client.
            let keeper = &upstream.keeper;
            let host = upstream.authority().host();
            let challenge = keeper
                .challenged(response.headers(), host, upstream.is_secure())
                .map_err(|mistrust| Failed::Refused(Error::refused(mistrust)))?;
            keeper.forget(&ask.scope);
            let can_answer = challenge != Challenge::Basic || keeper.has_account() && authorization.is_none();
            if asked_again || !body.is_untouched() || !can_answer {
                let why = if keeper.has_account() {
                    "it does not take the account of `gateway.credentials`"
                } else {
                    "it wants an account; give the gateway one with `gateway.credentials`"
                };
                return Err(Failed::Refused(Error::refused(why)));
            }
            asked_again = true;
            authorization = self.authorization(upstream, &ask.scope).await?;
        }
    }

    /// What is sent to the upstream to prove who asks; has a token made if one is needed.
    async fn authorization(&self, upstream: &Upstream, scope: &str) -> Result<Option<HeaderValue>, Failed> {
        let keeper = &upstream.keeper;
        let challenge = match keeper.challenge() {
            Some(challenge) => challenge,
            None if keeper.has_account() => match self.probe(upstream).await? {
                Some(challenge) => challenge,
                None => return Ok(None),
            },
            None => return Ok(None),
        };
        let Challenge::Bearer { realm, service } = challenge else { return Ok(keeper.basic()) };
        if let Some(token) = keeper.token(scope) {
            return Ok(Some(token));
        }
        self.fetch_token(upstream, &realm, service.as_deref(), scope).await.map(Some)
    }

    /// How the upstream asks for credentials, if it does, before a body is sent that could not be sent twice.
    async fn probe(&self, upstream: &Upstream) -> Result<Option<Challenge>, Failed> {
        let ask = Ask {
            method: Method::GET,
            path_and_query: "/v2/".to_owned(),
            headers: HeaderMap::new(),
            scope: String::new(),
        };
        let response = self.send(upstream, &ask, UpstreamBody::Nothing, None).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(None);
        }
        upstream
            .keeper
            .challenged(response.headers(), upstream.authority().host(), upstream.is_secure())
            .map(Some)
            .map_err(|mistrust| Failed::Refused(Error::refused(mistrust)))
    }

    async fn fetch_token(
        &self,
        upstream: &Upstream,
        realm: &Uri,
        service: Option<&str>,
        scope: &str,
    ) -> Result<HeaderValue, Failed> {
        let refused = |why: String| Failed::Refused(Error::refused(why));
        let mut address = realm.to_string();
        let mut separator = if realm.query().is_some() { '&' } else { '?' };
        let scopes = scope.split(' ').filter(|scope| !scope.is_empty()).map(|scope| ("scope", scope));
        for (name, value) in service.map(|service| ("service", service)).into_iter().chain(scopes) {
            address.push(separator);
            separator = '&';
            address.push_str(name);
            address.push('=');
            address.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
        }
        let mut request = hyper::Request::get(address);
        if let Some(basic) = upstream.keeper.basic() {
            request = request.header(AUTHORIZATION, basic);
        }
        let request = request.body(UpstreamBody::Nothing).map_err(|error| refused(error.to_string()))?;
        let response = timely(self.timeouts.read, None, self.pool.request(request)).await?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(refused(format!("{} answers {status} to the gateway's request for a token", realm)));
        }
        let body = whole(response.into_body(), TOKEN_BYTES, self.timeouts.read)
            .await
            .map_err(|why| refused(format!("the token could not be received: {why}")))?;
        let token: Token = serde_json::from_slice(&body)
            .map_err(|error| refused(format!("{realm} gave no token: {error}")))?;
        upstream.keeper.keep(scope, &token).ok_or_else(|| refused(format!("{realm} gave no token")))
    }

    async fn send(
        &self,
        upstream: &Upstream,
        ask: &Ask,
        body: UpstreamBody,
        authorization: Option<HeaderValue>,
    ) -> Result<hyper::Response<Incoming>, Failed> {
        let address = upstream.address(&ask.path_and_query).map_err(|error| Failed::Unsent(error.into()))?;
        let mut request = hyper::Request::new(body.clone());
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = address;
        *request.headers_mut() = ask.headers.clone();
        if let Some(authorization) = authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization);
        }
        let timeouts = if ask.reads() { self.timeouts.read } else { self.timeouts.write };
        timely(timeouts, Some(&body), self.pool.request(request)).await
    }
}

/// Waits for the head of an answer, as long as the request's body goes on or the patience lasts.
async fn timely(
    timeouts: Duration,
    body: Option<&UpstreamBody>,
    response: impl Future<Output = Result<hyper::Response<Incoming>, hyper_util::client::legacy::Error>>,
) -> Result<hyper::Response<Incoming>, Failed> {
    let mut response = pin!(response);
    let begun = Instant::now();
    loop {
        let progress = body.and_then(UpstreamBody::progress).unwrap_or(begun).max(begun);
        let Some(deadline) = progress.checked_add(timeouts) else {
            return response.await.map_err(Failed::from);
        };
        if Instant::now() >= deadline {
            return Err(Failed::TimedOut);
        }
        tokio::select! {
            biased;
            answered = &mut response => return answered.map_err(Failed::from),
            () = tokio::time::sleep_until(deadline) => {}
        }
    }
}

/// A body of at most `most` bytes, whole.
pub(super) async fn whole(
    mut body: Incoming,
    most: usize,
    timeouts: Duration,
) -> Result<bytes::Bytes, String> {
    let announced = body.size_hint().exact();
    if announced.is_some_and(|length| length > most as u64) {
        return Err(format!("it has more than {most} bytes"));
    }
    let mut gathered = bytes::BytesMut::new();
    let mut body = pin!(&mut body);
    loop {
        let next = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx));
        let frame = match tokio::time::timeout(timeouts, next).await {
            Err(_) => return Err("nothing more came for too long".to_owned()),
            Ok(None) => return Ok(gathered.freeze()),
            Ok(Some(Err(error))) => return Err(format!("it was cut off: {error}")),
            Ok(Some(Ok(frame))) => frame,
        };
        if let Ok(piece) = frame.into_data() {
            if gathered.len() + piece.len() > most {
                return Err(format!("it has more than {most} bytes"));
            }
            if gathered.is_empty() && announced == Some(piece.len() as u64) {
                return Ok(piece);
            }
            gathered.extend_from_slice(&piece);
        }
    }
}

/// Whether an answer says that the one who gives it cannot do its work.
fn is_server_error(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

impl From<hyper_util::client::legacy::Error> for Failed {
    fn from(error: hyper_util::client::legacy::Error) -> Self {
        if error.is_connect() { Self::Unsent(error.into()) } else { Self::Broke(error.into()) }
    }
}

impl Failed {
    /// What it means for a client; the upstream is told to rest where it is at fault.
    fn note(self, upstream: &Upstream) -> Error {
        match self {
            Self::Unsent(error) | Self::Broke(error) => {
                upstream.failed(&chain(&*error));
                Error::Unreachable(error)
            }
            Self::TimedOut => {
                upstream.failed(&"it took too long");
                Error::TimedOut
            }
            Self::Refused(error) => error,
        }
    }
}
