//! The server: accepts connections, limits their number, serves HTTP/1.1 and HTTP/2, and shuts down
//! gracefully.

pub(crate) mod connection;
pub(crate) mod connection_table;
pub(crate) mod idle_timeout;
mod listener;
mod metrics_listener;
mod poll_budget;
mod redirect;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use arc_swap::Guard;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::Gauge;
use registry::Registry;
use registry::mirror::Mirror;
use registry::records::Socket;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::Sleep;

use crate::config::{Config, Effective, Limits};
use crate::http::app::App;
use crate::http::content_proxy::ContentProxy;
use crate::http::live::LiveApp;
use crate::http::reload_requests::{ReloadQueue, ReloadRequests};
use crate::http::server::connection::{Connection, CutOff, Peer, Protocol, TimedStream};
use crate::http::server::connection_table::{Held, Slot};
use crate::http::server::listener::{Control, after_failed_accept, open};
use crate::http::server::metrics_listener::MetricsListener;
use crate::http::server::poll_budget::RepollWaker;
use crate::http::server::redirect::Redirect;
use crate::http::service::Service;
use crate::tls;
use crate::upstreams;
use crate::warn_limit::WarnLimit;
use crate::webhooks;

/// The maximum number of connections to the control socket.
const CONTROL_CONNECTIONS: usize = 64;
/// The number of header fields that hyper reads without an allocation.
const HYPER_HEADERS: usize = 100;
/// The size of the read and write buffers. 128 KiB saves an upload little CPU, and 32 uploads with 32
/// downloads then exceed their 32 MiB of memory.
const BUFFER: usize = 64 * 1024;
/// HTTP/2 flow control windows, of a request and of a connection. They bound the memory of a slow reader, and
/// the bytes in flight on a long line.
const STREAM_WINDOW: u32 = 512 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// The send buffer for clients on the same machine, such as nginx; the kernel doubles it. Its own tuning
/// grows the buffer to 4 MiB and more, which no longer fits the CPU cache: a blob then costs both sides twice
/// the time.
const SENT_WITHIN_A_MACHINE: usize = 512 << 10;

/// The time for an evicted connection to send the end of its last response.
const EVICTION_LINGER: Duration = Duration::from_secs(5);

/// A listening server. Connections wait in the backlog until it runs.
pub struct Server {
    live: Arc<LiveApp>,
    reload: Option<ReloadQueue>,
    tcp: TcpListener,
    address: SocketAddr,
    tls: Option<tls::Acceptor>,
    redirect: Option<Redirect>,
    metrics: Option<MetricsListener>,
    control: Option<Control>,
    stop: Stop,
}

/// A handle that stops a server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<Stage>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Running,
    /// Requests in progress may end; no new ones are accepted.
    Ending,
    /// Connections are closed.
    Over(CutOff),
}

impl Stop {
    /// Stops gracefully: requests in progress may end.
    pub fn gracefully(&self) {
        self.advance(Stage::Ending);
    }

    /// Closes all connections.
    pub fn at_once(&self) {
        self.advance(Stage::Over(CutOff::Now));
    }

    fn advance(&self, stage: Stage) {
        self.0.send_if_modified(|current| {
            let forward = stage > *current;
            *current = stage.max(*current);
            forward
        });
    }
}

