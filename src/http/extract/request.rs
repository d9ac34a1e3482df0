//! Requests, as handlers see them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{AsHeaderName, HeaderMap, HeaderValue};
use hyper::{Method, Uri};
use registry::ReceiveError;

use crate::http::error::Error;
use crate::http::extract::body::{RequestBody, TooLarge};
use crate::http::extract::query::Query;
use crate::http::middleware::body_budget::{BodyBudget, Charge};
use crate::http::middleware::rate_limit::Client;
use crate::http::server::connection::Connection;

/// A request whose path was read. The body is there until it is taken.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: RequestBody,
    /// Under which it is logged.
    pub(crate) id: HeaderValue,
    /// Whose memory a body takes that is read whole.
    budget: Option<(Arc<BodyBudget>, Client)>,
    /// The memory of a body that was read whole. It is given back with the request.
    charge: Option<Charge>,
    /// Whether the answer's body is written to a socket as it is, so that only the kernel reads its bytes. TLS and the
    /// frames of HTTP/2 copy them in this process.
    pub(crate) is_plain: bool,
}

impl Request {
    pub(crate) fn new(
        request: hyper::Request<Incoming>,
        connection: Arc<Connection>,
        body_timeout: Duration,
        id: HeaderValue,
    ) -> Self {
        let (head, body) = request.into_parts();
        let is_plain = !connection.is_secure() && !connection.is_multiplexed();
        Self {
            method: head.method,
            uri: head.uri,
            headers: head.headers,
            body: RequestBody::new(body, connection, body_timeout),
            id,
            budget: None,
            charge: None,
            is_plain,
        }
    }

    /// Has a body that is read whole charged to a client.
    pub(crate) fn charge_to(&mut self, budget: Arc<BodyBudget>, client: Client) {
        self.budget = Some((budget, client));
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    pub(crate) fn query(&self) -> Query<'_> {
        Query::new(self.uri.query())
    }

    /// The first value of a header; one that is no text counts as malformed in whatever way it can be.
    pub(crate) fn header(&self, name: impl AsHeaderName) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap_or("\u{fffd}"))
    }

    /// The whole body of a form or a document: short, and complete within the idle timeout. A client that sends it byte
    /// by byte would otherwise hold its connection for ever.
    pub(crate) async fn short_body(
        &mut self,
        most: usize,
        too_large: impl FnOnce() -> Error,
    ) -> Result<Bytes, Error> {
        let limit = self.body.limit();
        match tokio::time::timeout(limit, self.whole_body(most, too_large)).await {
            Ok(body) => body,
            Err(_) => Err(registry::Error::from(ReceiveError::Idle(limit.as_secs())).into()),
        }
    }

    /// The whole body, of at most `most` bytes; `too_large` is the error if it has more. Waits for room in the memory
    /// budget, which stays charged until the request is dropped.
    pub(crate) async fn whole_body(
        &mut self,
        most: usize,
        too_large: impl FnOnce() -> Error,
    ) -> Result<Bytes, Error> {
        let length = self.body.announced().unwrap_or(most as u64);
        if length <= most as u64
            && let Some((budget, client)) = &self.budget
        {
            self.charge = Some(budget.charge(*client, length).await.map_err(|_| Error::Overloaded)?);
        }
        match self.body.whole(most).await.map_err(registry::Error::from)? {
            Ok(bytes) => Ok(bytes),
            Err(TooLarge) => Err(too_large()),
        }
    }
}
