//! The server: listens, limits the number of connections, and shuts down gracefully.

pub(crate) mod connection;
pub(crate) mod connection_table;
pub(crate) mod idle_timeout;
mod listener;
mod poll_budget;
mod redirect;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use registry::Registry;
use socket2::SockRef;
use store::directory::Socket;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::Sleep;

use crate::config::{Config, Limits};
use crate::http::app::App;
use crate::http::content_proxy::ContentProxy;
use crate::http::server::connection::{Connection, CutOff, Peer, Protocol, TimedStream};
use crate::http::server::connection_table::{ConnectionTable, Held, Slot};
use crate::http::server::listener::{Control, after_failed_accept, listen};
use crate::http::server::poll_budget::RepollWaker;
use crate::http::server::redirect::Redirect;
use crate::http::service::Service;
use crate::tls;

/// Commands that talk to the server at once, over the control socket.
const CONTROL_CONNECTIONS: usize = 64;
/// How many header fields hyper reads without asking for memory.
const HYPER_HEADERS: usize = 100;
/// The most that is read from a connection at a time, and gathered for it to be written. Larger reads would cost an
/// upload a little less of the processor, but each has two of them in memory, and with 128 KiB, 32 uploads and 32
/// downloads at once took more than the 32 MiB that they may take.
const BUFFER: usize = 64 * 1024;
/// How much of a request's body a client of HTTP/2 may send ahead of what was taken from it; of one request, and of
/// all on its connection. It bounds what a body that is received slowly takes in memory, and what can be under way
/// on a long line.
const STREAM_WINDOW: u32 = 512 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How often at most it is told that a client speaks TLS where there is none.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// How much of an answer is on its way to a client on the same machine, such as nginx or an engine; the system
/// takes this twice, for what it needs itself. The system would let it grow to 4 MiB and more, so that a fast client gets
/// what has left the processor's cache since it was sent; a blob then takes twice the time on both sides. Over a
/// network it is the system's to say, which knows how far away the client is.
const SENT_WITHIN_A_MACHINE: usize = 512 << 10;

/// How long a connection that has to make room may take to send the end of its last answer.
const EVICTION_LINGER: Duration = Duration::from_secs(5);

/// A server that is listening: connections are taken in and wait until it runs.
pub struct Server {
    app: Arc<App>,
    tcp: TcpListener,
    address: SocketAddr,
    tls: Option<tls::Acceptor>,
    redirect: Option<Redirect>,
    control: Option<Control>,
    stop: Stop,
}

/// Tells a server to stop. Cheap to clone: all clones are of the same server.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<Stage>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Requests are answered.
    Running,
    /// Those under way are answered to their end; no more are taken.
    Ending,
    /// Connections are closed, whatever is under way.
    Over(CutOff),
}

impl Stop {
    /// No more requests are taken; those under way may come to their end.
    pub fn gracefully(&self) {
        self.advance(Stage::Ending);
    }

