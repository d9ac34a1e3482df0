//! From a request to its answer: the id, the log, the answer itself, and the headers that all answers have.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, LOCATION};
use hyper::{Method, StatusCode};
use oci::{RepositoryName, TagOrDigest};
use registry::access::Identity;

use crate::http::app::App;
use crate::http::auth;
use crate::http::dispatch;
use crate::http::error::Error;
use crate::http::extract::endpoint::{Endpoint, PathError};
use crate::http::extract::request::Request;
use crate::http::links::Links;
use crate::http::middleware::access_log::Exchange;
use crate::http::middleware::audit::{self, AuditedAction};
use crate::http::middleware::authorization::{self, AccessRequest};
use crate::http::middleware::client_info::ClientInfo;
use crate::http::middleware::host_header;
use crate::http::middleware::rate_limit::{Client, client_network};
use crate::http::middleware::request_id::X_REQUEST_ID;
use crate::http::response::{self, DOCKER_API_VERSION, Response};
use crate::http::server::connection::Connection;
use crate::http::v2::manifests;

const API_VERSION: HeaderValue = HeaderValue::from_static("registry/2.0");

/// Answers the requests of one connection.
pub(crate) struct Service {
    app: Arc<App>,
    connection: Arc<Connection>,
}

/// An answer, now or later.
///
/// What is in memory is answered at once: no task, no boxed future, nothing to wait for. Everything else is boxed,
/// once, so that a connection does not take the room of the largest handler.
#[allow(clippy::large_enum_variant, reason = "the large one is the one that must not be boxed")]
pub(crate) enum Answer {
    Now(Option<Response>),
    Later(Pin<Box<dyn Future<Output = Response> + Send>>),
}

impl Future for Answer {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Now(response) => {
                Poll::Ready(Ok(response.take().expect("a future is not polled after it was ready")))
            }
            Self::Later(response) => response.as_mut().poll(cx).map(Ok),
        }
    }
}

impl Service {
    pub(crate) fn new(app: Arc<App>, connection: Arc<Connection>) -> Self {
        Self { app, connection }
    }
}

impl hyper::service::Service<hyper::Request<Incoming>> for Service {
    type Response = Response;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, mut request: hyper::Request<Incoming>) -> Answer {
        let host = host_header::check(&mut request);
        let id = self.app.ids.of(request.headers());
        let mut exchange = Exchange::begin(self.connection.clone(), request.method(), request.uri(), &id);
        let reply = Reply {
            id: id.clone(),
            is_v2: request.uri().path().starts_with("/v2"),
            is_head: request.method() == Method::HEAD,
        };
        let endpoint = Endpoint::parse(request.uri().path());
        if let Ok(endpoint) = &endpoint {
            exchange.asked_for(endpoint.label());
        }
        let request =
            Request::new(request, self.connection.clone(), self.app.limits.body_timeout, id.clone());
        let called = self.app.called(&self.connection, &request.headers);
        exchange.sent_from(called.from);
        let origin = self.app.cors.allowed(&request.headers);
        let address = Client::Address(client_network(called.from));
        let refusal = match host {
            Err(_) => Some(Error::BadHost),
            Ok(()) => self.app.rate_limits.request(address).err().map(|wait| Error::TooMany { wait }),
        };
        if let Some(error) = refusal {
            let links = self.app.links(&called);
            let mut response = error.into_response(endpoint.as_ref().ok(), &links, &id);
            self.app.cors.label(origin.as_ref(), &mut response);
            return Answer::Now(Some(self.finish(response, exchange, reply)));
        }
        if let Some(mut response) = self.app.cors.preflight(&request.method, &request.headers) {
            self.app.cors.label(origin.as_ref(), &mut response);
            return Answer::Now(Some(self.finish(response, exchange, reply)));
        }
        if endpoint.is_err()
            && let Some(mut response) = redirect_to_clean_path(&request, &self.app.links(&called))
        {
            self.app.cors.label(origin.as_ref(), &mut response);
            return Answer::Now(Some(self.finish(response, exchange, reply)));
        }
        if let Ok(Endpoint::Manifest(name, target)) = &endpoint
            && (request.method == Method::GET || request.method == Method::HEAD)
            && !self.app.audit_pulls
            && let Some(identity) =
                authorization::reads_at_once(&self.app, &self.connection, &called, &request.headers, name)
            && let Some(response) = self.in_memory(name, target, &request)
            && authorization::charge_rate_limit(&self.app, &identity)
        {
            exchange.sent_by(&identity);
            let mut response = self.throttled(response, &called, Some(&identity));
            self.app.cors.label(origin.as_ref(), &mut response);
            return Answer::Now(Some(self.finish(response, exchange, reply)));
        }
        let service = Self { app: self.app.clone(), connection: self.connection.clone() };
        Answer::Later(Box::pin(async move {
            let links = service.app.links(&called);
            let (answer, identity) = service.answer(&endpoint, &called, request, &id).await;
            let response =
                answer.unwrap_or_else(|error| error.into_response(endpoint.as_ref().ok(), &links, &id));
            if let Some(identity) = &identity {
                exchange.sent_by(identity);
            }
            let mut response = service.throttled(response, &called, identity.as_ref());
            service.app.cors.label(origin.as_ref(), &mut response);
            service.finish(response, exchange, reply)
        }))
    }
}

