//! A connection: what is known of it, and the time limits on the bytes that pass through it.
//!
//! Three waits are bounded here, because only here can be seen which of them it is:
//! - between two requests, `idle_timeout`;
//! - from the first byte of a request to the end of its head, `header_timeout`, however slowly bytes drip in;
//! - for the client to take the next byte of an answer, `write_timeout`.
//!
//! On a connection of HTTP/2, where requests are interleaved, these are the same limits seen as a whole: without a
//! request it is idle, and then asked to end before it is ended; while answers alone are under way, some byte of them
//! has to be taken in time. Heads come in frames of a bounded size, one at a time, so that they need no limit besides.
//!
//! (The wait for the next byte of a request's body is bounded where bodies are received, since it can be answered.)

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
use crate::http::server::connection_table::Slot;
use crate::http::server::idle_timeout::IdleTimeout;

/// A client that is still sending when it was answered gets so long to read the answer.
const LINGER: Duration = Duration::from_secs(5);

/// What marks that a first byte is known.
const FIRST: u32 = 256;

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
    /// A client over TCP.
    Tcp {
        /// The client's end.
        client: SocketAddr,
        /// Ours: where the client reached this machine.
        local: SocketAddr,
    },
    /// A command on this machine, over the control socket.
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

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// One request after the other.
    Http1,
    /// Many at once.
    Http2,
}

/// Why requests under way are cut off by the end of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CutOff {
    /// They did not end in this time after the server was told to stop.
    After(Duration),
    /// The server was told to stop at once.
    Now,
}

/// What the parts that serve a connection tell each other.
#[derive(Debug)]
pub(crate) struct Connection {
    peer: Peer,
    protocol: Protocol,
    /// Whether it is encrypted (HTTPS).
    secure: bool,
    /// How many requests have begun.
    exchanges: AtomicU64,
    /// How many requests are being answered.
    answering: AtomicU32,
    /// How many of those have their answer, which is being sent. Counted for HTTP/2 alone.
    sending: AtomicU32,
    /// Whether the last request has a body that was not received to its end. For HTTP/1.1 alone: in HTTP/2 a body
    /// stands in the way of no other request.
    receiving: AtomicBool,
    /// The first byte that came, and 256 above it; 0 before there was one.
    first: AtomicU32,
    /// Tells whoever serves it that it has been idle for too long.
    idle: Notify,
    /// Whether a write waits for the client.
    writing: AtomicBool,
    /// Its place within the limit of connections, if there is one.
    slot: Option<Arc<Slot>>,
    /// Why the server ended it, if it did so while requests were under way.
    cut_off: OnceLock<CutOff>,
}

impl Connection {
    /// A connection with `peer` on which `protocol` is spoken, over TLS if `secure`.
    pub(crate) fn new(peer: Peer, protocol: Protocol, secure: bool, slot: Option<Arc<Slot>>) -> Arc<Self> {
        Arc::new(Self {
            peer,
            protocol,
            secure,
            exchanges: AtomicU64::new(0),
            answering: AtomicU32::new(0),
            sending: AtomicU32::new(0),
            receiving: AtomicBool::new(false),
            first: AtomicU32::new(0),
            idle: Notify::new(),
            writing: AtomicBool::new(false),
            slot,
            cut_off: OnceLock::new(),
        })
    }