impl Server {
    /// Listens on the configured address.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) async fn bind(
        registry: Registry,
        content_proxy: Option<Arc<dyn ContentProxy>>,
        mirror: Option<Mirror>,
        config: &Config,
        inherited: Option<std::net::TcpListener>,
    ) -> io::Result<Self> {
        let tcp = open(inherited, config.listen)?;
        let address = tcp.local_addr()?;
        let (requests, reload) = ReloadRequests::new();
        let live = LiveApp::new(Arc::new(App::new(registry, content_proxy, mirror, config, Some(requests))?));
        Ok(Self {
            live,
            reload: Some(reload),
            tcp,
            address,
            tls: None,
            redirect: None,
            metrics: None,
            control: None,
            stop: Stop(watch::Sender::new(Stage::Running)),
        })
    }

    /// Serves HTTPS on the port.
    pub fn secure(&mut self, tls: tls::Acceptor) {
        let app = self.live.get();
        app.metrics.set_certificate(tls.clone());
        if let (Some(web), tls::Origin::SelfSigned { certificate, .. }) = (&app.web, tls.origin()) {
            web.set_certificate(certificate.clone());
        }
        self.tls = Some(tls);
    }

    /// Shows the settings to administrators.
    pub fn describe(&self, settings: &[Effective]) {
        self.live.describe(settings);
    }

    /// Listens for plain HTTP as well, and redirects it to HTTPS.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn redirect(
        &mut self,
        address: SocketAddr,
        tls: tls::Acceptor,
        config: &Config,
        inherited: Option<std::net::TcpListener>,
    ) -> io::Result<()> {
        let listener = open(inherited, address)?;
        let open = self.live.get().metrics.connections.of("tls.redirect").clone();
        self.redirect = Some(Redirect::new(listener, self.address.port(), tls, config, open));
        Ok(())
    }

    /// Listens for scrapes of metrics as well.
    ///
    /// # Errors
    /// Those of the system.
    pub fn serve_metrics(
        &mut self,
        address: SocketAddr,
        inherited: Option<std::net::TcpListener>,
    ) -> io::Result<()> {
        let metrics = self.live.get().metrics.clone();
        self.metrics = Some(MetricsListener::new(open(inherited, address)?, metrics));
        Ok(())
    }

    /// Returns the address of the listener for metrics.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().and_then(|metrics| metrics.address().ok())
    }

    /// Returns the TLS acceptor of an HTTPS server.
    #[must_use]
    pub fn tls(&self) -> Option<&tls::Acceptor> {
        self.tls.as_ref()
    }

    /// Returns `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Listens on the control socket, which only the server's user can reach. An existing socket file is
    /// replaced: its process is dead, because the caller holds the lock of the directory.
    ///
    /// # Errors
    /// Those of the system.
    pub fn bind_control(&mut self, socket: Socket) -> io::Result<()> {
        self.control = Some(Control::bind(socket)?);
        Ok(())
    }

    /// Returns the address, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the settings that a reload changes, and the requests for a reload.
    pub(crate) fn live(&mut self) -> (Arc<LiveApp>, Option<ReloadQueue>) {
        (self.live.clone(), self.reload.take())
    }

    /// Returns a handle that stops this server.
    #[must_use]
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Serves until the server is stopped, and then until all requests have ended or the shutdown timeout is
    /// over.
    pub async fn run(self) {
        let app = self.live.get();
        let deliveries = webhooks::run(app.webhooks.clone(), app.registry.clone());
        let connections = Connections::new(self.live.clone(), &self.stop);
        let mut stage = self.stop.0.subscribe();
        let tcp = connections.accept_tcp(&self.tcp, self.address, self.tls.as_ref());
        let control = connections.accept_control(self.control.as_ref());
        let redirect = async {
            match &self.redirect {
                Some(redirect) => redirect.run().await,
                None => std::future::pending().await,
            }
        };
        let metrics = async {
            match &self.metrics {
                Some(metrics) => metrics.run().await,
                None => std::future::pending().await,
            }
        };
        let certificate = async {
            match &self.tls {
                Some(tls) => tls.maintain().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            never = async { tokio::join!(tcp, redirect, metrics, control, certificate) } => match never {},
            () = deliveries => {}
            _ = stage.wait_for(|stage| *stage > Stage::Running) => {}
        }
        drop(stage);
        let shutdown_timeout = self.live.get().limits.shutdown_timeout;
        app.closing.send_replace(true);
        drop(app);
        // New connections are refused from here on.
        drop((self.tcp, self.redirect, self.metrics, self.control, connections));
        let over = async {
            // Every connection holds a receiver.
            self.stop.0.closed().await;
        };
        if tokio::time::timeout(shutdown_timeout, over).await.is_err() {
            let left = self.stop.0.receiver_count();
            tracing::warn!(
                connections = left,
                "closing connections whose requests did not end within limits.shutdown_timeout"
            );
            self.stop.advance(Stage::Over(CutOff::After(shutdown_timeout)));
            self.stop.0.closed().await;
        }
    }
}

