//! The role of this server among several of one registry. A replica answers pulls that it can answer alone,
//! and forwards all other requests to the primary.
//!
//! A forwarded request carries the secret of the primary, and the client's address, scheme and host. So the
//! primary treats it like a request of that client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_lc_rs::hmac;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue,
    TE, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::uri::InvalidUri;
use hyper::{Method, StatusCode, Uri};
use tokio::sync::watch;
use upstream::{BoxError, OutgoingBody, PeerClient};
use uuid::Uuid;

use crate::config::Config;
use crate::http::body::Body;
use crate::http::error::Error;
use crate::http::extract::endpoint::Endpoint;
use crate::http::middleware::client_info::ClientInfo;
use crate::http::middleware::request_id::X_REQUEST_ID;
use crate::http::response::Response;

/// The header with the secret of the primary.
const PEER: HeaderName = HeaderName::from_static("wharfinger-peer");
/// The header by which a replica checks that an address is that of the primary. A request has a random
/// number, and its answer the HMAC of that by the secret. So no other server gets the secret or requests of
/// clients.
pub(crate) const PROOF: HeaderName = HeaderName::from_static("wharfinger-peer-proof");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// The time for the next piece of a response. Event streams send a line more often.
const PIECE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// The time that a request waits for a primary if this server cannot answer it alone. A crashed primary is
/// replaced within 20 seconds.
const PRIMARY_TIMEOUT: Duration = Duration::from_secs(25);

/// The time for the head of the response to a read.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The time for the check of an address.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) enum Role {
    /// No other server uses the registry.
    Alone,
    /// The other servers send requests with this secret.
    Primary {
        secret: String,
    },
    Replica(Arc<Forwarder>),
}

impl Role {
    /// The role of a primary, with a new secret. `None` without random numbers.
    pub(crate) fn primary() -> Option<Self> {
        let mut random = [0; 32];
        aws_lc_rs::rand::fill(&mut random).ok()?;
        Some(Self::Primary { secret: hex(&random) })
    }

    /// Whether a replica sent the request, which it proves by the secret.
    ///
    /// # Errors
    /// [`Error::NotPrimary`] if it has another secret: the replica means another server.
    pub(crate) fn is_from_replica(&self, headers: &HeaderMap) -> Result<bool, Error> {
        match (headers.get(PEER), self) {
            (None, _) => Ok(false),
            (Some(sent), Self::Primary { secret }) => {
                let is_equal =
                    aws_lc_rs::constant_time::verify_slices_are_equal(secret.as_bytes(), sent.as_bytes());
                is_equal.map(|()| true).map_err(|_| Error::NotPrimary)
            }
            (Some(_), Self::Alone | Self::Replica(_)) => Err(Error::NotPrimary),
        }
    }

    /// Names the primary in the refusal of a replica, if it is known.
    pub(crate) fn name_primary(&self, error: Error) -> Error {
        match (self, error) {
            (Self::Replica(forwarder), Error::Registry(registry::Error::Replica)) => forwarder
                .primary_address()
                .map_or(registry::Error::Replica.into(), |primary| Error::OnlyPrimary { primary }),
            (_, error) => error,
        }
    }

    /// The answer to [`PROOF`]. `None` if this is no primary.
    pub(crate) fn prove(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        match (self, headers.get(PROOF)) {
            (Self::Primary { secret }, Some(nonce)) => {
                HeaderValue::try_from(proof(secret, nonce.as_bytes())).ok()
            }
            _ => None,
        }
    }
}

fn proof(secret: &str, nonce: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hex(hmac::sign(&key, nonce).as_ref())
}

/// The hexadecimal digits of bytes.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The primary, as a replica sees it.
#[derive(Clone, Default)]
enum Sight {
    /// No primary has answered at its recorded address yet.
    #[default]
    Unknown,
    Known(Arc<Target>),
    /// There is none, and this server takes its place. Clients have to repeat their requests.
    Vacant,
}

/// The address of the primary, and the secret of requests to it.
#[derive(Clone)]
struct Target {
    address: Uri,
    secret: HeaderValue,
}

/// Sends requests to the primary.
pub(crate) struct Forwarder {
    client: PeerClient,
    primary: watch::Sender<Sight>,
    /// Whether this program may read the database.
    may_read: AtomicBool,
    settings: ReplicaSettings,
}

