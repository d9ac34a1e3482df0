//! Requests, as handlers see them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{AsHeaderName, HOST, HeaderMap, HeaderValue};
use hyper::{Method, Uri};

use super::connection::Connection;
use super::error::Error;
use super::query::Query;
use super::receive::{Receiving, TooLarge};

/// A request whose path was read. The body is there until it is taken.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Receiving,
    /// Under which it is logged.
    pub(crate) id: HeaderValue,
}

impl Request {
    pub(crate) fn new(
        request: hyper::Request<Incoming>,
        connection: Arc<Connection>,
        body_timeout: Duration,
        id: HeaderValue,
    ) -> Self {
        let (mut head, body) = request.into_parts();
        // HTTP/2 has it in a field of its own.
        if let Some(authority) = head.uri.authority()
            && !head.headers.contains_key(HOST)
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            head.headers.insert(HOST, host);
        }
        Self {
            method: head.method,
            uri: head.uri,
            headers: head.headers,
            body: Receiving::new(body, connection, body_timeout),
            id,
        }
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

    /// The whole body, of at most `most` bytes; `too_large` is the error if it has more.
    pub(crate) async fn whole_body(
        self,
        most: usize,
        too_large: impl FnOnce() -> Error,
    ) -> Result<Bytes, Error> {
        match self.body.whole(most).await.map_err(registry::Error::from)? {
            Ok(bytes) => Ok(bytes),
            Err(TooLarge) => Err(too_large()),
        }
    }
}
