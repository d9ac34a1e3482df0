//! A connection: its state, and the timeouts on its bytes.
//!
//! - `idle_timeout`: between two requests.
//! - `header_timeout`: from the first byte of a request to the end of its head, however slowly bytes arrive.
//! - `write_timeout`: for the client to take the next byte of a response.
//!
//! HTTP/2 interleaves requests, so the limits apply to the whole connection. Without a request it is idle,
//! and is asked to close before it is cut. While it only sends responses, the client has to take some byte in
//! time. Heads come in frames of bounded size and need no timeout.
//!
//! Request bodies have their idle timeout in `extract::body`, where a timeout can be answered.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use crate::config::Limits;
use crate::http::middleware::request_metrics::RequestMetrics;
use crate::http::server::connection_table::Slot;
use crate::http::server::idle_timeout::IdleTimeout;
use crate::http::server::in_progress::InProgress;

/// The time for a client that is still sending to read its response.
const LINGER: Duration = Duration::from_secs(5);

/// The flag in `first` that the first byte is known.
const FIRST: u32 = 256;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
    Tcp {
        /// The client's address.
        client: SocketAddr,
        local: SocketAddr,
    },
    /// A command on the control socket.
    Control,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { client, .. } => client.fmt(f),
            Self::Control => f.write_str("control"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// The reason to cut off requests when the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CutOff {
    /// The shutdown timeout is over.
    After(Duration),
    Now,
}

/// The state of a connection, shared by the tasks that serve it.
#[derive(Debug)]
pub(crate) struct Connection {
    peer: Peer,
    protocol: Protocol,
    secure: bool,
    /// The number of requests so far.
    exchanges: AtomicU64,
    in_progress: InProgress,
    /// The number of responses being sent. HTTP/2 only.
    sending: AtomicU32,
    /// Whether the body of the last request is incomplete. HTTP/1.1 only: in HTTP/2 it blocks no other
    /// request.
    receiving: AtomicBool,
    /// The first received byte plus [`FIRST`], or 0 before it.
    first: AtomicU32,
    /// Notified when the connection was idle for too long.
    idle: Notify,
    /// Whether a write waits for the client.
    writing: AtomicBool,
    /// Set if the server cut off requests.
    cut_off: OnceLock<CutOff>,
    metrics: Arc<RequestMetrics>,
}

impl Connection {
    /// Makes the state of a connection.
    pub(crate) fn new(
        peer: Peer,
        protocol: Protocol,
        secure: bool,
        slot: Option<Arc<Slot>>,
        metrics: Arc<RequestMetrics>,
    ) -> Arc<Self> {
        Arc::new(Self {
            peer,
            protocol,
            secure,
            exchanges: AtomicU64::new(0),
            in_progress: InProgress::new(slot),
            sending: AtomicU32::new(0),
            receiving: AtomicBool::new(false),
            first: AtomicU32::new(0),
            idle: Notify::new(),
            writing: AtomicBool::new(false),
            cut_off: OnceLock::new(),
            metrics,
        })
    }

    pub(crate) fn metrics(&self) -> &RequestMetrics {
        &self.metrics
    }