pub(crate) struct ReplicaSettings {
    /// Names of upstreams: the primary answers for their images.
    upstreams: Vec<String>,
    /// Host names of this registry that stand for an upstream.
    hosts: Vec<String>,
    /// Whether a name without an upstream may mean one.
    has_default_upstream: bool,
    /// Whether each pull is recorded in the audit log or as an event.
    records_pulls: bool,
}

impl ReplicaSettings {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            upstreams: config.upstream.iter().map(|upstream| upstream.name.as_str().to_owned()).collect(),
            hosts: config.upstream.iter().filter_map(|upstream| upstream.host.clone()).collect(),
            has_default_upstream: config.upstream.iter().any(|upstream| upstream.default),
            records_pulls: config.audit.pulls || config.events.pulls > 0,
        }
    }
}

/// The head of a request to forward.
pub(crate) struct Head {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Head {
    pub(crate) fn method(&self) -> &Method {
        &self.method
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(crate) fn is_read(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }

    /// Copies the head, with the id of the request, so that both servers log the same one.
    pub(crate) fn of<B>(request: &hyper::Request<B>, id: &HeaderValue) -> Self {
        let mut headers = request.headers().clone();
        headers.insert(X_REQUEST_ID, id.clone());
        Self { method: request.method().clone(), uri: request.uri().clone(), headers }
    }
}

impl Forwarder {
    /// Makes the forwarder of a replica. It knows no primary yet.
    pub(crate) fn new(client: PeerClient, settings: ReplicaSettings) -> Self {
        Self { client, primary: watch::Sender::default(), may_read: AtomicBool::new(false), settings }
    }

    /// Sets whether this program may read the database.
    pub(crate) fn set_may_read(&self, may_read: bool) {
        self.may_read.store(may_read, Ordering::Release);
    }

    /// Sets the primary, after a check that it is at its address.
    ///
    /// # Errors
    /// The reason why it is not. There is none then.
    pub(crate) async fn set_primary(&self, address: &str, secret: &str) -> Result<(), String> {
        let checked = self.check(address, secret).await;
        let sight = checked.as_ref().map(|target| Sight::Known(Arc::new(target.clone())));
        self.primary.send_replace(sight.unwrap_or_default());
        checked.map(|_| ())
    }

    async fn check(&self, address: &str, secret: &str) -> Result<Target, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let nonce = Uuid::new_v4().simple().to_string();
        let request = hyper::Request::get(format!("{}/healthz", address.trim_end_matches('/')))
            .header(PROOF, &nonce)
            .body(OutgoingBody::empty())
            .map_err(|error| text(&error))?;
        let answer = tokio::time::timeout(CHECK_TIMEOUT, self.client.send(request)).await;
        let response = answer.map_err(|_| "it does not answer".to_owned())?.map_err(|error| chain(&error))?;
        if response.headers().get(PROOF).is_none_or(|sent| *sent != proof(secret, nonce.as_bytes())) {
            return Err("another server answers there".to_owned());
        }
        let address = address.parse().map_err(|error| text(&error as &InvalidUri))?;
        Ok(Target {
            address,
            secret: secret.try_into().map_err(|error| text(&error as &InvalidHeaderValue))?,
        })
    }

    /// Forgets the primary. Requests that it has not answered fail, and new ones wait.
    pub(crate) fn lose_primary(&self) {
        self.primary.send_replace(Sight::Unknown);
    }

    /// Records that there is no primary, and that this server takes its place. All requests fail.
    pub(crate) fn end(&self) {
        self.primary.send_replace(Sight::Vacant);
    }

    /// Whether the primary is known.
    pub(crate) fn has_primary(&self) -> bool {
        matches!(*self.primary.borrow(), Sight::Known(_))
    }

    /// The address of the primary, if it is known.
    fn primary_address(&self) -> Option<String> {
        match &*self.primary.borrow() {
            Sight::Known(target) => Some(target.address.to_string().trim_end_matches('/').to_owned()),
            Sight::Unknown | Sight::Vacant => None,
        }
    }

    /// Whether this program may read the database: it has the schema of this version.
    pub(crate) fn may_read(&self) -> bool {
        self.may_read.load(Ordering::Acquire)
    }