    /// Whether no request is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.answering.load(Ordering::SeqCst) == 0
    }

    /// Whether the end of an answer still waits for the client to take it.
    pub(crate) fn is_writing(&self) -> bool {
        self.writing.load(Ordering::Relaxed)
    }

    /// Waits until it has to make room for others.
    pub(crate) async fn evicted(&self) {
        match &self.slot {
            Some(slot) => slot.evicted().await,
            None => std::future::pending().await,
        }
    }

    /// Notes that the server ends it, whatever is under way.
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

    /// Where the client reached this machine.
    pub(crate) fn reached(&self) -> Option<SocketAddr> {
        match self.peer {
            Peer::Tcp { local, .. } => Some(local),
            Peer::Control => None,
        }
    }

    /// Whether requests are interleaved on it (HTTP/2).
    pub(crate) fn is_multiplexed(&self) -> bool {
        self.protocol == Protocol::Http2
    }

    /// Whether it is over TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether the first byte that came was this one.
    pub(crate) fn began_with(&self, byte: u8) -> bool {
        self.first.load(Ordering::Relaxed) == FIRST | u32::from(byte)
    }

    pub(crate) fn begin_exchange(&self) {
        if self.answering.fetch_add(1, Ordering::SeqCst) == 0
            && let Some(slot) = &self.slot
        {
            slot.set_busy();
        }
        self.exchanges.fetch_add(1, Ordering::Relaxed);
    }

    /// An exchange has its answer.
    pub(crate) fn begin_sending(&self) {
        if self.protocol == Protocol::Http2 {
            self.sending.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An exchange is over; `answered` if it had its answer.
    pub(crate) fn end_exchange(&self, answered: bool) {
        if self.answering.fetch_sub(1, Ordering::SeqCst) == 1
            && let Some(slot) = &self.slot
        {
            slot.set_idle();
            // Another request may have begun in between.
            if !self.is_idle() {
                slot.set_busy();
            }
        }
        if answered && self.protocol == Protocol::Http2 {
            self.sending.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Waits until the connection has been idle for too long, if that is to be ended in good order.
    pub(crate) async fn idle_too_long(&self) {
        self.idle.notified().await;
    }

    /// Notes whether there is a body that is not received to its end.
    pub(crate) fn set_receiving(&self, receiving: bool) {
        if self.protocol == Protocol::Http1 {
            self.receiving.store(receiving, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_receiving(&self) -> bool {
        self.receiving.load(Ordering::Relaxed)
    }
}

/// The bytes of a connection, under the time limits.
pub(crate) struct TimedStream<S> {
    stream: S,
    connection: Arc<Connection>,
    idle: IdleTimeout,
    head: IdleTimeout,
    write: IdleTimeout,
    /// Which request the wait for a head is for: the number of those before it, and whether it has begun.
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

    /// Whether a wait to read is one for the head of a request, and then whether that has begun to arrive.
    fn waiting_for_head(&mut self) -> Option<bool> {
        if self.connection.answering.load(Ordering::Relaxed) > 0 {
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

    /// The wait for the next bytes of a connection of HTTP/2, under the limit that applies.
    fn waiting_for_frames(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting_for_head().is_none() {
            let answering = self.connection.answering.load(Ordering::Relaxed);
            if self.connection.sending.load(Ordering::Relaxed) < answering {
                // It is we who are at work, or a body that has a limit of its own.
                return Poll::Pending;
            }
            ready!(self.write.poll_exhausted(cx));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")));
        }
        if self.closing.is_none() {
            ready!(self.idle.poll_exhausted(cx));
            self.connection.idle.notify_one();
        }
        // The client is asked to leave, so that it does not send a request into a closed connection.
        ready!(self.closing.get_or_insert_with(|| IdleTimeout::new(LINGER)).poll_exhausted(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no request comes")))
    }

    /// The outcome of a write, under its time limit.
    fn written<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            if self.writing {
                self.writing = false;
                self.connection.writing.store(false, Ordering::Relaxed);
                // The end of a long answer may still be on its way when the next request is waited for.
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
        // What TLS holds back in encrypted form has to be taken in time as well. Having nothing to flush is no
        // progress.
        if outcome.is_ready() && !this.writing { outcome } else { this.written(cx, outcome) }
    }

    /// Ends our side, and then, if the client was not done sending, lets it finish for a while. Closing at once
    /// would reset the connection, and a reset takes the answer from a client that has not read it yet: it would
    /// see a broken connection where there was an error with a reason.
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
        // The limit is on the whole of it: whatever comes is thrown away and is no progress.
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
        let connection = Connection::new(Peer::Control, Protocol::Http1, false, None);
        (TimedStream::new(ours, connection.clone(), &limits()), connection, theirs)
    }

    async fn seconds_until_refused(stream: &mut TimedStream<DuplexStream>) -> u64 {
        let start = Instant::now();
        while stream.read_u8().await.is_ok() {}
        start.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_requests_ends_after_the_idle_time() {
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
    async fn a_head_that_drips_in_ends_after_the_head_time() {
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
        assert!(waited.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_left() {
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
