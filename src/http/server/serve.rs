//! Serves one connection: the handshake, the choice of the protocol, and the requests until its end.

use registry::WarnLimit;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
use hyper_util::rt::TokioIo;
use metrics::Gauge;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Sleep;

use crate::http::live::LiveApp;
use crate::http::server::connection::{Connection, Peer, Protocol, TimedStream};
use crate::http::server::connection_table::{Held, Slot};
use crate::http::server::protocol::{self, GracefulConnection};
use crate::http::server::stop::Stage;
use crate::http::service::Service;
use crate::tls;

/// The time for an evicted connection to send the end of its last response.
const EVICTION_LINGER: Duration = Duration::from_secs(5);

/// The state that all connections share.
pub(super) struct ConnectionServer {
    pub(super) live: Arc<LiveApp>,
    /// Limits the warning about TLS to a plain port.
    plain_tls: WarnLimit,
}

impl ConnectionServer {
    pub(super) fn new(live: Arc<LiveApp>) -> Self {
        Self { live, plain_tls: WarnLimit::new() }
    }

    /// Serves a TLS connection by the negotiated protocol.
    pub(super) async fn secure(
        self: Arc<Self>,
        stream: TcpStream,
        tls: tls::Acceptor,
        peer: Peer,
        mut stage: watch::Receiver<Stage>,
        held: Held,
    ) {
        let Peer::Tcp { client, .. } = peer else { return };
        let client = client.ip();
        let stream = tokio::select! {
            stream = tls.accept(stream, client, self.live.get().is_proxy(client)) => stream,
            _ = stage.wait_for(|stage| *stage > Stage::Running) => None,
            () = held.slot().evicted() => None,
        };
        let Some(stream) = stream else { return };
        // A new task frees the 9 KiB of the handshake's future.
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            tokio::spawn(self.http2(stream, peer, true, stage, held));
        } else {
            tokio::spawn(self.http1(stream, peer, true, stage, Place::Tcp(held)));
        }
    }

    /// Serves a plain connection by the protocol that its first bytes show.
    pub(super) async fn either(
        self: Arc<Self>,
        stream: TcpStream,
        peer: Peer,
        mut stage: watch::Receiver<Stage>,
        held: Held,
    ) {
        let begun = tokio::time::timeout(self.live.get().limits.idle_timeout, begins_http2(&stream));
        let http2 = tokio::select! {
            begun = begun => begun,
            _ = stage.wait_for(|stage| *stage > Stage::Running) => return,
            () = held.slot().evicted() => return,
        };
        match http2 {
            // Boxed, so that neither future reserves the size of the other.
            Ok(Ok(true)) => Box::pin(self.http2(stream, peer, false, stage, held)).await,
            Ok(Ok(false)) => Box::pin(self.http1(stream, peer, false, stage, Place::Tcp(held))).await,
            Ok(Err(_)) | Err(_) => {}
        }
    }

    pub(super) async fn http1<S>(
        self: Arc<Self>,
        stream: S,
        peer: Peer,
        secure: bool,
        stage: watch::Receiver<Stage>,
        place: Place,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let app = Guard::into_inner(self.live.get());
        let metrics = app.metrics.requests.clone();
        let connection = Connection::new(peer, Protocol::Http1, secure, place.slot(), metrics);
        let io = TokioIo::new(TimedStream::new(stream, connection.clone(), &app.limits));
        let service = Service::new(self.live.clone(), connection.clone());
        let conversation = protocol::http1(&app.limits).serve_connection(io, service);
        drop(app);
        self.converse(conversation, connection, stage).await;
        drop(place);
    }

    async fn http2<S>(
        self: Arc<Self>,
        stream: S,
        peer: Peer,
        secure: bool,
        stage: watch::Receiver<Stage>,
        held: Held,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let app = Guard::into_inner(self.live.get());
        let metrics = app.metrics.requests.clone();
        let connection = Connection::new(peer, Protocol::Http2, secure, Some(held.slot().clone()), metrics);
        let io = TokioIo::new(TimedStream::new(stream, connection.clone(), &app.limits));
        let service = Service::new(self.live.clone(), connection.clone());
        let conversation = protocol::http2(&app.limits).serve_connection(io, service);
        drop(app);
        self.converse(conversation, connection, stage).await;
        drop(held);
    }

    /// Serves a connection until it ends or the server stops.
    async fn converse<C: GracefulConnection>(
        &self,
        conversation: C,
        connection: Arc<Connection>,
        mut stage: watch::Receiver<Stage>,
    ) {
        let mut conversation = pin!(conversation);
        let mut ending = false;
        let mut linger: Option<Pin<Box<Sleep>>> = None;
        let result = loop {
            tokio::select! {
                biased;
                result = conversation.as_mut() => break result,
                reached = stage.wait_for(|stage| *stage > if ending { Stage::Ending } else { Stage::Running }) => {
                    let reached = reached.map(|stage| *stage);
                    match reached {
                        Ok(Stage::Ending) => {
                            ending = true;
                            conversation.as_mut().end();
                        }
                        Ok(Stage::Over(reason)) => {
                            connection.cut_off(reason);
                            break Ok(());
                        }
                        _ => break Ok(()),
                    }
                }
                () = connection.idle_too_long() => conversation.as_mut().end(),
                () = connection.evicted() => {
                    if connection.is_idle() && !connection.is_writing() && !connection.is_multiplexed() {
                        break Ok(());
                    }
                    // The request in progress may end; no other is accepted. In HTTP/2 the end of a response
                    // may wait in the connection, so that the client gets a moment.
                    conversation.as_mut().end();
                    linger = Some(Box::pin(tokio::time::sleep(EVICTION_LINGER)));
                }
                () = elapsed(&mut linger) => {
                    if connection.is_idle() {
                        break Ok(());
                    }
                    linger = None;
                }
            }
        };
        let Err(error) = result else { return };
        if connection.began_with(tls::HANDSHAKE) && !connection.is_secure() {
            self.tell_of_tls(connection.peer());
        }
        // Broken connections are frequent, and not the server's fault.
        tracing::debug!(
            remote = %connection.peer(),
            %error,
            cause = ?std::error::Error::source(&error),
            "a connection broke"
        );
    }

    /// Warns about a client that speaks TLS to a plain port. Often a setting is missing.
    fn tell_of_tls(&self, peer: Peer) {
        let is_local = matches!(peer, Peer::Tcp { client, .. } if client.ip().to_canonical().is_loopback());
        if is_local {
            // docker tries HTTPS first, also at localhost.
            tracing::debug!(remote = %peer, "a client of this machine speaks HTTPS to the port of plain HTTP");
        } else if self.plain_tls.allows() {
            tracing::warn!(
                remote = %peer,
                "a client speaks HTTPS to this port, which speaks plain HTTP; give it a certificate \
                 (--tls-self-signed HOST, or tls.certificate), or have the client use http:// (docker: \
                 \"insecure-registries\" in /etc/docker/daemon.json)"
            );
        }
    }
}