    /// Whether this server may try to answer the request. Passwords are for the primary, whose rate limit on
    /// sign-ins sees all of them.
    pub(crate) fn may_answer(&self, endpoint: &Endpoint, head: &Head) -> bool {
        if endpoint.is_of_server() {
            return true;
        }
        let is_read = match endpoint {
            Endpoint::Base | Endpoint::Manifest(..) | Endpoint::Tags(..) | Endpoint::Referrers(..) => {
                head.is_read()
            }
            // HEAD keeps a blob from being collected while its image is pushed, which is the primary's work.
            Endpoint::Blob(..) => head.method == Method::GET,
            _ => false,
        };
        let settings = &self.settings;
        if !is_read
            || !self.may_read()
            || settings.records_pulls
            || head.uri.query().is_some_and(|query| query.contains("ns="))
        {
            return false;
        }
        let authorization = head.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let is_anonymous = authorization.is_none();
        let has_token = authorization.is_some_and(|value| {
            value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "))
        });
        if !is_anonymous && !has_token || is_anonymous && settings.has_default_upstream {
            return false;
        }
        let host = head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        if settings.hosts.iter().any(|upstream| upstream.eq_ignore_ascii_case(host)) {
            return false;
        }
        !endpoint.repository().is_some_and(|repository| {
            let first = repository.as_str().split('/').next().unwrap_or_default();
            settings.upstreams.iter().any(|upstream| upstream == first)
        })
    }

    /// Whether an answer of this server is the one for the client. Otherwise the primary is asked.
    pub(crate) fn is_final(endpoint: &Endpoint, status: StatusCode) -> bool {
        endpoint.is_of_server()
            || status.is_success()
            || status == StatusCode::NOT_MODIFIED
            || status == StatusCode::TEMPORARY_REDIRECT
    }

    /// Sends a request of a client to the primary.
    ///
    /// # Errors
    /// [`Error::NoPrimary`] if it cannot be reached.
    pub(crate) async fn forward(
        &self,
        head: Head,
        body: Option<Incoming>,
        client: &ClientInfo,
    ) -> Result<Response, Error> {
        let mut primary = self.primary.subscribe();
        let limit = if head.is_read() && self.may_read() { Duration::ZERO } else { PRIMARY_TIMEOUT };
        let known = primary.wait_for(|sight| !matches!(sight, Sight::Unknown));
        let target = match tokio::time::timeout(limit, known).await {
            Ok(Ok(sight)) => match &*sight {
                Sight::Known(target) => target.clone(),
                Sight::Unknown | Sight::Vacant => return Err(Error::NoPrimary),
            },
            Ok(Err(_)) | Err(_) => return Err(Error::NoPrimary),
        };
        let unreachable = |error: &dyn std::fmt::Display| {
            tracing::warn!(primary = %target.address, %error, "cannot reach the primary server");
            Error::NoPrimary
        };
        let is_read = head.is_read();
        let request = outgoing(&target, head, body, client).map_err(|error| unreachable(&error))?;
        let sent = self.client.send(request);
        let response = tokio::select! {
            response = sent => response.map_err(|error| unreachable(&chain(&error)))?,
            // The former one can acknowledge nothing any more.
            _ = primary.changed() => return Err(unreachable(&"another server is the primary")),
            // A client of a read gets an answer from here instead.
            () = tokio::time::sleep(READ_TIMEOUT), if is_read => return Err(unreachable(&"it does not answer")),
        };
        let (mut head, body) = response.into_parts();
        remove_hop_headers(&mut head.headers);
        let mut response = Response::new(Body::upstream(body, PIECE_TIMEOUT));
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        Ok(response)
    }
}

fn chain(error: &BoxError) -> String {
    upstream::error_chain(&**error)
}

fn outgoing(
    target: &Target,
    head: Head,
    body: Option<Incoming>,
    client: &ClientInfo,
) -> Result<hyper::Request<OutgoingBody>, hyper::http::Error> {
    let Head { method, uri, mut headers } = head;
    remove_hop_headers(&mut headers);
    headers.remove(CONTENT_LENGTH);
    client.put_into(&mut headers)?;
    headers.insert(PEER, target.secret.clone());
    let path = uri.path_and_query().map_or("/", hyper::http::uri::PathAndQuery::as_str);
    let base = target.address.to_string();
    let body = match body {
        Some(body) if !body.is_end_stream() => {
            let length = body.size_hint().exact();
            OutgoingBody::stream(body.into_data_stream(), length)
        }
        _ => OutgoingBody::empty(),
    };
    let mut request = hyper::Request::builder()
        .method(method)
        .uri(format!("{}{path}", base.trim_end_matches('/')))
        .body(body)?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Headers that belong to one connection (RFC 9110 section 7.6.1).
fn remove_hop_headers(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&[CONNECTION, KEEP_ALIVE, TE, TRANSFER_ENCODING, UPGRADE]) {
        headers.remove(name);
    }
}