/// A server inside a command, without an address. The command reaches it over its own socket.
pub struct Inside {
    stop: Stop,
    accepting: JoinHandle<()>,
    socket: PathBuf,
}

impl Inside {
    /// Starts serving in a task.
    ///
    /// # Errors
    /// Those of the system.
    pub fn start(registry: Registry, config: &Config, socket: Socket) -> io::Result<Self> {
        let path = socket.path().to_owned();
        let control = Control::bind(socket)?;
        let stop = Stop(watch::Sender::new(Stage::Running));
        let mirror = upstreams::open(&registry, config).map_err(io::Error::other)?;
        let app = Arc::new(App::new(registry, None, mirror, config, None)?);
        let connections = Connections::new(LiveApp::new(app), &stop);
        let accepting =
            tokio::spawn(async move { match connections.accept_control(Some(&control)).await {} });
        Ok(Self { stop, accepting, socket: path })
    }

    /// The path of the socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Stops the server. The command has no request in progress.
    pub async fn stop(self) {
        self.accepting.abort();
        // The task was aborted.
        let _ = self.accepting.await;
        self.stop.at_once();
        self.stop.0.closed().await;
    }
}

/// Configures HTTP/1.1.
fn http1(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    // `TimedStream` has the header timeout. It can tell a slow head from an idle connection.
    http.header_read_timeout(None)
        .max_buf_size(BUFFER.max(limits.header_bytes))
        .max_header_size(limits.header_bytes)
        // A client may close its sending side and read on.
        .half_close(true);
    if limits.headers != HYPER_HEADERS {
        http.max_headers(limits.headers);
    }
    http
}

/// An executor for HTTP/2. It polls a future once in place: most responses are in memory, and those of
/// concurrent requests then leave in one write. Futures that wait get a task.
#[derive(Clone, Copy)]
struct InlineExecutor;

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for InlineExecutor {
    fn execute(&self, answering: F) {
        let mut answering = Box::pin(answering);
        // The new task polls again, so that no wake-up is lost.
        let mut context = Context::from_waker(Waker::noop());
        if answering.as_mut().poll(&mut context).is_pending() {
            tokio::spawn(answering);
        }
    }
}

/// Configures HTTP/2.
fn http2(limits: &Limits) -> http2::Builder<InlineExecutor> {
    let mut http = http2::Builder::new(InlineExecutor);
    // The limits of h2 on reset streams and local errors stay as they are (CVE-2023-44487).
    http.timer(TokioTimer::new())
        .max_concurrent_streams(u32::try_from(limits.streams).unwrap_or(u32::MAX))
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(BUFFER);
    http
}

struct Connections {
    speech: Arc<ConnectionServer>,
    control: Arc<Semaphore>,
    stage: watch::Receiver<Stage>,
}

/// The state that all connections share.
struct ConnectionServer {
    live: Arc<LiveApp>,
    /// Limits the warning about TLS to a plain port.
    plain_tls: WarnLimit,
}

impl Connections {
    fn new(live: Arc<LiveApp>, stop: &Stop) -> Self {
        Self {
            control: Arc::new(Semaphore::new(CONTROL_CONNECTIONS)),
            speech: Arc::new(ConnectionServer { live, plain_tls: WarnLimit::new() }),
            stage: stop.0.subscribe(),
        }
    }

