//! Requests as handlers see them: head, body, and the memory budget of the body.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{AsHeaderName, HeaderMap, HeaderValue};
use hyper::{Method, Uri};
use registry::ReceiveError;
use registry::mirror::Reach;

use crate::http::error::Error;
use crate::http::extract::body::{RequestBody, TooLarge};
use crate::http::extract::endpoint::Endpoint;
use crate::http::extract::query::Query;
use crate::http::middleware::access_request::AccessRequest;
use crate::http::middleware::body_budget::{BodyBudget, Charge, Payer};
use crate::http::middleware::client_info::ClientInfo;
use crate::http::middleware::request_metrics::Place;
use crate::http::server::connection::Connection;

/// The time for the body of an unverified client, besides that of its length. Others wait for its memory.
const UNVERIFIED_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: RequestBody,
    pub(crate) id: HeaderValue,
    /// The memory budget for bodies that are read to their end, and the client that is charged.
    budget: Option<(Arc<BodyBudget>, Payer)>,
    /// The charge for a body in memory. Dropping the request returns it.
    charge: Option<Charge>,
    /// The body, if it was read ahead of its handler.
    ahead: Option<Bytes>,
    /// Whether the response body goes to the socket as it is. TLS and HTTP/2 frames copy it in this process
    /// first.
    pub(crate) is_plain: bool,
    /// How the client named the upstream of a cached repository; `None` for other requests.
    pub(crate) reach: Option<Reach>,
}

impl Request {
    pub(crate) fn new(
        request: hyper::Request<Incoming>,
        connection: Arc<Connection>,
        place: Place,
        body_timeout: Duration,
        id: HeaderValue,
    ) -> Self {
        let (head, body) = request.into_parts();
        let is_plain = !connection.is_secure() && !connection.is_multiplexed();
        Self {
            method: head.method,
            uri: head.uri,
            headers: head.headers,
            body: RequestBody::new(body, connection, place, body_timeout),
            id,
            budget: None,
            charge: None,
            ahead: None,
            is_plain,
            reach: None,
        }
    }

    /// Sets the budget for a body that is read to its end.
    pub(crate) fn charge_to(&mut self, budget: Arc<BodyBudget>, payer: Payer) {
        self.budget = Some((budget, payer));
    }

    /// Returns a GET request for the same object.
    pub(crate) fn as_get(&self) -> Self {
        Self {
            method: Method::GET,
            uri: self.uri.clone(),
            headers: HeaderMap::new(),
            body: self.body.empty(),
            id: self.id.clone(),
            budget: None,
            charge: None,
            ahead: None,
            is_plain: self.is_plain,
            reach: self.reach,
        }
    }

    /// Reads a short body ahead of the handler that will ask for it.
    pub(crate) async fn read_ahead(
        &mut self,
        most: usize,
        too_large: impl FnOnce() -> Error,
    ) -> Result<(), Error> {
        self.ahead = Some(self.short_body(most, too_large).await?);
        Ok(())
    }

    /// Returns the parts that authorization reads.
    pub(crate) fn for_access<'a>(
        &'a self,
        endpoint: Option<&'a Endpoint>,
        client: &'a ClientInfo,
    ) -> AccessRequest<'a> {
        AccessRequest { endpoint, method: &self.method, uri: &self.uri, headers: &self.headers, client }
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    pub(crate) fn query(&self) -> Query<'_> {
        Query::new(self.uri.query())
    }

    /// Returns the first value of a header. Every parser rejects the replacement of a non-ASCII value.
    pub(crate) fn header(&self, name: impl AsHeaderName) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap_or("\u{fffd}"))
    }

    /// Reads a short body to its end, within the idle timeout. Without it, a client that sends byte by byte
    /// would hold its connection for ever.
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

    /// Reads a body of at most `most` bytes to its end; `too_large` makes the error for a longer one. Waits
    /// for room in the memory budget, which stays charged until the request is dropped.
    pub(crate) async fn whole_body(
        &mut self,
        most: usize,
        too_large: impl FnOnce() -> Error,
    ) -> Result<Bytes, Error> {
        if let Some(bytes) = self.ahead.take() {
            return Ok(bytes);
        }
        let length = self.body.announced().unwrap_or(most as u64);
        let mut timeout = self.body.limit();
        if length <= most as u64
            && let Some((budget, payer)) = &self.budget
        {
            self.charge = Some(budget.charge(*payer, length).await.map_err(|_| Error::Overloaded)?);
            if payer.is_unverified {
                timeout = timeout.min(UNVERIFIED_TIMEOUT);
            }
        }
        match self.body.read_to_end(most, timeout).await.map_err(registry::Error::from)? {
            Ok(bytes) => Ok(bytes),
            Err(TooLarge) => Err(too_large()),
        }
    }
}