    /// Whether no request is in progress.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_progress.count() == 0
    }

    /// Whether the client still has to take the end of a response.
    pub(crate) fn is_writing(&self) -> bool {
        self.writing.load(Ordering::Relaxed)
    }

    /// Waits until the connection has to make room for others.
    pub(crate) async fn evicted(&self) {
        self.in_progress.evicted().await;
    }

    /// Records that the server cuts off requests.
    pub(crate) fn cut_off(&self, reason: CutOff) {
        // The first reason stays.
        let _ = self.cut_off.set(reason);
    }

    pub(crate) fn was_cut_off(&self) -> Option<CutOff> {
        self.cut_off.get().copied()
    }

    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    /// The local address.
    pub(crate) fn reached(&self) -> Option<SocketAddr> {
        match self.peer {
            Peer::Tcp { local, .. } => Some(local),
            Peer::Control => None,
        }
    }

    pub(crate) fn is_multiplexed(&self) -> bool {
        self.protocol == Protocol::Http2
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether the first received byte was this one.
    pub(crate) fn began_with(&self, byte: u8) -> bool {
        self.first.load(Ordering::Relaxed) == FIRST | u32::from(byte)
    }

    pub(crate) fn begin_exchange(&self) {
        self.in_progress.begin();
        self.exchanges.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a response that is being sent.
    pub(crate) fn begin_sending(&self) {
        if self.protocol == Protocol::Http2 {
            self.sending.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Ends a request; `answered` if it has a response.
    pub(crate) fn end_exchange(&self, answered: bool) {
        self.in_progress.end();
        if answered && self.protocol == Protocol::Http2 {
            self.sending.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Waits until the connection was idle for too long and should close gracefully.
    pub(crate) async fn idle_too_long(&self) {
        self.idle.notified().await;
    }

    /// Records whether a request body is incomplete.
    pub(crate) fn set_receiving(&self, receiving: bool) {
        if self.protocol == Protocol::Http1 {
            self.receiving.store(receiving, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_receiving(&self) -> bool {
        self.receiving.load(Ordering::Relaxed)
    }
}

/// A stream with timeouts.
pub(crate) struct TimedStream<S> {
    stream: S,
    connection: Arc<Connection>,
    idle: IdleTimeout,
    head: IdleTimeout,
    write: IdleTimeout,
    /// The request that is waited for: the number of earlier ones, and whether its head has begun.
    waiting_for: Option<(u64, bool)>,
    writing: bool,
    closing: Option<IdleTimeout>,
}

impl<S> TimedStream<S> {
    pub(crate) fn new(stream: S, connection: Arc<Connection>, limits: &Limits) -> Self {
        Self {
            stream,
            connection,
            idle: IdleTimeout::new(limits.idle_timeout),
            head: IdleTimeout::new(limits.header_timeout),
            write: IdleTimeout::new(limits.write_timeout),
            waiting_for: None,
            writing: false,
            closing: None,
        }
    }

    /// Returns whether a head has begun to arrive, if the connection waits for one.
    fn waiting_for_head(&mut self) -> Option<bool> {
        if !self.connection.is_idle() {
            self.waiting_for = None;
            return None;
        }
        let exchanges = self.connection.exchanges.load(Ordering::Relaxed);
        match self.waiting_for {
            Some((before, begun)) if before == exchanges => Some(begun),
            _ => {
                self.waiting_for = Some((exchanges, false));
                self.idle.progress();
                self.head.progress();
                Some(false)
            }
        }
    }

    /// Waits for the next bytes of an HTTP/2 connection, under the timeout that applies.
    fn waiting_for_frames(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting_for_head().is_none() {
            if self.connection.sending.load(Ordering::Relaxed) < self.connection.in_progress.count() {
                // The server is working, or waits for a body with its own timeout.
                return Poll::Pending;
            }
            ready!(self.write.poll_exhausted(cx));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")));
        }
        if self.closing.is_none() {
            ready!(self.idle.poll_exhausted(cx));
            self.connection.idle.notify_one();
        }
        // The client is asked to close first, so that it does not send a request into a closed connection.
        ready!(self.closing.get_or_insert_with(|| IdleTimeout::new(LINGER)).poll_exhausted(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no request comes")))
    }

    /// Applies the write timeout to the result of a write.
    fn written<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            if self.writing {
                self.writing = false;
                self.connection.writing.store(false, Ordering::Relaxed);
                // The idle time begins when the response is sent.
                self.idle.progress();
            }
            self.write.progress();
            return outcome;
        }
        self.writing = true;
        self.connection.writing.store(true, Ordering::Relaxed);
        ready!(self.write.poll_exhausted(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        if this.connection.protocol == Protocol::Http2 {
            return if read.is_pending() { this.waiting_for_frames(cx) } else { read };
        }
        let Some(begun) = this.waiting_for_head() else { return read };
        if read.is_ready() {
            if let Some(first) = buf.filled().get(before)
                && let Some((exchanges, begun)) = &mut this.waiting_for
            {
                if *exchanges == 0 && !*begun {
                    this.connection.first.store(FIRST | u32::from(*first), Ordering::Relaxed);
                }
                *begun = true;
            }
            return read;
        }
        if begun {
            ready!(this.head.poll_exhausted(cx));
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the head of a request does not come",
            )));
        }
        if this.writing {
            return Poll::Pending;
        }
        ready!(this.idle.poll_exhausted(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no request comes")))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TimedStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.written(cx, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.written(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_flush(cx);
        // Encrypted bytes in the TLS buffer have the write timeout too. Nothing to flush is no progress.
        if outcome.is_ready() && !this.writing { outcome } else { this.written(cx, outcome) }
    }

    /// Closes the sending side. If the client is still sending, its bytes are discarded for a while: closing
    /// at once would reset the connection, and the reset may overtake an error response.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.closing.is_none() || this.connection.protocol == Protocol::Http2 {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            let exchanges = this.connection.exchanges.load(Ordering::Relaxed);
            let mid_head = this.waiting_for == Some((exchanges, true));
            if !mid_head && !this.connection.is_receiving() {
                return Poll::Ready(Ok(()));
            }
        }
        let idle_timeout = this.closing.get_or_insert_with(|| IdleTimeout::new(LINGER));
        // The timeout covers the whole wait: discarded bytes are no progress.
        if idle_timeout.poll_exhausted(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut discarded = [std::mem::MaybeUninit::uninit(); 8192];
        loop {
            let mut buf = ReadBuf::uninit(&mut discarded);
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;

    fn limits() -> Limits {
        Limits {
            idle_timeout: Duration::from_secs(75),
            header_timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(60),
            ..Limits::default()
        }
    }

    fn watched() -> (TimedStream<DuplexStream>, Arc<Connection>, DuplexStream) {
        let (ours, theirs) = duplex(64);
        let connection =
            Connection::new(Peer::Control, Protocol::Http1, false, None, Arc::new(RequestMetrics::new()));
        (TimedStream::new(ours, connection.clone(), &limits()), connection, theirs)
    }

    async fn seconds_until_refused(stream: &mut TimedStream<DuplexStream>) -> u64 {
        let start = Instant::now();
        while stream.read_u8().await.is_ok() {}
        start.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn connection_without_requests_times_out() {
        let (mut stream, connection, mut client) = watched();
        assert_eq!(seconds_until_refused(&mut stream).await, 75);
        // The same after a request.
        client.write_all(b"x").await.unwrap();
        stream.read_u8().await.unwrap();
        connection.begin_exchange();
        connection.end_exchange(true);
        assert_eq!(seconds_until_refused(&mut stream).await, 75);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_head_times_out() {
        let (mut stream, _connection, mut client) = watched();
        let drip = tokio::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let seconds = seconds_until_refused(&mut stream).await;
        assert!((15..=16).contains(&seconds), "{seconds}");
        drip.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn while_a_request_is_answered_reading_has_no_limit() {
        let (mut stream, connection, _client) = watched();
        connection.begin_exchange();
        let waited = tokio::time::timeout(Duration::from_secs(3600), stream.read_u8()).await;
        waited.unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_takes_nothing_is_left() {
        let (mut stream, connection, mut client) = watched();
        connection.begin_exchange();
        let start = Instant::now();
        let reader = tokio::spawn(async move {
            let mut buffer = [0; 64];
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_secs(50)).await;
                client.read_exact(&mut buffer).await.unwrap();
            }
            client
        });
        let error = stream.write_all(&[0; 1024]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), 150 + 60);
        drop(reader.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn closing_waits_for_a_client_that_still_sends() {
        let (mut stream, connection, mut client) = watched();
        connection.begin_exchange();
        connection.set_receiving(true);
        connection.end_exchange(true);
        let sender = tokio::spawn(async move {
            client.write_all(&[0; 1024]).await.unwrap();
            client
        });
        let start = Instant::now();
        stream.shutdown().await.unwrap();
        assert_eq!(start.elapsed().as_secs(), LINGER.as_secs(), "it does not wait for ever either");
        drop(sender.await.unwrap());
        let (mut stream, _connection, _client) = watched();
        let start = Instant::now();
        stream.shutdown().await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 0);
    }
}