    /// Connections are closed, whatever is under way.
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
    /// Listens on the address of the configuration.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) async fn bind(
        registry: Registry,
        content_proxy: Option<Box<dyn ContentProxy>>,
        config: &Config,
    ) -> io::Result<Self> {
        let tcp = listen(config.listen)?;
        let address = tcp.local_addr()?;
        let app = Arc::new(App::new(registry, content_proxy, config)?);
        Ok(Self {
            app,
            tcp,
            address,
            tls: None,
            redirect: None,
            control: None,
            stop: Stop(watch::Sender::new(Stage::Running)),
        })
    }

    /// Has the port speak HTTPS, and nothing else.
    pub fn secure(&mut self, tls: tls::Acceptor) {
        self.tls = Some(tls);
    }

    /// Listens for plain HTTP as well, to send who comes there to the port of HTTPS.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn redirect(
        &mut self,
        address: SocketAddr,
        tls: tls::Acceptor,
        config: &Config,
    ) -> io::Result<()> {
        self.redirect = Some(Redirect::bind(address, self.address.port(), tls, config).await?);
        Ok(())
    }

    /// What makes its connections ones of TLS, if it speaks HTTPS.
    #[must_use]
    pub fn tls(&self) -> Option<&tls::Acceptor> {
        self.tls.as_ref()
    }

    /// What the port speaks: `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Listens on a Unix socket as well, which only the server's own user can reach. A socket that is there already
    /// is replaced: the caller holds the lock of the directory, so it is a dead process's.
    ///
    /// # Errors
    /// Those of the system.
    pub fn bind_control(&mut self, socket: Socket) -> io::Result<()> {
        self.control = Some(Control::bind(socket)?);
        Ok(())
    }

    /// The address that is listened on, with the port that the system chose if the configuration left that open.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What stops this server.
    #[must_use]
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Answers requests until it is told to stop, and then until those under way have ended, but no longer than the
    /// configuration allows.
    pub async fn run(self) {
        let shutdown_timeout = self.app.limits.shutdown_timeout;
        let connections = Connections::new(self.app, &self.stop);
        let mut stage = self.stop.0.subscribe();
        let tcp = connections.accept_tcp(&self.tcp, self.address, self.tls.as_ref());
        let control = connections.accept_control(self.control.as_ref());
        let redirect = async {
            match &self.redirect {
                Some(redirect) => redirect.run().await,
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
            never = async { tokio::join!(tcp, redirect, control, certificate) } => match never {},
            _ = stage.wait_for(|stage| *stage > Stage::Running) => {}
        }
        drop(stage);
        // Whoever connects from now on is refused by the system, and can go elsewhere.
        drop((self.tcp, self.redirect, self.control, connections));
        let over = async {
            // Each connection has a receiver.
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

/// A server inside a command: it has no address, and answers the command alone, over a socket of its own.
pub struct Inside {
    stop: Stop,
    accepting: JoinHandle<()>,
    socket: PathBuf,
}

impl Inside {
    /// Serves until it is stopped.
    ///
    /// # Errors
    /// Those of the system.
    pub fn start(registry: Registry, config: &Config, socket: Socket) -> io::Result<Self> {
        let path = socket.path().to_owned();
        let control = Control::bind(socket)?;
        let stop = Stop(watch::Sender::new(Stage::Running));
        let connections = Connections::new(Arc::new(App::new(registry, None, config)?), &stop);
        let accepting =
            tokio::spawn(async move { match connections.accept_control(Some(&control)).await {} });
        Ok(Self { stop, accepting, socket: path })
    }

    /// Where it answers.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Ends it. The command has had its answers, so that nothing is under way.
    pub async fn stop(self) {
        self.accepting.abort();
        // An error means that it was aborted, which was the aim.
        let _ = self.accepting.await;
        self.stop.at_once();
        self.stop.0.closed().await;
    }
}

/// How HTTP/1.1 is spoken, on every connection.
fn http1(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    // The time to read a head is kept by `TimedStream`, which can tell a slow head from an idle connection.
    http.header_read_timeout(None)
        .max_buf_size(BUFFER.max(limits.header_bytes))
        .max_header_size(limits.header_bytes)
        // A client that has sent all it has to say may close its side and read on.
        .half_close(true);
    if limits.headers != HYPER_HEADERS {
        http.max_headers(limits.headers);
    }
    http
}

/// Answers the requests of a connection of HTTP/2. Most answers are in memory, and are given where the request was read:
/// those of several requests that came together then leave together. What has to be waited for gets a task of its own.
#[derive(Clone, Copy)]
struct InlineExecutor;

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for InlineExecutor {
    fn execute(&self, answering: F) {
        let mut answering = Box::pin(answering);
        // Nobody has to be woken: the task looks anew.
        let mut context = Context::from_waker(Waker::noop());
        if answering.as_mut().poll(&mut context).is_pending() {
            tokio::spawn(answering);
        }
    }
}

/// How HTTP/2 is spoken, on every connection.
fn http2(limits: &Limits) -> http2::Builder<InlineExecutor> {
    let mut http = http2::Builder::new(InlineExecutor);
    // The bounds of h2 on streams that are reset as soon as they are opened, and on errors of its own, stay as they
    // are (CVE-2023-44487 and its kin).
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
    tcp: ConnectionTable,
    control: Arc<Semaphore>,
    stage: watch::Receiver<Stage>,
}

/// What every connection is served with.
struct ConnectionServer {
    app: Arc<App>,
    http1: http1::Builder,
    http2: http2::Builder<InlineExecutor>,
    /// When it was last told that a client speaks TLS to a port that does not.
    told: Mutex<Option<Instant>>,
}

impl Connections {
    fn new(app: Arc<App>, stop: &Stop) -> Self {
        Self {
            // Where all are busy, further ones are not refused: they wait in the system's queue until there is room.
            tcp: ConnectionTable::new("listen", app.limits.connections, app.limits.connections_per_address),
            control: Arc::new(Semaphore::new(CONTROL_CONNECTIONS)),
            speech: Arc::new(ConnectionServer {
                http1: http1(&app.limits),
                http2: http2(&app.limits),
                told: Mutex::new(None),
                app,
            }),
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
                    let is_proxy = self.speech.app.is_proxy(client.ip());
                    // A network that has its share is refused by the end of the connection.
                    let Ok(held) = self.tcp.enter(client.ip(), is_proxy).await else { continue };
                    // Answers are written whole; waiting for more to send with them only delays them.
                    let _ = stream.set_nodelay(true);
                    let local = reached(&stream, listening);
                    let from = client.ip().to_canonical();
                    if from.is_loopback() || from == local.ip() {
                        // A hint: what it saves is time.
                        let _ = SockRef::from(&stream).set_send_buffer_size(SENT_WITHIN_A_MACHINE);
                    }
                    let (speech, stage) = (self.speech.clone(), self.stage.clone());
                    let peer = Peer::Tcp { client, local };
                    match tls {
                        Some(tls) => {
                            tokio::spawn(speech.secure(stream, tls.clone(), peer, stage, held));
                        }
                        None if speech.app.http2_clear => {
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
                    let (speech, stage) = (self.speech.clone(), self.stage.clone());
                    tokio::spawn(speech.http1(stream, Peer::Control, false, stage, Place::Control(permit)));
                }
                Err(error) => after_failed_accept(&error).await,
            }
        }
    }
}

impl ConnectionServer {
    /// Serves a connection of TLS by the protocol that was agreed on.
    async fn secure(
        self: Arc<Self>,
        stream: TcpStream,
        tls: tls::Acceptor,
        peer: Peer,
        mut stage: watch::Receiver<Stage>,
        held: Held,
    ) {
        let stream = tokio::select! {
            stream = tls.accept(stream) => stream,
            _ = stage.wait_for(|stage| *stage > Stage::Running) => None,
            () = held.slot().evicted() => None,
        };
        let Some(stream) = stream else { return };
        // A task of its own, so that the room of the handshake, some 9 KiB, is given back.
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            tokio::spawn(self.http2(stream, peer, true, stage, held));
        } else {
            tokio::spawn(self.http1(stream, peer, true, stage, Place::Tcp(held)));
        }
    }

    /// Serves a connection without TLS by the protocol that the client begins with.
    async fn either(
        self: Arc<Self>,
        stream: TcpStream,
        peer: Peer,
        mut stage: watch::Receiver<Stage>,
        held: Held,
    ) {
        let begun = tokio::time::timeout(self.app.limits.idle_timeout, begins_http2(&stream));
        let http2 = tokio::select! {
            begun = begun => begun,
            _ = stage.wait_for(|stage| *stage > Stage::Running) => return,
            () = held.slot().evicted() => return,
        };
        match http2 {
            // Neither is to take the room of the other.
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
        let connection = Connection::new(peer, Protocol::Http1, secure, place.slot());
        let io = TokioIo::new(TimedStream::new(stream, connection.clone(), &self.app.limits));
        let service = Service::new(self.app.clone(), connection.clone());
        self.converse(self.http1.serve_connection(io, service), connection, stage).await;
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
        let connection = Connection::new(peer, Protocol::Http2, secure, Some(held.slot().clone()));
        let io = TokioIo::new(TimedStream::new(stream, connection.clone(), &self.app.limits));
        let service = Service::new(self.app.clone(), connection.clone());
        self.converse(self.http2.serve_connection(io, service), connection, stage).await;
        drop(held);
    }

    /// Serves a connection to its end, or until the server ends it.
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
                    // What is under way comes to its end, and no other request is taken. In HTTP/2 the end of an answer
                    // may wait in the connection for the client, so that it has a moment to take it.
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
        // Broken connections are a client's or a network's business, and come by the dozen.
        tracing::debug!(
            remote = %connection.peer(),
            %error,
            cause = ?std::error::Error::source(&error),
            "a connection broke"
        );
    }

    /// A client speaks TLS to a port that does not, which is most often a setting that someone forgot.
    fn tell_of_tls(&self, peer: Peer) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() > TELL_AGAIN) {
            *told = Some(Instant::now());
            tracing::warn!(
                remote = %peer,
                "a client speaks HTTPS to this port, which speaks plain HTTP; give it a certificate \
                 (--tls-self-signed HOST, or tls.certificate), or have the client use http:// (docker: \
                 \"insecure-registries\" in /etc/docker/daemon.json)"
            );
        }
    }
}