/// What the last step of every answer needs to know of its request.
struct Reply {
    id: HeaderValue,
    is_v2: bool,
    is_head: bool,
}

impl Service {
    /// Has a request judged, and carried out if it may be. Also who sent it, as far as that is known.
    async fn answer(
        &self,
        endpoint: &Result<Endpoint, PathError>,
        called: &ClientInfo,
        mut request: Request,
        id: &HeaderValue,
    ) -> (Result<Response, Error>, Option<Identity>) {
        let (app, connection) = (&*self.app, &*self.connection);
        if let Ok(Endpoint::Auth) = endpoint {
            // What is judged is the request that a proxy has.
            return (auth::answer(app, connection, called, &request).await, None);
        }
        if let Err(error) = app.check_write(called, &request.method, &request.headers) {
            return (Err(error), None);
        }
        let known = endpoint.as_ref().ok();
        let audited = known.and_then(|endpoint| AuditedAction::of(endpoint, &request.method, &request.uri));
        let (method, uri, headers) = (&request.method, &request.uri, &request.headers);
        let asked = AccessRequest { endpoint: known, method, uri, headers, called };
        let caller = match authorization::authorize(app, connection, asked).await {
            Ok(caller) => caller,
            Err(refused) => {
                audit::refused(app, audited, &refused, called.from, id).await;
                return (Err(refused.error), refused.identity);
            }
        };
        let identity = caller.identity().clone();
        audit::signed_in(app, &identity, called.from, id).await;
        let answer = match endpoint {
            Err(misread) => Err(Error::from(*misread)),
            Ok(endpoint) => {
                let account = identity.account().map(|account| account.id);
                if let Some(throttle) = app.rate_limits.throttle(called.from, account) {
                    request.body.keep(throttle);
                }
                let client = account.map_or(Client::Address(client_network(called.from)), Client::Account);
                request.charge_to(app.body_budget.clone(), client);
                dispatch::answer(app, &caller, endpoint, request).await
            }
        };
        let answer = match (answer, audited) {
            (Ok(response), Some(audited)) if response.status().is_success() => {
                audit::done(app, audited, &caller, response.status(), id).await;
                Ok(response)
            }
            (answer, _) => answer,
        };
        (answer, Some(identity))
    }

