//! From a request to its answer: the id, the log, the answer itself, and the headers that all answers have.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::Method;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};

use super::access;
use super::access_log::Exchange;
use super::allowance::{Client, whose};
use super::app::App;
use super::connection::Connection;
use super::dispatch;
use super::endpoint::Endpoint;
use super::error::Error;
use super::request::Request;
use super::request_id::X_REQUEST_ID;
use super::response::{DOCKER_API_VERSION, Response};
use super::v2::manifests;

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

    fn call(&self, request: hyper::Request<Incoming>) -> Answer {
        let id = self.app.ids.of(request.headers());
        let mut exchange = Exchange::begin(self.connection.clone(), request.method(), request.uri(), &id);
        let is_v2 = request.uri().path().starts_with("/v2");
        let endpoint = Endpoint::parse(request.uri().path());
        if let Ok(endpoint) = &endpoint {
            exchange.asked_for(endpoint.label());
        }
        let mut request = Request::new(request, self.connection.clone(), self.app.limits.body_timeout);
        let called = self.app.called(&self.connection, &request.headers);
        exchange.sent_from(called.from);
        let address = Client::Address(whose(called.from));
        if let Err(wait) = self.app.allowances.request(address) {
            let links = self.app.links(&called);
            let response = Error::TooMany { wait }.into_response(endpoint.as_ref().ok(), &links, &id);
            return Answer::Now(Some(self.finish(response, exchange, id, is_v2)));
        }
        let mut pace = self.app.allowances.pace(called.from, None);
        if let Ok(Endpoint::Manifest(name, target)) = &endpoint
            && (request.method == Method::GET || request.method == Method::HEAD)
            && let Some(manifest) = self.app.registry.manifest_in_memory(name, target)
        {
            let mut response = manifests::answer(&manifest, target, &request.headers);
            if let Some(pace) = pace.take() {
                response.body_mut().keep(pace);
            }
            return Answer::Now(Some(self.finish(response, exchange, id, is_v2)));
        }
        let service = Self { app: self.app.clone(), connection: self.connection.clone() };
        Answer::Later(Box::pin(async move {
            let caller = access::judge(&service.app, &called, &request.headers);
            if let Some(pace) = service.app.allowances.pace(called.from, None) {
                request.body.keep(pace);
            }
            let answer = match &endpoint {
                Ok(endpoint) => dispatch::answer(&service.app, &caller, endpoint, request).await,
                Err(misread) => Err(Error::from(*misread)),
            };
            let mut response = answer
                .unwrap_or_else(|error| error.into_response(endpoint.as_ref().ok(), caller.links(), &id));
            if let Some(pace) = pace.take() {
                response.body_mut().keep(pace);
            }
            service.finish(response, exchange, id, is_v2)
        }))
    }
}

impl Service {
    /// Adds what all answers have, and has the exchange end with the body.
    fn finish(
        &self,
        mut response: Response,
        mut exchange: Exchange,
        id: HeaderValue,
        is_v2: bool,
    ) -> Response {
        exchange.answered(response.status(), http_body::Body::size_hint(response.body()).lower());
        response.body_mut().ends(exchange);
        let headers = response.headers_mut();
        if is_v2 {
            headers.insert(DOCKER_API_VERSION, API_VERSION);
        }
        if self.connection.is_receiving() {
            // Nobody will read the rest of the request, so that no other could follow it.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        headers.insert(X_REQUEST_ID, id);
        response
    }
}
