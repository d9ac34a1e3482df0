//! The server: listens, keeps the number of connections in bounds, and ends when it is told to.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use registry::Registry;
use store::directory::Socket;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;

use super::app::App;
use super::connection::{Connection, Peer, Watched};
use super::service::Service;
use crate::config::{Config, Limits};

/// Commands that talk to the server at once, over the control socket.
const CONTROL_CONNECTIONS: usize = 64;
/// How many header fields hyper reads without asking for memory.
const HYPER_HEADERS: usize = 100;
/// The most that is read from a connection at a time, and gathered for it to be written. Larger reads would cost an
/// upload a little less of the processor; but each has about four of them in memory, and with 128 KiB, 32 uploads and
/// 32 downloads at once came within 2 MiB of the 32 MiB that they may take.
const BUFFER: usize = 64 * 1024;
/// How long to wait before accepting again when the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A server that is listening: connections are taken in and wait until it runs.
pub struct Server {
    app: Arc<App>,
    tcp: TcpListener,
    address: SocketAddr,
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
    /// It is over.
    Over,
}

impl Stop {
    /// No more requests are taken; those under way may come to their end.
    pub fn gracefully(&self) {
        self.advance(Stage::Ending);
    }

    /// Connections are closed, whatever is under way.
    pub fn at_once(&self) {
        self.advance(Stage::Over);
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
    pub async fn bind(registry: Registry, config: &Config) -> io::Result<Self> {
        // It may be bound again while connections of an earlier process are still dying (SO_REUSEADDR).
        let tcp = TcpListener::bind(config.listen).await?;
        let address = tcp.local_addr()?;
        let app = Arc::new(App::new(registry, config)?);
        Ok(Self { app, tcp, address, control: None, stop: Stop(watch::Sender::new(Stage::Running)) })
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
        let tcp = connections.accept_tcp(&self.tcp);
        let control = connections.accept_control(self.control.as_ref());
        tokio::select! {
            never = async { tokio::join!(tcp, control) } => match never {},
            _ = stage.wait_for(|stage| *stage > Stage::Running) => {}
        }
        drop(stage);
        // Whoever connects from now on is refused by the system, and can go elsewhere.
        drop((self.tcp, self.control, connections));
        let over = async {
            // Each connection has a receiver.
            self.stop.0.closed().await;
        };
        if tokio::time::timeout(shutdown_timeout, over).await.is_err() {
            let left = self.stop.0.receiver_count();
            tracing::warn!(connections = left, "closing connections that did not end in time");
            self.stop.at_once();
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
        let connections = Connections::new(Arc::new(App::new(registry, config)?), &stop);
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

/// How HTTP is spoken, on every connection.
fn builder(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    // The time to read a head is kept by `Watched`, which can tell a slow head from an idle connection.
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

struct Connections {
    http: http1::Builder,
    app: Arc<App>,
    tcp: Arc<Semaphore>,
    control: Arc<Semaphore>,
    stage: watch::Receiver<Stage>,
}

impl Connections {
    fn new(app: Arc<App>, stop: &Stop) -> Self {
        Self {
            http: builder(&app.limits),
            // Those in excess are not refused: they wait in the system's queue until there is room.
            tcp: Arc::new(Semaphore::new(app.limits.connections.min(Semaphore::MAX_PERMITS))),
            control: Arc::new(Semaphore::new(CONTROL_CONNECTIONS)),
            app,
            stage: stop.0.subscribe(),
        }
    }

    async fn accept_tcp(&self, listener: &TcpListener) -> std::convert::Infallible {
        loop {
            let permit = permit(&self.tcp).await;
            match listener.accept().await {
                Ok((stream, address)) => {
                    // Answers are written whole; waiting for more to send with them only delays them.
                    let _ = stream.set_nodelay(true);
                    self.serve(stream, Peer::Tcp(address), permit);
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
                Ok((stream, _)) => self.serve(stream, Peer::Control, permit),
                Err(error) => after_failed_accept(&error).await,
            }
        }
    }

    /// Serves a connection on a task of its own.
    fn serve<S>(&self, stream: S, peer: Peer, permit: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let connection = Connection::new(peer, false);
        let io = TokioIo::new(Watched::new(stream, connection.clone(), &self.app.limits));
        let serving = self.http.serve_connection(io, Service::new(self.app.clone(), connection));
        let mut stage = self.stage.clone();
        tokio::spawn(async move {
            let mut serving = pin!(serving);
            let mut ending = false;
            let result = loop {
                tokio::select! {
                    biased;
                    result = serving.as_mut() => break result,
                    reached = stage.wait_for(|stage| *stage > if ending { Stage::Ending } else { Stage::Running }) => {
                        match reached.map(|stage| *stage) {
                            Ok(Stage::Ending) => {
                                ending = true;
                                serving.as_mut().graceful_shutdown();
                            }
                            _ => break Ok(()),
                        }
                    }
                }
            };
            if let Err(error) = result {
                // Broken connections are a client's or a network's business, and come by the dozen.
                tracing::debug!(remote = %peer, error = %error, cause = ?std::error::Error::source(&error), "a connection broke");
            }
            drop(permit);
        });
    }
}

async fn permit(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    semaphore.clone().acquire_owned().await.expect("this semaphore is never closed")
}

/// A connection could not be accepted. It may have been that one's own fault, and then the next one is all right; or
/// the system has no file descriptors or memory left, and then it is not asked again at once.
async fn after_failed_accept(error: &io::Error) {
    use io::ErrorKind as E;
    if matches!(error.kind(), E::ConnectionRefused | E::ConnectionAborted | E::ConnectionReset) {
        return;
    }
    tracing::error!(%error, "a connection could not be accepted");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// The control socket; its file is removed with it.
struct Control {
    listener: UnixListener,
    socket: Socket,
}

impl Control {
    fn bind(socket: Socket) -> io::Result<Self> {
        match std::fs::remove_file(socket.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(socket.path())?;
        // Nobody is answered before the server runs, so nobody gets in between these two.
        std::fs::set_permissions(socket.path(), std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, socket })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // If it is gone already, that was the aim.
        let _ = std::fs::remove_file(self.socket.path());
    }
}