    async fn accept_tcp(
        &self,
        listener: &TcpListener,
        listening: SocketAddr,
        tls: Option<&tls::Acceptor>,
    ) -> std::convert::Infallible {
        loop {
            match listener.accept().await {
                Ok((stream, client)) => {
                    let is_proxy = self.speech.live.get().is_proxy(client.ip());
                    // The connection of a network at its limit is closed.
                    let Ok(held) = self.speech.live.connections.enter(client.ip(), is_proxy).await else {
                        continue;
                    };
                    // Responses are written whole, so that Nagle's algorithm only delays them.
                    let _ = stream.set_nodelay(true);
                    let local = reached(&stream, listening);
                    let from = client.ip().to_canonical();
                    if from.is_loopback() || from == local.ip() {
                        // An error costs speed only.
                        let _ = SockRef::from(&stream).set_send_buffer_size(SENT_WITHIN_A_MACHINE);
                    }
                    let (speech, stage) = (self.speech.clone(), self.stage.clone());
                    let peer = Peer::Tcp { client, local };
                    match tls {
                        Some(tls) => {
                            tokio::spawn(speech.secure(stream, tls.clone(), peer, stage, held));
                        }
                        None if speech.live.get().http2_clear => {
                            tokio::spawn(speech.either(stream, peer, stage, held));
                        }
                        None => {
                            tokio::spawn(speech.http1(stream, peer, false, stage, Place::Tcp(held)));
                        }
                    }
                }
                Err(error) => after_failed_accept(&error).await,
            }
        }
    }

    async fn accept_control(&self, control: Option<&Control>) -> std::convert::Infallible {
        let Some(Control { listener, .. }) = control else { return std::future::pending().await };
        loop {
            let permit = permit(&self.control).await;
            match listener.accept().await {
                Ok((stream, _)) => {
                    let open = Open::new(self.speech.live.get().metrics.connections.of("control"));
                    let (speech, stage) = (self.speech.clone(), self.stage.clone());
                    tokio::spawn(speech.http1(
                        stream,
                        Peer::Control,
                        false,
                        stage,
                        Place::Control(permit, open),
                    ));
                }
                Err(error) => after_failed_accept(&error).await,
            }
        }
    }
}

impl ConnectionServer {
    /// Serves a TLS connection by the negotiated protocol.
    async fn secure(
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
    async fn either(
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

    async fn http1<S>(
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
        let conversation = http1(&app.limits).serve_connection(io, service);
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
        let conversation = http2(&app.limits).serve_connection(io, service);
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
        let poll_budget = RepollWaker::new();
        let mut ending = false;
        let mut linger: Option<Pin<Box<Sleep>>> = None;
        let result = loop {
            tokio::select! {
                biased;
                result = poll_fn(|cx| poll_budget.poll(conversation.as_mut(), cx)) => break result,
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
        if self.plain_tls.allows() {
            tracing::warn!(
                remote = %peer,
                "a client speaks HTTPS to this port, which speaks plain HTTP; give it a certificate \
                 (--tls-self-signed HOST, or tls.certificate), or have the client use http:// (docker: \
                 \"insecure-registries\" in /etc/docker/daemon.json)"
            );
        }
    }
}

/// A connection with graceful shutdown.
trait GracefulConnection: Future<Output = hyper::Result<()>> {
    /// Accepts no more requests. Those in progress may end.
    fn end(self: Pin<&mut Self>);
}

impl<S> GracefulConnection for http1::Connection<TokioIo<TimedStream<S>>, Service>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> GracefulConnection for http2::Connection<TokioIo<TimedStream<S>>, Service, InlineExecutor>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
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
enum Place {
    Tcp(Held),
    Control(
        #[expect(dead_code, reason = "it is held, and dropped with the connection")] OwnedSemaphorePermit,
        #[expect(dead_code, reason = "it is held, and dropped with the connection")] Open,
    ),
}

/// A connection in a gauge of open ones.
struct Open(Gauge);

impl Open {
    fn new(gauge: &Gauge) -> Self {
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

/// Returns the local address of a connection. A listener on one address needs no system call.
fn reached(stream: &TcpStream, listening: SocketAddr) -> SocketAddr {
    if !listening.ip().is_unspecified() {
        return listening;
    }
    let local = stream.local_addr().unwrap_or(listening);
    SocketAddr::new(local.ip().to_canonical(), local.port())
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

async fn permit(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    semaphore.clone().acquire_owned().await.expect("this semaphore is never closed")
}
