//! Access log: one line per request, when its response was sent or aborted.
//!
//! Queries and headers are not logged: they may hold secrets.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use accounts::AccountName;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use registry::access::Identity;
use tracing::{Level, Span};

use crate::http::extract::endpoint::Endpoint;
use crate::http::middleware::request_metrics::{Measured, Place};
use crate::http::server::connection::{Connection, CutOff, Peer};
use crate::traces;

/// A request in progress, until the response body is dropped.
pub(crate) struct Exchange {
    connection: Arc<Connection>,
    measured: Measured,
    /// The status of the response that is being sent.
    status: Option<StatusCode>,
    pub(crate) span: Span,
    /// `None` if the log level excludes it, which saves copies and a clock reading.
    line: Option<Box<Line>>,
}

struct Line {
    method: Method,
    uri: Uri,
    endpoint: &'static str,
    id: HeaderValue,
    /// The client behind a trusted proxy.
    client: Option<IpAddr>,
    account: Option<AccountName>,
    begun: Instant,
    sent: u64,
    expected: u64,
}

impl Exchange {
    pub(crate) fn begin(
        connection: Arc<Connection>,
        method: &Method,
        uri: &Uri,
        id: &HeaderValue,
        headers: &HeaderMap,
        endpoint: Option<&Endpoint>,
    ) -> Self {
        let span =
            traces::request_span(method, endpoint.map_or("none", Endpoint::label), uri.path(), id, headers);
        connection.begin_exchange();
        let measured = connection.metrics().begin(endpoint, method);
        let line = tracing::enabled!(Level::INFO).then(|| {
            Box::new(Line {
                method: method.clone(),
                uri: uri.clone(),
                endpoint: endpoint.map_or("none", Endpoint::label),
                id: id.clone(),
                client: None,
                account: None,
                begun: Instant::now(),
                sent: 0,
                expected: 0,
            })
        });
        Self { connection, measured, status: None, span, line }
    }

    /// The place of the request in the metrics.
    pub(crate) fn place(&self) -> Place {
        self.measured.place
    }

    /// Sets the client, if a proxy is the peer.
    pub(crate) fn set_client(&mut self, client: IpAddr) {
        if let Some(line) = &mut self.line
            && let Peer::Tcp { client: peer, .. } = self.connection.peer()
            && peer.ip().to_canonical() != client
        {
            line.client = Some(client);
        }
    }

    pub(crate) fn set_account(&mut self, identity: &Identity) {
        if let Some(line) = &mut self.line {
            line.account = identity.name().cloned();
        }
    }

    pub(crate) fn answered(&mut self, status: StatusCode, length: u64) {
        self.status = Some(status);
        self.span.record("http.response.status_code", status.as_u16());
        if status.is_server_error() {
            self.span.record("otel.status_code", "ERROR");
        }
        self.connection.begin_sending();
        if let Some(line) = &mut self.line {
            line.expected = if line.method == Method::HEAD { 0 } else { length };
        }
    }

    /// Ends without a line, because the request is answered in another way.
    pub(crate) fn discard(mut self) {
        self.line = None;
    }

    /// Counts bytes of the response that were given to the connection.
    pub(crate) fn sent(&mut self, bytes: u64) {
        self.connection.metrics().sent(self.measured.place, bytes);
        if let Some(line) = &mut self.line {
            line.sent += bytes;
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.connection.end_exchange(self.status.is_some());
        self.connection.metrics().end(self.measured, self.status);
        if let Some(line) = &self.line {
            line.write(&self.connection, self.status);
        }
    }
}

impl Line {
    fn write(&self, connection: &Connection, status: Option<StatusCode>) {
        let milliseconds = self.begun.elapsed().as_micros() as f64 / 1000.0;
        let id = self.id.to_str().unwrap_or_default();
        let is_whole = status.is_some() && self.sent >= self.expected;
        let message = match (connection.was_cut_off(), status) {
            (_, Some(_)) if is_whole => Cow::Borrowed("answered"),
            (Some(CutOff::After(limit)), _) => {
                format!("cut off: still running {} s after the stop", limit.as_secs_f64()).into()
            }
            (Some(CutOff::Now), _) => "cut off: the server was told to stop at once".into(),
            (None, None) => "the client left before there was an answer".into(),
            (None, Some(_)) => "the answer was cut off".into(),
        };
        tracing::info!(
            method = %self.method,
            path = self.uri.path(),
            endpoint = self.endpoint,
            status = status.map_or(0, |status| status.as_u16()),
            bytes = self.sent,
            milliseconds,
            id,
            account = self.account.as_ref().map(tracing::field::display),
            client = self.client.map(tracing::field::display),
            remote = %connection.peer(),
            "{message}",
        );
    }
}