/// A connection that is being served.
trait GracefulConnection: Future<Output = hyper::Result<()>> {
    /// No more requests; those under way may come to their end.
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

/// Waits for a timer, if there is one.
async fn elapsed(timer: &mut Option<Pin<Box<Sleep>>>) {
    match timer {
        Some(timer) => timer.await,
        None => std::future::pending().await,
    }
}

/// The place of a connection within the limits.
enum Place {
    Tcp(Held),
    Control(
        #[expect(dead_code, reason = "it is held, and dropped with the connection")] OwnedSemaphorePermit,
    ),
}

impl Place {
    fn slot(&self) -> Option<Arc<Slot>> {
        match self {
            Self::Tcp(held) => Some(held.slot().clone()),
            Self::Control(_) => None,
        }
    }
}

/// Where a client reached this machine. Only a server that listens on every address has to ask for it.
fn reached(stream: &TcpStream, listening: SocketAddr) -> SocketAddr {
    if !listening.ip().is_unspecified() {
        return listening;
    }
    let local = stream.local_addr().unwrap_or(listening);
    SocketAddr::new(local.ip().to_canonical(), local.port())
}

/// Whether a client begins with HTTP/2 (RFC 9113 section 3.4: the preface `PRI * HTTP/2.0`). No method is called so.
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
        // What is there stays there, so that waiting for the socket would end at once.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn permit(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    semaphore.clone().acquire_owned().await.expect("this semaphore is never closed")
}