/// Waits for a timer, or for ever without one.
async fn elapsed(timer: &mut Option<Pin<Box<Sleep>>>) {
    match timer {
        Some(timer) => timer.await,
        None => std::future::pending().await,
    }
}

/// The place of a connection in a connection limit.
pub(super) enum Place {
    Tcp(Held),
    Control(
        #[expect(dead_code, reason = "it is held, and dropped with the connection")] OwnedSemaphorePermit,
        #[expect(dead_code, reason = "it is held, and dropped with the connection")] Open,
    ),
}

/// A connection in a gauge of open ones.
pub(super) struct Open(Gauge);

impl Open {
    pub(super) fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Place {
    fn slot(&self) -> Option<Arc<Slot>> {
        match self {
            Self::Tcp(held) => Some(held.slot().clone()),
            Self::Control(..) => None,
        }
    }
}

/// Whether a client begins with the preface of HTTP/2 (`PRI * HTTP/2.0`, RFC 9113 section 3.4).
async fn begins_http2(stream: &TcpStream) -> io::Result<bool> {
    const PREFACE: &[u8] = b"PRI ";
    let mut begin = [0; PREFACE.len()];
    loop {
        let length = stream.peek(&mut begin).await?;
        if length == 0 || begin[..length] != PREFACE[..length] {
            return Ok(false);
        }
        if length == PREFACE.len() {
            return Ok(true);
        }
        // The peeked bytes stay in the socket, so that waiting for more would return at once.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