    /// Has the body of an answer sent no faster than its receiver may take it.
    fn throttled(
        &self,
        mut response: Response,
        called: &ClientInfo,
        identity: Option<&Identity>,
    ) -> Response {
        let account = identity.and_then(Identity::account).map(|account| account.id);
        if let Some(throttle) = self.app.rate_limits.throttle(called.from, account) {
            response.body_mut().keep(throttle);
        }
        response
    }

    /// A manifest that is at hand, here or of a registry behind. HEAD looks at its file as well.
    fn in_memory(&self, name: &RepositoryName, target: &TagOrDigest, request: &Request) -> Option<Response> {
        match &self.app.content_proxy {
            Some(proxy) => proxy.cached_manifest(name, target, &request.headers),
            None => {
                let manifest = self.app.registry.cached_manifest(name, target)?;
                if request.is_head() && !self.app.registry.manifest_is_stored(&manifest) {
                    return None;
                }
                Some(manifests::answer(&manifest, target, &request.headers))
            }
        }
    }

    /// Adds what all answers have, and has the exchange end with the body.
    fn finish(&self, mut response: Response, mut exchange: Exchange, reply: Reply) -> Response {
        if reply.is_head {
            leave_body_out(&mut response);
        }
        exchange.answered(response.status(), http_body::Body::size_hint(response.body()).lower());
        response.body_mut().ends(exchange);
        let headers = response.headers_mut();
        if reply.is_v2 {
            headers.insert(DOCKER_API_VERSION, API_VERSION);
        }
        if self.connection.is_multiplexed() {
            // HTTP/2 has no such header (RFC 9113 section 8.2.2), and no need of it.
            headers.remove(CONNECTION);
        } else if self.connection.is_receiving() {
            // Nobody will read the rest of the request, so that no other could follow it.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        headers.insert(X_REQUEST_ID, reply.id);
        response
    }
}

/// Makes the answer to GET the answer to HEAD: the same headers and no body (RFC 9110 section 9.3.2). hyper does that
/// for HTTP/1.1 alone.
fn leave_body_out(response: &mut Response) {
    let body = std::mem::take(response.body_mut());
    if let Some(length @ 1..) = body.len() {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
}

/// Sends a reader of a path with repeated slashes, or with one at its end, to the endpoint that it means.
///
/// distribution does the same, and clients rely on it where an address was put together from parts. Only the spelling
/// that is asked for next is looked at by access control and by the handler. `None` if the clean path is no endpoint.
fn redirect_to_clean_path(request: &Request, links: &Links) -> Option<Response> {
    if request.method != Method::GET && !request.is_head() {
        return None;
    }
    let path = clean_path(request.uri.path())?;
    Endpoint::parse(&path).ok()?;
    let query = request.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = links.absolute(&format!("{path}{query}")).try_into().ok()?;
    let mut response = response::status(StatusCode::MOVED_PERMANENTLY);
    response.headers_mut().insert(LOCATION, location);
    Some(response)
}

/// The path without empty components. `None` if it has none.
fn clean_path(path: &str) -> Option<String> {
    let mut clean = String::with_capacity(path.len());
    for part in path.split('/').filter(|part| !part.is_empty()) {
        clean.push('/');
        clean.push_str(part);
    }
    // Of the two spellings of `/v2`, clients know this one.
    if clean.is_empty() || clean == "/v2" {
        clean.push('/');
    }
    (clean != path).then_some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_path_has_no_empty_components() {
        let clean = |path| clean_path(path);
        assert_eq!(clean("//v2/"), Some("/v2/".to_owned()));
        assert_eq!(clean("//"), Some("/".to_owned()));
        assert_eq!(clean("/v2//a///tags/list/"), Some("/v2/a/tags/list".to_owned()));
        assert_eq!(clean("/v2/../a/"), Some("/v2/../a".to_owned()));
        assert_eq!(clean("/v2/%2f/a"), None);
        assert_eq!(clean("/v2/"), None);
        assert_eq!(clean("*"), Some("/*".to_owned()));
    }
}
