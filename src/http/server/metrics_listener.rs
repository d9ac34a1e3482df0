//! The listener of `metrics.listen`: plain HTTP that answers `/metrics` alone, to everyone who reaches it.
//!
//! Scrapes have connections of their own, so that a registry whose ports are full can still be watched.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use crate::http::metrics::ServerMetrics;
use crate::http::response::{self, Response};
use crate::http::server::connection_table::ConnectionTable;
use crate::http::server::listener::after_failed_accept;

/// The connection limits, in all and per client network.
const CONNECTIONS: usize = 64;
const CONNECTIONS_PER_NETWORK: usize = 32;
/// The maximum size of a request head.
const HEAD_BYTES: usize = 16 * 1024;
/// The time for a head to arrive, which is also the idle timeout: beyond the usual interval of scrapes.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// A listener for scrapes. Connections wait in the backlog until it runs.
pub(crate) struct MetricsListener {
    listener: TcpListener,
    metrics: Arc<ServerMetrics>,
    connections: ConnectionTable,
}

impl MetricsListener {
    pub(crate) fn new(listener: TcpListener, metrics: Arc<ServerMetrics>) -> Self {
        let open = metrics.connections.of("metrics.listen").clone();
        let connections = ConnectionTable::new("metrics.listen", CONNECTIONS, CONNECTIONS_PER_NETWORK, open);
        Self { listener, metrics, connections }
    }

    /// Returns the address, with the port that the system chose.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub(crate) fn listener(&self) -> &TcpListener {
        &self.listener
    }

    /// Serves for ever.
    pub(crate) async fn run(&self) -> Infallible {
        loop {
            match self.listener.accept().await {
                Ok((stream, client)) => {
                    let Ok(held) = self.connections.enter(client.ip(), false).await else { continue };
                    let metrics = self.metrics.clone();
                    tokio::spawn(async move {
                        tokio::select! {
                            () = converse(stream, metrics) => {}
                            () = held.slot().evicted() => {}
                        }
                    });
                }
                Err(error) => after_failed_accept(&error).await,
            }
        }
    }
}

async fn converse(stream: TcpStream, metrics: Arc<ServerMetrics>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let metrics = metrics.clone();
        async move { Ok::<_, Infallible>(answer(&metrics, request.method(), request.uri().path()).await) }
    });
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = conversation.await {
        tracing::debug!(%error, "a connection to metrics.listen broke");
    }
}

async fn answer(metrics: &ServerMetrics, method: &Method, path: &str) -> Response {
    let (status, text) = match (method, path) {
        (&Method::GET | &Method::HEAD, "/metrics") => return metrics.scrape().await,
        (&Method::GET | &Method::HEAD, _) => (StatusCode::NOT_FOUND, "Only /metrics is here.\n"),
        _ => (StatusCode::METHOD_NOT_ALLOWED, "Only GET is possible here.\n"),
    };
    let mut response = response::text(text.to_owned());
    *response.status_mut() = status;
    response
}
